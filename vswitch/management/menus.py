"""The menus of a switch, in the order in which ``help`` lists them."""

from __future__ import annotations

from vswitch.management import debug, dhcp, general, port, slirp, vlan
from vswitch.management import hash as hash_
from vswitch.management.command import Catalog


def switch_catalog() -> Catalog:
    """Make the catalog of all commands of a switch."""
    return Catalog((general.MENU, debug.MENU, hash_.MENU, port.MENU, vlan.MENU, slirp.MENU, dhcp.MENU))
