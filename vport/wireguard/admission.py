"""How much handshake work we take on: when we are under load, and what one source may ask of us then."""

from __future__ import annotations

from math import inf

from vport.rate_limit import RateLimit
from vport.wireguard.constants import (
    LOAD_BURST,
    LOAD_HOLD,
    LOAD_RATE,
    SOURCE_BURST,
    SOURCE_RATE,
    SOURCE_TABLE_LIMIT,
)


class LoadMeter:
    """Decides whether we are under load: more handshake messages than ``LOAD_RATE``, or just a while ago.

    A burst that exceeds ``LOAD_BURST`` at one instant counts as well: that is what one receive sweep
    brings after a flood. Not eager: a cookie costs a stock client 5 s.
    """

    __slots__ = ("_bucket", "_until")

    def __init__(self) -> None:
        self._bucket = RateLimit(burst=LOAD_BURST, interval=1 / LOAD_RATE)
        self._until = -inf

    def count(self, now: float) -> bool:
        """Count a message whose mac1 is right; True while under load."""
        is_bearable, _ = self._bucket.ask(now)
        if not is_bearable:
            self._until = now + LOAD_HOLD
        return now < self._until


class SourceLimiter:
    """A bucket per source address, for those who proved theirs with a cookie.

    The table is bounded: the source that was quiet longest is forgotten first, and as a bucket is full
    again after a quarter of a second, forgetting rarely gives anybody more than it had.
    """

    __slots__ = ("_buckets", "_limit")

    def __init__(self, limit: int = SOURCE_TABLE_LIMIT) -> None:
        self._buckets: dict[bytes, RateLimit] = {}
        self._limit = limit

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, network: bytes, now: float) -> bool:
        """Take a token of ``network``'s bucket; False where there is none."""
        bucket = self._buckets.pop(network, None)
        if bucket is None:
            if len(self._buckets) >= self._limit:
                del self._buckets[next(iter(self._buckets))]
            bucket = RateLimit(burst=SOURCE_BURST, interval=1 / SOURCE_RATE)
        self._buckets[network] = bucket  # at the end: the order of the table is the order of last use
        return bucket.ask(now)[0]
