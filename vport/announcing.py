"""When a port announces itself to its switch: a pure decision, by the times of what it sent and heard.

A port sends a frame from its own station to its own station (``ethernet.loopback_test_frame``), so that
the switch learns where it is and every NAT on the way keeps its mapping:

* at once when it has been connected,
* when it has sent nothing for ``keepalive`` seconds,
* when it had been hearing frames and then hears none: after 1 s of silence, and again after 2, 4 and
  8 s more. Silence may mean that the switch was restarted and knows nobody; a port that only listens
  would otherwise stay unknown for a whole keepalive. It is repeated because the first may have come
  before the switch was up again, in a network that sends no refusals.
"""

from __future__ import annotations

from math import inf
from typing import Final

SILENCE: Final = 1.0  # seconds without a frame after which a switch may have been restarted
SILENCE_REPEATS: Final = 4  # announcements per silence, each after twice the time of the one before
STALE_NAME: Final = 60.0  # seconds without a frame after which the host name may mean another address


class Announcer:
    """The times of one connection, and what follows from them. Times are monotonic seconds.

    Attributes:
        sent_at: when anything was last sent. Set by whoever sends: the data path has no calls to spare.
        heard_at: when anything was last received. Set by whoever receives.
    """

    __slots__ = ("_answered", "_keepalive", "_repeats", "_since", "heard_at", "sent_at")

    def __init__(self, keepalive: float, now: float) -> None:
        self._keepalive = keepalive
        self._since = now
        self._answered = -inf  # the ``heard_at`` whose silence ``_repeats`` counts
        self._repeats = 0
        self.sent_at = -inf
        self.heard_at = -inf

    @property
    def has_heard(self) -> bool:
        """Whether anything at all has been received on this connection."""
        return self.heard_at > -inf

    def next_deadline(self) -> float:
        """Give the time of the next announcement if nothing is sent or heard until then."""
        return min(self.sent_at + self._keepalive, self._silence_deadline())

    def is_due(self, now: float) -> bool:
        """Say whether to announce now; ``announced`` must follow when that was done."""
        return now >= self.next_deadline()

    def announced(self, now: float) -> None:
        """Take note that the port has announced itself."""
        if now >= self._silence_deadline():
            self._repeats = self._repeats_so_far() + 1
            self._answered = self.heard_at
        self.sent_at = now

    def silence(self, now: float) -> float:
        """Give how many seconds nothing was heard, since the connection was made."""
        return now - max(self.heard_at, self._since)

    def _repeats_so_far(self) -> int:
        return self._repeats if self._answered == self.heard_at else 0

    def _silence_deadline(self) -> float:
        repeats = self._repeats_so_far()
        if not self.has_heard or repeats >= SILENCE_REPEATS:
            return inf
        return self.heard_at + SILENCE * ((2 << repeats) - 1)
