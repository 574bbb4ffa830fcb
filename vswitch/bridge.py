"""The bridge: which frames that come in on a port leave on which ports. No clock, no sockets.

``Bridge.receive`` walks a train through the relay's steps in the standard's order: split into runs that share
one header, classify (ingress), learn, look up, choose ports and forms (egress) (802.1Q-2018 8.6).

What passes by default is what a Linux bridge passes: a switch without VLANs is transparent to tags, the
reserved group addresses are not relayed (BPDUs are, while spanning tree is off), and frames whose source
is a group or zero are discarded.
"""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from vport.errors import RefusedError
from vport.ethernet import (
    BRIDGE_GROUP_ADDRESS,
    HEADER_SIZE,
    RESERVED_GROUP_PREFIX,
    TAG_SIZE,
    EtherType,
    MacAddress,
    Vid,
    unpack_addresses,
)
from vport.slices import GROUP_BIT, SOURCE
from vport.train import SLICES, runs
from vswitch.access import refusal
from vswitch.arrivals import Arrivals
from vswitch.events import (
    AccessRefused,
    EndpointAdded,
    EndpointRemoved,
    EventQueue,
    PortAdded,
    PortRemoved,
)
from vswitch.fdb import Fdb, FdbSettings
from vswitch.flood_limit import calm
from vswitch.guards.loop_detection import PROBE_ADDRESS
from vswitch.guards.mac_limit import MacLimit, limit_of
from vswitch.guards.port_guards import Shut, ShutReason
from vswitch.ports import (
    DEFAULT_PORT_LIMIT,
    NO_VLAN,
    DiscardReason,
    Endpoint,
    Port,
    PortTable,
)
from vswitch.topology_events import AddressLimitReached, OpenCause, PortOpened, PortShutDown
from vswitch.vlan import DEFAULT_VID, PortState, Stale, Vlan, form

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from vport.links.base import Link
    from vport.profile import PortProfile
    from vport.train import Train
    from vswitch.guards.loop_detection import LoopDetector
    from vswitch.guards.port_guards import PortGuards

Egress = list[tuple[Port, "Train"]]

_unpack_tci: Final = struct.Struct("!H").unpack_from
_VID_MASK: Final = 0x0FFF
_ZERO: Final = bytes(6)
_RESERVED: Final = frozenset(RESERVED_GROUP_PREFIX + bytes((last,)) for last in range(16))
_SPECIAL: Final = _RESERVED | {PROBE_ADDRESS}


