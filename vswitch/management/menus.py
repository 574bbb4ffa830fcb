"""The menus of a switch, in the order in which ``help`` lists them."""

from __future__ import annotations

from vport.shell.command import Catalog, Menu
from vport.shell.script import load
from vswitch.management import config, debug, general, port, vlan
from vswitch.management import hash as hash_


def switch_catalog() -> Catalog:
    """Make the catalog of all commands of a switch."""
    in_no_menu = Menu("", "", (*general.COMMANDS, load))
    return Catalog((in_no_menu, debug.MENU, hash_.MENU, port.MENU, vlan.MENU, config.MENU))
