"""Address resolution for one MAC address: ARP and neighbour discovery, answering and asking.

Whoever joins a LAN with IP addresses of its own stands on this: the simulated station, a layer-3 device,
a router's interface. It sees decoded messages and gives frames; it does not know what IP packets are for.

What is believed is kept small on purpose, since any station may say anything: a neighbour is entered when
it asks for one of our addresses, or answers while we ask for it; a known one is changed by what it
announces. All of it only for addresses of our own networks.
"""

from __future__ import annotations

from collections import deque
from ipaddress import IPv4Address, IPv6Address, IPv6Interface
from typing import TYPE_CHECKING, Final

from vport.errors import SettingsError
from vport.ethernet import BROADCAST, EtherType, MacAddress, encode_frame, is_multicast
from vport.packets.arp import Arp, ArpOperation
from vport.packets.nd import (
    ALL_NODES,
    HOP_LIMIT,
    UNSPECIFIED,
    NeighbourAdvertisement,
    NeighbourMessage,
    NeighbourSolicitation,
    group_mac,
    solicited_node,
)
from vport.station.events import Conflict, NeighbourLearned, ResolutionEvent, ResolutionFailed
from vport.station.neighbours import DEFAULT_CAPACITY, NeighbourTable, Solicit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vport.locator import InterfaceAddress, IpAddress
    from vport.packets.ip import Ipv6

DEFEND_INTERVAL: Final = 10.0  # between defences of an address, seconds (RFC 5227 section 1.1)
MAX_EVENTS: Final = 1024  # ours: events that nobody takes do not pile up
_NO_MAC: Final = MacAddress(bytes(6))


