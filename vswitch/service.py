"""The nursery of a switch: what runs, who owns whom, how it ends.

``SwitchService.run`` opens everything that the settings name, in order, and tells ``started`` when frames can
flow. Its nursery then holds one task for each listener, one for each attached link, the address table's
ageing, and the management server. A link that ends leaves its port, the log says why, and nothing else
notices. An exception that nobody planned for ends the service; on every way out the sockets, files and
devices that it made are closed.
"""

from __future__ import annotations

import logging
import random
from contextlib import AsyncExitStack, aclosing
from typing import TYPE_CHECKING

import trio
from trio_util import periodic

from vport.errors import LinkError
from vport.ethernet import format_mac, random_mac
from vport.links import open_link, open_listener
from vport.rate_limit import RateLimit
from vport.shell.server import ManagementServer
from vport.shell.unix_socket import ManagementSocket
from vswitch.bridge import Bridge
from vswitch.events import EndpointAdded, EndpointRemoved, StationMoved
from vswitch.fabric import Fabric
from vswitch.management.control import SocketInfo
from vswitch.management.general import BANNER
from vswitch.management.menus import switch_catalog
from vswitch.management.messages import describe

if TYPE_CHECKING:
    from vport.ethernet import MacAddress
    from vport.links.base import Link, Listener
    from vport.locator import Locator
    from vswitch.config import SwitchSettings
    from vswitch.events import Event
    from vswitch.fabric import Place

logger = logging.getLogger(__name__)


class SwitchService:
    """A running switch; fulfils ``management.control.Control``.

    Attributes:
        bridge: the forwarding core.
        fabric: what carries frames between the links.
        mac: the switch's own address.
        started_at: when ``run`` began, on Trio's clock.
        management: where the management shell listens, None for nowhere.
        listeners: what listens for those who call.
    """

    def __init__(self, settings: SwitchSettings) -> None:
        self.settings = settings
        self.bridge = Bridge(settings.fdb, settings.port_limit)
        self.bridge.is_hub = settings.is_hub
        self.fabric = Fabric(self.bridge, trio.current_time, self._publish)
        self.mac: MacAddress = settings.mac or random_mac(random.SystemRandom())
        self.started_at = 0.0
        self.management: SocketInfo | None = None
        self.listeners: list[Listener] = []
        self._server = ManagementServer(self, switch_catalog(), BANNER)
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
                resources.callback(self.publish_events)
                await self._open(resources, nursery)
                nursery.start_soon(self._age)
                logger.debug("switch %s is up", format_mac(self.mac))
                task_status.started()

    async def _open(self, resources: AsyncExitStack, nursery: trio.Nursery) -> None:
        """Open what the settings name; whatever fails, what was opened before is closed again."""
        for locator in self.settings.listen:
            await self._listen(locator, resources, nursery)
        for locator in self.settings.attach:
            await self._attach(locator, resources, nursery)
        if self.settings.management is not None:
            await self._open_management(resources, nursery)

    async def _listen(self, locator: Locator, resources: AsyncExitStack, nursery: trio.Nursery) -> None:
        listener = resources.enter_context(await open_listener(locator))
        listener.keep_ports(self.fabric)
        self.listeners.append(listener)
        await nursery.start(self._serve, listener)
        logger.info("listening on %s", listener.description)

    async def _serve(self, listener: Listener, *, task_status: trio.TaskStatus[None]) -> None:
        """Run a listener; without it no newcomer gets in, so its end is the switch's."""
        await listener.serve(self.fabric.attach, task_status=task_status)

    async def _attach(self, locator: Locator, resources: AsyncExitStack, nursery: trio.Nursery) -> None:
        link = resources.enter_context(await open_link(locator))
        if link.station is None:
            link.station = self.mac
        place = self.fabric.attach(link)
        await nursery.start(self._run_link, link, place)

    async def _run_link(self, link: Link, place: Place, *, task_status: trio.TaskStatus[None]) -> None:
        """Run an attached link; when it ends it leaves its port, and nothing else is touched."""
        startup = _Startup(task_status)
        reason = "the switch ends"
        try:
            await link.run(place, task_status=startup)
            reason = "the far end has left"
        except LinkError as error:
            if not startup.is_done:
                raise
            reason = str(error)
        finally:
            place.detach(reason)
            link.close()

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
        self._server.publish(message for event in events for message in describe(event))

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


class _Startup:
    """A task status that knows whether ``started`` was called: before that an error is the starter's."""

    def __init__(self, task_status: trio.TaskStatus[None]) -> None:
        self._task_status = task_status
        self.is_done = False

    def started(self, value: None = None) -> None:
        self.is_done = True
        self._task_status.started(value)
