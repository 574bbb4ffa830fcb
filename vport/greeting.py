"""What two ends of a tunnel tell each other about themselves, beyond that they are there.

An end that knows slices (``vport.slices``) says so in the frame with which a port announces itself
(``ethernet.loopback_test_frame``): whoever does not know what stands in its payload takes it for the
announcement that it is. An end that knows slices, too, answers with the same frame. From then on each sends
slices to the other, until the last greeting is ``LEASE`` old: something else may have taken its place.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

from vport.ethernet import HEADER_SIZE, MINIMUM_FRAME_SIZE, EtherType, loopback_test_frame

if TYPE_CHECKING:
    from vport.ethernet import Buffer, MacAddress

INTERVAL: Final = 10.0  # seconds between greetings
LEASE: Final = 35.0  # seconds: three greetings may be lost

GREETING_SIZE: Final = MINIMUM_FRAME_SIZE  # bytes of the frame
_ETHERTYPE: Final = EtherType.LOOPBACK.to_bytes(2, "big")
_OFFER: Final = b"vswitch\1slices?"
_ANSWER: Final = b"vswitch\1slices!"
_COMMON: Final = _OFFER[:-1]
_AT: Final = HEADER_SIZE + 6  # behind skip count, function and receipt number


def greeting(station: MacAddress) -> bytes:
    """Make the frame that announces ``station`` and says that its port knows slices."""
    return loopback_test_frame(station, _OFFER)


def is_greeting(frame: Buffer) -> bool:
    """Whether a frame of ``GREETING_SIZE`` bytes is a greeting, or an answer to one."""
    return frame[12:HEADER_SIZE] == _ETHERTYPE and bytes(frame[_AT : _AT + len(_OFFER)]) in {_OFFER, _ANSWER}


def may_have_greetings(data: Buffer, frame_size: int) -> bool:
    """Whether any of the frames may be a greeting: on its way it may have been joined with others."""
    is_possible = frame_size == GREETING_SIZE or len(data) % frame_size == GREETING_SIZE
    return is_possible and _COMMON in bytes(data)


def answer(frame: Buffer) -> bytes | None:
    """Give the answer to a greeting; None to what is an answer itself."""
    if frame[_AT : _AT + len(_OFFER)] != _OFFER:
        return None
    return b"".join((frame[:_AT], _ANSWER, frame[_AT + len(_ANSWER) :]))


class Acquaintance:
    """What one end knows of the other by its greetings. Times are monotonic seconds.

    Attributes:
        knows_slices: whether superframes are sent to it as slices.
        offered_at: when we greeted it last.
    """

    __slots__ = ("_greeted_at", "knows_slices", "offered_at")

    def __init__(self) -> None:
        self.knows_slices = False
        self.offered_at = -inf
        self._greeted_at = -inf

    def greeted(self, frame: Buffer, now: float) -> bytes | None:
        """Take note of a greeting; give the answer, None where it was one itself."""
        self.knows_slices = True
        self._greeted_at = now
        return answer(frame)

    def expire(self, now: float) -> None:
        """See whether the latest greeting still holds."""
        if self.knows_slices and now - self._greeted_at > LEASE:
            self.knows_slices = False

    def forget(self) -> None:
        """Start anew: something else may be there now."""
        self.knows_slices = False

    def is_offer_due(self, now: float) -> bool:
        """Whether a link in use needs another greeting of ours."""
        return now >= self.offered_at + INTERVAL
