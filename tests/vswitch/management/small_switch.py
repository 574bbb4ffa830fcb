"""A switch without links' tasks: the real bridge behind the real management server, for tests."""

from __future__ import annotations

from contextlib import asynccontextmanager
from random import Random
from typing import TYPE_CHECKING

import trio

from tests.vswitch.links_in_memory import RecordingLink
from vport.ethernet import MacAddress, Vid, parse_mac
from vport.shell.server import MAX_SESSIONS, ManagementServer
from vport.shell.unix_socket import ManagementSocket
from vswitch.bridge import Bridge
from vswitch.config import SwitchSettings
from vswitch.control_plane import ControlPlane
from vswitch.management.control import SocketInfo
from vswitch.management.general import BANNER
from vswitch.management.menus import switch_catalog
from vswitch.management.messages import describe
from vswitch.overseer import transmit
from vswitch.spanning_tree import BridgeSettings
from vswitch.state import capture

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from vswitch.ports import Endpoint


class SmallSwitch:
    """A ``Control`` around a bridge; ``clock`` is moved by hand."""

    def __init__(self, port_limit: int = 32) -> None:
        self.bridge = Bridge(port_limit=port_limit)
        self.mac = parse_mac("00:ff:00:00:00:01")
        self.control_plane = ControlPlane(self.bridge, self.mac, Random(1), BridgeSettings(), 0.0)
        self.started_at = 0.0
        self.clock = 0.0
        self.management: SocketInfo | None = None
        self.server: ManagementServer | None = None
        self.stopped = trio.Event()

    def now(self) -> float:
        return self.clock

    def publish_events(self) -> None:
        transmit(self.control_plane.attend(self.clock))
        self.control_plane.protection.observe(events := self.bridge.events.drain(), self.clock)
        events += self.bridge.events.drain()
        if self.server is not None:
            self.server.publish(message for event in events for message in describe(event))

    def running_settings(self) -> SwitchSettings:
        return capture(SwitchSettings(), self.bridge, self.mac, (), {})

    def stop(self) -> None:
        self.stopped.set()

    def plug(self, description: str, number: int | None = None) -> Endpoint:
        endpoint = self.bridge.plug(RecordingLink(description), number)
        self.publish_events()
        return endpoint

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
        switch.server = ManagementServer(switch, switch_catalog(), BANNER, max_sessions=max_sessions)
        async with trio.open_nursery() as nursery:
            await nursery.start(switch.server.serve, listening.socket)
            nursery.start_soon(_cancel_when_stopped, switch, nursery.cancel_scope)
            yield switch
            nursery.cancel_scope.cancel()


async def _cancel_when_stopped(switch: SmallSwitch, scope: trio.CancelScope) -> None:
    await switch.stopped.wait()
    scope.cancel()
