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
    """What has come in since the last ``take``: bounded, and no port takes the room of another."""

    __slots__ = ("_counts", "_frames")

    def __init__(self) -> None:
        self._frames: deque[tuple[Port, bytes]] = deque()
        self._counts: dict[Port, int] = {}

    def __bool__(self) -> bool:
        return bool(self._frames)

    def put(self, port: Port, train: Train) -> int:
        """Keep copies of the frames of ``train``, as many as the port may have waiting.

        Returns:
            how many frames found no room.
        """
        count = self._counts.get(port, 0)
        try:
            frames = plain(train).frames()
        except FrameError:
            return train.count
        lost = 0
        for frame in frames:
            if count >= PER_PORT:
                lost += 1
                continue
            count += 1
            self._frames.append((port, bytes(frame)))
        self._counts[port] = count
        return lost

    def take(self) -> list[tuple[Port, bytes]]:
        """Give what waits, in the order in which it came in, and forget it."""
        frames = list(self._frames)
        self._frames.clear()
        self._counts.clear()
        return frames