class Bridge:
    """A switch's forwarding core: ports, VLANs, address table.

    Args:
        fdb: how the address table behaves.
        port_limit: how many ports there can be.
        groups_of: gives the groups of a user, for the ports' access rules.

    Attributes:
        events: what happened, for the shell to drain.
        is_hub: every frame goes to all other ports, unseen and unlearned.
        has_spanning_tree: BPDUs are for the switch itself and not relayed.
        loops: knows the switch's own probes when they come back, None where none are sent.
        arrivals: frames for the switch itself.
        stale: ports in VLANs whose membership, or what is plugged in, changed since spanning tree and
            guards last looked; ``NO_VLAN`` stands for the port itself.
        storms: ports that storm control took frames from since it last reported.
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
        self.has_spanning_tree = False
        self.loops: LoopDetector | None = None
        self.arrivals = Arrivals()
        self.stale: Stale = set()
        self.storms: set[Port] = set()
        self.create_vlan(DEFAULT_VID)
        self.is_hub = False
        self._active_ports: list[Port] | None = None
        self._owners: dict[bytes, Port] = {}  # stations that we present ourselves, by MAC address
        self._next_endpoint = 1
        self._endpoints: dict[int, Endpoint] = {}

    # --- the relay ---

    def receive(self, port: Port, train: Train, now: float) -> Egress:
        """Relay a train that came in on ``port``.

        Args:
            port: where it came in.
            train: borrowed; what is returned may be views of its bytes.
            now: in seconds, for the address table.

        Returns:
            what is to be transmitted where, in order; a train may stand there for several ports.
        """
        port.counters.frames_in += train.count
        port.counters.bytes_in += train.wire_bytes
        out: Egress = []
        if port.shut is not None:
            port.discard(DiscardReason.SHUT, train)
        elif self.is_hub:
            self._repeat(port, train, now, out)
        elif len(train.data) <= train.frame_size or train.is_whole:
            self._relay(port, train, now, out)
        else:
            for run in runs(train):
                self._relay(port, run, now, out)
        return out

    def _repeat(self, port: Port, train: Train, now: float, out: Egress) -> None:
        """Do what a hub does: send to every other active port. Guards work in a hub, too."""
        if len(train.data) < HEADER_SIZE:
            port.discard(DiscardReason.RUNT, train)
            return
        if train.data[SOURCE] & GROUP_BIT and train.offload is not SLICES:
            port.discard(DiscardReason.MULTICAST_SOURCE, train)
            return
        destination = bytes(train.data[:6])
        if destination in _SPECIAL and self._is_for_us(port, destination, train):
            return
        admitted: Train | None = train
        if port.storm is not None and destination[0] & 1:
            admitted = calm(port, destination, train, now, self.storms)
        if admitted is not None:
            out += [
                (other, admitted) for other in self.active_ports if other is not port and other.shut is None
            ]

    def _relay(self, port: Port, train: Train, now: float, out: Egress) -> None:
        """Relay a run: frames that share their header."""
        if min(train.frame_size, len(train.data)) < HEADER_SIZE:
            port.discard(DiscardReason.RUNT, train)
            return
        destination, source, ethertype = unpack_addresses(train.data)
        if train.offload is SLICES:
            source = MacAddress(bytes((source[0] & ~GROUP_BIT,)) + source[1:])
        if source[0] & 1 or source == _ZERO:
            port.discard(
                DiscardReason.MULTICAST_SOURCE if source[0] & 1 else DiscardReason.ZERO_SOURCE, train
            )
            return
        if destination in _SPECIAL and self._stays_here(port, destination, train):
            return
        classified = self._classify(port, train, ethertype)
        if classified is None:
            return
        vlan, tci = classified
        if vlan.states is not None and vlan.state(port) is not PortState.FORWARDING:
            is_learning = vlan.state(port) is PortState.LEARNING
            if is_learning and not self._learn(vlan, destination, source, port, train, now):
                return
            port.discard(DiscardReason.PORT_DISCARDING, train)
            return
        if not self._learn(vlan, destination, source, port, train, now):
            return
        target = vlan.table.get(destination)
        if target is None:
            admitted = train if port.storm is None else calm(port, destination, train, now, self.storms)
            if admitted is not None:
                self._flood(port, vlan, admitted, tci, out)
        elif target.port is port:
            port.discard(DiscardReason.SAME_PORT, train)
        else:
            self._unicast(target.port, vlan, train, tci, out)

    def _learn(
        self, vlan: Vlan, destination: bytes, source: bytes, port: Port, train: Train, now: float
    ) -> bool:
        """Learn where ``source`` is (802.1Q-2018 8.7); the usual case, nothing new, costs one look-up.

        Tells whether the frames may pass. Those of an address that belongs to another port, or is beyond
        the port's limit, may not, and are counted. On a port with a limit nor may those that the table does
        not take for the port's: who is not counted would get round it, in the name of others' stations.
        """
        entry = vlan.table.get(source)
        if entry is not None and entry.port is port:
            entry.last_seen = now
            return True
        if self._owners.get(source, port) is not port:
            port.discard(DiscardReason.FOREIGN_SOURCE, train)
            return False
        if port.mac_limit is not None:
            if not port.mac_limit.allows(source):
                port.discard(DiscardReason.FOREIGN_SOURCE, train)
                return False
            if not self._has_room(port, vlan.vid, MacAddress(source), train, now):
                port.discard(DiscardReason.MAC_LIMIT, train)
                return False
        target = vlan.table.get(destination)
        proven = destination == source or (target is not None and target.port is not port)
        self.fdb.learn(vlan.vid, MacAddress(source), port, now, proven=proven)
        if port.mac_limit is not None and (
            (entry := vlan.table.get(source)) is None or entry.port is not port
        ):
            port.discard(DiscardReason.FOREIGN_SOURCE, train)
            return False
        return True

    def _has_room(self, port: Port, vid: Vid, mac: MacAddress, train: Train, now: float) -> bool:
        """Whether one more address may be learned on ``port``, and do what its limit says where not."""
        assert port.mac_limit is not None
        learned = self.fdb.count_stations(port, besides=mac) if port.tagged else self.fdb.count(port)
        is_admitted, exceeded = port.mac_limit.admit(learned, vid, mac, train.count, now)
        if exceeded is not None:
            self.events.put(AddressLimitReached(port=port.number, exceeded=exceeded))
            if exceeded.is_shut:
                detail = f"more than {exceeded.limit} addresses"
                recover_at = exceeded.recover_at
                self.shut_port(
                    port, Shut(reason=ShutReason.MAC_LIMIT, detail=detail, since=now, recover_at=recover_at)
                )
        return is_admitted

    def _stays_here(self, port: Port, destination: bytes, train: Train) -> bool:
        """Whether a frame to one of the special addresses goes no further (802.1Q-2018 8.6.3).

        BPDUs pass while no spanning tree runs here, so that the neighbours can see each other through us.
        """
        if destination in _RESERVED and destination != BRIDGE_GROUP_ADDRESS:
            port.discard(DiscardReason.RESERVED_ADDRESS, train)
            return True
        return self._is_for_us(port, destination, train)

    def _is_for_us(self, port: Port, destination: bytes, train: Train) -> bool:
        """Set BPDUs aside that spanning tree or a guard must see, and probes of ours that came back."""
        if destination == PROBE_ADDRESS:
            is_ours = self.loops is not None and self.loops.is_own(train.data)
        else:
            is_ours = destination == BRIDGE_GROUP_ADDRESS and (
                self.has_spanning_tree or port.guards.hears_bpdus
            )
        if is_ours and (lost := self.arrivals.put(port, train)):
            port.counters.discards[DiscardReason.OVERRUN] += lost
        return is_ours

    def _classify(self, port: Port, train: Train, ethertype: int) -> tuple[Vlan, int | None] | None:
        """Find the VLAN of a run and the tag that counts; None when it was discarded (802.1Q-2018 6.9).

        A tag means nothing to a port that is only in VLAN 0, unless its VLAN exists here: such frames pass
        as they are, as through a bridge that knows no VLANs.
        """
        if ethertype == EtherType.VLAN and len(train.data) >= HEADER_SIZE + TAG_SIZE:
            (tci,) = _unpack_tci(train.data, HEADER_SIZE)
            vid = Vid(tci & _VID_MASK)
            if vid == NO_VLAN:
                port.discard(DiscardReason.RESERVED_VID, train)
                return None
            if (vid != DEFAULT_VID or DEFAULT_VID in port.tagged) and vid in self.vlans:
                return self._classify_member(port, train, self.vlans[vid], tci)
            if vid != DEFAULT_VID and (port.pvid != DEFAULT_VID or port.tagged):
                port.discard(DiscardReason.NOT_MEMBER, train)
                return None
            if port.pvid not in {DEFAULT_VID, NO_VLAN}:
                return self.vlans[port.pvid], tci
        if port.pvid == NO_VLAN:
            port.discard(DiscardReason.NO_VLAN, train)
            return None
        return self.vlans[port.pvid], None

    @staticmethod
    def _classify_member(port: Port, train: Train, vlan: Vlan, tci: int) -> tuple[Vlan, int] | None:
        """Filter at ingress: the port must be a member of the VLAN (802.1Q-2018 8.6.2)."""
        if vlan.member(port) is None:
            port.discard(DiscardReason.NOT_MEMBER, train)
            return None
        return vlan, tci

    @staticmethod
    def _flood(port: Port, vlan: Vlan, train: Train, tci: int | None, out: Egress) -> None:
        for is_tagged, ports in ((False, vlan.egress.untagged), (True, vlan.egress.tagged)):
            if ports and ports != [port]:
                leaving = form(train, vlan.vid, tci, is_tagged=is_tagged)
                out += [(other, leaving) for other in ports if other is not port]

    @staticmethod
    def _unicast(port: Port, vlan: Vlan, train: Train, tci: int | None, out: Egress) -> None:
        member = vlan.member(port)
        if member is None or not port.endpoints or port.shut is not None:
            return
        if vlan.state(port) is PortState.FORWARDING:
            out.append((port, form(train, vlan.vid, tci, is_tagged=member.is_tagged)))

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
        port = self.ports.get(profile.number) if profile.number is not None else None
        if port is None:
            port = self.create_port(profile.number, allocatable=False)
        elif port.keeper is not None or port.endpoints:
            raise RefusedError(f"port {port.number} is another's")
        port.allocatable = False
        for vid in {profile.pvid, *profile.tagged} - self.vlans.keys():
            self.create_vlan(vid)
        self.set_pvid(port, profile.pvid)
        for vid in profile.tagged:
            self.add_tagged(port, vid)
        limit = limit_of(profile)
        if limit is not None:
            port.mac_limit = MacLimit(limit)
        if profile.station is not None:
            self._owners[profile.station] = port
        port.keeper = replace(profile, number=port.number)
        return port

    def release(self, port: Port) -> None:
        """Make a port that was reserved anybody's; nothing must be plugged in."""
        assert not port.endpoints
        if port.keeper is not None and port.keeper.station is not None:
            del self._owners[port.keeper.station]
        if port.keeper is not None and limit_of(port.keeper) is not None:
            port.mac_limit = None
        port.keeper = None
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
