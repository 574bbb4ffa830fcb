from __future__ import annotations

import random
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vport.errors import SettingsError
from vport.ethernet import EtherType, MacAddress, encode_frame
from vport.packets.icmp import Icmp, decode_icmp, decode_icmpv6
from vport.packets.ip import Ipv4, Ipv6, decode_ipv4, decode_ipv6
from vport.packets.nd import group_mac
from vport.wireguard import packets
from vport.wireguard.allowed_ips import AllowedIps
from vport.wireguard.ip_station import Crossing, IpDiscardReason, IpStation, IpStationSettings, virtual_mac
from vport.wireguard.keys import PublicKey

KEY = PublicKey(bytes.fromhex("8fcd7317d68c408972bd6cf238c46fddbf7f0417948ba3f8ef0ecb86c867c27f"))
MAC = MacAddress(bytes.fromhex("fabbda3ec4d0"))
HOST = MacAddress(bytes.fromhex("0200000000aa"))
LAN = (ip_network("192.168.50.0/24"), ip_network("fd50::/64"))
CLIENT = (ip_network("192.168.50.77/32"), ip_network("fd50::77/128"))
HOST_V6, CLIENT_V6 = IPv6Address("fd50::1"), IPv6Address("fd50::77")


def station(**settings: Any) -> IpStation:
    arguments = {"public_key": KEY, "allowed_ips": CLIENT, "on_link": LAN} | settings
    return IpStation(IpStationSettings(**arguments))


def frame(packet: Ipv4 | Ipv6, destination: bytes = MAC) -> bytes:
    ethertype = EtherType.IPV4 if isinstance(packet, Ipv4) else EtherType.IPV6
    return encode_frame(MacAddress(destination), HOST, ethertype, packet.encode())


def ipv4(size: int = 100, **fields: Any) -> Ipv4:
    defaults: dict[str, Any] = {
        "source": IPv4Address("192.168.50.1"),
        "destination": IPv4Address("192.168.50.77"),
        "protocol": 17,
        "payload": bytes(range(256)) * 9,
    }
    fields = defaults | fields
    return Ipv4(**fields | {"payload": fields["payload"][: size - 20]})


def ipv6(size: int = 100, **fields: Any) -> Ipv6:
    defaults: dict[str, Any] = {
        "source": HOST_V6,
        "destination": CLIENT_V6,
        "next_header": 17,
        "payload": bytes(3000)[: size - 40],
    }
    return Ipv6(**defaults | fields)


def test_every_case_of_the_vectors_crosses_as_recorded(vectors: dict[str, Any]) -> None:
    section = vectors["l3_port"]
    assert bytes.fromhex(section["public_key"]) == KEY.raw
    assert virtual_mac(KEY).hex() == section["virtual_mac"]
    allowed: AllowedIps[str] = AllowedIps()
    allowed.add(CLIENT, "client")
    ours, now = station(), 0.0
    for case in section["cases"]:
        crossing = Crossing([], [])
        if "first packet" in case["case"]:
            ours = station()  # the other one has learned the host from its question
        elif "MTU 100" in case["case"]:
            ours = station(mtu=100)
        elif "announcement" in case["case"]:
            crossing = Crossing(ours.announce(), [])
        for data in case["lan_in"]:
            crossing = ours.receive_frame(bytes.fromhex(data), now)
        for data in case["peer_in"]:
            packet = bytes.fromhex(data)
            packet = packet[: packets.size(packet)]
            if allowed.find(packets.source(packet)):  # the device asks this before
                crossing = Crossing(ours.receive_packet(packet, now), [])
        # our frames are padded to the 60 bytes of real Ethernet; the recorded ones are not
        expected = [bytes.fromhex(data).ljust(60, b"\0") for data in case["lan_out"]]
        assert crossing.frames == expected, case["case"]
        assert crossing.packets == [bytes.fromhex(data) for data in case["peer_out"]], case["case"]
        now += 1.0


def test_virtual_macs_are_local_and_unicast() -> None:
    macs = [virtual_mac(PublicKey(random.Random(seed).randbytes(32))) for seed in range(64)]

    assert all(mac[0] & 3 == 2 for mac in macs)
    assert len(set(macs)) == 64


def test_only_addresses_on_the_link_are_the_clients_own() -> None:
    settings = IpStationSettings(
        public_key=KEY,
        allowed_ips=(*CLIENT, ip_network("10.0.0.0/8"), ip_network("224.0.0.0/4"), ip_network("ff00::/8")),
        on_link=LAN,
    )
    assert [str(interface) for interface in settings.interfaces()] == ["192.168.50.77/24", "fd50::77/64"]
    with pytest.raises(SettingsError, match="fd50::/96"):
        station(allowed_ips=(ip_network("fd50::/96"),))


