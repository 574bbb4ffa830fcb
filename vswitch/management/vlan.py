"""The vlan menu: which VLANs there are, and which ports are in them."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, Final

from vport.errors import CommandError
from vport.ethernet import Vid
from vport.shell.arguments import Optional
from vport.shell.command import Menu, Reply, Session, command
from vswitch.management.lookup import NEW_VLAN, PORT, VLAN, existing_port, existing_vlan
from vswitch.vlan import DEFAULT_VID, PortState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vswitch.management.control import Control
    from vswitch.vlan import Member, Vlan


# --- what there is ---


def _state(vlan: Vlan, member: Member) -> str:
    """Say what a member does. A port that nothing is plugged into is shown as learning, as VDE does."""
    state = vlan.state(member.port) if member.port.is_active else PortState.LEARNING
    return state.value


def _members(vlan: Vlan, *, inactive: bool) -> list[Member]:
    return [member for member in vlan.members if inactive or member.port.is_active]


def _vlan_lines(vlan: Vlan, *, inactive: bool) -> Iterator[str]:
    yield f"VLAN {vlan.vid:04d}"
    for member in _members(vlan, inactive=inactive):
        flags = f"tagged={member.is_tagged:d} active={member.port.is_active:d}"
        yield f" -- Port {member.port.number:04d} {flags} status={_state(vlan, member)}"


def _vlan_document(vlan: Vlan, *, inactive: bool) -> dict[str, Any]:
    members = [
        {
            "port": member.port.number,
            "tagged": member.is_tagged,
            "active": member.port.is_active,
            "status": _state(vlan, member).lower(),
        }
        for member in _members(vlan, inactive=inactive)
    ]
    return {"vlan": vlan.vid, "ports": members}


def _print_vlans(control: Control, number: int | None, *, inactive: bool) -> Reply:
    vlans = control.bridge.vlans
    shown = [vlans[vid] for vid in sorted(vlans)] if number is None else [existing_vlan(control, number)]
    return Reply(
        [line for vlan in shown for line in _vlan_lines(vlan, inactive=inactive)],
        document=(_vlan_document(vlan, inactive=inactive) for vlan in shown),
    )


@command("vlan/print", "print VLANs and the ports in use in them", Optional(VLAN), prints=True)
def print_active(control: Control, session: Session, number: int | None) -> Reply:
    """Print all VLANs or one, with the ports that something is plugged into."""
    return _print_vlans(control, number, inactive=False)


@command("vlan/allprint", "print VLANs and all ports in them", Optional(VLAN), prints=True)
def print_all(control: Control, session: Session, number: int | None) -> Reply:
    """Print all VLANs or one, with all member ports."""
    return _print_vlans(control, number, inactive=True)


# --- changes ---


@command("vlan/create", "create a VLAN", NEW_VLAN)
def create(control: Control, session: Session, number: int) -> None:
    """Make a VLAN without members."""
    if Vid(number) in control.bridge.vlans:
        raise CommandError(errno.EEXIST, f"VLAN {number} exists")
    control.bridge.create_vlan(Vid(number))


@command("vlan/remove", "remove a VLAN that has no ports", VLAN)
def remove(control: Control, session: Session, number: int) -> None:
    """Delete a VLAN; its ports must have left it before, and VLAN 0 stays."""
    vlan = existing_vlan(control, number)
    if number == DEFAULT_VID:
        raise CommandError(errno.EADDRINUSE, "VLAN 0 is where new ports are, and stays")
    if vlan.members:
        ports = ", ".join(str(member.port.number) for member in vlan.members[:10])
        raise CommandError(errno.EADDRINUSE, f"VLAN {number} has ports: {ports} (see vlan/allprint)")
    control.bridge.remove_vlan(vlan.vid)


@command("vlan/addport", "let a port carry a VLAN's frames with their tag", VLAN, PORT)
def add_port(control: Control, session: Session, number: int, port_number: int) -> None:
    """Make a port a tagged member; nothing changes where the VLAN is the port's untagged one."""
    vlan = existing_vlan(control, number)
    control.bridge.add_tagged(existing_port(control, port_number), vlan.vid)


@command("vlan/delport", "end that a port carries a VLAN's frames with their tag", VLAN, PORT)
def delete_port(control: Control, session: Session, number: int, port_number: int) -> None:
    """End a tagged membership, if there is one."""
    vlan = existing_vlan(control, number)
    port = existing_port(control, port_number)
    if port.pvid == vlan.vid:
        raise CommandError(
            errno.EADDRINUSE,
            f"VLAN {number} is the one of untagged frames on port {port_number} (see port/setvlan)",
        )
    control.bridge.remove_tagged(port, vlan.vid)


MENU: Final = Menu(
    "vlan", "VLAN MANAGEMENT MENU", (create, remove, add_port, delete_port, print_active, print_all)
)
