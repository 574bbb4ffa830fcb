"""What a device does with bytes from anybody, with too many of them, and with its operator's mistakes."""

from __future__ import annotations

import random
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.vport.wireguard.network import UNIX_NS, Datagram, Network, Node, couple, frame
from vport.errors import LocalProtocolError, SettingsError
from vport.offload import VirtioNetHeader
from vport.train import Train
from vport.wireguard.constants import SOURCE_BURST
from vport.wireguard.cookie import MacStamper
from vport.wireguard.device import Device
from vport.wireguard.endpoint import Endpoint
from vport.wireguard.events import (
    ControlReceived,
    DiscardReason,
    FramesReceived,
    PacketsReceived,
    SessionEstablished,
    Transmit,
)
from vport.wireguard.keys import PrivateKey, PublicKey
from vport.wireguard.settings import Mode, PeerSettings

if TYPE_CHECKING:
    from vport.wireguard.peer import Peer

ATTACKER = Endpoint("203.0.113.66", 6666)


class Record:
    """Every kind of message between a couple, recorded, and two devices that have not seen them yet."""

    def __init__(self) -> None:
        self.network = Network()
        self.alice, self.bob, self.to_bob, self.to_alice = couple(self.network)
        self.alice.send(self.to_bob, frame(1))
        self.initiation = self.network.wire[0].data
        (answer,) = self.bob.device.receive(self.initiation, self.alice.endpoint, self.network.now)
        assert isinstance(answer, Transmit)
        self.response = bytes(answer.data)

    def complete(self) -> bytes:
        """Finish the handshake at alice's; give her first data message."""
        events = self.alice.device.receive(self.response, self.bob.endpoint, self.network.now)
        (data,) = [bytes(event.data) for event in events if isinstance(event, Transmit)]
        return data


def total(node: Node) -> int:
    return sum(node.device.discards.values())


def mutate(datagram: bytes, offset: int, flip: int) -> bytes:
    mutated = bytearray(datagram)
    mutated[offset] ^= flip
    return bytes(mutated)


# --- silence ---


@given(offset=st.integers(0, 131), flip=st.integers(1, 255))
@example(offset=0, flip=3)  # an initiation that says it is a response
@example(offset=0, flip=5)  # ... or transport data
@example(offset=39, flip=0x80)
def test_mutated_initiation_brings_silence_and_is_counted(offset: int, flip: int) -> None:
    record = Record()
    bob = Network().node("10.0.0.2", key=record.bob.key)
    to_alice = bob.knows(record.alice)

    assert bob.device.receive(mutate(record.initiation, offset, flip), ATTACKER, 1000.0) == []

    assert total(bob) == 1
    assert to_alice.endpoint is None
    assert len(bob.device._indexes) == 0
    (answer,) = [
        event
        for event in bob.device.receive(record.initiation, record.alice.endpoint, 1000.0)
        if isinstance(event, Transmit)
    ]
    assert len(answer.data) == 92


@given(offset=st.integers(132, 147), flip=st.integers(1, 255))
def test_mac2_is_not_looked_at_without_load(offset: int, flip: int) -> None:
    record = Record()
    bob = Network().node("10.0.0.2", key=record.bob.key)
    bob.knows(record.alice)

    assert bob.device.receive(mutate(record.initiation, offset, flip), record.alice.endpoint, 1000.0)


@given(offset=st.integers(0, 115), flip=st.integers(1, 255))
def test_mutated_initiation_with_right_mac1_brings_silence_and_is_counted(offset: int, flip: int) -> None:
    """An attacker who knows our public key can make mac1 right again."""
    record = Record()
    bob = Network().node("10.0.0.2", key=record.bob.key)
    bob.knows(record.alice)
    covered = mutate(record.initiation, offset, flip)[:116]
    forged = MacStamper(bob.key.public).stamp(covered, 1000.0)
    if 4 <= offset < 8:  # the sender's index alone is not authenticated: the answer goes astray
        assert len(bob.device.receive(forged, ATTACKER, 1000.0)) == 2
        return

    assert bob.device.receive(forged, ATTACKER, 1000.0) == []
    assert total(bob) == 1


