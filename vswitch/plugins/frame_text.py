"""What a frame says of itself, in a line, roughly as tcpdump puts it. Any bytes give a line."""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vport.ethernet import HEADER_SIZE, TAG_SIZE, EtherType, format_mac, unpack_addresses

if TYPE_CHECKING:
    from vport.ethernet import Buffer

# --- constants of the standards ---

_TYPES: Final = {
    EtherType.IPV4: "IPv4",
    EtherType.ARP: "ARP",
    EtherType.IPV6: "IPv6",
    EtherType.LOOPBACK: "Loopback",
    0x88CC: "LLDP",
    0x88A8: "802.1ad",
    0x8863: "PPPoE D",
    0x8864: "PPPoE S",
}
_LENGTH_MAX: Final = 1500  # up to here the type field is a length (802.3-2018 3.2.6)
_STP_LLC: Final = b"\x42\x42\x03"
_ICMP_TYPES: Final = {0: "echo reply", 3: "unreachable", 8: "echo request", 11: "time exceeded"}  # RFC 792
_ICMPV6_TYPES: Final = {  # RFC 4443, 4861, 3810
    1: "unreachable",
    2: "packet too big",
    3: "time exceeded",
    128: "echo request",
    129: "echo reply",
    133: "router solicitation",
    134: "router advertisement",
    135: "neighbour solicitation",
    136: "neighbour advertisement",
    143: "multicast listener report",
}
_PROTOCOLS: Final = {1: "ICMP", 2: "IGMP", 6: "TCP", 17: "UDP", 47: "GRE", 50: "ESP", 58: "ICMP6", 89: "OSPF"}
_TCP_FLAGS: Final = ((0x02, "S"), (0x01, "F"), (0x04, "R"), (0x08, "P"), (0x10, "."))  # as tcpdump shows them


@dataclass(frozen=True, slots=True)
class Outline:
    """The parts of a frame by which people look for it.

    Attributes:
        vid: of the outer tag, None without one.
        ethertype: behind the tag.
        payload: what follows.
    """

    destination: bytes
    source: bytes
    vid: int | None
    ethertype: int
    payload: memoryview


def outline(frame: Buffer) -> Outline | None:
    """Take a frame apart, None when it has no whole header."""
    if len(frame) < HEADER_SIZE:
        return None
    destination, source, ethertype = unpack_addresses(frame)
    view = memoryview(frame)
    if ethertype == EtherType.VLAN and len(frame) >= HEADER_SIZE + TAG_SIZE:
        tci, ethertype = struct.unpack_from("!HH", frame, HEADER_SIZE)
        return Outline(destination, source, tci & 0xFFF, ethertype, view[HEADER_SIZE + TAG_SIZE :])
    return Outline(destination, source, None, ethertype, view[HEADER_SIZE:])


def sender_address(parts: Outline) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Give the IP address that a frame says it comes from, None if it says none."""
    payload = parts.payload
    match parts.ethertype:
        case EtherType.ARP if len(payload) >= 28 and bytes(payload[2:6]) == b"\x08\x00\x06\x04":
            return _specified(ipaddress.IPv4Address(bytes(payload[14:18])))
        case EtherType.IPV4 if len(payload) >= 20 and payload[0] >> 4 == 4:
            return _specified(ipaddress.IPv4Address(bytes(payload[12:16])))
        case EtherType.IPV6 if len(payload) >= 40 and payload[0] >> 4 == 6:
            return _specified(ipaddress.IPv6Address(bytes(payload[8:24])))
        case _:
            return None


def _specified(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    return None if address.is_unspecified or address.is_multicast else address


def describe_frame(frame: Buffer) -> str:
    """Describe a frame in a line."""
    parts = outline(frame)
    if parts is None:
        return f"no whole header: {bytes(frame).hex(' ')}"
    tag = "" if parts.vid is None else f"vlan {parts.vid}, "
    return f"{format_mac(parts.source)} > {format_mac(parts.destination)}, {tag}{_describe_payload(parts)}"


def _describe_payload(parts: Outline) -> str:
    payload = parts.payload
    if parts.ethertype <= _LENGTH_MAX:
        return "STP" if bytes(payload[:3]) == _STP_LLC else f"LLC, length {parts.ethertype}"
    name = _TYPES.get(parts.ethertype, f"ethertype 0x{parts.ethertype:04x}")
    match parts.ethertype:
        case EtherType.ARP if len(payload) >= 28:
            return _describe_arp(payload)
        case EtherType.IPV4 if len(payload) >= 20:
            return _describe_ipv4(payload)
        case EtherType.IPV6 if len(payload) >= 40:
            return _describe_ipv6(payload)
        case _:
            return name


def _describe_arp(payload: memoryview) -> str:
    (operation,) = struct.unpack_from("!H", payload, 6)
    sender, target = (ipaddress.IPv4Address(bytes(payload[at : at + 4])) for at in (14, 24))
    if operation == 1:
        return f"ARP who-has {target} tell {sender}"
    if operation == 2:
        return f"ARP {sender} is-at {format_mac(bytes(payload[8:14]))}"
    return f"ARP operation {operation}"


def _describe_ipv4(payload: memoryview) -> str:
    source, destination = (ipaddress.IPv4Address(bytes(payload[at : at + 4])) for at in (12, 16))
    (fragment,) = struct.unpack_from("!H", payload, 6)
    header = (payload[0] & 0x0F) * 4
    above = payload[header:] if not fragment & 0x1FFF else payload[:0]  # only a first fragment has ports
    return f"IPv4 {_describe_above(str(source), str(destination), payload[9], above)}"


def _describe_ipv6(payload: memoryview) -> str:
    source, destination = (ipaddress.IPv6Address(bytes(payload[at : at + 16])) for at in (8, 24))
    protocol, above = payload[6], payload[40:]
    if protocol == 0 and len(above) >= 8:  # hop-by-hop options, which multicast listener reports have
        protocol, above = above[0], above[8 * (above[1] + 1) :]
    return f"IPv6 {_describe_above(str(source), str(destination), protocol, above)}"


def _describe_above(source: str, destination: str, protocol: int, above: memoryview) -> str:
    name = _PROTOCOLS.get(protocol, f"protocol {protocol}")
    if name in {"TCP", "UDP"} and len(above) >= 4:
        ports = struct.unpack_from("!HH", above)
        shown = ""
        if name == "TCP" and len(above) >= 14:
            shown = f" [{''.join(sign for bit, sign in _TCP_FLAGS if above[13] & bit)}]"
        return f"{source}.{ports[0]} > {destination}.{ports[1]}: {name}{shown}"
    if name in {"ICMP", "ICMP6"} and above:
        kinds = _ICMP_TYPES if name == "ICMP" else _ICMPV6_TYPES
        return f"{source} > {destination}: {name} {kinds.get(above[0], f'type {above[0]}')}"
    return f"{source} > {destination}: {name}"
