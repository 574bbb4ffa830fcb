from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface

import pytest
from scapy.layers.inet import ICMP, IP, UDP, IPOption_RR
from scapy.layers.inet6 import (
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6ND_NS,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
)
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Packet, Raw

from vport.errors import SettingsError
from vport.ethernet import MacAddress
from vport.station import Station, derived_mac
from vport.station.events import (
    ArpSeen,
    Conflict,
    EchoRequested,
    FrameSeen,
    NeighbourLearned,
    NeighbourMessageSeen,
    PingReply,
    PingStatistics,
    PingSummary,
    PingTimeout,
    ResolutionFailed,
    Unreachable,
)

OURS, THEIRS = "02:00:00:00:00:01", "02:00:00:00:00:02"
OUR_MAC, THEIR_MAC = (MacAddress(bytes.fromhex(text.replace(":", ""))) for text in (OURS, THEIRS))
TO_US = Ether(src=THEIRS, dst=OURS)
TO_ALL = Ether(src=THEIRS, dst="ff:ff:ff:ff:ff:ff")
IP2_TO_1 = IP(src="10.1.1.2", dst="10.1.1.1")
FD2_TO_1 = IPv6(src="fd00::2", dst="fd00::1")
WHO_HAS_1 = ARP(op=1, hwsrc=THEIRS, psrc="10.1.1.2", pdst="10.1.1.1")


def make(*, mtu: int = 9000, is_observing: bool = False) -> Station:
    return Station(
        OUR_MAC,
        [ip_interface("10.1.1.1/24"), ip_interface("fd00::1/64")],
        mtu=mtu,
        is_observing=is_observing,
    )


def give(station: Station, frame: Packet, now: float = 10.0) -> list[Packet]:
    return [Ether(answer) for answer in station.receive(frame.build(), now)]


def answer_to(frame: Packet, station: Station | None = None) -> Packet:
    (answer,) = give(station or make(), frame)
    return answer


# --- answering ---


@pytest.mark.parametrize("size", [0, 1, 18, 19, 56, 1000, 8972])
def test_ping_is_answered_with_what_it_brought(size: int) -> None:
    data = bytes(number % 251 for number in range(size))
    request = TO_US / IP2_TO_1 / ICMP(id=7, seq=9) / Raw(data)
    expected = (
        Ether(src=OURS, dst=THEIRS)
        / IP(src="10.1.1.1", dst="10.1.1.2", ttl=64, id=0)
        / ICMP(type="echo-reply", id=7, seq=9)
        / Raw(data)
    )

    assert make().receive(request.build().ljust(60, b"\0"), 10.0) == [expected.build().ljust(60, b"\0")]


@pytest.mark.parametrize("size", [0, 1, 56, 8952])
def test_ping_over_ipv6_is_answered_with_what_it_brought(size: int) -> None:
    data = bytes(number % 251 for number in range(size))
    request = TO_US / FD2_TO_1 / ICMPv6EchoRequest(id=7, seq=9, data=data)
    expected = (
        Ether(src=OURS, dst=THEIRS)
        / IPv6(src="fd00::1", dst="fd00::2", hlim=64)
        / ICMPv6EchoReply(id=7, seq=9, data=data)
    )

    assert make().receive(request.build(), 10.0) == [expected.build()]


def test_link_local_address_is_answered_too() -> None:
    request = TO_US / IPv6(src="fe80::2", dst="fe80::ff:fe00:1") / ICMPv6EchoRequest(id=7)

    assert answer_to(request)[IPv6].src == "fe80::ff:fe00:1"