@given(offset=st.integers(0, 75), flip=st.integers(1, 255), fix_mac=st.booleans())
@example(offset=0, flip=3, fix_mac=False)
def test_mutated_response_brings_silence_and_is_counted(offset: int, flip: int, fix_mac: bool) -> None:
    record = Record()
    mutated = mutate(record.response, offset, flip)
    if fix_mac:
        mutated = MacStamper(record.alice.key.public).stamp(mutated[:60], 1000.0)
    if fix_mac and (4 <= offset < 8 or offset >= 60):
        return  # the sender's index is not authenticated, and the mac is the right one again

    assert record.alice.device.receive(mutated, ATTACKER, 1000.0) == []

    assert total(record.alice) == 1
    assert record.to_bob.endpoint == record.bob.endpoint
    assert record.complete()


@given(offset=st.integers(0, 95), flip=st.integers(1, 255))
def test_mutated_data_brings_silence_and_is_counted(offset: int, flip: int) -> None:
    record = Record()
    data = record.complete()

    assert record.bob.device.receive(mutate(data, offset, flip), ATTACKER, 1000.0) == []

    assert total(record.bob) == 1
    assert record.to_alice.endpoint == record.alice.endpoint
    events = record.bob.device.receive(data, record.alice.endpoint, 1000.0)
    assert [type(event) for event in events] == [SessionEstablished, FramesReceived]


