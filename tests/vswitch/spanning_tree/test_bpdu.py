from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scapy.layers.l2 import LLC, STP, Dot3

from vport.errors import FrameError
from vport.ethernet import MINIMUM_FRAME_SIZE, Vid
from vswitch.spanning_tree.bpdu import (
    Bpdu,
    ConfigBpdu,
    Dialect,
    PortRole,
    RstBpdu,
    TcnBpdu,
    decode,
    decode_frame,
    encode,
    encode_frame,
)
from vswitch.spanning_tree.priority import BridgeId, PortId, PriorityVector
from vswitch.spanning_tree.settings import Times

SOURCE = bytes.fromhex("00ff0000000a")

# Captured from two vde_switches: hello of a designated, a root and a backup port, and a topology change.
VDE_DESIGNATED = bytes.fromhex(
    "0180c200000000ff0000000a0027424203000002027c"
    "800000ff0000000a00000000800000ff0000000a8003000028000400000000"
)
VDE_ROOT = bytes.fromhex(
    "0180c200000000ff0000000b00274242030000020274"
    "800000ff0000000a01312d00900000ff0000000b8004010028000400000000"
)
VDE_BACKUP = bytes.fromhex(
    "0180c200000000ff0000000b0027424203000002024a"
    "800000ff0000000a01312d00900000ff0000000b8115010028000400000000"
)
VDE_CHANGE = bytes.fromhex(
    "0180c200000000ff0000000b810001230027424203000002023d900000ff0000000b00000000900000ff0000000b8115000028000400000000"
)

vectors = st.builds(
    PriorityVector,
    st.integers(0, 2**64 - 1).map(BridgeId),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**64 - 1).map(BridgeId),
    st.integers(0, 2**16 - 1).map(PortId),
)
seconds = st.integers(0, 65535).map(lambda units: units / 256)
times = st.builds(Times, seconds, seconds, seconds, seconds).filter(lambda t: t[1:] != (40.0, 4.0, 0.0))
vde_times = st.integers(0, 255).map(lambda age: Times(float(age), 40.0, 4.0, 0.0))
roles = st.sampled_from([PortRole.ROOT, PortRole.DESIGNATED, PortRole.ALTERNATE])
flags = {name: st.booleans() for name in ("topology_change", "learning", "forwarding", "agreement")}
bpdus: st.SearchStrategy[Bpdu] = st.one_of(
    st.builds(TcnBpdu),
    st.builds(
        ConfigBpdu,
        vector=vectors,
        times=times,
        topology_change=st.booleans(),
        topology_change_ack=st.booleans(),
    ),
    st.builds(RstBpdu, vector=vectors, times=times, role=roles, proposal=st.booleans(), **flags),
    st.builds(RstBpdu, vector=vectors, times=vde_times, role=roles, dialect=st.just(Dialect.VDE), **flags),
)
vids = st.one_of(st.none(), st.integers(0, 4094).map(Vid))


def decode_bytes(frame: bytes) -> RstBpdu:
    _, bpdu = decode_frame(frame)
    assert isinstance(bpdu, RstBpdu)
    return bpdu


@given(bpdus, vids)
def test_encode_then_decode_is_identity(bpdu: Bpdu, vid: Vid | None) -> None:
    frame = encode_frame(bpdu, SOURCE, vid)

    assert decode_frame(frame) == (vid, bpdu)
    assert len(frame) == MINIMUM_FRAME_SIZE


@given(st.binary(max_size=80))
@example(VDE_DESIGNATED[:52])
@example(VDE_DESIGNATED[:17])
@example(VDE_CHANGE[:16])
def test_decode_accepts_or_raises_frame_error(data: bytes) -> None:
    for decoder in (decode, decode_frame):
        with suppress(FrameError):
            decoder(data)


@given(st.binary(min_size=1, max_size=60))
def test_decode_is_total_behind_a_valid_header(payload: bytes) -> None:
    header = VDE_DESIGNATED[:12] + (len(payload) + 3).to_bytes(2, "big") + b"\x42\x42\x03"
    with suppress(FrameError):
        decode_frame(header + payload)


