from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface
from typing import TYPE_CHECKING

import pytest
from scapy.layers.inet6 import (
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
)
from scapy.layers.l2 import ARP, Ether

from vport.errors import SettingsError
from vport.ethernet import BROADCAST, MacAddress
from vport.packets.arp import Arp, ArpOperation
from vport.packets.ip import Ipv6
from vport.packets.nd import NeighbourAdvertisement, NeighbourMessage, NeighbourSolicitation
from vport.station.events import Conflict, NeighbourLearned, ResolutionFailed
from vport.station.resolution import AddressResolution

if TYPE_CHECKING:
    from scapy.packet import Packet

    from vport.locator import IpAddress

OURS = MacAddress(bytes.fromhex("020000000001"))
THEIRS = MacAddress(bytes.fromhex("020000000002"))
OTHER = MacAddress(bytes.fromhex("020000000003"))
IP1, IP2, IP3 = (IPv4Address(f"10.1.1.{number}") for number in (1, 2, 3))
FD1, FD2 = IPv6Address("fd00::1"), IPv6Address("fd00::2")
GROUP_1 = IPv6Address("ff02::1:ff00:1")


def make() -> AddressResolution:
    return AddressResolution(OURS, [ip_interface("10.1.1.1/24"), ip_interface("fd00::1/64")])


def padded(frame: Packet) -> bytes:
    return bytes(frame.build().ljust(60, b"\0"))


def request(sender: IPv4Address, mac: MacAddress, target: IPv4Address) -> Arp:
    return Arp(operation=ArpOperation.REQUEST, sender_mac=mac, sender=sender, target=target)


def reply(sender: IPv4Address, mac: MacAddress, target: IPv4Address = IP1) -> Arp:
    return Arp(operation=ArpOperation.REPLY, sender_mac=mac, sender=sender, target_mac=OURS, target=target)


def header(source: IPv6Address, destination: IPv6Address) -> Ipv6:
    return Ipv6(source=source, destination=destination, next_header=58, payload=b"", hop_limit=255)


def who_has(target: str) -> bytes:
    return padded(
        Ether(src="02:00:00:00:00:01", dst="ff:ff:ff:ff:ff:ff")
        / ARP(op=1, hwsrc="02:00:00:00:00:01", psrc="10.1.1.1", pdst=target, hwdst="00:00:00:00:00:00")
    )


# --- ARP: answering ---


def test_request_for_our_address_is_answered_and_its_sender_learned() -> None:
    resolution = make()

    frames = resolution.receive_arp(request(IP2, THEIRS, IP1), 10.0)

    assert frames == [
        padded(
            Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
            / ARP(
                op=2, hwsrc="02:00:00:00:00:01", psrc="10.1.1.1", hwdst="02:00:00:00:00:02", pdst="10.1.1.2"
            )
        )
    ]
    assert resolution.take_events() == [NeighbourLearned(address=IP2, mac=THEIRS)]
    assert resolution.neighbours.entries() == {IP2: THEIRS}
    assert resolution.next_deadline() is None


def test_request_for_another_address_is_no_reason_to_learn() -> None:
    resolution = make()

    assert resolution.receive_arp(request(IP2, THEIRS, IP3), 10.0) == []

    assert resolution.neighbours.entries() == {}


def test_probe_for_our_address_is_answered_and_teaches_nothing() -> None:
    resolution = make()

    (frame,) = resolution.receive_arp(request(IPv4Address("0.0.0.0"), THEIRS, IP1), 10.0)

    assert frame[:6] == THEIRS
    assert resolution.neighbours.entries() == {}
    assert resolution.take_events() == []


def test_stranger_from_another_network_is_answered_but_not_learned() -> None:
    resolution = make()

    assert len(resolution.receive_arp(request(IPv4Address("192.0.2.1"), THEIRS, IP1), 10.0)) == 1

    assert resolution.neighbours.entries() == {}


@pytest.mark.parametrize("mac", [BROADCAST, MacAddress(bytes(6)), OURS, MacAddress(b"\x01" * 6)])
def test_sender_with_no_mac_of_its_own_is_ignored(mac: MacAddress) -> None:
    resolution = make()

    assert resolution.receive_arp(request(IP2, mac, IP1), 10.0) == []

    assert resolution.neighbours.entries() == {}


