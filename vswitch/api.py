"""A switch inside another program: ``open_switch``.

async with open_switch(listen=["udp://127.0.0.1:9999"], management="/tmp/vs.mgmt") as switch:
    host = await switch.attach("host://10.1.1.1/24")
    switch.impair(host, delay="20ms", loss="LR1%")
    print(switch.ports, switch.bridge.fdb)
"""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from vport.errors import LinkError, SettingsError
from vport.impairment import PARAMETERS
from vport.links import open_link, open_listener
from vport.links.base import Link
from vport.locator import parse
from vswitch.config import ManagementSettings, SwitchSettings
from vswitch.service import SwitchService

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

    from vport.impairment import Wire
    from vport.links.base import Listener
    from vport.locator import Locator
    from vswitch.bridge import Bridge
    from vswitch.fabric import Place
    from vswitch.ports import Port

logger = logging.getLogger(__name__)


class RunningSwitch:
    """A switch that runs. Made by ``open_switch``.

    Attributes:
        service: everything that the switch consists of.
    """

    def __init__(self, service: SwitchService, nursery: trio.Nursery) -> None:
        self.service = service
        self._nursery = nursery

    @property
    def bridge(self) -> Bridge:
        """The forwarding core: address table, VLANs, hub mode."""
        return self.service.bridge

    @property
    def ports(self) -> list[Port]:
        """The ports, by number."""
        return list(self.service.bridge.ports)

    @property
    def management_path(self) -> str | None:
        """Where the management shell listens, None for nowhere."""
        return None if self.service.management is None else self.service.management.path

    async def attach(self, place: Link | Locator | str, *, port: int | None = None) -> Link:
        """Plug a link in, or what a locator names, and carry its frames until it ends.

        Args:
            place: an open link, which the switch closes from now on, or a locator.
            port: the number of its port, None for the lowest free one.

        Returns:
            the link, once traffic can flow.

        Raises:
            SettingsError: the locator is malformed, or names no link.
            LinkError: the link cannot be opened.
            RefusedError: there is no such port, or none is free.
        """
        link = place if isinstance(place, Link) else await open_link(place)
        try:
            if link.station is None:
                link.station = self.service.mac
            attachment = self.service.fabric.attach(link, port=port)
        except BaseException:
            link.close()
            raise
        outcome = await self._nursery.start(self._carry, link, attachment)
        if outcome is not None:
            raise outcome
        return link

    async def listen(self, place: Locator | str) -> Listener:
        """Open a listener and plug in whoever calls, until the switch ends or the listener is closed.

        Raises:
            SettingsError: the locator is malformed, or does not listen.
            LinkError: the listener cannot be opened.
        """
        listener = await open_listener(place)
        await self._nursery.start(self._serve, listener)
        return listener

    def port_of(self, link: Link) -> Port:
        """Find the port that a link is plugged into.

        Raises:
            SettingsError: it is plugged in nowhere here.
        """
        for port in self.service.bridge.ports:
            if any(endpoint.link is link for endpoint in port.endpoints):
                return port
        raise SettingsError(f"{link.description} is not plugged into this switch")

    def impair(self, place: Link | Port | int, *, seed: int | None = None, **faults: str) -> Wire:
        """Put faults between a port and its links, or change them: ``impair(link, loss="LR1%")``.

        Args:
            place: the port, its number, or a link that is plugged into it.
            seed: decides what is left to chance, where there were no faults before.
            faults: the settings of ``vport.impairment.PARAMETERS``; LR is the way out of the switch.

        Returns:
            what happens to frames: its statistics, its states. Settings changed there hold at once.

        Raises:
            SettingsError: a setting is malformed, or there is no such port.
        """
        settings = []
        for name, text in faults.items():
            if name not in PARAMETERS:
                raise SettingsError(f"{name!r} is not one of {', '.join(PARAMETERS)}")
            settings.append((name, PARAMETERS[name].parse(text)))
        impaired = self.service.impairments.impair(self._port(place), seed)
        for name, setting in settings:
            impaired.wire.change(name, setting)
        impaired.changed()
        return impaired.wire

    def clear(self, place: Link | Port | int) -> None:
        """Take the faults of a port away, with the frames that wait in them."""
        self.service.impairments.clear(self._port(place))

    def _port(self, place: Link | Port | int) -> Port:
        if isinstance(place, Link):
            return self.port_of(place)
        if isinstance(place, int):
            port = self.service.bridge.ports.get(place)
            if port is None:
                raise SettingsError(f"there is no port {place}")
            return port
        return place

    async def _carry(
        self, link: Link, place: Place, *, task_status: trio.TaskStatus[LinkError | None]
    ) -> None:
        """Run a link; why it cannot start is its starter's, why it ends later is for the log."""
        startup = _Startup(task_status)
        reason = "the switch ends"
        try:
            await link.run(place, task_status=startup)
            reason = "the far end has left"
        except LinkError as error:
            reason = str(error)
            if not startup.is_done:
                task_status.started(error)
        finally:
            place.detach(reason)
            link.close()

    async def _serve(self, listener: Listener, *, task_status: trio.TaskStatus[None]) -> None:
        with listener:
            await listener.serve(self.service.fabric.attach, task_status=task_status)


class _Startup:
    """A task status that knows whether ``started`` was called."""

    def __init__(self, task_status: trio.TaskStatus[LinkError | None]) -> None:
        self._task_status = task_status
        self.is_done = False

    def started(self, value: None = None) -> None:
        self.is_done = True
        self._task_status.started(value)


@asynccontextmanager
async def open_switch(
    settings: SwitchSettings | None = None,
    *,
    listen: Iterable[Locator | str] = (),
    attach: Iterable[Locator | str] = (),
    management: str | None = None,
) -> AsyncIterator[RunningSwitch]:
    """Run a switch for the length of a block.

    Args:
        settings: what the switch is, in full; the other arguments add to it.
        listen: who may call.
        attach: what is plugged in at the start.
        management: path of the management socket.

    Raises:
        SettingsError: a locator or the path is malformed.
        LinkError: something cannot be opened. What the block raises comes out as it is, not in a group.
    """
    base = settings or SwitchSettings()
    service = SwitchService(_extended(base, listen, attach, management))
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(service.run)
            yield RunningSwitch(service, nursery)
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        leaves = list(_leaves(group))
        if len(leaves) == 1:
            raise leaves[0]  # noqa: B904 - the same error, without its wrapping
        raise


def _extended(
    base: SwitchSettings,
    listen: Iterable[Locator | str],
    attach: Iterable[Locator | str],
    management: str | None,
) -> SwitchSettings:
    from dataclasses import replace

    return replace(
        base,
        listen=(*base.listen, *map(_parsed, listen)),
        attach=(*base.attach, *map(_parsed, attach)),
        management=base.management if management is None else ManagementSettings(path=management),
    )


def _parsed(locator: Locator | str) -> Locator:
    return parse(locator) if isinstance(locator, str) else locator


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
