"""The command ``port/impair``: faults between a port and what is plugged into it.

``port/impair PORT COMMAND`` takes the commands of a cable about its wire, such as ``loss 1%`` and
``showinfo``: see ``vport.cable_shell``. LR is the direction out of the switch, RL into it.
"""

from __future__ import annotations

import errno
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from vport.cable_shell import WIRE_COMMANDS
from vport.errors import CommandError
from vport.impairment import PARAMETERS, Direction
from vport.impairment.report import describe_settings, describe_statistics
from vport.shell.command import Catalog, Menu, Optional, Reply, Session, Text, command, execute
from vswitch.management.lookup import PORT, existing_port

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vport.impairment import Impairment
    from vswitch.management.control import Control
    from vswitch.ports import Port

_CATALOG: Final = Catalog((Menu("", "", WIRE_COMMANDS),))
_OFF: Final = "off"
_NAMES: Final = {Direction.LEFT_TO_RIGHT: "out", Direction.RIGHT_TO_LEFT: "in"}


@command(
    "port/impair",
    "show or set faults: PORT loss 1%, PORT delay LR10ms, PORT off (LR: out of the switch)",
    Optional(PORT),
    Optional(Text("COMMAND")),
    prints=True,
)
async def impair(control: Control, session: Session, number: int | None, text: str | None) -> Reply:
    """Show the faults of a port or of all that have any, change them, or take them away."""
    if number is None:
        return _shown([port for port in control.bridge.ports if control.impairments.get(port)], control)
    port = existing_port(control, number)
    wire = control.impairments.get(port)
    if text is None:
        if wire is None:
            return Reply([f"port {number} has no faults"], document=[])
        return _shown([port], control)
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


def _shown(ports: Iterable[Port], control: Control) -> Reply:
    """Describe the faults of ports."""
    lines: list[str] = []
    documents = []
    for port in ports:
        impaired = control.impairments.get(port)
        assert impaired is not None
        wire = impaired.wire
        lines += [f"Port {port.number:04d}", *describe_settings(wire), *describe_statistics(wire)]
        ways = {_NAMES[direction]: _document(channel) for direction, channel in wire.channels.items()}
        documents.append({"port": port.number, **ways})
    return Reply(lines, document=documents)


def _document(channel: Impairment) -> dict[str, object]:
    settings = {name: str(getattr(channel.settings, name)) for name in PARAMETERS}
    return {"settings": settings, "counts": asdict(channel.statistics)}


MENU: Final = Menu("", "", (impair,))