class AddressResolution:
    """Answers for ``interfaces`` at ``mac`` and finds who is at other addresses of their networks.

    ``is_router`` is what neighbours are told of us (RFC 4861 section 4.4).

    Raises:
        SettingsError: an interface has an address that no single host can have.
    """

    def __init__(
        self,
        mac: MacAddress,
        interfaces: Iterable[InterfaceAddress],
        *,
        capacity: int = DEFAULT_CAPACITY,
        is_router: bool = False,
    ) -> None:
        self.mac = mac
        self._is_router = is_router
        self.interfaces = tuple(dict.fromkeys(interfaces))
        self._check_interfaces()
        self.addresses = frozenset(interface.ip for interface in self.interfaces)
        self.groups = self._joined_groups()
        self.neighbours = NeighbourTable(capacity=capacity)
        self._defended_at: dict[IpAddress, float] = {}  # by our own addresses only
        self._events: deque[ResolutionEvent] = deque(maxlen=MAX_EVENTS)

    def _joined_groups(self) -> frozenset[MacAddress]:
        """The MAC addresses of groups that an address resolver must hear (RFC 4861 section 7.2.1)."""
        ipv6 = [address for address in self.addresses if isinstance(address, IPv6Address)]
        groups = {group_mac(solicited_node(address)) for address in ipv6}
        return frozenset({BROADCAST} | groups | ({group_mac(ALL_NODES)} if ipv6 else set()))

    # --- our networks ---

    def _check_interfaces(self) -> None:
        for interface in self.interfaces:
            address = interface.ip
            if address.is_multicast or address.is_unspecified or address.is_loopback:
                raise SettingsError(f"{interface} is not the address of one host on a LAN")
            if self.is_broadcast(address):
                raise SettingsError(f"{interface} is the address of its network or of all hosts in it")

    def source_for(self, destination: IpAddress) -> IpAddress | None:
        """Give our address in the network of ``destination``, None when that is not on this link."""
        matching = [
            interface
            for interface in self.interfaces
            if interface.version == destination.version and destination in interface.network
        ]
        if not matching:
            return None
        return max(matching, key=lambda interface: interface.network.prefixlen).ip

    def is_broadcast(self, address: IpAddress) -> bool:
        """Whether ``address`` means all stations or none: a directed broadcast or a network's own."""
        if address == IPv4Address(0xFFFFFFFF):
            return True
        return any(
            interface.version == 4
            and interface.network.prefixlen < 31  # RFC 3021: a network of two has no broadcast address
            and address in {interface.network.broadcast_address, interface.network.network_address}
            for interface in self.interfaces
        )

    def is_neighbour(self, address: IpAddress) -> bool:
        """Whether ``address`` can be that of another station on this link."""
        return (
            address not in self.addresses
            and not (address.is_multicast or address.is_unspecified or self.is_broadcast(address))
            and self.source_for(address) is not None
        )

    # --- receiving ---

    def receive_arp(self, packet: Arp, now: float) -> list[bytes]:
        """Take an ARP packet: learn, and answer when it asks for an address of ours."""
        if is_multicast(packet.sender_mac) or packet.sender_mac in {self.mac, _NO_MAC}:
            return []
        if packet.sender in self.addresses:
            return self._defend(packet.sender, packet.sender_mac, now)
        is_for_us = packet.target in self.addresses
        is_request = packet.operation == ArpOperation.REQUEST
        frames = self._learn(
            packet.sender,
            packet.sender_mac,
            now,
            is_newcomer_welcome=is_for_us and is_request,
            is_confirmed=is_for_us and packet.operation == ArpOperation.REPLY,
        )
        if is_for_us and is_request:
            reply = Arp(
                operation=ArpOperation.REPLY,
                sender_mac=self.mac,
                sender=packet.target,
                target_mac=packet.sender_mac,
                target=packet.sender,
            )
            frames.append(reply.frame(packet.sender_mac))
        return frames

    def _defend(self, address: IpAddress, mac: MacAddress, now: float) -> list[bytes]:
        """Report that ``mac`` uses our address, and say that it is ours (RFC 5227 section 2.4, case b)."""
        if now - self._defended_at.get(address, float("-inf")) < DEFEND_INTERVAL:
            return []
        self._defended_at[address] = now
        self._events.append(Conflict(address=address, mac=mac))
        # RFC 4862 knows no defence of an address in use; two that advertise would only take turns.
        return [] if isinstance(address, IPv6Address) else [self._announcement(address)]

    def receive_neighbour_message(
        self, packet: Ipv6, source_mac: MacAddress, message: NeighbourMessage, now: float
    ) -> list[bytes]:
        """Take a valid message that ``packet`` brought in a frame from ``source_mac``."""
        if is_multicast(source_mac) or source_mac == self.mac:
            return []
        if packet.source in self.addresses:
            return self._defend(packet.source, source_mac, now)
        if isinstance(message, NeighbourSolicitation):
            return self._receive_solicitation(packet, source_mac, message, now)
        return self._receive_advertisement(source_mac, message, now)

    def _receive_solicitation(
        self, packet: Ipv6, source_mac: MacAddress, message: NeighbourSolicitation, now: float
    ) -> list[bytes]:
        """Answer for our addresses (RFC 4861 sections 7.2.3 and 7.2.4)."""
        if message.target not in self.addresses:
            return []
        frames: list[bytes] = []
        if message.source_mac is not None:
            frames = self._learn(
                packet.source, message.source_mac, now, is_newcomer_welcome=True, is_confirmed=False
            )
        if packet.source == UNSPECIFIED:  # duplicate address detection: tell everybody
            return [*frames, self._advertisement(message.target)]
        return [*frames, self._advertisement(message.target, packet.source, source_mac)]

    def _receive_advertisement(
        self, source_mac: MacAddress, message: NeighbourAdvertisement, now: float
    ) -> list[bytes]:
        """Learn as the table of RFC 4861 appendix C says."""
        if message.target in self.addresses:
            return self._defend(message.target, message.target_mac or source_mac, now)
        known = self.neighbours.mac_of(message.target)
        mac = message.target_mac or known
        if mac is None or (known not in {None, mac} and not message.is_override):
            return []
        return self._learn(
            message.target, mac, now, is_newcomer_welcome=False, is_confirmed=message.is_solicited
        )

    def _learn(
        self,
        address: IpAddress,
        mac: MacAddress,
        now: float,
        *,
        is_newcomer_welcome: bool,
        is_confirmed: bool,
    ) -> list[bytes]:
        """Enter or change a neighbour if it may be believed, and give the packets that waited for it."""
        table = self.neighbours
        if is_multicast(mac) or mac in {self.mac, _NO_MAC} or not self.is_neighbour(address):
            return []
        is_known = table.mac_of(address) is not None
        if not (is_known or is_newcomer_welcome or table.is_resolving(address)):
            return []
        learned = table.learn(address, mac, now, is_confirmed=is_confirmed)
        if learned.is_news:
            self._events.append(NeighbourLearned(address=address, mac=mac))
        return [self._packet_frame(address, mac, packet) for packet in learned.released]

    # --- sending ---

    def send(self, next_hop: IpAddress, packet: bytes, now: float) -> list[bytes]:
        """Give the frames that bring an IP packet to ``next_hop``, or that ask where it is.

        When it cannot be resolved, ResolutionFailed follows, at once or later.
        """
        mac = self.neighbours.use(next_hop, now)
        if mac is not None:
            return [self._packet_frame(next_hop, mac, packet)]
        if not self.is_neighbour(next_hop) or not self.neighbours.wait(next_hop, packet, now):
            self._events.append(ResolutionFailed(address=next_hop, packets=(packet,)))
            return []
        return self.handle_timer(now)

    def confirm(self, address: IpAddress, now: float) -> None:
        """Note that ``address`` answered a packet of ours: the way to it works."""
        self.neighbours.confirm(address, now)

    def announce(self) -> list[bytes]:
        """Tell everybody where our addresses are: ARP announcements, unsolicited advertisements."""
        return [self._announcement(interface.ip) for interface in self.interfaces]

    def next_deadline(self) -> float | None:
        """When ``handle_timer`` has something to do, None for never."""
        return self.neighbours.next_deadline()

    def handle_timer(self, now: float) -> list[bytes]:
        """Give the solicitations that are due."""
        frames = []
        for due in self.neighbours.handle_timer(now):
            if isinstance(due, Solicit):
                frames.append(self._solicitation(due.address, due.mac))
            else:
                self._events.append(ResolutionFailed(address=due.address, packets=due.packets))
        return frames

    def take_events(self) -> list[ResolutionEvent]:
        """Give what happened since the last call, oldest first."""
        events = list(self._events)
        self._events.clear()
        return events

    # --- frames ---

    def _packet_frame(self, next_hop: IpAddress, mac: MacAddress, packet: bytes) -> bytes:
        ethertype = EtherType.IPV4 if isinstance(next_hop, IPv4Address) else EtherType.IPV6
        return encode_frame(mac, self.mac, ethertype, packet)

    def _announcement(self, address: IpAddress) -> bytes:
        """RFC 5227 section 3, RFC 4861 section 7.2.6."""
        if isinstance(address, IPv6Address):
            return self._advertisement(address)
        packet = Arp(operation=ArpOperation.REQUEST, sender_mac=self.mac, sender=address, target=address)
        return packet.frame()

    def _solicitation(self, target: IpAddress, mac: MacAddress | None) -> bytes:
        source = self.source_for(target)
        if isinstance(target, IPv4Address):
            assert isinstance(source, IPv4Address)
            packet = Arp(operation=ArpOperation.REQUEST, sender_mac=self.mac, sender=source, target=target)
            return packet.frame(mac or BROADCAST)
        assert isinstance(source, IPv6Address)
        message = NeighbourSolicitation(target=target, source_mac=self.mac)
        destination = solicited_node(target) if mac is None else target
        return self._nd_frame(message, source, destination, mac or group_mac(destination))

    def _advertisement(
        self, target: IPv6Address, asker: IPv6Address | None = None, asker_mac: MacAddress | None = None
    ) -> bytes:
        message = NeighbourAdvertisement(
            target=target,
            target_mac=self.mac,
            is_router=self._is_router,
            is_solicited=asker is not None,
            is_override=True,
        )
        destination = asker or ALL_NODES
        return self._nd_frame(message, target, destination, asker_mac or group_mac(destination))

    def _nd_frame(
        self, message: NeighbourMessage, source: IPv6Address, destination: IPv6Address, mac: MacAddress
    ) -> bytes:
        packet = message.encode().in_ipv6(source, destination, HOP_LIMIT)
        return encode_frame(mac, self.mac, EtherType.IPV6, packet.encode())


def with_link_local(
    interfaces: Iterable[InterfaceAddress], address: IPv6Address
) -> tuple[InterfaceAddress, ...]:
    """Add the link-local ``address`` to ``interfaces`` (RFC 4291 section 2.5.6)."""
    return (*interfaces, IPv6Interface((address, 64)))
