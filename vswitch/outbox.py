"""Frames that the switch itself sends, gathered into a train for each port: one system call for all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vport.train import Train

if TYPE_CHECKING:
    from vswitch.ports import Port


class Outbox:
    """Frames by port, in the order in which they were put in.

    What is put in at one instant leaves at that instant, so its size is bounded by what trees and guards say
    in one go: a few frames for each port and VLAN.
    """

    __slots__ = ("_frames",)

    def __init__(self) -> None:
        self._frames: dict[Port, list[bytes]] = {}

    def __bool__(self) -> bool:
        return bool(self._frames)

    def put(self, port: Port, frame: bytes) -> None:
        """Append a frame for ``port``."""
        self._frames.setdefault(port, []).append(frame)

    def take(self) -> list[tuple[Port, Train]]:
        """Give what waits as trains of frames of one size, and forget it."""
        egress = [(port, train) for port, frames in self._frames.items() for train in trains(frames)]
        self._frames.clear()
        return egress


def trains(frames: list[bytes]) -> list[Train]:
    """Join neighbouring frames of the same size."""
    joined = []
    start = 0
    for end in range(1, len(frames) + 1):
        if end == len(frames) or len(frames[end]) != len(frames[start]):
            joined.append(Train(b"".join(frames[start:end]), len(frames[start])))
            start = end
    return joined
