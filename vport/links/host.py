"""A simulated host as a link: ``host://10.1.1.2/24?ping=10.1.1.1``.

The station itself is ``vport.station.Station``, without I/O. This module gives it the clock, carries its
frames, and tells people and programs what it reports.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import trio

from vport.errors import LinkError
from vport.links.simulated import SimulatedLink
from vport.station import Station, derived_mac
from vport.station.events import (
    Conflict,
    Event,
    PingReply,
    PingSummary,
    PingTimeout,
    Unreachable,
    describe,
)
from vport.station.ping import DEFAULT_SIZE, DEFAULT_TIMEOUT, SINGLE, Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from vport.locator import HostLocator, IpAddress

logger = logging.getLogger(__name__)


class _Waiter:
    """Somebody in ``HostLink.ping``."""

    def __init__(self) -> None:
        self.ended = trio.Event()
        self.outcome: PingReply | PingTimeout | Unreachable | None = None


class HostLink(SimulatedLink):
    """A simulated host at the far end of a link.

    Attributes:
        host: the station; ask it, but give it frames only through the link.
    """

    module = "host"

    def __init__(self, locator: HostLocator, report: Callable[[str], None] = logger.info) -> None:
        mac = locator.mac or derived_mac(locator.interface)
        self.host = Station(
            mac,
            (locator.interface, *locator.address),
            gateways=locator.gateway,
            is_observing=locator.verbose,
        )
        super().__init__(self.host)
        self.station = mac
        self.description = f"host {locator.interface}"
        self._locator = locator
        self._report = report
        self._waiters: dict[Request, _Waiter] = {}
        self._has_started_pings = False

    # --- from the host ---

    def _begin(self) -> None:
        """Begin the series that the locator asks for, once, however often ``run`` is started."""
        if self._has_started_pings:
            return
        self._has_started_pings = True
        for address in self._locator.ping:
            self.host.ping_series(
                address, trio.current_time(), interval=self._locator.interval, count=self._locator.count
            )

    # --- pings for programs ---

    async def ping(
        self,
        address: IpAddress,
        timeout: float = DEFAULT_TIMEOUT,  # noqa: ASYNC109 - the station forgets the request after it
        *,
        size: int = DEFAULT_SIZE,
    ) -> float:
        """Ping once and give the round-trip time in seconds. ``run`` must be under way in another task.

        Cancellation sends nothing more; a reply that still comes is ignored.

        Raises:
            trio.TooSlowError: no reply within ``timeout`` seconds.
            LinkError: the address cannot be reached, or the link was closed; the message says why.
        """
        if self._is_closed:
            raise LinkError(f"{self.description} is closed")
        request, frames = self.host.ping(address, trio.current_time(), size=size, timeout=timeout)
        waiter = self._waiters[request] = _Waiter()
        self._enqueue(frames)
        self._handle_events()
        try:
            with trio.fail_after(timeout):
                await waiter.ended.wait()
        finally:
            del self._waiters[request]
        return self._round_trip(waiter.outcome)

    def _round_trip(self, outcome: PingReply | PingTimeout | Unreachable | None) -> float:
        if isinstance(outcome, PingReply):
            return outcome.round_trip
        if isinstance(outcome, PingTimeout):
            raise trio.TooSlowError
        if isinstance(outcome, Unreachable):
            raise LinkError(f"{outcome.address} is unreachable: {outcome.reason}")
        raise LinkError(f"{self.description} was closed")

    # --- what the host reports ---

    def _handle_events(self) -> None:
        for event in self.host.take_events():
            if isinstance(event, PingReply | PingTimeout | Unreachable):
                self._end_ping(event)
            elif self._locator.verbose or isinstance(event, PingSummary | Conflict):
                self._say(event)

    def _end_ping(self, event: PingReply | PingTimeout | Unreachable) -> None:
        """Tell whoever waits for it, or people when it is one of the locator's."""
        waiter = self._waiters.get(Request(event.address, event.identifier, event.sequence))
        if waiter is not None:
            waiter.outcome = event
            waiter.ended.set()
        if self._locator.verbose or event.identifier != SINGLE:
            self._say(event)

    def _say(self, event: Event) -> None:
        self._report(f"{self._locator.interface.ip}: {describe(event)}")

    def close(self) -> None:
        """End ``run``, the pings under way and their series, with a summary of each. Idempotent."""
        if self._is_closed:
            return
        super().close()
        self.host.stop_series()
        self._handle_events()
        for waiter in self._waiters.values():
            waiter.ended.set()


async def open_host(locator: HostLocator, report: Callable[[str], None] = logger.info) -> HostLink:
    """Open the simulated host that ``locator`` describes.

    ``report`` gets a line for people for each ping of the locator, and with ``verbose`` for all that the
    host sees.
    """
    await trio.lowlevel.checkpoint()
    return HostLink(locator, report)
