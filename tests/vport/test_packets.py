from __future__ import annotations

import contextlib
import struct
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    PadN,
    RouterAlert,
)
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw

from vport.errors import FrameError
from vport.ethernet import BROADCAST, MacAddress
from vport.packets.arp import Arp, ArpOperation, decode_arp
from vport.packets.icmp import Echo, Icmp, IcmpType, Icmpv6Type, decode_echo, decode_icmp, decode_icmpv6
from vport.packets.ip import IpProtocol, Ipv4, Ipv6, decode_ipv4, decode_ipv6, upper_layer
from vport.packets.nd import (
    NeighbourAdvertisement,
    NeighbourMessage,
    NeighbourSolicitation,
    decode_neighbour_message,
    group_mac,
    link_local_address,
    solicited_node,
)

OURS = MacAddress(bytes.fromhex("020000000001"))
THEIRS = MacAddress(bytes.fromhex("020000000002"))
FD1, FD2 = IPv6Address("fd00::1"), IPv6Address("fd00::2")

macs = st.binary(min_size=6, max_size=6).map(MacAddress)
ipv4_addresses = st.ip_addresses(v=4)
ipv6_addresses = st.ip_addresses(v=6)
unicast_ipv6 = ipv6_addresses.filter(lambda address: not address.is_multicast and not address.is_unspecified)
bytes16 = st.integers(0, 0xFFFF)

ipv4_packets = st.builds(
    Ipv4,
    source=ipv4_addresses,
    destination=ipv4_addresses,
    protocol=st.integers(0, 255),
    payload=st.binary(max_size=100),
    ttl=st.integers(0, 255),
    tos=st.integers(0, 255),
    identification=bytes16,
    dont_fragment=st.booleans(),
    more_fragments=st.booleans(),
    fragment_offset=st.integers(0, 0x1FFF).map(lambda units: units * 8),
    options=st.integers(0, 10).flatmap(lambda words: st.binary(min_size=words * 4, max_size=words * 4)),
)
ipv6_packets = st.builds(
    Ipv6,
    source=ipv6_addresses,
    destination=ipv6_addresses,
    next_header=st.integers(0, 255),
    payload=st.binary(max_size=100),
    hop_limit=st.integers(0, 255),
    traffic_class=st.integers(0, 255),
    flow_label=st.integers(0, 0xFFFFF),
)


# --- ARP ---


@given(bytes16, macs, ipv4_addresses, macs, ipv4_addresses)
def test_arp_agrees_with_scapy(
    operation: int, mac: MacAddress, sender: IPv4Address, target_mac: MacAddress, target: IPv4Address
) -> None:
    packet = Arp(operation=operation, sender_mac=mac, sender=sender, target_mac=target_mac, target=target)

    expected = bytes(
        ARP(op=operation, hwsrc=mac.hex(":"), psrc=str(sender), hwdst=target_mac.hex(":"), pdst=str(target))
    )

    assert packet.encode() == expected
    assert decode_arp(expected + b"padding") == packet


def test_arp_frame_goes_to_everybody_from_its_sender() -> None:
    packet = Arp(
        operation=ArpOperation.REQUEST,
        sender_mac=OURS,
        sender=IPv4Address("10.1.1.1"),
        target=IPv4Address("10.1.1.2"),
    )

    frame = packet.frame()

    assert frame[:14] == BROADCAST + OURS + b"\x08\x06"
    assert len(frame) == 60
    assert decode_arp(frame[14:]) == packet


@pytest.mark.parametrize("field", [0, 2, 4, 5])
def test_arp_about_other_hardware_or_protocols_is_refused(field: int) -> None:
    packet = bytearray(ARP().build())
    packet[field] ^= 1

    with pytest.raises(FrameError):
        decode_arp(packet)


# --- IPv4 ---


@given(ipv4_packets)
def test_ipv4_encode_then_decode_is_identity(packet: Ipv4) -> None:
    assert decode_ipv4(packet.encode() + b"padding") == packet


