"""The menus of a switch, in the order in which ``help`` lists them."""

from __future__ import annotations

from vport.shell.command import Catalog
from vswitch.management import debug, general, peer, port, vlan
from vswitch.management import hash as hash_


def switch_catalog() -> Catalog:
    """Make the catalog of all commands of a switch."""
    return Catalog((general.MENU, debug.MENU, hash_.MENU, port.MENU, vlan.MENU, peer.MENU))
