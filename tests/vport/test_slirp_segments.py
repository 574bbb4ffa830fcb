from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Ether

from vport.offload import plain
from vport.slirp_segments import (
    DEFAULT_MSS,
    MAX_STATIONS,
    OfferedSizes,
    fitted,
    fragments,
    limit_offer,
    mss_position,
    multiply_offer,
)

STATION, ROUTER = "02:00:00:00:00:09", "52:55:0a:00:02:02"
TO_ROUTER = Ether(src=STATION, dst=ROUTER)
FROM_ROUTER = Ether(src=ROUTER, dst=STATION)
V4 = IP(src="10.0.2.15", dst="192.0.2.1")
V6 = IPv6(src="fd00::15", dst="2001:db8::1")
V4_STATION = bytes((10, 0, 2, 15))


def syn(ip: Any, options: list[Any], flags: str = "S") -> memoryview:
    return memoryview(
        bytearray(bytes(TO_ROUTER / ip / TCP(sport=1000, dport=80, flags=flags, options=options)))
    )


def offered_in(frame: Any) -> int | None:
    return dict(Ether(bytes(frame))[TCP].options).get("MSS")


def assert_checksums_are_right(frame: Any) -> None:
    packet = Ether(bytes(frame))
    for layer in (IP, TCP, UDP):
        if layer in packet:
            del packet[layer].chksum
    assert bytes(packet) == bytes(frame)


@pytest.mark.parametrize("ip", [V4, V6, IP(src="10.0.2.15", dst="192.0.2.1", options=b"\x01\x01\x01\x00")])
@pytest.mark.parametrize(
    "options",
    [
        [("MSS", 1460)],
        [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (1, 0)), ("NOP", None), ("WScale", 7)],
        [("NOP", None), ("MSS", 1460)],  # at an odd place
    ],
)
def test_offers_of_stations_are_multiplied_and_remembered(ip: Any, options: list[Any]) -> None:
    frame, offered = syn(ip, options), OfferedSizes()

    assert multiply_offer(frame, offered)

    assert offered_in(frame) == 11 * 1460
    assert_checksums_are_right(frame)
    assert offered.of(V4_STATION if IP in ip else bytes.fromhex("fd00" + "00" * 13 + "15")) == 1460


@pytest.mark.parametrize(
    "frame",
    [
        syn(V4, [("MSS", 535)]),
        syn(V4, [("MSS", 9000)]),
        syn(V4, []),
        syn(V4, [("MSS", 1460)], flags="A"),
        memoryview(bytearray(bytes(TO_ROUTER / V4 / UDP() / bytes(40)))),
        memoryview(bytearray(bytes(TO_ROUTER / ARP()))),
        memoryview(bytearray(bytes(TO_ROUTER / IP(frag=5) / TCP(flags="S", options=[("MSS", 1460)])))),
    ],
)
def test_other_frames_are_left_alone(frame: memoryview) -> None:
    before, offered = bytes(frame), OfferedSizes()

    assert not multiply_offer(frame, offered)

    assert bytes(frame) == before
    assert offered.of(V4_STATION) == DEFAULT_MSS


def test_least_offer_of_a_station_counts() -> None:
    offered = OfferedSizes()
    for size in (1460, 1360, 1400):
        multiply_offer(syn(V4, [("MSS", size)]), offered)

    assert offered.of(V4_STATION) == offered.least == 1360


def test_stations_that_are_remembered_are_bounded() -> None:
    offered = OfferedSizes()
    for number in range(MAX_STATIONS + 10):
        offered.note(number.to_bytes(4, "big"), 1460)

    assert len(offered._sizes) == MAX_STATIONS
    assert offered.of((0).to_bytes(4, "big")) == offered.least == DEFAULT_MSS


@pytest.mark.parametrize(("ip", "most"), [(V4, 1460), (V6, 1440)])
def test_offers_of_libslirp_are_put_down_to_the_mtu(ip: Any, most: int) -> None:
    frame, small = syn(ip, [("MSS", 65481)], "SA"), syn(ip, [("MSS", 1000)])

    limit_offer(frame, 1500)
    limit_offer(small, 1500)

    assert (offered_in(frame), offered_in(small)) == (most, 1000)
    assert_checksums_are_right(frame)


