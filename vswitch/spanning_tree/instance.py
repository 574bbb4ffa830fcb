"""One spanning tree instance: what the bridge asks, tells and is told.

Every input takes ``now`` (monotonic seconds) and returns events in the order in which they must be carried
out: ports that close, then ports that open, then what follows from it, BPDUs last. An agreement therefore
never leaves before the ports that it speaks for are shut.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vport.errors import SettingsError
from vswitch.spanning_tree.bpdu import Bpdu, ConfigBpdu
from vswitch.spanning_tree.bridge_detection import begin_detection
from vswitch.spanning_tree.events import (
    BlockReason,
    Event,
    FlushFdb,
    PortRoleChanged,
    PortStateChanged,
    RootChanged,
    TopologyChanged,
)
from vswitch.spanning_tree.port_transmit import PORT_TRANSMIT
from vswitch.spanning_tree.runner import PORT_MACHINES, run_machines, transmit, update_deadlines
from vswitch.spanning_tree.settings import MIGRATE_TIME, BridgeSettings, PortSettings
from vswitch.spanning_tree.variables import Port, Tree, make_port
from vswitch.spanning_tree.view import InstanceView, PortView, block_reason, view_instance, view_port
from vswitch.vlan import PortState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vport.ethernet import MacAddress, Vid
    from vswitch.spanning_tree.priority import BridgeId

# --- our own constants ---

FLUSH_INTERVAL: Final = 1.0  # seconds between flushes that a neighbour asks for, below its hello time
RECEIVE_INTERVAL: Final = (
    0.01  # a port's BPDUs per second are bounded: 100, fifty times what one neighbour needs
)
RECEIVE_BURST: Final = 50  # what may come at once, as on a shared link after a change


class SpanningTree:
    """Rapid spanning tree for one VLAN (802.1D-2004 clause 17).

    Args:
        mac: address of the bridge, part of its id and source of its BPDUs.
        vid: the VLAN. Ports that are tagged members get tagged BPDUs.
        settings: priority and times.
        now: monotonic seconds.
    """

    def __init__(self, mac: MacAddress, vid: Vid, settings: BridgeSettings, now: float) -> None:
        self._tree = Tree(mac, vid, settings, now)
        self._states: dict[int, PortState] = {}
        self._port_settings: dict[int, PortSettings] = {}
        self._deadline: float | None = None
        self._reported_root: tuple[BridgeId, int | None] = (self._tree.bridge_id, None)
        self.root_since = now
        self.topology_changes = 0
        self.last_topology_change: float | None = None

    # --- questions ---

    def state(self, port: int) -> PortState:
        """What the relay may do with the port's frames; discarding for a port that is not up."""
        return self._states.get(port, PortState.DISCARDING)

    def next_deadline(self) -> float | None:
        """The instant at which `handle_timer` must be called, if nothing else happens; ``None`` for never."""
        return self._deadline

    @property
    def settings(self) -> BridgeSettings:
        """The settings in force."""
        return self._tree.settings

    def port_settings(self, port: int) -> PortSettings:
        """The settings that the port has, or will have when it comes up."""
        return self._port_settings.get(port, PortSettings())

    @property
    def known_ports(self) -> dict[int, PortSettings]:
        """The settings of all ports that were ever configured, up or not."""
        return dict(self._port_settings)

    @property
    def bonus(self) -> tuple[int | None, int]:
        """The port that is made cheaper, None for none, and by how much."""
        return self._tree.bonus_port, self._tree.bonus_cost

    def view(self, now: float) -> InstanceView:
        """Everything about the instance, for the operator."""
        changes, changed_at = self.topology_changes, self.last_topology_change
        return view_instance(self._tree, now, changes, changed_at, self.root_since)

    def port_view(self, port: int) -> PortView | None:
        """Everything about a port, for the operator; ``None`` for a port that is not up."""
        found = self._tree.ports.get(port)
        return None if found is None else view_port(found)

    def block_reason(self, port: int) -> BlockReason | None:
        """Why a port that is up does not forward; ``None`` when it does, or is not up."""
        found = self._tree.ports.get(port)
        return None if found is None else block_reason(found)

    # --- inputs ---

    def port_up(self, port: int, now: float, *, is_tagged: bool = False) -> list[Event]:
        """A port becomes a member of the VLAN with a working link, or its link is replaced.

        The settings are those given to `configure_port` before, at any time: they outlive the link.

        Raises:
            SettingsError: the port number has no place in a port id.
        """
        self._start(now)
        fresh = make_port(self._tree, port, self.port_settings(port), is_tagged=is_tagged)
        events = self.port_down(port, now)
        self._tree.ports = dict(sorted([*self._tree.ports.items(), (port, fresh)]))
        self._begin(fresh)
        self._enable(fresh)
        return events + self._settle()

    def port_down(self, port: int, now: float) -> list[Event]:
        """The port's link ended or the port left the VLAN; no effect for a port that is not up."""
        found = self._tree.ports.get(port)
        if found is None:
            return []
        self._start(now)
        found.port_enabled = False
        found.is_dirty = True
        events = self._settle()
        del self._tree.ports[port]
        del self._states[port]
        self._deadline = update_deadlines(self._tree)
        return events

    def receive(self, port: int, bpdu: Bpdu, now: float) -> list[Event]:
        """A BPDU came in on the port. More than 100 a second are discarded and counted."""
        found = self._tree.ports.get(port)
        if found is None:
            return []
        found.counters.received += 1
        if not self._admit(found, bpdu, now):
            found.counters.discarded += 1
            return []
        self._start(now)
        found.message = bpdu
        found.rcvd_bpdu = found.is_dirty = True
        return self._settle()

    def handle_timer(self, now: float) -> list[Event]:
        """Do what is due; harmless when nothing is."""
        if self._deadline is None or now < self._deadline:
            return []
        self._start(now)
        return self._settle()

    def configure(self, settings: BridgeSettings, now: float) -> list[Event]:
        """Change the bridge's settings; the tree is computed anew (802.1D-2004 17.13)."""
        tree = self._tree
        self._start(now)
        is_restarted = settings.protocol_version != tree.settings.protocol_version
        tree.settings = settings
        bridge_id = Tree(tree.mac, tree.vid, settings, now).bridge_id
        tree.bridge_id, tree.bridge_times = bridge_id, settings.times
        if is_restarted:
            for port in tree.ports.values():
                port.mcheck = port.is_dirty = True
        self._reselect()
        return self._settle()

    def configure_port(self, port: int, settings: PortSettings, now: float) -> list[Event]:
        """Change a port's settings, whether it is up or not; they are kept when its link goes and comes."""
        tree = self._tree
        self._start(now)
        self._port_settings[port] = settings
        found = tree.ports.get(port)
        if found is None:
            return []
        before = found.settings
        found.settings = settings
        found.port_id = make_port(tree, port, settings, is_tagged=found.is_tagged).port_id
        if settings.admin_edge != before.admin_edge or (before.auto_edge and not settings.auto_edge):
            begin_detection(found)
        self._reselect()
        return self._settle()

    def set_bonus(self, port: int | None, cost: int, now: float) -> list[Event]:
        """Make one port cheaper by ``cost``; ``None`` takes the bonus away (VDE's fstp/bonus).

        Raises:
            SettingsError: the cost is negative.
        """
        if cost < 0:
            raise SettingsError(f"bonus {cost} is negative: it is a cost taken off the port's own")
        tree = self._tree
        self._start(now)
        tree.bonus_port, tree.bonus_cost = port, (0 if port is None else cost)
        self._reselect()
        return self._settle()

    def check_migration(self, port: int, now: float) -> list[Event]:
        """Try rapid spanning tree again where classic STP was heard (mcheck, 802.1D-2004 17.13.5)."""
        self._start(now)
        found = self._tree.ports.get(port)
        if found is None:
            return []
        found.mcheck = found.is_dirty = True
        return self._settle()

    def _start(self, now: float) -> None:
        """Begin an input: timers that are due take part, even if the caller is late with `handle_timer`."""
        self._tree.now = now
        is_due = self._deadline is not None and self._deadline <= now
        if is_due and any(port.timer_at <= now for port in self._tree.ports.values()):
            self._tree.touch_all()

    # --- ports that start and stop ---

    def _begin(self, port: Port) -> None:
        for machine in PORT_MACHINES:
            machine.begin(port)
        PORT_TRANSMIT.begin(port)
        port.fdb_flush = False  # nothing has been learned yet
        port.designated_times = self._tree.root_times._replace(hello_time=self._tree.bridge_times.hello_time)
        begin_detection(port)
        self._states[port.number] = PortState.DISCARDING

    def _enable(self, port: Port) -> None:
        """Set the port going, and what the standard keeps loaded while it is disabled."""
        port.port_enabled = port.is_dirty = True
        port.mdelay_while = port.edge_delay_while = self._tree.now + MIGRATE_TIME

    def _admit(self, port: Port, bpdu: Bpdu, now: float) -> bool:
        if port.settings.bpdu_filter:
            return False
        if isinstance(bpdu, ConfigBpdu) and bpdu.times.message_age >= bpdu.times.max_age:
            return False  # 802.1D-2004 9.3.4
        if port.receive_until - RECEIVE_BURST * RECEIVE_INTERVAL > now:
            return False
        port.receive_until = max(port.receive_until, now) + RECEIVE_INTERVAL
        return True

    def _reselect(self) -> None:
        self._tree.reselect = True
        for port in self._tree.ports.values():
            port.selected = False

    # --- what has changed ---

    def _settle(self) -> list[Event]:
        """Run all machines until none moves, then say what changed and transmit."""
        moved = run_machines(self._tree)
        events = [*self._state_changes(moved), *_role_changes(moved), *self._root_change()]
        events += self._topology_changes(moved)
        events += transmit(self._tree)
        self._deadline = update_deadlines(self._tree)
        return events

    def _state_changes(self, moved: list[Port]) -> Iterator[Event]:
        changed = [port for port in moved if port.state is not port.reported_state]
        changed.sort(key=lambda port: port.state is not PortState.DISCARDING)  # those that close go first
        for port in changed:
            port.reported_state = port.state
            self._states[port.number] = port.state
            yield PortStateChanged(port=port.number, state=port.state)

    def _root_change(self) -> Iterator[Event]:
        tree = self._tree
        root_port = None if tree.root_port is None else tree.root_port.number
        root_id = tree.root_priority.root_id
        if (root_id, root_port) != self._reported_root:
            if root_id != self._reported_root[0]:
                self.root_since = tree.now
            self._reported_root = (root_id, root_port)
            cost = tree.root_priority.root_path_cost
            yield RootChanged(root_id=root_id, root_port=root_port, root_path_cost=cost)

    def _topology_changes(self, moved: list[Port]) -> Iterator[Event]:
        now = self._tree.now
        if flushed := tuple([port.number for port in moved if _takes_flush(port)]):
            yield FlushFdb(ports=flushed)
        for port in moved:
            if port.topology_change_noticed or port.topology_change_received:
                is_received = not port.topology_change_noticed
                port.topology_change_noticed = port.topology_change_received = False
                self.topology_changes += 1
                self.last_topology_change = now
                yield TopologyChanged(port=port.number, is_received=is_received)


def _role_changes(moved: list[Port]) -> Iterator[Event]:
    for port in moved:
        if port.role is not port.reported_role:
            port.reported_role = port.role
            yield PortRoleChanged(port=port.number, role=port.role)


def _takes_flush(port: Port) -> bool:
    """Whether the port is flushed now; one that a neighbour asks for waits a second after the last."""
    now = port.tree.now
    is_due = port.fdb_flush or (port.propagation_flush and port.flush_after <= now)
    if is_due:
        port.fdb_flush = port.propagation_flush = False
        port.flush_after = now + FLUSH_INTERVAL
    return is_due
