"""Waiting for descriptors to become readable, in the fewest steps that a lone frame needs.

Trio's way from a readable descriptor to the task that waits for it takes some 20 µs: re-arming, the run loop,
switching tasks. A frame crosses a port, a switch and a port, and so does the answer, so that this wait is
most of a round trip. Frames seldom come alone, though. Hence, after one has come, the task that handled it
lingers: for a few milliseconds it waits in the kernel itself, for *all* descriptors that links of this Trio
run serve, and calls their turns directly. Nothing is polled in a busy loop.

What that costs the others: while frames come, a task that waits for a timer may have to wait up to
``PATIENCE`` longer, one that waits for a socket which is not served here, or for a timer that a frame's turn
has put forward, up to ``REST``, and a lingering task wakes up once in ``PATIENCE``, which is some 2 % of a
core. What a frame itself woke has its turn before the next wait, or under load within ``PATIENCE``. When
nothing has come for ``HOT_TIME``, everything is Trio's again.
"""

from __future__ import annotations

import contextlib
import select
import time
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE: Final = 0.001  # seconds; the shortest time that epoll_wait can be told to wait
REST: Final = 0.005  # seconds; to go round by Trio takes as long as to carry two trains
HOT_TIME: Final = 0.01  # seconds; the answer to a frame, and the next frame of a flow, come sooner


async def serve_readable(descriptor: int, turn: Callable[[], bool]) -> None:
    """Call ``turn`` whenever ``descriptor`` is readable, until cancelled.

    ``turn`` does a bounded amount of work, never blocks, and returns whether more may be waiting. It may be
    called by another task than this one. What it raises is raised here. Cancellation may take place
    between any two turns.

    Raises:
        ClosedResourceError: the descriptor is about to be closed, see ``notify_closing``.
    """
    watch = _current_watch()
    with watch.serving(descriptor, turn) as served:
        with served.scope:
            while True:
                await trio.lowlevel.wait_readable(descriptor)
                turn()
                await watch.linger()
        if served.error is not None:
            raise served.error


def notify_closing(descriptor: int) -> None:
    """Tell whoever serves ``descriptor`` that it is about to be closed; as Trio's function of this name."""
    trio.lowlevel.notify_closing(descriptor)
    _current_watch().drop(descriptor)


class _Served:
    """A descriptor that is being served."""

    __slots__ = ("error", "scope", "turn")

    def __init__(self, turn: Callable[[], bool]) -> None:
        self.turn = turn
        self.scope = trio.CancelScope()
        self.error: Exception | None = None

    def take_turn(self) -> None:
        """Call ``turn`` on behalf of the task that serves it; an error is that task's."""
        try:
            self.turn()
        except Exception as error:  # noqa: BLE001 - it is raised where it belongs
            self.error = error
            self.scope.cancel()


class _Woken(trio.abc.Instrument):
    """Notes that tasks have become runnable: to ask Trio before each wait would take longer than a frame.

    Attributes:
        any: there were some.
        ignored: those that serve descriptors; they are not needed while one of them lingers.
    """

    def __init__(self) -> None:
        self.any = False
        self.ignored: set[trio.lowlevel.Task] = set()

    def task_scheduled(self, task: trio.lowlevel.Task) -> None:
        """Take note of a task that is to go on."""
        if task not in self.ignored:
            self.any = True


class _Watch:
    """All descriptors that are served in one Trio run."""

    def __init__(self) -> None:
        self._served: dict[int, _Served] = {}
        self._woken = _Woken()
        self._epoll: select.epoll | None = None
        self._is_lingering = False

    @contextlib.contextmanager
    def serving(self, descriptor: int, turn: Callable[[], bool]) -> Iterator[_Served]:
        """Watch ``descriptor`` too, until the context is left or the descriptor closed."""
        served = _Served(turn)
        if self._epoll is None:
            self._epoll = select.epoll()
            trio.lowlevel.add_instrument(self._woken)
        task = trio.lowlevel.current_task()
        try:
            self._epoll.register(descriptor, select.EPOLLIN)  # refused for a regular file
            self._served[descriptor] = served
            self._woken.ignored.add(task)
            yield served
        finally:
            self._woken.ignored.discard(task)
            if self._served.get(descriptor) is served:  # else it was dropped, and its number may be reused
                self._forget(descriptor)
            if not self._served and self._epoll is not None:
                self._epoll.close()
                self._epoll = None
                trio.lowlevel.remove_instrument(self._woken)

    def drop(self, descriptor: int) -> None:
        """Stop serving a descriptor that is about to be closed, and tell the task that serves it."""
        served = self._served.get(descriptor)
        if served is not None:
            self._forget(descriptor)
            served.error = trio.ClosedResourceError()
            served.scope.cancel()

    def _forget(self, descriptor: int) -> None:
        assert self._epoll is not None
        del self._served[descriptor]
        self._epoll.unregister(descriptor)

    async def linger(self) -> None:
        """Serve all descriptors until nothing has come for ``HOT_TIME``; one task at a time does that."""
        if self._is_lingering:
            await trio.lowlevel.checkpoint()
            return
        self._is_lingering = True
        try:
            await self._serve_while_hot()
        finally:
            self._is_lingering = False

    async def _serve_while_hot(self) -> None:
        rested_at, rest_at = await self._rest()
        heard_at = now = rested_at
        while now - heard_at < HOT_TIME:
            is_due = self._woken.any or now >= rest_at
            # More frames may have come meanwhile, as under load they always have: they go first, for a while.
            ready = self._poll(0) if is_due and now - rested_at < PATIENCE else []
            if is_due and not ready:
                rested_at, rest_at = await self._rest()
            ready = ready or self._poll(PATIENCE)
            for descriptor, _ in ready:
                served = self._served.get(descriptor)
                if served is not None:
                    served.take_turn()
            now = time.monotonic()
            if ready:
                heard_at = now

    async def _rest(self) -> tuple[float, float]:
        """Let other tasks go on; give the monotonic time, and the latest time to do so again."""
        self._woken.any = False
        # Trio runs in no order what has become runnable together, so that once is not enough.
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
        now = time.monotonic()
        next_deadline = trio.lowlevel.current_statistics().seconds_to_next_deadline
        return now, now + min(REST, next_deadline)

    def _poll(self, patience: float) -> list[tuple[int, int]]:
        """Wait for any of the descriptors, in seconds; none are ready where none is served any more."""
        return [] if self._epoll is None else self._epoll.poll(patience)


_watch_of_run: Final = trio.lowlevel.RunVar[_Watch]("links.readiness")


def _current_watch() -> _Watch:
    try:
        return _watch_of_run.get()
    except LookupError:
        watch = _Watch()
        _watch_of_run.set(watch)
        return watch
