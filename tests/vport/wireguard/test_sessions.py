from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING

import pytest

from tests.vport.wireguard.network import Network, couple, frame
from vport.errors import LocalProtocolError
from vport.wireguard.events import SessionEstablished
from vport.wireguard.keypair import Keypair
from vport.wireguard.noise import TransportKeys
from vport.wireguard.sessions import IndexTable, Slots

if TYPE_CHECKING:
    from vport.wireguard.peer import Peer


class Bench:
    """The slots of one peer, called "peer", and the table beside them."""

    def __init__(self) -> None:
        self.table: IndexTable[str] = IndexTable(random.Random(0).randbytes)
        self.slots = Slots("peer", self.table)

    def keypair(self, *, is_initiator: bool = True, heard_at: float | None = None) -> Keypair:
        index = self.table.allocate("peer")
        keypair = Keypair(TransportKeys(bytes(32), bytes(32)), index, 9, 0.0, is_initiator=is_initiator)
        keypair.heard_at = heard_at
        return keypair

    def state(self) -> tuple[Keypair | None, Keypair | None, Keypair | None]:
        # every index lives exactly as long as what it names
        assert {keypair.local_index for keypair in self.slots} == set(self.table._entries)
        for keypair in self.slots:
            assert self.table.find(keypair.local_index) == ("peer", keypair)
        return self.slots.previous, self.slots.current, self.slots.next


def test_index_is_never_given_twice() -> None:
    numbers = iter([b"\1\0\0\0", b"\1\0\0\0", b"\2\0\0\0"])
    table: IndexTable[str] = IndexTable(lambda _: next(numbers))

    assert [table.allocate("a"), table.allocate("b")] == [1, 2]
    assert table.find(1) == ("a", None)
    table.free(1)
    assert table.find(1) is None
    assert len(table) == 1


def test_initiator_sends_with_the_new_keypair_at_once() -> None:
    bench = Bench()
    first, second, third = bench.keypair(), bench.keypair(), bench.keypair()
    assert not bench.slots.initiated(first)
    assert not bench.slots.initiated(second)
    assert not bench.slots.initiated(third)

    assert bench.state() == (second, third, None)


def test_responder_sends_with_the_new_keypair_once_it_is_confirmed() -> None:
    bench = Bench()
    first = bench.keypair()
    bench.slots.responded(first)
    assert bench.state() == (None, None, first)

    bench.slots.confirmed()
    assert bench.state() == (None, first, None)

    second = bench.keypair()
    bench.slots.responded(second)
    assert bench.state() == (None, first, second)
    bench.slots.confirmed()
    assert bench.state() == (first, second, None)


def test_unconfirmed_keypair_gives_way_to_a_newer_one() -> None:
    bench = Bench()
    bench.slots.responded(bench.keypair())
    newer = bench.keypair()
    bench.slots.responded(newer)

    assert bench.state() == (None, None, newer)


def test_confirmation_without_a_keypair_is_our_own_mistake() -> None:
    with pytest.raises(LocalProtocolError):
        Bench().slots.confirmed()


def test_crossed_initiations_keep_the_keypair_that_the_peer_will_send_on() -> None:
    bench = Bench()
    theirs = bench.keypair(is_initiator=False)
    bench.slots.responded(theirs)
    ours = bench.keypair()

    assert bench.slots.initiated(ours)
    assert bench.state() == (theirs, ours, None)


def test_what_the_peer_was_heard_on_last_stays_for_what_is_under_way() -> None:
    bench = Bench()
    theirs = bench.keypair(is_initiator=False)
    bench.slots.responded(theirs)
    ours = bench.keypair()
    bench.slots.initiated(ours)
    theirs.heard_at = 5.0

    newest = bench.keypair()
    assert not bench.slots.initiated(newest)
    assert bench.state() == (theirs, newest, None)


def test_all_keys_are_forgotten_together() -> None:
    bench = Bench()
    bench.slots.initiated(bench.keypair())
    bench.slots.initiated(bench.keypair())
    bench.slots.responded(bench.keypair())
    bench.slots.clear()

    assert bench.state() == (None, None, None)
    assert len(bench.table) == 0


# --- crossed initiations, end to end ---


def count_sessions(peer: Peer, events: list[object]) -> int:
    return sum(isinstance(event, SessionEstablished) and event.peer is peer for event in events)


def test_crossed_initiations_settle_in_three_delays() -> None:
    network = Network(delay=0.02)
    alice, bob, to_bob, to_alice = couple(network)
    alice.send(to_bob, frame(1))
    bob.send(to_alice, frame(2))

    network.run(0.07)

    assert bob.frames == [frame(1)]
    assert alice.frames == [frame(2)]
    assert network.kinds()[:4] == [1, 1, 2, 2]
    assert to_bob.timers.retransmit == to_alice.timers.retransmit == float("inf")


def test_sides_that_crossed_once_do_not_cross_again_and_lose_nothing() -> None:
    network = Network(delay=0.02)
    alice, bob, to_bob, to_alice = couple(network)
    sent = 0
    for _ in range(5 * 130):  # 650 s, five renewals, traffic both ways all the time
        alice.send(to_bob, frame(sent))
        bob.send(to_alice, frame(sent))
        sent += 1
        network.run(1.0)

    initiations = [datagram for datagram in network.wire if datagram.kind == 1]
    assert [datagram.at for datagram in initiations[:2]] == [1000.0, 1000.0]
    later = [datagram.at for datagram in initiations[2:]]
    assert all(second - first > 100 for first, second in itertools.pairwise(later))
    assert sorted(alice.frames) == sorted(bob.frames) == [frame(number) for number in range(sent)]
    assert not alice.device.discards
    assert not bob.device.discards


def test_renewal_after_a_crossing_loses_nothing_that_is_under_way() -> None:
    network = Network(delay=0.2)
    alice, bob, to_bob, to_alice = couple(network)
    sent = 0
    for _ in range(140 * 20):  # a frame each way every 50 ms: eight under way at any time
        alice.send(to_bob, frame(sent))
        bob.send(to_alice, frame(sent))
        sent += 1
        network.run(0.05)
    network.run(1.0)

    assert network.kinds().count(1) == 3
    assert sorted(alice.frames) == sorted(bob.frames) == [frame(number) for number in range(sent)]
