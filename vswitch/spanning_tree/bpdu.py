"""Bridge protocol data units: bytes to values and back (802.1D-2004 clause 9), and VDE's dialect of them.

A BPDU travels in an 802.3 frame to 01-80-C2-00-00-00: length, LLC 42 42 03, then

====== ==== ====================================== ====== ==== ===========================
offset size field                                  offset size field
====== ==== ====================================== ====== ==== ===========================
0      2    protocol, 0                            17     8    bridge id
2      1    version: 0 STP, 2 RSTP, 3 MSTP         25     2    port id
3      1    type: 0x00 config, 0x02 RST, 0x80 TCN  27     2    message age, 1/256 s
4      1    flags                                  29     2    max age, 1/256 s
5      8    root id                                31     2    hello time, 1/256 s
13     4    root path cost                         33     2    forward delay, 1/256 s
..     ..   ..                                     35     1    version 1 length, 0 (RST)
====== ==== ====================================== ====== ==== ===========================

A TCN ends after its type. VDE sends RST BPDUs that are told by their times (40, 4 and 0 seconds: no bridge
of the standard may have a forward delay below 4). It exchanges the codes of the root and the alternate
role, uses the proposal bit to say "alternate", the message age for seconds since it last heard of the root,
and claims agreement nearly always. Seconds are converted to 1/256 s here and nowhere else.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import Enum, IntEnum, IntFlag, StrEnum
from typing import Final

from vport.errors import FrameError
from vport.ethernet import (
    BRIDGE_GROUP_ADDRESS,
    MINIMUM_FRAME_SIZE,
    VID_MAX,
    Buffer,
    EtherType,
    Vid,
    decode_header,
)
from vswitch.spanning_tree.priority import BridgeId, PortId, PriorityVector
from vswitch.spanning_tree.settings import Times

# --- constants of the standards ---

LLC: Final = b"\x42\x42\x03"  # DSAP, SSAP, unnumbered information (802.1D-2004 9.2, table 7-8)
LENGTH_MAX: Final = 1500  # above this the field is an EtherType (802.3-2018 3.2.6)
_CONFIG_SIZE: Final = 35
_RST_SIZE: Final = 36
_TCN_SIZE: Final = 4
_UNITS_PER_SECOND: Final = 256  # 802.1D-2004 9.2.8

# --- VDE's constants, as observed ---

VDE_TIMES: Final = (40 * 256, 4 * 256, 0)  # max age, hello time, forward delay on the wire


class BpduType(IntEnum):
    """The type octet (802.1D-2004 9.3)."""

    CONFIG = 0x00
    RST = 0x02
    TCN = 0x80


class Flag(IntFlag):
    """The flags octet without the role (802.1D-2004 9.3.3)."""

    TOPOLOGY_CHANGE = 0x01
    PROPOSAL = 0x02
    LEARNING = 0x10
    FORWARDING = 0x20
    AGREEMENT = 0x40
    TOPOLOGY_CHANGE_ACK = 0x80


class PortRole(StrEnum):
    """What a port is for in the active topology (802.1D-2004 17.7)."""

    DISABLED = "disabled"
    ROOT = "root"
    DESIGNATED = "designated"
    ALTERNATE = "alternate"
    BACKUP = "backup"


class Dialect(Enum):
    """How a neighbour writes its RST BPDUs."""

    IEEE = "ieee"
    VDE = "vde"


_ROLE_TO_CODE: Final = {
    Dialect.IEEE: {PortRole.ALTERNATE: 1, PortRole.BACKUP: 1, PortRole.ROOT: 2, PortRole.DESIGNATED: 3},
    Dialect.VDE: {PortRole.ROOT: 1, PortRole.ALTERNATE: 2, PortRole.BACKUP: 2, PortRole.DESIGNATED: 3},
}
# Alternate and backup share a code: what is received as either is called alternate (802.1D-2004 9.2.9).
_CODE_TO_ROLE: Final = {
    Dialect.IEEE: {1: PortRole.ALTERNATE, 2: PortRole.ROOT, 3: PortRole.DESIGNATED},
    Dialect.VDE: {1: PortRole.ROOT, 2: PortRole.ALTERNATE, 3: PortRole.DESIGNATED},
}
_ROLE_SHIFT: Final = 2

_HEAD = struct.Struct("!HBB")
_BODY = struct.Struct("!HBBBQIQHHHHH")
_FRAME = struct.Struct("!6s6sH3s")


@dataclass(frozen=True, slots=True, kw_only=True)
class TcnBpdu:
    """Topology change notification of classic STP (802.1D-2004 9.3.2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigBpdu:
    """Configuration BPDU of classic STP; it always comes from a designated port (802.1D-2004 9.3.1)."""

    vector: PriorityVector
    times: Times
    topology_change: bool = False
    topology_change_ack: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RstBpdu:
    """Rapid spanning tree BPDU, in either dialect (802.1D-2004 9.3.3).

    In VDE's dialect the times are fixed, ``proposal`` does not exist, and ``times.message_age`` is whole
    seconds since the sender heard of the root.
    """

    vector: PriorityVector
    times: Times
    role: PortRole
    topology_change: bool = False
    proposal: bool = False
    learning: bool = False
    forwarding: bool = False
    agreement: bool = False
    dialect: Dialect = Dialect.IEEE


Bpdu = TcnBpdu | ConfigBpdu | RstBpdu


def is_bpdu_address(destination: bytes) -> bool:
    """Whether frames to this address carry BPDUs and are for the bridge itself (802.1D-2004 7.12.3)."""
    return destination == BRIDGE_GROUP_ADDRESS


# --- decoding ---


def decode_frame(frame: Buffer) -> tuple[Vid | None, Bpdu]:
    """Decode a frame with its Ethernet and LLC headers; the VID is ``None`` when the frame has no tag.

    Raises:
        FrameError: it is no BPDU of a kind that a bridge must understand.
    """
    header = decode_header(frame)
    if header.destination != BRIDGE_GROUP_ADDRESS:
        raise FrameError("not addressed to the bridge group address")
    length = header.ethertype
    if length > LENGTH_MAX:
        raise FrameError(f"EtherType {length:#06x} where a BPDU has an 802.3 length")
    payload = bytes(frame[header.size : header.size + length])
    if len(payload) < length:
        raise FrameError(f"802.3 length {length} but {len(payload)} bytes of payload")
    if payload[:3] != LLC:
        raise FrameError("LLC header is not that of spanning tree (42 42 03)")
    vid = None if header.tci is None else Vid(header.tci & 0x0FFF)
    return vid, decode(payload[3:])


def decode(payload: bytes) -> Bpdu:
    """Decode what follows the LLC header (802.1D-2004 9.3.4); octets after the last known field are ignored.

    Raises:
        FrameError: too short, or of an unknown protocol or type.
    """
    if len(payload) < _TCN_SIZE:
        raise FrameError(f"a BPDU of {len(payload)} bytes has no type")
    protocol, version, bpdu_type = _HEAD.unpack_from(payload)
    if protocol != 0:
        raise FrameError(f"BPDU of protocol {protocol:#06x}")
    if bpdu_type == BpduType.TCN:
        return TcnBpdu()
    if bpdu_type == BpduType.CONFIG and len(payload) >= _CONFIG_SIZE:
        return _decode_config(payload)
    # Later versions must keep the format of version 2 and add to it, so MSTP reads as RSTP (9.3.4).
    if bpdu_type == BpduType.RST and version >= 2 and len(payload) >= _RST_SIZE:
        return _decode_rst(payload)
    raise FrameError(f"BPDU of version {version}, type {bpdu_type:#04x} and {len(payload)} bytes")


def _decode_config(payload: bytes) -> ConfigBpdu:
    _, _, _, flags, root, cost, bridge, port, *times = _BODY.unpack_from(payload)
    return ConfigBpdu(
        vector=PriorityVector(BridgeId(root), cost, BridgeId(bridge), PortId(port)),
        times=_times(times),
        topology_change=bool(flags & Flag.TOPOLOGY_CHANGE),
        topology_change_ack=bool(flags & Flag.TOPOLOGY_CHANGE_ACK),
    )


def _decode_rst(payload: bytes) -> RstBpdu | ConfigBpdu:
    _, _, _, flags, root, cost, bridge, port, *times = _BODY.unpack_from(payload)
    dialect = Dialect.VDE if tuple(times[1:]) == VDE_TIMES else Dialect.IEEE
    role = _CODE_TO_ROLE[dialect].get(flags >> _ROLE_SHIFT & 3)
    if role is None:
        return _decode_config(payload)  # an unknown role makes it a configuration BPDU (802.1D-2004 9.2.9)
    return RstBpdu(
        vector=PriorityVector(BridgeId(root), cost, BridgeId(bridge), PortId(port)),
        times=_times(times),
        role=role,
        topology_change=flags & 0x01 != 0,
        proposal=flags & 0x02 != 0 and dialect is Dialect.IEEE,
        learning=flags & 0x10 != 0,
        forwarding=flags & 0x20 != 0,
        agreement=flags & 0x40 != 0,
        dialect=dialect,
    )


def _times(units: list[int]) -> Times:
    age, max_age, hello, delay = units
    per = _UNITS_PER_SECOND
    return Times(age / per, max_age / per, hello / per, delay / per)


# --- encoding ---


def encode_frame(bpdu: Bpdu, source: bytes, vid: Vid | None = None) -> bytes:
    """Build the whole frame, padded to 60 bytes; with a tag of priority 0 when ``vid`` is given.

    VDE sends 53 bytes, or 57 with a tag, and takes padded frames as well, so there is no need to follow it.
    """
    if vid is not None and not 0 <= vid <= VID_MAX:
        raise ValueError(f"VID {vid} is not within 0 to {VID_MAX}")
    payload = encode(bpdu)
    length = len(LLC) + len(payload)
    if vid is None:
        frame = _FRAME.pack(BRIDGE_GROUP_ADDRESS, source, length, LLC) + payload
    else:
        tag = struct.pack("!HH", EtherType.VLAN, vid)
        frame = b"".join((BRIDGE_GROUP_ADDRESS, source, tag, length.to_bytes(2, "big"), LLC, payload))
    return frame.ljust(MINIMUM_FRAME_SIZE, b"\0")


def encode(bpdu: Bpdu) -> bytes:
    """Build what follows the LLC header (802.1D-2004 9.3)."""
    match bpdu:
        case TcnBpdu():
            return _HEAD.pack(0, 0, BpduType.TCN)
        case ConfigBpdu():
            flags = Flag.TOPOLOGY_CHANGE * bpdu.topology_change
            flags |= Flag.TOPOLOGY_CHANGE_ACK * bpdu.topology_change_ack
            return _encode_body(0, BpduType.CONFIG, flags, bpdu.vector, _units(bpdu.times))
        case RstBpdu():
            return _encode_rst(bpdu)


def _encode_rst(bpdu: RstBpdu) -> bytes:
    flags = _ROLE_TO_CODE[bpdu.dialect][bpdu.role] << _ROLE_SHIFT
    flags |= bpdu.topology_change | bpdu.learning << 4 | bpdu.forwarding << 5 | bpdu.agreement << 6
    units = _units(bpdu.times)
    if bpdu.dialect is Dialect.VDE:
        is_blocked = bpdu.role in (PortRole.ALTERNATE, PortRole.BACKUP)
        flags |= is_blocked << 1
        units = (units[0] & 0xFF00, *VDE_TIMES)
    else:
        flags |= bpdu.proposal << 1
    return _encode_body(2, BpduType.RST, flags, bpdu.vector, units) + b"\0"


def _encode_body(
    version: int, bpdu_type: int, flags: int, vector: PriorityVector, units: tuple[int, ...]
) -> bytes:
    return _BODY.pack(0, version, bpdu_type, flags, *vector, *units)


def _units(times: Times) -> tuple[int, ...]:
    return tuple([min(int(seconds * _UNITS_PER_SECOND + 0.5), 0xFFFF) for seconds in times])
