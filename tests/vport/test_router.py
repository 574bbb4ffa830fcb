from __future__ import annotations

from ipaddress import ip_address, ip_interface
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, UDP, ICMPerror, IPerror
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6NDOptSrcLLAddr,
    ICMPv6TimeExceeded,
    IPv6,
)
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Raw

from vport.errors import SettingsError
from vport.ethernet import MacAddress, Vid, format_mac
from vport.router import ERROR_BURST, ERROR_INTERVAL, Router
from vport.routes import RouterInterface
from vport.station import Station
from vport.station.events import PingReply, Unreachable
from vport.station.neighbours import MAX_PENDING, MAX_WAITING_BYTES

if TYPE_CHECKING:
    from scapy.packet import Packet

MAC = MacAddress(bytes.fromhex("0200000000ff"))
ONE = "02:00:00:00:00:01"
TWO = "02:00:00:00:00:02"


def interface(text: str, vid: int = 0) -> RouterInterface:
    return RouterInterface(ip_interface(text), Vid(vid))


def make(*gateways: str) -> Router:
    """A router between 10.1.1.0/24, fd01::/64 in VLAN 10 and 10.2.2.0/24, fd02::/64 in VLAN 20."""
    networks = [("10.1.1.1/24", 10), ("10.2.2.1/24", 20), ("fd01::1/64", 10), ("fd02::1/64", 20)]
    return Router(MAC, [interface(*one) for one in networks], [ip_address(text) for text in gateways])


def frame(packet: Packet, *, source: str = ONE, vid: int = 10, destination: str = format_mac(MAC)) -> bytes:
    ether = Ether(src=source, dst=destination)
    return bytes((ether / Dot1Q(vlan=vid) / packet if vid else ether / packet).build())


def introduce(router: Router, address: str, mac: str, vid: int, now: float = 0.0) -> None:
    """Let a host ask for the router's address, so that the router knows it."""
    if ":" in address:
        ask = IPv6(src=address, dst=f"fd0{vid // 10}::1", hlim=255)
        ask /= ICMPv6ND_NS(tgt=ask.dst) / ICMPv6NDOptSrcLLAddr(lladdr=mac)
        assert router.receive(frame(ask, source=mac, vid=vid), now)
    else:
        gateway = "10.1.1.1" if vid == 10 else "10.2.2.1"
        ask = ARP(op=1, hwsrc=mac, psrc=address, pdst=gateway)
        assert router.receive(frame(ask, source=mac, vid=vid, destination="ff:ff:ff:ff:ff:ff"), now)


def known() -> Router:
    router = make()
    for address, mac, vid in [
        ("10.1.1.2", ONE, 10),
        ("10.2.2.2", TWO, 20),
        ("fd01::2", ONE, 10),
        ("fd02::2", TWO, 20),
    ]:
        introduce(router, address, mac, vid)
    return router


def sole(frames: list[bytes]) -> Packet:
    (only,) = frames
    return Ether(only)


def test_arp_for_its_address_is_answered_in_the_same_vlan() -> None:
    ask = ARP(op=1, hwsrc=ONE, psrc="10.1.1.2", pdst="10.1.1.1")

    answer = sole(make().receive(frame(ask, destination="ff:ff:ff:ff:ff:ff"), 0.0))

    assert (answer[Dot1Q].vlan, answer[ARP].op, answer[ARP].hwsrc) == (10, 2, format_mac(MAC))


def test_solicitation_is_answered_as_a_router() -> None:
    ask = IPv6(src="fd01::2", dst="ff02::1:ff00:1", hlim=255)
    ask /= ICMPv6ND_NS(tgt="fd01::1") / ICMPv6NDOptSrcLLAddr(lladdr=ONE)

    answer = sole(make().receive(frame(ask, destination="33:33:ff:00:00:01"), 0.0))

    assert (answer[ICMPv6ND_NA].tgt, answer[ICMPv6ND_NA].R) == ("fd01::1", 1)


