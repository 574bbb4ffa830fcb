from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scapy.layers.dhcp import BOOTP
from scapy.layers.dns import DNS
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.l2 import ARP, Ether

from tests.vport.dhcp.clients import (
    SERVER,
    SERVER_MAC,
    frame,
    mac_of,
    message,
    options_of,
    query_frame,
    settings,
)
from vport.dhcp.messages import decode_request
from vport.dhcp.probes import PROBE_TIME
from vport.dhcp.server import Exhausted, Granted, InUse, Released
from vport.dhcp.station import MAX_QUERIES, LanServer
from vport.errors import FrameError
from vport.ethernet import parse_mac

DEFAULT = "pool=10.1.1.100-10.1.1.103&router=10.1.1.1&domain=lan.test&mtu=1400"


class Lan:
    """A server and a clock that is moved by hand."""

    def __init__(self, query: str = DEFAULT, *, forwards: bool = False) -> None:
        self.server = LanServer(parse_mac(SERVER_MAC), settings(query), forwards=forwards)
        self.now = 1000.0

    def send(self, data: bytes) -> list[Any]:
        return [Ether(one) for one in self.server.receive(data, self.now)]

    def pass_time(self, seconds: float) -> list[Any]:
        self.now += seconds
        return [Ether(one) for one in self.server.handle_timer(self.now)]

    def discover(self, number: int, **more: Any) -> list[Any]:
        """Discover; give the offers that come once nobody has answered for the address."""
        probes = self.send(frame(number, "discover", **more))
        assert all(ARP in probe for probe in probes)
        return self.pass_time(PROBE_TIME)

    def request(self, number: int, address: str | None, **more: Any) -> list[Any]:
        return self.send(frame(number, "request", **{**more, "requested_addr": address}))

    def lease(self, number: int, **more: Any) -> str:
        """Go through the whole exchange; give the address."""
        (offer,) = self.discover(number, **more)
        (ack,) = self.request(number, offer[BOOTP].yiaddr, server_id=SERVER, **more)
        assert options_of(ack)["message-type"] == 5
        address: str = ack[BOOTP].yiaddr
        return address

    def ask(self, name: str, kind: str = "A", **more: Any) -> Any:
        (answer,) = self.send(query_frame(9, "10.1.1.50", name, kind, **more))
        return answer[DNS]


def test_offer_and_acknowledgement_tell_all_that_is_set() -> None:
    lan = Lan()

    (offer,) = lan.discover(1)
    (ack,) = lan.request(1, offer[BOOTP].yiaddr, server_id=SERVER)

    for reply, kind in ((offer, 2), (ack, 5)):
        assert (reply.src, reply.dst) == (SERVER_MAC, mac_of(1))
        assert (reply[IP].src, reply[IP].dst) == (SERVER, "10.1.1.100")
        assert (reply[UDP].sport, reply[UDP].dport) == (67, 68)
        assert reply[BOOTP].xid == 1
        assert len(reply[UDP].payload) >= 300
        assert options_of(reply) == {
            "message-type": kind,
            "server_id": SERVER,
            "subnet_mask": "255.255.255.0",
            "broadcast_address": "10.1.1.255",
            "name_server": SERVER,
            "router": "10.1.1.1",
            "domain": b"lan.test",
            "interface-mtu": 1400,
            "lease_time": 3600,
            "renewal_time": 1800,
            "rebinding_time": 3150,
        }


def test_checksums_are_right() -> None:
    (offer,) = Lan().discover(1)

    received = bytes(offer)
    fresh = offer.copy()
    del fresh[IP].chksum, fresh[UDP].chksum
    assert bytes(fresh) == received


def test_address_is_probed_before_it_is_offered() -> None:
    lan = Lan()

    (probe,) = lan.send(frame(1, "discover"))
    assert (probe[ARP].op, probe[ARP].pdst, probe[ARP].psrc) == (1, "10.1.1.100", SERVER)
    assert lan.server.next_deadline() == lan.now + PROBE_TIME
    assert lan.pass_time(PROBE_TIME - 0.01) == []

    answer = Ether(src=mac_of(7), dst=SERVER_MAC) / ARP(
        op=2, hwsrc=mac_of(7), psrc="10.1.1.100", hwdst=SERVER_MAC, pdst=SERVER
    )
    (probe,) = lan.send(bytes(answer))
    assert probe[ARP].pdst == "10.1.1.101"
    assert lan.server.dhcp.take_events()[0] == InUse(address=lan.server.dhcp.leases.first)
    (offer,) = lan.pass_time(PROBE_TIME)
    assert offer[BOOTP].yiaddr == "10.1.1.101"


