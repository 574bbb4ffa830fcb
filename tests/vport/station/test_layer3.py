from __future__ import annotations

from ipaddress import IPv6Address, ip_address, ip_interface

from hypothesis import given, settings
from hypothesis import strategies as st

from vport.ethernet import BROADCAST, EtherType, MacAddress, encode_frame, parse_mac
from vport.packets.arp import Arp, ArpOperation
from vport.packets.icmp import Icmp, Icmpv6Type
from vport.packets.nd import NeighbourAdvertisement, NeighbourSolicitation, group_mac, solicited_node
from vport.station.layer3 import Layer3Station

OURS, THEIRS = parse_mac("02:00:00:00:00:01"), parse_mac("02:00:00:00:00:02")
V4, V6 = ip_interface("10.1.1.1/24"), ip_interface("fd00::1/64")
PEER4, PEER6 = ip_address("10.1.1.2"), IPv6Address("fd00::2")


def station(*gateways: str) -> Layer3Station:
    return Layer3Station(OURS, (V4, V6), [ip_address(gateway) for gateway in gateways])


def packet4(destination: str) -> bytes:
    header = bytearray(20)
    header[0] = 0x45
    header[12:16] = V4.ip.packed
    header[16:20] = ip_address(destination).packed
    return bytes(header)


def packet6(destination: str) -> bytes:
    return bytes((0x60, 0, 0, 0, 0, 0, 59, 64)) + V6.ip.packed + ip_address(destination).packed


def arp(operation: ArpOperation, target: str) -> bytes:
    target_ip = ip_address(target)
    packet = Arp(
        operation=operation,
        sender_mac=THEIRS,
        sender=PEER4,
        target_mac=OURS,
        target=target_ip,  # type: ignore[arg-type]
    )
    return packet.frame(OURS if operation == ArpOperation.REPLY else BROADCAST)


def test_packet_waits_for_its_next_hop_and_goes_when_that_is_known() -> None:
    layer3 = station()
    assert layer3.header_for(packet4("10.1.1.2"), 0.0) == (None, PEER4)
    [question] = layer3.wait(PEER4, packet4("10.1.1.2"), 0.0)
    assert question[:6] == BROADCAST
    assert layer3.next_deadline() == 1.0

    is_for_device, [waited] = layer3.receive(arp(ArpOperation.REPLY, "10.1.1.1"), 0.5)
    assert not is_for_device
    assert waited == encode_frame(THEIRS, OURS, EtherType.IPV4, packet4("10.1.1.2"))
    assert layer3.header_for(packet4("10.1.1.2"), 1.0) == (THEIRS + OURS + b"\x08\x00", None)


def test_question_for_our_address_is_answered_and_not_passed_on() -> None:
    is_for_device, [answer] = station().receive(arp(ArpOperation.REQUEST, "10.1.1.1"), 0.0)
    assert not is_for_device
    assert answer[:6] == THEIRS
    assert station().receive(arp(ArpOperation.REQUEST, "10.1.1.3"), 0.0) == (False, [])


def test_neighbour_discovery_is_answered_and_not_passed_on() -> None:
    layer3 = station()
    target = IPv6Address("fd00::1")
    message = NeighbourSolicitation(target=target, source_mac=THEIRS)
    group = solicited_node(target)
    packet = message.encode().in_ipv6(PEER6, group, 255)
    frame = encode_frame(group_mac(group), THEIRS, EtherType.IPV6, packet.encode())

    is_for_device, answers = layer3.receive(frame, 0.0)
    assert not is_for_device
    assert [answer[:6] for answer in answers] == [THEIRS]
    assert layer3.header_for(packet6("fd00::2"), 0.0) == (THEIRS + OURS + b"\x86\xdd", None)


def test_other_messages_of_icmpv6_are_the_devices_matter() -> None:
    echo = Icmp(type=Icmpv6Type.ECHO_REQUEST, body=bytes(12)).in_ipv6(PEER6, IPv6Address("fd00::1"), 64)
    frame = encode_frame(OURS, THEIRS, EtherType.IPV6, echo.encode())
    assert station().is_discovery(frame)
    assert station().receive(frame, 0.0) == (True, [])


def test_advertisement_for_an_ipv6_next_hop_releases_its_packet() -> None:
    layer3 = station()
    layer3.wait(PEER6, packet6("fd00::2"), 0.0)
    message = NeighbourAdvertisement(target=PEER6, target_mac=THEIRS, is_solicited=True, is_override=True)
    packet = message.encode().in_ipv6(PEER6, IPv6Address("fd00::1"), 255)
    frame = encode_frame(OURS, THEIRS, EtherType.IPV6, packet.encode())
    assert layer3.receive(frame, 0.1)[1] == [encode_frame(THEIRS, OURS, EtherType.IPV6, packet6("fd00::2"))]


def test_groups_and_broadcasts_need_no_question() -> None:
    layer3 = station()
    for packet, mac in (
        (packet4("10.1.1.255"), BROADCAST),
        (packet4("255.255.255.255"), BROADCAST),
        (packet4("239.129.2.3"), bytes.fromhex("01005e010203")),
        (packet6("ff02::fb"), bytes.fromhex("3333000000fb")),
    ):
        header, next_hop = layer3.header_for(packet, 0.0)
        assert header is not None
        assert next_hop is None
        assert header[:6] == mac


def test_packets_for_elsewhere_go_to_the_gateway_or_nowhere() -> None:
    assert station().header_for(packet4("192.0.2.1"), 0.0) == (None, None)
    layer3 = station("10.1.1.2", "fd00::2")
    assert layer3.header_for(packet4("192.0.2.1"), 0.0) == (None, PEER4)
    assert layer3.header_for(packet6("2001:db8::1"), 0.0) == (None, PEER6)
    assert station("192.0.2.9").header_for(packet4("192.0.2.1"), 0.0) == (None, None)


def test_frames_for_others_and_of_other_protocols_are_not_passed_on() -> None:
    layer3 = station()
    other = MacAddress(bytes.fromhex("020000000009"))
    assert layer3.receive(encode_frame(other, THEIRS, EtherType.IPV4, bytes(20)), 0.0) == (False, [])
    assert layer3.receive(encode_frame(OURS, OURS, EtherType.IPV4, bytes(20)), 0.0) == (False, [])
    assert layer3.receive(encode_frame(OURS, THEIRS, EtherType.VLAN, bytes(20)), 0.0) == (False, [])
    assert layer3.discards["not IP"] == 1
    assert layer3.receive(encode_frame(OURS, THEIRS, EtherType.IPV4, bytes(20)), 0.0) == (True, [])


@settings(deadline=None)  # it would measure how busy the machine is
@given(st.binary(max_size=100), st.binary(max_size=100))
def test_any_bytes_are_survived(frame: bytes, packet: bytes) -> None:
    layer3 = station()
    layer3.receive(frame, 0.0)
    layer3.receive(OURS + THEIRS + frame, 0.0)
    layer3.receive(OURS + THEIRS + b"\x86\xdd" + frame, 0.0)
    layer3.header_for(packet, 0.0)
    assert len(layer3.conflicts) <= 3