@pytest.mark.parametrize("sender", ["10.1.1.255", "10.1.1.0", "255.255.255.255", "224.0.0.1"])
def test_address_that_no_host_has_is_not_learned(sender: str) -> None:
    resolution = make()

    resolution.receive_arp(request(IPv4Address(sender), THEIRS, IP1), 10.0)

    assert resolution.neighbours.entries() == {}


def test_unknown_operation_is_ignored() -> None:
    resolution = make()
    packet = Arp(operation=3, sender_mac=THEIRS, sender=IP2, target=IP1)

    assert resolution.receive_arp(packet, 10.0) == []
    assert resolution.neighbours.entries() == {}


def test_unasked_reply_is_not_believed() -> None:
    resolution = make()

    assert resolution.receive_arp(reply(IP2, THEIRS), 10.0) == []

    assert resolution.neighbours.entries() == {}


def test_known_neighbour_that_announces_itself_elsewhere_is_followed() -> None:
    resolution = make()
    resolution.receive_arp(request(IP2, THEIRS, IP1), 10.0)
    resolution.take_events()

    assert resolution.receive_arp(request(IP2, OTHER, IP2), 11.0) == []

    assert resolution.take_events() == [NeighbourLearned(address=IP2, mac=OTHER)]
    assert resolution.send(IP2, b"packet", 11.0)[0][:6] == OTHER


def test_conflict_is_reported_and_defended_once_in_ten_seconds() -> None:
    resolution = make()

    assert resolution.receive_arp(request(IP1, THEIRS, IP1), 10.0) == [who_has("10.1.1.1")]
    assert resolution.take_events() == [Conflict(address=IP1, mac=THEIRS)]

    assert resolution.receive_arp(request(IP1, THEIRS, IP1), 19.9) == []
    assert resolution.take_events() == []

    assert resolution.receive_arp(reply(IP1, THEIRS, IP2), 20.0) == [who_has("10.1.1.1")]
    assert resolution.take_events() == [Conflict(address=IP1, mac=THEIRS)]
    assert resolution.neighbours.entries() == {}


# --- ARP: asking ---


def test_packet_to_an_unknown_neighbour_waits_for_the_answer() -> None:
    resolution = make()

    assert resolution.send(IP2, b"packet", 10.0) == [who_has("10.1.1.2")]
    assert resolution.send(IP2, b"second", 10.1) == []
    assert resolution.next_deadline() == 11.0

    frames = resolution.receive_arp(reply(IP2, THEIRS), 10.2)

    start = THEIRS + OURS + b"\x08\x00"
    assert frames == [(start + b"packet").ljust(60, b"\0"), (start + b"second").ljust(60, b"\0")]
    assert resolution.take_events() == [NeighbourLearned(address=IP2, mac=THEIRS)]
    assert resolution.next_deadline() is None
    assert resolution.send(IP2, b"third", 10.3) == [(start + b"third").ljust(60, b"\0")]


def test_neighbour_that_never_answers_is_reported() -> None:
    resolution = make()
    resolution.send(IP2, b"packet", 10.0)

    assert resolution.handle_timer(11.0) == [who_has("10.1.1.2")]
    assert resolution.handle_timer(12.0) == [who_has("10.1.1.2")]
    assert resolution.handle_timer(13.0) == []

    assert resolution.take_events() == [ResolutionFailed(address=IP2)]


def test_request_from_whom_we_ask_for_is_an_answer_too() -> None:
    resolution = make()
    resolution.send(IP2, b"packet", 10.0)

    frames = resolution.receive_arp(request(IP2, THEIRS, IP1), 10.1)

    assert [frame[12:14] for frame in frames] == [b"\x08\x00", b"\x08\x06"]


def test_stale_neighbour_is_asked_directly() -> None:
    resolution = make()
    resolution.receive_arp(request(IP2, THEIRS, IP1), 10.0)
    resolution.send(IP2, b"packet", 10.0)

    (frame,) = resolution.handle_timer(15.0)

    assert frame == THEIRS + who_has("10.1.1.2")[6:]

    assert resolution.receive_arp(reply(IP2, THEIRS), 15.1) == []
    assert resolution.next_deadline() is None