@given(ipv4_packets)
def test_ipv4_agrees_with_scapy(packet: Ipv4) -> None:
    parsed = IP(packet.encode())

    written_checksum = parsed.chksum
    del parsed.chksum
    assert IP(parsed.build()).chksum == written_checksum
    assert (parsed.src, parsed.dst) == (str(packet.source), str(packet.destination))
    assert (parsed.ttl, parsed.tos, parsed.id) == (packet.ttl, packet.tos, packet.identification)
    assert (parsed.proto, parsed.ihl, parsed.len) == (
        packet.protocol,
        5 + len(packet.options) // 4,
        len(packet.encode()),
    )
    assert parsed.frag * 8 == packet.fragment_offset
    assert bool(parsed.flags.DF) is packet.dont_fragment
    assert bool(parsed.flags.MF) is packet.more_fragments


@pytest.mark.parametrize(
    "change",
    [
        {"version": 6},
        {"ihl": 4},
        {"ihl": 15},
        {"len": 19},
        {"len": 200},
        {"chksum": 1},
    ],
)
def test_ipv4_with_contradicting_header_is_refused(change: dict[str, int]) -> None:
    with pytest.raises(FrameError):
        decode_ipv4(IP(src="10.1.1.1", dst="10.1.1.2", **change).build())


def test_ipv4_fragment_is_known_as_such() -> None:
    assert decode_ipv4(IP(flags="MF").build()).is_fragment
    assert decode_ipv4(IP(frag=100).build()).is_fragment
    assert not decode_ipv4(IP(flags="DF").build()).is_fragment


# --- IPv6 ---


@given(ipv6_packets)
def test_ipv6_encode_then_decode_is_identity(packet: Ipv6) -> None:
    assert decode_ipv6(packet.encode() + b"padding") == packet


@given(ipv6_packets)
def test_ipv6_agrees_with_scapy(packet: Ipv6) -> None:
    expected = (
        IPv6(
            src=str(packet.source),
            dst=str(packet.destination),
            nh=packet.next_header,
            hlim=packet.hop_limit,
            tc=packet.traffic_class,
            fl=packet.flow_label,
            plen=len(packet.payload),
        ).build()
        + packet.payload
    )

    assert packet.encode() == expected


def test_ipv6_longer_than_its_frame_is_refused() -> None:
    with pytest.raises(FrameError):
        decode_ipv6(IPv6(plen=1).build())


def test_upper_layer_is_found_behind_options() -> None:
    packet = (
        IPv6() / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt(options=[PadN(optdata=b"12")]) / ICMPv6EchoRequest()
    )

    protocol, rest = upper_layer(decode_ipv6(packet.build()))

    assert protocol == IpProtocol.ICMPV6
    assert rest[0] == Icmpv6Type.ECHO_REQUEST


def test_upper_layer_stops_at_a_fragment_header() -> None:
    packet = IPv6() / IPv6ExtHdrFragment(offset=1) / ICMPv6EchoRequest()

    assert upper_layer(decode_ipv6(packet.build()))[0] == 44


def test_option_that_may_be_skipped_is_skipped() -> None:
    packet = IPv6() / IPv6ExtHdrHopByHop(options=[RouterAlert()]) / ICMPv6EchoRequest()

    assert upper_layer(decode_ipv6(packet.build()))[0] == IpProtocol.ICMPV6


@pytest.mark.parametrize(
    "payload",
    [
        "3a",  # no whole header
        "3a01000000000000",  # 16 bytes announced, 8 there
        "3a00c20400000000",  # a jumbo payload option, unknown and not to be skipped
        "3a000105ffffffff",  # a PadN longer than its header
        "3a00000000000001",  # an option without its length
    ],
)
def test_malformed_or_unskippable_options_are_refused(payload: str) -> None:
    packet = Ipv6(source=FD1, destination=FD2, next_header=0, payload=bytes.fromhex(payload))

    with pytest.raises(FrameError):
        upper_layer(packet)


def test_endless_options_headers_are_refused() -> None:
    payload = bytes.fromhex("0000010400000000") * 100
    packet = Ipv6(source=FD1, destination=FD2, next_header=0, payload=payload)

    with pytest.raises(FrameError, match="more than 4"):
        upper_layer(packet)


# --- ICMP ---


