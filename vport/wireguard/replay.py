"""The replay window: each counter once, and none that is too old (WG 5.4.6, RFC 6479).

A ring of 128 words of 64 bits. One word is slack, so that no word is cleared while a counter in it is
still in the window: hence a lag of 127 × 64 = 8128.
"""

from __future__ import annotations

from typing import Final

from vport.wireguard.constants import REJECT_AFTER_MESSAGES, REPLAY_WINDOW

_WORDS: Final = 128
_WORD: Final = 64
_ALL: Final = (1 << _WORD) - 1


class ReplayWindow:
    """The counters accepted so far from one keypair. Mark only what has been authenticated."""

    __slots__ = ("_last", "_ring")

    def __init__(self) -> None:
        self._last = 0
        self._ring = [0] * _WORDS

    def accept(self, counter: int) -> bool:
        """Mark ``counter``; False where it was marked before, lies too far back or is out of range."""
        if counter >= REJECT_AFTER_MESSAGES:
            return False
        if counter > self._last:
            self._advance(counter)
        elif self._last - counter > REPLAY_WINDOW:
            return False
        slot = counter >> 6 & 127
        bit = 1 << (counter & 63)
        word = self._ring[slot]
        if word & bit:
            return False
        self._ring[slot] = word | bit
        return True

    def accept_run(self, first: int, count: int) -> bool:
        """Mark ``count`` consecutive counters from ``first`` at once, if all are newer than any before.

        False, with nothing marked, where they are not: the caller then asks for each.
        """
        end = first + count  # the first counter after the run
        if first <= self._last or end > REJECT_AFTER_MESSAGES:
            return False
        self._advance(end - 1)
        for word in range(first >> 6, (end - 1 >> 6) + 1):
            bits = _ALL
            if word == first >> 6:
                bits &= _ALL << (first & 63)
            if word == end - 1 >> 6:
                bits &= _ALL >> (63 - (end - 1 & 63))
            self._ring[word & 127] |= bits & _ALL
        return True

    def _advance(self, counter: int) -> None:
        old, new = self._last >> 6, counter >> 6
        for word in range(old + 1, min(new, old + _WORDS) + 1):
            self._ring[word & 127] = 0
        self._last = counter
