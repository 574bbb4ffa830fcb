from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vport.errors import FrameError, SettingsError
from vport.train import Train
from vport.wireguard import records
from vport.wireguard.plaintext import pad

MTU = 1420


@st.composite
def frame_trains(draw: st.DrawFn) -> Train:
    size = draw(st.one_of(st.integers(14, 120), st.integers(600, 1500)))
    whole = draw(st.integers(1, 30))
    rest = draw(st.one_of(st.just(0), st.integers(14, size)))
    return Train(random.Random(draw(st.integers(0, 99))).randbytes(size * whole + rest % size), size)


def sendable(train: Train) -> bool:
    return all(len(frame) >= 14 for frame in train.frames())


@given(st.lists(frame_trains().filter(sendable), max_size=6))
def test_encode_then_decode_is_identity_and_padding_disappears(trains: list[Train]) -> None:
    received: list[bytes] = []
    for plaintexts in records.encode(trains, MTU):
        for plaintext in plaintexts.plaintexts():
            frames, controls = records.decode(memoryview(pad(plaintext, MTU)))
            assert controls == []
            received += [bytes(frame) for frame in frames]

    assert received == [bytes(frame) for train in trains for frame in train.frames()]


@given(st.lists(frame_trains().filter(sendable), max_size=6))
def test_messages_exceed_the_limit_only_for_a_frame_that_does(trains: list[Train]) -> None:
    for plaintexts in records.encode(trains, MTU):
        for plaintext in plaintexts.plaintexts():
            if len(plaintext) > MTU:
                assert len(records.decode(memoryview(plaintext))[0]) == 1


def test_small_frames_share_messages_of_one_size() -> None:
    (plaintexts,) = records.encode([Train(bytes(60 * 100), 60)], MTU)

    assert [len(plaintext) for plaintext in plaintexts.plaintexts()] == [1420, 1420, 1420, 1420, 752]


def test_large_frames_go_alone_and_are_not_copied() -> None:
    data = bytes(1400 * 4 + 100)
    (plaintexts,) = records.encode([Train(data, 1400)], MTU)

    assert plaintexts.prefix == (1400).to_bytes(2, "big")
    assert isinstance(plaintexts.data, memoryview)
    assert plaintexts.data.obj is data
    assert plaintexts.size == 1400
    assert plaintexts.tail == (100).to_bytes(2, "big") + bytes(100)


def test_record_agrees_with_the_vector(vectors: dict[str, Any]) -> None:
    case = vectors["handshake_with_psk"]["transport"][5]
    frame = bytes.fromhex(case["plaintext_unpadded"])[2:]

    (plaintexts,) = records.encode([Train(frame, len(frame))], MTU)

    assert [pad(plaintext, MTU).hex() for plaintext in plaintexts.plaintexts()] == [case["plaintext_padded"]]
    frames, _ = records.decode(memoryview(bytes.fromhex(case["plaintext_padded"])))
    assert frames == [frame]


@given(st.binary(max_size=100))
@example(b"\x00")
@example(b"\x01")
@example(b"\x00\x0e" + bytes(14))
@example(b"\x80\x00" * 3)
def test_decode_accepts_or_raises_frame_error(plaintext: bytes) -> None:
    try:
        frames, controls = records.decode(memoryview(plaintext))
    except FrameError:
        return
    assert all(14 <= len(frame) <= 0x3FFF for frame in frames)
    used = sum(2 + len(body) for body in (*frames, *controls))
    assert used <= len(plaintext)
    assert not any(plaintext[used : used + 2])


@pytest.mark.parametrize(
    ("plaintext", "what"),
    [
        (b"\x00\x0d" + bytes(13), "shorter than an Ethernet header"),
        (b"\x00\x0f" + bytes(14), "runs past the end"),
        (b"\xc0\x0e" + bytes(14), "reserved"),
        (b"\x80\x02a", "control record past the end"),
        (b"\x00\x0e" + bytes(14) + b"\x07", "half a word"),
        (b"\x00\x0e" + bytes(14) + b"\x45\x00", "never used, in the second place"),
    ],
)
def test_bad_record_spoils_its_message(plaintext: bytes, what: str) -> None:
    with pytest.raises(FrameError) as caught:
        records.decode(memoryview(plaintext))
    assert not isinstance(caught.value, records.ModeError), what


@pytest.mark.parametrize("first", [0x45, 0x46, 0x4F, 0x60, 0x6F])
def test_ip_packet_is_told_from_records_by_its_first_byte(first: int) -> None:
    with pytest.raises(records.ModeError):
        records.decode(memoryview(bytes((first,)) + bytes(60)))


def test_control_records_travel_beside_frames() -> None:
    plaintext = records.encode_control(b"hello") + b"\x00\x0e" + bytes(14) + records.encode_control(b"")

    frames, controls = records.decode(memoryview(plaintext))

    assert frames == [bytes(14)]
    assert controls == [b"hello", b""]
    with pytest.raises(SettingsError, match="16384"):
        records.encode_control(bytes(16384))


@given(st.lists(st.integers(14, 20), max_size=30))
def test_join_keeps_order_and_makes_proper_trains(sizes: list[int]) -> None:
    frames = [memoryview(bytes((number,)) * size) for number, size in enumerate(sizes)]

    trains = records.join(frames)

    assert [frame for train in trains for frame in train.frames()] == frames


def rows_of(*plaintexts: bytes) -> Any:
    return np.array([list(plaintext) for plaintext in plaintexts], np.uint8)


def test_uniform_rows_are_recognised() -> None:
    frame = b"\x00\x0e" + b"x" * 14

    assert records.uniform_size(rows_of(frame, frame)) == 14
    assert records.uniform_size(rows_of(frame + bytes(16), frame + bytes(16))) == 14
    assert records.uniform_size(rows_of(frame + b"\0", frame + b"\0")) == 14


@pytest.mark.parametrize(
    "plaintexts",
    [
        (b"\x00\x0e" + bytes(16), b"\x00\x0f" + bytes(16)),  # two sizes
        (b"\x00\x0e" + bytes(14) + b"\x00\x0e" + bytes(14),) * 2,  # two frames each
        (b"\x00\x0e" + bytes(14) + bytes(2), b"\x00\x0e" + bytes(14) + b"\0\1"),  # junk behind one
        (b"\x00\x0d" + bytes(20),) * 2,
        (b"\x00\x40" + bytes(20),) * 2,
        (b"\x80\x0e" + bytes(14),) * 2,
        (b"\x45\x00" + bytes(18),) * 2,
        (b"\x00\x0e",) * 2,
        (b"",) * 2,
    ],
)
def test_other_rows_are_left_to_the_careful_way(plaintexts: tuple[bytes, ...]) -> None:
    assert records.uniform_size(rows_of(*plaintexts)) == 0


def test_train_of_rows_has_their_frames_and_the_tail() -> None:
    rows = rows_of(b"\x00\x0e" + b"a" * 14 + b"\0\0", b"\x00\x0e" + b"b" * 14 + b"\0\0")

    train = records.train_of(rows, 14, memoryview(b"c" * 14))

    assert bytes(train.data) == b"a" * 14 + b"b" * 14 + b"c" * 14
    assert train.frame_size == 14
    rows[:] = 0
    assert bytes(train.data)[:14] == b"a" * 14
