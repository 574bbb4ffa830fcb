"""What simulated stations have in common as links: the clock, the queue of their frames, superframes cut.

The station itself is pure: frames in, frames out (``vport.station``, ``vport.router``). What it answers waits
for ``run``, so that two of them that are joined never recurse.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter, deque
from itertools import groupby
from typing import TYPE_CHECKING, Final, Protocol

import trio

from vport.links.base import Link
from vport.offload import plain_or_discard
from vport.train import Train

if TYPE_CHECKING:
    from vport.ethernet import Buffer
    from vport.links.base import Sink

MAX_QUEUED_BYTES: Final = 1 << 20  # answers that wait for ``run``; what a switch port would buffer
MAX_BATCH: Final = 64  # frames in one turn, so that one busy station does not hold up the others


class PureStation(Protocol):
    """A station without I/O."""

    def receive(self, frame: Buffer, now: float) -> list[bytes]:
        """Take a frame; give the frames that answer it."""

    def announce(self) -> list[bytes]:
        """Give the frames that tell where it is."""

    def handle_timer(self, now: float) -> list[bytes]:
        """Give the frames that are due."""

    def next_deadline(self) -> float | None:
        """When something is due."""


class SimulatedLink(Link):
    """A station at the far end of a link.

    Attributes:
        queue_limit: bytes of answers that may wait for ``run``.
    """

    queue_limit: int = MAX_QUEUED_BYTES

    def __init__(self, station: PureStation) -> None:
        self.discards: Counter[str] = Counter()
        self._station = station
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self._wake = trio.Event()
        self._is_closed = False

    @abstractmethod
    def _handle_events(self) -> None:
        """Tell what the station has to report."""

    def _begin(self) -> None:
        """Begin what the station does by itself; called whenever ``run`` starts."""

    def transmit(self, train: Train) -> None:
        """Give the frames to the station at once; its answers wait for ``run``, so nothing recurses."""
        if self._is_closed:
            self.discards["closed"] += train.count
            return
        frames = plain_or_discard(train, self.discards)
        if frames is None:
            return
        now = trio.current_time()
        for frame in frames.frames():
            answers = self._station.receive(frame, now)
            if answers:
                self._enqueue(answers)
        self._handle_events()

    async def run(self, sink: Sink, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Announce the station, and deliver what it sends, until closed."""
        task_status.started()
        self._enqueue(self._station.announce())
        self._begin()
        while not self._is_closed:
            now = trio.current_time()
            self._enqueue(self._station.handle_timer(now))
            self._handle_events()
            if self._queue:
                self._deliver_batch(sink)
                await trio.lowlevel.checkpoint()
            else:
                await self._sleep()

    async def _sleep(self) -> None:
        """Wait until the station has something to do or somebody wakes us."""
        self._wake = trio.Event()
        deadline = self._station.next_deadline()
        with trio.CancelScope(deadline=float("inf") if deadline is None else deadline):
            await self._wake.wait()

    def _enqueue(self, frames: list[bytes]) -> None:
        for frame in frames:
            if self._queued_bytes + len(frame) > self.queue_limit:
                self.discards["queue full"] += 1
                continue
            self._queued_bytes += len(frame)
            self._queue.append(frame)
        self._wake.set()

    def _deliver_batch(self, sink: Sink) -> None:
        """Deliver what waits, up to a bound, neighbours of the same size as one train."""
        batch = [self._queue.popleft() for _ in range(min(len(self._queue), MAX_BATCH))]
        self._queued_bytes -= sum(map(len, batch))
        for size, frames in groupby(batch, key=len):
            sink.deliver(Train(b"".join(frames), size))
        sink.flush()

    def close(self) -> None:
        """End ``run``. Idempotent."""
        self._is_closed = True
        self._queue.clear()
        self._queued_bytes = 0
        self._wake.set()