def test_packet_goes_to_the_other_vlan_one_hop_older() -> None:
    packet = IP(src="10.1.1.2", dst="10.2.2.2", ttl=9, id=7) / UDP(sport=1, dport=2) / Raw(b"payload")

    out = sole(known().receive(frame(packet), 1.0))

    assert (out.dst, out.src, out[Dot1Q].vlan) == (TWO, format_mac(MAC), 20)
    packet.ttl = 8
    assert bytes(out[IP])[: len(packet)] == packet.build()


def test_ipv6_packet_goes_to_the_other_vlan_one_hop_older() -> None:
    packet = IPv6(src="fd01::2", dst="fd02::2", hlim=9, tc=3, fl=5) / UDP(sport=1, dport=2) / Raw(b"payload")

    out = sole(known().receive(frame(packet), 1.0))

    assert (out.dst, out[Dot1Q].vlan) == (TWO, 20)
    packet.hlim = 8
    assert bytes(out[IPv6])[: len(packet)] == packet.build()


def test_packet_waits_until_its_next_hop_answers() -> None:
    router = make()
    introduce(router, "10.1.1.2", ONE, 10)
    packet = IP(src="10.1.1.2", dst="10.2.2.2") / ICMP()

    question = sole(router.receive(frame(packet), 0.0))
    assert (question[Dot1Q].vlan, question[ARP].psrc, question[ARP].pdst) == (20, "10.2.2.1", "10.2.2.2")

    answer = ARP(op=2, hwsrc=TWO, psrc="10.2.2.2", hwdst=format_mac(MAC), pdst="10.2.2.1")
    out = sole(router.receive(frame(answer, source=TWO, vid=20), 0.1))
    assert (out.dst, out[IP].dst) == (TWO, "10.2.2.2")
    assert router.next_deadline() is None


def test_sender_is_told_when_the_host_does_not_answer() -> None:
    router = make()
    introduce(router, "10.1.1.2", ONE, 10)
    router.receive(frame(IP(src="10.1.1.2", dst="10.2.2.2") / ICMP(id=5)), 0.0)

    for second in (1.0, 2.0):
        assert sole(router.handle_timer(second))[ARP].pdst == "10.2.2.2"
    error = sole(router.handle_timer(3.0))

    assert (error.dst, error[Dot1Q].vlan, error[IP].src) == (ONE, 10, "10.1.1.1")
    assert (error[ICMP].type, error[ICMP].code, error[IPerror].dst) == (3, 1, "10.2.2.2")
    assert router.discards["host does not answer"] == 1


@pytest.mark.parametrize(
    ("packet", "kind"),
    [
        (IP(src="10.1.1.2", dst="10.2.2.2", ttl=1) / ICMP(id=5), (11, 0)),
        (IP(src="10.1.1.2", dst="10.2.2.2", ttl=0) / ICMP(id=5), (11, 0)),
        (IP(src="10.1.1.2", dst="10.9.9.9") / ICMP(id=5), (3, 0)),
        (IP(src="10.1.1.2", dst="10.1.1.1") / UDP(dport=33434), (3, 3)),
        (IP(src="10.1.1.2", dst="10.2.2.1") / UDP(dport=33434), (3, 3)),
        (IP(src="10.1.1.2", dst="10.1.1.1", proto=132) / Raw(b"sctp"), (3, 2)),
    ],
)
def test_error_quotes_what_caused_it(packet: Packet, kind: tuple[int, int]) -> None:
    error = sole(known().receive(frame(packet), 1.0))

    assert (error[IP].src, error[IP].dst, error[ICMP].type, error[ICMP].code) == (
        "10.1.1.1",
        "10.1.1.2",
        *kind,
    )
    assert error[IPerror].dst == packet.dst
    built = IP(bytes(error[IP])[: error[IP].len])
    sums = built.chksum, built[ICMP].chksum
    del built.chksum, built[ICMP].chksum
    again = IP(built.build())
    assert (again.chksum, again[ICMP].chksum) == sums


