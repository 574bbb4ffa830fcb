"""The links and listeners that the switch opens by itself, at start or by command: a task each.

A link is open as long as its task runs: when the far end has gone for good, when it is ejected, when the
switch ends, it leaves its port and gives back what it held. A listener that breaks ends the switch if it was
opened because the configuration names it, since nobody new gets in without it; one that was added by command
is only reported.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Generic, TypeVar

import trio

from vport.errors import LinkError
from vport.links import open_link, open_listener
from vswitch.management.control import ListenerInfo

if TYPE_CHECKING:
    from vport.ethernet import MacAddress
    from vport.links.base import Attachment, Link, Listener
    from vport.locator import Locator
    from vport.wireguard.config import PeerSection
    from vswitch.fabric import Fabric
    from vswitch.ports import Endpoint

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Plugboard:
    """Opens links and listeners and runs them (``management.control.Plugboard``).

    Args:
        fabric: where they are plugged in.
        mac: what links announce that have no station behind them.

    Attributes:
        attached: the links that are plugged in now, and what they were opened from.
    """

    def __init__(self, fabric: Fabric, mac: MacAddress) -> None:
        self._fabric = fabric
        self._mac = mac
        self.attached: dict[Endpoint, Locator] = {}
        self._open: dict[int, _OpenListener] = {}
        self._last_number = 0
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Be the owner of the tasks, until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            await trio.sleep_forever()

    # --- links ---

    async def attach(self, locator: Locator, port: int | None = None) -> Endpoint:
        """Open a link and plug it into the port of that number, or into the lowest free one.

        Cancelled, it leaves nothing behind.

        Raises:
            SettingsError: the locator names no link.
            LinkError: it cannot be opened.
            RefusedError: there is no such port, or none is free.
        """
        assert self._nursery is not None
        endpoint: Endpoint = await self._nursery.start(self._run_link, locator, port)
        return endpoint

    async def _run_link(
        self, locator: Locator, port: int | None, *, task_status: trio.TaskStatus[Endpoint]
    ) -> None:
        with await open_link(locator) as link:
            if link.station is None:
                link.station = self._mac
            place = self._fabric.attach(link, port=port, by_operator=True)
            self.attached[place.endpoint] = locator
            startup = _Startup(task_status, place.endpoint)
            reason = "the switch ends"
            try:
                await link.run(place, task_status=startup)
                reason = "the far end has left"
            except LinkError as error:
                if not startup.is_done:
                    raise
                reason = str(error)
            finally:
                self.attached.pop(place.endpoint, None)
                place.detach(reason)

    def find(self, locator: Locator, port: int) -> Endpoint | None:
        """Find a link by what it was opened from and the port that it is plugged into."""
        return next(
            (one for one, place in self.attached.items() if place == locator and one.port.number == port),
            None,
        )

    def eject(self, endpoint: Endpoint, reason: str) -> None:
        """Unplug a link and close it; its task ends by itself."""
        self.attached.pop(endpoint, None)
        self._fabric.eject(endpoint, reason)

    def relocate(self, endpoint: Endpoint, locator: Locator) -> None:
        """Note that a link was changed by command: ``locator`` would now open it as it is."""
        if endpoint in self.attached:
            self.attached[endpoint] = locator

    # --- listeners ---

    async def listen(
        self, locator: Locator, peers: tuple[PeerSection, ...] = (), *, is_vital: bool = False
    ) -> ListenerInfo:
        """Open a listener. Cancelled, it leaves nothing behind.

        Args:
            locator: where to listen.
            peers: of WireGuard, who may call beside those in the files that the locator stands for.
            is_vital: the switch is to end when the listener breaks.

        Raises:
            SettingsError: the locator names no listener.
            LinkError: it cannot be opened.
            RefusedError: it wants ports that it cannot have.
        """
        assert self._nursery is not None
        opened: _OpenListener = await self._nursery.start(self._run_listener, locator, peers, is_vital)
        return self._describe(opened)

    async def close_listener(self, number: int) -> bool:
        """Close a listener with all its links; tell whether there was one of that number."""
        opened = self._open.get(number)
        if opened is None:
            return False
        opened.scope.cancel()
        await opened.ended.wait()
        return True

    def find_listener(self, locator: Locator) -> int | None:
        """Give the number of the listener that was opened from ``locator``, None if there is none."""
        return next((number for number, opened in self._open.items() if opened.locator == locator), None)

    def listener_on(self, locator: Locator) -> Listener | None:
        """Give the listener that was opened from ``locator``."""
        number = self.find_listener(locator)
        return None if number is None else self._open[number].listener

    @property
    def listeners(self) -> list[ListenerInfo]:
        """The listeners by number."""
        return [self._describe(opened) for opened in self._open.values()]

    @property
    def open_listeners(self) -> list[Listener]:
        """The listeners themselves, in the same order."""
        return [opened.listener for opened in self._open.values()]

    @property
    def listening(self) -> list[tuple[Locator, tuple[PeerSection, ...]]]:
        """What the listeners were opened from, and whom each of them would be told of."""
        return [(opened.locator, opened.listener.named_peers) for opened in self._open.values()]

    def _describe(self, opened: _OpenListener) -> ListenerInfo:
        links = len(self._fabric.made_by(opened.listener))
        return ListenerInfo(opened.number, opened.listener.description, links)

    async def _run_listener(
        self,
        locator: Locator,
        peers: tuple[PeerSection, ...],
        is_vital: bool,
        *,
        task_status: trio.TaskStatus[_OpenListener],
    ) -> None:
        listener = await open_listener(locator, peers)
        self._last_number += 1
        opened = self._open[self._last_number] = _OpenListener(self._last_number, listener, locator)
        startup = _Startup(task_status, opened)
        try:
            with listener, opened.scope:
                listener.keep_ports(self._fabric)
                await listener.serve(_Doorman(self._fabric, listener), task_status=startup)
        except LinkError as error:
            if is_vital or not startup.is_done:
                raise
            logger.error("%s", error)  # noqa: TRY400 - what happened is in the message, not in our frames
        finally:
            self._detach_all(listener)
            del self._open[opened.number]
            opened.ended.set()

    def _detach_all(self, listener: Listener) -> None:
        for endpoint in self._fabric.made_by(listener):
            self._fabric.detach(endpoint, f"{listener.description} was closed")
        listener.release_ports()


class _OpenListener:
    """A listener that runs, and how to end it."""

    def __init__(self, number: int, listener: Listener, locator: Locator) -> None:
        self.number = number
        self.locator = locator
        self.listener = listener
        self.scope = trio.CancelScope()
        self.ended = trio.Event()


class _Doorman:
    """Gives the links of one listener their places (``links.base.Accept``)."""

    def __init__(self, fabric: Fabric, listener: Listener) -> None:
        self._fabric = fabric
        self._listener = listener

    def __call__(self, link: Link, *, port: int | None = None, user: str | None = None) -> Attachment:
        return self._fabric.attach(link, port=port, user=user, listener=self._listener)


class _Startup(Generic[T]):
    """A task status that passes ``value`` on and knows whether it did: till then errors are the starter's."""

    def __init__(self, task_status: trio.TaskStatus[T], value: T) -> None:
        self._task_status = task_status
        self._value = value
        self.is_done = False

    def started(self, value: None = None) -> None:
        self.is_done = True
        self._task_status.started(self._value)
