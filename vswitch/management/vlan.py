"""The vlan menu: which VLANs there are, and which ports are in them."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from vport.errors import CommandError
from vport.ethernet import VID_MAX, Vid
from vport.shell.command import Integer, Menu, Optional, Session, command
from vswitch.vlan import DEFAULT_VID, PortState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vswitch.management.control import Control
    from vswitch.vlan import Member, Vlan

NEW_VLAN: Final = Integer("VLAN", 1, VID_MAX)
VLAN: Final = Integer("VLAN", DEFAULT_VID, VID_MAX)


def existing_vlan(control: Control, number: int) -> Vlan:
    """Find a VLAN by its number.

    Raises:
        CommandError: ENXIO, there is no such VLAN.
    """
    vlan = control.bridge.vlans.get(Vid(number))
    if vlan is None:
        raise CommandError(errno.ENXIO, f"VLAN {number} does not exist")
    return vlan


def _member_line(vlan: Vlan, member: Member) -> str:
    """Print a membership. A port that nothing is plugged into is shown as learning, as VDE does."""
    port = member.port
    state = vlan.state(port) if port.is_active else PortState.LEARNING
    flags = f"tagged={member.is_tagged:d} active={port.is_active:d}"
    return f" -- Port {port.number:04d} {flags} status={state.value}"


def _print_vlans(control: Control, number: int | None, *, inactive: bool) -> list[str]:
    bridge = control.bridge
    vids = sorted(bridge.vlans) if number is None else [existing_vlan(control, number).vid]
    return [line for vid in vids for line in _vlan_lines(bridge.vlans[vid], inactive=inactive)]


def _vlan_lines(vlan: Vlan, *, inactive: bool) -> Iterator[str]:
    yield f"VLAN {vlan.vid:04d}"
    for member in vlan.members:
        if inactive or member.port.is_active:
            yield _member_line(vlan, member)


@command("vlan/create", "create a VLAN", NEW_VLAN)
def create(control: Control, session: Session, number: int) -> None:
    """Make a VLAN without members."""
    if Vid(number) in control.bridge.vlans:
        raise CommandError(errno.EEXIST, f"VLAN {number} exists")
    control.bridge.create_vlan(Vid(number))


@command("vlan/print", "print VLANs and the ports in use in them", Optional(VLAN), prints=True)
def print_active(control: Control, session: Session, number: int | None) -> list[str]:
    """Print all VLANs or one, with the ports that something is plugged into."""
    return _print_vlans(control, number, inactive=False)


@command("vlan/allprint", "print VLANs and all ports in them", Optional(VLAN), prints=True)
def print_all(control: Control, session: Session, number: int | None) -> list[str]:
    """Print all VLANs or one, with all member ports."""
    return _print_vlans(control, number, inactive=True)


MENU: Final = Menu("vlan", "VLAN MANAGEMENT MENU", (create, print_active, print_all))