@given(bytes16, bytes16, st.binary(max_size=100), ipv4_addresses, ipv4_addresses)
def test_echo_over_ipv4_agrees_with_scapy(
    identifier: int, sequence: int, data: bytes, source: IPv4Address, destination: IPv4Address
) -> None:
    echo = Echo(identifier=identifier, sequence=sequence, data=data)
    message = Icmp(type=IcmpType.ECHO_REQUEST, body=echo.encode())

    expected = IP(src=str(source), dst=str(destination), id=0) / ICMP(id=identifier, seq=sequence) / Raw(data)

    assert message.in_ipv4(source, destination).encode() == expected.build()
    assert decode_icmp(message.encode()) == message
    assert decode_echo(message.body) == echo


@given(bytes16, bytes16, st.binary(max_size=100), ipv6_addresses, ipv6_addresses)
def test_echo_over_ipv6_agrees_with_scapy(
    identifier: int, sequence: int, data: bytes, source: IPv6Address, destination: IPv6Address
) -> None:
    echo = Echo(identifier=identifier, sequence=sequence, data=data)
    message = Icmp(type=Icmpv6Type.ECHO_REQUEST, body=echo.encode())
    packet = message.in_ipv6(source, destination, 64)

    expected = IPv6(src=str(source), dst=str(destination), hlim=64) / ICMPv6EchoRequest(
        id=identifier, seq=sequence, data=data
    )

    assert packet.encode() == expected.build()
    assert decode_icmpv6(packet, packet.payload) == message


def test_icmp_with_a_wrong_checksum_is_refused() -> None:
    message = bytearray(Icmp(type=8, body=b"12345678").encode())
    message[-1] ^= 1

    with pytest.raises(FrameError, match="checksum"):
        decode_icmp(message)


def test_echo_without_sequence_number_is_refused() -> None:
    with pytest.raises(FrameError):
        decode_echo(b"123")


# --- neighbour discovery ---


def in_packet(message: NeighbourMessage, source: IPv6Address, destination: IPv6Address) -> Ipv6:
    return message.encode().in_ipv6(source, destination, 255)


def decode(packet: Ipv6) -> NeighbourMessage:
    return decode_neighbour_message(packet, decode_icmpv6(packet, packet.payload))


@given(unicast_ipv6, unicast_ipv6, macs)
def test_solicitation_agrees_with_scapy(source: IPv6Address, target: IPv6Address, mac: MacAddress) -> None:
    message = NeighbourSolicitation(target=target, source_mac=mac)
    packet = in_packet(message, source, solicited_node(target))

    expected = (
        IPv6(src=str(source), dst=str(solicited_node(target)), hlim=255)
        / ICMPv6ND_NS(tgt=str(target))
        / ICMPv6NDOptSrcLLAddr(lladdr=mac.hex(":"))
    )

    assert packet.encode() == expected.build()
    assert decode(packet) == message


@given(unicast_ipv6, unicast_ipv6, st.none() | macs, st.booleans(), st.booleans(), st.booleans())
def test_advertisement_agrees_with_scapy(
    source: IPv6Address,
    destination: IPv6Address,
    mac: MacAddress | None,
    is_router: bool,
    is_solicited: bool,
    is_override: bool,
) -> None:
    message = NeighbourAdvertisement(
        target=source,
        target_mac=mac,
        is_router=is_router,
        is_solicited=is_solicited,
        is_override=is_override,
    )
    packet = in_packet(message, source, destination)

    expected = IPv6(src=str(source), dst=str(destination), hlim=255) / ICMPv6ND_NA(
        tgt=str(source), R=is_router, S=is_solicited, O=is_override
    )
    if mac is not None:
        expected /= ICMPv6NDOptDstLLAddr(lladdr=mac.hex(":"))

    assert packet.encode() == expected.build()
    assert decode(packet) == message


DAD = IPv6(src="::", dst="ff02::1:ff00:1", hlim=255)
FROM_2 = IPv6(src="fd00::2", dst="ff02::1:ff00:1", hlim=255)
SOURCE_MAC = ICMPv6NDOptSrcLLAddr(lladdr="02:00:00:00:00:02")


