"""IPv4 and IPv6 packets: headers, checksums, extension headers (RFC 791, RFC 8200)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Final

from vport.checksum import checksum
from vport.errors import FrameError

if TYPE_CHECKING:
    from vport.ethernet import Buffer

# Version and header length, type of service, total length; identification, flags and fragment offset;
# time to live, protocol, header checksum; source, destination (RFC 791 section 3.1).
_IPV4: Final = struct.Struct("!BBHHHBBH4s4s")
# Version, traffic class and flow label; payload length, next header, hop limit; source, destination
# (RFC 8200 section 3).
_IPV6: Final = struct.Struct("!IHBB16s16s")
_PSEUDO_HEADER: Final = struct.Struct("!16s16sI3xB")  # RFC 8200 section 8.1

IPV4_HEADER_SIZE: Final = 20  # without options
IPV6_HEADER_SIZE: Final = 40
_DONT_FRAGMENT: Final = 0x4000
_MORE_FRAGMENTS: Final = 0x2000
_OFFSET_MASK: Final = 0x1FFF  # in units of 8 bytes
_PAD1: Final = 0  # the one option of a single byte (RFC 8200 section 4.2)
_ON_UNKNOWN_OPTION: Final = 0xC0  # bits of an option's type that forbid skipping it (same)

DEFAULT_TTL: Final = 64  # RFC 1700, "IP time to live parameter"
MAX_EXTENSION_HEADERS: Final = 4  # ours: each of the two kinds twice is more than anybody sends


class IpProtocol(IntEnum):
    """What an IP packet carries (IANA, "Protocol Numbers"). Fields from the wire stay ``int``."""

    HOP_BY_HOP = 0
    ICMP = 1
    UDP = 17
    FRAGMENT = 44
    ICMPV6 = 58
    DESTINATION_OPTIONS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Ipv4:
    """An IPv4 packet. ``fragment_offset`` is in bytes; ``options`` has a multiple of 4 bytes."""

    source: IPv4Address
    destination: IPv4Address
    protocol: int
    payload: bytes
    ttl: int = DEFAULT_TTL
    tos: int = 0
    identification: int = 0
    dont_fragment: bool = False
    more_fragments: bool = False
    fragment_offset: int = 0
    options: bytes = b""

    @property
    def is_fragment(self) -> bool:
        """Whether this is only a part of a packet."""
        return self.more_fragments or self.fragment_offset > 0

    def encode(self) -> bytes:
        """Give the packet with its header checksum."""
        size = IPV4_HEADER_SIZE + len(self.options)
        flags = self.dont_fragment * _DONT_FRAGMENT | self.more_fragments * _MORE_FRAGMENTS
        header = bytearray(
            _IPV4.pack(
                0x40 | size // 4,
                self.tos,
                size + len(self.payload),
                self.identification,
                flags | self.fragment_offset // 8,
                self.ttl,
                self.protocol,
                0,
                self.source.packed,
                self.destination.packed,
            )
        )
        header += self.options
        struct.pack_into("!H", header, 10, checksum(header))
        return bytes(header) + self.payload


def decode_ipv4(data: Buffer) -> Ipv4:
    """Decode an IPv4 packet; Ethernet padding behind its total length is cut off.

    Raises:
        FrameError: lengths that contradict each other, another version, a wrong header checksum.
    """
    if len(data) < IPV4_HEADER_SIZE:
        raise FrameError(f"an IPv4 packet of {len(data)} bytes has no whole header (20 bytes)")
    version, tos, total, identification, fragment, ttl, protocol, _, source, destination = _IPV4.unpack_from(
        data
    )
    size = (version & 0x0F) * 4
    if version >> 4 != 4 or not IPV4_HEADER_SIZE <= size <= total <= len(data):
        raise FrameError(
            f"IPv4 version {version >> 4}, header of {size}, total of {total} in {len(data)} bytes"
        )
    if checksum(data[:size]):
        raise FrameError("the IPv4 header checksum is wrong")
    return Ipv4(
        source=IPv4Address(source),
        destination=IPv4Address(destination),
        protocol=protocol,
        payload=bytes(data[size:total]),
        ttl=ttl,
        tos=tos,
        identification=identification,
        dont_fragment=bool(fragment & _DONT_FRAGMENT),
        more_fragments=bool(fragment & _MORE_FRAGMENTS),
        fragment_offset=(fragment & _OFFSET_MASK) * 8,
        options=bytes(data[IPV4_HEADER_SIZE:size]),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ipv6:
    """An IPv6 packet; ``payload`` begins with the header that ``next_header`` names."""

    source: IPv6Address
    destination: IPv6Address
    next_header: int
    payload: bytes
    hop_limit: int = DEFAULT_TTL
    traffic_class: int = 0
    flow_label: int = 0

    def encode(self) -> bytes:
        """Give the packet."""
        return (
            _IPV6.pack(
                6 << 28 | self.traffic_class << 20 | self.flow_label,
                len(self.payload),
                self.next_header,
                self.hop_limit,
                self.source.packed,
                self.destination.packed,
            )
            + self.payload
        )


def decode_ipv6(data: Buffer) -> Ipv6:
    """Decode an IPv6 packet; Ethernet padding behind its payload length is cut off.

    Raises:
        FrameError: lengths that contradict each other, or another version.
    """
    if len(data) < IPV6_HEADER_SIZE:
        raise FrameError(f"an IPv6 packet of {len(data)} bytes has no whole header (40 bytes)")
    first, size, next_header, hop_limit, source, destination = _IPV6.unpack_from(data)
    if first >> 28 != 6 or IPV6_HEADER_SIZE + size > len(data):
        raise FrameError(f"IPv6 version {first >> 28}, payload of {size} in {len(data)} bytes")
    return Ipv6(
        source=IPv6Address(source),
        destination=IPv6Address(destination),
        next_header=next_header,
        payload=bytes(data[IPV6_HEADER_SIZE : IPV6_HEADER_SIZE + size]),
        hop_limit=hop_limit,
        traffic_class=first >> 20 & 0xFF,
        flow_label=first & 0xFFFFF,
    )


def upper_layer(packet: Ipv6) -> tuple[int, bytes]:
    """Give the protocol and the bytes behind hop-by-hop and destination options.

    Other extension headers (routing, fragment, …) are returned as the protocol that they are.

    Raises:
        FrameError: an options header that is cut short, too many of them, or an option that must not be
            skipped by who does not know it, which is every option here.
    """
    protocol, rest = packet.next_header, packet.payload
    for _ in range(MAX_EXTENSION_HEADERS):
        if protocol not in {IpProtocol.HOP_BY_HOP, IpProtocol.DESTINATION_OPTIONS}:
            return protocol, rest
        if len(rest) < 8 or len(rest) < (size := (rest[1] + 1) * 8):
            raise FrameError("an IPv6 options header is cut short")
        _check_options(rest[2:size])
        protocol, rest = rest[0], rest[size:]
    raise FrameError(f"more than {MAX_EXTENSION_HEADERS} IPv6 options headers")


def _check_options(options: bytes) -> None:
    at = 0
    while at < len(options):
        if options[at] & _ON_UNKNOWN_OPTION:
            raise FrameError(f"IPv6 option {options[at]:#04x} is unknown and may not be skipped")
        if options[at] == _PAD1:
            at += 1
        elif at + 1 == len(options) or (at := at + 2 + options[at + 1]) > len(options):
            raise FrameError("an IPv6 option is cut short")


def pseudo_header(source: IPv6Address, destination: IPv6Address, protocol: int, size: int) -> bytes:
    """Build what checksums over IPv6 cover besides the ``size`` bytes of upper-layer packet."""
    return _PSEUDO_HEADER.pack(source.packed, destination.packed, size, protocol)
