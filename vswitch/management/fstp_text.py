"""How spanning trees look in the shell: VDE's text, ours with everything in it, and documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from vport.ethernet import format_mac
from vswitch.spanning_tree import BlockReason, PortRole, format_bridge_id

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vswitch.ports import Port
    from vswitch.spanning_tree import PortView, SpanningTree
    from vswitch.topology import Topology
    from vswitch.vlan import Member, Vlan

_NO_BRIDGE: Final = ":".join(["ff"] * 8)  # what VDE prints as the designated bridge of a root

_VDE_ROLES: Final = {
    PortRole.ROOT: "Root",
    PortRole.DESIGNATED: "Designated",
    PortRole.ALTERNATE: "Alternate/Backup",
    PortRole.BACKUP: "Alternate/Backup",
    PortRole.DISABLED: "Unknown",
}

REASONS: Final = {
    BlockReason.ROOT_GUARD: "a better root than ours is offered there",
    BlockReason.REFLECTED: "the link sends back what we send",
    BlockReason.REDUNDANT: "another way is in use",
    BlockReason.NEGOTIATING: "waiting for its neighbour, or for the forward delay",
}


# --- the switch ---


def settings_lines(topology: Topology) -> list[str]:
    """Print what VDE prints for all VLANs; the times are in ``fstp/detail``."""
    settings = topology.settings
    return [
        f"MAC {format_mac(topology.mac)} Priority {settings.priority} (0x{settings.priority:x})",
        f"FSTP={'true' if topology.is_enabled else 'false'}",
    ]


def settings_document(topology: Topology) -> dict[str, Any]:
    """Describe what holds for all VLANs; times in seconds."""
    settings = topology.settings
    return {
        "enabled": topology.is_enabled,
        "mac": format_mac(topology.mac),
        "priority": settings.priority,
        "hello_time": settings.hello_time,
        "max_age": settings.max_age,
        "forward_delay": settings.forward_delay,
    }


# --- a VLAN ---


def _active_members(vlan: Vlan) -> list[Member]:
    """Give the members with something plugged in, those without a tag first."""
    members = [member for member in vlan.members if member.port.is_active]
    return sorted(members, key=lambda member: member.is_tagged)


def _role(tree: SpanningTree, port: Port) -> str:
    if tree.port_settings(port.number).bpdu_filter:
        return "Edge"
    view = tree.port_view(port.number)
    return "Unknown" if view is None else _VDE_ROLES[view.role]


def _cost(tree: SpanningTree, port: Port) -> int:
    view = tree.port_view(port.number)
    return tree.port_settings(port.number).path_cost if view is None else view.path_cost


def instance_lines(topology: Topology, vlan: Vlan, now: float) -> Iterator[str]:
    """Print a tree as VDE does, blank for blank."""
    tree = topology.tree(vlan, now)
    view = tree.view(now)
    designated = view.designated_bridge_id
    is_root = "ROOTSWITCH" if view.is_root else ""
    yield f"FST DATA VLAN {vlan.vid:04d} {is_root} {'' if topology.is_enabled else 'FSTP IS DISABLED'}"
    yield f" ++ root {format_bridge_id(view.root_id)}"
    yield f" ++ designated {_NO_BRIDGE if designated is None else format_bridge_id(designated)}"
    bonus = f"bonusport {view.bonus_port or 0:04d} bonuscost {view.bonus_cost}"
    yield f" ++ rootport {view.root_port or 0:04d} cost {view.root_path_cost} age {int(view.age)} {bonus}"
    for port, is_tagged in _active_members(vlan):
        cost, role = _cost(tree, port), _role(tree, port)
        yield f" -- Port {port.number:04d} tagged={is_tagged:d} portcost={cost} role={role}"


def detail_lines(topology: Topology, vlan: Vlan, now: float) -> Iterator[str]:
    """Print a tree with everything that is known of its ports."""
    tree = topology.tree(vlan, now)
    view = tree.view(now)
    times, own = view.times, topology.settings
    bridge, root = format_bridge_id(view.bridge_id), format_bridge_id(view.root_id)
    yield f"VLAN {vlan.vid:04d} bridge {bridge} root {root}"
    way = "this switch" if view.root_port is None else f"port {view.root_port:04d} cost {view.root_path_cost}"
    yield (
        f" root by {way}; hello {times.hello_time:g} s max age {times.max_age:g} s"
        f" forward delay {times.forward_delay:g} s; {view.topology_changes} topology changes"
    )
    delay = f"forward delay {own.forward_delay:g} s"
    yield f" as root: hello {own.hello_time:g} s max age {own.max_age:g} s {delay}"
    for port in view.ports:
        yield from _port_lines(port, now)


def _port_lines(port: PortView, now: float) -> Iterator[str]:
    edge = " edge" if port.is_edge else ""
    yield (
        f" -- Port {port.port:04d} {port.role} {port.state.name.lower()}{edge} {port.protocol}"
        f" cost {port.path_cost} id {port.port_id:04x}"
    )
    if port.block_reason is not None:
        yield f"    not forwarding: {REASONS[port.block_reason]}"
    designated = port.designated
    yield (
        f"    designated {format_bridge_id(designated.designated_bridge_id)}"
        f" port {designated.designated_port_id:04x} cost {designated.root_path_cost}"
    )
    counters = f"received {port.received} sent {port.transmitted} discarded {port.discarded}"
    timers = " ".join(f"{name} {end - now:.1f}" for name, end in sorted(port.timers.items()))
    yield f"    BPDUs {counters}; timers {timers or 'none'}"


# --- documents ---


def port_document(port: PortView, now: float) -> dict[str, Any]:
    """Describe a port in a tree; timers in seconds from now."""
    return {
        "port": port.port,
        "tagged": port.is_tagged,
        "role": str(port.role),
        "state": port.state.name.lower(),
        "reason": None if port.block_reason is None else str(port.block_reason),
        "edge": port.is_edge,
        "protocol": port.protocol,
        "path_cost": port.path_cost,
        "port_id": f"{port.port_id:04x}",
        "designated_bridge": format_bridge_id(port.designated.designated_bridge_id),
        "designated_port": f"{port.designated.designated_port_id:04x}",
        "bpdus": {"received": port.received, "sent": port.transmitted, "discarded": port.discarded},
        "topology_changes_received": port.topology_changes_received,
        "timers": {name: round(end - now, 3) for name, end in sorted(port.timers.items())},
    }


def instance_document(topology: Topology, vlan: Vlan, now: float) -> dict[str, Any]:
    """Describe a tree and its ports."""
    view = topology.tree(vlan, now).view(now)
    return {
        "vlan": vlan.vid,
        "enabled": topology.is_enabled,
        "bridge": format_bridge_id(view.bridge_id),
        "root": format_bridge_id(view.root_id),
        "is_root": view.is_root,
        "root_port": view.root_port,
        "root_path_cost": view.root_path_cost,
        "age": round(view.age, 3),
        "bonus_port": view.bonus_port,
        "bonus_cost": view.bonus_cost,
        "topology_changes": view.topology_changes,
        "ports": [port_document(port, now) for port in view.ports],
    }
