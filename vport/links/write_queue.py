"""Bytes that wait to be written, many at a time, by a task that does not hold up who has more of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from vport.links.capture_files import CaptureFile

PLENTY: Final = 1 << 20  # bytes that are written without waiting for more: 500 times a second at 4 Gbit/s
INTERVAL: Final = 0.2  # seconds that bytes wait for others at most; what is watched still looks live


class WriteQueue:
    """A queue of bytes for a file. Who puts bytes in looks at ``waiting`` first: the bound is theirs."""

    def __init__(self) -> None:
        self._queue = bytearray()
        self._underway = 0  # bytes that were taken out and are being written
        self._arrived = trio.Event()  # something is in the queue
        self._plenty = trio.Event()  # so much that it need not wait for more
        self._grace = trio.CancelScope(shield=True)  # what ``stop`` leaves for the rest
        self._is_stopping = False
        self._is_broken = False

    @property
    def waiting(self) -> int:
        """How many bytes are not written yet."""
        return len(self._queue) + self._underway

    def put(self, data: bytes) -> None:
        """Queue bytes; they are copied."""
        self._queue += data
        self._arrived.set()
        if len(self._queue) >= PLENTY:
            self._plenty.set()

    def resume(self) -> None:
        """Take a ``stop`` back, before ``write_to`` is called again."""
        self._is_stopping = False
        self._grace = trio.CancelScope(shield=True)

    def stop(self, grace: float) -> None:
        """Let ``write_to`` end when nothing waits any more, in ``grace`` seconds at the latest."""
        self._is_stopping = True
        self._arrived.set()
        self._plenty.set()
        self._grace.deadline = trio.current_time() + grace

    async def write_to(self, file: CaptureFile) -> int:
        """Write what comes until ``stop``; cancellation does not end it. Give the bytes that were given up.

        Raises:
            OSError: the file cannot be written, BrokenPipeError: nobody reads it any more. All that waits
                is given up.
        """
        self._is_broken = True  # whichever way it is left, but for the end
        with self._grace:
            while self._queue or not self._is_stopping:
                if not self._is_stopping:
                    await self._gather()
                data = self._take()
                self._underway = len(data)
                await file.write(data)
                self._underway = 0
            self._is_broken = False
        return self.waiting if self._is_broken else 0

    async def _gather(self) -> None:
        """Wait until something is in the queue, and a little longer for more."""
        await self._arrived.wait()
        with trio.move_on_after(INTERVAL):
            await self._plenty.wait()

    def _take(self) -> bytearray:
        data, self._queue = self._queue, bytearray()
        self._arrived, self._plenty = trio.Event(), trio.Event()
        return data

    def rest(self) -> bytearray:
        """Take what ``write_to`` has not written and can still be written."""
        data = self._take()
        return bytearray() if self._is_broken else data
