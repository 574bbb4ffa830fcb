"""TAI64N timestamps, coarsened and strictly rising (WG 5.1, 5.4.2).

The only wall clock in this protocol. Peers remember our greatest stamp until they restart, so a clock
that is set back must not make ours fall.
"""

from __future__ import annotations

import struct
from typing import Final

from vport.wireguard.constants import TIMESTAMP_STEP

_STAMP: Final = struct.Struct("!QI")
_EPOCH: Final = (1 << 62) + 10  # TAI second 0 of 1970, ten leap seconds in, as libtai has it
_SECOND: Final = 1_000_000_000

TIMESTAMP_SIZE: Final = _STAMP.size


def encode(unix_ns: int) -> bytes:
    """Write ``unix_ns``, nanoseconds since 1970, exactly: 12 bytes that compare as the times do."""
    seconds, nanoseconds = divmod(unix_ns, _SECOND)
    return _STAMP.pack(_EPOCH + seconds, nanoseconds)


def whiten(unix_ns: int) -> int:
    """Clear the low 24 bits of the nanoseconds within the second: no exact clock leaves this machine."""
    seconds, nanoseconds = divmod(unix_ns, _SECOND)
    return seconds * _SECOND + (nanoseconds & -TIMESTAMP_STEP)


def following(last: int, unix_ns: int) -> int:
    """Choose the next stamp to send, in whitened nanoseconds: now, or one step after ``last`` if greater."""
    return whiten(max(unix_ns, last + TIMESTAMP_STEP))


class WallClock:
    """The wall clock as last told, carried on by the monotonic one.

    Attributes:
        latest: the greatest stamp made by anybody here, in nanoseconds. Keep it on disk and start with
            it, or a clock set back before a restart locks us out of every peer.
    """

    __slots__ = ("_now", "_unix_ns", "latest")

    def __init__(self, now: float, unix_ns: int, latest: int = 0) -> None:
        self._now = now
        self._unix_ns = unix_ns
        self.latest = latest

    def set(self, now: float, unix_ns: int) -> None:
        """Tell that the wall clock showed ``unix_ns`` at the monotonic time ``now``."""
        self._now = now
        self._unix_ns = unix_ns

    def stamp(self, last: int, now: float) -> int:
        """Make a stamp greater than ``last``, the one that this peer was sent before; nanoseconds."""
        stamp = following(last, self._unix_ns + int((now - self._now) * _SECOND))
        self.latest = max(self.latest, stamp)
        return stamp
