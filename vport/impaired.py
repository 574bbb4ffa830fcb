"""A wire with impairments in real time: frames go in on one side and come out when their time has come.

The decisions are ``vport.impairment``'s. This module gives it the clock, waits for its deadlines, and cuts
trains into frames where there is anything to be done to them; a direction that is clear lets trains pass
whole, at the cost of two comparisons.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import trio

from vport.errors import FrameError
from vport.impairment import BOTH
from vport.offload import plain
from vport.train import Train

if TYPE_CHECKING:
    from collections.abc import Callable

    from vport.impairment import Impairment, Wire
    from vport.impairment.markov import Transition
    from vport.links.base import Sink


class Entry:
    """Where the frames of one direction go in (``links.base.Sink``)."""

    __slots__ = ("_bypass", "_channel", "_deliver_exit", "_flush_exit", "_wire")

    def __init__(self, wire: ImpairedWire, channel: Impairment, exit_: Sink) -> None:
        self._wire = wire
        self._channel = channel
        self._bypass = channel.bypass
        self._deliver_exit = exit_.deliver
        self._flush_exit = exit_.flush

    def deliver(self, train: Train) -> None:
        """Take a train: passed on at once where the wire is clear, else copied frame by frame."""
        if self._bypass(train.count, train.wire_bytes):
            self._deliver_exit(train)
            return
        channel = self._channel
        try:
            frames = plain(train).frames()
        except FrameError:
            channel.statistics.malformed += train.count
            return
        now = trio.current_time()
        for frame in frames:
            channel.receive(frame, now)

    def flush(self) -> None:
        """Finish with the trains delivered so far."""
        if not self._channel.is_clear:
            self._wire.pass_on(self)
        self._flush_exit()

    def pass_due(self, now: float) -> bool:
        """Deliver what is due at ``now``, neighbours of one size as one train; tell whether there was any."""
        frames = self._channel.due(now)
        for size, group in groupby(frames, key=len):
            self._deliver_exit(Train(b"".join(group), size or 1))
        return bool(frames)

    def finish(self, now: float) -> None:
        """Deliver what is due at ``now`` and flush."""
        if self._channel.waiting and self.pass_due(now):
            self._flush_exit()


class ImpairedWire:
    """Runs a ``Wire`` between two places that frames leave it at. Fulfils ``cable_shell.WireControl``.

    Args:
        wire: what happens to frames; may be changed at any time, followed by ``changed``.
        right: where frames of direction left to right come out.
        left: where the others do.
        report: told of changes between Markov states.

    Attributes:
        entries: where frames of each direction go in.
    """

    def __init__(
        self,
        wire: Wire,
        right: Sink,
        left: Sink,
        report: Callable[[list[Transition]], None] | None = None,
    ) -> None:
        self.wire = wire
        self._report = report
        self.entries = {
            direction: Entry(self, wire.channels[direction], exit_)
            for direction, exit_ in zip(BOTH, (right, left), strict=True)
        }
        self._wake = trio.Event()
        self._armed_at = float("inf")  # when ``run`` will wake by itself

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Let frames out when their time has come, until cancelled."""
        task_status.started()
        while True:
            deadline = self.wire.next_deadline()
            self._armed_at = float("inf") if deadline is None else deadline
            self._wake = trio.Event()
            with trio.move_on_at(self._armed_at):
                await self._wake.wait()
            self._tick(trio.current_time())

    def now(self) -> float:
        """Give the time on the wire's clock, in seconds."""
        return trio.current_time()

    def changed(self) -> None:
        """Look at the deadlines again: settings have changed."""
        self._wake.set()

    def pass_on(self, entry: Entry) -> None:
        """Let out what is due in one direction, and be awake in time for what is not."""
        entry.pass_due(trio.current_time())
        deadline = self.wire.next_deadline()
        if deadline is not None and deadline < self._armed_at:
            self._wake.set()

    def _tick(self, now: float) -> None:
        transitions = self.wire.advance(now)
        if transitions and self._report is not None:
            self._report(transitions)
        for entry in self.entries.values():
            entry.finish(now)
