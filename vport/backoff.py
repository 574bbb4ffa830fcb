"""Backoff: how long to wait before the next attempt at something that keeps failing."""

from __future__ import annotations

from typing import Final

FIRST_DELAY: Final = 0.2  # seconds; a server that restarts is back before anyone notices
LAST_DELAY: Final = 5.0  # seconds; what a port may take at most to find its switch again


class Backoff:
    """Waiting times that double from ``first`` to ``last`` seconds and stay there, for ever."""

    def __init__(self, first: float = FIRST_DELAY, last: float = LAST_DELAY) -> None:
        self._first = first
        self._last = last
        self._next = first

    def next_delay(self) -> float:
        """Give the seconds to wait now, and make the next wait longer."""
        delay = self._next
        self._next = min(self._next * 2, self._last)
        return delay

    def reset(self) -> None:
        """Begin again with the shortest wait: it worked."""
        self._next = self._first
