"""What an operator may see of an instance: frozen values, made on request (``fstp/print``, JSON)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vswitch.spanning_tree.bpdu import Dialect, PortRole
from vswitch.spanning_tree.events import BlockReason
from vswitch.spanning_tree.variables import HELD, InfoIs

if TYPE_CHECKING:
    from vport.ethernet import Vid
    from vswitch.spanning_tree.priority import BridgeId, PortId, PriorityVector
    from vswitch.spanning_tree.settings import Times
    from vswitch.spanning_tree.variables import Port, Tree
    from vswitch.vlan import PortState


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceView:
    """One instance. ``age`` is seconds since the root became root, or since news of it on another bridge."""

    vid: Vid
    bridge_id: BridgeId
    root_id: BridgeId
    designated_bridge_id: BridgeId | None
    root_port: int | None
    root_path_cost: int
    times: Times
    age: float
    bonus_port: int | None
    bonus_cost: int
    topology_changes: int
    last_topology_change: float | None
    ports: tuple[PortView, ...]

    @property
    def is_root(self) -> bool:
        """Whether this bridge is the root."""
        return self.root_port is None


@dataclass(frozen=True, slots=True, kw_only=True)
class PortView:
    """One port. Timers are instants on the caller's clock, ``None`` when they do not run."""

    port: int
    port_id: PortId
    is_tagged: bool
    role: PortRole
    state: PortState
    block_reason: BlockReason | None
    is_edge: bool
    path_cost: int
    designated: PriorityVector
    protocol: str
    timers: dict[str, float]
    received: int
    transmitted: int
    discarded: int
    topology_changes_received: int


def view_instance(
    tree: Tree, now: float, topology_changes: int, last_topology_change: float | None, root_since: float
) -> InstanceView:
    """Describe the instance."""
    root_port = tree.root_port
    heard_at = root_since if root_port is None else root_port.heard_at
    return InstanceView(
        vid=tree.vid,
        bridge_id=tree.bridge_id,
        root_id=tree.root_priority.root_id,
        designated_bridge_id=None if root_port is None else root_port.port_priority.designated_bridge_id,
        root_port=None if root_port is None else root_port.number,
        root_path_cost=tree.root_priority.root_path_cost,
        times=tree.root_times,
        age=now - heard_at,
        bonus_port=tree.bonus_port,
        bonus_cost=tree.bonus_cost,
        topology_changes=topology_changes,
        last_topology_change=last_topology_change,
        ports=tuple([view_port(port) for port in tree.ports.values()]),
    )


def view_port(port: Port) -> PortView:
    """Describe a port as of the last input."""
    counters = port.counters
    return PortView(
        port=port.number,
        port_id=port.port_id,
        is_tagged=port.is_tagged,
        role=port.role,
        state=port.state,
        block_reason=block_reason(port),
        is_edge=port.oper_edge,
        path_cost=port.path_cost,
        designated=port.port_priority,
        protocol=_protocol(port),
        timers=_timers(port),
        received=counters.received,
        transmitted=counters.transmitted,
        discarded=counters.discarded,
        topology_changes_received=counters.topology_changes_received,
    )


def block_reason(port: Port) -> BlockReason | None:
    """Why the port does not forward; ``None`` when it does."""
    if port.forwarding:
        return None
    if port.is_reflected:
        return BlockReason.REFLECTED
    if port.role in (PortRole.ALTERNATE, PortRole.BACKUP):
        is_better = port.port_priority.root_id < port.tree.root_priority.root_id
        is_guarded = port.settings.restricted_role and is_better
        return BlockReason.ROOT_GUARD if is_guarded else BlockReason.REDUNDANT
    return BlockReason.NEGOTIATING


def _protocol(port: Port) -> str:
    if not port.send_rstp:
        return "stp"
    return "fstp" if port.dialect is Dialect.VDE else "rstp"


def _timers(port: Port) -> dict[str, float]:
    running = {
        "edge_delay_while": port.edge_delay_while,
        "fd_while": port.fd_while,
        "hello_when": port.hello_when,
        "mdelay_while": port.mdelay_while,
        "rb_while": port.rb_while,
        "rcvd_info_while": port.rcvd_info_while if port.info_is is InfoIs.RECEIVED else HELD,
        "rr_while": port.rr_while,
        "tc_while": port.tc_while,
    }
    now = port.tree.now
    return {name: end for name, end in running.items() if now < end < HELD}
