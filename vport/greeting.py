"""What two ends of a tunnel tell each other about themselves, beyond that they are there.

An end that knows slices (``vport.slices``) says so in the frame with which a port announces itself
(``ethernet.loopback_test_frame``): whoever does not know what stands in its payload takes it for the
announcement that it is. An end that knows slices, too, answers with the same frame. From then on each sends
slices to the other, until the last greeting is ``LEASE`` old: something else may have taken its place.

On its way a greeting may be joined with other frames: with some of its size, or behind some that are longer.
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
_COMMON: Final = b"vswitch\2slices"  # the number is that of the layout: ends with another one exchange frames
_OFFER: Final = _COMMON + b"?"
_ANSWER: Final = _COMMON + b"!"
_AT: Final = HEADER_SIZE + 6  # behind skip count, function and receipt number
_TEXT: Final = slice(_AT, _AT + len(_OFFER))


def greeting(station: MacAddress) -> bytes:
    """Make the frame that announces ``station`` and says that its port knows slices."""
    return loopback_test_frame(station, _OFFER)


def greetings_in(data: Buffer, frame_size: int) -> list[bytes]:
    """Give the greetings, and answers to them, among frames of ``frame_size`` bytes."""
    if frame_size != GREETING_SIZE and len(data) % frame_size != GREETING_SIZE:
        return []
    whole = bytes(data)
    if _COMMON not in whole:
        return []
    frames = [whole[at : at + frame_size] for at in range(0, len(whole), frame_size)]
    return [frame for frame in frames if _is(frame, _OFFER) or _is(frame, _ANSWER)]


def without_answers(data: Buffer, frame_size: int) -> Buffer:
    """Take answers out of frames of ``frame_size`` bytes: they are for the end that greeted only."""
    if not any(_is(frame, _ANSWER) for frame in greetings_in(data, frame_size)):
        return data
    frames = [bytes(data[at : at + frame_size]) for at in range(0, len(data), frame_size)]
    return b"".join([frame for frame in frames if not _is(frame, _ANSWER)])


def answer(frame: bytes) -> bytes | None:
    """Give the answer to a greeting; None to what is an answer itself."""
    return frame[:_AT] + _ANSWER + frame[_TEXT.stop :] if _is(frame, _OFFER) else None


def _is(frame: bytes, text: bytes) -> bool:
    return len(frame) == GREETING_SIZE and frame[_TEXT] == text and frame[12:HEADER_SIZE] == _ETHERTYPE


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

    def hear(self, data: Buffer, frame_size: int, now: float) -> bytes | None:
        """Take note of greetings among frames of ``frame_size`` bytes; give the answer to send.

        One answers all of them.
        """
        found = greetings_in(data, frame_size)
        if found:
            self.knows_slices = True
            self._greeted_at = now
        return next((reply for frame in found if (reply := answer(frame)) is not None), None)

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
