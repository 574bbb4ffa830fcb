"""One pair of devices, step by step: what is sent when, and what is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.vport.wireguard.network import Network, Node, couple, frame
from vport.errors import SettingsError
from vport.wireguard.constants import REJECT_AFTER_MESSAGES, REKEY_AFTER_MESSAGES
from vport.wireguard.endpoint import Endpoint
from vport.wireguard.events import (
    DiscardReason,
    EndpointMoved,
    HandshakeAbandoned,
    SessionEnded,
    SessionEstablished,
)
from vport.wireguard.keys import PresharedKey, PublicKey
from vport.wireguard.settings import PeerSettings

if TYPE_CHECKING:
    from vport.wireguard.events import Event
    from vport.wireguard.peer import Peer

NOWHERE = Endpoint("192.0.2.99", 9)


def established(network: Network, **settings: object) -> tuple[Node, Node, Peer, Peer]:
    """A couple with a session that alice started at 1000 s; nothing is under way, nothing is recorded."""
    alice, bob, to_bob, to_alice = couple(network, **settings)
    alice.perform(alice.device.connect(to_bob, network.now))
    network.run(0.1)
    network.wire.clear()
    alice.events.clear()
    bob.events.clear()
    return alice, bob, to_bob, to_alice


def test_first_frame_waits_for_the_handshake_and_arrives() -> None:
    network = Network()
    alice, bob, to_bob, to_alice = couple(network)

    alice.send(to_bob, frame(1))
    assert network.kinds() == [1]
    assert [len(datagram.data) for datagram in network.wire] == [148]
    assert 1005.0 <= (alice.device.next_deadline() or 0) < 1005.333

    network.run(0.01)
    assert network.kinds() == [1, 2]
    assert bob.told() == []  # an initiation proves no presence

    network.run(0.01)
    assert network.kinds() == [1, 2, 4]
    assert alice.told() == [SessionEstablished(to_bob, is_initiator=True, is_renewal=False)]

    network.run(0.01)
    assert bob.frames == [frame(1)]
    assert bob.told() == [SessionEstablished(to_alice, is_initiator=False, is_renewal=False)]
    assert to_bob.last_handshake_at == pytest.approx(1000.02)
    assert to_bob.sent_bytes == to_alice.received_bytes == 148 + 32 + 64
    assert to_alice.sent_bytes == to_bob.received_bytes == 92


def test_initiator_without_data_confirms_with_a_keepalive() -> None:
    network = Network()
    alice, bob, to_bob, to_alice = couple(network)

    alice.perform(alice.device.connect(to_bob, network.now))
    network.run(0.1)

    assert [len(datagram.data) for datagram in network.wire] == [148, 92, 32]
    assert to_alice.has_session(network.now)
    assert bob.frames == []
    assert alice.device.connect(to_bob, network.now) == []


def test_responder_holds_its_data_until_the_session_is_confirmed() -> None:
    network = Network()
    alice, bob, to_bob, to_alice = couple(network)
    network.drop = lambda datagram: datagram.kind == 4  # the confirmation gets lost
    alice.perform(alice.device.connect(to_bob, network.now))
    network.run(0.1)

    bob.send(to_alice, frame(2))
    network.run(0.1)
    assert network.kinds() == [1, 2, 4]

    network.drop = lambda _: False
    alice.send(to_bob, frame(1))
    network.run(0.1)
    assert alice.frames == [frame(2)]
    assert bob.frames == [frame(1)]


def test_preshared_key_must_agree() -> None:
    network = Network()
    alice, bob = network.node("10.0.0.1"), network.node("10.0.0.2")
    to_bob = alice.knows(bob, endpoint=bob.endpoint, preshared_key=PresharedKey(bytes(range(32))))
    bob.knows(alice)
    alice.perform(alice.device.connect(to_bob, network.now))

    network.run(1.0)

    assert not to_bob.has_session(network.now)
    assert to_bob.discards == {DiscardReason.BAD_HANDSHAKE: 1}


def test_initiation_is_repeated_20_times_with_fresh_keys_and_then_given_up() -> None:
    network = Network()
    alice = network.node("10.0.0.1")
    stranger = Node(network, NOWHERE)
    peer = alice.knows(stranger, endpoint=NOWHERE)
    alice.send(peer, frame(1))

    network.run(99.9)
    assert len(network.wire) in (19, 20)
    assert alice.told() == []

    network.run(8.0)
    assert network.kinds() == [1] * 20
    assert len({datagram.data[8:40] for datagram in network.wire}) == 20
    gaps = [after.at - before.at for before, after in zip(network.wire, network.wire[1:], strict=False)]
    assert all(5.0 <= gap < 5.333 for gap in gaps)
    assert max(gaps) - min(gaps) > 0.1
    ((abandoned_at, event),) = alice.events
    assert alice.told() == [event] == [HandshakeAbandoned(peer)]
    assert alice.device.next_deadline() == abandoned_at + 540.0
    assert peer.discards == {DiscardReason.UNANSWERED: 1}

    network.run(1000.0)
    assert len(network.wire) == 20
    assert alice.told() == []  # there were no keys to erase
    alice.send(peer, frame(2))
    assert len(network.wire) == 21


def test_queue_keeps_the_newest_128() -> None:
    network = Network()
    alice, bob, to_bob, _ = couple(network)
    for number in range(130):
        alice.send(to_bob, frame(number, size=1000))
    assert to_bob.discards == {DiscardReason.QUEUE_FULL: 2}

    network.run(1.0)

    assert bob.frames == [frame(number, size=1000) for number in range(2, 130)]


def test_peer_without_endpoint_is_answered_but_not_called() -> None:
    network = Network()
    alice, bob = network.node("10.0.0.1"), network.node("10.0.0.2")
    to_bob, to_alice = alice.knows(bob, endpoint=bob.endpoint), bob.knows(alice)

    bob.send(to_alice, frame(1))
    assert bob.device.next_deadline() is None
    assert to_alice.discards == {DiscardReason.NO_ENDPOINT: 1}

    alice.send(to_bob, frame(2))
    network.run(0.1)
    bob.send(to_alice, frame(3))
    network.run(0.1)
    assert (alice.frames, bob.frames) == ([frame(3)], [frame(2)])
    assert bob.told()[0] == EndpointMoved(to_alice, None)


# --- renewal ---


def test_initiator_renews_when_it_sends_after_120_seconds() -> None:
    network = Network()
    alice, bob, to_bob, to_alice = established(network)
    for _ in range(11):
        network.run(10.0)
        bob.send(to_alice, frame(0))
        alice.send(to_bob, frame(0))
    assert 1 not in network.kinds()

    network.run(9.8)
    bob.send(to_alice, frame(1))
    alice.send(to_bob, frame(1))
    assert 1 not in network.kinds()

    network.run(0.5)
    bob.send(to_alice, frame(2))
    assert 1 not in network.kinds()  # the responder waits
    alice.send(to_bob, frame(2))
    assert network.kinds()[-1] == 1
    network.run(0.1)
    assert alice.told() == [SessionEstablished(to_bob, is_initiator=True, is_renewal=True)]
    assert bob.told() == [SessionEstablished(to_alice, is_initiator=False, is_renewal=True)]
    assert len(alice.frames) == len(bob.frames) == 13


def test_initiator_that_only_receives_renews_after_165_seconds_once() -> None:
    network = Network()
    alice, bob, to_bob, to_alice = established(network)
    network.drop = lambda datagram: datagram.source == alice.endpoint
    network.run(164.5)
    bob.send(to_alice, frame(1))
    network.run(0.3)
    assert 1 not in network.kinds()

    bob.send(to_alice, frame(2))
    network.run(0.3)
    bob.send(to_alice, frame(3))
    network.run(0.3)
    assert len(alice.frames) == 3
    assert [datagram.source for datagram in network.wire if datagram.kind == 1] == [alice.endpoint]
    assert to_bob.timers.retransmit != float("inf")


def test_renewal_on_receipt_is_asked_for_once_and_left_to_the_retransmit_timer() -> None:
    network = Network()
    alice, bob, to_bob, to_alice = established(network)
    network.run(165.5)
    network.drop = lambda datagram: datagram.kind == 1
    bob.send(to_alice, frame(1))
    network.run(0.1)
    expected = to_bob.timers.retransmit

    for _ in range(600):
        bob.send(to_alice, frame(2))
        network.run(0.01)

    assert len(alice.frames) > 600
    first, second = [datagram.at for datagram in network.wire if datagram.kind == 1]
    assert second == expected
    assert second - first > 5.02  # or the traffic would have been in time to set it off earlier


def test_either_side_renews_after_2_to_the_60_messages() -> None:
    network = Network()
    _, bob, _, to_alice = established(network)
    assert to_alice.slots.current is not None
    to_alice.slots.current.counter = REKEY_AFTER_MESSAGES - 2
    network.run(6.0)

    bob.send(to_alice, frame(1))
    assert network.kinds() == [4]
    bob.send(to_alice, frame(2))
    assert network.kinds() == [4, 4, 1]


def test_used_up_keypair_sends_no_more_and_nothing_is_lost() -> None:
    network = Network()
    alice, bob, to_bob, _ = established(network)
    assert to_bob.slots.current is not None
    to_bob.slots.current.counter = REJECT_AFTER_MESSAGES - 1
    network.run(6.0)

    alice.send(to_bob, frame(1))
    alice.send(to_bob, frame(2))
    network.run(0.1)

    assert bob.frames == [frame(1), frame(2)]
    assert network.kinds() == [4, 1, 2, 4]


def test_keys_older_than_180_seconds_neither_send_nor_receive() -> None:
    network = Network(delay=1.0)
    alice, bob, to_bob, to_alice = couple(network)
    alice.perform(alice.device.connect(to_bob, network.now))
    network.run(10.0)
    network.run(1181.5 - network.now)  # bob's keypair is of 1001 s, alice's of 1002 s
    assert to_bob.has_session(network.now)
    assert not to_alice.has_session(network.now)

    alice.send(to_bob, frame(1))
    network.run(1.0)

    assert bob.frames == []
    assert to_alice.discards == {DiscardReason.EXPIRED_KEYPAIR: 1}


def test_responder_with_dead_keys_and_data_starts_itself() -> None:
    network = Network()
    alice, bob, _, to_alice = established(network)
    network.run(181.0)
    assert network.wire == []

    bob.send(to_alice, frame(1))
    network.run(0.1)

    assert alice.frames == [frame(1)]
    assert network.kinds() == [1, 2, 4]
    assert bob.told() == [SessionEstablished(to_alice, is_initiator=True, is_renewal=False)]


# --- timers ---


def test_data_without_answer_brings_a_passive_keepalive_after_10_seconds() -> None:
    network = Network()
    alice, _, to_bob, _ = established(network)
    alice.send(to_bob, frame(1))
    sent_at = network.now

    network.run(30.0)

    assert [(len(datagram.data), datagram.source.host) for datagram in network.wire] == [
        (96, "10.0.0.1"),
        (32, "10.0.0.2"),
    ]
    assert network.wire[1].at == pytest.approx(sent_at + 0.01 + 10.0)


def test_more_data_brings_a_second_passive_keepalive() -> None:
    network = Network(delay=0.0)
    alice, _, to_bob, _ = established(network)
    start = network.now
    alice.send(to_bob, frame(1))
    network.run(1.0)
    alice.send(to_bob, frame(2))

    network.run(60.0)

    keepalives = [datagram for datagram in network.wire if len(datagram.data) == 32]
    assert [datagram.source.host for datagram in keepalives] == ["10.0.0.2"] * 2
    assert [datagram.at for datagram in keepalives] == pytest.approx([start + 10.0, start + 20.0])


def test_data_that_nothing_answers_brings_a_handshake_after_15_seconds() -> None:
    network = Network()
    alice, _, to_bob, _ = established(network)
    network.drop = lambda datagram: datagram.source != alice.endpoint
    alice.send(to_bob, frame(1))
    sent_at = network.now

    network.run(14.9)
    assert 1 not in network.kinds()
    network.run(0.6)

    (initiation,) = [datagram for datagram in network.wire if datagram.kind == 1]
    assert 15.0 <= initiation.at - sent_at < 15.333


def test_keepalive_needs_no_answer() -> None:
    network = Network()
    alice, _, to_bob, _ = established(network)
    out: list[Event] = []
    to_bob.keepalive(network.now, out)
    alice.perform(out)

    network.run(100.0)

    assert [len(datagram.data) for datagram in network.wire] == [32]


def test_all_keys_are_erased_540_seconds_after_the_last_handshake() -> None:
    network = Network()
    alice, bob, to_bob, to_alice = established(network)

    network.run(539.0)
    assert alice.told() == bob.told() == []
    assert len(alice.device._indexes) == 1
    network.run(1.0)

    assert alice.told() == [SessionEnded(to_bob)]
    assert bob.told() == [SessionEnded(to_alice)]
    assert len(alice.device._indexes) == len(bob.device._indexes) == 0
    assert alice.device.next_deadline() is None


def test_persistent_keepalive_starts_the_session_and_keeps_it() -> None:
    network = Network()
    alice, bob, to_bob, to_alice = couple(network)
    alice.device.configure_peer(
        to_bob, PeerSettings(public_key=bob.key.public, persistent_keepalive=25), network.now
    )
    assert alice.device.next_deadline() == network.now

    network.run(110.0)
    sizes = [len(datagram.data) for datagram in network.wire]
    assert sizes == [148, 92, 32] + [32] * 4
    gaps = [after.at - before.at for before, after in zip(network.wire[2:], network.wire[3:], strict=False)]
    assert gaps == pytest.approx([25.0] * 4)

    network.run(1000.0)
    assert to_bob.has_session(network.now)
    assert to_alice.has_session(network.now)


def test_persistent_keepalive_goes_on_trying_when_nobody_answers() -> None:
    network = Network()
    alice = network.node("10.0.0.1")
    peer = alice.knows(Node(network, NOWHERE), endpoint=NOWHERE, persistent_keepalive=25)

    network.run(3600.0)

    assert len(network.wire) > 500
    assert sum(isinstance(event, HandshakeAbandoned) for event in alice.told()) > 20
    assert peer.endpoint == NOWHERE


def test_initiation_blocked_by_our_own_response_is_made_up_for() -> None:
    """Stock code forgets it and may wait for ever (wireguard.md section 6, (b))."""
    network = Network()
    alice, bob, to_bob, to_alice = couple(network)
    network.drop = lambda datagram: datagram.source == bob.endpoint and datagram.kind == 2
    alice.perform(alice.device.connect(to_bob, network.now))
    network.run(0.1)
    network.drop = lambda datagram: datagram.source == alice.endpoint and datagram.kind == 1
    bob.send(to_alice, frame(1))  # within 5 s of the response that got lost
    assert network.kinds() == [1, 2]

    network.run(6.0)

    assert alice.frames == [frame(1)]


# --- roaming, settings ---


def test_peer_is_followed_to_where_its_data_comes_from() -> None:
    network = Network()
    alice, bob, to_bob, to_alice = established(network)
    before = alice.endpoint
    alice.move("172.16.0.9", 4242)

    alice.send(to_bob, frame(1))
    network.run(0.1)
    bob.send(to_alice, frame(2))
    network.run(0.1)

    assert bob.told() == [EndpointMoved(to_alice, before)]
    assert alice.frames == [frame(2)]
    assert network.kinds() == [4, 4]


def test_replayed_data_does_not_move_the_endpoint() -> None:
    network = Network()
    alice, bob, to_bob, to_alice = established(network)
    alice.send(to_bob, frame(1))
    network.run(0.1)

    network.inject(network.wire[0].data, NOWHERE, bob.endpoint)

    assert to_alice.endpoint == alice.endpoint
    assert to_alice.discards == {DiscardReason.REPLAYED: 1}
    assert bob.told() == []


def test_local_address_is_remembered_and_forgotten_when_nobody_answers() -> None:
    network = Network()
    alice, bob, to_bob, to_alice = established(network)
    alice.send(to_bob, frame(1))
    datagram = network.wire[-1].data
    here = alice.endpoint._replace(local="10.0.0.2")

    bob.perform(bob.device.receive(datagram, here, network.now))
    assert to_alice.endpoint == here
    assert bob.told() == []  # the peer has not moved

    network.drop = lambda _: True
    network.run(200.0)
    bob.send(to_alice, frame(2))
    network.run(6.0)
    assert to_alice.endpoint == alice.endpoint


def test_mode_or_preshared_key_that_changes_ends_the_session() -> None:
    network = Network()
    alice, bob, to_bob, _ = established(network)
    settings = PeerSettings(public_key=bob.key.public, name="bob")
    alice.device.configure_peer(to_bob, settings, network.now)
    assert to_bob.has_session(network.now)

    settings = PeerSettings(public_key=bob.key.public, preshared_key=PresharedKey(bytes(range(32))))
    alice.device.configure_peer(to_bob, settings, network.now)

    assert not to_bob.has_session(network.now)
    assert len(alice.device._indexes) == 0


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"persistent_keepalive": 65536}, "65536"),
        ({"persistent_keepalive": -1}, "-1"),
        ({"mtu": 100}, "100"),
        ({"mtu": 65476}, "65476"),
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, int], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        PeerSettings(public_key=PublicKey(bytes(32)), **wrong)  # type: ignore[arg-type]


def test_peer_is_shown_by_name_or_key() -> None:
    network = Network()
    alice, bob, to_bob, _ = couple(network)

    assert repr(to_bob) == f"<peer {bob.key.public.encode()}>"
    alice.device.configure_peer(to_bob, PeerSettings(public_key=bob.key.public, name="bob"), 0.0)
    assert repr(to_bob) == "<peer bob>"