def test_arp_and_solicitation_are_answered() -> None:
    assert answer_to(TO_ALL / WHO_HAS_1)[ARP].hwsrc == OURS

    solicitation = (
        Ether(src=THEIRS, dst="33:33:ff:00:00:01")
        / IPv6(src="fd00::2", dst="ff02::1:ff00:1", hlim=255)
        / ICMPv6ND_NS(tgt="fd00::1")
        / ICMPv6NDOptSrcLLAddr(lladdr=THEIRS)
    )
    answer = answer_to(solicitation)
    assert (answer.dst, answer[IPv6].src, answer[IPv6].hlim) == (THEIRS, "fd00::1", 255)


def test_options_of_the_request_are_not_repeated() -> None:
    request = TO_US / IP(src="10.1.1.2", dst="10.1.1.1", options=[IPOption_RR(length=39)]) / ICMP(id=7)
    assert answer_to(request)[IP].ihl == 5

    request = TO_US / FD2_TO_1 / IPv6ExtHdrDestOpt() / ICMPv6EchoRequest(id=7)
    assert answer_to(request)[IPv6].nh == 58


def test_tag_with_only_a_priority_is_no_obstacle() -> None:
    assert answer_to(TO_US / Dot1Q(vlan=0, prio=5) / IP2_TO_1 / ICMP(id=7))[ICMP].id == 7


@pytest.mark.parametrize(
    ("why", "frame"),
    [
        ("of a VLAN", TO_US / Dot1Q(vlan=5) / IP2_TO_1 / ICMP()),
        ("to another MAC", Ether(src=THEIRS, dst="02:00:00:00:00:09") / IP2_TO_1 / ICMP()),
        ("to all MACs", TO_ALL / IP2_TO_1 / ICMP()),
        ("to the broadcast address", TO_US / IP(src="10.1.1.2", dst="10.1.1.255") / ICMP()),
        ("to another address", TO_US / IP(src="10.1.1.2", dst="10.1.1.3") / ICMP()),
        ("from a group MAC", Ether(src="01:00:5e:00:00:01", dst=OURS) / IP2_TO_1 / ICMP()),
        ("from all MACs", Ether(src="ff:ff:ff:ff:ff:ff", dst=OURS) / IP2_TO_1 / ICMP()),
        ("from a group", TO_US / IP(src="224.0.0.1", dst="10.1.1.1") / ICMP()),
        ("from all", TO_US / IP(src="255.255.255.255", dst="10.1.1.1") / ICMP()),
        ("from our network's broadcast address", TO_US / IP(src="10.1.1.255", dst="10.1.1.1") / ICMP()),
        ("from nobody", TO_US / IP(src="0.0.0.0", dst="10.1.1.1") / ICMP()),
        ("from loopback", TO_US / IP(src="127.0.0.1", dst="10.1.1.1") / ICMP()),
        ("from our own address", TO_US / IP(src="10.1.1.1", dst="10.1.1.1") / ICMP()),
        ("a first fragment", TO_US / IP(src="10.1.1.2", dst="10.1.1.1", flags="MF") / ICMP()),
        ("a later fragment", TO_US / IP(src="10.1.1.2", dst="10.1.1.1", frag=8) / ICMP()),
        ("with a wrong checksum", TO_US / IP2_TO_1 / ICMP(chksum=1)),
        ("with a code", TO_US / IP2_TO_1 / ICMP(code=1)),
        ("a timestamp request", TO_US / IP2_TO_1 / ICMP(type=13)),
        ("a reply nobody waits for", TO_US / IP2_TO_1 / ICMP(type=0)),
        ("UDP", TO_US / IP2_TO_1 / UDP(sport=7, dport=7)),
        ("another EtherType", Ether(src=THEIRS, dst=OURS, type=0x88B5) / Raw(bytes(46))),
        ("IPv6 to a group", TO_US / IPv6(src="fd00::2", dst="ff02::1") / ICMPv6EchoRequest()),
        (
            "IPv6 in a group's frame",
            Ether(src=THEIRS, dst="33:33:00:00:00:01") / FD2_TO_1 / ICMPv6EchoRequest(),
        ),
        ("IPv6 from a group", TO_US / IPv6(src="ff02::1", dst="fd00::1") / ICMPv6EchoRequest()),
        ("IPv6 from nobody", TO_US / IPv6(src="::", dst="fd00::1") / ICMPv6EchoRequest()),
        ("IPv6 fragment", TO_US / FD2_TO_1 / IPv6ExtHdrFragment() / ICMPv6EchoRequest()),
        ("IPv6 with a code", TO_US / FD2_TO_1 / ICMPv6EchoRequest(code=1)),
        ("IPv6 with a wrong checksum", TO_US / FD2_TO_1 / ICMPv6EchoRequest(cksum=1)),
        ("a reply over IPv6 nobody waits for", TO_US / FD2_TO_1 / ICMPv6EchoReply()),
        ("solicitation in a fragment", TO_US / FD2_TO_1 / IPv6ExtHdrFragment() / ICMPv6ND_NS(tgt="fd00::1")),
        ("ARP in another station's frame", Ether(src=THEIRS, dst="02:00:00:00:00:09") / WHO_HAS_1),
    ],
)
def test_frame_that_deserves_no_answer_gets_none(why: str, frame: Packet) -> None:
    for station in (make(), make(is_observing=True)):
        assert give(station, frame) == []
        assert station.next_deadline() is None


