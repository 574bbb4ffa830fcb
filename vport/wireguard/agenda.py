"""Which peer's timer is next, among thousands, without looking at all of them.

Timers move all the time, mostly away: each data message does so. So an entry may be too early, never too
late, and is set right when it comes to the front.
"""

from __future__ import annotations

import itertools
from heapq import heappop, heappush
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vport.wireguard.peer import Peer


class Agenda:
    """Peers by their next deadline. ``Peer.scheduled`` is the time of the one entry that counts."""

    __slots__ = ("_entries", "_tickets")

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, Peer]] = []
        self._tickets = itertools.count()

    def enter(self, peer: Peer) -> None:
        """Note that the peer's timers may have moved; to be called after every such call."""
        deadline = peer.timers.next_deadline()
        if deadline < peer.scheduled:
            peer.scheduled = deadline
            heappush(self._entries, (deadline, next(self._tickets), peer))

    def strike(self, peer: Peer) -> None:
        """Forget a peer that is removed."""
        peer.scheduled = inf

    def next_deadline(self) -> float | None:
        """Give the earliest deadline, None where there is none."""
        entries = self._entries
        while entries:
            deadline, _, peer = entries[0]
            is_current = deadline == peer.scheduled
            if is_current and deadline == peer.timers.next_deadline():
                return deadline
            heappop(entries)
            if is_current:
                peer.scheduled = inf
                self.enter(peer)
        return None

    def take_due(self, now: float) -> Peer | None:
        """Take the peer whose deadline is earliest, if that has come; ``enter`` it again afterwards."""
        deadline = self.next_deadline()
        if deadline is None or deadline > now:
            return None
        peer = heappop(self._entries)[2]
        peer.scheduled = inf
        return peer
