from __future__ import annotations

import io
import struct

from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.utils import RawPcapNgReader

from vport.pcapng import (
    ENHANCED_PACKET,
    INTERFACE_STATISTICS,
    PACKET_OVERHEAD,
    file_header,
    fitting,
    packet_blocks,
    statistics_block,
)
from vport.train import Train, lone

WHOLE = 262144
NOW = 1_790_000_000_123_456_789

trains = st.builds(
    lambda size, full, rest, seed: Train(
        bytes((seed + index * 7) & 0xFF for index in range(size * full + min(rest, size))), size
    ),
    st.integers(1, 90),
    st.integers(0, 9),
    st.integers(0, 90),
    st.integers(0, 255),
)
times = st.integers(0, (1 << 64) - 1)


def read_back(capture: bytes) -> list[tuple[bytes, int, int, int]]:
    """Read a capture with scapy: bytes stored, time, units a second, bytes sent of each frame."""
    reader = RawPcapNgReader(io.BytesIO(capture))
    found = []
    for data, about in reader:
        assert about.linktype == 1  # Ethernet
        found.append((data, about.tshigh << 32 | about.tslow, about.tsresol, about.wirelen))
    return found


@settings(deadline=None)  # it would measure how busy the machine is
@given(st.lists(st.tuples(trains, times), max_size=4), st.integers(1, 100) | st.just(WHOLE))
def test_capture_agrees_with_scapy(written: list[tuple[Train, int]], snaplen: int) -> None:
    capture = file_header(snaplen) + b"".join(packet_blocks(train, now, snaplen) for train, now in written)

    assert read_back(capture + statistics_block(NOW, 9, 2)) == [
        (bytes(frame)[:snaplen], now, 10**9, len(frame)) for train, now in written for frame in train.frames()
    ]


@settings(deadline=None)
@given(trains, st.integers(1, 100))
def test_blocks_of_a_train_are_those_of_its_frames(train: Train, snaplen: int) -> None:
    one_by_one = [packet_blocks(lone(bytes(frame)), NOW, snaplen) for frame in train.frames()]

    assert packet_blocks(train, NOW, snaplen) == b"".join(one_by_one)


@settings(deadline=None)
@given(trains, st.integers(0, 2000))
def test_fitting_never_cuts_a_block_and_fills_the_room(train: Train, room: int) -> None:
    blocks = packet_blocks(train, NOW, WHOLE)
    end, count = fitting(blocks, room)

    sizes = [PACKET_OVERHEAD + -(-len(frame) // 4) * 4 for frame in train.frames()]
    assert end == sum(sizes[:count]) <= room
    assert count == len(sizes) or end + sizes[count] > room


def test_packet_block_is_laid_out_as_the_draft_has_it() -> None:
    blocks = packet_blocks(lone(b"\xaa" * 15), (7 << 32) + 9, 14)

    assert blocks == struct.pack("<7I", ENHANCED_PACKET, 48, 0, 7, 9, 14, 15) + b"\xaa" * 14 + b"\0\0" + (
        struct.pack("<I", 48)
    )


def test_statistics_block_tells_what_is_missing() -> None:
    block = statistics_block((7 << 32) + 9, 100, 3)

    body = struct.pack("<3I", 0, 7, 9) + struct.pack("<HHQHHQHH", 4, 8, 100, 5, 8, 3, 0, 0)
    assert block == struct.pack("<II", INTERFACE_STATISTICS, 52) + body + struct.pack("<I", 52)
