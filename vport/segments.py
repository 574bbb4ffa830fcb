"""Where the headers of a TCP or UDP frame lie: what cutting and joining both have to know."""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from vport.errors import FrameError
from vport.ethernet import HEADER_SIZE, TAG_SIZE, EtherType
from vport.virtio_net import GSO_ECN, GsoType, VirtioNetHeader, VnetFlag

if TYPE_CHECKING:
    from vport.ethernet import Buffer

# --- constants of the standards ---

TCP: Final = 6
UDP: Final = 17
IPV4_HEADER_SIZE: Final = 20  # without options
IPV6_HEADER_SIZE: Final = 40
TCP_HEADER_SIZE: Final = 20  # without options
UDP_HEADER_SIZE: Final = 8
TCP_CHECKSUM: Final = 16  # offsets in the TCP and UDP headers
UDP_CHECKSUM: Final = 6
MAX_IP_SIZE: Final = 0xFFFF
FIN: Final = 0x01  # flags of TCP (RFC 9293 3.1, RFC 3168 6.1)
SYN: Final = 0x02
RST: Final = 0x04
PSH: Final = 0x08
URG: Final = 0x20
CWR: Final = 0x80
DONT_FRAGMENT: Final = 0x4000  # of the flags and fragment offset of IPv4 (RFC 791 3.1)
_SERVICE_TAG: Final = 0x88A8  # outer tag of a provider bridge (802.1Q-2018 table 9-1)

# --- our own constants ---

# Plain numbers: operations on members of enumerations take up to half a microsecond each.
IPV4: Final = int(EtherType.IPV4)
IPV6: Final = int(EtherType.IPV6)
VLAN: Final = int(EtherType.VLAN)
NEEDS_CSUM: Final = int(VnetFlag.NEEDS_CSUM)

LEAST_SIZE: Final = HEADER_SIZE + IPV4_HEADER_SIZE + UDP_HEADER_SIZE
_unpack_ethertype: Final = struct.Struct("!HB").unpack_from  # with the first byte behind it
_unpack_ipv4: Final = struct.Struct("!6xHxB").unpack_from  # flags and fragment offset, protocol
_LEAST_START: Final = HEADER_SIZE + IPV4_HEADER_SIZE
_LONGEST_HEADERS: Final = HEADER_SIZE + 60 + 60  # bytes; IPv4 and TCP with all options
_unpack_kind: Final = struct.Struct("!12xHB8xB").unpack_from  # EtherType, first byte of IP, protocol of IPv4

_TAGS_MAX: Final = 2  # 802.1ad in 802.1Q networks; nobody nests deeper
_TRANSPORTS: Final = {
    (int(GsoType.TCPV4), IPV4): (TCP, TCP_CHECKSUM, TCP_HEADER_SIZE),
    (int(GsoType.TCPV6), IPV6): (TCP, TCP_CHECKSUM, TCP_HEADER_SIZE),
    (int(GsoType.UDP_L4), IPV4): (UDP, UDP_CHECKSUM, UDP_HEADER_SIZE),
    (int(GsoType.UDP_L4), IPV6): (UDP, UDP_CHECKSUM, UDP_HEADER_SIZE),
}


class Layout(NamedTuple):
    """Offsets in bytes from the frame's start: IP header, TCP or UDP header, payload."""

    ethertype: int  # IPv4 or IPv6
    protocol: int  # TCP or UDP
    network: int
    transport: int
    payload: int


def network_offset(frame: Buffer) -> tuple[int, int]:
    """Give the EtherType behind any tags and the offset of what follows it.

    Raises:
        FrameError: the frame ends before.
    """
    offset = HEADER_SIZE
    while offset <= len(frame):
        ethertype = frame[offset - 2] << 8 | frame[offset - 1]
        if ethertype not in (VLAN, _SERVICE_TAG) or offset >= HEADER_SIZE + TAG_SIZE * _TAGS_MAX:
            return ethertype, offset
        offset += TAG_SIZE
    raise FrameError(f"a frame of {len(frame)} bytes ends inside its Ethernet header")


