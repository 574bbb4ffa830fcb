"""The dhcp menu: servers of addresses and names that are plugged in, and their leases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vport.shell.arguments import Optional
from vport.shell.command import Menu, Reply, Session, command
from vswitch.management.lookup import PORT, existing_port

if TYPE_CHECKING:
    from vport.links.dhcp import DhcpLink
    from vswitch.management.control import Control
    from vswitch.ports import Port


def _servers(port: Port) -> list[DhcpLink]:
    """Give the servers in a port."""
    links = [endpoint.link for endpoint in port.endpoints if endpoint.link.module == "dhcp"]
    if not links:
        return []
    # Its packet libraries take a third of a second to load: only a switch that has such a link does it.
    from vport.links.dhcp import DhcpLink

    return [link for link in links if isinstance(link, DhcpLink)]


@command("dhcp/print", "print DHCP servers with their leases", Optional(PORT), prints=True)
def print_leases(control: Control, session: Session, number: int | None) -> Reply:
    """Print the servers of all ports, or of one."""
    ports = list(control.bridge.ports) if number is None else [existing_port(control, number)]
    found = [(port.number, server) for port in ports for server in _servers(port)]
    lines = [
        line
        for port_number, server in found
        for line in (f"Port {port_number:04d} {server.description}", *map("  {}".format, server.describe()))
    ]
    documents = ({"port": port_number, **server.document()} for port_number, server in found)
    return Reply(lines, document=documents)


MENU: Final = Menu("dhcp", "DHCP SERVER MENU", (print_leases,))
