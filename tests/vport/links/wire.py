"""A wire that keeps what a link delivers, for tests that wait for a certain frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio
from scapy.layers.l2 import Ether

if TYPE_CHECKING:
    from vport.train import Train


class Wire:
    """A sink that keeps what it is given and wakes who waits for it."""

    def __init__(self) -> None:
        self.trains: list[Train] = []
        self.arrived = trio.Event()

    def deliver(self, train: Train) -> None:
        self.trains.append(train.copy())
        self.arrived.set()

    def flush(self) -> None:
        """Nothing is lent: every train was copied."""

    def frames(self) -> list[Any]:
        return [Ether(bytes(frame)) for train in self.trains for frame in train.frames()]

    async def until(self, layer: Any) -> Any:
        """Wait for a frame with a layer; give the first."""
        with trio.fail_after(5):
            while True:
                for frame in self.frames():
                    if layer in frame:
                        return frame
                self.arrived = trio.Event()
                await self.arrived.wait()

    async def take(self, layer: Any) -> Any:
        """Wait for a frame with a layer; give the first and forget all."""
        found = await self.until(layer)
        self.trains.clear()
        return found
