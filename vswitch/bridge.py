"""The bridge: which frames that come in on a port leave on which ports. No clock, no sockets.

``Bridge.receive`` walks a train through the relay's steps in the standard's order: split into runs that share
one header, classify (ingress), learn, look up, choose ports and forms (egress) (802.1Q-2018 8.6).

What passes by default is what a Linux bridge passes: a switch without VLANs is transparent to tags, the
reserved group addresses are not relayed (BPDUs are, while spanning tree is off), and frames whose source
is a group or zero are discarded.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

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
from vswitch.arrivals import Arrivals
from vswitch.chassis import Chassis
from vswitch.flood_limit import calm
from vswitch.guards.loop_detection import PROBE_ADDRESS
from vswitch.guards.port_guards import Shut, ShutReason
from vswitch.ports import DEFAULT_PORT_LIMIT, NO_VLAN, DiscardReason, Port
from vswitch.topology_events import AddressLimitReached
from vswitch.vlan import DEFAULT_VID, PortState, Vlan, form

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from vport.train import Train
    from vswitch.fdb import FdbSettings
    from vswitch.guards.loop_detection import LoopDetector

Egress = list[tuple[Port, "Train"]]

_unpack_tci: Final = struct.Struct("!H").unpack_from
_VID_MASK: Final = 0x0FFF
_ZERO: Final = bytes(6)
_RESERVED: Final = frozenset(RESERVED_GROUP_PREFIX + bytes((last,)) for last in range(16))
_SPECIAL: Final = _RESERVED | {PROBE_ADDRESS}


class Bridge(Chassis):
    """A switch's forwarding core.

    Args:
        fdb: how the address table behaves.
        port_limit: how many ports there can be.
        groups_of: gives the groups of a user, for the ports' access rules.

    Attributes:
        is_hub: every frame goes to all other ports, unseen and unlearned.
        loops: knows the switch's own probes when they come back, None where none are sent.
        arrivals: frames for the switch itself.
        storms: ports that storm control took frames from since it last reported.
    """

    def __init__(
        self,
        fdb: FdbSettings | None = None,
        port_limit: int = DEFAULT_PORT_LIMIT,
        groups_of: Callable[[str], Collection[str]] = lambda user: (),
    ) -> None:
        super().__init__(fdb, port_limit, groups_of)
        self.is_hub = False
        self.loops: LoopDetector | None = None
        self.arrivals = Arrivals()
        self.storms: set[Port] = set()

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
        elif train.is_run or len(train.data) <= train.frame_size or train.is_whole:
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
        if self.owners.get(source, port) is not port:
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