@pytest.mark.parametrize(
    "ip", [IP(src="192.0.2.1", dst="10.0.2.15"), IPv6(src="2001:db8::1", dst="fd00::15")]
)
def test_long_segment_becomes_the_segments_that_the_station_takes(ip: Any) -> None:
    offered = OfferedSizes()
    station = V4_STATION if IP in ip else bytes.fromhex("fd00" + "00" * 13 + "15")
    offered.note(station, 1360)
    data = bytes(range(256)) * 60
    frame = bytearray(bytes(FROM_ROUTER / ip / TCP(sport=80, dport=1000, seq=7, flags="PA") / data))

    (train,) = fitted(memoryview(frame), 1500, offered)

    frames = [Ether(bytes(one)) for one in plain(train).frames()]
    assert train.count == len(frames) == -(-len(data) // 1360)
    assert b"".join(bytes(one[TCP].payload) for one in frames) == data
    assert [one[TCP].seq for one in frames] == [7 + 1360 * number for number in range(len(frames))]
    for one in frames:
        assert_checksums_are_right(one)


def test_mtu_bounds_what_a_station_offers() -> None:
    offered = OfferedSizes()
    offered.note(V4_STATION, 8000)
    packet = FROM_ROUTER / IP(src="192.0.2.1", dst="10.0.2.15") / TCP(flags="A") / bytes(4000)

    (train,) = fitted(memoryview(bytearray(bytes(packet))), 1500, offered)

    assert train.frame_size == 1514


def test_what_fits_stays_as_it_is() -> None:
    offered = OfferedSizes()
    offered.note(V4_STATION, 1460)
    for packet in (TCP(flags="A") / bytes(1460), UDP() / bytes(1472), ICMP() / bytes(100)):
        frame = bytes(FROM_ROUTER / IP(src="192.0.2.1", dst="10.0.2.15") / packet)

        (train,) = fitted(memoryview(bytearray(frame)), 1500, offered)

        assert bytes(train.data) == frame
        assert train.offload is None


@given(
    st.integers(1473, 9000), st.sampled_from([576, 1400, 1500]), st.sampled_from([b"", b"\x01\x01\x01\x00"])
)
def test_fragments_together_are_the_packet(size: int, mtu: int, options: bytes) -> None:
    data = bytes(number % 251 for number in range(size))
    packet = IP(src="192.0.2.1", dst="10.0.2.15", id=7, options=options) / UDP(sport=1, dport=2) / data
    whole = bytes(FROM_ROUTER / packet)

    pieces = [Ether(bytes(train.data)) for train in fragments(whole, mtu)]

    joined = bytearray()
    for number, piece in enumerate(pieces):
        assert_checksums_are_right(piece) if UDP not in piece else None
        assert len(piece[IP]) <= mtu
        assert piece[IP].id == 7
        assert piece[IP].frag * 8 == len(joined)
        assert bool(piece[IP].flags & 1) is (number < len(pieces) - 1)
        joined += bytes(piece[IP].payload)
    assert bytes(joined) == bytes(Ether(whole)[IP].payload)


def test_fragment_of_a_fragment_keeps_its_place() -> None:
    part = FROM_ROUTER / IP(src="192.0.2.1", dst="10.0.2.15", frag=100, flags="MF", proto=17) / bytes(2000)

    pieces = [Ether(bytes(train.data))[IP] for train in fragments(bytes(part), 1500)]

    assert [(piece.frag, int(piece.flags)) for piece in pieces] == [(100, 1), (285, 1)]


def test_what_must_not_be_fragmented_is_given_up() -> None:
    for ip in (IP(dst="10.0.2.15", flags="DF"), IPv6(dst="fd00::15")):
        frame = bytes(FROM_ROUTER / ip / UDP() / bytes(2000))
        assert fitted(memoryview(bytearray(frame)), 1500, OfferedSizes()) == []


SYN_HEAD = bytes(TO_ROUTER / V4 / TCP(flags="S"))[:34]


@given(st.binary(min_size=1, max_size=200) | st.binary(max_size=160).map(SYN_HEAD.__add__))
def test_any_frame_is_survived(data: bytes) -> None:
    frame, offered = memoryview(bytearray(data)), OfferedSizes()

    mss_position(frame)
    multiply_offer(frame, offered)
    limit_offer(frame, 576)
    if len(data) >= 14:
        fitted(frame, 100, offered)
