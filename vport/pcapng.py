"""The pcapng format (draft-ietf-opsawg-pcapng) as far as it takes to write frames: blocks, no I/O.

A file is a section header, the description of one interface, a packet block for each frame, and at its end
what is known about frames that are missing::

    file_header(snaplen) + packet_blocks(train, now, snaplen) + … + statistics_block(now, received, dropped)

Every block begins with its type and its length, and ends with its length again; all of it is padded to 32
bits (section 3.1). Numbers are little-endian, which a reader tells from the section header's magic (4.1).
Times are wall-clock nanoseconds since 1970.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

import numpy as np

from vport._version import __version__

if TYPE_CHECKING:
    from vport.ethernet import Buffer
    from vport.train import Train

# --- of the draft ---

SECTION_HEADER: Final = 0x0A0D0D0A  # section 4.1
INTERFACE_DESCRIPTION: Final = 1  # section 4.2
ENHANCED_PACKET: Final = 6  # section 4.3
INTERFACE_STATISTICS: Final = 5  # section 4.6
BYTE_ORDER_MAGIC: Final = 0x1A2B3C4D
LINKTYPE_ETHERNET: Final = 1
_UNKNOWN_LENGTH: Final = -1  # of a section that is still being written
_END_OF_OPTIONS: Final = 0
_SHB_USERAPPL: Final = 4
_IF_TSRESOL: Final = 9
_ISB_IFRECV: Final = 4
_ISB_IFDROP: Final = 5
_NANOSECONDS: Final = b"\x09"  # 10^-9 s

_FRAMING: Final = struct.Struct("<II")  # type and length; the length again stands at the end
_LENGTH: Final = struct.Struct("<I")
_OPTION: Final = struct.Struct("<HH")  # code and length of the value
_SECTION: Final = struct.Struct("<IHHq")  # magic, version 1.0, length
_INTERFACE: Final = struct.Struct("<HHI")  # link type, reserved, snaplen
_PACKET: Final = struct.Struct("<IIIIIII")  # framing, interface, time (high, low), bytes stored, bytes sent
_STATISTICS: Final = struct.Struct("<III")  # interface, time (high, low)
_COUNTER: Final = struct.Struct("<Q")

# --- our own ---

PACKET_OVERHEAD: Final = _PACKET.size + _LENGTH.size
"""Bytes of a packet block beside the frame and its padding."""

_FEW: Final = 2  # frames: up to here a loop is faster (1.4 µs a frame, NumPy 4 µs for eight)


def file_header(snaplen: int) -> bytes:
    """Make what a file begins with: a section with one Ethernet interface, its number 0.

    Args:
        snaplen: bytes that are stored of a frame at most.
    """
    section = _SECTION.pack(BYTE_ORDER_MAGIC, 1, 0, _UNKNOWN_LENGTH)
    interface = _INTERFACE.pack(LINKTYPE_ETHERNET, 0, snaplen)
    return _block(
        SECTION_HEADER, section + _options((_SHB_USERAPPL, f"vswitch {__version__}".encode()))
    ) + _block(INTERFACE_DESCRIPTION, interface + _options((_IF_TSRESOL, _NANOSECONDS)))


def packet_blocks(train: Train, now: int, snaplen: int) -> bytes:
    """Make a block for each frame of a plain train; all have the same time, since they came as one.

    Args:
        train: without ``offload``; cut superframes and slices first (``vport.offload.plain``).
        now: the time.
        snaplen: bytes that are stored of a frame at most.
    """
    data, size = train.data, train.frame_size
    if len(data) <= size * _FEW:
        return b"".join([_packet_block(frame, now, snaplen) for frame in train.frames()])
    whole = len(data) // size
    stored = min(size, snaplen)
    head = _packet_head(stored, size, now)
    blocks = np.zeros((whole, _block_length(stored)), np.uint8)
    blocks[:, : len(head)] = np.frombuffer(head, np.uint8)
    frames = np.frombuffer(data, np.uint8, whole * size).reshape(whole, size)
    blocks[:, len(head) : len(head) + stored] = frames[:, :stored]
    blocks[:, -_LENGTH.size :] = np.frombuffer(_LENGTH.pack(_block_length(stored)), np.uint8)
    rest = memoryview(data)[whole * size :]
    return blocks.tobytes() + (_packet_block(rest, now, snaplen) if rest else b"")


def statistics_block(now: int, received: int, dropped: int) -> bytes:
    """Make the block that tells how many frames there were, and how many of them are missing.

    Of several, the one with the latest time holds. It always has the same length.
    """
    options = _options((_ISB_IFRECV, _COUNTER.pack(received)), (_ISB_IFDROP, _COUNTER.pack(dropped)))
    return _block(INTERFACE_STATISTICS, _STATISTICS.pack(0, *_time(now)) + options)


def fitting(blocks: Buffer, room: int) -> tuple[int, int]:
    """Tell how much of ``blocks`` fits into ``room`` bytes without cutting a block: bytes, and blocks."""
    end = count = 0
    while end < len(blocks):
        (length,) = _LENGTH.unpack_from(blocks, end + _LENGTH.size)
        if end + length > room:
            break
        end += length
        count += 1
    return end, count


# --- parts ---


def _packet_block(frame: Buffer, now: int, snaplen: int) -> bytes:
    stored = min(len(frame), snaplen)
    length = _LENGTH.pack(_block_length(stored))
    return b"".join((_packet_head(stored, len(frame), now), frame[:stored], bytes(-stored % 4), length))


def _packet_head(stored: int, sent: int, now: int) -> bytes:
    return _PACKET.pack(ENHANCED_PACKET, _block_length(stored), 0, *_time(now), stored, sent)


def _block_length(stored: int) -> int:
    return PACKET_OVERHEAD + stored + -stored % 4


def _time(now: int) -> tuple[int, int]:
    return now >> 32, now & 0xFFFFFFFF


def _block(kind: int, body: bytes) -> bytes:
    length = _FRAMING.size + len(body) + _LENGTH.size
    return _FRAMING.pack(kind, length) + body + _LENGTH.pack(length)


def _options(*items: tuple[int, bytes]) -> bytes:
    """Make a list of options (section 3.5)."""
    parts = [_OPTION.pack(code, len(value)) + value + bytes(-len(value) % 4) for code, value in items]
    return b"".join((*parts, _OPTION.pack(_END_OF_OPTIONS, 0)))