def test_client_itself_answering_the_probe_is_no_conflict() -> None:
    lan = Lan()
    lan.lease(1)

    lan.send(frame(1, "discover"))
    lan.send(bytes(Ether(src=mac_of(1), dst=SERVER_MAC) / ARP(op=2, hwsrc=mac_of(1), psrc="10.1.1.100")))
    (offer,) = lan.pass_time(PROBE_TIME)

    assert offer[BOOTP].yiaddr == "10.1.1.100"


def test_each_client_gets_an_address_of_its_own_and_keeps_it() -> None:
    lan = Lan()

    addresses = [lan.lease(number) for number in range(4)]

    assert addresses == [f"10.1.1.{last}" for last in range(100, 104)]
    assert [lan.lease(number) for number in range(4)] == addresses


def test_clients_are_told_apart_by_their_identifiers() -> None:
    lan = Lan()

    assert lan.lease(1, client_id=b"\0one") == "10.1.1.100"
    assert lan.lease(1, client_id=b"\0two") == "10.1.1.101"


def test_exhausted_pool_is_silent_counted_and_told_until_a_lease_ends() -> None:
    lan = Lan()
    for number in range(4):
        lan.lease(number)
        lan.now += 1
    lan.server.dhcp.take_events()

    assert lan.discover(9) == []
    assert lan.server.dhcp.take_events() == [Exhausted(mac=parse_mac(mac_of(9)))]
    assert lan.server.dhcp.counters["pool exhausted"] == 1

    lan.now += 3600
    assert lan.lease(9) == "10.1.1.100"  # the one that was longest untouched


def test_offer_that_nobody_requests_frees_its_address() -> None:
    lan = Lan("pool=10.1.1.100-10.1.1.100")
    lan.discover(1)
    assert lan.discover(2) == []

    lan.now += 61

    assert lan.lease(2) == "10.1.1.100"
    (nak,) = lan.request(1, "10.1.1.100", server_id=SERVER)
    assert options_of(nak)["message-type"] == 6


def test_request_that_chooses_another_server_frees_our_offer() -> None:
    lan = Lan("pool=10.1.1.100-10.1.1.100")
    lan.discover(1)

    assert lan.request(1, "10.1.1.77", server_id="10.1.1.253") == []

    assert lan.lease(2) == "10.1.1.100"


def test_nak_is_broadcast_and_carries_no_addresses() -> None:
    lan = Lan()
    lan.lease(1)

    (nak,) = lan.request(2, "10.1.1.100", server_id=SERVER)

    assert (nak.dst, nak[IP].dst) == ("ff:ff:ff:ff:ff:ff", "255.255.255.255")
    assert nak[BOOTP].yiaddr == nak[BOOTP].ciaddr == "0.0.0.0"
    assert options_of(nak) == {
        "message-type": 6,
        "server_id": SERVER,
        "error_message": b"10.1.1.100 is not yours",
    }


def test_client_that_moved_here_from_another_network_is_refused() -> None:
    (nak,) = Lan().request(1, "192.168.7.7")

    assert options_of(nak)["message-type"] == 6


def test_unknown_client_that_asks_for_an_address_of_ours_hears_nothing() -> None:
    assert Lan().request(1, "10.1.1.100") == []  # RFC 2131 section 4.3.2


def test_rebooted_client_gets_its_address_confirmed() -> None:
    lan = Lan()
    lan.lease(1)

    (ack,) = lan.request(1, "10.1.1.100")

    assert options_of(ack)["message-type"] == 5


def test_renewal_extends_the_lease_and_is_answered_to_the_address() -> None:
    lan = Lan()
    lan.lease(1)
    lan.server.dhcp.take_events()
    lan.now += 1800

    (ack,) = lan.send(frame(1, "request", source="10.1.1.100", ciaddr="10.1.1.100"))

    assert (ack.dst, ack[IP].dst) == (mac_of(1), "10.1.1.100")
    (event,) = lan.server.dhcp.take_events()
    assert isinstance(event, Granted)
    assert not event.is_new
    assert event.lease.expires_at == lan.now + 3600


def test_client_that_cannot_hear_unicast_is_answered_by_broadcast() -> None:
    (offer,) = Lan().discover(1, flags=0x8000)

    assert (offer.dst, offer[IP].dst) == ("ff:ff:ff:ff:ff:ff", "255.255.255.255")