@pytest.mark.parametrize(
    ("packet", "layer", "code"),
    [
        (IPv6(src="fd01::2", dst="fd02::2", hlim=1) / ICMPv6EchoRequest(), ICMPv6TimeExceeded, 0),
        (IPv6(src="fd01::2", dst="fd99::1") / ICMPv6EchoRequest(), ICMPv6DestUnreach, 0),
        (IPv6(src="fd01::2", dst="fd01::1") / UDP(dport=33434), ICMPv6DestUnreach, 4),
    ],
)
def test_ipv6_error_quotes_what_caused_it(packet: Packet, layer: type[Packet], code: int) -> None:
    error = sole(known().receive(frame(packet), 1.0))

    assert (error[IPv6].src, error[IPv6].dst, error[layer].code) == ("fd01::1", "fd01::2", code)


def test_long_packets_are_quoted_in_part() -> None:
    router = known()
    data = Raw(bytes(3000))

    error = sole(router.receive(frame(IP(src="10.1.1.2", dst="10.9.9.9") / UDP() / data), 1.0))
    error6 = sole(router.receive(frame(IPv6(src="fd01::2", dst="fd99::1") / UDP() / data), 1.0))

    assert error[IP].len == 576
    assert error6[IPv6].plen + 40 == 1280


@pytest.mark.parametrize(
    "packet",
    [
        IP(src="10.1.1.2", dst="10.9.9.9") / ICMP(type=3) / IPerror() / ICMPerror(),
        IP(src="10.1.1.2", dst="10.9.9.9") / ICMP(type=11),
        IP(src="10.1.1.2", dst="10.9.9.9", frag=8) / Raw(b"later"),
        IP(src="10.1.1.255", dst="10.9.9.9") / ICMP(),
        IP(src="0.0.0.0", dst="10.9.9.9") / ICMP(),
        IP(src="224.0.0.1", dst="10.9.9.9") / ICMP(),
        IP(src="10.1.1.2", dst="10.2.2.255") / ICMP(),
        IP(src="10.1.1.2", dst="255.255.255.255") / ICMP(),
        IP(src="10.1.1.2", dst="224.0.0.5") / ICMP(),
        IP(src="169.254.0.1", dst="10.2.2.2") / ICMP(),
        IP(src="10.1.1.1", dst="10.2.2.2") / ICMP(),
        IPv6(src="fd01::2", dst="fd99::1") / ICMPv6DestUnreach(),
        IPv6(src="fe80::9", dst="fd02::2") / ICMPv6EchoRequest(),
        IPv6(src="::", dst="fd02::2") / ICMPv6EchoRequest(),
    ],
)
def test_what_must_not_be_answered_or_forwarded_is_not(packet: Packet) -> None:
    assert known().receive(frame(packet), 1.0) == []


def test_packet_in_a_broadcast_frame_is_not_forwarded() -> None:
    packet = IP(src="10.1.1.2", dst="10.2.2.2") / ICMP()

    assert known().receive(frame(packet, destination="ff:ff:ff:ff:ff:ff"), 1.0) == []


def test_frames_of_other_vlans_are_discarded() -> None:
    router = known()

    assert router.receive(frame(IP(src="10.1.1.2", dst="10.2.2.2") / ICMP(), vid=30), 1.0) == []
    assert router.receive(frame(IP(src="10.1.1.2", dst="10.2.2.2") / ICMP(), vid=0), 1.0) == []
    assert router.discards["of no VLAN of ours"] == 2


def test_all_its_addresses_answer_ping_from_everywhere() -> None:
    router = known()

    for address in ("10.1.1.1", "10.2.2.1"):
        reply = sole(router.receive(frame(IP(src="10.1.1.2", dst=address) / ICMP(id=1, seq=2)), 1.0))
        assert (reply[IP].src, reply[ICMP].type, reply[ICMP].seq) == (address, 0, 2)
    for address in ("fd01::1", "fd02::1"):
        reply = sole(router.receive(frame(IPv6(src="fd01::2", dst=address) / ICMPv6EchoRequest(seq=2)), 1.0))
        assert (reply[IPv6].src, reply[ICMPv6EchoReply].seq) == (address, 2)


