"""The nursery of a switch: what runs, who owns whom, how it ends.

``SwitchService.run`` opens everything that the settings name, in order, and tells ``started`` when frames can
flow. Its nursery then holds the plugboard (one task for each listener, one for each attached link), the
address table's ageing, and the management server. A link that ends leaves its port, the log says why, and
nothing else notices. An exception that nobody planned for ends the service; on every way out the sockets,
files and devices that it made are closed.
"""

from __future__ import annotations

import logging
import random
from contextlib import AsyncExitStack, aclosing
from typing import TYPE_CHECKING

import trio
from trio_util import periodic

from vport.ethernet import format_mac, random_mac
from vport.rate_limit import RateLimit
from vswitch.accounts import SystemAccounts
from vswitch.bridge import Bridge
from vswitch.events import EndpointAdded, EndpointRemoved, StationMoved
from vswitch.fabric import Fabric
from vswitch.management.control import SocketInfo
from vswitch.management.menus import switch_catalog
from vswitch.management.messages import CATEGORIES
from vswitch.management.server import ManagementServer
from vswitch.management.unix_socket import ManagementSocket
from vswitch.plugboard import Plugboard
from vswitch.plugins.shelf import PluginShelf

if TYPE_CHECKING:
    from vport.ethernet import MacAddress
    from vswitch.config import SwitchSettings
    from vswitch.events import Event
    from vswitch.management.messages import Category

logger = logging.getLogger(__name__)


class SwitchService:
    """A running switch; fulfils ``management.control.Control``.

    Attributes:
        bridge: the forwarding core.
        fabric: what carries frames between the links.
        plugboard: the links and listeners that the switch opens by itself.
        plugins: what was added to the switch.
        accounts: the users and groups of this system.
        mac: the switch's own address.
        started_at: when ``run`` began, on Trio's clock.
        management: where the management shell listens, None for nowhere.
    """

    def __init__(self, settings: SwitchSettings) -> None:
        self.settings = settings
        self.accounts = SystemAccounts()
        self.bridge = Bridge(settings.fdb, settings.port_limit, self.accounts.groups_of)
        self.bridge.is_hub = settings.is_hub
        self.fabric = Fabric(self.bridge, trio.current_time, self._publish)
        self.mac: MacAddress = settings.mac or random_mac(random.SystemRandom())
        self.started_at = 0.0
        self.management: SocketInfo | None = None
        self.plugboard = Plugboard(self.fabric, self.mac)
        catalog = switch_catalog()
        self._server = ManagementServer(self, catalog)
        self.plugins = PluginShelf(self.fabric, catalog, self._server)
        self._scope = trio.CancelScope()
        self._moves = RateLimit(burst=5, interval=2.0)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the switch until ``stop`` or cancellation; ``started`` when everything is open.

        Raises:
            SettingsError: a locator or the management socket's path is impossible.
            LinkError: something that the settings name cannot be opened. Both come in an exception
                group.
        """
        self.started_at = trio.current_time()
        with self._scope:
            async with AsyncExitStack() as resources, trio.open_nursery() as nursery:
                resources.callback(self.plugins.close)
                resources.callback(self.publish_events)
                await self._open(resources, nursery)
                nursery.start_soon(self._age)
                logger.debug("switch %s is up", format_mac(self.mac))
                task_status.started()

    async def _open(self, resources: AsyncExitStack, nursery: trio.Nursery) -> None:
        """Open what the settings name; whatever fails, what was opened before is closed again."""
        await nursery.start(self.plugboard.run)
        for locator in self.settings.listen:
            listener = await self.plugboard.listen(locator, is_vital=True)
            logger.info("listening on %s", listener.description)
        for locator in self.settings.attach:
            await self.plugboard.attach(locator)
        if self.settings.management is not None:
            await self._open_management(resources, nursery)

    async def _open_management(self, resources: AsyncExitStack, nursery: trio.Nursery) -> None:
        wanted = self.settings.management
        assert wanted is not None
        opened = resources.enter_context(
            ManagementSocket.open(wanted.path, mode=wanted.mode, group=wanted.group)
        )
        self.management = SocketInfo(opened.path, opened.mode)
        await nursery.start(self._server.serve, opened.socket)
        logger.info("management shell on %s", opened.path)

    async def _age(self) -> None:
        """Look for entries that have been silent too long, as often as the settings say at the time."""
        while True:
            interval = self.bridge.fdb.settings.collect_interval
            async with aclosing(periodic(interval or 1)) as ticks:
                async for _ in ticks:
                    if self.bridge.fdb.settings.collect_interval != interval:
                        break
                    if interval:
                        self.bridge.fdb.collect(trio.current_time())
                        self.publish_events()

    # --- Control ---

    @property
    def categories(self) -> tuple[Category, ...]:
        """The categories of messages that sessions can ask for, those of plugins last."""
        return (*CATEGORIES, *self.plugins.categories)

    def now(self) -> float:
        """Give the time on the switch's clock, in seconds."""
        return trio.current_time()

    def publish_events(self) -> None:
        """Pass on what the core has to tell: to the log, and to the sessions that asked for it."""
        self.fabric.publish_events()

    def stop(self) -> None:
        """End the switch in an orderly way."""
        self._scope.cancel()

    def _publish(self, events: list[Event]) -> None:
        for event in events:
            self._log(event)
        self._server.publish(events)
        self.plugins.publish(events)

    def _log(self, event: Event) -> None:
        match event:
            case EndpointAdded():
                logger.info("port %d: %s has joined", event.port, event.description)
            case EndpointRemoved():
                logger.info("port %d: %s has left (%s)", event.port, event.description, event.reason)
            case StationMoved():
                self._log_move(event)
            case _:
                pass

    def _log_move(self, event: StationMoved) -> None:
        """Log a moved station, unless so many move that it is a loop that floods the log."""
        allowed, suppressed = self._moves.ask(trio.current_time())
        if suppressed:
            logger.warning("%d more moves of stations between ports were not logged", suppressed)
        if allowed:
            logger.info(
                "station %s moved from port %d to port %d (VLAN %d)",
                format_mac(event.mac),
                event.old,
                event.new,
                event.vid,
            )