def ordinary_layout(data: Buffer, start: int, size: int) -> Layout | None:
    """Find the headers of the frame of ``size`` bytes at ``start``; None unless they are the most ordinary.

    That is TCP or UDP with some payload, in IPv4 without options and no fragment, or in IPv6 without
    extension headers, behind at most one 802.1Q tag.
    """
    if size <= LEAST_SIZE:
        return None
    network = HEADER_SIZE
    ethertype, version = _unpack_ethertype(data, start + network - 2)
    if ethertype == VLAN:
        network += TAG_SIZE
        ethertype, version = _unpack_ethertype(data, start + network - 2)
    if ethertype == IPV4 and version == 0x45:
        fragment, protocol = _unpack_ipv4(data, start + network)
        transport = network + IPV4_HEADER_SIZE
        if fragment & ~DONT_FRAGMENT:
            return None
    elif ethertype == IPV6 and version >> 4 == 6:
        protocol = data[start + network + 6]
        transport = network + IPV6_HEADER_SIZE
    else:
        return None
    payload = transport + UDP_HEADER_SIZE
    if protocol == TCP:
        if transport + TCP_HEADER_SIZE >= size:
            return None
        payload = transport + (data[start + transport + 12] >> 4) * 4
        if payload < transport + TCP_HEADER_SIZE:
            return None
    elif protocol != UDP:
        return None
    return Layout(ethertype, protocol, network, transport, payload) if payload < size else None


def superframe_layout(frame: Buffer, header: VirtioNetHeader) -> Layout:
    """Find the headers of a superframe, believing nothing that ``header`` says.

    Raises:
        FrameError: header and frame contradict each other, or the frame is cut off.
    """
    ethertype, network = network_offset(frame)
    protocol, checksum, minimum = _transport(header, ethertype)
    transport = header.csum_start
    if not header.flags & NEEDS_CSUM or header.csum_offset != checksum or not header.gso_size:
        raise FrameError(f"a superframe must have its checksum at {checksum} and a size: {header}")
    if transport + minimum > len(frame):
        raise FrameError(f"{header} does not fit a frame of {len(frame)} bytes")
    if ethertype == IPV4:
        if transport < network + IPV4_HEADER_SIZE or frame[network] != 0x40 | (transport - network) // 4:
            raise FrameError(f"checksum starts at {transport}, which is not behind the IPv4 header")
        if frame[network + 9] != protocol or (transport - network) % 4:
            raise FrameError(f"a superframe of {header} has protocol {frame[network + 9]}")
    elif transport < network + IPV6_HEADER_SIZE or frame[network] >> 4 != 6 or (transport - network) % 4:
        raise FrameError(f"checksum starts at {transport}, which is not behind the IPv6 header")
    payload = transport + (UDP_HEADER_SIZE if protocol == UDP else (frame[transport + 12] >> 4) * 4)
    if payload < transport + minimum or payload > len(frame):
        raise FrameError(f"TCP header of a superframe ends at {payload} of {len(frame)} bytes")
    return Layout(ethertype, protocol, network, transport, payload)


def superframe_header(frame: Buffer, header: VirtioNetHeader) -> VirtioNetHeader:
    """Give ``header`` with the right ``hdr_len``: the kernel's is the length of some buffer of its own.

    Raises:
        FrameError: header and frame contradict each other, or the frame is cut off.
    """
    start = header.csum_start
    if len(frame) > start + 12 and start >= _LEAST_START:
        offset = frame[start + 12] if header.csum_offset == TCP_CHECKSUM else 0
        found = _header_of_kind(header, *_unpack_kind(frame), offset)
        if found is not None and found.hdr_len <= len(frame):
            return found
    return header._replace(hdr_len=superframe_layout(frame, header).payload)


@lru_cache(maxsize=256)
def _header_of_kind(
    header: VirtioNetHeader, ethertype: int, version: int, protocol: int, offset: int
) -> VirtioNetHeader | None:
    """Put ``hdr_len`` right for superframes without tags, which come in long rows of the same kind.

    Asked is what ``superframe_layout`` looks at: EtherType, first byte of the IP header, its tenth, and of
    TCP the byte with the data offset. None where that refuses such frames, or finds tags.
    """
    frame = bytearray(_LONGEST_HEADERS)
    frame[12:HEADER_SIZE] = ethertype.to_bytes(2, "big")
    frame[HEADER_SIZE], frame[HEADER_SIZE + 9] = version, protocol
    if header.csum_start + 12 >= len(frame):
        return None
    frame[header.csum_start + 12] = offset
    try:
        layout = superframe_layout(frame, header)
    except FrameError:
        return None
    return header._replace(hdr_len=layout.payload) if layout.network == HEADER_SIZE else None


def _transport(header: VirtioNetHeader, ethertype: int) -> tuple[int, int, int]:
    """Give protocol, offset of its checksum and its least header size for the GSO type.

    Raises:
        FrameError: an unknown type, or one that does not go with the EtherType.
    """
    found = _TRANSPORTS.get((header.gso_type & ~GSO_ECN, ethertype))
    if found is None:
        raise FrameError(f"no superframes of GSO type {header.gso_type} have EtherType {ethertype:#06x}")
    return found
