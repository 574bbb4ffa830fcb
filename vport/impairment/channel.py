"""One direction of a cable: frames in, frames out later, fewer, more, or damaged.

The way of a frame, in the order of VDE's wirefilter (specification: VDE tools, section 1):

    MTU → loss → duplication → interface (speed) → channel (buffer, bandwidth, delay, order) → noise

``receive`` takes a frame, ``due`` gives those whose time has come, ``next_deadline`` tells when that is.
Every random decision comes from the generator given at the start: the same frames at the same times meet the
same fate.

The interface sends one frame after the other, each taking its size ÷ speed; what comes meanwhile waits. A
real one would slow its sender down; here nobody can be slowed, so the wait is bounded and the excess
discarded.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vport.impairment.settings import MEGABYTE, ImpairmentSettings

if TYPE_CHECKING:
    from random import Random

    from vport.ethernet import Buffer

FRAMING: Final = 2  # bytes that wirefilter counts for each frame in the buffer, its length field
INTERFACE_QUEUE: Final = 512 * 1024  # bytes; 350 full frames, about what a network card and its driver hold
MAX_WAITING_BYTES: Final = 64 << 20  # a second at half a gigabit; more is discarded whatever the settings
MAX_WAITING_FRAMES: Final = 1 << 16  # so that tiny frames do not take many times their size in memory
MAX_COPIES: Final = 1000  # of one frame; at dup 99 % one in 23 000 frames would have more
_HIGHEST_REPEAT: Final = 0.99  # where a variation reaches beyond


@dataclass(slots=True)
class Statistics:
    """What became of the frames; ``received + duplicated`` are all the others and those still waiting.

    Attributes:
        lost: by loss, in bursts or not.
        duplicated: copies added.
        too_long: for the MTU.
        buffer_full: found the channel's buffer full.
        interface_full: found too many waiting for the interface.
        damaged: delivered with at least one bit flipped.
        flipped_bits: how many bits were.
        malformed: frames of superframes that could not be cut, which never got in: not among those received.
    """

    received: int = 0
    received_bytes: int = 0
    delivered: int = 0
    delivered_bytes: int = 0
    lost: int = 0
    duplicated: int = 0
    too_long: int = 0
    buffer_full: int = 0
    interface_full: int = 0
    damaged: int = 0
    flipped_bits: int = 0
    malformed: int = 0

    @property
    def discarded(self) -> int:
        """Frames that will not arrive, whatever the cause."""
        return self.lost + self.too_long + self.buffer_full + self.interface_full


class Impairment:
    """One direction of a cable.

    Args:
        settings: what happens to frames; it may be set anew, for frames that come after that.
        random: decides, and nothing else does.
        fifo: as the attribute.

    Attributes:
        fifo: whether a frame never overtakes an earlier one.
        statistics: what was done so far.
        channel_bytes: bytes in the channel's buffer, framing included.
    """

    def __init__(self, settings: ImpairmentSettings, random: Random, *, fifo: bool = True) -> None:
        self.fifo = fifo
        self.settings = settings
        self.statistics = Statistics()
        self.channel_bytes = 0
        self._random = random
        self._is_losing = False  # the Gilbert model's bad state
        self._interface: deque[bytes] = deque()  # the first one is being sent
        self._interface_bytes = 0
        self._sent_at = 0.0  # when the first one will have been sent
        self._free_at = 0.0  # when the channel has delivered what it was given
        self._latest = -math.inf  # delivery of the frame given to the channel last
        self._channel: list[tuple[float, int, bytes]] = []  # heap: delivery, order of arrival, frame
        self._order = 0
        self._ready: deque[tuple[float, bytes]] = deque()  # has arrived, but nobody has asked for it yet
        self._ready_bytes = 0

    # --- in and out ---

    @property
    def settings(self) -> ImpairmentSettings:
        """What happens to frames."""
        return self._settings

    @settings.setter
    def settings(self, settings: ImpairmentSettings) -> None:
        self._settings = settings
        self._is_transparent = settings.is_clear

    @property
    def waiting(self) -> int:
        """How many frames are on their way."""
        return len(self._interface) + len(self._channel) + len(self._ready)

    @property
    def is_clear(self) -> bool:
        """Whether frames may bypass this: nothing is to be done to them, none waits in front of them."""
        return self._is_transparent and not (self._channel or self._interface or self._ready)

    def receive(self, frame: Buffer, now: float) -> None:
        """Take a frame; its bytes are copied."""
        self._advance(now)
        statistics, settings, random = self.statistics, self._settings, self._random
        size = len(frame)
        statistics.received += 1
        statistics.received_bytes += size
        if not settings.mtu.is_zero and size > settings.mtu.draw(random):
            statistics.too_long += 1
        elif self._is_lost():
            statistics.lost += 1
        else:
            kept = bytes(frame)
            copies = 1 if settings.dup.is_zero else self._copies()
            statistics.duplicated += copies - 1
            for _ in range(copies):
                self._give_to_interface(kept, now)

    def bypass(self, frames: int, size: int) -> bool:
        """Count frames that pass beside this, if they may: nothing is to be done to them, none waits.

        Tells whether they may; ``receive`` must take them otherwise.
        """
        if not self.is_clear:
            return False
        statistics = self.statistics
        statistics.received += frames
        statistics.received_bytes += size
        statistics.delivered += frames
        statistics.delivered_bytes += size
        return True

    def next_deadline(self) -> float | None:
        """Tell when ``due`` has something to do, None for never."""
        deadlines = []
        if self._interface:
            deadlines.append(self._sent_at)
        if self._channel:
            deadlines.append(self._channel[0][0])
        if self._ready:
            deadlines.append(self._ready[0][0])
        return min(deadlines, default=None)

    def due(self, now: float) -> list[bytes]:
        """Give the frames that arrive by ``now``, in their order."""
        self._advance(now)
        self._release(now)
        frames = [self._delivered(frame) for _, frame in self._ready]
        self._ready.clear()
        self._ready_bytes = 0
        return frames

    # --- loss and duplication ---

    def _is_lost(self) -> bool:
        """Decide by the settings' loss, on its own or by the Gilbert model of bursts.

        In the bad state every frame is lost. Its mean length is the burst's, and the good state is left so
        often that the share of frames lost is the loss. A loss too high for such short bursts makes them
        longer.
        """
        settings, random = self._settings, self._random
        if settings.loss.is_zero:
            self._is_losing = False
            return False
        loss = settings.loss.draw(random) / 100
        if loss >= 1:
            return True
        if settings.lostburst.is_zero or not loss:
            return random.random() < loss
        burst = max(1.0, settings.lostburst.draw(random), loss / (1 - loss))
        if self._is_losing:
            self._is_losing = random.random() >= 1 / burst
        else:
            self._is_losing = random.random() < loss / (burst * (1 - loss))
        return self._is_losing

    def _copies(self) -> int:
        """Draw how often a frame is sent: each copy is repeated with the same probability."""
        again = min(self._settings.dup.draw(self._random) / 100, _HIGHEST_REPEAT)
        copies = 1
        while copies < MAX_COPIES and self._random.random() < again:
            copies += 1
        return copies

    # --- the interface ---

    def _give_to_interface(self, frame: bytes, now: float) -> None:
        if not self._interface:
            if self._settings.speed.is_zero:
                self._give_to_channel(frame, now)
                return
            self._sent_at = now + self._sending_time(frame)
        elif self._interface_bytes + len(frame) > INTERFACE_QUEUE:
            self.statistics.interface_full += 1
            return
        self._interface.append(frame)
        self._interface_bytes += len(frame)

    def _sending_time(self, frame: bytes) -> float:
        speed = self._settings.speed.draw(self._random)
        return len(frame) / speed if speed else 0.0

    def _advance(self, now: float) -> None:
        """Bring to the channel what the interface has sent by ``now``, each frame at its own time."""
        interface = self._interface
        while interface and self._sent_at <= now:
            frame = interface.popleft()
            self._interface_bytes -= len(frame)
            sent_at = self._sent_at
            if interface:
                self._sent_at = sent_at + self._sending_time(interface[0])
            self._give_to_channel(frame, sent_at)

    # --- the channel ---

    def _give_to_channel(self, frame: bytes, now: float) -> None:
        """Put a frame into the channel's buffer, if there is room at ``now``."""
        settings, random = self._settings, self._random
        self._release(now)
        size = len(frame) + FRAMING
        limit = math.inf if settings.chanbufsize.is_zero else settings.chanbufsize.draw(random)
        if self.channel_bytes + size > limit or self._is_exhausted(size):
            self.statistics.buffer_full += 1
            return
        arrival = now
        if not settings.bandwidth.is_zero:
            bandwidth = settings.bandwidth.draw(random)
            arrival = max(now, self._free_at) + (len(frame) / bandwidth if bandwidth else 0.0)
            self._free_at = arrival
        if not settings.delay.is_zero:
            arrival += settings.delay.draw(random) / 1000
        if self.fifo:
            arrival = max(arrival, self._latest)
        self._latest = max(arrival, self._latest)
        self._order += 1
        heapq.heappush(self._channel, (arrival, self._order, frame))
        self.channel_bytes += size

    def _release(self, now: float) -> None:
        """Take out of the buffer what has arrived by ``now``."""
        channel = self._channel
        while channel and channel[0][0] <= now:
            arrival, _, frame = heapq.heappop(channel)
            self.channel_bytes -= len(frame) + FRAMING
            self._ready.append((arrival, frame))
            self._ready_bytes += len(frame)

    def _is_exhausted(self, size: int) -> bool:
        held = self.channel_bytes + self._ready_bytes + size
        return held > MAX_WAITING_BYTES or len(self._channel) + len(self._ready) >= MAX_WAITING_FRAMES

    def _delivered(self, frame: bytes) -> bytes:
        noise = self._settings.noise
        if not noise.is_zero:
            frame = self._damaged(frame, noise.draw(self._random) / (8 * MEGABYTE))
        self.statistics.delivered += 1
        self.statistics.delivered_bytes += len(frame)
        return frame

    def _damaged(self, frame: bytes, rate: float) -> bytes:
        """Flip each bit with the probability ``rate``."""
        bits = len(frame) * 8
        flips = flipped_bits(bits, min(rate, 1.0), self._random)
        if not flips:
            return frame
        damaged = bytearray(frame)
        for bit in flips:
            damaged[bit >> 3] ^= 0x80 >> (bit & 7)
        self.statistics.damaged += 1
        self.statistics.flipped_bits += len(flips)
        return bytes(damaged)


def flipped_bits(bits: int, rate: float, random: Random) -> list[int]:
    """Draw which of ``bits`` bits are flipped, each with the probability ``rate``.

    Goes from one to the next by the geometric distance between them, so it takes as many steps as there are
    flips, and always ends.
    """
    if rate >= 1:
        return list(range(bits))
    if rate <= 0:
        return []
    scale = math.log1p(-rate)
    flips: list[int] = []
    at = -1
    while True:
        distance = math.log(1 - random.random()) / scale  # infinite for the tiniest rates
        if at + 1 + distance >= bits:
            return flips
        at += 1 + int(distance)
        flips.append(at)
