"""IPv6 neighbour discovery: solicitations and advertisements (RFC 4861), and the addresses it uses."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv6Address, IPv6Network
from typing import TYPE_CHECKING, Final

from vport.errors import FrameError
from vport.ethernet import MacAddress
from vport.packets.icmp import Icmp, Icmpv6Type

if TYPE_CHECKING:
    from vport.packets.ip import Ipv6

_BODY: Final = struct.Struct("!I16s")  # flags and reserved bits, target (RFC 4861 sections 4.3, 4.4)
_ROUTER: Final = 1 << 31
_SOLICITED: Final = 1 << 30
_OVERRIDE: Final = 1 << 29
HOP_LIMIT: Final = 255  # proves that no router forwarded it (RFC 4861 section 7.1)

ALL_NODES: Final = IPv6Address("ff02::1")
UNSPECIFIED: Final = IPv6Address("::")
LINK_LOCAL: Final = IPv6Network("fe80::/10")
_SOLICITED_NODE_PREFIX: Final = IPv6Address("ff02::1:ff00:0").packed[:13]


class NdOption(IntEnum):
    """Options of neighbour discovery (RFC 4861 section 4.6)."""

    SOURCE_MAC = 1
    TARGET_MAC = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighbourSolicitation:
    """Asks who has ``target``; ``source_mac`` is the asker's, absent in duplicate address detection."""

    target: IPv6Address
    source_mac: MacAddress | None = None

    def encode(self) -> Icmp:
        """Give the ICMP message."""
        return Icmp(
            type=Icmpv6Type.NEIGHBOUR_SOLICITATION,
            body=_BODY.pack(0, self.target.packed) + _encode_option(NdOption.SOURCE_MAC, self.source_mac),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighbourAdvertisement:
    """Says that ``target`` is at ``target_mac``.

    Attributes:
        is_solicited: this answers a solicitation and so proves that the way there works.
        is_override: what is known already shall be replaced.
    """

    target: IPv6Address
    target_mac: MacAddress | None = None
    is_router: bool = False
    is_solicited: bool = False
    is_override: bool = False

    def encode(self) -> Icmp:
        """Give the ICMP message."""
        flags = self.is_router * _ROUTER | self.is_solicited * _SOLICITED | self.is_override * _OVERRIDE
        return Icmp(
            type=Icmpv6Type.NEIGHBOUR_ADVERTISEMENT,
            body=_BODY.pack(flags, self.target.packed) + _encode_option(NdOption.TARGET_MAC, self.target_mac),
        )


NeighbourMessage = NeighbourSolicitation | NeighbourAdvertisement


def decode_neighbour_message(packet: Ipv6, message: Icmp) -> NeighbourMessage:
    """Decode and validate a solicitation or advertisement (RFC 4861 sections 7.1.1 and 7.1.2).

    Raises:
        FrameError: another type of message, or one that must be silently discarded.
    """
    if packet.hop_limit != HOP_LIMIT or message.code != 0 or len(message.body) < _BODY.size:
        raise FrameError("neighbour discovery from afar, with a code, or cut short")
    flags, target_bytes = _BODY.unpack_from(message.body)
    target = IPv6Address(target_bytes)
    if target.is_multicast or packet.source.is_multicast:
        raise FrameError(f"neighbour discovery about or from a group ({target}, {packet.source})")
    options = _decode_options(message.body[_BODY.size :])
    if message.type == Icmpv6Type.NEIGHBOUR_SOLICITATION:
        return _validate_solicitation(packet, target, options.get(NdOption.SOURCE_MAC))
    if message.type != Icmpv6Type.NEIGHBOUR_ADVERTISEMENT:
        raise FrameError(f"ICMPv6 type {message.type} is no neighbour solicitation or advertisement")
    if packet.destination.is_multicast and flags & _SOLICITED:
        raise FrameError("an advertisement to a group cannot be solicited")
    return NeighbourAdvertisement(
        target=target,
        target_mac=options.get(NdOption.TARGET_MAC),
        is_router=bool(flags & _ROUTER),
        is_solicited=bool(flags & _SOLICITED),
        is_override=bool(flags & _OVERRIDE),
    )


def _validate_solicitation(
    packet: Ipv6, target: IPv6Address, source_mac: MacAddress | None
) -> NeighbourSolicitation:
    if packet.source == UNSPECIFIED and (
        source_mac is not None or packet.destination != solicited_node(target)
    ):
        raise FrameError("duplicate address detection with a source MAC, or to another group")
    return NeighbourSolicitation(target=target, source_mac=source_mac)


def _encode_option(kind: NdOption, mac: MacAddress | None) -> bytes:
    return b"" if mac is None else bytes((kind, 1)) + mac


def _decode_options(data: bytes) -> dict[int, MacAddress]:
    """Give the MAC addresses in a chain of options: type, length in units of 8 bytes, value."""
    found: dict[int, MacAddress] = {}
    at = 0
    while at < len(data):
        size = data[at + 1] * 8 if at + 1 < len(data) else 0
        if size == 0 or at + size > len(data):
            raise FrameError("a neighbour discovery option has no length or is cut short")
        if data[at] in {NdOption.SOURCE_MAC, NdOption.TARGET_MAC} and size == 8:
            found[data[at]] = MacAddress(data[at + 2 : at + 8])
        at += size
    return found


def solicited_node(address: IPv6Address) -> IPv6Address:
    """Give the group in which the owner of ``address`` is asked for (RFC 4291 section 2.7.1)."""
    return IPv6Address(_SOLICITED_NODE_PREFIX + address.packed[13:])


def group_mac(group: IPv6Address) -> MacAddress:
    """Give the MAC address that carries an IPv6 group (RFC 2464 section 7)."""
    return MacAddress(b"\x33\x33" + group.packed[12:])


def link_local_address(mac: MacAddress) -> IPv6Address:
    """Make the link-local address with the modified EUI-64 of ``mac`` (RFC 4291 section 2.5.6, app. A)."""
    identifier = bytes((mac[0] ^ 0x02,)) + mac[1:3] + b"\xff\xfe" + mac[3:]
    return IPv6Address(LINK_LOCAL.network_address.packed[:8] + identifier)