def test_what_is_discarded_is_counted() -> None:
    station = make(mtu=1000)

    station.receive(b"", 10.0)
    station.receive(bytes(13), 10.0)
    station.receive(OUR_MAC + THEIR_MAC + b"\x81\x00\x00", 10.0)
    give(station, Ether(src="01:00:5e:00:00:01", dst=OURS) / IP2_TO_1 / ICMP())
    give(station, TO_US / IP2_TO_1 / ICMP() / Raw(bytes(973)))
    give(station, TO_US / IP(src="10.1.1.2", dst="10.1.1.1", frag=8) / ICMP())
    give(station, TO_US / IP2_TO_1 / ICMP(chksum=1))
    give(station, TO_US / IP2_TO_1 / ICMP(type=0))

    assert station.discards == {
        "malformed": 4,
        "source is a group": 1,
        "longer than the MTU": 1,
        "fragment": 1,
        "unexpected echo reply": 1,
    }


# --- ourselves ---


def test_our_own_mac_elsewhere_is_a_conflict_reported_every_ten_seconds() -> None:
    station = make()
    frame = Ether(src=OURS, dst=OURS) / IP2_TO_1 / ICMP()

    assert give(station, frame, 10.0) == []
    assert give(station, frame, 19.9) == []
    assert station.take_events() == [Conflict(address=None, mac=OUR_MAC)]

    assert give(station, frame, 20.0) == []
    assert station.take_events() == [Conflict(address=None, mac=OUR_MAC)]


def test_our_own_address_elsewhere_is_a_conflict() -> None:
    station = make()

    answer = answer_to(TO_ALL / ARP(op=1, hwsrc=THEIRS, psrc="10.1.1.1", pdst="10.1.1.1"), station)

    assert (answer[ARP].psrc, answer[ARP].hwsrc) == ("10.1.1.1", OURS)
    assert station.take_events() == [Conflict(address=ip_address("10.1.1.1"), mac=THEIR_MAC)]


def test_announcement_covers_the_link_local_address() -> None:
    frames = [Ether(frame) for frame in make().announce()]

    assert [frame[IPv6].src for frame in frames if IPv6 in frame] == ["fd00::1", "fe80::ff:fe00:1"]
    assert [frame[ARP].psrc for frame in frames if ARP in frame] == ["10.1.1.1"]


def test_derived_macs_differ_by_address_and_are_those_of_one_local_station() -> None:
    macs = [derived_mac(ip_interface(f"10.1.{number >> 8}.{number & 255}/16")) for number in range(1000)]

    assert len(set(macs)) == 1000
    assert all(mac[0] == 0x02 and len(mac) == 6 for mac in macs)
    assert derived_mac(ip_interface("10.1.1.2/24")) == derived_mac(ip_interface("10.1.1.2/16"))
    assert derived_mac(ip_interface("10.1.1.2/24")).hex(":") == "02:e6:ed:11:b1:c2"


