"""Frames for the switch itself, which the relay sets aside: BPDUs, and probes of ours that came back."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from vport.errors import FrameError
from vport.offload import plain

if TYPE_CHECKING:
    from vport.train import Train
    from vswitch.ports import Port

PER_PORT: Final = 32  # frames between two looks, one batch of a link: a neighbour sends a few a second


class Arrivals:
    """What has come in since the last ``take``: bounded, and no port takes the room of another.

    Attributes:
        lost: frames that found no room.
    """

    __slots__ = ("_counts", "_frames", "lost")

    def __init__(self) -> None:
        self._frames: deque[tuple[Port, bytes]] = deque()
        self._counts: dict[Port, int] = {}
        self.lost = 0

    def __bool__(self) -> bool:
        return bool(self._frames)

    def put(self, port: Port, train: Train) -> None:
        """Keep copies of the frames of ``train``, as many as the port may have waiting."""
        count = self._counts.get(port, 0)
        try:
            frames = plain(train).frames()
        except FrameError:
            self.lost += train.count
            return
        for frame in frames:
            if count >= PER_PORT:
                self.lost += 1
                continue
            count += 1
            self._frames.append((port, bytes(frame)))
        self._counts[port] = count

    def take(self) -> list[tuple[Port, bytes]]:
        """Give what waits, in the order in which it came in, and forget it."""
        frames = list(self._frames)
        self._frames.clear()
        self._counts.clear()
        return frames
