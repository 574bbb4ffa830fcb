from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.l2 import Ether
from scapy.layers.vxlan import VXLAN

from vport.errors import SettingsError
from vport.locator import VxlanLocator, parse
from vport.train import Train
from vport.vxlan import StationTable, decapsulate, encapsulate, encode_header, learn_all

ONE = bytes.fromhex("02000000000a")
TWO = bytes.fromhex("02000000000b")


def frames_of(trains: list[Train]) -> list[bytes]:
    return [bytes(frame) for train in trains for frame in train.frames()]


def test_packet_is_read_by_scapy_as_it_was_meant() -> None:
    frame = b"\xff" * 6 + ONE + b"\x08\x06" + bytes(46)
    packet = VXLAN(bytes(encapsulate(Train(frame, len(frame)), encode_header(0x123456)).data))
    assert packet.vni == 0x123456
    assert packet.flags == "Instance"
    assert bytes(packet[Ether]) == frame


def test_packet_of_scapy_is_read() -> None:
    vxlan = VXLAN(vni=42, flags="Instance", reserved1=0x777777)
    packet = bytes(vxlan / Ether(src="02:00:00:00:00:0a") / (b"x" * 20))
    discards: Counter[str] = Counter()
    [train] = decapsulate(packet, len(packet), 42, discards)
    assert bytes(train.data) == packet[8:]
    assert not discards


@settings(deadline=None)  # it would measure how busy the machine is
@given(st.integers(14, 100), st.integers(1, 12), st.integers(0, 99), st.integers(0, 2**24 - 1))
def test_encapsulate_then_decapsulate_is_identity(size: int, full: int, rest: int, vni: int) -> None:
    data = bytes(range(256)) * 5
    train = Train(data[: size * full + min(max(rest, 14), size)], size)
    packets = encapsulate(train, encode_header(vni))
    assert packets.count == train.count
    discards: Counter[str] = Counter()
    again = decapsulate(packets.data, packets.frame_size, vni, discards)
    assert frames_of(again) == frames_of([train])
    assert not discards


@pytest.mark.parametrize("count", [1, 3, 20])
def test_wrong_vni_and_wrong_flags_are_counted_and_the_rest_delivered(count: int) -> None:
    size = 68
    good = encode_header(7) + bytes(60)
    wrong_vni = encode_header(8) + bytes(60)
    bad_flags = b"\0" * 4 + encode_header(7)[4:] + bytes(60)
    discards: Counter[str] = Counter()
    trains = decapsulate((good + wrong_vni + bad_flags) * count + good[:10], size, 7, discards)

    assert frames_of(trains) == [bytes(60)] * count
    assert discards == {"wrong VNI": count, "bad flags": count, "short": 1}


@settings(deadline=None)  # it would measure how busy the machine is
@given(st.binary(max_size=300), st.integers(0, 80))
def test_any_bytes_become_frames_or_are_counted(data: bytes, size: int) -> None:
    discards: Counter[str] = Counter()
    for train in decapsulate(data, size, 1, discards):
        assert all(len(frame) >= 14 for frame in train.frames())


# --- the table ---


def test_station_is_found_where_it_was_heard_and_forgotten_when_silent() -> None:
    table: StationTable[str] = StationTable(300.0)
    frames = b"\xff" * 6 + ONE + bytes(48) + b"\xff" * 6 + TWO + bytes(48)
    learn_all(table, Train(frames, 60), "left", 0.0)
    table.learn(ONE, "right", 10.0)
    assert (table.find(ONE, 10.0), table.find(TWO, 10.0)) == ("right", "left")
    assert table.find(TWO, 300.1) is None
    table.collect(300.1)
    assert len(table) == 1
    assert table.places() == {"right"}


def test_table_is_bounded_and_learns_no_groups() -> None:
    table: StationTable[str] = StationTable(300.0, capacity=2)
    table.learn(b"\x01" * 6, "x", 0.0)
    assert len(table) == 0
    for number in range(3):
        table.learn(bytes((2, 0, 0, 0, 0, number)), "x", 0.0)
    assert len(table) == 2
    table.learn(bytes(6)[:5] + b"\x01", "x", 0.0)
    assert len(table) == 2


# --- locators ---


@pytest.mark.parametrize(
    ("text", "host", "port", "remotes"),
    [
        ("vxlan://:4789?vni=1", "", 4789, ()),
        ("vxlan://?vni=1&remote=10.0.0.2", "", 4789, (("10.0.0.2", 4789),)),
        ("vxlan://10.0.0.1?vni=1&remote=10.0.0.2:8472", "10.0.0.1", 4789, (("10.0.0.2", 8472),)),
        ("vxlan://[fd00::1]:5000?vni=1&remote=fd00::2", "fd00::1", 5000, (("fd00::2", 4789),)),
        ("vxlan://?vni=1&remote=[fd00::2]:99", "", 4789, (("fd00::2", 99),)),
        ("vxlan://?vni=1&remote=a&remote=239.1.1.1", "", 4789, (("a", 4789), ("239.1.1.1", 4789))),
    ],
)
def test_locator_is_read_and_written(
    text: str, host: str, port: int, remotes: tuple[tuple[str, int], ...]
) -> None:
    locator = parse(text)
    assert isinstance(locator, VxlanLocator)
    assert (locator.host, locator.port, locator.remote) == (host, port, remotes)
    assert parse(str(locator)) == locator


@pytest.mark.parametrize(
    "text",
    ["vxlan://:4789", "vxlan://?vni=16777216", "vxlan://?vni=1&remote=", "vxlan://x:y?vni=1", "tun://tun0"],
)
def test_wrong_locator_says_what_is_missing(text: str) -> None:
    with pytest.raises(SettingsError):
        parse(text)
