"""A stock WireGuard client as a station of the LAN: frames on one side, IP packets on the other.

The client has no Ethernet, so we have it for it: a MAC address that follows from its key, ARP and neighbour
discovery in its name (``vport.station.resolution``), and the ICMP errors that its smaller MTU needs. It is
shown as the owner of its addresses, not as a router, and no TTL is touched. Nothing here raises
for what the LAN or the client sends; what goes no further is counted.
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2s
from ipaddress import IPv6Address, ip_address, ip_interface
from typing import TYPE_CHECKING, Final, NamedTuple

from vport.errors import FrameError, SettingsError
from vport.ethernet import (
    BROADCAST,
    HEADER_SIZE,
    EtherType,
    MacAddress,
    encode_frame,
    is_multicast,
    unpack_addresses,
)
from vport.packets.arp import decode_arp
from vport.packets.icmp import Icmpv6Type, decode_icmpv6
from vport.packets.ip import IpProtocol, decode_ipv6, upper_layer
from vport.packets.nd import decode_neighbour_message, group_mac
from vport.rate_limit import RateLimit
from vport.station.resolution import AddressResolution
from vport.wireguard import packets
from vport.wireguard.oversize import fragments_or_error

if TYPE_CHECKING:
    from vport.ethernet import Buffer
    from vport.locator import InterfaceAddress, IpAddress
    from vport.station.events import ResolutionEvent
    from vport.wireguard.allowed_ips import Network
    from vport.wireguard.keys import PublicKey

_MAC_LABEL: Final = b"vswitch virtual mac"
_IPV4_GROUP_MAC: Final = bytes.fromhex("01005e")  # RFC 1112 section 6.4
_DISCOVERY: Final = range(130, 138)  # MLD, router and neighbour discovery, redirect (RFC 2710, RFC 4861)
_MLD2_REPORT: Final = 143  # RFC 3810 section 5.2
_MOST_ADDRESSES: Final = 256  # ours: that a client may have on the link
_ERROR_BURST, _ERROR_INTERVAL = 10, 0.1  # ICMP errors are to be limited (RFC 1812 section 4.3.2.8)
_GROUP_BURST, _GROUP_INTERVAL = 50, 0.02  # packets to all that are passed on to the client


def virtual_mac(public_key: PublicKey) -> MacAddress:
    """Give the MAC address of a client: from its key, so it is the same on every switch."""
    digest = blake2s(_MAC_LABEL + public_key.raw, digest_size=6).digest()
    return MacAddress(bytes((digest[0] & 0xFC | 0x02,)) + digest[1:])


class IpDiscardReason(StrEnum):
    """Why a frame or packet did not cross between the LAN and a client."""

    MALFORMED = "malformed packet"
    NOT_IP = "not IP"
    FOREIGN_DESTINATION = "foreign destination address"  # not in the client's AllowedIPs
    GROUP = "broadcast or multicast"  # the client does not want it, or not so much of it
    DISCOVERY = "neighbour discovery"  # ours to do, never passed on
    NO_ROUTE = "no route"  # not on the link, and there is no gateway
    TOO_BIG = "longer than the MTU"


@dataclass(frozen=True, slots=True, kw_only=True)
class IpStationSettings:
    """What is to be known of a client and of the LAN it joins.

    Attributes:
        public_key: the client's.
        allowed_ips: its prefixes.
        on_link: the prefixes of the LAN.
        mtu: of the client's tunnel, bytes of IP packet.
        gateways: where its packets go that leave the LAN, at most one of each version.
        hears_groups: whether broadcast and multicast are passed on to it: they cost a phone its battery.
    """

    public_key: PublicKey
    allowed_ips: tuple[Network, ...]
    on_link: tuple[Network, ...]
    mtu: int = 1400
    gateways: tuple[IpAddress, ...] = ()
    hears_groups: bool = False

    def interfaces(self) -> tuple[InterfaceAddress, ...]:
        """Give the client's addresses on the link, each with the prefix length of the LAN.

        Raises:
            SettingsError: they are more than 256: a client's own addresses are single ones.
        """
        found: list[InterfaceAddress] = []
        for prefix in self.allowed_ips:
            for link in self.on_link:
                if prefix.version != link.version or not prefix.subnet_of(link):  # type: ignore[arg-type]  # same version
                    continue
                if len(found) + prefix.num_addresses > _MOST_ADDRESSES:
                    raise SettingsError(f"AllowedIPs {prefix}: at most {_MOST_ADDRESSES} on the LAN")
                found += [ip_interface(f"{address}/{link.prefixlen}") for address in prefix]
        return tuple(found)


class Crossing(NamedTuple):
    """What a call brings about: frames for the LAN, packets for the client."""

    frames: list[bytes]
    packets: list[bytes]


class IpStation:
    """One client on the LAN.

    Attributes:
        mac: its virtual MAC address.
        resolution: its ARP and neighbour discovery.
        discards: what did not cross, by reason.
    """

    def __init__(self, settings: IpStationSettings) -> None:
        self.mac = virtual_mac(settings.public_key)
        self.resolution = AddressResolution(self.mac, settings.interfaces())
        self.discards: Counter[IpDiscardReason] = Counter()
        self._settings = settings
        self._gateways = {gateway.version: gateway for gateway in settings.gateways}
        self._errors = RateLimit(burst=_ERROR_BURST, interval=_ERROR_INTERVAL)
        self._groups = RateLimit(burst=_GROUP_BURST, interval=_GROUP_INTERVAL)
        self._identifications = itertools.count(1)
        self._destinations = _PrefixSet(settings.allowed_ips)

    def announce(self) -> list[bytes]:
        """Give the frames that tell the LAN that the client has come, or come back."""
        return self.resolution.announce()

    def next_deadline(self) -> float | None:
        """When ``handle_timer`` has something to do, None for never."""
        return self.resolution.next_deadline()

    def handle_timer(self, now: float) -> list[bytes]:
        """Give the solicitations that are due."""
        return self.resolution.handle_timer(now)

    def take_events(self) -> list[ResolutionEvent]:
        """Give what happened on the LAN since the last call: neighbours learned, conflicts, failures."""
        return self.resolution.take_events()

    # --- from the client ---

    def receive_packet(self, packet: Buffer, now: float) -> list[bytes]:
        """Take a packet of the client, its source checked and its padding cut; give frames for the LAN."""
        destination = ip_address(packets.destination(packet))
        mac = self._group_mac(destination)
        if mac is not None:
            ethertype = EtherType.IPV4 if destination.version == 4 else EtherType.IPV6
            return [encode_frame(mac, self.mac, ethertype, bytes(packet))]
        next_hop: IpAddress | None = destination
        if self.resolution.source_for(destination) is None:
            next_hop = self._gateways.get(destination.version)
        if next_hop is None or destination in self.resolution.addresses:
            self.discards[IpDiscardReason.NO_ROUTE] += 1
            return []
        return self.resolution.send(next_hop, bytes(packet), now)

    def _group_mac(self, destination: IpAddress) -> MacAddress | None:
        if isinstance(destination, IPv6Address):
            return group_mac(destination) if destination.is_multicast else None
        if destination.is_multicast:
            low = int(destination) & 0x7FFFFF
            return MacAddress(_IPV4_GROUP_MAC + low.to_bytes(3, "big"))
        return BROADCAST if self.resolution.is_broadcast(destination) else None

    # --- from the LAN ---

    def receive_frame(self, frame: Buffer, now: float) -> Crossing:
        """Take an untagged frame from the LAN."""
        if len(frame) < HEADER_SIZE:
            self.discards[IpDiscardReason.MALFORMED] += 1
            return Crossing([], [])
        destination, source, ethertype = unpack_addresses(frame)
        if destination != self.mac and not is_multicast(destination):
            return Crossing([], [])  # flooded: for somebody else
        payload = memoryview(frame)[HEADER_SIZE:]
        try:
            if ethertype == EtherType.ARP:
                return Crossing(self.resolution.receive_arp(decode_arp(payload), now), [])
            if ethertype == EtherType.IPV6 and _may_be_icmpv6(payload):
                answer = self._receive_icmpv6(payload, source, now)
                if answer is not None:
                    return Crossing(answer, [])
            if ethertype in {EtherType.IPV4, EtherType.IPV6}:
                return self._receive_ip(payload, destination, source, now)
        except FrameError:
            self.discards[IpDiscardReason.MALFORMED] += 1
            return Crossing([], [])
        self.discards[IpDiscardReason.NOT_IP] += 1
        return Crossing([], [])

    def _receive_icmpv6(self, payload: memoryview, source: MacAddress, now: float) -> list[bytes] | None:
        """Deal with what belongs to the link; None for other messages, which cross like any packet."""
        packet = decode_ipv6(payload)
        protocol, rest = upper_layer(packet)
        if protocol != IpProtocol.ICMPV6 or not rest:
            return None
        if rest[0] in {Icmpv6Type.NEIGHBOUR_SOLICITATION, Icmpv6Type.NEIGHBOUR_ADVERTISEMENT}:
            message = decode_neighbour_message(packet, decode_icmpv6(packet, rest))
            return self.resolution.receive_neighbour_message(packet, source, message, now)
        if rest[0] in _DISCOVERY or rest[0] == _MLD2_REPORT:
            self.discards[IpDiscardReason.DISCOVERY] += 1
            return []
        return None

    def _receive_ip(
        self, payload: memoryview, mac: MacAddress, source_mac: MacAddress, now: float
    ) -> Crossing:
        packet = bytes(payload[: packets.size(payload)])
        destination = packets.destination(packet)
        if is_multicast(mac):
            if not (self._settings.hears_groups and self._groups.ask(now)[0]):
                self.discards[IpDiscardReason.GROUP] += 1
                return Crossing([], [])
        elif not self._destinations.holds(destination):
            self.discards[IpDiscardReason.FOREIGN_DESTINATION] += 1
            return Crossing([], [])
        if len(packet) <= self._settings.mtu:
            return Crossing([], [packet])
        return self._receive_too_big(packet, source_mac, now, is_group=is_multicast(mac))

    def _receive_too_big(
        self, packet: bytes, source_mac: MacAddress, now: float, *, is_group: bool
    ) -> Crossing:
        """Cut the packet, or tell its sender to send shorter ones, in the client's name."""
        us = self._own_address(packet)
        fragments, error = fragments_or_error(
            packet, self._settings.mtu, us, next(self._identifications) & 0xFFFF
        )
        if fragments:
            return Crossing([], fragments)
        self.discards[IpDiscardReason.TOO_BIG] += 1
        if error is None or is_group or not self._errors.ask(now)[0]:
            return Crossing([], [])
        ethertype = EtherType.IPV4 if packets.version(packet) == 4 else EtherType.IPV6
        return Crossing([encode_frame(source_mac, self.mac, ethertype, error)], [])

    def _own_address(self, packet: bytes) -> IpAddress:
        """The address that an error comes from: the one written to, if it is on the link, else another."""
        destination = ip_address(packets.destination(packet))
        own = [address for address in self.resolution.addresses if address.version == destination.version]
        return min(own) if own and destination not in own else destination


def _may_be_icmpv6(payload: memoryview) -> bool:
    return len(payload) > 6 and payload[6] in {
        IpProtocol.ICMPV6,
        IpProtocol.HOP_BY_HOP,
        IpProtocol.DESTINATION_OPTIONS,
    }


@dataclass(slots=True)
class _PrefixSet:
    """A few prefixes, asked for every packet: as numbers, not as objects."""

    prefixes: tuple[Network, ...]
    _masks: list[tuple[int, int, int]] = field(init=False)

    def __post_init__(self) -> None:
        self._masks = [
            (prefix.max_prefixlen // 8, int(prefix.netmask), int(prefix.network_address))
            for prefix in self.prefixes
        ]

    def holds(self, address: bytes) -> bool:
        number = int.from_bytes(address, "big")
        return any(size == len(address) and number & mask == base for size, mask, base in self._masks)