@pytest.mark.parametrize("target", ["192.0.2.1", "10.1.1.255", "224.0.0.1", "fd01::1", "10.1.1.1"])
def test_address_that_is_no_neighbour_fails_at_once(target: str) -> None:
    resolution = make()

    assert resolution.send(ip_address(target), b"packet", 10.0) == []

    assert resolution.take_events() == [ResolutionFailed(address=ip_address(target))]


def test_answer_naming_a_group_as_its_mac_is_not_believed() -> None:
    resolution = make()
    resolution.send(IP2, b"packet", 10.0)

    assert resolution.receive_arp(reply(IP2, MacAddress(b"\x01\0\x5e\0\0\1")), 10.1) == []

    assert resolution.neighbours.is_resolving(IP2)


# --- neighbour discovery: answering ---


def receive(
    resolution: AddressResolution,
    message: NeighbourMessage,
    source: IPv6Address = FD2,
    destination: IPv6Address = GROUP_1,
    mac: MacAddress = THEIRS,
    now: float = 10.0,
) -> list[bytes]:
    return resolution.receive_neighbour_message(header(source, destination), mac, message, now)


def advertisement(destination_mac: str, destination: str, *, solicited: bool) -> bytes:
    frame = (
        Ether(src="02:00:00:00:00:01", dst=destination_mac)
        / IPv6(src="fd00::1", dst=destination, hlim=255)
        / ICMPv6ND_NA(tgt="fd00::1", R=0, S=solicited, O=1)
        / ICMPv6NDOptDstLLAddr(lladdr="02:00:00:00:00:01")
    )
    return bytes(frame.build())


def test_solicitation_for_our_address_is_answered_and_its_source_learned() -> None:
    resolution = make()

    frames = receive(resolution, NeighbourSolicitation(target=FD1, source_mac=THEIRS))

    assert frames == [advertisement("02:00:00:00:00:02", "fd00::2", solicited=True)]
    assert resolution.take_events() == [NeighbourLearned(address=FD2, mac=THEIRS)]


def test_solicitation_without_source_mac_is_answered_to_the_sender_of_the_frame() -> None:
    resolution = make()

    frames = receive(resolution, NeighbourSolicitation(target=FD1))

    assert frames == [advertisement("02:00:00:00:00:02", "fd00::2", solicited=True)]
    assert resolution.neighbours.entries() == {}


def test_duplicate_address_detection_is_answered_to_everybody() -> None:
    resolution = make()

    frames = receive(resolution, NeighbourSolicitation(target=FD1), source=IPv6Address("::"))

    assert frames == [advertisement("33:33:00:00:00:01", "ff02::1", solicited=False)]
    assert resolution.neighbours.entries() == {}


def test_solicitation_for_another_address_is_ignored() -> None:
    resolution = make()

    assert (
        receive(resolution, NeighbourSolicitation(target=FD2, source_mac=OTHER), FD1.__class__("fd00::3"))
        == []
    )
    assert resolution.neighbours.entries() == {}


@pytest.mark.parametrize("mac", [OURS, MacAddress(b"\x33\x33\0\0\0\1")])
def test_neighbour_message_from_no_single_station_is_ignored(mac: MacAddress) -> None:
    assert receive(make(), NeighbourSolicitation(target=FD1), mac=mac) == []


def test_others_using_our_ipv6_address_are_a_conflict() -> None:
    resolution = make()

    assert receive(resolution, NeighbourAdvertisement(target=FD1, target_mac=THEIRS)) == []
    assert resolution.take_events() == [Conflict(address=FD1, mac=THEIRS)]

    assert receive(resolution, NeighbourSolicitation(target=FD2), source=FD1, now=21.0) == []
    assert resolution.take_events() == [Conflict(address=FD1, mac=THEIRS)]


# --- neighbour discovery: asking ---


