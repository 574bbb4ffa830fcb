"""The command ``port/impair``: faults between a port and what is plugged into it.

``port/impair PORT COMMAND`` takes the commands of a cable about its wire, such as ``loss 1%`` and
``showinfo``: see ``vport.cable_shell``. LR is the direction out of the switch, RL into it.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from vport.cable_shell import WIRE_COMMANDS
from vport.errors import CommandError
from vport.impairment.report import as_document, describe_settings, describe_statistics
from vport.shell.arguments import Optional, Text
from vport.shell.command import Catalog, Menu, Reply, Session, command, execute
from vswitch.management.lookup import PORT, existing_port

if TYPE_CHECKING:
    from vswitch.management.control import Control

_CATALOG: Final = Catalog((Menu("", "", WIRE_COMMANDS),))
_OFF: Final = "off"


@command(
    "port/impair",
    "show or set faults: PORT loss 1%, PORT delay LR10ms, PORT off (LR: out of the switch)",
    PORT,
    Optional(Text("COMMAND")),
    prints=True,
)
async def impair(control: Control, session: Session, number: int, text: str | None) -> Reply:
    """Show the faults of a port, change them, or take them away."""
    port = existing_port(control, number)
    wire = control.impairments.get(port)
    if text is None:
        if wire is None:
            return Reply([f"port {number} has no faults"], document={"port": number, "faults": None})
        return Reply(
            [*describe_settings(wire.wire), *describe_statistics(wire.wire)],
            document={"port": number, "faults": as_document(wire.wire)},
        )
    if text.strip() == _OFF:
        if not control.impairments.clear(port):
            raise CommandError(errno.ENOENT, f"port {number} has no faults")
        return Reply(())
    _CATALOG.find(text)
    is_new = wire is None
    reply = await execute(wire or control.impairments.impair(port), Session(_CATALOG, None), text)
    if reply.errno and is_new:
        control.impairments.clear(port)
    return Reply(reply.lines or (), reply.errno, reply.detail)


MENU: Final = Menu("", "", (impair,))