def test_errors_come_at_a_bounded_rate() -> None:
    router = known()
    packet = frame(IP(src="10.1.1.2", dst="10.9.9.9") / ICMP())

    sent = sum(len(router.receive(packet, 1.0)) for _ in range(ERROR_BURST * 2))

    assert sent == ERROR_BURST
    assert router.discards["errors not sent"] == ERROR_BURST
    assert len(router.receive(packet, 1.0 + 2 * ERROR_INTERVAL)) == 1


def test_packets_for_elsewhere_go_to_the_gateway() -> None:
    router = make("10.2.2.2")
    introduce(router, "10.1.1.2", ONE, 10)
    introduce(router, "10.2.2.2", TWO, 20)

    out = sole(router.receive(frame(IP(src="10.1.1.2", dst="192.0.2.1") / ICMP()), 1.0))

    assert (out.dst, out[IP].dst) == (TWO, "192.0.2.1")


def test_scan_of_a_network_keeps_a_bounded_number_of_packets() -> None:
    router = Router(MAC, [interface("10.1.0.1/16", 10), interface("10.2.0.1/16", 20)])
    packet = IP(src="10.1.1.2", dst="10.2.0.2") / UDP() / Raw(bytes(8000))
    data = bytearray(frame(packet))

    for number in range(2, 3 * MAX_PENDING):
        packet.dst = f"10.2.{number >> 8}.{number & 255}"
        del packet.chksum
        router.receive(frame(packet), 0.0)
    for _ in range(100):
        router.receive(bytes(data), 0.0)

    side = router._sides[Vid(20)].resolution.neighbours
    assert len(side._pending) <= MAX_PENDING
    assert all(sum(map(len, one.waiting)) <= MAX_WAITING_BYTES for one in side._pending.values())


def test_gateway_outside_of_all_networks_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"10\.9\.9\.9 is in none of the router's networks"):
        make("10.9.9.9")


def test_one_network_in_two_vlans_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"10\.1\.1\.0/24 is in VLAN 10 and in VLAN 20"):
        Router(MAC, [interface("10.1.1.1/24", 10), interface("10.1.1.2/24", 20)])


# --- with simulated hosts ---


class Lan:
    """One LAN without a switch: all hear all, at once."""

    def __init__(self, *stations: Station | Router) -> None:
        self.stations = stations

    def send(self, sender: Station | Router, frames: list[bytes], now: float) -> None:
        pending = [(sender, one) for one in frames]
        for _ in range(1000):
            if not pending:
                return
            origin, data = pending.pop(0)
            for station in self.stations:
                if station is not origin:
                    pending += [(station, one) for one in station.receive(data, now)]
        pytest.fail("frames go round without an end")


def host(address: str, gateway: str, number: int) -> Station:
    mac = MacAddress(bytes.fromhex(f"0200000000{number:02x}"))
    return Station(mac, [ip_interface(address)], gateways=[ip_address(gateway)])


@pytest.mark.parametrize("base", ["10.{}.0.{}/24", "fd0{}::{}/64"])
def test_hosts_ping_each_other_through_two_networks_of_one_lan(base: str) -> None:
    router = Router(MAC, [interface(base.format(1, 1)), interface(base.format(2, 1))])
    gateways = [base.format(net, 1).partition("/")[0] for net in (1, 2)]
    one = host(base.format(1, 2), gateways[0], 1)
    two = host(base.format(2, 2), gateways[1], 2)
    lan = Lan(one, two, router)
    target = ip_interface(base.format(2, 2)).ip

    _, frames = one.ping(target, 1.0)
    lan.send(one, frames, 1.0)

    (reply,) = [event for event in one.take_events() if isinstance(event, PingReply)]
    assert (reply.address, reply.ttl) == (target, 63)
    assert router.forwarded == 2