def test_packet_of_exactly_the_mtu_crosses_and_a_longer_one_does_not() -> None:
    ours = station(mtu=1400)

    for packet in (ipv4(1400), ipv6(1400)):
        assert ours.receive_frame(frame(packet), 0.0) == ([], [packet.encode()])
    for packet in (ipv4(1401, dont_fragment=True), ipv6(1401)):
        assert ours.receive_frame(frame(packet), 0.0).packets == []
    assert ours.discards == {IpDiscardReason.TOO_BIG: 2}


def test_long_ipv6_packet_brings_packet_too_big_in_the_clients_name() -> None:
    packet = ipv6(1401)
    (error,), _ = station().receive_frame(frame(packet), 0.0)

    assert (error[:6], error[6:12]) == (HOST, MAC)
    answer = decode_ipv6(error[14:])
    message = decode_icmpv6(answer, answer.payload)
    assert (answer.source, answer.destination) == (CLIENT_V6, HOST_V6)
    assert (message.type, message.code, int.from_bytes(message.body[:4], "big")) == (2, 0, 1400)
    assert packet.encode().startswith(message.body[4:])
    assert len(error) - 14 == 1280


def test_long_ipv4_packet_that_may_be_cut_is_cut() -> None:
    packet = ipv4(2300, identification=7, options=b"\1" * 8)
    frames, fragments = station(mtu=1400).receive_frame(frame(packet), 0.0)

    assert frames == []
    decoded = [decode_ipv4(fragment) for fragment in fragments]
    assert [len(fragment) for fragment in fragments] == [1396, 932]
    assert b"".join(part.payload for part in decoded) == packet.payload
    assert [part.fragment_offset for part in decoded] == [0, 1368]
    assert [part.more_fragments for part in decoded] == [True, False]
    assert {part.identification for part in decoded} == {7}


def test_fragment_that_is_cut_again_keeps_its_place() -> None:
    packet = ipv4(1500, fragment_offset=1480, more_fragments=True)
    _, fragments = station(mtu=1000).receive_frame(frame(packet), 0.0)

    decoded = [decode_ipv4(fragment) for fragment in fragments]
    assert [(part.fragment_offset, part.more_fragments) for part in decoded] == [(1480, True), (2456, True)]


@pytest.mark.parametrize(
    "packet",
    [
        ipv4(1500, dont_fragment=True, protocol=1, payload=b"\3\4" + bytes(1600)),
        ipv4(1500, dont_fragment=True, protocol=1, payload=b"\x0b" + bytes(1600)),
        ipv4(1500, dont_fragment=True, fragment_offset=80),
        ipv4(1500, dont_fragment=True, source=IPv4Address(0)),
        ipv6(1500, next_header=58, payload=b"\1" + bytes(1459)),
        ipv6(1500, source=IPv6Address("::")),
    ],
)
def test_no_error_is_sent_where_none_may_be(packet: Ipv4 | Ipv6) -> None:
    ours = station()

    assert ours.receive_frame(frame(packet), 0.0) == ([], [])
    assert ours.discards == {IpDiscardReason.TOO_BIG: 1}


def test_errors_are_limited() -> None:
    ours = station()
    packet = frame(ipv4(1500, dont_fragment=True))

    assert sum(len(ours.receive_frame(packet, 0.0).frames) for _ in range(100)) == 10
    assert len(ours.receive_frame(packet, 0.2).frames) == 1


def test_icmp_error_of_the_lan_reaches_the_client() -> None:
    message = Icmp(type=3, code=1, body=bytes(32)).in_ipv4(
        IPv4Address("192.168.50.1"), IPv4Address("192.168.50.77")
    )
    echo = Icmp(type=128, body=bytes(8)).in_ipv6(HOST_V6, CLIENT_V6, 64)

    for packet in (message, echo):
        assert station().receive_frame(frame(packet), 0.0).packets == [packet.encode()]


def test_groups_are_passed_on_only_when_wanted_and_then_rationed() -> None:
    group = frame(ipv4(destination=IPv4Address("224.0.0.251")), bytes.fromhex("01005e0000fb"))
    deaf, hearing = station(), station(hears_groups=True)

    assert deaf.receive_frame(group, 0.0) == ([], [])
    assert deaf.discards == {IpDiscardReason.GROUP: 1}
    assert sum(len(hearing.receive_frame(group, 0.0).packets) for _ in range(100)) == 50
    assert hearing.discards == {IpDiscardReason.GROUP: 50}