def test_declined_address_rests_and_the_client_gets_another() -> None:
    lan = Lan()
    lan.lease(1)

    assert lan.send(frame(1, "decline", requested_addr="10.1.1.100", server_id=SERVER)) == []

    assert lan.lease(1) == "10.1.1.101"
    assert lan.lease(2, requested_addr="10.1.1.100") == "10.1.1.102"
    lan.now += 601
    assert lan.lease(3, requested_addr="10.1.1.100") == "10.1.1.100"


def test_stranger_cannot_decline_or_release_for_another() -> None:
    lan = Lan()
    lan.lease(1)

    lan.send(frame(2, "decline", requested_addr="10.1.1.100", server_id=SERVER))
    lan.send(frame(2, "release", ciaddr="10.1.1.100"))

    (ack,) = lan.request(1, "10.1.1.100")
    assert options_of(ack)["message-type"] == 5


def test_released_address_comes_back_to_the_same_client_while_nobody_needs_it() -> None:
    lan = Lan()
    lan.lease(1)
    lan.server.dhcp.take_events()

    assert lan.send(frame(1, "release", source="10.1.1.100", ciaddr="10.1.1.100")) == []

    (event,) = lan.server.dhcp.take_events()
    assert isinstance(event, Released)
    assert lan.lease(2) == "10.1.1.101"
    assert lan.lease(1) == "10.1.1.100"


def test_inform_is_answered_without_address_and_times() -> None:
    (ack,) = Lan().send(frame(1, "inform", source="10.1.1.9", ciaddr="10.1.1.9"))

    assert (ack[BOOTP].yiaddr, ack[IP].dst) == ("0.0.0.0", "10.1.1.9")
    assert "lease_time" not in options_of(ack)
    assert options_of(ack)["router"] == "10.1.1.1"


def test_fixed_lease_is_for_its_station_only() -> None:
    lan = Lan("pool=10.1.1.100-10.1.1.101&static=02:00:00:00:01:05,10.1.1.100,printer")

    assert lan.lease(5, client_id=b"\0any") == "10.1.1.100"
    assert lan.lease(1, requested_addr="10.1.1.100") == "10.1.1.101"
    (nak,) = lan.request(5, "10.1.1.101")
    assert options_of(nak)["message-type"] == 6


def test_relayed_requests_are_not_for_us() -> None:
    lan = Lan()
    relayed = message(1, "discover")
    relayed.giaddr = "10.9.9.9"
    packet = Ether(src=mac_of(1), dst=SERVER_MAC) / IP(src="10.9.9.9", dst=SERVER) / UDP(sport=67, dport=67)

    assert lan.send(bytes(packet / relayed)) == []
    assert lan.server.dhcp.counters["from a relay agent"] == 1


def test_flood_of_requests_is_bounded() -> None:
    lan = Lan()
    data = frame(1, "inform", ciaddr="10.1.1.9")

    answered = sum(len(lan.send(data)) for _ in range(1000))

    assert answered == 200
    assert lan.server.discards["too many DHCP messages"] == 800


def test_it_is_a_station_that_answers_arp_and_ping() -> None:
    lan = Lan()

    (reply,) = lan.send(
        bytes(
            Ether(src=mac_of(1), dst="ff:ff:ff:ff:ff:ff") / ARP(hwsrc=mac_of(1), psrc="10.1.1.9", pdst=SERVER)
        )
    )
    assert reply[ARP].hwsrc == SERVER_MAC
    (pong,) = lan.send(bytes(Ether(src=mac_of(1), dst=SERVER_MAC) / IP(src="10.1.1.9", dst=SERVER) / ICMP()))
    assert pong[ICMP].type == 0


# --- names ---


def test_names_come_and_go_with_leases() -> None:
    lan = Lan()
    assert lan.ask("alpha.lan.test").rcode == 3

    lan.lease(1, hostname=b"Alpha.somewhere")
    answer = lan.ask("ALPHA.lan.test")
    assert (answer.rcode, answer.aa, answer.an[0].rdata, answer.an[0].ttl) == (0, 1, "10.1.1.100", 60)
    assert lan.ask("alpha").an[0].rdata == "10.1.1.100"
    assert lan.ask("100.1.1.10.in-addr.arpa", "PTR").an[0].rdata == b"alpha.lan.test."

    lan.now += 3600
    assert lan.ask("alpha.lan.test").rcode == 3


