"""Two devices over a bad network, at length: nothing twice, nothing forged, and everything in the end."""

from __future__ import annotations

import os
import random
from collections import Counter

import pytest

from tests.vport.wireguard.network import Faults, Network, couple
from vport.train import Train
from vport.wireguard.events import DiscardReason, SessionEstablished

PACKETS = int(os.environ.get("WIREGUARD_SIMULATION_PACKETS", "300000"))
"""Frames in all; a million takes a quarter of a minute."""


def numbered(first: int, count: int, size: int) -> Train:
    """A train of frames that each carry their number, sealed off by what follows from it."""
    frames = b"".join(
        b"\2" * 12 + b"\x88\xb5" + number.to_bytes(8, "big") + bytes((number % 251,)) * (size - 22)
        for number in range(first, first + count)
    )
    return Train(frames, size)


def check(frame: bytes) -> int:
    """The number of a frame, if every byte of it is as it was sent."""
    number = int.from_bytes(frame[14:22], "big")
    assert frame == bytes(numbered(number, 1, len(frame)).data)
    return number


@pytest.mark.parametrize(
    ("faults", "floor"),
    [
        (Faults(), 1.0),
        (Faults(loss=0.05, duplicate=0.05, corrupt=0.01, reorder=0.5), 0.90),
        (Faults(loss=0.3, duplicate=0.3, corrupt=0.1, reorder=3.0), 0.45),
    ],
    ids=["good", "bad", "terrible"],
)
def test_nothing_is_delivered_twice_or_forged(faults: Faults, floor: float) -> None:
    network = Network(seed=7, delay=0.02, keep_wire=False)
    alice, bob, to_bob, to_alice = couple(network)
    network.faults = faults
    generator = random.Random(11)
    start = network.now
    sent = Counter[str]()
    numbers: dict[str, Counter[int]] = {"alice": Counter(), "bob": Counter()}

    def collect() -> None:
        for name, node in (("alice", alice), ("bob", bob)):
            numbers[name].update(check(frame) for frame in node.frames)
            node.frames.clear()

    while sent.total() < PACKETS / 3:
        for sender, node, peer in (("alice", alice, to_bob), ("bob", bob, to_alice)):
            count = generator.choice((1, 1, 3, 20, 45))
            train = numbered(sent[sender], count, generator.choice((60, 600, 1400)))
            node.perform(node.device.send(peer, [train], network.now))
            sent[sender] += count
        network.run(generator.choice((0.1, 1.0, 6.0)))
        collect()
    network.run(30.0)
    collect()

    for sender, receiver, peer in (("alice", "bob", to_alice), ("bob", "alice", to_bob)):
        assert set(numbers[receiver].values()) == {1}
        assert max(numbers[receiver]) < sent[sender]
        assert len(numbers[receiver]) >= floor * sent[sender]
        assert bool(peer.discards[DiscardReason.FORGED]) is (faults.corrupt > 0)
        assert bool(peer.discards[DiscardReason.REPLAYED]) is (faults.duplicate > 0)
    renewals = sum(isinstance(event, SessionEstablished) for event in alice.told())
    assert renewals >= (network.now - start) / 300
    assert len(alice.device._indexes) <= 4


def test_same_seed_gives_the_same_run() -> None:
    def run() -> tuple[list[bytes], float]:
        network = Network(seed=3)
        alice, bob, to_bob, _ = couple(network)
        network.faults = Faults(loss=0.2, duplicate=0.2, reorder=0.2)
        for number in range(40):
            node_train = numbered(number, 1, 60)
            alice.perform(alice.device.send(to_bob, [node_train], network.now))
            network.run(7.0)
        return [datagram.data for datagram in network.wire], len(bob.frames)

    assert run() == run()
