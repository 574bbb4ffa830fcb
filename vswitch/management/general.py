"""The commands that stand in no menu: help, showinfo, logout, shutdown."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from vport._version import __version__
from vport.ethernet import format_mac
from vport.shell.arguments import Optional, Word
from vport.shell.command import Command, Menu, Reply, Session, command
from vport.shell.help import help_lines

if TYPE_CHECKING:
    from vswitch.management.control import Control

# Clients take what stands between "V." and the line's end for the version, and "$ " for the prompt.
BANNER: Final = (
    f"vswitch V.{__version__}",
    "A virtual Ethernet switch. Free software, MIT licence. Type help for the commands.",
)


@command("help", "list commands (those that start with arg)", Optional(Word("arg")), prints=True)
def show_help(control: Control, session: Session, prefix: str | None) -> Reply:
    """List the commands. A prefix that matches nothing gives an empty table, not an error, as in VDE."""
    entries = list(session.catalog.entries(prefix or ""))
    documents = ({"path": path, "syntax": syntax, "help": text} for path, syntax, text in entries)
    return Reply(help_lines(entries), document=documents)


@command("logout", "end this session")
def logout(control: Control, session: Session) -> Reply:
    """End the session. At the switch's own terminal there is nowhere to go."""
    if session.is_console:
        return Reply(detail="this is the switch's own terminal; shutdown or Ctrl-D ends the switch")
    return Reply(ends_session=True)


@command("shutdown", "stop the switch")
def shutdown(control: Control, session: Session) -> Reply:
    """End the switch; this session still gets its goodbye, the others see their connection close."""
    control.stop()
    return Reply(ends_session=not session.is_console)


@command("showinfo", "show version, MAC address and uptime", prints=True)
def show_info(control: Control, session: Session) -> Reply:
    """Show what is running; uptime in whole seconds."""
    uptime = int(control.now() - control.started_at)
    management = control.management
    lines = [*BANNER, "", f"pid {os.getpid()} MAC {format_mac(control.mac)} uptime {uptime}"]
    if management is not None:
        lines.append(f"mgmt {management.path} perm 0{management.mode:03o}")
    document = {
        "version": __version__,
        "pid": os.getpid(),
        "mac": format_mac(control.mac),
        "uptime": uptime,
        "management": None if management is None else management.path,
    }
    return Reply(lines, document=document)


COMMANDS: Final[tuple[Command, ...]] = (show_help, logout, shutdown, show_info)
MENU: Final = Menu("", "", COMMANDS)