def test_second_station_with_a_name_does_not_take_it_over() -> None:
    lan = Lan()
    lan.lease(1, hostname=b"alpha")
    lan.lease(2, hostname=b"alpha")

    assert lan.ask("alpha").an[0].rdata == "10.1.1.100"


def test_name_of_a_station_that_left_can_be_taken() -> None:
    lan = Lan()
    lan.lease(1, hostname=b"alpha")
    lan.send(frame(1, "release", source="10.1.1.100", ciaddr="10.1.1.100"))

    assert lan.lease(2, hostname=b"alpha") == "10.1.1.101"
    assert lan.ask("alpha").an[0].rdata == "10.1.1.101"


def test_station_cannot_take_the_name_of_a_fixed_lease() -> None:
    lan = Lan("static=02:00:00:00:01:05,10.1.1.7,printer")
    lan.lease(1, hostname=b"printer")

    assert lan.ask("printer").an[0].rdata == "10.1.1.7"


@pytest.mark.parametrize("name", [b"-x", b"a b", b"\xff", b"", b"x" * 64, b"a_b"])
def test_name_that_is_none_is_left_out(name: bytes) -> None:
    lan = Lan()

    lan.lease(1, hostname=name)

    assert [lease.name for lease in lan.server.dhcp.leases] == [None]


def test_name_without_the_kind_asked_for_has_no_records() -> None:
    lan = Lan()
    lan.lease(1, hostname=b"alpha")

    answer = lan.ask("alpha.lan.test", "AAAA")

    assert (answer.rcode, answer.ancount) == (0, 0)


def test_other_names_are_refused_or_forwarded() -> None:
    assert Lan().ask("www.example.org").rcode == 5

    lan = Lan(forwards=True)
    assert lan.send(query_frame(9, "10.1.1.50", "www.example.org")) == []
    (pending,) = lan.server.take_queries()
    assert (str(pending.address), pending.port) == ("10.1.1.50", 40000)


def test_queries_that_wait_to_be_forwarded_are_bounded() -> None:
    lan = Lan(forwards=True)

    for _ in range(MAX_QUERIES + 10):
        lan.send(query_frame(9, "10.1.1.50", "www.example.org"))

    assert len(lan.server.take_queries()) == MAX_QUERIES
    assert lan.server.discards["too many queries"] == 10


def test_queries_from_elsewhere_are_not_answered() -> None:
    assert Lan().send(query_frame(9, "192.0.2.1", "alpha")) == []


def test_other_operations_are_not_implemented() -> None:
    assert Lan().ask("alpha", opcode=2).rcode == 4


# --- whatever stations send ---


def test_relative_of_a_request_never_raises_anything_else() -> None:
    good = bytes(message(1, "discover", hostname=b"alpha", requested_addr="10.1.1.100"))

    for size in range(len(good)):
        try:
            decode_request(good[:size])
        except FrameError:
            continue


GOOD_DHCP = frame(1, "request", requested_addr="10.1.1.100", server_id=SERVER, hostname=b"a")
GOOD_DNS = query_frame(1, "10.1.1.100", "alpha.lan.test")


@given(st.sampled_from([GOOD_DHCP, GOOD_DNS]), st.integers(0, 600), st.binary(min_size=1, max_size=12))
@example(GOOD_DHCP, 240, b"\x35\xff")
def test_mangled_frames_never_raise(data: bytes, at: int, what: bytes) -> None:
    lan = Lan(forwards=True)
    lan.lease(1)
    raw = bytearray(data)
    start = 42 + at % (len(data) - 42)
    raw[start : start + len(what)] = what
    raw[40:42] = b"\0\0"  # no UDP checksum, so that what is behind it is reached

    assert len(lan.server.receive(bytes(raw[: len(data)]), lan.now)) <= 1


@given(st.binary(max_size=100), st.sampled_from([b"\x08\x00", b"\x08\x06", b"\x86\xdd"]))
def test_any_frame_is_survived(payload: bytes, ethertype: bytes) -> None:
    lan = Lan()

    lan.server.receive(parse_mac(SERVER_MAC) + parse_mac(mac_of(1)) + ethertype + payload, lan.now)


@given(st.binary(max_size=400))
def test_any_options_give_a_request_or_frame_error(options: bytes) -> None:
    head = bytes(message(1, "discover"))[:240]
    try:
        decode_request(head + options)
    except FrameError:
        return


@given(st.binary(max_size=300))
def test_any_query_is_answered_or_a_frame_error(data: bytes) -> None:
    try:
        Lan(forwards=True).server.names.receive(data, 0.0)
    except FrameError:
        return
