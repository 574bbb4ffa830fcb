"""A cable: two links joined, what one receives the other transmits, with faults if wished.

    await run_cable(one, other)                             # a clear one
    await run_cable(one, other, Wire(seed, ImpairmentSettings.read(loss="1%")))

``Cable`` is the same as an object that commands can act on while it runs.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import trio

from vport.impaired import ImpairedWire
from vport.impairment import Wire
from vport.loop_probe import INTERVAL
from vport.train import lone

if TYPE_CHECKING:
    from collections.abc import Callable

    from vport.impaired import Entry
    from vport.impairment.markov import Transition
    from vport.links.base import Link, Sink
    from vport.loop_probe import LoopProbe
    from vport.train import Train

logger = logging.getLogger(__name__)

_FIRST_PROBES: Final = (0.5, 2.0)  # seconds after the start: a UDP link may need a moment to be known


class CableEnd:
    """The way out of a cable: the link there (``links.base.Sink``)."""

    __slots__ = ("deliver", "flush")

    def __init__(self, link: Link) -> None:
        self.deliver = link.transmit
        self.flush = link.flush


class ProbedEntry:
    """The way into a cable that looks for its probe (``links.base.Sink``)."""

    __slots__ = ("_deliver", "_found", "_is_probe", "flush")

    def __init__(self, entry: Entry, probe: LoopProbe, found: Callable[[], None]) -> None:
        self._deliver = entry.deliver
        self._is_probe = probe.is_in
        self._found = found
        self.flush = entry.flush

    def deliver(self, train: Train) -> None:
        """Pass a train on, unless it is the probe come back."""
        if self._is_probe(train):
            self._found()
        else:
            self._deliver(train)


class Cable:
    """Two open links, joined while ``run`` runs. Fulfils ``cable_shell.CableControl``.

    Args:
        one: the left end.
        other: the right end.
        wire: what happens to frames; nothing by default.
        probe: looks whether both ends are on the same LAN; None does not look.
        report: told of changes between Markov states.

    Attributes:
        wire: what happens to frames.
        has_loop: both ends were found to be on the same LAN.
    """

    def __init__(
        self,
        one: Link,
        other: Link,
        wire: Wire | None = None,
        *,
        probe: LoopProbe | None = None,
        report: Callable[[list[Transition]], None] | None = None,
    ) -> None:
        self.wire = wire or Wire(0)
        self.has_loop = False
        self._links = (one, other)
        self._probe = probe
        self._impaired = ImpairedWire(self.wire, CableEnd(other), CableEnd(one), report)
        self._scope = trio.CancelScope()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Carry trains until one link ends, or ``stop``; ``started`` once traffic can flow.

        A link that announces a station for its far end announces the one behind the other link.
        Cancellation leaves both links usable.

        Raises:
            LinkError: one of them broke.
        """
        one, other = self._links
        for link, neighbour in ((one, other), (other, one)):
            if link.station is None:
                link.station = neighbour.station
        with self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._impaired.run)
                for link, entry in zip(self._links, self._impaired.entries.values(), strict=True):
                    await nursery.start(self._carry, link, self._watched(entry))
                if self._probe is not None:
                    nursery.start_soon(self._look_for_loop, self._probe)
                task_status.started()

    async def _carry(self, link: Link, sink: Sink, *, task_status: trio.TaskStatus[None]) -> None:
        await link.run(sink, task_status=task_status)
        self._scope.cancel()

    # --- control ---

    def now(self) -> float:
        """Give the time on the cable's clock, in seconds."""
        return trio.current_time()

    def changed(self) -> None:
        """Take note that settings of the wire were changed."""
        self._impaired.changed()

    def publish_events(self) -> None:
        """Pass on what happened: a cable reports by itself."""

    def stop(self) -> None:
        """End the cable in an orderly way."""
        self._scope.cancel()

    # --- loops ---

    def _watched(self, entry: Entry) -> Sink:
        return entry if self._probe is None else ProbedEntry(entry, self._probe, self._found_loop)

    async def _look_for_loop(self, probe: LoopProbe) -> None:
        for pause in _FIRST_PROBES:
            await trio.sleep(pause)
            self._send(probe)
        while True:
            await trio.sleep(INTERVAL)
            self._send(probe)

    def _send(self, probe: LoopProbe) -> None:
        for link in self._links:
            link.transmit(lone(probe.frame))
            link.flush()

    def _found_loop(self) -> None:
        if not self.has_loop:
            self.has_loop = True
            one, other = self._links
            logger.warning(
                "%s and %s are on the same LAN: this cable makes a loop, in which broadcasts go round for"
                " ever unless a switch runs spanning tree (fstp/setfstp 1); remove one of the ways",
                one.description,
                other.description,
            )


async def run_cable(
    one: Link,
    other: Link,
    wire: Wire | None = None,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Carry trains between two open links until one of them ends; ``started`` once traffic can flow.

    Args:
        one: the left end.
        other: the right end.
        wire: what happens to frames between them; nothing by default.
        task_status: told when traffic can flow.

    Raises:
        LinkError: one of them broke.
    """
    await Cable(one, other, wire).run(task_status=task_status)
