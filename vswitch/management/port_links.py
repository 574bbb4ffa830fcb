"""The rest of the port menu, and the listen menu: what is plugged in, and who may call.

Links and listeners that are opened here run until they are taken away again or the switch ends.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from vport.errors import CommandError, RefusedError
from vport.shell.arguments import Integer, Optional, Place
from vport.shell.command import Menu, Reply, Session, command
from vswitch.management import port as port_
from vswitch.management.lookup import PORT, check_number, existing_port
from vswitch.management.port_text import endpoint_document, endpoint_line

if TYPE_CHECKING:
    from vport.locator import Locator
    from vswitch.management.control import Control, ListenerInfo
    from vswitch.ports import Endpoint, Port

ID: Final = Integer("ID", 0, 10**9)


def _endpoint(port: Port, number: int) -> Endpoint:
    endpoint = port.endpoint(number)
    if endpoint is None:
        raise CommandError(errno.ENXIO, f"port {port.number} has no endpoint {number} (see port/print)")
    return endpoint


# --- endpoints ---


@command("port/epclose", "close an endpoint of a port", PORT, ID)
def close_endpoint(control: Control, session: Session, number: int, endpoint_id: int) -> None:
    """Unplug one link and close it."""
    endpoint = _endpoint(existing_port(control, number), endpoint_id)
    control.plugboard.eject(endpoint, "closed by command")


@command("port/attach", "open a link and plug it in", Place(), Optional(PORT), prints=True)
async def attach(control: Control, session: Session, locator: Locator, number: int | None) -> Reply:
    """Open a link; print the port and the endpoint that it became."""
    if number is not None:
        check_number(control, number)
    try:
        endpoint = await control.plugboard.attach(locator, number)
    except RefusedError as error:
        raise CommandError(errno.ENOSPC if number is None else errno.EACCES, str(error)) from None
    port = endpoint.port.number
    return Reply(
        [f"Port {port:04d}", endpoint_line(endpoint)],
        document={"port": port, "endpoint": endpoint_document(endpoint)},
    )


@command("port/detach", "unplug what is in a port, or one endpoint", PORT, Optional(ID))
def detach(control: Control, session: Session, number: int, endpoint_id: int | None) -> None:
    """Unplug all links of a port, or one, and close them."""
    port = existing_port(control, number)
    endpoints = list(port.endpoints) if endpoint_id is None else [_endpoint(port, endpoint_id)]
    if not endpoints:
        raise CommandError(errno.ENXIO, f"nothing is plugged into port {number}")
    for endpoint in endpoints:
        control.plugboard.eject(endpoint, "detached by command")


PORT_MENU: Final = Menu(
    "port", "PORT STATUS MENU", (*port_.SETTINGS, close_endpoint, attach, detach, *port_.PRINTS)
)


# --- listeners ---


def _listener_line(listener: ListenerInfo) -> str:
    return f"Listener {listener.number:04d} links {listener.links:4d} : {listener.description}"


def _listener_document(listener: ListenerInfo) -> dict[str, object]:
    return {
        "listener": listener.number,
        "description": listener.description,
        "links": listener.links,
    }


@command("listen/add", "let those in who call there", Place(), prints=True)
async def listen(control: Control, session: Session, locator: Locator) -> Reply:
    """Open a listener; print its number."""
    listener = await control.plugboard.listen(locator)
    return Reply([_listener_line(listener)], document=_listener_document(listener))


@command("listen/remove", "close a listener and all its links", Integer("LISTENER", 1, 10**9))
async def close_listener(control: Control, session: Session, number: int) -> None:
    """Close a listener; the far ends of its links find nobody there any more."""
    if not await control.plugboard.close_listener(number):
        raise CommandError(errno.ENXIO, f"listener {number} does not exist (see listen/print)")


@command("listen/print", "print the listeners", prints=True)
def print_listeners(control: Control, session: Session) -> Reply:
    """Print the listeners and how many links each has."""
    listeners = control.plugboard.listeners
    return Reply(map(_listener_line, listeners), document=map(_listener_document, listeners))


LISTEN_MENU: Final = Menu("listen", "LISTENERS MENU", (listen, close_listener, print_listeners))
