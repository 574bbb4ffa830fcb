"""A router as a link: ``router://10.1.1.1/24,10.2.2.1/24?vlan=10,20``.

The router itself is ``vport.router.Router``, without I/O.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import trio

from vport.links.simulated import SimulatedLink
from vport.router import DEFAULT_MTU, Router
from vport.station import derived_mac
from vport.station.events import describe

if TYPE_CHECKING:
    from vport.locator import RouterLocator

logger = logging.getLogger(__name__)


class RouterLink(SimulatedLink):
    """A router at the far end of a link.

    Attributes:
        router: the router; ask it, but give it frames only through the link.
    """

    module = "router"

    def __init__(self, locator: RouterLocator) -> None:
        interfaces = locator.interfaces()
        mac = locator.mac or derived_mac(interfaces[0].address)
        self.router = Router(mac, interfaces, locator.gateway, mtu=locator.mtu or DEFAULT_MTU)
        super().__init__(self.router)
        self.discards = self.router.discards
        self.station = mac
        self.description = f"router {locator.write_target()}"

    def _handle_events(self) -> None:
        for conflict in self.router.take_conflicts():
            logger.warning("%s: %s", self.description, describe(conflict))


async def open_router(locator: RouterLocator) -> RouterLink:
    """Open the router that ``locator`` describes."""
    await trio.lowlevel.checkpoint()
    return RouterLink(locator)
