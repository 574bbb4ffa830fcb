"""The menus of a switch, in the order in which ``help`` lists them."""

from __future__ import annotations

from vport.shell.command import Catalog, Menu
from vport.shell.script import load
from vswitch.management import (
    config,
    debug,
    dhcp,
    ds,
    fstp,
    general,
    guard,
    impair,
    peer,
    plugin,
    port_links,
    slirp,
    vlan,
)
from vswitch.management import hash as hash_


def switch_catalog() -> Catalog:
    """Make the catalog of all commands of a switch. Each switch has its own: plugins add to it."""
    return Catalog(
        (
            ds.MENU,
            Menu("", "", (*general.COMMANDS, load)),
            debug.MENU,
            plugin.MENU,
            hash_.MENU,
            fstp.MENU,
            port_links.PORT_MENU,
            impair.MENU,
            vlan.MENU,
            port_links.LISTEN_MENU,
            slirp.MENU,
            dhcp.MENU,
            guard.MENU,
            peer.MENU,
            config.MENU,
        )
    )
