from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from vport.wireguard.plaintext import PlaintextTrain, group, pad, padded_size


def test_padding_agrees_with_the_vectors(vectors: dict[str, Any]) -> None:
    for case in vectors["padding"]:
        assert padded_size(case["length"], case["mtu"]) == case["padded"]


@given(st.integers(0, 3000), st.integers(576, 1500))
def test_padding_never_cuts_and_never_passes_the_mtu(size: int, mtu: int) -> None:
    padded = padded_size(size, mtu)

    assert size <= padded < size + 16
    assert padded <= max(size, mtu)
    assert padded % 16 == 0 or padded in (mtu, size)


@given(st.lists(st.sampled_from([1, 16, 17, 40, 1400, 1420]).map(lambda size: b"x" * size), max_size=30))
def test_group_keeps_order_and_content(plaintexts: list[bytes]) -> None:
    trains = group(plaintexts, 1420)

    assert [plaintext for train in trains for plaintext in train.plaintexts()] == [
        pad(plaintext, 1420) for plaintext in plaintexts
    ]
    assert sum(train.messages for train in trains) == len(plaintexts)
    assert all(len(train.tail) < train.size for train in trains)


def test_group_joins_neighbours_of_equal_size_and_one_shorter() -> None:
    trains = group([b"a" * 30, b"b" * 32, b"c" * 3, b"d" * 64], 1420)

    assert trains == [
        PlaintextTrain(b"", b"a" * 30 + bytes(2) + b"b" * 32, 32, b"c" * 3 + bytes(13)),
        PlaintextTrain(b"", b"d" * 64, 64),
    ]
