"""Station: a simulated host without I/O. It answers ARP, neighbour discovery and ping, and can ping.

In comes a frame and the time, out come the frames to send; what happened is told by ``take_events``.
It is made for a LAN where anybody may send anything:

* no bytes raise; what is malformed is counted in ``discards``;
* one frame brings at most one answer, never to a group, never longer than what it answers but for the
  padding of short frames; packets that waited for an address follow when it is learned;
* every table and queue is bounded, and conflicts are reported at a bounded rate.

Not simulated: fragments, VLAN tags with a VID, multicast group reports.
"""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Final

from vport.errors import FrameError, SettingsError
from vport.ethernet import (
    HEADER_SIZE,
    EtherType,
    MacAddress,
    decode_header,
    encode_frame,
    is_multicast,
    unpack_addresses,
)
from vport.packets.arp import decode_arp
from vport.packets.icmp import (
    ECHO_HEADER_SIZE,
    Echo,
    Icmp,
    IcmpType,
    Icmpv6Type,
    decode_echo,
    decode_icmp,
    decode_icmpv6,
)
from vport.packets.icmp_error import explain_error, quoted_echo
from vport.packets.ip import (
    DEFAULT_TTL,
    IPV4_HEADER_SIZE,
    IPV6_HEADER_SIZE,
    IpProtocol,
    decode_ipv4,
    decode_ipv6,
    upper_layer,
)
from vport.packets.nd import decode_neighbour_message, link_local_address
from vport.station.events import (
    ArpSeen,
    Conflict,
    EchoRequested,
    Event,
    FrameSeen,
    NeighbourMessageSeen,
    ResolutionEvent,
    ResolutionFailed,
    SightingEvent,
)
from vport.station.neighbours import DEFAULT_CAPACITY
from vport.station.ping import DEFAULT_SIZE, DEFAULT_TIMEOUT, Pinger, Request
from vport.station.resolution import AddressResolution, with_link_local

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vport.ethernet import Buffer, Header
    from vport.locator import InterfaceAddress, IpAddress
    from vport.packets.ip import Ipv6

DEFAULT_MTU: Final = 9000  # the largest common one; an answer is never longer than what it answers
MAX_EVENTS: Final = 65536  # events that nobody takes do not pile up; all single pings may end at once
MAX_SIGHTINGS: Final = 1024  # from here on what others do is not told, so that it cannot hide our pings
CONFLICT_INTERVAL: Final = 10.0  # seconds between reports of our own MAC, as for addresses (RFC 5227)
_PATTERN: Final = bytes(range(256)) * 256  # the data of our echo requests
_VID_MASK: Final = 0x0FFF


def derived_mac(interface: InterfaceAddress) -> MacAddress:
    """Make a MAC address from an IP address: the same in every run, another for another address.

    It is locally administered and unicast: 02 and five bytes of the SHA-256 of the address.
    """
    return MacAddress(b"\x02" + hashlib.sha256(interface.ip.packed).digest()[:5])


