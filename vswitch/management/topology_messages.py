"""Messages of spanning tree and of the guards: VDE's four, and ours in the same style."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, assert_never

from vport.ethernet import format_mac
from vport.shell.message import Category, Message
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
from vswitch.vlan import PortState

if TYPE_CHECKING:
    from vport.ethernet import Vid
    from vswitch.spanning_tree import Change
    from vswitch.topology_events import TopologyEvent

NEIGHBOUR_HEARD: Final = Category("fstp/+", 0o041, "fstp: first BPDU after a silence")
NEIGHBOUR_LOST: Final = Category("fstp/-", 0o042, "fstp: BPDUs come no more")
STATE_CHANGED: Final = Category("fstp/status", 0o044, "fstp: a port's state changed")
ROOT_CHANGED: Final = Category("fstp/root", 0o045, "fstp: another root, or another way to it")
ROLE_CHANGED: Final = Category("fstp/role", 0o046, "fstp: a port's role changed")
TOPOLOGY_CHANGED: Final = Category("fstp/change", 0o047, "fstp: the active topology changed")
PORT_SHUT: Final = Category("guard/shut", 0o051, "guard: a port was shut")
PORT_OPENED: Final = Category("guard/open", 0o052, "guard: a port that was shut works again")
LOOP: Final = Category("guard/loop", 0o053, "guard: a probe came back")
FLAPPING: Final = Category("guard/flap", 0o054, "guard: a station moves between ports all the time")
STORM: Final = Category("guard/storm", 0o055, "guard: storm control begins or ends")
LIMIT: Final = Category("guard/limit", 0o056, "guard: an address beyond a port's limit")
REFUSED: Final = Category("guard/bpdu", 0o057, "guard: BPDUs on a port with root guard")

TREE_CATEGORIES: Final = (
    STATE_CHANGED,
    ROOT_CHANGED,
    NEIGHBOUR_HEARD,
    NEIGHBOUR_LOST,
    ROLE_CHANGED,
    TOPOLOGY_CHANGED,
)
GUARD_CATEGORIES: Final = (PORT_SHUT, PORT_OPENED, LOOP, FLAPPING, STORM, LIMIT, REFUSED)

_STATE_WORDS: Final = {
    PortState.DISCARDING: "discarding",
    PortState.LEARNING: "learning",
    PortState.FORWARDING: "learning+forwarding",
}


def describe_topology(event: TopologyEvent) -> Message:
    """Say what happened: in VDE's words where it has any."""
    match event:
        case TreeChanged():
            return _describe_change(event.vid, event.change)
        case NeighbourHeard():
            return Message(NEIGHBOUR_HEARD, _place(event.port, event.vid))
        case NeighbourLost():
            return Message(NEIGHBOUR_LOST, _place(event.port, event.vid))
        case PortShutDown():
            return Message(PORT_SHUT, f"Port {event.port:04d} {event.shut.reason}: {event.shut.detail}")
        case PortOpened():
            return Message(PORT_OPENED, f"Port {event.port:04d} {event.reason}: {event.cause}")
        case LoopFound():
            ports = f"Port {event.sent_on:04d} -> Port {event.received_on:04d}"
            return Message(LOOP, f"{ports} VLAN {_vlan(event.vid)} shut Port {event.shut:04d}")
        case _:
            return _describe_load(event)


def _describe_change(vid: Vid, change: Change) -> Message:
    match change:
        case PortStateChanged():
            return Message(STATE_CHANGED, f"{_place(change.port, vid)} {_STATE_WORDS[change.state]}")
        case PortRoleChanged():
            return Message(ROLE_CHANGED, f"{_place(change.port, vid)} {change.role}")
        case RootChanged():
            place = _place(change.root_port or 0, vid)
            return Message(ROOT_CHANGED, f"{place} -> {format_bridge_id(change.root_id)}")
        case TopologyChanged():
            source = "received" if change.is_received else "detected"
            return Message(TOPOLOGY_CHANGED, f"{_place(change.port, vid)} {source}")
        case _:
            assert_never(change)


def _describe_load(
    event: StationFlaps | StormBegan | StormEnded | AddressLimitReached | BpdusRefused,
) -> Message:
    match event:
        case StationFlaps():
            flapping = event.flapping
            ports = ",".join(f"{port:04d}" for port in flapping.ports)
            station = f"{format_mac(flapping.mac)} VLAN {_vlan(flapping.vid)}"
            return Message(FLAPPING, f"{station} Ports {ports} moves {flapping.moves}")
        case StormBegan():
            return Message(STORM, f"Port {event.port:04d} {event.kind.word} begins, limit {event.limit}")
        case StormEnded():
            return Message(
                STORM, f"Port {event.port:04d} {event.kind.word} ends, discarded {event.discarded}"
            )
        case AddressLimitReached():
            exceeded = event.exceeded
            station = f"{format_mac(exceeded.mac)} VLAN {_vlan(exceeded.vid)}"
            return Message(LIMIT, f"Port {event.port:04d} {station} limit {exceeded.limit}")
        case BpdusRefused():
            return Message(REFUSED, f"Port {event.port:04d} discarded {event.count}")
        case _:
            assert_never(event)


def _vlan(vid: Vid) -> str:
    """Write a VLAN's two bytes, high before low, as VDE does in these messages."""
    return f"{vid >> 8:02x}:{vid & 0xFF:02x}"


def _place(port: int, vid: Vid) -> str:
    return f"Port {port:04d} VLAN {_vlan(vid)}"
