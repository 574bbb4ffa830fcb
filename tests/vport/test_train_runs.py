"""Runs: one comparison over the whole train gives what a loop over its frames gives."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vport.offload import VirtioNetHeader
from vport.train import Train, lone, runs

if TYPE_CHECKING:
    from vport.ethernet import Buffer

ADDRESSES = b"\x02\0\0\0\0\1" + b"\x02\0\0\0\0\2"
OTHER = b"\x02\0\0\0\0\1" + b"\x02\0\0\0\0\3"
HEADS = [
    ADDRESSES + b"\x08\0",
    ADDRESSES + b"\x86\xdd",
    OTHER + b"\x08\0",
    ADDRESSES + b"\x81\0\0\1\x08\0",
    ADDRESSES + b"\x81\0\0\2\x08\0",
    ADDRESSES + b"\x81\0\0\2\x86\xdd",
    bytes(14),
]


def reference(train: Train) -> list[bytes]:
    """Group frame by frame; a frame too short for its header is never equal to another."""

    def key(numbered: tuple[int, memoryview]) -> bytes:
        number, frame = bytes([numbered[0] % 251]), bytes(numbered[1])
        length = 18 if frame[12:14] == b"\x81\0" else 14
        return frame[:length] if len(frame) >= length else b"short" + number

    return [b"".join(frame for _, frame in group) for _, group in groupby(enumerate(train.frames()), key)]


@st.composite
def trains(draw: st.DrawFn) -> Train:
    size = draw(st.integers(18, 40))
    picks = draw(st.lists(st.integers(0, 2), max_size=20))  # few changes: runs longer than one
    heads = draw(st.lists(st.sampled_from(HEADS), min_size=3, max_size=3))
    last = draw(st.sampled_from(HEADS)) + draw(st.binary(min_size=22, max_size=22))
    frames = [(heads[pick] + bytes([number]) * 40)[:size] for number, pick in enumerate(picks)]
    return Train(b"".join(frames) + last[: draw(st.integers(1, size))], size)


@given(trains())
def test_runs_agree_with_a_loop_over_frames(train: Train) -> None:
    found = runs(train)

    assert [bytes(run.data) for run in found] == reference(train)
    assert all(run.frame_size == train.frame_size and run.offload is None for run in found)


@given(st.binary(max_size=300), st.integers(1, 80))
def test_any_bytes_make_runs_that_are_the_train(data: bytes, size: int) -> None:
    assert b"".join(run.data for run in runs(Train(data, size))) == data


@pytest.mark.parametrize("count", [1, 2, 6, 7, 50])
@pytest.mark.parametrize("head", HEADS)
def test_train_of_one_header_is_given_as_it_is(head: bytes, count: int) -> None:
    train = Train((head + bytes(50)) * count + head, len(head) + 50)

    assert runs(train) == [train]


@pytest.mark.parametrize("count", [2, 40])
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_runs_are_views_of_the_train(kind: type[Buffer], count: int) -> None:
    data = bytearray(HEADS[0] + bytes(6)) * count + (HEADS[1] + bytes(6)) * count
    first, second = runs(Train(kind(data), 20))

    assert (first.count, second.count) == (count, count)
    assert isinstance(first.data, memoryview)


def test_superframe_and_lone_frame_are_given_as_they_are() -> None:
    superframe = Train(bytes(3000), 1414, VirtioNetHeader(1, 1, 54, 1360, 34, 16))
    frame = lone(b"short")

    assert runs(superframe) == [superframe]
    assert runs(frame) == [frame]