@pytest.mark.parametrize(
    ("why", "packet"),
    [
        ("forwarded by a router", IPv6(src="fd00::2", hlim=254) / ICMPv6ND_NS(tgt="fd00::1")),
        ("code", FROM_2 / ICMPv6ND_NS(code=1, tgt="fd00::1")),
        ("target is a group", FROM_2 / ICMPv6ND_NS(tgt="ff02::1")),
        ("source is a group", IPv6(src="ff02::2", hlim=255) / ICMPv6ND_NS(tgt="fd00::1")),
        ("option of length 0", FROM_2 / ICMPv6ND_NS(tgt="fd00::1") / Raw(bytes.fromhex("0100020000000002"))),
        ("option cut short", FROM_2 / ICMPv6ND_NS(tgt="fd00::1") / Raw(bytes.fromhex("01020200000000"))),
        ("DAD with a source MAC", DAD / ICMPv6ND_NS(tgt="fd00::1") / SOURCE_MAC),
        ("DAD to one station", IPv6(src="::", dst="fd00::1", hlim=255) / ICMPv6ND_NS(tgt="fd00::1")),
        (
            "solicited, to a group",
            IPv6(src="fd00::1", dst="ff02::1", hlim=255) / ICMPv6ND_NA(tgt="fd00::1", S=1),
        ),
        ("another type", FROM_2 / ICMPv6EchoRequest(data=bytes(20))),
    ],
)
def test_neighbour_message_that_must_be_discarded_is_refused(why: str, packet: IPv6) -> None:
    with pytest.raises(FrameError):
        decode(decode_ipv6(packet.build()))


def test_unknown_neighbour_options_are_skipped() -> None:
    packet = FROM_2 / ICMPv6ND_NS(tgt="fd00::1") / Raw(bytes.fromhex("0e01000000000000")) / SOURCE_MAC

    assert decode(decode_ipv6(packet.build())) == NeighbourSolicitation(target=FD1, source_mac=THEIRS)


def test_addresses_of_neighbour_discovery() -> None:
    assert link_local_address(MacAddress(bytes.fromhex("34567890abcd"))) == IPv6Address(
        "fe80::3656:78ff:fe90:abcd"
    )
    assert solicited_node(IPv6Address("2001:db8::12:3456")) == IPv6Address("ff02::1:ff12:3456")
    assert group_mac(IPv6Address("ff02::1:ff12:3456")) == bytes.fromhex("3333ff123456")


# --- totality ---


def try_all(data: bytes) -> None:
    for attempt in (decode_arp, decode_ipv4, decode_icmp, decode_echo):
        with contextlib.suppress(FrameError):
            attempt(data)
    try:
        packet = decode_ipv6(data)
        _, rest = upper_layer(packet)
        decode_neighbour_message(packet, Icmp(type=135, body=rest))
    except FrameError:
        pass


@given(st.binary(max_size=200))
def test_decode_accepts_or_raises_frame_error(data: bytes) -> None:
    try_all(data)


@given(ipv6_packets | ipv4_packets, st.integers(0, 200), st.integers(0, 255), st.integers(0, 200))
def test_decode_of_damaged_packets_accepts_or_raises_frame_error(
    packet: Ipv4 | Ipv6, at: int, value: int, size: int
) -> None:
    data = bytearray(packet.encode())
    data[at % len(data)] = value

    try_all(bytes(data[:size]))


@given(st.integers(128, 140), st.integers(0, 255), st.binary(max_size=64), ipv6_addresses)
def test_decode_of_any_icmpv6_body_accepts_or_raises_frame_error(
    kind: int, hop_limit: int, body: bytes, destination: IPv6Address
) -> None:
    packet = Icmp(type=kind, body=struct.pack("!I", 0) + body).in_ipv6(FD2, destination, hop_limit)

    with contextlib.suppress(FrameError):
        decode(packet)


def test_whole_frame_agrees_with_scapy() -> None:
    echo = Echo(identifier=7, sequence=9, data=b"abcd")
    packet = Icmp(type=IcmpType.ECHO_REQUEST, body=echo.encode()).in_ipv4(
        IPv4Address("10.1.1.1"), IPv4Address("10.1.1.2")
    )

    frame = Ether(OURS + THEIRS + b"\x08\x00" + packet.encode())

    assert (frame[IP].src, frame[IP].dst, frame[ICMP].seq, frame[Raw].load) == (
        "10.1.1.1",
        "10.1.1.2",
        9,
        b"abcd",
    )