@given(st.binary(max_size=200), st.integers(0, 64))
@example(b"", 0)
@example(b"\1\0\0\0" + bytes(144), 0)
@example((b"\4\0\0\0" + bytes(28)) * 6, 32)
@example((b"\4\0\0\0" + bytes(28)) * 6, 16)
def test_any_bytes_bring_silence_and_are_counted(data: bytes, segment_size: int) -> None:
    network = Network()
    alice, _, _, _ = couple(network)

    assert alice.device.receive(data, ATTACKER, network.now, segment_size) == []

    expected = -(-len(data) // segment_size) if 0 < segment_size < len(data) else 1
    assert total(alice) == expected


def test_each_reason_is_told_apart() -> None:
    record = Record()
    device, now = record.bob.device, record.network.now

    def reason(data: bytes, at: float = now) -> DiscardReason:
        before = device.discards.copy()
        assert device.receive(data, ATTACKER, at) == []
        ((reason, count),) = (device.discards - before).items()
        assert count == 1
        return reason

    stranger = Network(seed=9).node("10.9.9.9")
    stranger.send(stranger.knows(record.bob, endpoint=record.bob.endpoint), frame(1))
    data = record.complete()
    assert reason(b"junk") is DiscardReason.MALFORMED_MESSAGE
    assert reason(bytes((1, 0, 0, 0)) + bytes(144)) is DiscardReason.BAD_MAC1
    assert reason(stranger.network.wire[0].data) is DiscardReason.UNKNOWN_PEER
    assert reason(record.initiation) is DiscardReason.STALE_TIMESTAMP
    assert reason(bytes((3, 0, 0, 0)) + bytes(60)) is DiscardReason.UNKNOWN_INDEX
    assert reason(record.response) is DiscardReason.BAD_MAC1
    assert reason(bytes((4, 0, 0, 0)) + bytes(60)) is DiscardReason.UNKNOWN_INDEX
    assert reason(data[:-1] + bytes((data[-1] ^ 1,))) is DiscardReason.FORGED
    assert reason(data, now + 181) is DiscardReason.EXPIRED_KEYPAIR
    device.receive(data, record.alice.endpoint, now)
    assert reason(data) is DiscardReason.REPLAYED
    assert reason(b"\3\0\0\0" + data[4:8] + bytes(56)) is DiscardReason.BAD_COOKIE


def test_response_is_taken_once() -> None:
    record = Record()
    record.complete()

    assert record.alice.device.receive(record.response, ATTACKER, 1000.0) == []
    assert record.alice.device.discards == {DiscardReason.UNKNOWN_INDEX: 1}


def test_initiations_closer_than_20_ms_are_ignored() -> None:
    record = Record()
    twin = Device(record.alice.key, entropy=random.Random(5).randbytes, now=1000.0, unix_ns=UNIX_NS + 10**9)
    peer = twin.add_peer(PeerSettings(public_key=record.bob.key.public), 1000.0, record.bob.endpoint)
    (initiation,) = [bytes(event.data) for event in twin.connect(peer, 1000.0) if isinstance(event, Transmit)]

    assert record.bob.device.receive(initiation, ATTACKER, 1000.019) == []
    assert record.bob.device.discards == {DiscardReason.HASTY_INITIATION: 1}
    assert len(record.bob.device.receive(initiation, record.alice.endpoint, 1000.021)) == 1


# --- clocks ---


def test_wall_clock_set_back_locks_nobody_out() -> None:
    network = Network()
    alice, bob, to_bob, to_alice = couple(network)
    alice.perform(alice.device.connect(to_bob, network.now))
    network.run(1.0)
    alice.device.set_wall_clock(network.now, UNIX_NS - 10**18)
    to_bob.forget()

    network.run(10.0)
    alice.perform(alice.device.connect(to_bob, network.now))
    network.run(1.0)

    assert to_bob.has_session(network.now)
    assert bob.device.discards == {}
    assert to_alice.last_handshake_at == pytest.approx(1011.03)


def test_restart_with_the_clock_set_back_needs_the_latest_stamp() -> None:
    network = Network()
    alice, bob, to_bob, _ = couple(network)
    alice.perform(alice.device.connect(to_bob, network.now))
    network.run(1.0)

    for latest_stamp, is_answered in ((0, False), (alice.device.latest_stamp, True)):
        network.now += 1.0
        restarted = Device(
            alice.key,
            entropy=random.Random(3).randbytes,
            now=network.now,
            unix_ns=UNIX_NS - 10**12,
            latest_stamp=latest_stamp,
        )
        peer = restarted.add_peer(PeerSettings(public_key=bob.key.public), network.now, bob.endpoint)
        (initiation,) = restarted.connect(peer, network.now)
        assert isinstance(initiation, Transmit)
        answers = bob.device.receive(initiation.data, alice.endpoint, network.now)
        assert bool(answers) is is_answered


@pytest.mark.parametrize("leap", [1e3, 1e6, 1e9])
def test_monotonic_clock_that_leaps_ahead_ends_sessions_and_starts_new_ones(leap: float) -> None:
    network = Network()
    alice, bob, to_bob, _ = couple(network)
    alice.send(to_bob, frame(1))
    network.run(1.0)

    network.now += leap
    network.run(1.0)
    alice.send(to_bob, frame(2))
    network.run(1.0)

    assert bob.frames == [frame(1), frame(2)]
    assert alice.device.discards == bob.device.discards == {}


def test_monotonic_time_that_repeats_or_falls_a_little_does_no_harm() -> None:
    network = Network()
    alice, bob, to_bob, to_alice = couple(network)
    alice.send(to_bob, frame(1))
    network.run(1.0)
    for step in (0.0, -0.5, 0.0):
        network.now += step
        alice.send(to_bob, frame(2))
        bob.send(to_alice, frame(3))
    network.run(1.0)

    assert bob.frames == [frame(1)] + [frame(2)] * 3
    assert alice.frames == [frame(3)] * 3


# --- load ---


def flood(node: Node, count: int, seconds: float) -> int:
    """Initiations that know the public key and nothing else, each from another address; counts replies."""
    network, generator = node.network, random.Random(4)
    stamper = MacStamper(node.key.public)
    replies = 0
    for _ in range(count):
        junk = b"\1\0\0\0" + generator.randbytes(112)
        source = Endpoint(f"198.18.{generator.getrandbits(8)}.{generator.getrandbits(8)}", 1234)
        replies += len(node.device.receive(stamper.stamp(junk, 0.0), source, network.now))
        network.run(seconds / count)
    return replies


def test_flood_from_spoofed_sources_stops_neither_a_session_nor_a_newcomer() -> None:
    network = Network()
    server, friend, newcomer = (network.node(f"10.0.0.{number}") for number in (1, 2, 3))
    to_friend, to_newcomer = server.knows(friend), server.knows(newcomer)
    friend_up = friend.knows(server, endpoint=server.endpoint)
    newcomer_up = newcomer.knows(server, endpoint=server.endpoint)
    friend.send(friend_up, frame(0))
    network.run(0.5)

    replies = flood(server, 10_000, 0.5)  # 20 000 a second
    assert 9000 < replies < 10_000
    assert server.device.discards[DiscardReason.OVERLOAD] == replies

    newcomer.send(newcomer_up, frame(1))
    for number in range(1, 11):
        friend.send(friend_up, frame(number))
        flood(server, 1000, 0.6)
    network.run(0.5)

    assert sorted(server.frames) == sorted([frame(number) for number in range(11)] + [frame(1)])
    assert to_newcomer.has_session(network.now)
    assert to_friend.discards == to_newcomer.discards == {}
    assert len(server.device._sources) <= 2


def test_newcomer_under_load_needs_one_cookie_and_one_retransmit() -> None:
    network = Network()
    alice, bob, to_bob, _ = couple(network)
    flood(bob, 500, 0.01)
    network.wire.clear()
    start = network.now
    alice.send(to_bob, frame(1))
    network.run(4.9)
    assert network.kinds() == [1, 3]
    assert alice.frames == []

    flood(bob, 500, 0.01)
    network.run(1.0)

    assert network.kinds() == [1, 3, 1, 2, 4]
    assert network.wire[2].data[-16:] != bytes(16)
    assert network.wire[2].at - start < 5.4
    assert bob.frames == [frame(1)]


def test_response_draws_a_cookie_too_and_then_carries_mac2() -> None:
    network = Network()
    alice, bob, to_bob, to_alice = couple(network)
    alice.send(to_bob, frame(1))
    flood(alice, 500, 0.0001)  # alice is under load when bob's response comes
    network.run(4.9)
    assert network.kinds() == [1, 2, 3]

    flood(alice, 500, 0.0001)
    network.run(1.0)

    assert network.kinds() == [1, 2, 3, 1, 2, 4]
    assert network.wire[4].data[-16:] != bytes(16)
    assert bob.frames == [frame(1)]
    assert to_alice.discards == {}


def test_proven_source_is_rationed_under_load() -> None:
    network = Network()
    alice, bob, to_bob, _ = couple(network)
    flood(bob, 500, 0.0001)
    network.wire.clear()
    alice.perform(alice.device.connect(to_bob, network.now))
    network.run(5.5)
    flood(bob, 500, 0.0001)
    with_cookie = next(datagram.data for datagram in network.wire if any(datagram.data[132:148]))
    sizes = [
        len(bob.device.receive(with_cookie, alice.endpoint, network.now)) for _ in range(2 * SOURCE_BURST)
    ]

    assert sizes == [0] * (2 * SOURCE_BURST)  # replays: no answer, whether they are looked at or not
    assert bob.device.discards[DiscardReason.STALE_TIMESTAMP] == SOURCE_BURST
    other = Endpoint("10.0.0.77", 51820)
    assert len(bob.device.receive(with_cookie, other, network.now)) == 1  # a cookie of its own


# --- identity ---


def test_same_key_from_two_places_never_mixes_sessions() -> None:
    network = Network()
    server, first = network.node("10.0.0.1"), network.node("10.0.0.2")
    to_client = server.knows(first)
    second = network.node("10.0.0.3", key=first.key)
    second.device.set_wall_clock(network.now, UNIX_NS + 10**9)
    first_up, second_up = (node.knows(server, endpoint=server.endpoint) for node in (first, second))
    for number in range(60):
        first.send(first_up, frame(2 * number))
        second.send(second_up, frame(2 * number + 1))
        network.run(3.0)
        server.send(to_client, frame(1000 + number))
        network.run(3.0)

    assert len(server.frames) == len(set(server.frames))
    assert set(server.frames) <= {frame(number) for number in range(120)}
    down = first.frames + second.frames
    assert len(down) == len(set(down))
    assert set(down) <= {frame(1000 + number) for number in range(60)}
    assert len(server.frames) > 60  # whoever spoke last has the link; the other comes back
    assert len(server.device._indexes) <= 4


def test_removed_peer_is_cut_off_at_once_and_not_answered() -> None:
    network = Network()
    alice, bob, to_bob, to_alice = couple(network)
    alice.send(to_bob, frame(1))
    network.run(1.0)
    bob.device.remove_peer(to_alice)
    network.wire.clear()

    alice.send(to_bob, frame(2))
    network.run(100.0)

    assert bob.frames == [frame(1)]
    assert {datagram.source for datagram in network.wire} == {alice.endpoint}
    assert bob.device.discards.keys() == {DiscardReason.UNKNOWN_INDEX, DiscardReason.UNKNOWN_PEER}
    assert bob.device.next_deadline() is None
    assert len(bob.device) == len(bob.device._indexes) == 0
    assert list(bob.device) == []
    assert bob.device.send(to_alice, [Train(frame(3), 60)], network.now) == []
    assert bob.device.connect(to_alice, network.now) == []
    with pytest.raises(LocalProtocolError):
        bob.device.remove_peer(to_alice)
    assert bob.knows(alice) is not to_alice


def test_peers_that_cannot_be_are_refused() -> None:
    network = Network()
    alice, bob, _, _ = couple(network)

    with pytest.raises(SettingsError, match="two peers"):
        alice.knows(bob)
    with pytest.raises(SettingsError, match="our own"):
        alice.knows(alice)
    with pytest.raises(SettingsError, match="no usable"):
        alice.device.add_peer(PeerSettings(public_key=PublicKey(bytes(32))), network.now)
    assert len(alice.device) == 1


def test_deadline_is_that_of_the_earliest_of_many_peers() -> None:
    network = Network()
    server = network.node("10.0.0.1")
    intervals = random.Random(2).sample(range(10, 500), 50)
    peers = [
        server.device.add_peer(
            PeerSettings(
                public_key=PrivateKey.generate(random.Random(number).randbytes).public,
                persistent_keepalive=number,
            ),
            network.now,
            ATTACKER,
        )
        for number in intervals
    ]
    server.perform(server.device.handle_timer(network.now))
    for _ in range(300):
        earliest = min(peer.timers.next_deadline() for peer in peers)
        assert server.device.next_deadline() == earliest
        server.perform(server.device.handle_timer(earliest))
    server.device.remove_peer(peers[0])
    assert server.device.next_deadline() == min(peer.timers.next_deadline() for peer in peers[1:])


# --- payload ---


def session(**settings: Any) -> tuple[Network, Node, Node, Peer, Peer]:
    network = Network()
    alice, bob, to_bob, to_alice = couple(network, **settings)
    alice.perform(alice.device.connect(to_bob, network.now))
    network.run(1.0)
    network.wire.clear()
    return network, alice, bob, to_bob, to_alice


def ip_packet(source: str, size: int = 40) -> bytes:
    octets = bytes(int(part) for part in source.split("."))
    return b"\x45\x00" + size.to_bytes(2, "big") + bytes(8) + octets + bytes(size - 16)


def test_long_train_crosses_as_one_send_and_one_receive() -> None:
    network, alice, bob, to_bob, to_alice = session()
    train = Train(random.Random(1).randbytes(1400 * 45 + 333), 1400)

    (transmit,) = alice.device.send(to_bob, [train], network.now)
    assert isinstance(transmit, Transmit)
    assert transmit.segment_size == 1408 + 32  # a word and a frame, padded to 16 bytes
    (received,) = bob.device.receive(transmit.data, alice.endpoint, network.now, transmit.segment_size)

    assert isinstance(received, FramesReceived)
    assert received.peer is to_alice
    assert [(bytes(got.data), got.frame_size) for got in received.trains] == [(train.data, 1400)]


def test_train_with_another_message_in_it_is_taken_apart() -> None:
    network, alice, bob, to_bob, to_alice = session()
    (first,) = alice.device.send(to_bob, [Train(bytes(1400 * 3), 1400)], network.now)
    assert isinstance(first, Transmit)
    data = bytearray(first.data)
    data[1440:2880] = random.Random(1).randbytes(1440)

    events = bob.device.receive(data, alice.endpoint, network.now, 1440)

    assert [type(event) for event in events] == [FramesReceived, FramesReceived]
    assert sum(bob.device.discards.values()) == 1
    assert to_alice.discards == {}


def test_forged_and_repeated_messages_in_a_train_cost_only_themselves() -> None:
    network, alice, bob, to_bob, to_alice = session()
    trains = [Train(b"".join(frame(number, 1400) for number in range(10)), 1400)]
    (transmit,) = alice.device.send(to_bob, trains, network.now)
    assert isinstance(transmit, Transmit)
    data = bytearray(transmit.data)
    size = transmit.segment_size
    data[4 * size + 100] ^= 1
    data[7 * size : 8 * size] = data[6 * size : 7 * size]

    bob.perform(bob.device.receive(data, alice.endpoint, network.now, size))

    assert bob.frames == [frame(number, 1400) for number in (0, 1, 2, 3, 5, 6, 8, 9)]
    assert to_alice.discards == {DiscardReason.FORGED: 1, DiscardReason.REPLAYED: 1}


def test_train_ending_in_a_message_of_another_kind_is_taken_whole() -> None:
    network, alice, bob, to_bob, to_alice = session()
    (transmit,) = alice.device.send(to_bob, [Train(bytes(1400 * 3), 1400)], network.now)
    assert isinstance(transmit, Transmit)
    data = bytes(transmit.data)
    out: list[Any] = []
    to_bob.keepalive(network.now, out)

    events = bob.device.receive(data + bytes(out[0].data), alice.endpoint, network.now, 1440)
    assert [type(event) for event in events] == [FramesReceived]
    events = bob.device.receive(data + b"\1junk", alice.endpoint, network.now, 1440)

    assert events == []
    assert bob.device.discards == {DiscardReason.REPLAYED: 3, DiscardReason.MALFORMED_MESSAGE: 1}
    assert to_alice.received_bytes == 148 + 32 + 3 * 1440 + 32


def test_train_ending_in_another_record_or_keypair_loses_neither() -> None:
    network, alice, bob, to_bob, to_alice = session()

    def sealed(*events: Any) -> bytes:
        return b"".join(bytes(event.data) for event in events if isinstance(event, Transmit))

    bulk = [Train(bytes(1400 * 3), 1400)]
    first = sealed(*alice.device.send(to_bob, bulk, network.now))
    control = sealed(*alice.device.send_control(to_bob, b"hello", network.now))
    second = sealed(*alice.device.send(to_bob, bulk, network.now))
    network.now += 6.0
    to_bob.initiate(network.now, out := [])
    alice.perform(out)
    network.run(0.1)
    renewed = sealed(*alice.device.send(to_bob, [Train(frame(9), 60)], network.now))

    bob.perform(bob.device.receive(first + control, alice.endpoint, network.now, 1440))
    bob.perform(bob.device.receive(second + renewed, alice.endpoint, network.now, 1440))

    assert bob.frames == [bytes(1400)] * 6 + [frame(9)]
    assert bob.controls == [b"hello"]
    assert to_alice.discards == bob.device.discards == {}


def test_control_records_arrive_as_events() -> None:
    network, alice, bob, to_bob, to_alice = session()
    (transmit,) = alice.device.send_control(to_bob, b"hello", network.now)
    assert isinstance(transmit, Transmit)

    events = bob.device.receive(transmit.data, alice.endpoint, network.now)

    assert events == [ControlReceived(to_alice, b"hello")]


def test_frames_that_no_record_carries_are_counted() -> None:
    network, alice, _, to_bob, _ = session()
    trains = [Train(bytes(13), 13), Train(bytes(16384), 16384), Train(bytes(60 + 5), 60)]

    assert alice.device.send(to_bob, trains, network.now) == []

    assert to_bob.discards == {DiscardReason.UNSENDABLE: 4}


def test_ip_peer_gets_and_gives_packets_within_its_prefixes() -> None:
    network = Network()
    server, phone = network.node("10.0.0.1"), network.node("10.0.0.2")
    to_phone = server.knows(phone, mode=Mode.IP, allowed_ips=(ip_network("192.168.50.77/32"),))
    to_server = phone.knows(
        server, endpoint=server.endpoint, mode=Mode.IP, allowed_ips=(ip_network("0.0.0.0/0"),)
    )
    good, foreign = ip_packet("192.168.50.77"), ip_packet("192.168.50.78")
    phone.perform(phone.device.send_packets(to_server, [good, foreign, good + b"pad", b"junk"], network.now))
    network.run(1.0)

    assert server.packets == [good, good]
    assert to_phone.discards == {DiscardReason.FOREIGN_SOURCE: 1}
    assert to_server.discards == {DiscardReason.UNSENDABLE: 1}
    assert server.device.route(bytes((192, 168, 50, 77))) is to_phone
    assert server.device.route(bytes((192, 168, 50, 78))) is None

    many = [ip_packet("8.8.8.8", 1400)] * 50
    server.perform(server.device.send_packets(to_phone, many, network.now))
    network.run(1.0)
    assert phone.packets == many


def test_peers_of_different_modes_find_out() -> None:
    network = Network()
    server, phone = network.node("10.0.0.1"), network.node("10.0.0.2")
    to_phone = server.knows(phone, mode=Mode.IP, allowed_ips=(ip_network("0.0.0.0/0"),))
    to_server = phone.knows(server, endpoint=server.endpoint)
    phone.send(to_server, frame(1))
    network.run(1.0)
    server.perform(server.device.send_packets(to_phone, [ip_packet("192.168.50.1")], network.now))
    network.run(1.0)

    assert server.packets == phone.frames == []
    assert to_phone.discards == to_server.discards == {DiscardReason.WRONG_MODE: 1}


def test_prefixes_follow_the_settings() -> None:
    network = Network()
    server, phone, laptop = (network.node(f"10.0.0.{number}") for number in (1, 2, 3))
    ten = (ip_network("10.10.0.0/16"),)
    to_phone = server.knows(phone, mode=Mode.IP, allowed_ips=ten)
    with pytest.raises(SettingsError, match="another peer"):
        server.knows(laptop, mode=Mode.IP, allowed_ips=ten)
    to_laptop = server.knows(laptop, mode=Mode.IP, allowed_ips=(ip_network("10.11.0.0/16"),))
    with pytest.raises(SettingsError, match="another peer"):
        server.device.configure_peer(
            to_laptop,
            PeerSettings(public_key=laptop.key.public, mode=Mode.IP, allowed_ips=ten),
            network.now,
        )
    assert server.device.route(bytes((10, 11, 0, 1))) is to_laptop

    server.device.configure_peer(to_phone, PeerSettings(public_key=phone.key.public), network.now)
    assert server.device.route(bytes((10, 10, 0, 1))) is None
    with pytest.raises(LocalProtocolError):
        server.device.configure_peer(to_phone, to_laptop.settings, network.now)


def test_wrong_use_by_our_own_caller_is_refused_loudly() -> None:
    network, alice, _, to_bob, _ = session()
    superframe = Train(bytes(5000), 1400, VirtioNetHeader(1, 1, 54, 1346, 34, 16))

    with pytest.raises(LocalProtocolError, match="ethernet"):
        alice.device.send_packets(to_bob, [], network.now)
    with pytest.raises(LocalProtocolError, match="superframe"):
        alice.device.send(to_bob, [superframe], network.now)


def test_no_secret_shows_in_what_a_device_is_made_of() -> None:
    _network, alice, _, to_bob, _ = session()
    secret = alice.key.encode()[:10]
    shown = "".join(
        repr(part)
        for part in (alice.device, to_bob, to_bob.settings, alice.device._local, to_bob.slots, alice.told())
    )

    assert secret not in shown
    assert repr(alice.key.raw)[2:12] not in shown


# --- events that nobody but a fault brings about ---


@settings(max_examples=30)
@given(st.lists(st.sampled_from(["tick", "send", "leap", "back", "flood"]), max_size=20))
def test_timers_always_lie_ahead(steps: list[str]) -> None:
    network = Network()
    alice, bob, to_bob, to_alice = couple(network)
    for step in steps:
        match step:
            case "tick":
                network.run(1.0)
            case "send":
                alice.send(to_bob, frame(1))
                bob.send(to_alice, frame(2))
            case "leap":
                network.run(130.0)
            case "back":
                network.drop = lambda datagram: isinstance(datagram, Datagram)
            case _:
                flood(bob, 150, 0.0)
        for node in (alice, bob):
            node.perform(node.device.handle_timer(network.now))
            deadline = node.device.next_deadline()
            assert deadline is None or deadline > network.now
    assert PacketsReceived.__match_args__ == ("peer", "packets")
