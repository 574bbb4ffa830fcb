"""The slirp menu: user-mode networks that are plugged in, and their forwarded ports."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from vport.errors import CommandError
from vport.forwards import HostEnd, HostForward
from vport.links.slirp import SlirpLink
from vport.shell.arguments import Optional, Word
from vport.shell.command import Menu, Reply, Session, command
from vswitch.management.lookup import PORT, existing_port

if TYPE_CHECKING:
    from vswitch.management.control import Control
    from vswitch.ports import Endpoint, Port


def _networks(port: Port) -> list[tuple[Endpoint, SlirpLink]]:
    return [(one, one.link) for one in port.endpoints if isinstance(one.link, SlirpLink)]


def _network(control: Control, number: int) -> tuple[Endpoint, SlirpLink]:
    """Find the user-mode network in a port.

    Raises:
        CommandError: ENXIO, there is none.
    """
    networks = _networks(existing_port(control, number))
    if not networks:
        raise CommandError(errno.ENXIO, f"no user-mode network is plugged into port {number}")
    return networks[0]


@command("slirp/print", "print user-mode networks: forwards, connections", Optional(PORT), prints=True)
def print_networks(control: Control, session: Session, number: int | None) -> Reply:
    """Print the networks of all ports, or of one."""
    ports = list(control.bridge.ports) if number is None else [existing_port(control, number)]
    found = [(port.number, network) for port in ports for _, network in _networks(port)]
    lines = [
        line
        for port_number, network in found
        for line in (f"Port {port_number:04d} {network.description}", *map("  {}".format, network.describe()))
    ]
    documents = ({"port": port_number, **network.document()} for port_number, network in found)
    return Reply(lines, document=documents)


@command(
    "slirp/hostfwd",
    "forward a port of this machine: tcp:127.0.0.1:2222-10.0.2.15:22",
    PORT,
    Word("PROTOCOL:[ADDRESS]:PORT-[STATION]:PORT"),
)
def add_forward(control: Control, session: Session, number: int, text: str) -> None:
    """Begin to listen on this machine for a station."""
    endpoint, network = _network(control, number)
    network.add_forward(HostForward.read(text))
    control.plugboard.relocate(endpoint, network.locator)


@command(
    "slirp/hostfwd-del",
    "end a forward: tcp:127.0.0.1:2222",
    PORT,
    Word("PROTOCOL:[ADDRESS]:PORT"),
)
def remove_forward(control: Control, session: Session, number: int, text: str) -> None:
    """Stop listening on this machine; connections that exist go on."""
    endpoint, network = _network(control, number)
    network.remove_forward(HostEnd.read(text))
    control.plugboard.relocate(endpoint, network.locator)


MENU: Final = Menu("slirp", "USER-MODE NETWORK MENU", (print_networks, add_forward, remove_forward))
