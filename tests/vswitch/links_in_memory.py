"""A link that only remembers: for tests of the core."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import trio

from vport.links.base import Link, Sink

if TYPE_CHECKING:
    from vport.train import Train


class RecordingLink(Link):
    """Keeps a copy of every frame that it is to transmit; receives nothing."""

    def __init__(self, description: str = "recorder") -> None:
        self.description = description
        self.module = "test"
        self.discards: Counter[str] = Counter()
        self.sent: list[bytes] = []
        self.flushes = 0
        self.is_closed = False

    def transmit(self, train: Train) -> None:
        self.sent += [bytes(frame) for frame in train.frames()]

    def flush(self) -> None:
        self.flushes += 1

    async def run(self, sink: Sink, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        await trio.sleep_forever()

    def close(self) -> None:
        self.is_closed = True
