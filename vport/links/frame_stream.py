"""Frames over a pair of descriptors that carry bytes: a stream socket, or two pipes.

What is to be sent is written at once as far as the kernel takes it; the rest waits in a queue bounded in
bytes, behind which frames are discarded. A far end that never reads therefore costs a queue and harms
nobody else. What a frame is in the stream says ``vport.framing``.
"""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING, Final

import trio

from vport.errors import RemoteProtocolError
from vport.framing import FrameReader, Framing, frame_train
from vport.links.readiness import notify_closing, serve_readable
from vport.links.reconnecting import Session, reason_of
from vport.offload import plain_or_discard
from vport.train import Train

if TYPE_CHECKING:
    from collections import Counter

    from vport.links.base import Sink

QUEUE_MAXIMUM: Final = 1 << 20  # bytes that wait for one far end: 8 ms at a gigabit per second
_PIECES: Final = 64  # of the queue that one system call writes


class FrameStream(Session):
    """Frames through two descriptors, which it owns.

    Args:
        receiving: non-blocking, or one that is readable whenever it says so.
        sending: non-blocking; may be the same.
        framing: how the stream is cut into frames.
        discards: frames neither delivered nor sent, by reason.
        by_frame: write each frame by itself. A pipe that keeps writes apart (O_DIRECT) then never gives
            a reader half a length, which some do not survive.
    """

    def __init__(
        self,
        receiving: int,
        sending: int,
        framing: Framing,
        discards: Counter[str],
        *,
        by_frame: bool = False,
    ) -> None:
        self._receiving = receiving
        self._sending = sending
        self._framing = framing
        self._discards = discards
        self._by_frame = by_frame
        self._reader = FrameReader(framing, discards)
        self._queue: deque[bytes | memoryview] = deque()
        self._queued = 0
        self._is_blocked = False  # the kernel takes no more; the task in ``carry`` goes on
        self._blocked = trio.Event()
        self._scope = trio.CancelScope()
        self._end: str | None = None

    # --- out ---

    def transmit(self, train: Train) -> None:
        """Queue ``train`` until ``flush``; discard it when too much waits."""
        if self._queued + len(train.data) > QUEUE_MAXIMUM:
            self._discards["queue-full"] += train.count
            return
        frames = plain_or_discard(train, self._discards)
        if frames is None:
            return
        if self._by_frame and len(frames.data) > frames.frame_size:
            for frame in frames.frames():
                self._enqueue(Train(frame, len(frame)))
        else:
            self._enqueue(frames)

    def _enqueue(self, train: Train) -> None:
        piece = frame_train(self._framing, train, self._discards)
        if piece:
            self._queue.append(piece)
            self._queued += len(piece)

    def flush(self) -> None:
        """Write what waits, as far as the kernel takes it."""
        if self._queue and not self._is_blocked:
            self._write()

    def _write(self) -> None:
        """Write until the queue is empty or the kernel takes no more."""
        queue, most = self._queue, 1 if self._by_frame else _PIECES
        try:
            while queue:
                pieces = [queue[index] for index in range(min(most, len(queue)))]
                self._written(os.writev(self._sending, pieces))
        except BlockingIOError:
            self._is_blocked = True
            self._blocked.set()
        except OSError as error:
            queue.clear()
            self._queued = 0
            self._finish(reason_of(error))

    def _written(self, size: int) -> None:
        """Take ``size`` bytes off the queue."""
        queue = self._queue
        self._queued -= size
        while size:
            piece = queue.popleft()
            if len(piece) > size:
                queue.appendleft(memoryview(piece)[size:])
                return
            size -= len(piece)

    async def _write_blocked(self) -> None:
        """Go on writing whenever the kernel takes something again."""
        while True:
            await self._blocked.wait()
            try:
                await trio.lowlevel.wait_writable(self._sending)
            except trio.ClosedResourceError:
                return
            self._is_blocked = False
            self._blocked = trio.Event()
            self._write()

    # --- in ---

    async def carry(self, sink: Sink) -> str:
        """Deliver what comes in until the stream ends, breaks or makes no sense; say how."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._write_blocked)
                    await self._receive(sink)
        finally:
            self._scope = trio.CancelScope()  # cancelled from outside, it may be carried on
        return self._end or "closed"

    def _finish(self, reason: str) -> None:
        """End ``carry``; the first reason counts."""
        if self._end is None:
            self._end = reason
        self._scope.cancel()

    async def _receive(self, sink: Sink) -> None:
        """Take turns until the stream ends."""

        def turn() -> bool:
            return self._turn(sink)

        try:
            await serve_readable(self._receiving, turn)
        except trio.ClosedResourceError:
            self._finish("closed")
        except PermissionError:  # a regular file, which epoll does not take, is always readable
            while self._end is None:
                turn()
                await trio.lowlevel.checkpoint()

    def _turn(self, sink: Sink) -> bool:
        """Read once and deliver what is complete; tell whether there may be more."""
        reader = self._reader
        space = reader.space()
        try:
            size = os.readv(self._receiving, (space,))
        except BlockingIOError:
            return False
        except OSError as error:
            self._finish(reason_of(error))
            return False
        if not size:
            self._finish("the far end has closed" + (" in the middle of a frame" if reader.held else ""))
            return False
        try:
            for train in reader.received(size):
                sink.deliver(train)
            sink.flush()
            if reader.held:
                reader.received(0)  # what is left may be a length that makes no sense
        except RemoteProtocolError as error:
            self._discards["malformed"] += 1
            self._finish(f"the far end sent {error}")
            return False
        return size == len(space)

    def close(self) -> None:
        """Close the descriptors. Idempotent."""
        self._finish("closed")
        for descriptor in {self._receiving, self._sending} - {-1}:
            notify_closing(descriptor)
            os.close(descriptor)
        self._receiving = self._sending = -1
        self._queue.clear()
        self._queued = 0
