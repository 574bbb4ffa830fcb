"""Ethernet inside WireGuard: the records of messages between our own ports.

A plaintext is a list of records. A record is a big-endian word and a body: the top two bits say what it
is (00 Ethernet frame, 10 control, 01 never used, 11 reserved), the low 14 how long its body is. The word
0, or the end of the plaintext, ends the list; so padding disappears without a trace, and small frames share
a message. The first nibble is never 4 or 6: no record can be taken for an IP packet, nor the reverse.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vport.errors import FrameError, SettingsError
from vport.ethernet import HEADER_SIZE
from vport.train import Train, lone
from vport.wireguard.plaintext import PlaintextTrain, group

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from vport.ethernet import Buffer
    from vport.wireguard.batch import Rows

WORD_SIZE: Final = 2
MAX_BODY_SIZE: Final = 0x3FFF
_CONTROL: Final = 0x8000
_KIND_MASK: Final = 0xC000
_FULL: Final = 0.9  # a message filled to this share of the limit is padded to it, to join its neighbours


class ModeError(FrameError):
    """The plaintext is an IP packet: the far end takes us for an IP peer."""


def encode_control(body: bytes) -> bytes:
    """Make a control record.

    Raises:
        SettingsError: the body is longer than 16383 bytes.
    """
    if len(body) > MAX_BODY_SIZE:
        raise SettingsError(f"a control record of {len(body)} bytes: at most {MAX_BODY_SIZE}")
    return (_CONTROL | len(body)).to_bytes(2, "big") + body


def _word(size: int) -> bytes:
    return size.to_bytes(2, "big")


def is_sendable(size: int) -> bool:
    """Whether a frame of ``size`` bytes fits a record at all."""
    return HEADER_SIZE <= size <= MAX_BODY_SIZE


def encode_frame(frame: Buffer) -> bytes:
    """Make the record of one frame, which must be ``is_sendable``: a whole plaintext by itself."""
    return _word(len(frame)) + frame


def encode(trains: Iterable[Train], limit: int) -> list[PlaintextTrain]:
    """Put frames into plaintexts of at most ``limit`` bytes where possible, in their order.

    Frames that leave no room for a second one go alone and are not copied here; smaller ones share
    messages. A frame longer than ``limit`` goes alone too. Every frame must be ``is_sendable``.
    """
    plaintexts: list[PlaintextTrain] = []
    small: list[Sequence[memoryview]] = []
    for train in trains:
        size = train.frame_size
        whole = len(train.data) // size
        if whole < 2 or 2 * (size + WORD_SIZE) <= limit:
            small.append(list(train.frames()))
            continue
        plaintexts += _share(small, limit)
        small = []
        view = memoryview(train.data)
        rest = view[whole * size :]
        tail = encode_frame(rest) if len(rest) else b""
        plaintexts.append(PlaintextTrain(_word(size), view[: whole * size], size, tail))
    return plaintexts + _share(small, limit)


def _share(frames: Iterable[Sequence[memoryview]], limit: int) -> list[PlaintextTrain]:
    return group(_fill(frames, limit), limit)


def _fill(runs: Iterable[Sequence[memoryview]], limit: int) -> Iterator[bytes]:
    """Fill messages with records; where a message is nearly full, to exactly ``limit`` bytes."""
    message = bytearray()
    for run in runs:
        for frame in run:
            size = len(frame)
            if message and len(message) + WORD_SIZE + size > limit:
                yield bytes(message if len(message) < _FULL * limit else message.ljust(limit, b"\0"))
                message.clear()
            message += encode_frame(frame)
    if message:
        yield bytes(message)


def decode(plaintext: memoryview) -> tuple[list[memoryview], list[bytes]]:
    """Take a plaintext apart: its frames, as views, and the bodies of its control records.

    Raises:
        ModeError: it starts like an IP packet.
        FrameError: a record is reserved, shorter than an Ethernet header, or runs past the end.
    """
    frames: list[memoryview] = []
    controls: list[bytes] = []
    at, end = 0, len(plaintext)
    while at < end:
        word = int.from_bytes(plaintext[at : at + WORD_SIZE], "big")
        if not word:
            break
        kind, size, body = word & _KIND_MASK, word & MAX_BODY_SIZE, at + WORD_SIZE
        at = body + size
        if kind == 0x4000:
            raise (ModeError if body == WORD_SIZE else FrameError)(f"record word {word:#06x} is never used")
        if at > end or kind == _KIND_MASK or (kind == 0 and size < HEADER_SIZE):
            raise FrameError(f"bad record: word {word:#06x} at byte {body - WORD_SIZE} of {end}")
        if kind == _CONTROL:
            controls.append(bytes(plaintext[body:at]))
        else:
            frames.append(plaintext[body:at])
    return frames, controls


def join(frames: Sequence[memoryview]) -> list[Train]:
    """Join neighbours of equal size, with one shorter at the end, into trains; a lone frame is borrowed."""
    if len(frames) == 1:
        return [lone(frames[0])]
    trains: list[Train] = []
    start = 0
    while start < len(frames):
        size = len(frames[start])
        end = start + 1
        while end < len(frames) and len(frames[end]) == size:
            end += 1
        if end < len(frames) and len(frames[end]) < size:
            end += 1
        trains.append(Train(b"".join(frames[start:end]), size))
        start = end
    return trains


def uniform_size(rows: Rows) -> int:
    """Give the size of the frames if each row holds exactly one, all of one size; else 0.

    One look at a column instead of a loop over messages: bulk data is like that.
    """
    count, width = rows.shape
    if not count or width < WORD_SIZE + HEADER_SIZE:
        return 0
    size = int(rows[0, 0]) << 8 | int(rows[0, 1])
    end = WORD_SIZE + size
    if not is_sendable(size) or end > width:
        return 0
    if rows[:, :WORD_SIZE].tobytes() != _word(size) * count:
        return 0
    rest = rows[:, end : end + WORD_SIZE]
    return size if rest.tobytes() == bytes(rest.size) else 0


def train_of(rows: Rows, size: int, tail: memoryview | None) -> Train:
    """Copy the frames of uniform ``rows`` into a train, with one more that is not longer behind them."""
    frames = rows[:, WORD_SIZE : WORD_SIZE + size].view(f"V{size}")  # copied as wholes: 2 µs for 60 kB
    if tail is None:
        return Train(frames.tobytes(), size)
    return Train(b"".join((frames.tobytes(), tail)), size)
