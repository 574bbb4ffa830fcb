"""The spanning trees of a switch, one for each VLAN, carried out on its bridge.

``Topology`` owns the ``SpanningTree`` instances, tells them which ports there are, gives them the BPDUs that
came in, and does to the VLANs what they say: states first, then flushes, then BPDUs, in the order in which a
tree returns its events. Pure: what is to be transmitted waits in an outbox, what happened goes to the
bridge's events.

A tree exists for every VLAN, also while spanning tree is off; it then has no ports. So what an operator sets
for a VLAN or for a port in it is kept whether spanning tree runs, and while a link is gone.

A VLAN under a tree lets no port forward of which the tree has said nothing: a port may come and go in any
way without a loop before ``sync`` is called.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from vport.errors import FrameError, SettingsError
from vswitch.ports import DiscardReason, PortNumber
from vswitch.spanning_tree import (
    BridgeSettings,
    FlushFdb,
    PortSettings,
    PortStateChanged,
    SpanningTree,
    TransmitBpdu,
    decode_frame,
)
from vswitch.topology_events import NeighbourHeard, NeighbourLost, TreeChanged

if TYPE_CHECKING:
    from vport.ethernet import MacAddress, Vid
    from vswitch.bridge import Bridge
    from vswitch.outbox import Outbox
    from vswitch.ports import Port
    from vswitch.spanning_tree import Change, Event
    from vswitch.vlan import Member, Stale, Vlan

# --- our own constants ---

SILENCE: Final = 12.5  # seconds without a BPDU until a neighbour counts as lost: three hellos of VDE's, 4 s

END_STATION_MODULES: Final = frozenset({"host", "slirp", "pcap"})
"""Kinds of links with one machine behind them, or none, and never a bridge: their ports forward at once."""


@dataclass(slots=True, eq=False)
class Branch:
    """A VLAN with its tree.

    Attributes:
        vlan: the VLAN that the tree is for.
        tree: its spanning tree.
        up: the members that the tree knows, by the number of their port.
        heard: when a BPDU last came in, by port, for neighbours that are not lost.
    """

    vlan: Vlan
    tree: SpanningTree
    up: dict[PortNumber, Member] = field(default_factory=dict)
    heard: dict[PortNumber, float] = field(default_factory=dict)


class Topology:
    """All spanning trees of a switch.

    Args:
        bridge: what they act on.
        outbox: takes the BPDUs.
        mac: the switch's address, part of its bridge id.
        settings: priority and times of all trees.
        now: monotonic seconds.

    Attributes:
        is_enabled: whether spanning tree runs.
        is_wanted: whether it was last said to run; a hub has none all the same, and it does not begin by
            itself when the switch is no hub any more.
    """

    def __init__(
        self, bridge: Bridge, outbox: Outbox, mac: MacAddress, settings: BridgeSettings, now: float
    ) -> None:
        self.is_enabled = False
        self.is_wanted = False
        self._bridge = bridge
        self._outbox = outbox
        self._mac = mac
        self._settings = settings
        self._began = now
        self._branches: dict[Vid, Branch] = {}

    # --- questions ---

    @property
    def mac(self) -> MacAddress:
        """The address in the bridge id."""
        return self._mac

    @property
    def settings(self) -> BridgeSettings:
        """Priority and times of all trees."""
        return self._settings

    def tree(self, vlan: Vlan, now: float) -> SpanningTree:
        """Give the tree of a VLAN."""
        return self._branch(vlan, now).tree

    @property
    def trees(self) -> list[tuple[Vid, SpanningTree]]:
        """The trees of which something may have been said or heard, by VLAN."""
        vlans = self._bridge.vlans
        return [(vid, one.tree) for vid, one in self._branches.items() if vlans.get(vid) is one.vlan]

    def next_deadline(self) -> float | None:
        """The instant at which ``handle_timer`` has something to do; None for never."""
        if not self.is_enabled:
            return None
        deadlines = [branch.tree.next_deadline() for branch in self._branches.values()]
        return min([deadline for deadline in deadlines if deadline is not None], default=None)

    # --- inputs ---

    def enable(self, now: float) -> None:
        """Let spanning tree run.

        Raises:
            SettingsError: the switch is a hub.
        """
        if self._bridge.is_hub:
            raise SettingsError("a hub has no spanning tree: make it a switch first (port/sethub 0)")
        self.is_wanted = True
        if not self.is_enabled:
            self._set_running(is_running=True, now=now)

    def disable(self, now: float) -> None:
        """Let no spanning tree run: all ports forward, BPDUs are relayed."""
        self.is_wanted = False
        if self.is_enabled:
            self._set_running(is_running=False, now=now)

    def sync(self, stale: Stale, now: float) -> None:
        """Look at these ports in these VLANs again: membership, or what is plugged in, has changed."""
        if self.is_enabled and self._bridge.is_hub:
            self._set_running(is_running=False, now=now)
        if not self.is_enabled:
            return
        for vid, port in sorted(stale, key=lambda pair: (pair[0], pair[1].number)):
            vlan = self._bridge.vlans.get(vid)
            if vlan is None:
                self._branches.pop(vid, None)
            else:
                self._sync_port(self._branch(vlan, now), port, now)

    def receive(self, port: Port, frame: bytes, now: float) -> None:
        """Take a BPDU that came in on ``port``."""
        try:
            tagged_vid, bpdu = decode_frame(frame)
        except FrameError:
            port.counters.discards[DiscardReason.BAD_BPDU] += 1
            return
        vid = tagged_vid or port.pvid  # a tag with VID 0 only has a priority
        branch = self._branches.get(vid)
        if branch is None or port.number not in branch.up:
            port.counters.discards[DiscardReason.NOT_MEMBER] += 1
            return
        if not branch.tree.port_settings(port.number).bpdu_filter:
            if port.number not in branch.heard:
                self._bridge.events.put(NeighbourHeard(port=port.number, vid=vid))
            branch.heard[port.number] = now
        self._carry_out(branch, branch.tree.receive(port.number, bpdu, now))

    def handle_timer(self, now: float) -> None:
        """Do what is due in any tree."""
        for branch in self._branches.values():
            deadline = branch.tree.next_deadline()
            if deadline is not None and deadline <= now:
                self._carry_out(branch, branch.tree.handle_timer(now))
                self._forget_silent(branch, now - SILENCE)

    def configure(self, settings: BridgeSettings, now: float) -> None:
        """Change priority and times of all trees."""
        self._settings = settings
        for branch in self._branches.values():
            self._carry_out(branch, branch.tree.configure(settings, now))

    def configure_port(self, vlan: Vlan, number: int, settings: PortSettings, now: float) -> None:
        """Change the settings of a port in a VLAN, whether the port exists or not."""
        branch = self._branch(vlan, now)
        self._carry_out(branch, branch.tree.configure_port(number, settings, now))

    def set_by_operator(
        self, vlan: Vlan, number: int, *, cost: int, priority: int, is_edge: bool, now: float
    ) -> None:
        """Change what an operator sets for a port in a VLAN, whether the port exists or not.

        Args:
            vlan: the VLAN.
            number: of the port.
            cost: of the way to the root through it.
            priority: over other ports to the same neighbour; the lowest wins.
            is_edge: forward, and take no part in the tree.
            now: monotonic seconds.
        """
        port = self._bridge.ports.get(number)
        is_station = port is not None and port.is_active and is_end_station(port)
        settings = replace(
            self.tree(vlan, now).port_settings(number),
            path_cost=cost,
            priority=priority,
            admin_edge=is_edge or is_station,
            bpdu_filter=is_edge,
        )
        self.configure_port(vlan, number, settings, now)

    def set_bonus(self, vlan: Vlan, number: int | None, cost: int, now: float) -> None:
        """Make one port of a VLAN cheaper; None takes the bonus away."""
        branch = self._branch(vlan, now)
        self._carry_out(branch, branch.tree.set_bonus(number, cost, now))

    def check_migration(self, vlan: Vlan, number: int, now: float) -> None:
        """Try rapid spanning tree again on a port where classic spanning tree was heard."""
        branch = self._branch(vlan, now)
        self._carry_out(branch, branch.tree.check_migration(number, now))

    # --- ports that come and go ---

    def _branch(self, vlan: Vlan, now: float) -> Branch:
        branch = self._branches.get(vlan.vid)
        if branch is None or branch.vlan is not vlan:
            # As long as spanning tree is off this switch is the root, and has been since it began.
            since = now if self.is_enabled else self._began
            tree = SpanningTree(self._mac, vlan.vid, self._settings, since)
            branch = self._branches[vlan.vid] = Branch(vlan, tree)
            if self.is_enabled:
                vlan.govern(is_governed=True)
        return branch

    def _set_running(self, *, is_running: bool, now: float) -> None:
        self.is_enabled = self._bridge.has_spanning_tree = is_running
        for vlan in self._bridge.vlans.values():
            if is_running:
                vlan.govern(is_governed=True)
            for member in vlan.members:
                self._sync_port(self._branch(vlan, now), member.port, now)
            if not is_running:
                vlan.govern(is_governed=False)

    def _sync_port(self, branch: Branch, port: Port, now: float) -> None:
        """Tell a tree whether a port has come or gone: those are up that are active, members and not shut."""
        member = branch.vlan.member(port)
        is_wanted = self.is_enabled and member is not None and port.is_active and port.shut is None
        known = branch.up.get(port.number)
        if known is not None and (not is_wanted or known != member):
            self._take_down(branch, port.number, now)
        if is_wanted:
            assert member is not None
            self._adapt(branch, port, now)
            if port.number not in branch.up:
                self._bring_up(branch, member, now)

    def _take_down(self, branch: Branch, number: PortNumber, now: float) -> None:
        del branch.up[number]
        if branch.heard.pop(number, None) is not None:
            self._bridge.events.put(NeighbourLost(port=number, vid=branch.vlan.vid))
        self._carry_out(branch, branch.tree.port_down(number, now))

    def _bring_up(self, branch: Branch, member: Member, now: float) -> None:
        number = member.port.number
        try:
            events = branch.tree.port_up(number, now, is_tagged=member.is_tagged)
        except SettingsError:
            return  # its number has no place in a port id: such a port never forwards under a tree
        branch.up[number] = member
        self._carry_out(branch, events)

    def _adapt(self, branch: Branch, port: Port, now: float) -> None:
        """Let a port's settings follow what is plugged in, and its guards."""
        known = branch.tree.port_settings(port.number)
        settings = replace(
            known,
            point_to_point=len(port.endpoints) == 1,  # several endpoints hear the same BPDU (6.4.3)
            admin_edge=known.bpdu_filter or is_end_station(port),
            restricted_role=port.guards.root,
            restricted_tcn=port.guards.topology,
        )
        if settings != known:
            self._carry_out(branch, branch.tree.configure_port(port.number, settings, now))

    def _forget_silent(self, branch: Branch, heard_before: float) -> None:
        for number in [number for number, heard in branch.heard.items() if heard < heard_before]:
            del branch.heard[number]
            self._bridge.events.put(NeighbourLost(port=number, vid=branch.vlan.vid))

    # --- what the trees want ---

    def _carry_out(self, branch: Branch, events: list[Event]) -> None:
        """Do what a tree says, in its order."""
        for event in events:
            match event:
                case TransmitBpdu():
                    self._outbox.put(branch.up[PortNumber(event.port)].port, event.frame)
                case FlushFdb():
                    self._flush(branch, event.ports)
                case PortStateChanged():
                    self._set_state(branch, event)
                case _:
                    self._tell(branch, event)

    def _set_state(self, branch: Branch, event: PortStateChanged) -> None:
        port = self._bridge.ports.get(PortNumber(event.port))
        if port is None or branch.vlan.member(port) is None:
            return  # it left the VLAN, or the switch: its tree hears of it now
        branch.vlan.set_state(port, event.state)
        self._tell(branch, event)

    def _flush(self, branch: Branch, numbers: tuple[int, ...]) -> None:
        for number in numbers:
            port = self._bridge.ports.get(number)
            if port is not None:
                self._bridge.fdb.flush(vid=branch.vlan.vid, port=port)

    def _tell(self, branch: Branch, change: Change) -> None:
        self._bridge.events.put(TreeChanged(vid=branch.vlan.vid, change=change))


def is_end_station(port: Port) -> bool:
    """Whether no bridge can be behind the port; one that is there all the same is found by its BPDUs."""
    return all(endpoint.link.module in END_STATION_MODULES for endpoint in port.endpoints)