class Station:
    """A host with one network interface.

    ``gateways`` take packets for other networks; the first of each version of IP counts.

    Attributes:
        mac: its MAC address.
        resolution: its ARP and neighbour discovery; knows its addresses, the link-local one included.
        mtu: the longest IP packet that it takes or sends, in bytes.
        is_observing: whether all that comes by becomes an event, not only what concerns pings,
            neighbours and conflicts.
        discards: frames that it could make nothing of, by reason.
    """

    def __init__(
        self,
        mac: MacAddress,
        interfaces: Sequence[InterfaceAddress],
        *,
        gateways: Sequence[IpAddress] = (),
        mtu: int = DEFAULT_MTU,
        neighbour_capacity: int = DEFAULT_CAPACITY,
        ping_timeout: float = DEFAULT_TIMEOUT,
        is_observing: bool = False,
    ) -> None:
        self.mac = mac
        self.mtu = mtu
        self.is_observing = is_observing
        self.discards: Counter[str] = Counter()
        self.resolution = AddressResolution(
            mac, with_link_local(interfaces, link_local_address(mac)), capacity=neighbour_capacity
        )
        self._gateways = {address.version: address for address in reversed(gateways)}
        for gateway in gateways:
            if not self.resolution.is_neighbour(gateway):
                raise SettingsError(f"the gateway {gateway} is not another host in one of its networks")
        self._pinger = Pinger(timeout=ping_timeout)
        self._conflict_at = float("-inf")
        self._events: deque[Event] = deque(maxlen=MAX_EVENTS)

    # --- receiving ---

    def receive(self, frame: Buffer, now: float) -> list[bytes]:
        """Take a frame from the LAN and give the frames to send because of it."""
        if len(frame) < HEADER_SIZE:
            self.discards["malformed"] += 1
            return []
        destination, source, _ = unpack_addresses(frame)
        if source == self.mac:
            return self._meet_ourselves(now)
        is_for_us = destination == self.mac or destination in self.resolution.groups
        if not (is_for_us or self.is_observing):
            return []
        if is_multicast(source):
            self.discards["source is a group"] += 1
            return []
        try:
            header = decode_header(frame)
            frames = self._receive_frame(header, frame, is_for_us, now)
        except FrameError:
            self.discards["malformed"] += 1
            frames = []
        self._gather_events()
        return frames

    def _meet_ourselves(self, now: float) -> list[bytes]:
        if now - self._conflict_at >= CONFLICT_INTERVAL:
            self._conflict_at = now
            self._note(Conflict(address=None, mac=self.mac))
        return []

    def _receive_frame(self, header: Header, frame: Buffer, is_for_us: bool, now: float) -> list[bytes]:
        payload = memoryview(frame)[header.size :]
        if header.tci is not None and header.tci & _VID_MASK:
            pass  # of a VLAN that we are not in; VID 0 only carries a priority (802.1Q-2018 table 9-2)
        elif len(payload) > self.mtu:
            self.discards["longer than the MTU"] += 1
        elif header.ethertype == EtherType.ARP:
            return self._receive_arp(payload, is_for_us, now)
        elif header.ethertype == EtherType.IPV4 and header.destination == self.mac:
            return self._receive_ipv4(header, payload, now)
        elif header.ethertype == EtherType.IPV6 and is_for_us:
            return self._receive_ipv6(header, payload, now)
        self._see(
            FrameSeen(
                destination=header.destination,
                source=header.source,
                ethertype=header.ethertype,
                size=len(frame),
            )
        )
        return []

    def _receive_arp(self, payload: Buffer, is_for_us: bool, now: float) -> list[bytes]:
        packet = decode_arp(payload)
        self._see(ArpSeen(packet=packet))
        return self.resolution.receive_arp(packet, now) if is_for_us else []

    def _receive_ipv4(self, header: Header, payload: Buffer, now: float) -> list[bytes]:
        packet = decode_ipv4(payload)
        if packet.destination not in self.resolution.addresses or packet.protocol != IpProtocol.ICMP:
            return []
        if packet.is_fragment:
            self.discards["fragment"] += 1
            return []
        message = decode_icmp(packet.payload)
        self._receive_error(packet.source, message)
        if message.code != 0:
            return []
        if message.type == IcmpType.ECHO_REPLY:
            return self._receive_reply(packet.source, packet.ttl, message, now)
        if message.type != IcmpType.ECHO_REQUEST or not self._may_answer(packet.source):
            return []
        self._note_request(packet.source, message)
        reply = Icmp(type=IcmpType.ECHO_REPLY, body=message.body)
        answer = reply.in_ipv4(packet.destination, packet.source)
        return [encode_frame(header.source, self.mac, EtherType.IPV4, answer.encode())]

    def _receive_ipv6(self, header: Header, payload: Buffer, now: float) -> list[bytes]:
        packet = decode_ipv6(payload)
        protocol, rest = upper_layer(packet)
        if protocol != IpProtocol.ICMPV6:
            return []
        message = decode_icmpv6(packet, rest)
        if message.type in {Icmpv6Type.NEIGHBOUR_SOLICITATION, Icmpv6Type.NEIGHBOUR_ADVERTISEMENT}:
            return self._receive_neighbour_message(header, packet, message, now)
        if header.destination != self.mac or packet.destination not in self.resolution.addresses:
            return []
        self._receive_error(packet.source, message)
        if message.code != 0:
            return []
        if message.type == Icmpv6Type.ECHO_REPLY:
            return self._receive_reply(packet.source, packet.hop_limit, message, now)
        if message.type != Icmpv6Type.ECHO_REQUEST or not self._may_answer(packet.source):
            return []
        self._note_request(packet.source, message)
        reply = Icmp(type=Icmpv6Type.ECHO_REPLY, body=message.body)
        answer = reply.in_ipv6(packet.destination, packet.source, DEFAULT_TTL)
        return [encode_frame(header.source, self.mac, EtherType.IPV6, answer.encode())]

    def _receive_neighbour_message(self, header: Header, packet: Ipv6, icmp: Icmp, now: float) -> list[bytes]:
        message = decode_neighbour_message(packet, icmp)
        self._see(NeighbourMessageSeen(source=packet.source, source_mac=header.source, message=message))
        return self.resolution.receive_neighbour_message(packet, header.source, message, now)

    def _may_answer(self, source: IpAddress) -> bool:
        """Whether ``source`` can be one other host. The answer goes back to the MAC it came from.

        So it needs no route and no resolution, and can burden nobody but the sender of the frame.
        """
        return not (
            source.is_multicast
            or source.is_unspecified
            or source.is_loopback
            or source in self.resolution.addresses
            or self.resolution.is_broadcast(source)
        )

    def _note_request(self, source: IpAddress, message: Icmp) -> None:
        echo = decode_echo(message.body)
        size = ECHO_HEADER_SIZE + len(echo.data)
        self._see(EchoRequested(source=source, identifier=echo.identifier, sequence=echo.sequence, size=size))

    def _receive_reply(self, source: IpAddress, ttl: int, message: Icmp, now: float) -> list[bytes]:
        echo = decode_echo(message.body)
        request = Request(source, echo.identifier, echo.sequence)
        size = self._pinger.size_of(request)
        if size is None or echo.data != _PATTERN[:size]:
            self.discards["unexpected echo reply"] += 1
            return []
        self._pinger.replied(request, now, ttl=ttl, size=ECHO_HEADER_SIZE + size)
        next_hop = self._next_hop(source)
        if next_hop is not None:
            self.resolution.confirm(next_hop, now)
        return []

    def _receive_error(self, source: IpAddress, message: Icmp) -> None:
        """Take an ICMP error about a ping of ours that is under way; all others are ignored."""
        quoted = quoted_echo(message, source.version)
        if quoted is None or quoted[0] not in self.resolution.addresses:
            return
        _, target, echo = quoted
        request = Request(target, echo.identifier, echo.sequence)
        if self._pinger.size_of(request) is not None:
            self._pinger.refused(request, f"{explain_error(message, source.version)}, says {source}")

    # --- sending ---

    def announce(self) -> list[bytes]:
        """Give the frames that tell the LAN, and every switch on the way, where we are."""
        return self.resolution.announce()

    def ping(
        self, address: IpAddress, now: float, *, size: int = DEFAULT_SIZE, timeout: float | None = None
    ) -> tuple[Request, list[bytes]]:
        """Ping once with ``size`` bytes of data: give what its events will carry, and frames to send.

        Raises:
            SettingsError: so many bytes do not fit into one packet of our MTU.
            LocalProtocolError: 65535 pings to this address are under way.
        """
        headers = IPV4_HEADER_SIZE if isinstance(address, IPv4Address) else IPV6_HEADER_SIZE
        if not 0 <= size <= (most := self.mtu - headers - ECHO_HEADER_SIZE):
            raise SettingsError(f"a ping of {size} bytes: 0 to {most} fit into the MTU of {self.mtu}")
        request = self._pinger.single(address, now, size=size, timeout=timeout)
        frames = self._send_request(request, now)
        self._gather_events()
        return request, frames

    def ping_series(
        self, address: IpAddress, now: float, *, interval: float = 1.0, count: int | None = None
    ) -> int:
        """Ping ``count`` times (None: for ever), beginning at once; give the events' identifier."""
        return self._pinger.start_series(address, now, interval=interval, count=count)

    def stop_series(self) -> None:
        """End all series of pings; their summaries follow as events."""
        self._pinger.stop_series()
        self._gather_events()

    def _send_request(self, request: Request, now: float) -> list[bytes]:
        target, size = request.address, self._pinger.size_of(request)
        assert size is not None
        if target in self.resolution.addresses:
            self._pinger.replied(request, now, ttl=DEFAULT_TTL, size=ECHO_HEADER_SIZE + size)
            return []
        next_hop = self._next_hop(target)
        if next_hop is None:
            self._pinger.failed(target, "not on our network, and there is no gateway")
            return []
        echo = Echo(identifier=request.identifier, sequence=request.sequence, data=_PATTERN[:size])
        return self.resolution.send(next_hop, self._echo_packet(target, echo), now)

    def _next_hop(self, target: IpAddress) -> IpAddress | None:
        """Find who takes a packet for ``target``: itself, or the gateway."""
        if self.resolution.is_neighbour(target):
            return target
        if target.is_multicast or target.is_unspecified or self.resolution.is_broadcast(target):
            return None
        on_link = self.resolution.source_for(target) is not None
        return None if on_link else self._gateways.get(target.version)

    def _source_for(self, target: IpAddress) -> IpAddress:
        """Choose our address towards ``target``: the one in its network, else the first that is not local."""
        source = self.resolution.source_for(target)
        if source is not None:
            return source
        ours = [one.ip for one in self.resolution.interfaces if one.version == target.version]
        return next((one for one in ours if not one.is_link_local), ours[0])

    def _echo_packet(self, target: IpAddress, echo: Echo) -> bytes:
        source = self._source_for(target)
        if isinstance(target, IPv4Address):
            assert isinstance(source, IPv4Address)
            message = Icmp(type=IcmpType.ECHO_REQUEST, body=echo.encode())
            return message.in_ipv4(source, target).encode()
        assert isinstance(source, IPv6Address)
        message = Icmp(type=Icmpv6Type.ECHO_REQUEST, body=echo.encode())
        return message.in_ipv6(source, target, DEFAULT_TTL).encode()

    # --- time and events ---

    def next_deadline(self) -> float | None:
        """When ``handle_timer`` has something to do, None for never."""
        deadlines = (self._pinger.next_deadline(), self.resolution.next_deadline())
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def handle_timer(self, now: float) -> list[bytes]:
        """Give the frames that are due: pings of a series, solicitations."""
        frames = self.resolution.handle_timer(now)
        for request in self._pinger.handle_timer(now):
            frames += self._send_request(request, now)
        self._gather_events()
        return frames

    def take_events(self) -> list[Event]:
        """Give what happened since the last call, oldest first."""
        events = list(self._events)
        self._events.clear()
        return events

    def _gather_events(self) -> None:
        for event in self.resolution.take_events():
            if isinstance(event, ResolutionFailed):
                self._fail(event.address)
            self._note(event)
        self._events.extend(self._pinger.take_events())

    def _fail(self, next_hop: IpAddress) -> None:
        """End the pings that cannot go because nobody answers for ``next_hop``."""
        for target in self._pinger.under_way():
            if target == next_hop:
                self._pinger.failed(target, "nobody answers for this address")
            elif self._next_hop(target) == next_hop:
                self._pinger.failed(target, f"nobody answers for the gateway {next_hop}")

    def _see(self, event: SightingEvent) -> None:
        if self.is_observing:
            self._note(event)

    def _note(self, event: ResolutionEvent | SightingEvent) -> None:
        if len(self._events) < MAX_SIGHTINGS:
            self._events.append(event)