# --- pinging ---


def reply_to(request: Packet, **change: int) -> Packet:
    return (
        TO_US
        / IP2_TO_1
        / ICMP(type="echo-reply", id=request[ICMP].id, seq=request[ICMP].seq, **change)
        / Raw(request[Raw].load)
    )


def test_ping_resolves_asks_and_measures() -> None:
    station = make()
    target = IPv4Address("10.1.1.2")

    request, frames = station.ping(target, 10.0)
    assert [Ether(frame)[ARP].pdst for frame in frames] == ["10.1.1.2"]
    assert station.next_deadline() == 11.0

    (echo,) = give(
        station,
        TO_US / ARP(op=2, hwsrc=THEIRS, psrc="10.1.1.2", hwdst=OURS, pdst="10.1.1.1"),
        10.25,
    )
    assert (echo.dst, echo[IP].src, echo[IP].dst) == (THEIRS, "10.1.1.1", "10.1.1.2")
    assert (echo[ICMP].type, echo[ICMP].id, echo[ICMP].seq, len(echo[Raw].load)) == (8, 0, 1, 56)
    assert station.take_events() == [NeighbourLearned(address=target, mac=THEIR_MAC)]
    assert station.next_deadline() == 15.0

    assert give(station, reply_to(echo), 10.5) == []
    assert station.take_events() == [
        PingReply(
            address=target,
            identifier=request.identifier,
            sequence=request.sequence,
            round_trip=0.5,
            ttl=64,
            size=64,
        )
    ]
    assert station.next_deadline() is None


def test_ping_over_ipv6_comes_back() -> None:
    near, far = make(), Station(THEIR_MAC, [ip_interface("fd00::2/64")])
    _, frames = near.ping(IPv6Address("fd00::2"), 10.0, size=1400)

    for _ in range(2):
        answers = [answer for frame in frames for answer in far.receive(frame, 10.5)]
        frames = [frame for answer in answers for frame in near.receive(answer, 11.0)]

    assert frames == []
    assert near.take_events()[1] == PingReply(
        address=ip_address("fd00::2"), identifier=0, sequence=1, round_trip=1.0, ttl=64, size=1408
    )


def known(station: Station) -> Station:
    give(station, TO_ALL / WHO_HAS_1)
    station.take_events()
    return station


def test_reply_that_is_damaged_late_or_doubled_does_not_count() -> None:
    station = known(make())
    _, (frame,) = station.ping(IPv4Address("10.1.1.2"), 10.0)
    echo = Ether(frame)

    damaged = reply_to(echo)
    damaged[Raw].load = b"x" * 56
    give(station, damaged)
    give(station, TO_US / IP(src="10.1.1.3", dst="10.1.1.1") / reply_to(echo)[ICMP])
    assert station.take_events() == []

    give(station, reply_to(echo))
    give(station, reply_to(echo))
    assert [type(event) for event in station.take_events()] == [PingReply]

    _, (frame,) = station.ping(IPv4Address("10.1.1.2"), 20.0, timeout=1.0)
    station.handle_timer(21.0)
    give(station, reply_to(Ether(frame)), 21.0)
    assert station.take_events() == [PingTimeout(address=ip_address("10.1.1.2"), identifier=0, sequence=2)]


def test_ping_of_nobody_is_unreachable_after_three_seconds() -> None:
    station = make()
    target = ip_address("10.1.1.2")
    station.ping(target, 10.0)

    for now in (11.0, 12.0):
        assert len(station.handle_timer(now)) == 1
    assert station.handle_timer(13.0) == []

    assert station.take_events() == [
        ResolutionFailed(address=target),
        Unreachable(address=target, identifier=0, sequence=1, reason="nobody answers for this address"),
    ]
    assert station.next_deadline() is None


