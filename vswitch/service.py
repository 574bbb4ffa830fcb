"""The nursery of a switch: what runs, who owns whom, how it ends.

``SwitchService.run`` makes a switch without anything into the one that the settings name, opens everything
in order, and tells ``started`` when frames can flow. Its nursery then holds the plugboard (one task for each
listener, one for each attached link), the address table's ageing, the timer of spanning tree and guards, and
the management server. A link that ends leaves its port, the log says why, and nothing else notices. An
exception that nobody planned for ends the service; on every way out the sockets, files and devices that it
made are closed.
"""

from __future__ import annotations

import logging
import random
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from typing import TYPE_CHECKING

import trio
from trio_util import periodic

from vport.errors import CommandError
from vport.ethernet import format_mac, random_mac
from vport.rate_limit import RateLimit
from vport.shell.command import Session
from vport.shell.script import failures, run_script
from vport.shell.server import ManagementServer
from vport.shell.unix_socket import ManagementSocket
from vswitch.accounts import SystemAccounts
from vswitch.bridge import Bridge
from vswitch.builder import Builder
from vswitch.changes import AdmitPeer, Change, Departure, OuterChange
from vswitch.control_plane import ControlPlane
from vswitch.difference import Running, difference, needs_restart
from vswitch.events import (
    AccessRefused,
    EndpointAdded,
    EndpointRemoved,
    FdbEntryAdded,
    FdbEntryRemoved,
    PortAdded,
    PortRemoved,
    StationMoved,
    StationStrayed,
)
from vswitch.fabric import Fabric
from vswitch.impaired_ports import ImpairedPorts
from vswitch.management.control import SocketInfo
from vswitch.management.general import BANNER
from vswitch.management.menus import switch_catalog
from vswitch.management.messages import CATEGORIES, describe
from vswitch.overseer import Overseer
from vswitch.plugboard import Plugboard
from vswitch.plugins.shelf import PluginShelf
from vswitch.spanning_tree import BridgeSettings
from vswitch.state import capture, without_plain_ports
from vswitch.topology_log import is_routine, is_warning, log_line

if TYPE_CHECKING:
    import socket

    from vport.ethernet import MacAddress
    from vport.shell.message import Category
    from vswitch.config import SwitchSettings
    from vswitch.events import Event
    from vswitch.topology_events import TopologyEvent

logger = logging.getLogger(__name__)


