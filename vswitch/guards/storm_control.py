"""Storm control: how many frames per second a port may send to everyone.

A token bucket per kind of flooded traffic, counted in frames of whole trains, so that its cost is per
train: one call with two floats. Frames beyond the limit are discarded; the rest of a train passes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from vport.errors import SettingsError

# --- our own constants ---

LIMIT_MAX: Final = 10_000_000  # frames per second; above what a port of ours can carry


class StormKind(IntEnum):
    """What goes to every port."""

    BROADCAST = 0
    MULTICAST = 1
    UNKNOWN_UNICAST = 2

    @property
    def word(self) -> str:
        """How it is called in messages and the log."""
        return self.name.lower().replace("_", " ")


@dataclass(frozen=True, slots=True, kw_only=True)
class StormSettings:
    """Frames per second that a port may flood, per kind; ``None`` for no limit. A burst may last one second.

    The defaults are those for ports of remote members: far above ARP, DHCP and service discovery of a few
    hundred machines, and far below what hurts the others. Unknown unicast has most room: a stream begins
    with it.

    Raises:
        SettingsError: a limit is out of its range.
    """

    broadcast: int | None = 500
    multicast: int | None = 2000
    unknown_unicast: int | None = 5000

    def __post_init__(self) -> None:
        for name in ("broadcast", "multicast", "unknown_unicast"):
            limit = getattr(self, name)
            if limit is not None and not 1 <= limit <= LIMIT_MAX:
                raise SettingsError(f"{name} limit {limit} is not within 1 to {LIMIT_MAX} frames per second")


UNLIMITED: Final = StormSettings(broadcast=None, multicast=None, unknown_unicast=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class StormReport:
    """A port floods more than it may: frames discarded since the last report. ``0`` ends the storm."""

    kind: StormKind
    discarded: int


class _Bucket:
    """Tokens for frames: refilled by time, at most one second's worth."""

    __slots__ = ("discarded", "filled_at", "is_storm", "rate", "reported", "tokens")

    def __init__(self, rate: float, now: float) -> None:
        self.rate = rate
        self.tokens = rate
        self.filled_at = now
        self.discarded = 0
        self.reported = 0
        self.is_storm = False

    def admit(self, count: int, now: float) -> int:
        tokens = self.tokens + (now - self.filled_at) * self.rate
        self.filled_at = now
        tokens = min(tokens, self.rate)
        if tokens >= count:
            self.tokens = tokens - count
            return count
        admitted = int(tokens)
        self.tokens = tokens - admitted
        self.discarded += count - admitted
        return admitted


class StormControl:
    """The buckets of one port."""

    __slots__ = ("_buckets", "settings")

    def __init__(self, settings: StormSettings, now: float) -> None:
        self.settings = settings
        limits = (settings.broadcast, settings.multicast, settings.unknown_unicast)
        self._buckets = [None if limit is None else _Bucket(float(limit), now) for limit in limits]

    def admit(self, kind: StormKind, count: int, now: float) -> int:
        """Say how many of the ``count`` frames of a train may be flooded; the others are counted as lost."""
        bucket = self._buckets[kind]
        return count if bucket is None else bucket.admit(count, now)

    def discarded(self, kind: StormKind) -> int:
        """Frames discarded since the port exists."""
        bucket = self._buckets[kind]
        return 0 if bucket is None else bucket.discarded

    def reports(self) -> list[StormReport]:
        """Say which storms go on or have ended since the last call; call it about once a second."""
        reports = []
        for kind, bucket in zip(StormKind, self._buckets, strict=True):
            if bucket is None:
                continue
            fresh = bucket.discarded - bucket.reported
            if fresh or bucket.is_storm:
                reports.append(StormReport(kind=kind, discarded=fresh))
            bucket.reported, bucket.is_storm = bucket.discarded, fresh > 0
        return reports