@pytest.mark.parametrize("target", ["192.0.2.1", "2001:db8::1", "10.1.1.255", "224.0.0.1", "ff02::1"])
def test_ping_beyond_the_link_is_unreachable_at_once(target: str) -> None:
    station = make()

    _, frames = station.ping(ip_address(target), 10.0)

    assert frames == []
    (event,) = station.take_events()
    assert isinstance(event, Unreachable)
    assert event.reason == "not on our network, and there is no gateway"


def test_ping_of_ourselves_is_answered_here() -> None:
    station = make()

    _, frames = station.ping(ip_address("fd00::1"), 10.0)

    assert frames == []
    assert station.take_events() == [
        PingReply(address=ip_address("fd00::1"), identifier=0, sequence=1, round_trip=0.0, ttl=64, size=64)
    ]


def test_ping_larger_than_the_mtu_is_refused() -> None:
    station = known(make(mtu=1400))

    _, (frame,) = station.ping(ip_address("10.1.1.2"), 10.0, size=1372)
    assert len(frame) == 1414

    with pytest.raises(SettingsError, match="0 to 1372"):
        station.ping(ip_address("10.1.1.2"), 10.0, size=1373)
    with pytest.raises(SettingsError):
        station.ping(ip_address("fd00::2"), 10.0, size=1353)


def test_series_of_pings_ends_with_its_statistics() -> None:
    station = known(make())
    target = ip_address("10.1.1.2")
    identifier = station.ping_series(target, 10.0, interval=1.0, count=2)
    for now in (10.0, 11.0):
        assert station.next_deadline() == now
        (frame,) = station.handle_timer(now)
        give(station, reply_to(Ether(frame)), now + 0.5)

    assert station.take_events()[-1] == PingSummary(
        address=target,
        identifier=identifier,
        statistics=PingStatistics(transmitted=2, received=2, minimum=0.5, average=0.5, maximum=0.5),
    )
    assert station.next_deadline() is None


def test_stopped_series_sends_no_more() -> None:
    station = known(make())
    station.ping_series(ip_address("10.1.1.2"), 10.0)

    station.stop_series()

    assert station.handle_timer(11.0) == []
    assert [type(event) for event in station.take_events()] == [PingSummary]


# --- observing ---


def test_observer_reports_what_comes_by() -> None:
    station = make(is_observing=True)

    give(station, TO_ALL / ARP(op=1, hwsrc=THEIRS, psrc="10.1.1.2", pdst="10.1.1.9"))
    give(station, TO_US / IP2_TO_1 / ICMP(id=7, seq=9) / Raw(bytes(56)))
    give(
        station,
        Ether(src=THEIRS, dst="33:33:ff:00:00:01")
        / IPv6(src="fd00::2", dst="ff02::1:ff00:1", hlim=255)
        / ICMPv6ND_NS(tgt="fd00::9"),
    )
    give(station, Ether(src=THEIRS, dst="02:00:00:00:00:09") / IP2_TO_1 / ICMP())

    arp, ping, solicitation, stray = station.take_events()
    assert isinstance(arp, ArpSeen)
    assert ping == EchoRequested(source=ip_address("10.1.1.2"), identifier=7, sequence=9, size=64)
    assert isinstance(solicitation, NeighbourMessageSeen)
    assert stray == FrameSeen(
        destination=MacAddress(bytes.fromhex("020000000009")), source=THEIR_MAC, ethertype=0x0800, size=42
    )


def test_events_that_nobody_takes_are_bounded() -> None:
    station = make(is_observing=True)
    frame = (TO_ALL / WHO_HAS_1).build()

    for _ in range(3000):
        station.receive(frame, 10.0)

    assert len(station.take_events()) == 1024