@given(bpdus)
@settings(deadline=None)  # scapy loads its layers with the first packet
def test_bpdu_agrees_with_scapy(bpdu: Bpdu) -> None:
    packet = Dot3(encode_frame(bpdu, SOURCE))

    assert (packet.dst, packet.src, packet.len) == (
        "01:80:c2:00:00:00",
        "00:ff:00:00:00:0a",
        len(encode(bpdu)) + 3,
    )
    assert (packet[LLC].dsap, packet[LLC].ssap, packet[LLC].ctrl) == (0x42, 0x42, 3)
    if isinstance(bpdu, TcnBpdu):
        assert bytes(packet[LLC].payload)[:4] == bytes.fromhex("00000080")  # too short for scapy's STP layer
        return
    stp = packet[STP]
    expected_version = 2 if isinstance(bpdu, RstBpdu) else 0
    assert (stp.version, stp.bpdutype) == (expected_version, expected_version)
    assert stp.rootid << 48 | int(stp.rootmac.replace(":", ""), 16) == bpdu.vector.root_id
    assert stp.bridgeid << 48 | int(stp.bridgemac.replace(":", ""), 16) == bpdu.vector.designated_bridge_id
    assert (stp.pathcost, stp.portid) == (bpdu.vector.root_path_cost, bpdu.vector.designated_port_id)
    assert (stp.age, stp.maxage, stp.hellotime, stp.fwddelay) == bpdu.times


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"role": PortRole.ALTERNATE}, 0b0000_0100),
        ({"role": PortRole.BACKUP}, 0b0000_0100),
        ({"role": PortRole.ROOT}, 0b0000_1000),
        ({"role": PortRole.DESIGNATED}, 0b0000_1100),
        ({"role": PortRole.DESIGNATED, "topology_change": True}, 0b0000_1101),
        ({"role": PortRole.DESIGNATED, "proposal": True}, 0b0000_1110),
        ({"role": PortRole.DESIGNATED, "learning": True, "forwarding": True}, 0b0011_1100),
        ({"role": PortRole.ROOT, "agreement": True}, 0b0100_1000),
    ],
)
def test_flags_of_an_rst_bpdu_are_where_the_standard_puts_them(
    changes: dict[str, Any], expected: int
) -> None:
    vector = PriorityVector(BridgeId(1), 0, BridgeId(1), PortId(1))
    bpdu = RstBpdu(vector=vector, times=Times(0.0, 20.0, 2.0, 15.0), **changes)

    assert encode(bpdu)[4] == expected


@pytest.mark.parametrize(
    ("frame", "role", "is_forwarding", "agreement", "change"),
    [
        (VDE_DESIGNATED, PortRole.DESIGNATED, True, True, False),
        (VDE_ROOT, PortRole.ROOT, True, True, False),
        (VDE_BACKUP, PortRole.ALTERNATE, False, True, False),
        (VDE_CHANGE, PortRole.DESIGNATED, True, False, True),
    ],
)
def test_vde_bpdus_are_recognised_and_their_roles_exchanged(
    frame: bytes, role: PortRole, is_forwarding: bool, agreement: bool, change: bool
) -> None:
    bpdu = decode_bytes(frame)

    assert bpdu.dialect is Dialect.VDE
    assert (bpdu.role, bpdu.forwarding, bpdu.agreement, bpdu.topology_change) == (
        role,
        is_forwarding,
        agreement,
        change,
    )
    assert bpdu.proposal is False


@pytest.mark.parametrize("frame", [VDE_DESIGNATED, VDE_ROOT, VDE_BACKUP, VDE_CHANGE])
def test_vde_bpdus_are_written_as_vde_writes_them(frame: bytes) -> None:
    vid, bpdu = decode_frame(frame)

    assert encode_frame(bpdu, frame[6:12], vid) == frame.ljust(60, b"\0")


def test_tagged_frame_gives_its_vid() -> None:
    vid, _ = decode_frame(VDE_CHANGE)

    assert vid == 291


def test_mstp_reads_as_rstp() -> None:
    frame = VDE_DESIGNATED[:19] + b"\x03" + VDE_DESIGNATED[20:]

    assert decode_bytes(frame) == decode_bytes(VDE_DESIGNATED)


def test_rst_bpdu_without_a_role_reads_as_configuration() -> None:
    frame = VDE_DESIGNATED[:21] + b"\x01" + VDE_DESIGNATED[22:]

    _, bpdu = decode_frame(frame)

    assert isinstance(bpdu, ConfigBpdu)
    assert bpdu.topology_change


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (VDE_DESIGNATED[:13], "no Ethernet header"),
        (b"\x01\x80\xc2\x00\x00\x0e" + VDE_DESIGNATED[6:], "not addressed"),
        (VDE_DESIGNATED[:12] + b"\x88\xcc" + VDE_DESIGNATED[14:], "EtherType 0x88cc"),
        (VDE_DESIGNATED[:40], "length 39 but 26 bytes"),
        (VDE_DESIGNATED[:14] + b"\xaa\xaa\x03" + VDE_DESIGNATED[17:], "LLC"),
        (VDE_DESIGNATED[:17] + b"\x00\x01" + VDE_DESIGNATED[19:], "protocol 0x0001"),
        (VDE_DESIGNATED[:19] + b"\x01" + VDE_DESIGNATED[20:], "version 1, type 0x02"),
        (VDE_DESIGNATED[:20] + b"\x07" + VDE_DESIGNATED[21:], "type 0x07"),
    ],
)
def test_what_is_no_bpdu_is_refused_with_the_reason(frame: bytes, reason: str) -> None:
    with pytest.raises(FrameError, match=reason):
        decode_frame(frame)


def test_a_tag_that_cannot_be_is_our_own_mistake() -> None:
    with pytest.raises(ValueError, match="4095"):
        encode_frame(TcnBpdu(), SOURCE, Vid(4095))
