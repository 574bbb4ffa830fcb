"""What two ends of a UDP link tell each other about themselves, beyond that they are there.

An end that knows slices (``vport.slices``) says so in the frame with which a port announces itself
(``ethernet.loopback_test_frame``): whoever does not know what stands in its payload takes it for the
announcement that it is. An end that knows slices, too, answers with the same frame. From then on each sends
slices to the other, until the last greeting is ``LEASE`` old: something else may have taken its place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vport.ethernet import HEADER_SIZE, MINIMUM_FRAME_SIZE, EtherType, loopback_test_frame

if TYPE_CHECKING:
    from vport.ethernet import Buffer, MacAddress

INTERVAL: Final = 10.0  # seconds between greetings
LEASE: Final = 35.0  # seconds: three greetings may be lost

GREETING_SIZE: Final = MINIMUM_FRAME_SIZE  # bytes of the frame
_ETHERTYPE: Final = EtherType.LOOPBACK.to_bytes(2, "big")
_MAGIC: Final = b"vswitch\1slices"
_OFFER: Final = _MAGIC + b"?"
_ANSWER: Final = _MAGIC + b"!"
_AT: Final = HEADER_SIZE + 6  # behind skip count, function and receipt number
_TEXT: Final = slice(_AT, _AT + len(_OFFER))


def greeting(station: MacAddress) -> bytes:
    """Make the frame that announces ``station`` and says that its port knows slices."""
    return loopback_test_frame(station, _OFFER)


def greetings_in(data: Buffer) -> list[bytes]:
    """Give the greetings, and answers to them, in a train of frames of ``GREETING_SIZE`` bytes."""
    whole = bytes(data)
    if _MAGIC not in whole:
        return []
    frames = [whole[at : at + GREETING_SIZE] for at in range(0, len(whole), GREETING_SIZE)]
    return [
        frame for frame in frames if frame[12:HEADER_SIZE] == _ETHERTYPE and frame[_TEXT] in {_OFFER, _ANSWER}
    ]


def answer(frame: bytes) -> bytes | None:
    """Give the answer to a greeting; None to what is an answer itself."""
    if frame[_TEXT] != _OFFER:
        return None
    return frame[: _TEXT.start] + _ANSWER + frame[_TEXT.stop :]
