"""Ports and endpoints: the numbered places of a switch, what is plugged into them, what they counted.

A port comes into existence with its first endpoint or by command and stays, with its VLANs and counters,
until it is removed by command; its number is given to newcomers again once it is empty.
"""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NewType

from vport.errors import RefusedError, SettingsError
from vport.ethernet import Vid
from vswitch.access import AccessRule
from vswitch.guards.mac_limit import MacLimit, settings_in_force
from vswitch.guards.port_guards import PortGuards

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vport.links.base import Link, Sink
    from vport.profile import PortProfile
    from vport.train import Train
    from vswitch.guards.mac_limit import AddressLimit
    from vswitch.guards.port_guards import Shut
    from vswitch.guards.storm_control import StormControl

PortNumber = NewType("PortNumber", int)

DEFAULT_PORT_LIMIT: Final = 1024  # VDE's 32 is soon used up by UDP peers
PORT_LIMIT_MAX: Final = 65535
NO_VLAN: Final = Vid(4095)  # as a PVID: the port is in no VLAN untagged (VDE's convention)


class DiscardReason(StrEnum):
    """Why the relay did not forward a received frame."""

    RUNT = "shorter than an Ethernet header"
    MALFORMED = "headers that contradict each other"
    FOREIGN_SOURCE = "source address that does not belong on this port"
    MULTICAST_SOURCE = "multicast source address"
    ZERO_SOURCE = "zero source address"
    RESERVED_ADDRESS = "reserved group address"
    RESERVED_VID = "reserved VLAN 4095"
    NO_VLAN = "untagged on a port without untagged VLAN"
    NOT_MEMBER = "tagged for a VLAN that the port is not in"
    SAME_PORT = "destination is on the port it came from"
    PORT_DISCARDING = "spanning tree keeps the port from forwarding"
    SHUT = "a guard has shut the port"
    STORM = "storm control"
    MAC_LIMIT = "too many addresses behind the port"
    UNWANTED_BPDU = "BPDU on a port with root guard"
    BAD_BPDU = "malformed BPDU"
    OVERRUN = "more for the switch itself than it looks at"
    PLUGIN = "a plugin took it out"


@dataclass(slots=True)
class PortCounters:
    """What went through a port since it was made or reset; whole frames without FCS.

    Attributes:
        discards: received frames that were not forwarded, by reason.
    """

    frames_in: int = 0
    bytes_in: int = 0
    frames_out: int = 0
    bytes_out: int = 0
    discards: Counter[DiscardReason] = field(default_factory=Counter)


class Endpoint:
    """A link plugged into a port.

    Attributes:
        id: a small number, unique on the switch while the endpoint lives.
        user: whom the link belongs to, where that is known.
    """

    __slots__ = ("id", "link", "port", "user")

    def __init__(self, id: int, port: Port, link: Link, user: str | None) -> None:  # noqa: A002
        self.id = id
        self.port = port
        self.link = link
        self.user = user


class Port:
    """A numbered place on the switch.

    Attributes:
        pvid: VLAN of frames without a tag; ``NO_VLAN`` discards them.
        tagged: VLANs whose frames go in and out with a tag.
        allocatable: whether newcomers that ask for no number may be given this port.
        access: who may plug in.
        description: what the operator calls it.
        keeper: whose links alone may be plugged in, None for anybody's.
        endpoints: the links plugged in, oldest first. All of them get what leaves the port; they do
            not hear each other.
        guards: what the operator wants the port guarded against.
        shut: why a guard keeps it from carrying anything, None while none does.
        storm: limits what it may flood, None for no limit.
        addresses: what the operator says of the addresses that may come in, None for nothing.
        mac_limit: limits them: as the operator says, or as the keeper asks for; None for no limit.
        incoming: where received frames go through before the relay, None for nowhere (``impaired_ports``).
        outgoing: the same for frames on their way to the links.
    """

    __slots__ = (
        "access",
        "addresses",
        "allocatable",
        "counters",
        "description",
        "endpoints",
        "guards",
        "incoming",
        "keeper",
        "mac_limit",
        "number",
        "outgoing",
        "pvid",
        "shut",
        "storm",
        "tagged",
    )

    def __init__(self, number: PortNumber, *, allocatable: bool = True) -> None:
        self.number = number
        self.allocatable = allocatable
        self.access = AccessRule()
        self.description = ""
        self.pvid = Vid(0)
        self.tagged: set[Vid] = set()
        self.keeper: PortProfile | None = None
        self.endpoints: list[Endpoint] = []
        self.counters = PortCounters()
        self.guards = PortGuards()
        self.shut: Shut | None = None
        self.storm: StormControl | None = None
        self.addresses: AddressLimit | None = None
        self.mac_limit: MacLimit | None = None
        self.incoming: Sink | None = None
        self.outgoing: Sink | None = None

    @property
    def is_active(self) -> bool:
        """Whether anything is plugged in."""
        return bool(self.endpoints)

    @property
    def user(self) -> str | None:
        """Whom what is plugged in belongs to, None where nobody knows."""
        return next((endpoint.user for endpoint in self.endpoints if endpoint.user is not None), None)

    def endpoint(self, number: int) -> Endpoint | None:
        """Find what is plugged in here by its ID."""
        return next((endpoint for endpoint in self.endpoints if endpoint.id == number), None)

    def limit_addresses(self, said: AddressLimit | None) -> None:
        """Limit the addresses that may come in as the operator says, or as the keeper asks for."""
        self.addresses = said
        settings = settings_in_force(self.keeper, said)
        self.mac_limit = None if settings is None else MacLimit(settings)

    def keep_for(self, keeper: PortProfile | None) -> None:
        """Keep the port for whom a profile describes, or for nobody; what the operator says holds."""
        self.keeper = keeper
        self.limit_addresses(self.addresses)

    def transmit(self, train: Train, unflushed: dict[object, Link | Sink]) -> None:
        """Count ``train`` and hand it to every endpoint's link.

        Args:
            train: lent until the links' ``flush``.
            unflushed: takes what is to be flushed, one for each outlet.
        """
        counters = self.counters
        counters.frames_out += train.count
        counters.bytes_out += train.wire_bytes
        if self.outgoing is not None:
            self.outgoing.deliver(train)
            unflushed[self] = self.outgoing
            return
        for endpoint in self.endpoints:
            link = endpoint.link
            link.transmit(train)
            unflushed[link.outlet or link] = link

    def discard(self, reason: DiscardReason, train: Train) -> None:
        """Count the frames of ``train`` as received and not forwarded."""
        self.counters.discards[reason] += train.count

    def __repr__(self) -> str:
        return f"<port {self.number}>"


