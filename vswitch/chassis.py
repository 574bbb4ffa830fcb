"""The chassis of a switch: ports, what is plugged into them, VLANs, the address table. No clock, no sockets.

What is done here is done by commands, listeners and guards; what the relay does with frames is in ``bridge``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from vport.errors import RefusedError
from vswitch.access import refusal
from vswitch.events import (
    AccessRefused,
    EndpointAdded,
    EndpointRemoved,
    EventQueue,
    PortAdded,
    PortRemoved,
)
from vswitch.fdb import Fdb, FdbSettings
from vswitch.ports import DEFAULT_PORT_LIMIT, NO_VLAN, Endpoint, Port, PortTable
from vswitch.topology_events import OpenCause, PortOpened, PortShutDown
from vswitch.vlan import DEFAULT_VID, Stale, Vlan

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from vport.ethernet import Vid
    from vport.links.base import Link
    from vport.profile import PortProfile
    from vswitch.guards.port_guards import PortGuards, Shut


class Chassis:
    """What a switch consists of.

    Args:
        fdb: how the address table behaves.
        port_limit: how many ports there can be.
        groups_of: gives the groups of a user, for the ports' access rules.

    Attributes:
        events: what happened, for the shell to drain.
        fdb: which station is where.
        ports: by number.
        vlans: by VLAN ID; VLAN 0 is always there.
        owners: the port of each station that we present ourselves, by MAC address.
        has_spanning_tree: BPDUs are for the switch itself and not relayed.
        stale: ports in VLANs whose membership, or what is plugged in, changed since spanning tree and
            guards last looked; ``NO_VLAN`` stands for the port itself.
    """

    def __init__(
        self,
        fdb: FdbSettings | None = None,
        port_limit: int = DEFAULT_PORT_LIMIT,
        groups_of: Callable[[str], Collection[str]] = lambda user: (),
    ) -> None:
        self._groups_of = groups_of
        self.events = EventQueue()
        self.fdb = Fdb(fdb or FdbSettings(), self.events)
        self.ports = PortTable(port_limit)
        self.vlans: dict[Vid, Vlan] = {}
        self.owners: dict[bytes, Port] = {}
        self.has_spanning_tree = False
        self.stale: Stale = set()
        self.create_vlan(DEFAULT_VID)
        self._active_ports: list[Port] | None = None
        self._next_endpoint = 1
        self._endpoints: dict[int, Endpoint] = {}

    # --- ports and endpoints ---

    def create_port(self, number: int | None = None, *, allocatable: bool = True) -> Port:
        """Make a port, untagged in VLAN 0: of that number, or of the lowest free one.

        Raises:
            RefusedError: the number is out of range or taken, or no port is free.
        """
        if number is None:
            number = self.ports.free_number()
            existing = self.ports.get(number)
            if existing is not None:
                return existing
        if not self.ports.is_number(number):
            raise RefusedError(f"there is no port {number}: ports are numbered 1 to {self.ports.limit}")
        if number in self.ports:
            raise RefusedError(f"port {number} exists")
        port = self.ports.create(number, allocatable=allocatable)
        self.vlans[DEFAULT_VID].add(port, is_tagged=False)
        self.events.put(PortAdded(port=port.number))
        return port

    def reserve(self, profile: PortProfile) -> Port:
        """Make the port that ``profile`` describes, or set up an existing one; VLANs come with it.

        Raises:
            RefusedError: the port is in use or kept for another, or none is free.
        """
        number = self._number_to_keep() if profile.number is None else profile.number
        port = self.ports.get(number)
        if port is None:
            port = self.create_port(number, allocatable=False)
        elif port.keeper is not None or port.endpoints:
            raise RefusedError(f"port {port.number} is another's")
        port.allocatable = False
        for vid in {profile.pvid, *profile.tagged} - self.vlans.keys():
            self.create_vlan(vid)
        for vid in port.tagged.difference(profile.tagged):
            self.remove_tagged(port, vid)
        self.set_pvid(port, profile.pvid)
        for vid in profile.tagged:
            self.add_tagged(port, vid)
        if profile.station is not None:
            self.owners[profile.station] = port
        port.keep_for(replace(profile, number=port.number))
        return port

    def _number_to_keep(self) -> int:
        """Find a number of which nothing is said; where all ports exist, one that anybody may be given."""
        try:
            return self.ports.unused_number()
        except RefusedError:
            return self.create_port().number

    def release(self, port: Port) -> None:
        """Make a port that was reserved anybody's; nothing must be plugged in."""
        assert not port.endpoints
        if port.keeper is not None and port.keeper.station is not None:
            del self.owners[port.keeper.station]
        port.keep_for(None)
        self.set_pvid(port, DEFAULT_VID)
        for vid in list(port.tagged):
            self.remove_tagged(port, vid)
        port.allocatable = True
        self.ports.vacate(port)

    def present(self, port: Port, now: float) -> None:
        """Enter the station that a reserved port presents: it neither ages nor moves."""
        if port.keeper is not None and port.keeper.station is not None:
            self.fdb.add_static(port.pvid, port.keeper.station, port, now)

    def remove_port(self, port: Port) -> None:
        """Delete a port that nothing is plugged into, with its VLANs and all entries of its stations."""
        self.fdb.forget_port(port)
        for vid in {port.pvid, *port.tagged} - {NO_VLAN}:
            self.vlans[vid].remove(port)
        self.ports.remove(port)

    def set_allocatable(self, port: Port, allocatable: bool) -> None:
        """Say whether newcomers that ask for no number may be given this port."""
        port.allocatable = allocatable
        self.ports.vacate(port)

    def plug(
        self, link: Link, number: int | None = None, *, user: str | None = None, by_operator: bool = False
    ) -> Endpoint:
        """Plug a link into the port of that number, made if needed, or into the lowest free one.

        Args:
            link: what to plug in.
            number: the port that it asks for.
            user: whom it belongs to, where that is known.
            by_operator: whoever runs the switch wants it there: no access rule is asked.

        Raises:
            RefusedError: the number is out of range, no port is free, or ``user`` may not use it.
        """
        groups: Collection[str] | None = None
        if not by_operator:
            groups = () if user is None else self._groups_of(user)
        if number is None:
            port = self._free_port(link, user, groups)
        else:
            existing = self.ports.get(number)
            port = self.create_port(number) if existing is None else existing
            reason = self._refusal(port, user, groups)
            if port.keeper is not None and port.keeper != link.profile:
                reason = "it is kept for another"
            if reason is not None:
                raise self._refused(port, link, reason, f"port {number}: {reason}")
        endpoint = Endpoint(self._free_endpoint_id(), port, link, user)
        self._endpoints[endpoint.id] = endpoint
        port.endpoints.append(endpoint)
        self._activity_changed(port)
        self.events.put(EndpointAdded(port=port.number, endpoint=endpoint.id, description=link.description))
        return endpoint

    def _free_port(self, link: Link, user: str | None, groups: Collection[str] | None) -> Port:
        """Find the lowest free port that ``user`` may use."""
        passed_over: list[Port] = []
        reason: str | None = None
        try:
            while True:
                port = self.create_port()
                reason = self._refusal(port, user, groups)
                if reason is None:
                    return port
                passed_over.append(port)
        except RefusedError:
            if not passed_over:
                raise
            port = passed_over[-1]
            text = f"no port is free that it may use; port {port.number}: {reason}"
            raise self._refused(port, link, reason or "", text) from None
        finally:
            for port in passed_over:
                self.ports.vacate(port)

    @staticmethod
    def _refusal(port: Port, user: str | None, groups: Collection[str] | None) -> str | None:
        """Say why ``user`` may not plug into ``port``; ``groups`` is None where nobody asks."""
        if groups is None:
            return None
        return refusal(port.access, [endpoint.user for endpoint in port.endpoints], user, groups)

    def _refused(self, port: Port, link: Link, reason: str, text: str) -> RefusedError:
        """Tell that access was refused, and make the error that says so."""
        self.events.put(AccessRefused(port=port.number, description=link.description, reason=reason))
        return RefusedError(text)

    def unplug(self, endpoint: Endpoint, reason: str) -> None:
        """Take a link out of its port. With the last one, what was learned there is forgotten."""
        port = endpoint.port
        port.endpoints.remove(endpoint)
        del self._endpoints[endpoint.id]
        self.events.put(
            EndpointRemoved(
                port=port.number,
                endpoint=endpoint.id,
                description=endpoint.link.description,
                reason=reason,
            )
        )
        self._activity_changed(port)
        if not port.endpoints:
            self.events.put(PortRemoved(port=port.number))
            self.fdb.flush(port=port)
            if port.keeper is not None and port.keeper.station is not None:
                self.fdb.delete(port.pvid, port.keeper.station)
            self.open_port(port, OpenCause.LINK_LEFT)
            self.ports.vacate(port)

    def _free_endpoint_id(self) -> int:
        """Count up to 9999, four digits as in ``port/print``, then start over with what is free."""
        while True:
            candidate = self._next_endpoint
            self._next_endpoint = candidate % max(9999, 2 * len(self._endpoints)) + 1
            if candidate not in self._endpoints:
                return candidate

    @property
    def active_ports(self) -> list[Port]:
        """The ports with something plugged in, by number. Not to be changed."""
        if self._active_ports is None:
            self._active_ports = [port for port in self.ports if port.endpoints]
        return self._active_ports

    def _activity_changed(self, port: Port) -> None:
        self._active_ports = None
        for vid in {DEFAULT_VID, port.pvid, *port.tagged} - {NO_VLAN}:
            self.vlans[vid].invalidate(port)
        self.stale.add((NO_VLAN, port))

    # --- guards ---

    def shut_port(self, port: Port, shut: Shut) -> None:
        """Let a port carry nothing, both ways, and forget what was learned on it."""
        port.shut = shut
        self.fdb.flush(port=port)
        self._activity_changed(port)
        self.events.put(PortShutDown(port=port.number, shut=shut))

    def open_port(self, port: Port, cause: OpenCause) -> None:
        """Let a port that a guard shut work again; no effect on any other."""
        if port.shut is None:
            return
        reason, port.shut = port.shut.reason, None
        if port.mac_limit is not None:
            port.mac_limit.link_returned()
        self._activity_changed(port)
        self.events.put(PortOpened(port=port.number, reason=reason, cause=cause))

    def set_guards(self, port: Port, guards: PortGuards) -> None:
        """Change what a port is guarded against."""
        port.guards = guards
        self._activity_changed(port)

    # --- VLANs ---

    def create_vlan(self, vid: Vid) -> Vlan:
        """Make a VLAN without members; the caller has checked that it does not exist."""
        vlan = self.vlans[vid] = Vlan(vid, self.fdb.table(vid), self.stale)
        if self.has_spanning_tree:
            vlan.govern(is_governed=True)
        return vlan

    def remove_vlan(self, vid: Vid) -> None:
        """Delete a VLAN other than 0 that has no members, with what was configured in it."""
        assert vid != DEFAULT_VID
        assert not self.vlans[vid].members
        self.fdb.forget_vlan(vid)
        del self.vlans[vid]

    def set_pvid(self, port: Port, vid: Vid) -> None:
        """Make ``port`` an untagged member of an existing VLAN, or with ``NO_VLAN`` of none.

        A tagged membership of that VLAN becomes the untagged one; what was learned on the port is
        forgotten.
        """
        if port.pvid != NO_VLAN:
            self.vlans[port.pvid].remove(port)
        self.fdb.flush(port=port)
        port.pvid = vid
        port.tagged.discard(vid)
        if vid != NO_VLAN:
            self.vlans[vid].add(port, is_tagged=False)

    def add_tagged(self, port: Port, vid: Vid) -> None:
        """Make ``port`` a tagged member of an existing VLAN, unless it is its untagged one."""
        if vid != port.pvid:
            port.tagged.add(vid)
            self.vlans[vid].add(port, is_tagged=True)

    def remove_tagged(self, port: Port, vid: Vid) -> None:
        """End a tagged membership, if there is one, and forget what was learned through it."""
        if vid in port.tagged:
            port.tagged.discard(vid)
            self.vlans[vid].remove(port)
            self.fdb.flush(vid=vid, port=port)