class SwitchService:
    """A running switch; fulfils ``management.control.Control``.

    Attributes:
        bridge: the forwarding core.
        fabric: what carries frames between the links.
        control_plane: spanning tree and guards.
        plugboard: the links and listeners that the switch opens by itself.
        plugins: what was added to the switch.
        accounts: the users and groups of this system.
        impairments: the ports with faults between them and their links.
        mac: the switch's own address.
        started_at: when ``run`` began, on Trio's clock.
        management: where the management shell listens, None for nowhere.
        server: holds the management sessions.

    Args:
        settings: what the switch is to be.
        management_socket: where the management shell is to listen beside what the settings say, made
            by somebody else (socket activation).
    """

    def __init__(self, settings: SwitchSettings, management_socket: socket.socket | None = None) -> None:
        self.settings = settings
        self.accounts = SystemAccounts()
        self.bridge = Bridge(groups_of=self.accounts.groups_of)
        self.fabric = Fabric(self.bridge, trio.current_time, self._publish)
        self.impairments = ImpairedPorts(self.fabric)
        self.mac: MacAddress = settings.mac or random_mac(random.SystemRandom())
        self.control_plane = ControlPlane(
            self.bridge,
            self.mac,
            random.SystemRandom(),
            BridgeSettings(),
            trio.current_time(),
        )
        self._overseer = Overseer(self.fabric, self.control_plane)
        self.started_at = 0.0
        self.management: SocketInfo | None = None
        self.plugboard = Plugboard(self.fabric, self.mac)
        self.server = ManagementServer(self, switch_catalog(), BANNER)
        self.plugins = PluginShelf(self.fabric, self.server.catalog, self.server)
        self._builder = Builder(
            self.fabric, self.control_plane, self.plugboard, self.impairments, self.plugins
        )
        self._management_socket = management_socket
        self._scope = trio.CancelScope()
        self._moves = RateLimit(burst=5, interval=2.0)
        self._tree_lines = RateLimit(burst=20, interval=1.0)

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
                await nursery.start(self.plugboard.run)
                await nursery.start(self.impairments.run)
                for change in difference(Running(), self.settings):
                    await self._builder.carry_out(change)
                await self._open_management(resources, nursery)
                nursery.start_soon(self._age)
                nursery.start_soon(self._overseer.run)
                logger.debug("switch %s is up", format_mac(self.mac))
                task_status.started()

    async def _open_management(self, resources: AsyncExitStack, nursery: trio.Nursery) -> None:
        opened: list[ManagementSocket] = []
        if self._management_socket is not None:
            opened.append(ManagementSocket.adopt(self._management_socket))
        wanted = self.settings.management
        if wanted is not None and wanted.path not in {passed.path for passed in opened}:
            opened.append(ManagementSocket.open(wanted.path, mode=wanted.mode, group=wanted.group))
        for listening in map(resources.enter_context, opened):
            self.management = SocketInfo(listening.path, listening.mode)
            await nursery.start(self.server.serve, listening.socket)
            logger.info("management shell on %s", listening.path)

    async def reload(self, wanted: SwitchSettings) -> None:
        """Become the switch that is wanted, as far as that can be done while it runs; the log says what is.

        What commands changed since and nobody saved is taken back. Cancelled, some of it may be done.

        Raises:
            SettingsError: commands have made the switch one that no settings describe; at most what is no
                longer wanted has gone.
        """
        for key in needs_restart(self._captured(), wanted):
            logger.warning("%s stays as it is: to change it, restart the switch", key)
        self.settings = replace(wanted, mac=self.mac, management=self.settings.management)
        going = [change for change in self._difference(wanted) if isinstance(change, Departure)]
        failed = await self._builder.try_all(going)
        coming = [change for change in self._difference(wanted) if not isinstance(change, Departure)]
        failed += await self._builder.try_all(coming)
        left: list[Change] = []
        if any(isinstance(change, AdmitPeer) for change in coming):  # some may have taken others' places
            left = [
                change
                for change in self._difference(wanted)
                if not isinstance(change, OuterChange) and change not in coming
            ]
            failed += await self._builder.try_all(left)
        total = len(going) + len(coming) + len(left)
        logger.info("%d of %d changes are made", total - failed, total)

    def _difference(self, wanted: SwitchSettings) -> list[Change]:
        return difference(Running(settings=self._captured(), listeners=self._builder.listeners), wanted)

    async def run_rcfile(self, path: str) -> None:
        """Carry out the commands in a file; what fails is logged, with file and line."""
        try:
            steps = await run_script(self, Session(self.server.catalog, subscriptions=None), path)
        except CommandError as error:
            logger.error("cannot run %s", error.detail)  # noqa: TRY400 - the operator's mistake, not a bug
            return
        for failed in failures(steps):
            logger.error("%s", failed)

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

    def running_settings(self) -> SwitchSettings:
        """Give the settings of a switch that would be as this one is now."""
        return without_plain_ports(self._captured())

    def _captured(self) -> SwitchSettings:
        return capture(self.settings, self.bridge, self.control_plane, self._builder.opened)

    def stop(self) -> None:
        """End the switch in an orderly way."""
        self._scope.cancel()

    def _publish(self, events: list[Event]) -> None:
        self.control_plane.protection.observe(events, trio.current_time())
        events += self.bridge.events.drain()
        for event in events:
            self._log(event)
        self.server.publish(message for event in events for message in describe(event))
        self.plugins.publish(events)

    def _log(self, event: Event) -> None:
        match event:
            case EndpointAdded():
                logger.info("port %d: %s has joined", event.port, event.description)
            case EndpointRemoved():
                logger.info("port %d: %s has left (%s)", event.port, event.description, event.reason)
            case StationMoved():
                self._log_move(event)
            case FdbEntryAdded() | FdbEntryRemoved() | StationStrayed():
                pass
            case PortAdded() | PortRemoved() | AccessRefused():
                pass
            case _:
                self._log_topology(event)

    def _log_topology(self, event: TopologyEvent) -> None:
        """Log what spanning tree and guards say; a hundred VLANs may say the same at once."""
        if is_routine(event):
            logger.debug("%s", log_line(event))
            return
        if is_warning(event):
            logger.warning("%s", log_line(event))
            return
        allowed, suppressed = self._tree_lines.ask(trio.current_time())
        if suppressed:
            logger.info("%d more changes of the spanning tree were not logged", suppressed)
        if allowed:
            logger.info("%s", log_line(event))

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