@pytest.mark.parametrize(("hops", "words"), [("10.9.9.9", "no route to its network, says 10.1.0.1")])
def test_host_learns_why_its_ping_does_not_arrive(hops: str, words: str) -> None:
    router = Router(MAC, [interface("10.1.0.1/24"), interface("10.2.0.1/24")])
    one = host("10.1.0.2/24", "10.1.0.1", 1)

    _, frames = one.ping(ip_address(hops), 1.0)
    Lan(one, router).send(one, frames, 1.0)

    (event,) = [event for event in one.take_events() if isinstance(event, Unreachable)]
    assert (str(event.address), event.reason) == (hops, words)


def test_routers_that_send_to_each_other_end_it_by_the_hop_count() -> None:
    first = Router(MAC, [interface("10.1.0.1/24"), interface("10.3.0.1/24")], [ip_address("10.3.0.2")])
    second = Router(
        MacAddress(bytes.fromhex("0200000000fe")), [interface("10.3.0.2/24")], [ip_address("10.3.0.1")]
    )
    one = host("10.1.0.2/24", "10.1.0.1", 1)

    _, frames = one.ping(ip_address("10.9.9.9"), 1.0)
    Lan(one, first, second).send(one, frames, 1.0)

    (event,) = [event for event in one.take_events() if isinstance(event, Unreachable)]
    assert event.reason.startswith("too many hops, says 10.")


def test_host_without_an_answering_gateway_says_so() -> None:
    one = host("10.1.0.2/24", "10.1.0.1", 1)
    one.ping(ip_address("10.9.9.9"), 0.0)

    for second in (1.0, 2.0, 3.0):
        one.handle_timer(second)

    (event,) = [event for event in one.take_events() if isinstance(event, Unreachable)]
    assert event.reason == "nobody answers for the gateway 10.1.0.1"


def test_gateway_of_a_host_must_be_a_neighbour() -> None:
    with pytest.raises(SettingsError, match=r"gateway 10\.9\.0\.1 is not another host"):
        host("10.1.0.2/24", "10.9.0.1", 1)


# --- whatever comes ---

addresses4 = st.sampled_from(
    ["10.1.1.1", "10.1.1.2", "10.2.2.1", "10.2.2.2", "10.2.2.255", "10.9.9.9", "0.0.0.0", "224.0.0.1"]
)
addresses6 = st.sampled_from(["fd01::1", "fd01::2", "fd02::2", "fd99::1", "fe80::1", "::", "ff02::1"])
well_formed = st.one_of(
    st.builds(
        lambda src, dst, ttl, frag, proto, data: IP(src=src, dst=dst, ttl=ttl, frag=frag, proto=proto) / data,
        addresses4,
        addresses4,
        st.integers(0, 3),
        st.sampled_from([0, 0, 1]),
        st.sampled_from([1, 6, 17, 132]),
        st.binary(max_size=100),
    ),
    st.builds(
        lambda src, dst, ttl, nh, data: IPv6(src=src, dst=dst, hlim=ttl, nh=nh) / data,
        addresses6,
        addresses6,
        st.sampled_from([0, 1, 2, 255]),
        st.sampled_from([0, 17, 44, 58, 60]),
        st.binary(max_size=100),
    ),
).map(frame)
anything = st.one_of(
    st.binary(max_size=200),
    st.binary(max_size=200).map(
        lambda data: MAC + bytes.fromhex(f"{ONE.replace(':', '')}8100000a0800") + data
    ),
    st.binary(max_size=200).map(
        lambda data: MAC + bytes.fromhex(f"{ONE.replace(':', '')}8100000a86dd") + data
    ),
    well_formed,
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(anything, st.floats(0, 5)), max_size=20))
def test_no_bytes_raise_and_one_frame_brings_at_most_one_answer(steps: list[tuple[bytes, float]]) -> None:
    router = known()
    now = 1.0
    for data, pause in steps:
        now += pause
        router.handle_timer(now)
        answers = router.receive(data, now)
        assert len(answers) <= 1
        assert all(answer[6:12] == MAC and not answer[6] & 1 for answer in answers)
        assert all(answer[12:14] == b"\x81\x00" for answer in answers)
