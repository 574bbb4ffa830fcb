"""A bound on how often something may be done, as a token bucket on the caller's clock."""

from __future__ import annotations


class RateLimit:
    """A bucket of ``burst`` tokens, one of which comes back every ``interval`` seconds."""

    __slots__ = ("_asked_at", "_burst", "_interval", "_suppressed", "_tokens")

    def __init__(self, *, burst: int, interval: float) -> None:
        self._burst = burst
        self._interval = interval
        self._tokens = float(burst)
        self._asked_at: float | None = None
        self._suppressed = 0

    def ask(self, now: float) -> tuple[bool, int]:
        """Ask whether it may be done at ``now``.

        Returns:
            whether it may, and if so how many times it was refused since it last was allowed.
        """
        if self._asked_at is not None:
            self._tokens = min(self._burst, self._tokens + (now - self._asked_at) / self._interval)
        self._asked_at = now
        if self._tokens < 1:
            self._suppressed += 1
            return False, 0
        self._tokens -= 1
        suppressed, self._suppressed = self._suppressed, 0
        return True, suppressed
