"""A layer-3 device on a LAN, without I/O: whose kernel knows IP only, and whose Ethernet is done here.

Packets from the device get an Ethernet header with the MAC address of their next hop, found by ARP and
neighbour discovery; frames for it lose theirs. The LAN sees one station with the device's addresses.
"""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Final

from vport.errors import FrameError
from vport.ethernet import BROADCAST, HEADER_SIZE, EtherType, MacAddress, is_multicast, unpack_addresses
from vport.packets.arp import decode_arp
from vport.packets.icmp import Icmpv6Type, decode_icmpv6
from vport.packets.ip import IpProtocol, decode_ipv6, upper_layer
from vport.packets.nd import decode_neighbour_message, group_mac
from vport.station.events import Conflict
from vport.station.resolution import AddressResolution

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from vport.ethernet import Buffer
    from vport.locator import InterfaceAddress, IpAddress

_IPV4_HEADER: Final = 20
_IPV6_HEADER: Final = 40
_NEXT_HEADER: Final = 6  # offset in an IPv6 header
_ETHERTYPES: Final = {4: EtherType.IPV4.to_bytes(2, "big"), 6: EtherType.IPV6.to_bytes(2, "big")}
_ND_TYPES: Final = {int(Icmpv6Type.NEIGHBOUR_SOLICITATION), int(Icmpv6Type.NEIGHBOUR_ADVERTISEMENT)}


class Layer3Station:
    """The station.

    Args:
        mac: on the LAN.
        interfaces: the addresses of the device, with their networks.
        gateways: who takes packets for other networks, at most one for each version of IP counts.

    Attributes:
        resolution: ARP and neighbour discovery.
        discards: packets and frames that go nowhere, by reason.
        conflicts: stations that were seen with an address of ours, and not yet taken note of.
    """

    def __init__(
        self, mac: MacAddress, interfaces: Iterable[InterfaceAddress], gateways: Sequence[IpAddress] = ()
    ) -> None:
        self.mac = mac
        self.resolution = AddressResolution(mac, interfaces)
        self.discards: Counter[str] = Counter()
        self.conflicts: list[Conflict] = []
        self._gateways = {address.version: address for address in reversed(gateways)}

    # --- from the device to the LAN ---

    def header_for(self, packet: Buffer, now: float) -> tuple[bytes | None, IpAddress | None]:
        """Give the Ethernet header for an IP packet, or who is to be asked for first.

        Returns:
            (header, None) when it can go; (None, next hop) when ``wait`` is to keep it; (None, None) when it
            cannot go anywhere, which is counted.
        """
        destination = _destination(packet)
        if destination is None:
            self.discards["malformed"] += 1
            return None, None
        if destination.is_multicast:
            return self._header(_multicast_mac(destination), destination), None
        if self.resolution.is_broadcast(destination):
            return self._header(BROADCAST, destination), None
        next_hop = self._next_hop(destination)
        if next_hop is None:
            self.discards["no route"] += 1
            return None, None
        mac = self.resolution.neighbours.use(next_hop, now)
        return (None, next_hop) if mac is None else (self._header(mac, destination), None)

    def wait(self, next_hop: IpAddress, packet: bytes, now: float) -> list[bytes]:
        """Keep a packet until its next hop is known; give the frames that ask for it."""
        frames = self.resolution.send(next_hop, packet, now)
        self._gather_events()
        return frames

    def _next_hop(self, destination: IpAddress) -> IpAddress | None:
        if self.resolution.is_neighbour(destination):
            return destination
        gateway = self._gateways.get(destination.version)
        return gateway if gateway is not None and self.resolution.is_neighbour(gateway) else None

    def _header(self, mac: bytes, destination: IpAddress) -> bytes:
        return mac + self.mac + _ETHERTYPES[destination.version]

    # --- from the LAN to the device ---

    def receive(self, frame: Buffer, now: float) -> tuple[bool, list[bytes]]:
        """Take a frame: tell whether its packet is for the device, and give the frames that answer it.

        The frames of a train that have the same Ethernet header have the same fate, unless they may hold
        neighbour discovery: see ``is_discovery``.
        """
        if len(frame) < HEADER_SIZE:
            self.discards["malformed"] += 1
            return False, []
        destination, source, ethertype = unpack_addresses(frame)
        if source == self.mac or is_multicast(source):
            self.discards["source is ours or a group"] += 1
            return False, []
        if destination != self.mac and not is_multicast(destination):
            return False, []  # flooded: for another station
        if ethertype == EtherType.IPV4:
            return True, []
        try:
            if ethertype == EtherType.ARP:
                return False, self._gathered(
                    self.resolution.receive_arp(decode_arp(frame[HEADER_SIZE:]), now)
                )
            if ethertype == EtherType.IPV6:
                return self._receive_ipv6(MacAddress(source), frame, now)
        except FrameError:
            self.discards["malformed"] += 1
            return False, []
        self.discards["not IP"] += 1
        return False, []

    @staticmethod
    def is_discovery(frame: Buffer) -> bool:
        """Whether a frame may hold neighbour discovery, and is to be looked at alone."""
        return (
            len(frame) > HEADER_SIZE + _NEXT_HEADER
            and frame[12:HEADER_SIZE] == _ETHERTYPES[6]
            and frame[HEADER_SIZE + _NEXT_HEADER] in {IpProtocol.ICMPV6, 0}
        )

    def _receive_ipv6(self, source: MacAddress, frame: Buffer, now: float) -> tuple[bool, list[bytes]]:
        if not self.is_discovery(frame):
            return True, []
        packet = decode_ipv6(frame[HEADER_SIZE:])
        protocol, rest = upper_layer(packet)
        if protocol != IpProtocol.ICMPV6 or not rest or rest[0] not in _ND_TYPES:
            return True, []
        message = decode_neighbour_message(packet, decode_icmpv6(packet, rest))
        answers = self.resolution.receive_neighbour_message(packet, source, message, now)
        return False, self._gathered(answers)

    # --- time ---

    def announce(self) -> list[bytes]:
        """Give the frames that tell the LAN where our addresses are."""
        return self.resolution.announce()

    def next_deadline(self) -> float | None:
        """When ``handle_timer`` has something to do, None for never."""
        return self.resolution.next_deadline()

    def handle_timer(self, now: float) -> list[bytes]:
        """Give the solicitations that are due."""
        return self._gathered(self.resolution.handle_timer(now))

    def _gathered(self, frames: list[bytes]) -> list[bytes]:
        self._gather_events()
        return frames

    def _gather_events(self) -> None:
        for event in self.resolution.take_events():
            if isinstance(event, Conflict):
                self.conflicts.append(event)


def _destination(packet: Buffer) -> IpAddress | None:
    """Read the destination of an IP packet, None when it is none."""
    version = packet[0] >> 4 if len(packet) else 0
    if version == 4 and len(packet) >= _IPV4_HEADER:
        return IPv4Address(bytes(packet[16:20]))
    if version == 6 and len(packet) >= _IPV6_HEADER:
        return IPv6Address(bytes(packet[24:40]))
    return None


def _multicast_mac(address: IpAddress) -> bytes:
    """Give the group's MAC address (RFC 1112 section 6.4, RFC 2464 section 7)."""
    if isinstance(address, IPv6Address):
        return group_mac(address)
    low = int(address) & 0x7FFFFF
    return b"\x01\x00\x5e" + low.to_bytes(3, "big")
