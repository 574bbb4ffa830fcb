"""A switch without links' tasks: the real bridge behind the real management server, for tests."""

from __future__ import annotations

from contextlib import asynccontextmanager
from random import Random
from typing import TYPE_CHECKING, ClassVar

import trio

from tests.vswitch.links_in_memory import RecordingLink
from vport.errors import LinkError
from vport.ethernet import MacAddress, Vid, parse_mac
from vport.shell.server import MAX_SESSIONS, ManagementServer
from vport.shell.unix_socket import ManagementSocket
from vswitch.bridge import Bridge
from vswitch.config import SwitchSettings
from vswitch.control_plane import ControlPlane
from vswitch.fabric import Fabric
from vswitch.impaired_ports import ImpairedPorts
from vswitch.management.control import ListenerInfo, SocketInfo
from vswitch.management.general import BANNER
from vswitch.management.menus import switch_catalog
from vswitch.management.messages import CATEGORIES, describe
from vswitch.overseer import Overseer, transmit
from vswitch.plugins.shelf import PluginShelf
from vswitch.spanning_tree import BridgeSettings
from vswitch.state import Opened, capture, without_plain_ports

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from vport.links.base import Listener
    from vport.locator import Locator
    from vport.shell.message import Category
    from vswitch.events import Event
    from vswitch.ports import Endpoint


class FakeAccounts:
    """A system with few users: root, daemon (in group daemon), nobody (in groups nogroup and games)."""

    _users: ClassVar = {"0": "root", "1": "daemon", "65534": "nobody"}
    _groups: ClassVar = {"0": "root", "1": "daemon", "60": "games", "65534": "nogroup"}
    _membership: ClassVar = {"root": {"root"}, "daemon": {"daemon"}, "nobody": {"nogroup", "games"}}

    def user(self, text: str) -> str | None:
        return self._look_up(self._users, text)

    def group(self, text: str) -> str | None:
        return self._look_up(self._groups, text)

    def groups_of(self, user: str) -> set[str]:
        return self._membership.get(user, set())

    @staticmethod
    def _look_up(names: dict[str, str], text: str) -> str | None:
        if text in names.values():
            return text
        return names.get(text, text) if text.isdigit() else None


class FakePlugboard:
    """Links are opened in no time, and without tasks; what is called ``tap://broken`` cannot be."""

    def __init__(self, fabric: Fabric) -> None:
        self._fabric = fabric
        self._listeners: dict[int, str] = {}
        self.open_listeners: list[Listener] = []

    async def attach(self, locator: Locator, port: int | None) -> Endpoint:
        await trio.lowlevel.checkpoint()
        if str(locator) == "tap://broken":
            raise LinkError("broken: there is no such device") from FileNotFoundError(2, "no such file")
        return self._fabric.attach(RecordingLink(str(locator)), port=port, by_operator=True).endpoint

    def eject(self, endpoint: Endpoint, reason: str) -> None:
        self._fabric.eject(endpoint, reason)

    def relocate(self, endpoint: Endpoint, locator: Locator) -> None:
        self.relocated = (endpoint, locator)

    async def listen(self, locator: Locator) -> ListenerInfo:
        await trio.lowlevel.checkpoint()
        number = len(self._listeners) + 1
        self._listeners[number] = str(locator)
        return ListenerInfo(number, str(locator), 0)

    async def close_listener(self, number: int) -> bool:
        await trio.lowlevel.checkpoint()
        return self._listeners.pop(number, None) is not None

    @property
    def listeners(self) -> list[ListenerInfo]:
        return [ListenerInfo(number, text, 0) for number, text in self._listeners.items()]


class SmallSwitch:
    """A ``Control`` around a bridge; ``clock`` is moved by hand."""

    def __init__(self, port_limit: int = 32) -> None:
        self.accounts = FakeAccounts()
        self.bridge = Bridge(port_limit=port_limit, groups_of=self.accounts.groups_of)
        self.fabric = Fabric(self.bridge, self.now, self._publish)
        self.plugboard = FakePlugboard(self.fabric)
        self.catalog = switch_catalog()
        self.server = ManagementServer(self, self.catalog, BANNER)
        self.plugins = PluginShelf(self.fabric, self.catalog, self.server)
        self.impairments = ImpairedPorts(self.fabric)
        self.mac = parse_mac("00:ff:00:00:00:01")
        self.control_plane = ControlPlane(self.bridge, self.mac, Random(1), BridgeSettings(), 0.0)
        Overseer(self.fabric, self.control_plane)
        self.started_at = 0.0
        self.clock = 0.0
        self.management: SocketInfo | None = None
        self.stopped = trio.Event()

    def now(self) -> float:
        return self.clock

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and the control plane do what becomes due."""
        until = self.clock + seconds
        while (deadline := self.control_plane.next_deadline()) is not None and deadline <= until:
            self.clock = max(self.clock, deadline)
            transmit(self.control_plane.handle_timer(self.clock))
            self.publish_events()
        self.clock = until

    @property
    def categories(self) -> tuple[Category, ...]:
        return (*CATEGORIES, *self.plugins.categories)

    def publish_events(self) -> None:
        self.fabric.publish_events()

    def _publish(self, events: list[Event]) -> None:
        self.control_plane.protection.observe(events, self.clock)
        events += self.bridge.events.drain()
        self.server.publish(message for event in events for message in describe(event))
        self.plugins.publish(events)

    def running_settings(self) -> SwitchSettings:
        opened = Opened(impaired=self.impairments.settings, plugins=tuple(self.plugins.sources))
        return without_plain_ports(capture(SwitchSettings(), self.bridge, self.control_plane, opened))

    def stop(self) -> None:
        self.stopped.set()

    def plug(
        self, description: str, number: int | None = None, *, module: str = "test", user: str | None = None
    ) -> Endpoint:
        link = RecordingLink(description)
        link.module = module
        return self.fabric.attach(link, port=number, user=user).endpoint

    def learn(self, mac: str, endpoint: Endpoint, vid: int = 0) -> MacAddress:
        address = parse_mac(mac)
        self.bridge.fdb.learn(Vid(vid), address, endpoint.port, self.clock)
        self.publish_events()
        return address


@asynccontextmanager
async def running(
    switch: SmallSwitch, path: Path, *, max_sessions: int = MAX_SESSIONS
) -> AsyncIterator[SmallSwitch]:
    """Serve ``switch`` at ``path``; the body ends it, or the command ``shutdown`` does."""
    with ManagementSocket.open(path) as listening:
        switch.management = SocketInfo(listening.path, listening.mode)
        if max_sessions != MAX_SESSIONS:
            switch.server = ManagementServer(switch, switch.catalog, BANNER, max_sessions=max_sessions)
        async with trio.open_nursery() as nursery:
            await nursery.start(switch.server.serve, listening.socket)
            nursery.start_soon(_cancel_when_stopped, switch, nursery.cancel_scope)
            yield switch
            nursery.cancel_scope.cancel()


async def _cancel_when_stopped(switch: SmallSwitch, scope: trio.CancelScope) -> None:
    await switch.stopped.wait()
    scope.cancel()
