"""Tags in and out of whole trains: the same as frame by frame, and one undoes the other."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vport.errors import FrameError
from vport.offload import GsoType, VirtioNetHeader, VnetFlag
from vport.tagging import pop_tag, push_tag
from vport.train import Train

TCP4 = VirtioNetHeader(VnetFlag.NEEDS_CSUM, GsoType.TCPV4, 54, 1360, 34, 16)


@st.composite
def trains(draw: st.DrawFn) -> Train:
    size = draw(st.integers(14, 60))
    full = draw(st.integers(0, 12))
    rest = draw(st.integers(14, size))
    data = draw(st.binary(min_size=full * size + rest, max_size=full * size + rest))
    return Train(draw(st.sampled_from([bytes, bytearray, memoryview]))(data), size)


@given(trains(), st.integers(0, 0xFFFF))
def test_push_agrees_with_frame_by_frame(train: Train, tci: int) -> None:
    tagged = push_tag(train, tci)

    expected = [
        bytes(frame[:12]) + b"\x81\0" + tci.to_bytes(2, "big") + bytes(frame[12:]) for frame in train.frames()
    ]
    assert [bytes(frame) for frame in tagged.frames()] == expected
    assert tagged.frame_size == train.frame_size + 4


@given(trains(), st.integers(0, 0xFFFF))
def test_push_then_pop_is_identity(train: Train, tci: int) -> None:
    again = pop_tag(push_tag(train, tci))

    assert bytes(again.data) == bytes(train.data)
    assert again.frame_size == train.frame_size


def test_superframe_stays_whole_and_its_offsets_move() -> None:
    train = Train(bytes(range(14)) + bytes(4000), 1414, TCP4)

    tagged = push_tag(train, 5)

    assert tagged.data == bytes(range(12)) + b"\x81\0\0\x05\x0c\x0d" + bytes(4000)
    assert tagged.frame_size == 1418
    assert tagged.offload == TCP4._replace(hdr_len=58, csum_start=38)
    assert tagged.count == train.count
    untagged = pop_tag(tagged)
    assert (untagged.data, untagged.frame_size, untagged.offload) == (train.data, 1414, TCP4)


def test_offsets_that_say_nothing_stay_zero() -> None:
    train = Train(bytes(60), 60, VirtioNetHeader(0, 0, 0, 0, 0, 0))

    assert push_tag(train, 5).offload == train.offload


@pytest.mark.parametrize("count", [1, 3, 40])
def test_frame_without_tag_has_none_to_take_out(count: int) -> None:
    tagged = push_tag(Train(bytes(20 * count), 20), 7)

    with pytest.raises(FrameError, match="without"):
        pop_tag(Train(bytes(tagged.data) + bytes(20), 24))


@pytest.mark.parametrize("count", [1, 3, 40])
def test_too_short_last_frame_is_refused(count: int) -> None:
    tagged = push_tag(Train(bytes(20 * count), 20), 7)

    with pytest.raises(FrameError, match="17 bytes"):
        pop_tag(Train(bytes(tagged.data) + bytes(tagged.data[:17]), 24))
    with pytest.raises(FrameError, match="13 bytes"):
        push_tag(Train(bytes(20 * count) + bytes(13), 20), 7)


def test_offsets_inside_the_ethernet_header_are_refused() -> None:
    tagged = bytes(12) + b"\x81\0" + bytes(60)

    with pytest.raises(FrameError, match="csum_start 16"):
        pop_tag(Train(tagged, 74, VirtioNetHeader(1, 0, 0, 0, 16, 6)))
    with pytest.raises(FrameError, match="csum_start 3"):
        push_tag(Train(tagged, 74, VirtioNetHeader(1, 0, 0, 0, 3, 6)), 7)


@given(st.binary(max_size=200), st.integers(1, 80), st.integers(0, 0xFFFF))
def test_any_bytes_are_done_or_refused(data: bytes, size: int, tci: int) -> None:
    for change in (pop_tag, lambda train: push_tag(train, tci)):
        with contextlib.suppress(FrameError):
            change(Train(data, size))
