"""What an operator reads in the log of spanning tree and of the guards: a level and a line for each event.

Roles and states of ports are for debugging; a hundred VLANs have thousands of them. Everything that a port or
a VLAN loses or gets back is worth a line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from vport.ethernet import format_mac
from vswitch.spanning_tree import (
    PortRoleChanged,
    PortStateChanged,
    RootChanged,
    TopologyChanged,
    format_bridge_id,
)
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
)

if TYPE_CHECKING:
    from vport.ethernet import Vid
    from vswitch.guards.port_guards import Shut
    from vswitch.spanning_tree import Change
    from vswitch.topology_events import TopologyEvent

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
    return isinstance(event, TreeChanged) and isinstance(event.change, PortStateChanged | PortRoleChanged)


def log_line(event: TopologyEvent) -> str:
    """Say what happened, for people."""
    match event:
        case TreeChanged():
            return _tree_line(event.vid, event.change)
        case NeighbourHeard():
            return f"port {event.port}: a bridge is there (VLAN {event.vid})"
        case NeighbourLost():
            return f"port {event.port}: its bridge is silent (VLAN {event.vid})"
        case _:
            return _guard_line(event)


def _tree_line(vid: Vid, change: Change) -> str:
    match change:
        case PortStateChanged():
            return f"port {change.port} is {change.state.value.lower()} in VLAN {vid}"
        case PortRoleChanged():
            return f"port {change.port} has role {change.role} in VLAN {vid}"
        case RootChanged(root_port=None):
            return f"VLAN {vid}: this switch is the root of the spanning tree"
        case RootChanged():
            root, cost = format_bridge_id(change.root_id), change.root_path_cost
            return f"VLAN {vid}: {root} is the root, through port {change.root_port}, cost {cost}"
        case TopologyChanged():
            source = "told by a neighbour" if change.is_received else "here"
            return f"VLAN {vid}: topology change at port {change.port}, {source}"
        case _:
            assert_never(change)


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
