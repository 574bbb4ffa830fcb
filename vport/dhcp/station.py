"""The DHCP and name server as a station of its LAN: frames in, frames out.

ARP, neighbour discovery and ping are those of ``vport.station.Station``. Answers to clients that have no
address yet, or none that they answer ARP for, go to the MAC address that asked; nothing is resolved.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Final

from vport.dhcp.messages import CLIENT_PORT, NO_ADDRESS, SERVER_PORT, Kind, decode_request
from vport.dhcp.names import DNS_PORT, Forward, NameServer
from vport.dhcp.probes import Probes
from vport.dhcp.server import DhcpServer
from vport.errors import FrameError
from vport.ethernet import (
    BROADCAST,
    HEADER_SIZE,
    EtherType,
    MacAddress,
    encode_frame,
    is_multicast,
    unpack_addresses,
)
from vport.packets.arp import Arp, ArpOperation, decode_arp
from vport.packets.ip import decode_ipv4
from vport.packets.udp import UDP_PROTOCOL, Udp, decode_udp
from vport.rate_limit import RateLimit
from vport.station import Station

if TYPE_CHECKING:
    import dns.message

    from vport.dhcp.messages import Reply, Request
    from vport.dhcp.settings import DhcpSettings
    from vport.ethernet import Buffer
    from vport.packets.ip import Ipv4

EVERYBODY: Final = IPv4Address(0xFFFFFFFF)
MAX_QUERIES: Final = 256  # forwarded ones that nobody has taken yet
_DHCP_RATE: Final = 200  # messages a second; each takes a quarter of a millisecond
_DNS_RATE: Final = 1000


@dataclass(frozen=True, slots=True)
class PendingQuery:
    """A query for somebody else, and the way back to the station that asked."""

    query: dns.message.Message
    mac: MacAddress
    address: IPv4Address
    port: int


class LanServer:
    """A station that hands out addresses and answers for names.

    Attributes:
        station: its ARP, neighbour discovery and ping.
        dhcp: who has which address.
        names: who is called what.
        discards: frames that it could make nothing of, by reason.
    """

    def __init__(self, mac: MacAddress, settings: DhcpSettings, *, forwards: bool = False) -> None:
        self.station = Station(mac, (settings.server,))
        self.dhcp = DhcpServer(settings)
        self.names = NameServer(settings, self.dhcp.leases, forwards=forwards)
        self.discards: Counter[str] = self.station.discards
        self._settings = settings
        self._mac = mac
        self._address = settings.server.ip
        self._probes = Probes()
        self._queries: deque[PendingQuery] = deque(maxlen=MAX_QUERIES)
        self._dhcp_rate = RateLimit(burst=_DHCP_RATE, interval=1 / _DHCP_RATE)
        self._dns_rate = RateLimit(burst=_DNS_RATE, interval=1 / _DNS_RATE)

    # --- receiving ---

    def receive(self, frame: Buffer, now: float) -> list[bytes]:
        """Take a frame from the LAN and give the frames to send because of it."""
        if len(frame) < HEADER_SIZE:
            return self.station.receive(frame, now)
        destination, source, ethertype = unpack_addresses(frame)
        if is_multicast(source) or destination not in {self._mac, BROADCAST}:
            return self.station.receive(frame, now)
        payload = memoryview(frame)[HEADER_SIZE:]
        try:
            if ethertype == EtherType.ARP:
                return self._receive_arp(payload, now) + self.station.receive(frame, now)
            if ethertype == EtherType.IPV4 and len(payload) > 9 and payload[9] == UDP_PROTOCOL:
                return self._receive_datagram(decode_ipv4(payload), MacAddress(source), now)
        except FrameError:
            self.discards["malformed"] += 1
            return []
        return self.station.receive(frame, now)

    def _receive_arp(self, payload: Buffer, now: float) -> list[bytes]:
        """See whether somebody answers for an address that is about to be offered to another."""
        packet = decode_arp(payload)
        offer = self._probes.seen(packet.sender, packet.sender_mac)
        if offer is None:
            return []
        self.dhcp.found_in_use(packet.sender, now)
        return self._receive_request(offer.request, now)

    def _receive_datagram(self, packet: Ipv4, source: MacAddress, now: float) -> list[bytes]:
        datagram = decode_udp(packet)
        is_for_us = packet.destination == self._address
        if datagram.destination_port == SERVER_PORT and (is_for_us or self._is_broadcast(packet.destination)):
            if not self._dhcp_rate.ask(now)[0]:
                self.discards["too many DHCP messages"] += 1
                return []
            return self._receive_request(decode_request(datagram.payload), now)
        if datagram.destination_port == DNS_PORT and is_for_us:
            return self._receive_query(packet, datagram, source, now)
        return []

    def _is_broadcast(self, address: IPv4Address) -> bool:
        return address in {EVERYBODY, self._settings.server.network.broadcast_address}

    # --- DHCP ---

    def _receive_request(self, request: Request, now: float) -> list[bytes]:
        reply = self.dhcp.receive(request, now)
        if reply is None:
            return []
        if reply.kind == Kind.OFFER and self._probes.begin(reply, now):
            probe = Arp(
                operation=ArpOperation.REQUEST,
                sender_mac=self._mac,
                sender=self._address,
                target=reply.address,
            )
            return [probe.frame()]
        return [self._reply_frame(reply)]

    def _reply_frame(self, reply: Reply) -> bytes:
        """Address a reply as RFC 2131 section 4.1 says."""
        request = reply.request
        if reply.kind == Kind.NAK:
            destination, mac = EVERYBODY, BROADCAST
        elif request.client_address != NO_ADDRESS:
            destination, mac = request.client_address, request.mac
        elif request.wants_broadcast:
            destination, mac = EVERYBODY, BROADCAST
        else:
            destination, mac = reply.address, request.mac
        datagram = Udp(source_port=SERVER_PORT, destination_port=CLIENT_PORT, payload=reply.encode())
        packet = datagram.in_ipv4(self._address, destination)
        return encode_frame(mac, self._mac, EtherType.IPV4, packet.encode())

    # --- DNS ---

    def _receive_query(self, packet: Ipv4, datagram: Udp, source: MacAddress, now: float) -> list[bytes]:
        if packet.source not in self._settings.server.network or packet.source == self._address:
            self.discards["query from elsewhere"] += 1
            return []
        if not self._dns_rate.ask(now)[0]:
            self.discards["too many queries"] += 1
            return []
        answer = self.names.receive(datagram.payload, now)
        asker = (source, packet.source, datagram.source_port)
        if isinstance(answer, Forward):
            if len(self._queries) == MAX_QUERIES:
                self.discards["too many queries"] += 1
            else:
                self._queries.append(PendingQuery(answer.query, *asker))
            return []
        return [self._answer_frame(*asker, answer.data)]

    def take_queries(self) -> list[PendingQuery]:
        """Give the queries that somebody else has to answer."""
        queries = list(self._queries)
        self._queries.clear()
        return queries

    def answer(self, pending: PendingQuery, data: bytes) -> bytes:
        """Give the frame with the answer to a query that was taken."""
        return self._answer_frame(pending.mac, pending.address, pending.port, data)

    def _answer_frame(self, mac: MacAddress, address: IPv4Address, port: int, data: bytes) -> bytes:
        packet = Udp(source_port=DNS_PORT, destination_port=port, payload=data).in_ipv4(
            self._address, address
        )
        return encode_frame(mac, self._mac, EtherType.IPV4, packet.encode())

    # --- time ---

    def next_deadline(self) -> float | None:
        """When ``handle_timer`` has something to do, None for never."""
        deadlines = (self.station.next_deadline(), self._probes.next_deadline())
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def announce(self) -> list[bytes]:
        """Give the frames that tell where the server is."""
        return self.station.announce()

    def handle_timer(self, now: float) -> list[bytes]:
        """Give the frames that are due: offers of addresses that nobody has, solicitations."""
        offers = [self._reply_frame(offer) for offer in self._probes.take_due(now)]
        return offers + self.station.handle_timer(now)
