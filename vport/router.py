"""A small IP router without I/O: it forwards IPv4 and IPv6 between the networks that it has addresses in.

It stands on one link. Its networks may be several IP networks of one LAN, or VLANs that reach it with their
tags: a router on a stick. In comes a frame and the time, out come the frames to send.

What a router does with a packet is in the order of RFC 1812 section 5.2.1: for us, for nobody, for another
network. Every table is bounded; ICMP errors are sent at a bounded rate, and never about what must not cause
one. Not done: fragmentation (all interfaces have one MTU, so what came in fits out), redirects, router
advertisements, multicast, routing protocols, source routes (RFC 7126 section 4.3).
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import replace
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_network
from typing import TYPE_CHECKING, Final

from vport.errors import FrameError
from vport.ethernet import (
    HEADER_SIZE,
    EtherType,
    MacAddress,
    Vid,
    decode_header,
    is_multicast,
)
from vport.packets.arp import decode_arp
from vport.packets.icmp import Icmp, IcmpType, Icmpv6Type, decode_icmp, decode_icmpv6
from vport.packets.icmp_error import error_about, may_cause_error
from vport.packets.ip import DEFAULT_TTL, IpProtocol, Ipv4, Ipv6, decode_ipv4, decode_ipv6, upper_layer
from vport.packets.nd import decode_neighbour_message
from vport.rate_limit import RateLimit
from vport.routes import Routes
from vport.station.events import Conflict, ResolutionFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vport.ethernet import Buffer, Header
    from vport.locator import IpAddress
    from vport.routes import RouterInterface, Side

    IpPacket = Ipv4 | Ipv6

DEFAULT_MTU: Final = 9000  # as for a simulated host: the largest common one
ERROR_BURST: Final = 50  # ICMP errors at once, and then …
ERROR_INTERVAL: Final = 0.02  # … one in so many seconds (ours; RFC 1812 section 4.3.2.8 wants a bound)
MAX_CONFLICTS: Final = 64  # that nobody takes note of
_VID_MASK: Final = 0x0FFF
_NEVER_FORWARDED: Final = (  # RFC 3927 section 7, RFC 4291 section 2.5.6, RFC 1122 section 3.2.1.3
    ip_network("169.254.0.0/16"),
    ip_network("127.0.0.0/8"),
    ip_network("0.0.0.0/8"),
    ip_network("240.0.0.0/4"),
    ip_network("fe80::/10"),
    ip_network("::1/128"),
)
_LINK_LOCAL: Final = IPv6Network("fe80::/10")


class Error(IntEnum):
    """Why a packet is sent back to its sender."""

    NO_ROUTE = 0
    HOST = 1
    PORT = 2
    PROTOCOL = 3
    TIME = 4


# Type and code (RFC 792 and RFC 1812 section 5.2.7; RFC 4443 section 3).
_ERRORS: Final[dict[int, dict[Error, tuple[int, int]]]] = {
    4: {
        Error.NO_ROUTE: (IcmpType.DESTINATION_UNREACHABLE, 0),
        Error.HOST: (IcmpType.DESTINATION_UNREACHABLE, 1),
        Error.PROTOCOL: (IcmpType.DESTINATION_UNREACHABLE, 2),
        Error.PORT: (IcmpType.DESTINATION_UNREACHABLE, 3),
        Error.TIME: (IcmpType.TIME_EXCEEDED, 0),
    },
    6: {
        Error.NO_ROUTE: (Icmpv6Type.DESTINATION_UNREACHABLE, 0),
        Error.HOST: (Icmpv6Type.DESTINATION_UNREACHABLE, 3),
        Error.PORT: (Icmpv6Type.DESTINATION_UNREACHABLE, 4),
        Error.TIME: (Icmpv6Type.TIME_EXCEEDED, 0),
    },
}


class Router:
    """The router.

    Args:
        mac: its MAC address, the same in every VLAN.
        interfaces: its addresses.
        gateways: who takes packets for all other networks, at most one for each version of IP counts.
        mtu: the longest IP packet that it takes, in bytes.

    Attributes:
        discards: packets that went nowhere, by reason.
        forwarded: packets that went on.

    Raises:
        SettingsError: as ``vport.routes.Routes``.
    """

    def __init__(
        self,
        mac: MacAddress,
        interfaces: Sequence[RouterInterface],
        gateways: Sequence[IpAddress] = (),
        *,
        mtu: int = DEFAULT_MTU,
    ) -> None:
        self.mac = mac
        self.mtu = mtu
        self.discards: Counter[str] = Counter()
        self.forwarded = 0
        self._routes = Routes(mac, interfaces, gateways)
        self._sides = self._routes.sides
        self._addresses = self._routes.addresses
        self._errors = RateLimit(burst=ERROR_BURST, interval=ERROR_INTERVAL)
        self._conflicts: deque[Conflict] = deque(maxlen=MAX_CONFLICTS)

    # --- receiving ---

    def receive(self, frame: Buffer, now: float) -> list[bytes]:
        """Take a frame from the link and give the frames to send because of it."""
        if len(frame) < HEADER_SIZE:
            self.discards["malformed"] += 1
            return []
        try:
            header = decode_header(frame)
            side = self._sides.get(Vid(0 if header.tci is None else header.tci & _VID_MASK))
            if side is None:
                self.discards["of no VLAN of ours"] += 1
                return []
            frames = self._receive(side, header, memoryview(frame)[header.size :], now)
        except FrameError:
            self.discards["malformed"] += 1
            frames = []
        return frames + self._gather_events(now)

    def _receive(self, side: Side, header: Header, payload: Buffer, now: float) -> list[bytes]:
        resolution = side.resolution
        if header.destination != self.mac and header.destination not in resolution.groups:
            return []  # flooded: for another station
        if header.source == self.mac or is_multicast(header.source):
            self.discards["source is ours or a group"] += 1
        elif len(payload) > self.mtu:
            self.discards["longer than the MTU"] += 1
        elif header.ethertype == EtherType.ARP:
            return side.framed(resolution.receive_arp(decode_arp(payload), now))
        elif header.ethertype == EtherType.IPV6:
            packet = decode_ipv6(payload)
            if packet.destination.is_multicast:
                return self._receive_group(side, header, packet, now)
            return self._receive_packet(side, header, packet, now)
        elif header.ethertype == EtherType.IPV4:
            return self._receive_packet(side, header, decode_ipv4(payload), now)
        else:
            self.discards["not IP"] += 1
        return []

    def _receive_group(self, side: Side, header: Header, packet: Ipv6, now: float) -> list[bytes]:
        """Take a packet to a group: of interest if it is neighbour discovery, and never forwarded."""
        protocol, rest = upper_layer(packet)
        if protocol == IpProtocol.ICMPV6 and rest and rest[0] in _ND_TYPES:
            return self._receive_discovery(side, header, packet, decode_icmpv6(packet, rest), now)
        self.discards["to a group"] += 1
        return []

    def _receive_discovery(
        self, side: Side, header: Header, packet: Ipv6, icmp: Icmp, now: float
    ) -> list[bytes]:
        message = decode_neighbour_message(packet, icmp)
        resolution = side.resolution
        return side.framed(resolution.receive_neighbour_message(packet, header.source, message, now))

    def _receive_packet(self, side: Side, header: Header, packet: IpPacket, now: float) -> list[bytes]:
        """Take a packet to one address, in the order of RFC 1812 section 5.2.1."""
        if header.destination != self.mac:  # RFC 1122 section 3.3.6
            self.discards["in a frame to a group"] += 1
            return []
        destination = packet.destination
        if not self._is_one_host(packet.source, side):
            self.discards["source is not one host"] += 1
        elif destination in side.resolution.addresses or destination in self._addresses:
            return self._receive_ours(side, header, packet, now)
        elif not self._may_go(packet.source) or not self._may_go(destination):
            self.discards["never forwarded"] += 1
        else:
            return self._forward(side, packet, now)
        return []

    def _is_one_host(self, source: IpAddress, side: Side) -> bool:
        """Whether a packet may come from ``source`` (RFC 1812 section 5.3.7)."""
        return not (
            source.is_multicast
            or source.is_unspecified
            or source.is_loopback
            or source in self._addresses
            or source in side.resolution.addresses
            or self._routes.is_broadcast(source)
        )

    def _may_go(self, address: IpAddress) -> bool:
        """Whether packets from or to ``address`` may leave their network (RFC 2644 for broadcasts)."""
        if address.is_multicast or self._routes.is_broadcast(address):
            return False
        return not any(address in network for network in _NEVER_FORWARDED)

    # --- for us ---

    def _receive_ours(self, side: Side, header: Header, packet: IpPacket, now: float) -> list[bytes]:
        if isinstance(packet, Ipv4):
            return self._receive_ours_4(side, packet, now)
        protocol, rest = upper_layer(packet)
        if protocol == IpProtocol.UDP:
            return self._error(side, packet, Error.PORT, now)
        if protocol != IpProtocol.ICMPV6:
            self.discards["for the router itself"] += 1
            return []
        message = decode_icmpv6(packet, rest)
        if message.type in _ND_TYPES:
            return self._receive_discovery(side, header, packet, message, now)
        if message.type != Icmpv6Type.ECHO_REQUEST or message.code != 0:
            return []
        reply = Icmp(type=Icmpv6Type.ECHO_REPLY, body=message.body)
        return self._send(side, reply.in_ipv6(packet.destination, packet.source, DEFAULT_TTL), now)

    def _receive_ours_4(self, side: Side, packet: Ipv4, now: float) -> list[bytes]:
        if packet.is_fragment:
            self.discards["fragment"] += 1
            return []
        if packet.protocol != IpProtocol.ICMP:
            is_udp = packet.protocol == IpProtocol.UDP
            return self._error(side, packet, Error.PORT if is_udp else Error.PROTOCOL, now)
        message = decode_icmp(packet.payload)
        if message.type != IcmpType.ECHO_REQUEST or message.code != 0:
            return []
        reply = Icmp(type=IcmpType.ECHO_REPLY, body=message.body)
        return self._send(side, reply.in_ipv4(packet.destination, packet.source), now)

    # --- for another network ---

    def _forward(self, side: Side, packet: IpPacket, now: float) -> list[bytes]:
        """Send a packet on, one hop older (RFC 1812 section 5.3.1, RFC 8200 section 3)."""
        left = packet.ttl if isinstance(packet, Ipv4) else packet.hop_limit
        if left <= 1:
            self.discards["too many hops"] += 1
            return self._error(side, packet, Error.TIME, now)
        route = self._routes.find(packet.destination)
        if route is None:
            self.discards["no route"] += 1
            return self._error(side, packet, Error.NO_ROUTE, now)
        out, next_hop = route
        older: IpPacket
        if isinstance(packet, Ipv4):
            older = replace(packet, ttl=packet.ttl - 1)
        else:
            older = replace(packet, hop_limit=packet.hop_limit - 1)
        self.forwarded += 1
        return out.framed(out.resolution.send(next_hop, older.encode(), now))

    # --- our own packets ---

    def _send(self, side: Side, packet: IpPacket, now: float) -> list[bytes]:
        """Send a packet of ours; one to a link-local address goes where its cause came from."""
        if packet.destination in _LINK_LOCAL:
            return side.framed(side.resolution.send(packet.destination, packet.encode(), now))
        route = self._routes.find(packet.destination)
        if route is None:
            self.discards["no route"] += 1
            return []
        out, next_hop = route
        return out.framed(out.resolution.send(next_hop, packet.encode(), now))

    def _error(self, side: Side, packet: IpPacket, error: Error, now: float) -> list[bytes]:
        """Tell the sender of a packet what became of it, if that is allowed and not too often."""
        if not may_cause_error(packet) or self._routes.is_broadcast(packet.source):
            return []
        if not self._errors.ask(now)[0]:
            self.discards["errors not sent"] += 1
            return []
        number, code = _ERRORS[packet.source.version][error]
        message = error_about(packet, type=number, code=code)
        source = self._source(side, packet.source)
        if isinstance(source, IPv4Address) and isinstance(packet, Ipv4):
            return self._send(side, message.in_ipv4(source, packet.source), now)
        if isinstance(source, IPv6Address) and isinstance(packet, Ipv6):
            return self._send(side, message.in_ipv6(source, packet.source, DEFAULT_TTL), now)
        return []  # nobody knows the way back

    def _source(self, side: Side, destination: IpAddress) -> IpAddress | None:
        """Choose the address that an error comes from: ours where it leaves (RFC 1812 section 4.3.2.4)."""
        if destination in _LINK_LOCAL:
            return side.resolution.source_for(destination)
        route = self._routes.find(destination)
        return None if route is None else route[0].resolution.source_for(route[1])

    # --- time and events ---

    def announce(self) -> list[bytes]:
        """Give the frames that tell every VLAN where our addresses are."""
        return [frame for side in self._sides.values() for frame in side.framed(side.resolution.announce())]

    def next_deadline(self) -> float | None:
        """When ``handle_timer`` has something to do, None for never."""
        deadlines = (side.resolution.next_deadline() for side in self._sides.values())
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def handle_timer(self, now: float) -> list[bytes]:
        """Give what is due: solicitations, and errors about packets whose next hop did not answer."""
        frames = []
        for side in self._sides.values():
            frames += side.framed(side.resolution.handle_timer(now))
        return frames + self._gather_events(now)

    def take_conflicts(self) -> list[Conflict]:
        """Give the stations that were seen with an address of ours since the last call."""
        conflicts = list(self._conflicts)
        self._conflicts.clear()
        return conflicts

    def _gather_events(self, now: float) -> list[bytes]:
        frames = []
        for side in self._sides.values():
            for event in side.resolution.take_events():
                if isinstance(event, Conflict):
                    self._conflicts.append(event)
                elif isinstance(event, ResolutionFailed):
                    self.discards["host does not answer"] += len(event.packets)
                    for packet in event.packets:
                        frames += self._host_unreachable(side, packet, now)
        return frames

    def _host_unreachable(self, side: Side, data: bytes, now: float) -> list[bytes]:
        packet = decode_ipv4(data) if data[0] >> 4 == 4 else decode_ipv6(data)
        if packet.source in self._addresses or packet.source in side.resolution.addresses:
            return []  # our own
        return self._error(side, packet, Error.HOST, now)


_ND_TYPES: Final = frozenset({Icmpv6Type.NEIGHBOUR_SOLICITATION, Icmpv6Type.NEIGHBOUR_ADVERTISEMENT})
