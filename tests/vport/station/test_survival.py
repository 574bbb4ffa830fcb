"""What a station promises whatever others send: no exception, bounded memory, no amplification."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface
from typing import TYPE_CHECKING, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from vport.ethernet import BROADCAST, EtherType, MacAddress, is_multicast
from vport.packets.arp import Arp
from vport.packets.icmp import Echo, Icmp
from vport.packets.ip import Ipv4, Ipv6
from vport.packets.nd import NeighbourAdvertisement, NeighbourSolicitation
from vport.station import Station
from vport.station.events import describe
from vport.station.neighbours import MAX_PENDING

if TYPE_CHECKING:
    from vport.station.resolution import AddressResolution

OURS = MacAddress(bytes.fromhex("020000000001"))
CAPACITY = 16
LONGEST_NEIGHBOUR_ADVERTISEMENT = 86  # headers of 14 + 40, message of 24, option of 8

T = TypeVar("T")


def mostly(usual: T, anything: st.SearchStrategy[T]) -> st.SearchStrategy[T]:
    """Draw what a well-meaning station sends most of the time, so that one oddity at a time is tried."""
    return st.integers(0, 7).flatmap(lambda number: anything if number == 7 else st.just(usual))


def mac(text: str) -> MacAddress:
    return MacAddress(bytes.fromhex(text))


# Few addresses, so that what is drawn often means us, a neighbour of ours, or a group.
THEIRS = mac("020000000002")
odd_macs = st.sampled_from(
    [
        OURS,
        BROADCAST,
        *map(mac, ["020000000003", "000000000000", "01005e000001", "333300000001", "3333ff000001"]),
    ]
)
source_macs = mostly(THEIRS, odd_macs)
destination_macs = mostly(OURS, odd_macs)
IPV4_1, IPV4_2, FD1, FD2 = map(ip_address, ["10.1.1.1", "10.1.1.2", "fd00::1", "fd00::2"])
ipv4_addresses = st.one_of(
    st.sampled_from(["10.1.1.1", "10.1.1.2", "10.1.255.255", "0.0.0.0", "224.0.0.1", "255.255.255.255"]),
    st.integers(0x0A010000, 0x0A01FFFF),
).map(IPv4Address)
ipv6_addresses = st.one_of(
    st.sampled_from(["fd00::1", "fe80::ff:fe00:1", "fd00::2", "::", "::1", "ff02::1", "ff02::1:ff00:1"]),
    st.integers(0xFD << 120, (0xFD << 120) + 0xFFFF),
).map(IPv6Address)
words = st.integers(0, 0xFFFF)
bodies = st.binary(max_size=40) | st.just(1500).map(bytes)
echoes = st.builds(
    Echo,
    identifier=st.integers(0, 3),
    sequence=st.integers(0, 3),
    data=bodies | st.just(bytes(range(56))),
).map(Echo.encode)

arps = st.builds(
    Arp,
    operation=mostly(1, st.sampled_from([0, 2, 3])),
    sender_mac=source_macs,
    sender=mostly(IPV4_2, ipv4_addresses),
    target_mac=destination_macs,
    target=mostly(IPV4_1, ipv4_addresses),
).map(Arp.encode)
icmps = st.builds(
    Icmp,
    type=mostly(8, st.sampled_from([0, 3, 11])),
    code=mostly(0, st.integers(0, 255)),
    body=echoes | bodies,
)
ipv4_packets = st.builds(
    Ipv4,
    source=mostly(IPV4_2, ipv4_addresses),
    destination=mostly(IPV4_1, ipv4_addresses),
    protocol=mostly(1, st.integers(0, 255)),
    payload=icmps.map(Icmp.encode),
    more_fragments=mostly(False, st.just(True)),
    fragment_offset=mostly(0, st.just(8)),
    options=mostly(b"", st.sampled_from([b"\x07\x04\x04\x00", bytes(40)])),
).map(Ipv4.encode)
solicitations = st.builds(
    NeighbourSolicitation, target=mostly(FD1, ipv6_addresses), source_mac=st.none() | source_macs
)
advertisements = st.builds(
    NeighbourAdvertisement,
    target=mostly(FD2, ipv6_addresses),
    target_mac=st.none() | source_macs,
    is_solicited=st.booleans(),
    is_override=st.booleans(),
)
icmpv6s = st.one_of(
    solicitations.map(NeighbourSolicitation.encode),
    advertisements.map(NeighbourAdvertisement.encode),
    st.builds(Icmp, type=mostly(128, st.sampled_from([129, 133, 134, 135, 136, 137])), body=echoes | bodies),
)
options_header = mostly(
    b"", st.sampled_from([bytes.fromhex("3a00010400000000"), bytes.fromhex("3a00c20400000000")])
)


def ipv6_packet(
    icmp: Icmp, source: IPv6Address, destination: IPv6Address, hop_limit: int, options: bytes
) -> bytes:
    packet = icmp.in_ipv6(source, destination, hop_limit)
    if not options:
        return packet.encode()
    return Ipv6(
        source=source,
        destination=destination,
        next_header=60,
        payload=options + packet.payload,
        hop_limit=hop_limit,
    ).encode()


ipv6_packets = st.builds(
    ipv6_packet,
    icmpv6s,
    mostly(FD2, ipv6_addresses),
    mostly(FD1, ipv6_addresses),
    mostly(255, st.just(64)),
    options_header,
)


def frame(destination: bytes, source: bytes, tag: bytes, ethertype_and_payload: tuple[int, bytes]) -> bytes:
    ethertype, payload = ethertype_and_payload
    return destination + source + tag + ethertype.to_bytes(2, "big") + payload


contents = st.one_of(
    st.tuples(st.just(int(EtherType.ARP)), arps),
    st.tuples(st.just(int(EtherType.IPV4)), ipv4_packets),
    st.tuples(st.just(int(EtherType.IPV6)), ipv6_packets),
    st.tuples(st.sampled_from([0x0800, 0x0806, 0x86DD, 0x8100, 0x88CC, 0x0026]), bodies),
)
tags = mostly(b"", st.sampled_from([b"\x81\0\0\0", b"\x81\0\0\5", b"\x81\0\0\0\x81\0\0\0"]))
valid_frames = st.builds(frame, destination_macs, source_macs, tags, contents)


def damage(data: bytes, at: int, value: int, keep: int) -> bytes:
    changed = bytearray(data)
    changed[at % len(changed)] ^= value
    return bytes(changed[:keep])


damaged_frames = st.builds(damage, valid_frames, words, st.integers(1, 255), st.integers(0, 200))
any_frames = valid_frames | valid_frames | damaged_frames | st.binary(max_size=100)


def make() -> Station:
    return Station(
        OURS,
        [ip_interface("10.1.1.1/16"), ip_interface("fd00::1/64")],
        neighbour_capacity=CAPACITY,
        is_observing=True,
    )


def check_answers(sent: bytes, answers: list[bytes]) -> None:
    assert len(answers) <= 1
    for answer in answers:
        assert not is_multicast(sent[6:12])
        assert answer[6:12] == OURS
        assert len(answer) <= max(len(sent), LONGEST_NEIGHBOUR_ADVERTISEMENT)
        is_echo = answer[12:14] == b"\x08\x00" or (answer[12:14] == b"\x86\xdd" and answer[54] == 129)
        if is_echo:
            assert answer[:6] == sent[6:12]
            assert len(answer) <= max(len(sent), 60)


@settings(max_examples=400, deadline=None)
@given(any_frames)
def test_station_at_rest_answers_a_frame_at_most_once_and_never_larger(sent: bytes) -> None:
    station = make()

    check_answers(sent, station.receive(sent, 10.0))

    assert station.next_deadline() is None
    for event in station.take_events():
        assert describe(event).isprintable()


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_answer_never_provokes_an_answer_for_ever(payload: bytes) -> None:
    near = make()
    far = Station(MacAddress(b"\2\0\0\0\0\2"), [ip_interface("10.1.1.2/16"), ip_interface("fd00::2/64")])
    icmp = Icmp(type=8, body=bytes(4) + payload)
    packet = icmp.in_ipv4(IPv4Address("10.1.1.2"), IPv4Address("10.1.1.1")).encode()
    frames = [OURS + far.mac + b"\x08\x00" + packet]

    for _ in range(3):
        answers = [answer for sent in frames for answer in near.receive(sent, 10.0)]
        frames = [answer for sent in answers for answer in far.receive(sent, 10.0)]

    assert frames == []


class StationMachine(RuleBasedStateMachine):
    """A busy station on a hostile LAN: it pings, time passes, anything arrives."""

    def __init__(self) -> None:
        super().__init__()
        self.station = make()
        self.now = 0.0

    @rule(sent=any_frames)
    def receive(self, sent: bytes) -> None:
        waiting = sum(len(one.waiting) for one in self.resolution.neighbours._pending.values())
        answers = self.station.receive(sent, self.now)
        assert len(answers) <= 1 + waiting

    @rule(address=ipv4_addresses | ipv6_addresses, size=st.sampled_from([0, 56, 8000]))
    def ping(self, address: IPv4Address | IPv6Address, size: int) -> None:
        self.station.ping(address, self.now, size=size)

    @rule(seconds=st.sampled_from([0.0, 0.1, 1.0, 6.0, 31.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.station.handle_timer(self.now)
        deadline = self.station.next_deadline()
        assert deadline is None or deadline > self.now

    @rule()
    def describe_events(self) -> None:
        for event in self.station.take_events():
            assert describe(event).isprintable()

    @invariant()
    def bounds_hold(self) -> None:
        assert len(self.resolution.neighbours) <= CAPACITY
        assert len(self.resolution.neighbours._pending) <= MAX_PENDING
        assert self.resolution.neighbours.mac_of(ip_address("10.1.1.1")) is None
        assert not any(is_multicast(mac) for mac in self.resolution.neighbours.entries().values())

    @property
    def resolution(self) -> AddressResolution:
        return self.station.resolution


TestStation = StationMachine.TestCase
TestStation.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_flood_of_invented_stations_leaves_the_table_bounded() -> None:
    station = make()
    for number in range(5000):
        packet = Arp(
            operation=1,
            sender_mac=MacAddress(b"\6" + number.to_bytes(5, "big")),
            sender=IPv4Address("10.1.2.0") + number,
            target=IPv4Address("10.1.1.1"),
        )
        assert len(station.receive(packet.frame(), 10.0)) == 1

    assert len(station.resolution.neighbours) == CAPACITY
    assert station.next_deadline() is None


@pytest.mark.parametrize("size", [9014, 9015, 65507, 65535])
@pytest.mark.parametrize("start", ["0806", "08004500", "86dd6000000023233aff", "81000000080045"])
def test_huge_frame_is_survived(start: str, size: int) -> None:
    sent = (OURS + b"\2\0\0\0\0\2" + bytes.fromhex(start)).ljust(size, b"\0")

    assert make().receive(sent, 10.0) == []