@pytest.mark.parametrize("kind", [130, 131, 133, 134, 137, 143])
def test_what_belongs_to_the_link_never_reaches_the_client(kind: int) -> None:
    message = Icmp(type=kind, body=bytes(40)).in_ipv6(HOST_V6, IPv6Address("ff02::1"), 255)
    ours = station(hears_groups=True)

    assert ours.receive_frame(frame(message, group_mac(IPv6Address("ff02::1"))), 0.0) == ([], [])
    assert ours.discards == {IpDiscardReason.DISCOVERY: 1}


def test_frames_for_others_and_foreign_destinations_do_not_cross() -> None:
    ours = station()
    assert ours.receive_frame(frame(ipv4(), HOST), 0.0) == ([], [])
    assert ours.discards == {}

    assert ours.receive_frame(frame(ipv4(destination=IPv4Address("192.168.50.78"))), 0.0) == ([], [])
    assert ours.receive_frame(encode_frame(MAC, HOST, 0x88B5, b"x"), 0.0) == ([], [])
    assert ours.receive_frame(encode_frame(MAC, HOST, EtherType.IPV4, b"x"), 0.0) == ([], [])
    assert ours.receive_frame(b"short", 0.0) == ([], [])
    assert ours.discards == {
        IpDiscardReason.FOREIGN_DESTINATION: 1,
        IpDiscardReason.NOT_IP: 1,
        IpDiscardReason.MALFORMED: 2,
    }


def test_packet_that_leaves_the_link_goes_to_the_gateway_or_nowhere() -> None:
    away = ipv4(source=IPv4Address("192.168.50.77"), destination=IPv4Address("8.8.8.8")).encode()
    lost, routed = station(), station(gateways=(ip_address("192.168.50.254"),))

    assert lost.receive_packet(away, 0.0) == []
    assert lost.discards == {IpDiscardReason.NO_ROUTE: 1}
    (question,) = routed.receive_packet(away, 0.0)
    assert question[38:42] == IPv4Address("192.168.50.254").packed  # ARP target
    assert routed.next_deadline() == 1.0
    reply = bytes.fromhex("0806000108000604000202000000fefe") + IPv4Address("192.168.50.254").packed
    reply = bytes(MAC) + bytes.fromhex("02000000fefe") + reply[:8] + reply[8:] + MAC + question[28:32]
    frames, _ = routed.receive_frame(reply, 0.1)
    assert frames == [bytes.fromhex("02000000fefe") + MAC + b"\x08\x00" + away]


def test_packet_of_the_client_to_itself_goes_nowhere() -> None:
    ours = station()

    assert ours.receive_packet(ipv4(source=IPv4Address("192.168.50.77")).encode(), 0.0) == []
    assert ours.discards == {IpDiscardReason.NO_ROUTE: 1}


@pytest.mark.parametrize(
    ("destination", "mac"),
    [
        ("255.255.255.255", "ffffffffffff"),
        ("192.168.50.255", "ffffffffffff"),
        ("239.129.2.3", "01005e010203"),
        ("ff02::fb", "3333000000fb"),
    ],
)
def test_packets_to_groups_find_their_mac_address(destination: str, mac: str) -> None:
    address = ip_address(destination)
    packet: Ipv4 | Ipv6
    if isinstance(address, IPv4Address):
        packet = ipv4(source=IPv4Address("192.168.50.77"), destination=address)
    else:
        packet = ipv6(source=CLIENT_V6, destination=address)

    (sent,) = station().receive_packet(packet.encode(), 0.0)

    assert sent[:6].hex() == mac
    assert sent[6:12] == MAC
    assert sent[14:] == packet.encode()


@given(st.binary(max_size=120), st.sampled_from([0x0800, 0x0806, 0x86DD, 0x8100]), st.booleans())
def test_any_frame_is_taken_without_an_exception(payload: bytes, ethertype: int, to_all: bool) -> None:
    destination = b"\xff" * 6 if to_all else MAC
    ours = station(hears_groups=True)

    crossing = ours.receive_frame(destination + HOST + ethertype.to_bytes(2, "big") + payload, 0.0)

    assert len(crossing.frames) + len(crossing.packets) <= 1


def test_error_checksums_are_right() -> None:
    (error,), _ = station().receive_frame(frame(ipv4(1500, dont_fragment=True)), 0.0)

    assert decode_icmp(decode_ipv4(error[14:]).payload).code == 4
