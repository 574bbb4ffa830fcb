from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vport.wireguard.batch import Opener, Sealer, capacity
from vport.wireguard.constants import REJECT_AFTER_MESSAGES
from vport.wireguard.keypair import Keypair
from vport.wireguard.noise import TransportKeys
from vport.wireguard.plaintext import PlaintextTrain, pad

MTU = 1420


def ends() -> tuple[Keypair, Keypair]:
    forth, back = bytes(range(32)), bytes(range(32, 64))
    return (
        Keypair(TransportKeys(forth, back), 1, 0xFEDCBA98, 0.0, is_initiator=True),
        Keypair(TransportKeys(back, forth), 0xFEDCBA98, 1, 0.0, is_initiator=False),
    )


def cut(pieces: list[tuple[bytes, int]]) -> list[bytes]:
    """What UDP_SEGMENT makes of the pieces."""
    return [data[at : at + size] for data, size in pieces for at in range(0, len(data), size)]


@st.composite
def trains(draw: st.DrawFn) -> PlaintextTrain:
    size = draw(st.one_of(st.integers(1, 100), st.integers(1380, 1440), st.sampled_from([9000, 40000])))
    prefix = draw(st.sampled_from([b"", b"\x05\x86"]))
    count = draw(st.integers(1, 140 if size < 9000 else 9))
    tail = draw(st.one_of(st.just(0), st.integers(1, size)))
    content = random.Random(draw(st.integers(0, 9)))
    return PlaintextTrain(prefix, content.randbytes(size * count), size, content.randbytes(tail))


@given(trains(), st.integers(0, REJECT_AFTER_MESSAGES - 200))
def test_train_is_sealed_as_its_messages_would_be_one_by_one(train: PlaintextTrain, counter: int) -> None:
    (batch, _), (single, _) = ends(), ends()
    batch.counter = single.counter = counter

    pieces = [(bytes(data), size) for data, size in Sealer().seal(batch, train, MTU)]

    assert cut(pieces) == [single.seal(pad(plaintext, MTU)) for plaintext in train.plaintexts()]
    assert batch.counter == single.counter
    assert all(len(data) <= 65507 and len(data) <= 64 * size for data, size in pieces)


def test_buffers_are_lent_until_restart_and_then_used_again() -> None:
    sender, _ = ends()
    sealer = Sealer()
    train = PlaintextTrain(b"", bytes(32 * 100), 32)

    first = sealer.seal(sender, train, MTU)
    kept = [bytes(data) for data, _ in first]
    second = sealer.seal(sender, train, MTU)
    assert [bytes(data) for data, _ in first] == kept
    assert [bytes(data) for data, _ in second] != kept

    sealer.restart()
    third = sealer.seal(sender, train, MTU)
    assert [data.obj for data, _ in third] == [data.obj for data, _ in first]


@pytest.mark.parametrize("size", [0, 16, 48, 1424])
def test_train_in_order_is_opened_at_once(size: int) -> None:
    sender, receiver = ends()
    sender.counter = 1  # 0 is special in an empty window
    plaintexts = [random.Random(number).randbytes(size) for number in range(40)]
    data = b"".join(sender.seal(plaintext) for plaintext in plaintexts)

    rows, forged, replayed = Opener().open(receiver, data, size + 32)

    assert [row.tobytes() for row in rows] == plaintexts
    assert (forged, replayed) == (0, 0)
    rows, forged, replayed = Opener().open(receiver, data, size + 32)
    assert (len(rows), forged, replayed) == (0, 0, 40)


@given(
    st.lists(st.integers(0, 60), min_size=2, max_size=45),
    st.dictionaries(st.integers(0, 44), st.tuples(st.integers(8, 79), st.integers(1, 255)), max_size=3),
)
def test_train_is_opened_as_its_messages_would_be_one_by_one(
    order: list[int], flips: dict[int, tuple[int, int]]
) -> None:
    sender, receiver = ends()
    messages = [sender.seal(number.to_bytes(48, "big")) for number in range(61)]
    data = bytearray().join(messages[number] for number in order)
    for place, (offset, flip) in flips.items():
        if place < len(order):
            data[place * 80 + offset] ^= flip
    before = bytes(data)
    genuine: list[int] = []
    for place, number in enumerate(order):
        if place not in flips and number not in genuine:
            genuine.append(number)
    forged_expected = sum(place < len(order) for place in flips)

    rows, forged, replayed = Opener().open(receiver, data, 80)

    assert [int.from_bytes(row.tobytes(), "big") for row in rows] == genuine
    assert forged == forged_expected
    assert len(rows) + forged + replayed == len(order)
    assert data == before


def test_capacity_fits_udp_and_the_segment_limit() -> None:
    assert capacity(1452) == 45
    assert capacity(1456) == 44
    assert capacity(32) == 64
    assert capacity(40000) == 1
