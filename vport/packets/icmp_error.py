"""ICMP error messages of both versions: which packet may cause one, how it is quoted, how a quote is read.

An error quotes the packet that caused it, from its IP header on (RFC 792, RFC 4443 section 2.4), behind four
bytes that are unused here.
"""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address
from typing import TYPE_CHECKING, Final

from vport.errors import FrameError
from vport.packets.icmp import ICMP_HEADER_SIZE, Icmp, IcmpType, Icmpv6Type, decode_echo
from vport.packets.ip import (
    IPV4_HEADER_SIZE,
    IPV6_HEADER_SIZE,
    IpProtocol,
    Ipv4,
    Ipv6,
    upper_layer,
)

if TYPE_CHECKING:
    from vport.locator import IpAddress
    from vport.packets.icmp import Echo

    IpPacket = Ipv4 | Ipv6

_UNUSED: Final = bytes(4)
_IPV4_ERROR_MAX: Final = 576  # bytes of the whole packet (RFC 1812 section 4.3.2.3)
_IPV6_ERROR_MAX: Final = 1280  # the minimum MTU of IPv6 (RFC 4443 section 2.4, c)
_ICMP_HEADERS: Final = 8  # type, code, checksum and the unused bytes
_FIRST_INFORMATIONAL: Final = 128  # ICMPv6 types below are errors (RFC 4443 section 2.1)
_IPV4_ERRORS: Final = frozenset(
    {
        IcmpType.DESTINATION_UNREACHABLE,
        IcmpType.SOURCE_QUENCH,
        IcmpType.REDIRECT,
        IcmpType.TIME_EXCEEDED,
        IcmpType.PARAMETER_PROBLEM,
    }
)


def may_cause_error(packet: IpPacket) -> bool:
    """Whether an error about ``packet`` may be sent (RFC 1122 section 3.2.2, RFC 4443 section 2.4, e).

    Not about errors, not about later fragments, nothing to or from a group.
    """
    ends = (packet.source, packet.destination)
    if any(end.is_multicast or end.is_unspecified or end.is_loopback for end in ends):
        return False
    if isinstance(packet, Ipv4):
        if packet.fragment_offset or IPv4Address(0xFFFFFFFF) in ends:
            return False
        return packet.protocol != IpProtocol.ICMP or packet.payload[:1] not in _FORBIDDEN
    try:
        protocol, rest = upper_layer(packet)
    except FrameError:
        return False
    if protocol == IpProtocol.FRAGMENT:  # the offset and the protocol (RFC 8200 section 4.5)
        if len(rest) < 8 or int.from_bytes(rest[2:4], "big") >> 3:
            return False
        protocol, rest = rest[0], rest[8:]
    return protocol != IpProtocol.ICMPV6 or (rest[:1] > b"" and rest[0] >= _FIRST_INFORMATIONAL)


_FORBIDDEN: Final = frozenset({b"", *(bytes([number]) for number in _IPV4_ERRORS)})


def error_about(packet: IpPacket, *, type: int, code: int) -> Icmp:  # noqa: A002 - the field's name
    """Make the error message that quotes ``packet``, as long as it may be."""
    if isinstance(packet, Ipv4):
        most = _IPV4_ERROR_MAX - IPV4_HEADER_SIZE - _ICMP_HEADERS
    else:
        most = _IPV6_ERROR_MAX - IPV6_HEADER_SIZE - _ICMP_HEADERS
    return Icmp(type=type, code=code, body=_UNUSED + packet.encode()[:most])


def quoted_echo(message: Icmp, version: int) -> tuple[IpAddress, IpAddress, Echo] | None:
    """Find which echo request an error quotes: its source, its destination and itself.

    None when it quotes something else, or when ``message`` tells nothing final about it. What the quote
    leaves out, its checksums and the end of its data, is not looked at.
    """
    quote = message.body[len(_UNUSED) :]
    kinds, protocol_at, protocol, request, ends = _LAYOUTS[version]
    least = ends[2]
    size = (quote[0] & 0x0F) * 4 if quote and version == 4 else least
    if message.type not in kinds or size < least or len(quote) < size + _ICMP_HEADERS:
        return None
    if (quote[0] >> 4, quote[protocol_at], quote[size]) != (version, protocol, request):
        return None
    source, destination = (ip_address(quote[ends[at] : ends[at + 1]]) for at in (0, 1))
    return source, destination, decode_echo(quote[size + ICMP_HEADER_SIZE :])


# What makes an error final, where its quote has its protocol, which one that is with which type of echo
# request, and where source and destination begin and end.
_LAYOUTS: Final[dict[int, tuple[frozenset[int], int, int, int, tuple[int, int, int]]]] = {
    4: (
        frozenset({IcmpType.DESTINATION_UNREACHABLE, IcmpType.TIME_EXCEEDED}),
        9,
        IpProtocol.ICMP,
        IcmpType.ECHO_REQUEST,
        (12, 16, 20),
    ),
    6: (
        frozenset({Icmpv6Type.DESTINATION_UNREACHABLE, Icmpv6Type.TIME_EXCEEDED}),
        6,
        IpProtocol.ICMPV6,
        Icmpv6Type.ECHO_REQUEST,
        (8, 24, 40),
    ),
}


def explain_error(message: Icmp, version: int) -> str:
    """Say in a few words what an error of type unreachable or time exceeded means."""
    if message.type == (IcmpType.TIME_EXCEEDED if version == 4 else Icmpv6Type.TIME_EXCEEDED):
        return "too many hops"
    words = _UNREACHABLE_4 if version == 4 else _UNREACHABLE_6
    return words.get(message.code, f"unreachable, code {message.code}")


_UNREACHABLE_4: Final = {  # RFC 792, RFC 1812 section 5.2.7.1
    0: "no route to its network",
    1: "the host does not answer",
    2: "protocol unreachable",
    3: "port unreachable",
    4: "too long for a network on the way",
    13: "prohibited",
}
_UNREACHABLE_6: Final = {  # RFC 4443 section 3.1
    0: "no route to its network",
    1: "prohibited",
    3: "the host does not answer",
    4: "port unreachable",
}
