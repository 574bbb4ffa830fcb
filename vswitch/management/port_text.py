"""How ports look in the shell: as the text that VDE's clients know, and as documents for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vswitch.ports import NO_VLAN

if TYPE_CHECKING:
    from vswitch.ports import Endpoint, Port


def endpoint_line(endpoint: Endpoint) -> str:
    """Print what is plugged into a port."""
    return (
        f"  -- endpoint ID {endpoint.id:04d} module {endpoint.link.module:<12}: {endpoint.link.description}"
    )


def port_lines(port: Port) -> list[str]:
    """Print a port and its endpoints, the newest first."""
    activity = "ACTIVE" if port.is_active else "INACTIVE"
    pool = "Unnamed Allocatable" if port.allocatable else "NOT Unnamed Allocatable"
    access = f"(User: {port.access.user or 'NONE'} - Group: {port.access.group or 'NONE'})"
    counters = port.counters
    description = [f" Description: {port.description}"] if port.description else []
    return [
        f"Port {port.number:04d} untagged_vlan={port.pvid:04d} {activity} - {pool}",
        f" Current User: {port.user or 'NONE'} Access Control: {access}",
        f" IN:  pkts {counters.frames_in:10d}          bytes {counters.bytes_in:20d}",
        f" OUT: pkts {counters.frames_out:10d}          bytes {counters.bytes_out:20d}",
        *description,
        *map(endpoint_line, reversed(port.endpoints)),
    ]


def endpoint_document(endpoint: Endpoint) -> dict[str, Any]:
    """Describe what is plugged into a port."""
    return {
        "id": endpoint.id,
        "module": endpoint.link.module,
        "description": endpoint.link.description,
        "user": endpoint.user,
        "discards": dict(endpoint.link.discards),
    }


def port_document(port: Port) -> dict[str, Any]:
    """Describe a port and its endpoints, the newest first."""
    counters = port.counters
    return {
        "port": port.number,
        "description": port.description,
        "untagged_vlan": None if port.pvid == NO_VLAN else port.pvid,
        "tagged_vlans": sorted(port.tagged),
        "active": port.is_active,
        "allocatable": port.allocatable,
        "user": port.user,
        "allowed_user": port.access.user,
        "allowed_group": port.access.group,
        "in": {"frames": counters.frames_in, "bytes": counters.bytes_in},
        "out": {"frames": counters.frames_out, "bytes": counters.bytes_out},
        "discards": {str(reason): count for reason, count in counters.discards.items()},
        "endpoints": [endpoint_document(endpoint) for endpoint in reversed(port.endpoints)],
    }


def discard_lines(port: Port) -> list[str]:
    """Print which frames were lost at a port and its endpoints, and why; nothing where none was."""
    lines = [f"  {count:>10} {reason}" for reason, count in port.counters.discards.most_common()]
    for endpoint in reversed(port.endpoints):
        losses = endpoint.link.discards.most_common()
        if losses:
            lines.append(endpoint_line(endpoint))
            lines += [f"  {count:>10} {reason}" for reason, count in losses]
    return [f"Port {port.number:04d}", *lines] if lines else []
