"""What a station reports, as values, and the words for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, assert_never

from vport.ethernet import EtherType, format_mac
from vport.packets.arp import ArpOperation
from vport.packets.nd import UNSPECIFIED, NeighbourSolicitation

if TYPE_CHECKING:
    from ipaddress import IPv6Address

    from vport.ethernet import MacAddress
    from vport.locator import IpAddress
    from vport.packets.arp import Arp
    from vport.packets.nd import NeighbourMessage


# --- what became of pings ---


@dataclass(frozen=True, slots=True, kw_only=True)
class PingReply:
    """An echo request was answered. ``round_trip`` in seconds, ``size`` of the ICMP message in bytes."""

    address: IpAddress
    identifier: int
    sequence: int
    round_trip: float
    ttl: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PingTimeout:
    """An echo request was not answered in time; a later answer does not count."""

    address: IpAddress
    identifier: int
    sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreachable:
    """An echo request could not be sent to its target, ``reason`` says why."""

    address: IpAddress
    identifier: int
    sequence: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PingStatistics:
    """The sum of a series of pings; round-trip times in seconds, 0 when none was answered."""

    transmitted: int = 0
    received: int = 0
    minimum: float = 0.0
    average: float = 0.0
    maximum: float = 0.0

    @property
    def loss(self) -> float:
        """The share of requests that were not answered, 0 to 1."""
        return 1 - self.received / self.transmitted if self.transmitted else 0.0

    def __str__(self) -> str:
        text = f"{self.transmitted} packets transmitted, {self.received} received, {self.loss:.0%} loss"
        if self.received:
            times = (self.minimum, self.average, self.maximum)
            text += ", rtt min/avg/max = " + "/".join(f"{time * 1000:.3f}" for time in times) + " ms"
        return text


@dataclass(frozen=True, slots=True, kw_only=True)
class PingSummary:
    """A series of pings has ended."""

    address: IpAddress
    identifier: int
    statistics: PingStatistics


# --- neighbours ---


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighbourLearned:
    """A neighbour became known, or is elsewhere than before."""

    address: IpAddress
    mac: MacAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolutionFailed:
    """Nobody answered for ``address``, or too many addresses were being resolved.

    ``packets`` are those that waited for it; the event is the same without them.
    """

    address: IpAddress
    packets: tuple[bytes, ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """The station at ``mac`` uses our ``address``, or our MAC address when ``address`` is None.

    The latter may also be a loop that brings our own frames back.
    """

    address: IpAddress | None
    mac: MacAddress


# --- what is seen, for who asks to see it ---


@dataclass(frozen=True, slots=True, kw_only=True)
class ArpSeen:
    """An ARP packet came by, for us or not."""

    packet: Arp


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighbourMessageSeen:
    """A neighbour solicitation or advertisement came by."""

    source: IPv6Address
    source_mac: MacAddress
    message: NeighbourMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class EchoRequested:
    """Somebody pinged us and was answered. ``size`` of the ICMP message in bytes."""

    source: IpAddress
    identifier: int
    sequence: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameSeen:
    """A frame came by that means nothing to us. ``size`` in bytes, header included."""

    destination: MacAddress
    source: MacAddress
    ethertype: int
    size: int


PingEvent = PingReply | PingTimeout | Unreachable | PingSummary
ResolutionEvent = NeighbourLearned | ResolutionFailed | Conflict
SightingEvent = ArpSeen | NeighbourMessageSeen | EchoRequested | FrameSeen
Event = PingEvent | ResolutionEvent | SightingEvent


def describe(event: Event) -> str:
    """Say in a line what happened, for people."""
    match event:
        case PingReply() | PingTimeout() | Unreachable() | PingSummary():
            return _describe_ping(event)
        case NeighbourLearned():
            return f"learned {event.address} is at {format_mac(event.mac)}"
        case ResolutionFailed():
            return f"no answer from {event.address} about its MAC address"
        case Conflict():
            return _describe_conflict(event)
        case ArpSeen():
            return _describe_arp(event.packet)
        case NeighbourMessageSeen():
            return _describe_neighbour_message(event)
        case EchoRequested():
            return f"ping from {event.source}: seq={event.sequence} size={event.size}"
        case FrameSeen():
            return (
                f"frame from {format_mac(event.source)} to {format_mac(event.destination)}: "
                f"{_ethertype_name(event.ethertype)}, {event.size} bytes"
            )
    assert_never(event)


def _describe_ping(event: PingEvent) -> str:
    match event:
        case PingReply():
            time = f"{event.round_trip * 1000:.2f} ms"
            return f"reply from {event.address}: seq={event.sequence} time={time}"
        case PingTimeout():
            return f"no reply from {event.address}: seq={event.sequence}"
        case Unreachable():
            return f"{event.address} is unreachable: seq={event.sequence}, {event.reason}"
        case PingSummary():
            return f"ping of {event.address}: {event.statistics}"
    assert_never(event)


def _describe_conflict(event: Conflict) -> str:
    if event.address is None:
        return f"conflict: another station uses our MAC address {format_mac(event.mac)}, or there is a loop"
    return f"conflict: {format_mac(event.mac)} uses our address {event.address}"


def _describe_arp(packet: Arp) -> str:
    sender = f"{packet.sender} ({format_mac(packet.sender_mac)})"
    if packet.sender == packet.target:
        return f"ARP announcement of {sender}"
    if packet.operation == ArpOperation.REQUEST:
        return f"ARP who-has {packet.target} from {sender}"
    if packet.operation == ArpOperation.REPLY:
        return f"ARP {packet.sender} is-at {format_mac(packet.sender_mac)}"
    return f"ARP operation {packet.operation} from {sender}"


def _describe_neighbour_message(event: NeighbourMessageSeen) -> str:
    message, mac = event.message, format_mac(event.source_mac)
    if not isinstance(message, NeighbourSolicitation):
        return f"ND {message.target} is-at {format_mac(message.target_mac or event.source_mac)}"
    if event.source == UNSPECIFIED:
        return f"ND is-anybody {message.target} from {mac}"
    return f"ND who-has {message.target} from {event.source} ({mac})"


def _ethertype_name(ethertype: int) -> str:
    try:
        return EtherType(ethertype).name
    except ValueError:
        return f"EtherType {ethertype:#06x}"
