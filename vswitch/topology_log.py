"""What an operator reads in the log of spanning tree and of the guards: a level and a line for each event.

Roles and states of ports are for debugging; a hundred VLANs have thousands of them. Everything that a port or
a VLAN loses or gets back is worth a line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from vport.ethernet import format_mac
from vswitch.spanning_tree import format_bridge_id
from vswitch.topology_events import (
    AddressLimitReached,
    BpdusRefused,
    LoopFound,
    NeighbourHeard,
    NeighbourLost,
    PortOpened,
    PortShutDown,
    StationFlaps,
    StormBegan,
    StormEnded,
    TreeChanged,
    TreePortRole,
    TreePortState,
    TreeRoot,
)

if TYPE_CHECKING:
    from vswitch.guards.port_guards import Shut
    from vswitch.topology_events import TopologyEvent

_Tree = TreePortState | TreePortRole | TreeRoot | TreeChanged | NeighbourHeard | NeighbourLost
_Guard = (
    PortShutDown
    | PortOpened
    | LoopFound
    | StationFlaps
    | StormBegan
    | StormEnded
    | AddressLimitReached
    | BpdusRefused
)


def is_warning(event: TopologyEvent) -> bool:
    """Whether something is wrong in the network."""
    return isinstance(event, _Guard) and not isinstance(event, PortOpened | StormEnded)


def is_routine(event: TopologyEvent) -> bool:
    """Whether it is only worth a line where a developer looks."""
    return isinstance(event, TreePortState | TreePortRole)


def log_line(event: TopologyEvent) -> str:
    """Say what happened, for people."""
    return _tree_line(event) if isinstance(event, _Tree) else _guard_line(event)


def _tree_line(event: _Tree) -> str:
    match event:
        case TreePortState():
            return f"port {event.port} is {event.state.value.lower()} in VLAN {event.vid}"
        case TreePortRole():
            return f"port {event.port} has role {event.role} in VLAN {event.vid}"
        case TreeRoot(port=None):
            return f"VLAN {event.vid}: this switch is the root of the spanning tree"
        case TreeRoot():
            root = format_bridge_id(event.root_id)
            return f"VLAN {event.vid}: {root} is the root, through port {event.port}, cost {event.path_cost}"
        case TreeChanged():
            source = "told by a neighbour" if event.is_received else "here"
            return f"VLAN {event.vid}: topology change at port {event.port}, {source}"
        case NeighbourHeard():
            return f"port {event.port}: a bridge is there (VLAN {event.vid})"
        case NeighbourLost():
            return f"port {event.port}: its bridge is silent (VLAN {event.vid})"
        case _:
            assert_never(event)


def _guard_line(event: _Guard) -> str:
    match event:
        case PortShutDown():
            cause = f"{event.shut.reason}: {event.shut.detail}"
            return f"port {event.port} is shut by {cause}; {_outlook(event.shut)}"
        case PortOpened():
            return f"port {event.port} works again after {event.reason}: {event.cause}"
        case LoopFound():
            loop = f"what port {event.sent_on} sends comes back on port {event.received_on}"
            return f"loop: {loop} (VLAN {event.vid}); port {event.shut} is the younger one and is shut"
        case StationFlaps():
            flapping = event.flapping
            ports = ", ".join(map(str, flapping.ports))
            more = f"; {flapping.suppressed} other stations do, too" if flapping.suppressed else ""
            where = f"ports {ports} in turn (VLAN {flapping.vid})"
            return f"station {format_mac(event.mac)} appears on {where}{more}"
        case StormBegan():
            return f"port {event.port} floods more than {event.limit} {event.kind.word} frames a second"
        case StormEnded():
            return (
                f"port {event.port}: the {event.kind.word} storm is over; {event.discarded} frames discarded"
            )
        case AddressLimitReached():
            station = f"{format_mac(event.exceeded.mac)} (VLAN {event.exceeded.vid})"
            return (
                f"port {event.port} has its {event.exceeded.limit} addresses already; {station} is kept out"
            )
        case BpdusRefused():
            return f"port {event.port} has root guard: {event.count} BPDUs were discarded"
        case _:
            assert_never(event)


def _outlook(shut: Shut) -> str:
    if shut.recover_at is None:
        return "open it with guard/recover"
    return f"it is tried again in {shut.recover_at - shut.since:.0f} s, or with guard/recover"