def test_unknown_ipv6_neighbour_is_asked_for_in_its_group_and_then_directly() -> None:
    resolution = make()

    def solicitation(mac: str, destination: str) -> bytes:
        frame = (
            Ether(src="02:00:00:00:00:01", dst=mac)
            / IPv6(src="fd00::1", dst=destination, hlim=255)
            / ICMPv6ND_NS(tgt="fd00::2")
            / ICMPv6NDOptSrcLLAddr(lladdr="02:00:00:00:00:01")
        )
        return bytes(frame.build())

    assert resolution.send(FD2, b"packet", 10.0) == [solicitation("33:33:ff:00:00:02", "ff02::1:ff00:2")]

    answer = NeighbourAdvertisement(target=FD2, target_mac=THEIRS, is_solicited=True, is_override=True)
    assert receive(resolution, answer, destination=FD1, now=10.1) == [
        (THEIRS + OURS + b"\x86\xdd" + b"packet").ljust(60, b"\0")
    ]

    resolution.send(FD2, b"packet", 50.0)
    assert resolution.handle_timer(55.0) == [solicitation("02:00:00:00:00:02", "fd00::2")]

    answer = NeighbourAdvertisement(target=FD2, is_solicited=True)  # the MAC may be left out here
    assert receive(resolution, answer, destination=FD1, now=55.1) == []
    assert resolution.next_deadline() is None


def test_answer_without_a_mac_does_not_resolve() -> None:
    resolution = make()
    resolution.send(FD2, b"packet", 10.0)

    assert receive(resolution, NeighbourAdvertisement(target=FD2, is_solicited=True)) == []

    assert resolution.neighbours.is_resolving(FD2)


def test_known_neighbour_is_moved_only_by_an_advertisement_that_overrides() -> None:
    resolution = make()
    receive(resolution, NeighbourSolicitation(target=FD1, source_mac=THEIRS))

    receive(resolution, NeighbourAdvertisement(target=FD2, target_mac=OTHER))
    assert resolution.neighbours.mac_of(FD2) == THEIRS

    receive(resolution, NeighbourAdvertisement(target=FD2, target_mac=OTHER, is_override=True))
    assert resolution.neighbours.mac_of(FD2) == OTHER


def test_unasked_advertisement_is_not_believed() -> None:
    resolution = make()

    receive(resolution, NeighbourAdvertisement(target=FD2, target_mac=THEIRS, is_override=True))

    assert resolution.neighbours.entries() == {}


# --- ourselves ---


def test_announcements_say_where_our_addresses_are() -> None:
    assert make().announce() == [
        who_has("10.1.1.1"),
        advertisement("33:33:00:00:00:01", "ff02::1", solicited=False),
    ]


def test_groups_are_those_in_which_we_are_asked_for() -> None:
    assert make().groups == {BROADCAST, bytes.fromhex("333300000001"), bytes.fromhex("3333ff000001")}
    assert AddressResolution(OURS, [ip_interface("10.1.1.1/24")]).groups == {BROADCAST}


def test_source_is_that_of_the_narrowest_network() -> None:
    resolution = AddressResolution(
        OURS, [ip_interface("10.1.0.1/8"), ip_interface("10.1.1.1/24"), ip_interface("10.2.0.1/16")]
    )

    def source(text: str) -> IpAddress | None:
        return resolution.source_for(ip_address(text))

    assert source("10.1.1.7") == ip_address("10.1.1.1")
    assert source("10.2.3.4") == ip_address("10.2.0.1")
    assert source("10.9.9.9") == ip_address("10.1.0.1")
    assert source("11.0.0.1") is None
    assert source("::1") is None


def test_network_of_two_has_no_broadcast_address() -> None:
    resolution = AddressResolution(OURS, [ip_interface("10.1.1.1/31")])

    assert resolution.is_neighbour(ip_address("10.1.1.0"))


@pytest.mark.parametrize(
    "text",
    ["224.0.0.1/24", "0.0.0.0/8", "127.0.0.1/8", "10.1.1.255/24", "10.1.1.0/24", "ff02::1/64", "::/64"],
)
def test_address_that_no_single_host_can_have_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=text):
        AddressResolution(OURS, [ip_interface(text)])
