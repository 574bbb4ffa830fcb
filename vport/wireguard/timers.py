"""The timers of one peer (WG 6; wireguard.md section 7): deadlines, and what moves them.

=============  ===========================================  ==================
timer          armed                                        cancelled
=============  ===========================================  ==================
RETRANSMIT     initiation sent: 5 s + jitter                handshake complete
KEEPALIVE      data received: 10 s if unarmed,              anything sent
               else once more when it fires
NEW_HANDSHAKE  data sent: 15 s + jitter if unarmed          traffic received
ZERO_KEYS      session derived: 540 s, again each time
PERSISTENT     traffic either way: the interval, each time
=============  ===========================================  ==================

"Data" is a transport message that is not empty, "traffic" any authenticated message.
"""

from __future__ import annotations

from enum import Enum, auto
from math import inf
from typing import TYPE_CHECKING

from vport.wireguard.constants import (
    KEEPALIVE_TIMEOUT,
    REJECT_AFTER_TIME,
    REKEY_TIMEOUT,
    REKEY_TIMEOUT_JITTER,
)

if TYPE_CHECKING:
    from vport.wireguard.keys import Entropy


class Timer(Enum):
    """What fires; in the order in which timers that are due together are handled."""

    ZERO_KEYS = auto()
    RETRANSMIT = auto()
    NEW_HANDSHAKE = auto()
    KEEPALIVE = auto()
    PERSISTENT = auto()


class Timers:
    """Deadlines in monotonic seconds; ``inf`` is disarmed.

    Attributes:
        interval: seconds of the persistent keepalive, 0 for none.
    """

    __slots__ = (
        "_entropy",
        "again",
        "interval",
        "keepalive",
        "new_handshake",
        "persistent",
        "retransmit",
        "zero_keys",
    )

    def __init__(self, entropy: Entropy, interval: float) -> None:
        self._entropy = entropy
        self.interval = interval
        self.again = False
        self.keepalive = self.new_handshake = self.persistent = self.retransmit = self.zero_keys = inf

    def next_deadline(self) -> float:
        """Give the earliest deadline, ``inf`` where all are disarmed."""
        return min(self.keepalive, self.new_handshake, self.persistent, self.retransmit, self.zero_keys)

    def due(self, now: float) -> Timer | None:
        """Disarm one timer that is due, the first in the order of ``Timer``, and name it."""
        if self.zero_keys <= now:
            self.zero_keys = inf
            return Timer.ZERO_KEYS
        if self.retransmit <= now:
            self.retransmit = inf
            return Timer.RETRANSMIT
        if self.new_handshake <= now:
            self.new_handshake = inf
            return Timer.NEW_HANDSHAKE
        if self.keepalive <= now:
            self.keepalive = inf
            return Timer.KEEPALIVE
        if self.persistent <= now:
            self.persistent = inf
            return Timer.PERSISTENT
        return None

    def _jitter(self) -> float:
        return int.from_bytes(self._entropy(2), "little") / 65536 * REKEY_TIMEOUT_JITTER

    def initiation_due(self, sent_at: float) -> None:
        """An initiation went out at ``sent_at``, or may not follow the message of then any sooner."""
        self.retransmit = sent_at + REKEY_TIMEOUT + self._jitter()

    def message_sent(self, now: float) -> None:
        """Any authenticated message went out."""
        self.keepalive = inf
        self.again = False
        if self.interval:
            self.persistent = now + self.interval

    def message_received(self, now: float) -> None:
        """Any authenticated message came in."""
        self.new_handshake = inf
        if self.interval:
            self.persistent = now + self.interval

    def data_sent(self, now: float) -> None:
        """A transport message that is not empty went out."""
        if self.new_handshake == inf:
            self.new_handshake = now + KEEPALIVE_TIMEOUT + REKEY_TIMEOUT + self._jitter()

    def data_received(self, now: float) -> None:
        """A transport message that is not empty came in."""
        if self.keepalive == inf:
            self.keepalive = now + KEEPALIVE_TIMEOUT
        else:
            self.again = True

    def keepalive_sent(self, now: float, *, again: bool) -> None:
        """The passive keepalive fired; ``again``: data had come in after it was armed."""
        if again:
            self.keepalive = now + KEEPALIVE_TIMEOUT

    def session_derived(self, now: float) -> None:
        """New transport keys exist."""
        self.zero_keys = now + 3 * REJECT_AFTER_TIME

    def handshake_complete(self) -> None:
        """A handshake of ours was answered, or one of the peer's confirmed."""
        self.retransmit = inf

    def given_up(self, now: float) -> None:
        """Nobody answers our initiations."""
        self.keepalive = inf
        self.again = False
        if self.zero_keys == inf:
            self.zero_keys = now + 3 * REJECT_AFTER_TIME
