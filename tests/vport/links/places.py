"""A small stand-in for a switch: gives links places and remembers what they deliver."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from vport.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from vport.links.base import Link
    from vport.train import Train

FRAME = b"\xff" * 6 + b"\2\0\0\0\0\1" + b"\x88\xb5" + bytes(46)


def frame(size: int = 60, mark: int = 0) -> bytes:
    """Make a broadcast frame of ``size`` bytes."""
    return FRAME[:14] + bytes([mark]) * (size - 14)


class RecordingPlace:
    """Keeps what a link delivers, and why it left."""

    def __init__(self, link: Link, port_number: int = 1, user: str | None = None) -> None:
        self.link = link
        self.port_number = port_number
        self.user = user
        self.frames: list[bytes] = []
        self.trains: list[int] = []
        self.reason: str | None = None

    def deliver(self, train: Train) -> None:
        self.frames += [bytes(one) for one in train.frames()]
        self.trains.append(train.count)

    def flush(self) -> None:
        pass

    def detach(self, reason: str) -> None:
        if self.reason is None:
            self.reason = reason


class Desk:
    """Accepts links, as the fabric of a switch does."""

    def __init__(self, ports: int = 8) -> None:
        self.places: list[RecordingPlace] = []
        self._ports = ports

    def __call__(self, link: Link, *, port: int | None = None, user: str | None = None) -> RecordingPlace:
        if port is not None and port > self._ports:
            raise RefusedError(f"there is no port {port}")
        place = RecordingPlace(link, port or len(self.places) + 1, user)
        self.places.append(place)
        return place


async def until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    """Let other tasks run until ``condition`` holds."""
    with trio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for is in the kernel
            await trio.sleep(0.002)
