from __future__ import annotations

import struct
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vport.errors import RemoteProtocolError
from vport.framing import PLUG, QEMU, FrameReader, Framing, frame_train
from vport.train import Train, lone

FRAMINGS = [QEMU, PLUG]


def feed(reader: FrameReader, data: bytes, step: int) -> list[bytes]:
    """Give ``data`` to the reader in pieces of at most ``step`` bytes; give the frames."""
    frames = []
    while data:
        space = reader.space()
        size = min(step, len(space), len(data))
        space[:size] = data[:size]
        data = data[size:]
        for train in reader.received(size):
            frames += [bytes(frame) for frame in train.frames()]
    return frames


def written(framing: Framing, frames: list[bytes]) -> bytes:
    return b"".join(framing.prefix.pack(len(frame)) + frame for frame in frames)


sizes = st.integers(14, 200) | st.sampled_from([60, 1514, 9000])
run_lists = st.lists(st.tuples(sizes, st.integers(1, 12)), max_size=4)


@given(st.sampled_from(FRAMINGS), run_lists, st.integers(20, 9000))
def test_frames_come_out_as_they_went_in_however_the_stream_is_cut(
    framing: Framing, runs: list[tuple[int, int]], step: int
) -> None:
    frames = [bytes([number]) * size for size, count in runs for number in range(count)]
    discards: Counter[str] = Counter()
    reader = FrameReader(framing, discards)

    assert feed(reader, written(framing, frames), step) == frames
    assert not discards
    assert reader.held == 0


@given(
    st.sampled_from(FRAMINGS),
    st.integers(14, 1600),
    st.integers(1, 40),
    st.integers(0, 1599),
    st.binary(max_size=9),
)
def test_train_is_written_as_its_frames_are(
    framing: Framing, size: int, count: int, tail: int, seed: bytes
) -> None:
    data = (seed + b"0123456789abcdef") * (size * count // 16 + 101)
    train = Train(data[: size * count + (tail % size)], size)
    discards: Counter[str] = Counter()

    frames = [bytes(frame) for frame in train.frames()]
    long_enough = [frame for frame in frames if len(frame) >= 14]
    assert frame_train(framing, train, discards) == written(framing, long_enough)
    assert discards["short"] == len(frames) - len(long_enough)


@given(st.sampled_from(FRAMINGS), st.binary(max_size=3000), st.integers(1, 700))
def test_reader_gives_frames_or_raises_remote_protocol_error(
    framing: Framing, data: bytes, step: int
) -> None:
    reader = FrameReader(framing, Counter())
    try:
        frames = feed(reader, data, step)
    except RemoteProtocolError:
        return
    assert all(len(frame) >= 14 for frame in frames)
    assert reader.held <= framing.prefix.size + framing.receive_limit


@pytest.mark.parametrize("framing", FRAMINGS)
def test_empty_and_short_frames_are_skipped_and_counted(framing: Framing) -> None:
    discards: Counter[str] = Counter()
    good = bytes(60)

    frames = feed(
        FrameReader(framing, discards), written(framing, [b"", good, b"", b"", b"short", good]), 10_000
    )

    assert frames == [good, good]
    assert discards == {"empty": 3, "short": 1}


@pytest.mark.parametrize("length", [65536, 69633, 1 << 31, (1 << 32) - 1])
def test_length_above_the_limit_ends_the_stream_behind_the_frames_before_it(length: int) -> None:
    reader = FrameReader(QEMU, Counter())
    data = written(QEMU, [bytes(60)]) + struct.pack("!I", length) + bytes(100)
    space = reader.space()
    space[: len(data)] = data

    (train,) = reader.received(len(data))
    assert bytes(train.data) == bytes(60)

    with pytest.raises(RemoteProtocolError, match=f"{length} bytes, 65535 are allowed"):
        reader.received(0)


@pytest.mark.parametrize("framing", FRAMINGS)
def test_stream_may_come_byte_by_byte(framing: Framing) -> None:
    frames = [bytes(60), b"x" * 61, b"y" * 300]

    assert feed(FrameReader(framing, Counter()), written(framing, frames), 1) == frames


def test_half_a_frame_is_held_and_nothing_more() -> None:
    reader = FrameReader(QEMU, Counter())

    assert feed(reader, written(QEMU, [bytes(1000)])[:500], 500) == []
    assert reader.held == 500


def test_frames_that_a_plug_would_choke_on_are_not_sent() -> None:
    discards: Counter[str] = Counter()

    assert frame_train(PLUG, lone(bytes(9235)), discards) == b""
    assert frame_train(PLUG, lone(bytes(9234)), discards) != b""
    assert discards == {"oversized": 1}


def test_nothing_is_ever_written_for_an_empty_frame() -> None:
    discards: Counter[str] = Counter()

    assert frame_train(QEMU, lone(b""), discards) == b""
    assert discards == {"short": 1}
