"""What becomes of an IP packet that is longer than the tunnel's MTU: fragments, or a word to its sender."""

from __future__ import annotations

import struct
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Final

from vport.packets.icmp import Icmp
from vport.packets.ip import DEFAULT_TTL, IPV4_HEADER_SIZE, IpProtocol, decode_ipv4, decode_ipv6, upper_layer

if TYPE_CHECKING:
    from vport.locator import IpAddress
    from vport.packets.ip import Ipv4

_UNREACHABLE: Final = 3  # RFC 792
_FRAGMENTATION_NEEDED: Final = 4  # its code; the MTU stands in the last two bytes (RFC 1191 section 4)
_PACKET_TOO_BIG: Final = 2  # RFC 4443 section 3.2
_QUOTED: Final = 8  # bytes of payload behind the header that an ICMP error repeats (RFC 792)
_IPV6_MINIMUM_MTU: Final = 1280  # RFC 8200 section 5; an error must not be longer (RFC 4443 section 2.4 (c))
_ERROR_OVERHEAD: Final = 48  # IPv6 header, ICMPv6 header
_ICMPV4_ERRORS: Final = tuple(bytes((kind,)) for kind in (3, 4, 5, 11, 12))  # RFC 1122 section 3.2.2


def fragments_or_error(
    packet: bytes, mtu: int, us: IpAddress, identification: int
) -> tuple[list[bytes], bytes | None]:
    """Cut an IPv4 packet that may be cut; for others give the ICMP error, None where none may be sent.

    ``us`` is the address that the error comes from, ``identification`` that of its IPv4 header.

    Raises:
        FrameError: the packet is malformed.
    """
    if packet[0] >> 4 == 6:
        assert isinstance(us, IPv6Address)
        return [], _packet_too_big(packet, mtu, us)
    assert isinstance(us, IPv4Address)
    decoded = decode_ipv4(packet)
    if not decoded.dont_fragment:
        return _fragments(decoded, mtu), None
    return [], _fragmentation_needed(packet, decoded, mtu, us, identification)


def _fragments(packet: Ipv4, mtu: int) -> list[bytes]:
    """RFC 791 section 3.2. Options stay in the first fragment: none that are still used are to be copied."""
    fragments: list[bytes] = []
    rest, at, options = packet.payload, 0, packet.options
    while rest:
        room = (mtu - IPV4_HEADER_SIZE - len(options)) // 8 * 8
        part, rest = rest[:room], rest[room:]
        fragment = replace(
            packet,
            payload=part,
            options=options,
            fragment_offset=packet.fragment_offset + at,
            more_fragments=packet.more_fragments or bool(rest),
        )
        fragments.append(fragment.encode())
        at, options = at + len(part), b""
    return fragments


def _fragmentation_needed(
    packet: bytes, decoded: Ipv4, mtu: int, us: IPv4Address, identification: int
) -> bytes | None:
    is_error = decoded.protocol == IpProtocol.ICMP and decoded.payload[:1] in _ICMPV4_ERRORS
    source = decoded.source
    if is_error or decoded.fragment_offset or source.is_multicast or source.is_unspecified:
        return None  # RFC 1122 section 3.2.2
    quoted = packet[: IPV4_HEADER_SIZE + len(decoded.options) + _QUOTED]
    message = Icmp(type=_UNREACHABLE, code=_FRAGMENTATION_NEEDED, body=struct.pack("!HH", 0, mtu) + quoted)
    answer = message.in_ipv4(us, source)
    return replace(answer, identification=identification, dont_fragment=True).encode()


def _packet_too_big(packet: bytes, mtu: int, us: IPv6Address) -> bytes | None:
    decoded = decode_ipv6(packet)
    protocol, rest = upper_layer(decoded)
    if protocol == IpProtocol.ICMPV6 and rest and rest[0] < 128:
        return None  # an error about an error (RFC 4443 section 2.4 (e))
    if decoded.source.is_multicast or decoded.source.is_unspecified:
        return None
    quoted = packet[: _IPV6_MINIMUM_MTU - _ERROR_OVERHEAD]
    message = Icmp(type=_PACKET_TOO_BIG, body=mtu.to_bytes(4, "big") + quoted)
    return message.in_ipv6(us, decoded.source, DEFAULT_TTL).encode()
