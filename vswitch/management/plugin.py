"""The plugin menu: what was added to the switch. How a plugin is made is said in ``vswitch.plugins``."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from vport.errors import CommandError
from vport.shell.arguments import Optional, Text, Word, quoted
from vport.shell.command import Menu, Reply, Session, command

if TYPE_CHECKING:
    from vswitch.management.control import Control

HEADER: Final = (
    "NAME                   HELP",
    "------------           ----",
)


@command("plugin/list", "list the plugins that are loaded", Optional(Word("name")), prints=True)
def show_plugins(control: Control, session: Session, prefix: str | None) -> Reply:
    """List the plugins whose names start with ``prefix``. None is an error, as in VDE."""
    found = [plugin for plugin in control.plugins.loaded if plugin.name.startswith(prefix or "")]
    if not found:
        detail = "no plugin is loaded" if prefix is None else f"no plugin starts with {quoted(prefix)}"
        return Reply(HEADER, errno.ENOENT, detail)
    return Reply(
        [*HEADER, *(f"{plugin.name:<22} {plugin.help}" for plugin in found)],
        document=({"name": plugin.name, "help": plugin.help} for plugin in found),
    )


@command("plugin/add", "load a plugin by name, or by the path of its file", Text("library"))
async def load(control: Control, session: Session, name: str) -> None:
    """Load a plugin. Its code runs as the switch itself."""
    await control.plugins.load(name)


@command("plugin/del", "unload a plugin", Word("name"))
def unload(control: Control, session: Session, name: str) -> None:
    """Unload a plugin, with its commands and categories of messages."""
    if not control.plugins.unload(name):
        raise CommandError(errno.ENOENT, f"no plugin {quoted(name)} is loaded (plugin/list shows them)")


MENU: Final = Menu("plugin", "PLUGINS MENU", (show_plugins, load, unload))
