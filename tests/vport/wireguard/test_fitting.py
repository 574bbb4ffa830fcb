"""Frames are made to fit: SYNs are clamped, frames that are too long are answered."""

from __future__ import annotations

from collections import Counter

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6PacketTooBig, IPv6
from scapy.layers.l2 import Dot1Q, Ether

from vport.train import Train, lone
from vport.wireguard.fitting import Fitting

LIMIT = 1418
A, B = "02:00:00:00:00:01", "02:00:00:00:00:02"


def ether(tagged: bool = False) -> Ether:
    frame = Ether(src=A, dst=B)
    return frame / Dot1Q(vlan=7, prio=3) if tagged else frame


def ip(version: int, **fields: object) -> IP | IPv6:
    if version == 4:
        return IP(src="10.0.0.1", dst="10.0.0.2", **fields)
    return IPv6(src="fd00::1", dst="fd00::2")


def fitting() -> Fitting:
    return Fitting(LIMIT, Counter())


@pytest.mark.parametrize("tagged", [False, True])
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("shift", [[], ["NOP"]])
def test_syn_is_clamped_and_its_checksum_stays_right(version: int, tagged: bool, shift: list[str]) -> None:
    options = [*((name, None) for name in shift), ("MSS", 1460), ("SAckOK", b""), ("WScale", 7)]
    frame = bytes(ether(tagged) / ip(version) / TCP(flags="S", dport=80, options=options))

    sent, answer = fitting().outgoing(lone(frame), 0.0)

    assert answer is None
    assert sent is not None
    result = Ether(bytes(sent.data))
    wanted = LIMIT - 14 - 4 * tagged - (20 if version == 4 else 40) - 20
    assert dict(result[TCP].options)["MSS"] == wanted
    again = result.copy()
    del again[TCP].chksum
    assert Ether(bytes(again))[TCP].chksum == result[TCP].chksum


@pytest.mark.parametrize(
    "layer",
    [
        TCP(flags="S", options=[("MSS", 1200)]),
        TCP(flags="A"),
        TCP(flags="S", options=[("NOP", None)]),
        UDP(dport=53) / (b"\x02" * 40),
    ],
)
def test_other_segments_pass_untouched(layer: TCP | UDP) -> None:
    train = lone(bytes(ether() / ip(4) / layer))
    assert fitting().outgoing(train, 0.0) == (train, None)


def test_syn_in_the_middle_of_a_train_is_clamped() -> None:
    ack = bytes(ether() / ip(4) / TCP(flags="A", options=[("MSS", 1460)]))
    syn = bytes(ether() / ip(4) / TCP(flags="S", options=[("MSS", 1460)]))
    train = Train(ack * 3 + syn + ack, len(syn))

    clamped = fitting().clamp(train)

    frames = [Ether(bytes(frame)) for frame in clamped.frames()]
    sizes = [dict(frame[TCP].options)["MSS"] for frame in frames]
    assert sizes == [1460, 1460, 1460, LIMIT - 54, 1460]


def test_train_without_tcp_is_not_walked_through() -> None:
    frame = bytes(ether() / ip(4) / UDP(dport=9) / bytes(64))
    train = Train(frame * 20, len(frame))
    assert fitting().clamp(train) is train


@pytest.mark.parametrize("tagged", [False, True])
def test_long_ipv4_packet_is_answered_with_fragmentation_needed(tagged: bool) -> None:
    frame = bytes(ether(tagged) / ip(4, flags="DF") / UDP(dport=9) / bytes(1450))

    sent, answer = fitting().outgoing(lone(frame), 0.0)

    assert sent is None
    assert answer is not None
    reply = Ether(answer)
    assert (reply.src, reply.dst) == (B, A)
    assert (reply[IP].src, reply[IP].dst) == ("10.0.0.2", "10.0.0.1")
    assert (reply[ICMP].type, reply[ICMP].code) == (3, 4)
    assert reply[ICMP].nexthopmtu == LIMIT - 14 - 4 * tagged
    assert not tagged or reply[Dot1Q].vlan == 7


def test_long_ipv6_packet_is_answered_with_packet_too_big() -> None:
    frame = bytes(ether() / ip(6) / UDP(dport=9) / bytes(1450))
    sent, answer = fitting().outgoing(lone(frame), 0.0)
    assert sent is None
    assert answer is not None
    assert Ether(answer)[ICMPv6PacketTooBig].mtu == LIMIT - 14


def test_train_of_long_packets_is_answered_once_with_a_packet_of_its_size() -> None:
    frame = bytes(ether() / ip(4, flags="DF") / UDP(dport=9) / bytes(1450))
    discards: Counter[str] = Counter()
    sent, answer = Fitting(LIMIT, discards).outgoing(Train(frame * 3, len(frame)), 0.0)
    assert sent is None
    assert answer is not None
    assert discards == {"too long for the tunnel": 3}


def test_what_may_be_fragmented_or_is_not_ip_passes() -> None:
    for frame in (
        bytes(ether() / ip(4) / UDP(dport=9) / bytes(1450)),
        bytes(Ether(src=A, dst=B, type=0x88B5) / bytes(1450)),
    ):
        train = lone(frame)
        assert fitting().outgoing(train, 0.0) == (train, None)


def test_answers_are_limited() -> None:
    frame = bytes(ether() / ip(4, flags="DF") / UDP(dport=9) / bytes(1450))
    one = fitting()
    answers = [one.outgoing(lone(frame), 0.0)[1] for _ in range(100)]
    assert sum(answer is not None for answer in answers) == 10


@pytest.mark.parametrize("size", range(14, 60, 3))
def test_cut_off_frames_pass(size: int) -> None:
    whole = bytes(ether() / ip(4) / TCP(flags="S", options=[("MSS", 1460)]))
    train = lone(whole[:size])
    sent, answer = fitting().outgoing(train, 0.0)
    assert sent is not None
    assert answer is None


def test_ipv6_packet_of_1280_bytes_passes_however_narrow_the_path() -> None:
    frame = bytes(ether() / ip(6) / UDP(dport=9) / bytes(1280 - 48))
    train = lone(frame)
    assert Fitting(1000, Counter()).outgoing(train, 0.0) == (train, None)
