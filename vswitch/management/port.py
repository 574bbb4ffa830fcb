"""The port menu: ports, who may use them, what they counted. What is plugged in: ``port_links``."""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from vport.errors import CommandError, RefusedError, SettingsError
from vport.shell.arguments import Integer, Optional, Switch, Text, Word, invalid, quoted
from vport.shell.command import Reply, Session, command
from vswitch.management.forwarding import forwarding_document, forwarding_lines
from vswitch.management.lookup import PORT, check_number, existing_port, existing_vlan
from vswitch.management.port_text import discard_lines, port_document, port_lines
from vswitch.ports import NO_VLAN, PORT_LIMIT_MAX, PortCounters

if TYPE_CHECKING:
    from collections.abc import Callable

    from vswitch.management.control import Control
    from vswitch.ports import Port

NOBODY: Final = frozenset({"NONE", "ANY"})  # in place of a user or group: everybody may
DESCRIPTION_MAX: Final = 255  # characters


# --- what there is ---


def _select(control: Control, number: int | None, shown: Callable[[Port], bool]) -> list[Port]:
    if number is None:
        return [port for port in control.bridge.ports if shown(port)]
    port = existing_port(control, number)
    if not shown(port):
        raise CommandError(errno.ENXIO, f"nothing is plugged into port {number} (port/allprint shows it)")
    return [port]


def _print_ports(control: Control, ports: list[Port]) -> Reply:
    return Reply(
        (line for port in ports for line in (*port_lines(port), *forwarding_lines(control, port))),
        document=({**port_document(port), **forwarding_document(control, port)} for port in ports),
    )


@command("port/showinfo", "show the number of ports and the mode", prints=True)
def show_info(control: Control, session: Session) -> Reply:
    """Show what holds for all ports."""
    limit, is_hub = control.bridge.ports.limit, control.bridge.is_hub
    lines = [f"Numports={limit}", f"HUB={'true' if is_hub else 'false'}", "counters=true"]
    return Reply(lines, document={"ports": limit, "hub": is_hub})


@command("port/print", "print ports in use, with their endpoints", Optional(PORT), prints=True)
def print_active(control: Control, session: Session, number: int | None) -> Reply:
    """Print the ports that something is plugged into, or one of them."""
    return _print_ports(control, _select(control, number, lambda port: port.is_active))


@command("port/allprint", "print all ports, those without endpoints too", Optional(PORT), prints=True)
def print_all(control: Control, session: Session, number: int | None) -> Reply:
    """Print all ports that exist, or one of them."""
    return _print_ports(control, _select(control, number, lambda port: True))


@command("port/discards", "print which frames were lost, and why", Optional(PORT), prints=True)
def print_discards(control: Control, session: Session, number: int | None) -> Reply:
    """Print the frames that ports did not forward and links did not carry, by reason."""
    ports = _select(control, number, lambda port: True)
    keys = ("port", "discards", "endpoints")
    documents = ({key: port_document(port)[key] for key in keys} for port in ports)
    return Reply([line for port in ports for line in discard_lines(port)], document=documents)


# --- the ports as a whole ---


@command("port/setnumports", "set the number of ports", Integer("N", 1, PORT_LIMIT_MAX))
def set_limit(control: Control, session: Session, limit: int) -> None:
    """Change how many ports there can be."""
    try:
        control.bridge.ports.change_limit(limit)
    except SettingsError as error:
        raise CommandError(errno.EADDRINUSE, str(error)) from None


@command("port/sethub", "1=HUB 0=switch", Switch())
def set_hub(control: Control, session: Session, is_hub: bool) -> None:
    """Make the switch a hub, or a switch again."""
    control.bridge.is_hub = is_hub


@command("port/createauto", "create a port with the lowest number that is not taken", prints=True)
def create_auto(control: Control, session: Session) -> Reply:
    """Make a port that nobody is given who does not ask for its number."""
    try:
        number = control.bridge.ports.unused_number()
    except RefusedError as error:
        raise CommandError(errno.ENOSPC, str(error)) from None
    control.bridge.create_port(number, allocatable=False)
    return Reply([f"Port {number:04d}"], document={"port": number})


# --- one port ---


@command("port/create", "create a port, kept for those who ask for its number", PORT)
def create(control: Control, session: Session, number: int) -> None:
    """Make a port of that number."""
    check_number(control, number)
    if number in control.bridge.ports:
        raise CommandError(errno.EEXIST, f"port {number} exists")
    control.bridge.create_port(number, allocatable=False)


@command("port/remove", "remove a port, with all that was set for it", PORT)
def remove(control: Control, session: Session, number: int) -> None:
    """Delete a port that nothing is plugged into."""
    port = existing_port(control, number)
    if port.is_active:
        raise CommandError(errno.EADDRINUSE, f"something is plugged into port {number} (see port/detach)")
    control.bridge.remove_port(port)


@command("port/setvlan", "set the VLAN of untagged frames; 4095: none", PORT, Integer("VLAN", 0, NO_VLAN))
def set_vlan(control: Control, session: Session, number: int, vlan: int) -> None:
    """Make a port an untagged member of a VLAN, or of none."""
    port = existing_port(control, number)
    vid = NO_VLAN if vlan == NO_VLAN else existing_vlan(control, vlan).vid
    if vid != port.pvid:
        control.bridge.set_pvid(port, vid)


@command("port/allocatable", "1: given to who asks for no number, 0: not", PORT, Switch())
def set_allocatable(control: Control, session: Session, number: int, allocatable: bool) -> None:
    """Say whether newcomers that ask for no number may be given this port."""
    control.bridge.set_allocatable(existing_port(control, number), allocatable)


@command("port/setuser", "keep a port for a user; NONE: for nobody", PORT, Word("user"))
def set_user(control: Control, session: Session, number: int, text: str) -> None:
    """Say which user may plug in."""
    port = existing_port(control, number)
    user = None if text in NOBODY else control.accounts.user(text)
    if user is None and text not in NOBODY:
        raise invalid("user", "a user of this system by name or number, or NONE", text)
    port.access = replace(port.access, user=user)


@command("port/setgroup", "keep a port for a group; NONE: for nobody", PORT, Word("group"))
def set_group(control: Control, session: Session, number: int, text: str) -> None:
    """Say which group's users may plug in."""
    port = existing_port(control, number)
    group = None if text in NOBODY else control.accounts.group(text)
    if group is None and text not in NOBODY:
        raise invalid("group", "a group of this system by name or number, or NONE", text)
    port.access = replace(port.access, group=group)


@command("port/descr", "set the description of a port; without TEXT: none", PORT, Optional(Text("TEXT")))
def set_description(control: Control, session: Session, number: int, text: str | None) -> None:
    """Say what the operator calls a port."""
    port = existing_port(control, number)
    if text is not None and len(text) > DESCRIPTION_MAX:
        raise CommandError(
            errno.EINVAL, f"TEXT must have at most {DESCRIPTION_MAX} characters, unlike {quoted(text)}"
        )
    port.description = text or ""


@command("port/resetcounter", "set the counters to zero, of one port or of all", Optional(PORT))
def reset_counters(control: Control, session: Session, number: int | None) -> None:
    """Begin to count anew, discarded frames included."""
    for port in _select(control, number, lambda port: True):
        port.counters = PortCounters()


SETTINGS: Final = (
    show_info,
    set_limit,
    set_hub,
    set_vlan,
    create_auto,
    create,
    remove,
    set_allocatable,
    set_user,
    set_group,
    set_description,
)
PRINTS: Final = (reset_counters, print_active, print_all, print_discards)
