"""The plugins that come with the switch."""

from __future__ import annotations

import json
from ipaddress import ip_interface
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vswitch.plugins.test_shelf import FRAME, Lan
from vport.errors import CommandError
from vport.ethernet import BROADCAST, parse_mac
from vport.shell.command import Session
from vport.station.host import Station
from vswitch.plugins import iplog
from vswitch.plugins.dump import IN, OUT, Filter, read_filter
from vswitch.plugins.frame_text import describe_frame

if TYPE_CHECKING:
    from vport.shell.message import Message

A = parse_mac("02:00:00:00:00:0a")
ARP = (
    BROADCAST
    + A
    + bytes.fromhex("0806 0001080006040001")
    + A
    + bytes.fromhex("0a010101 000000000000 0a010102")
)
IPV4 = (
    bytes.fromhex("4500002400000000401100000a0101010a010102") + bytes.fromhex("3039003500100000") + bytes(8)
)
UDP = bytes(A) + bytes(A) + b"\x08\x00" + IPV4
TCP = UDP[:23] + b"\x06" + UDP[24:34] + bytes.fromhex("00501f90000000000000000050120000") + bytes(4)


class Told(Lan):
    """A LAN that keeps the messages which its plugins send."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[Message] = []
        self.switch.server.send = self.said.append  # type: ignore[method-assign]
        self.switch.server.wants = lambda category: True  # type: ignore[method-assign]

    def texts(self) -> list[str]:
        said = [f"{message.category.path} {message.text}" for message in self.said]
        self.said.clear()
        return [text for text in said if not text.startswith(("hash/", "port/"))]


# --- what a frame says ---


@pytest.mark.parametrize(
    ("frame", "text"),
    [
        (ARP, "ARP who-has 10.1.1.2 tell 10.1.1.1"),
        (ARP[:21] + b"\x02" + ARP[22:], "ARP 10.1.1.1 is-at 02:00:00:00:00:0a"),
        (UDP, "IPv4 10.1.1.1.12345 > 10.1.1.2.53: UDP"),
        (TCP, "IPv4 10.1.1.1.80 > 10.1.1.2.8080: TCP [S.]"),
        (UDP[:23] + b"\x59" + UDP[24:], "IPv4 10.1.1.1 > 10.1.1.2: OSPF"),
        (UDP[:12] + bytes.fromhex("8100600a0800") + IPV4, "vlan 10, IPv4 10.1.1.1.12345 > 10.1.1.2.53: UDP"),
        (UDP[:12] + b"\x88\xb5", "ethertype 0x88b5"),
        (UDP[:12] + bytes.fromhex("0026424203") + bytes(30), "STP"),
    ],
)  # fmt: skip
def test_frame_is_described_in_a_line(frame: bytes, text: str) -> None:
    assert describe_frame(frame).split(", ", 1)[1] == text


@given(st.binary(max_size=120) | st.binary(max_size=80).map(lambda rest: UDP[:12] + rest))
def test_any_bytes_are_described(frame: bytes) -> None:
    assert "\n" not in describe_frame(frame)


def test_frames_of_a_real_station_are_understood() -> None:
    station = Station(A, (ip_interface("10.1.1.1/24"), ip_interface("fd00::1/64")))
    texts = [describe_frame(frame) for frame in station.announce()]
    assert any("ARP" in text for text in texts)
    assert any("ICMP6 neighbour advertisement" in text for text in texts)


# --- dump ---


def test_dump_shows_frames_once_it_is_active() -> None:
    lan = Told()
    assert lan.ask("plugin/add dump").errno == 0
    lan.send(ARP)
    assert lan.texts() == []

    assert lan.ask("dump/active 1").errno == 0
    lan.send(ARP)
    text = "len=0042 02:00:00:00:00:0a > ff:ff:ff:ff:ff:ff, ARP who-has 10.1.1.2 tell 10.1.1.1"
    assert lan.texts() == [f"dump/packetin Pkt: Port 0001 {text}", f"dump/packetout Pkt: Port 0002 {text}"]

    assert lan.ask("dump/hex 1").errno == 0
    lan.send(b"\xff" * 6 + bytes(A) + b"\x08\x00\x45")
    assert lan.texts()[0].endswith("len=0015 ff ff ff ff ff ff 02 00 00 00 00 0a 08 00 45")


def test_dump_filters() -> None:
    lan = Told()
    lan.ask("plugin/add dump")
    session = Session(lan.switch.catalog)
    assert lan.ask("dump/here port 2 type arp").errno == 0
    lan.send(ARP)
    lan.send(UDP)
    assert [text.split()[:4] for text in lan.texts()] == [["dump/packetout", "Pkt:", "Port", "0002"]]
    assert list(lan.ask("dump/showinfo").lines or ())[2] == "filter: port 2 type 0x0806"
    assert lan.ask("dump/filter nonsense 3").errno == 22
    assert session.subscriptions == set()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (None, Filter()),
        ("port 3", Filter(port=3)),
        ("mac 2:0:0:0:0:a vlan 7", Filter(mac=bytes(A), vlan=7)),
        ("type ip6", Filter(type=0x86DD)),
        ("type 0x88cc", Filter(type=0x88CC)),
    ],
)
def test_filter_is_read(text: str | None, found: Filter) -> None:
    assert read_filter(text) == found
    assert read_filter(None if str(found) == "everything" else str(found)) == found


@pytest.mark.parametrize("text", ["port", "port x", "port 99999", "vlan 4096", "mac x", "type ipx", "x 1"])
def test_wrong_filter_is_told(text: str) -> None:
    with pytest.raises(CommandError, match="FILTER"):
        read_filter(text)


def test_filter_fits_by_all_that_it_says() -> None:
    tagged = UDP[:12] + bytes.fromhex("8100600a0800") + IPV4
    assert Filter(vlan=10, type=0x0800).fits(1, tagged)
    assert not Filter(vlan=11).fits(1, tagged)
    assert not Filter(vlan=10).fits(1, UDP)
    assert not Filter(mac=b"\0" * 6).fits(1, UDP)
    assert not Filter(type=0x0806).fits(1, b"short")


def test_dump_is_bounded_and_says_what_it_left_out() -> None:
    lan = Told()
    lan.ask("plugin/add dump")
    lan.ask("dump/active 1")
    for _ in range(1200):
        lan.send(ARP)
    assert len(lan.texts()) == 1000
    lan.switch.clock += 1
    lan.send(ARP)
    assert lan.texts()[0] == "dump/packetin 1400 frames not shown: 1000 a second at most"
    assert {IN.tag, OUT.tag} == {0o101, 0o102}


# --- iplog ---


def test_iplog_knows_who_was_seen_where() -> None:
    lan = Told()
    assert lan.ask("plugin/add iplog").errno == 0
    lan.send(ARP)
    lan.send(UDP)
    lan.send(FRAME)
    assert lan.texts() == ["iplog/newip 10.1.1.1 02:00:00:00:00:0a Port 0001"]

    (line,) = lan.ask("iplog/iplist").lines or ()
    assert line.startswith("10.1.1.1 ")
    assert " 02:00:00:00:00:0a Port 0001 User NONE first 20" in line
    (found,) = json.loads("\n".join(lan.ask("iplog/ipsearch 10.1.1.1 -j").lines or ()))
    assert (found["address"], found["mac"], found["port"]) == ("10.1.1.1", "02:00:00:00:00:0a", 1)
    assert found["first"] <= found["last"]
    assert lan.ask("iplog/ipsearch 10.1.1.9").errno == 19
    assert len(list(lan.ask("iplog/ipport 1").lines or ())) == 1
    assert list(lan.ask("iplog/ipport 2").lines or ()) == []
    assert list(lan.ask("iplog/ipuser bob").lines or ()) == []
    for wrong in ("iplog/ipsearch x", "iplog/ipport 99", "iplog/setexpire 0", "iplog/ipadd 10.1.1.1/99"):
        assert lan.ask(wrong).errno == 22


def test_iplog_keeps_to_its_ranges() -> None:
    lan = Told()
    lan.ask("plugin/add iplog")
    assert lan.ask("iplog/ipadd 10.2.0.0/16").errno == 0
    assert lan.ask("iplog/ipadd 10.2.0.0/16").errno == 17
    lan.send(ARP)
    assert list(lan.ask("iplog/iplist").lines or ()) == []
    assert lan.ask("iplog/ipadd 10.1.1.0/24").errno == 0
    assert list(lan.ask("iplog/list").lines or ()) == ["10.2.0.0/16", "10.1.1.0/24"]
    lan.send(ARP)
    assert len(list(lan.ask("iplog/iplist").lines or ())) == 1
    assert lan.ask("iplog/ipdel 10.1.1.0/24").errno == 0
    assert lan.ask("iplog/ipdel 10.1.1.0/24").errno == 2


def test_iplog_forgets_the_oldest_of_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iplog, "CAPACITY", 3)
    lan = Told()
    lan.ask("plugin/add iplog")
    for number in range(1, 6):
        lan.send(ARP[:31] + bytes([number]) + ARP[32:])
    lines = list(lan.ask("iplog/iplist").lines or ())
    assert [line.split()[0] for line in lines] == ["10.1.1.3", "10.1.1.4", "10.1.1.5"]
