"""Fairness among those who share a queue or a processor: pure decisions, ``now`` and times as arguments.

``Crowding`` tells which member of a shared receive queue keeps it full while others hardly send, so that
the caller can give it a queue of its own. ``Pace`` tells how much may be taken in one turn, so that a turn
stays short however much work each thing taken turns out to be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

T = TypeVar("T", bound="Hashable")

# A burst of TCP keeps a queue filled for some milliseconds. Who waits behind one for ten is not harmed, and
# who waits for fifty more within a second is.
BURST: Final = 0.01  # seconds for which the queue may be full each time
PATIENCE: Final = 0.05  # seconds beyond that, added up
WINDOW: Final = 1.0  # seconds over which they are added up
UNEQUAL: Final = 4  # times the frames of the least active member that make the most active one a burden

TURN: Final = 0.001  # seconds that a turn may last
TOO_LONG: Final = 0.01  # seconds; a process that has to wait for the processor waits 3 or 4 ms


class Crowding(Generic[T]):
    """Watches a queue that its members fill together.

    Only while the queue is not found empty is anything counted. Members that send about the same are left
    alone, however much they send together: apart they would gain nothing.
    """

    def __init__(self) -> None:
        self._counts: dict[T, int] = {}
        self._began = 0.0  # when the queue was first full in this window
        self._full_since: float | None = None
        self._full_at = 0.0
        self._late = 0.0  # seconds beyond bursts, before ``_full_since``

    def relieve(self) -> None:
        """Note that the queue was emptied."""
        if self._full_since is not None:
            self._late += max(0.0, self._full_at - self._full_since - BURST)
            self._full_since = None

    def crowd(self, taken: Iterable[tuple[T, int]], members: int, now: float) -> T | None:
        """Note what was taken out of a queue that holds more.

        Args:
            taken: members and how many frames of theirs it was.
            members: how many share the queue, silent ones included.
            now: in seconds.

        Returns:
            whom to take out of the queue, None for nobody (yet).
        """
        if self._full_since is None:
            self._full_since = now
            if now - self._began > WINDOW:
                self._start_anew(now)
        self._full_at = now
        counts = self._counts
        for member, frames in taken:
            counts[member] = counts.get(member, 0) + frames
        if self._late + now - self._full_since < BURST + PATIENCE or not counts:
            return None
        heaviest = max(counts, key=counts.__getitem__)
        lightest = min(counts.values()) if len(counts) >= members else 0
        is_burden = counts[heaviest] > UNEQUAL * lightest
        self._start_anew(now)
        return heaviest if is_burden else None

    def _start_anew(self, now: float) -> None:
        self._counts.clear()
        self._began = self._full_since = now
        self._late = 0.0


class Pace:
    """Adapts how much one turn takes to how long turns last.

    A lone frame costs microseconds, one that is flooded to a thousand peers a thousand times that. Turns are
    timed by the wall clock, because to ask for processor time costs as much as to forward a frame. One long
    turn may only mean that another process had the processor: it takes two in a row to shorten the next, or
    one longer than any process has to wait.

    Args:
        most: what a turn takes when that is quickly done.

    Attributes:
        limit: what the next turn may take, 1 to ``most``.
    """

    __slots__ = ("_most", "_was_long", "limit")

    def __init__(self, most: int) -> None:
        self._most = most
        self._was_long = False
        self.limit = most

    def took(self, seconds: float) -> None:
        """Note how much time a turn took."""
        if seconds > TURN:
            if self._was_long or seconds > TOO_LONG:
                self.limit = max(1, self.limit // 2)
            self._was_long = True
            return
        self._was_long = False
        if seconds < TURN / 2 and self.limit < self._most:
            self.limit = min(self._most, self.limit * 2)