class PortTable:
    """The ports of a switch by number, 1 to ``limit``; finds the lowest free number in O(log n)."""

    def __init__(self, limit: int = DEFAULT_PORT_LIMIT) -> None:
        self._ports: dict[PortNumber, Port] = {}
        self._vacant: list[int] = []  # heap of numbers that may be free again
        self._is_vacant: set[int] = set()  # the same numbers, so that none stands there twice
        self._fresh = 1  # every number from here on was never looked at
        self._lowest_unused = 1  # every number below has a port
        self._limit = check_port_limit(limit)

    @property
    def limit(self) -> int:
        """The highest number that a port can have."""
        return self._limit

    def change_limit(self, limit: int) -> None:
        """Allow more ports, or fewer.

        Raises:
            SettingsError: no switch can have so many, or a port with a higher number exists; nothing
                was changed.
        """
        check_port_limit(limit)
        highest = max(self._ports, default=PortNumber(0))
        if limit < highest:
            raise SettingsError(f"port {highest} exists, so there cannot be only {limit}")
        self._limit = limit
        self._vacant.clear()
        self._is_vacant.clear()
        self._fresh = 1

    def __iter__(self) -> Iterator[Port]:
        """Give the ports in order of their numbers."""
        return iter([self._ports[number] for number in sorted(self._ports)])

    def __len__(self) -> int:
        return len(self._ports)

    def __contains__(self, number: int) -> bool:
        return number in self._ports

    def get(self, number: int) -> Port | None:
        """Give the port of that number, if it exists."""
        return self._ports.get(PortNumber(number))

    def is_number(self, number: int) -> bool:
        """Whether a port of that number may exist."""
        return 1 <= number <= self.limit

    def create(self, number: int, *, allocatable: bool = True) -> Port:
        """Make a port. The number must be free and within the limit; the caller has checked that."""
        assert self.is_number(number)
        assert number not in self
        port = Port(PortNumber(number), allocatable=allocatable)
        self._ports[port.number] = port
        return port

    def remove(self, port: Port) -> None:
        """Delete a port that nothing is plugged into."""
        assert not port.endpoints
        del self._ports[port.number]
        self._lowest_unused = min(self._lowest_unused, port.number)
        self.vacate(port)

    def vacate(self, port: Port) -> None:
        """Note that the number of ``port`` may be free again."""
        if port.number < self._fresh and port.number not in self._is_vacant:
            self._is_vacant.add(port.number)
            heapq.heappush(self._vacant, port.number)

    def free_number(self) -> PortNumber:
        """Find the lowest number whose port does not exist or is empty and allocatable.

        The number is taken off the list: the caller plugs something in, or calls ``vacate``.

        Raises:
            RefusedError: there is none.
        """
        while self._vacant:
            number = heapq.heappop(self._vacant)
            self._is_vacant.discard(number)
            if self._is_free(number):
                return PortNumber(number)
        while self._fresh <= self.limit:
            number = self._fresh
            self._fresh += 1
            if self._is_free(number):
                return PortNumber(number)
        raise RefusedError(f"all {self.limit} ports are in use")

    def unused_number(self) -> PortNumber:
        """Find the lowest number whose port does not exist.

        Raises:
            RefusedError: there is none.
        """
        while self._lowest_unused in self:
            self._lowest_unused += 1
        if self._lowest_unused > self.limit:
            raise RefusedError(f"all {self.limit} ports exist")
        return PortNumber(self._lowest_unused)

    def _is_free(self, number: int) -> bool:
        port = self._ports.get(PortNumber(number))
        if port is None:
            return self.is_number(number)
        return port.allocatable and not port.endpoints


def check_port_limit(limit: int) -> int:
    """Give ``limit`` back if a switch can have so many ports.

    Raises:
        SettingsError: it cannot.
    """
    if not 1 <= limit <= PORT_LIMIT_MAX:
        raise SettingsError(f"number of ports {limit} is not from 1 to {PORT_LIMIT_MAX}")
    return limit
