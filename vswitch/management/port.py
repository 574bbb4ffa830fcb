"""The port menu: ports, what is plugged into them, what they counted."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from vport.errors import CommandError
from vport.shell.command import Integer, Menu, Optional, Session, Switch, command, invalid
from vswitch.ports import PORT_LIMIT_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vswitch.management.control import Control
    from vswitch.ports import Endpoint, Port

PORT: Final = Integer("PORT", 1, PORT_LIMIT_MAX)  # the switch at hand may have fewer: see existing_port


def existing_port(control: Control, number: int) -> Port:
    """Find a port by its number.

    Raises:
        CommandError: EINVAL, this switch has no such number; ENXIO, there is no such port.
    """
    ports = control.bridge.ports
    if not ports.is_number(number):
        raise invalid("PORT", f"a number from 1 to {ports.limit}", number)
    port = ports.get(number)
    if port is None:
        raise CommandError(errno.ENXIO, f"port {number} does not exist")
    return port


def _endpoint_line(endpoint: Endpoint) -> str:
    return (
        f"  -- endpoint ID {endpoint.id:04d} module {endpoint.link.module:<12}: {endpoint.link.description}"
    )


def describe_port(port: Port) -> list[str]:
    """Print a port and its endpoints, the newest first."""
    activity = "ACTIVE" if port.is_active else "INACTIVE"
    pool = "Unnamed Allocatable" if port.allocatable else "NOT Unnamed Allocatable"
    user = next((endpoint.user for endpoint in port.endpoints if endpoint.user is not None), "NONE")
    counters = port.counters
    return [
        f"Port {port.number:04d} untagged_vlan={port.pvid:04d} {activity} - {pool}",
        f" Current User: {user} Access Control: (User: NONE - Group: NONE)",
        f" IN:  pkts {counters.frames_in:10d}          bytes {counters.bytes_in:20d}",
        f" OUT: pkts {counters.frames_out:10d}          bytes {counters.bytes_out:20d}",
        *map(_endpoint_line, reversed(port.endpoints)),
    ]


def _print_ports(control: Control, number: int | None, shown: Callable[[Port], bool]) -> Iterator[str]:
    if number is None:
        ports = [port for port in control.bridge.ports if shown(port)]
    else:
        ports = [existing_port(control, number)]
        if not shown(ports[0]):
            raise CommandError(errno.ENXIO, f"nothing is plugged into port {number} (port/allprint shows it)")
    return (line for port in ports for line in describe_port(port))


@command("port/showinfo", "show the number of ports and the mode", prints=True)
def show_info(control: Control, session: Session) -> list[str]:
    """Show what holds for all ports."""
    return [
        f"Numports={control.bridge.ports.limit}",
        f"HUB={'true' if control.bridge.is_hub else 'false'}",
        "counters=true",
    ]


@command("port/sethub", "1=HUB 0=switch", Switch())
def set_hub(control: Control, session: Session, is_hub: bool) -> None:
    """Make the switch a hub, or a switch again."""
    control.bridge.is_hub = is_hub


@command("port/print", "print ports in use, with their endpoints", Optional(PORT), prints=True)
def print_active(control: Control, session: Session, number: int | None) -> Iterator[str]:
    """Print the ports that something is plugged into, or one of them."""
    return _print_ports(control, number, lambda port: port.is_active)


@command("port/allprint", "print all ports, those without endpoints too", Optional(PORT), prints=True)
def print_all(control: Control, session: Session, number: int | None) -> Iterator[str]:
    """Print all ports that exist, or one of them."""
    return _print_ports(control, number, lambda port: True)


MENU: Final = Menu("port", "PORT STATUS MENU", (show_info, set_hub, print_active, print_all))
