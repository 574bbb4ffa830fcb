"""pcap:///tmp/lan.pcapng: writes what it is sent, for Wireshark and tcpdump; receives nothing.

What is written is what would be on the wire: superframes and slices are cut into their frames. Into a FIFO
(``mkfifo /tmp/lan; wireshark -k -i /tmp/lan``) it goes live; before somebody reads it, frames are
discarded, and when the reader goes away the link ends.

Frames never wait for the disk: what comes is gathered in a queue bounded in bytes, which a task of ``run``
writes several times a second, or sooner when there is much. When the disk is too slow, frames are discarded,
and the capture's last block says how many.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

import trio

from vport.errors import LinkError
from vport.links.base import Link
from vport.links.capture_files import open_capture, open_fifo
from vport.links.write_queue import WriteQueue
from vport.offload import plain_or_discard
from vport.pcapng import file_header, fitting, packet_blocks, statistics_block

if TYPE_CHECKING:
    from vport.links.base import Sink
    from vport.links.capture_files import CaptureFile
    from vport.locator import PcapLocator
    from vport.train import Train

logger = logging.getLogger(__name__)

QUEUE_MAXIMUM: Final = 16 << 20  # bytes that wait for the disk: 130 ms at a gigabit per second
GRACE: Final = 2.0  # seconds that the disk, or the reader, has for the rest when the link ends
READER_INTERVAL: Final = 0.25  # seconds between looks whether a FIFO has a reader: nothing tells

_STATISTICS_SIZE: Final = len(statistics_block(0, 0, 0))


class PcapLink(Link):
    """A capture that is being written. Made by ``open_pcap``.

    Args:
        file: where it goes; None for a FIFO that nobody reads yet.
        locator: what was asked for.
    """

    module = "pcap"

    def __init__(self, file: CaptureFile | None, locator: PcapLocator) -> None:
        self.description = str(locator)
        self.discards: Counter[str] = Counter()
        self._locator = locator
        self._file: CaptureFile | None = None
        self._limit = 0
        self._queue = WriteQueue()
        self._size = 0  # bytes of the file, with those that wait
        self._frames = 0  # written or waiting
        self._told = (0, 0)  # what the last statistics block says
        self._refusal = "no-reader"  # why frames are not taken now; empty when they are
        self._end = trio.Event()
        self._is_running = False
        self._failure: LinkError | None = None
        if file is not None:
            self._begin(file)

    def _begin(self, file: CaptureFile) -> None:
        self._file = file
        limit = self._locator.limit
        self._limit = file.usual_limit if limit is None else limit
        self._refusal = ""
        self._append(file_header(self._locator.snaplen))

    # --- frames come ---

    def transmit(self, train: Train) -> None:
        """Queue the frames; discard and count them when too much waits already."""
        if self._refusal:
            self.discards[self._refusal] += train.count
            return
        if self._queue.waiting + train.wire_bytes > QUEUE_MAXIMUM:
            self.discards["queue-full"] += train.count
            return
        frames = plain_or_discard(train, self.discards)
        if frames is None:
            return
        blocks = packet_blocks(frames, time.time_ns(), self._locator.snaplen)
        if self._limit and self._size + len(blocks) > self._limit - _STATISTICS_SIZE:
            self._append_last(blocks, frames.count)
        else:
            self._frames += frames.count
            self._append(blocks)

    def _append_last(self, blocks: bytes, count: int) -> None:
        """Fill the capture up to its limit."""
        end, fit = fitting(blocks, self._limit - _STATISTICS_SIZE - self._size)
        self._frames += fit
        self._append(blocks[:end])
        self.discards["limit"] += count - fit
        self._refusal = "limit"
        logger.warning("%s is full (limit=%d): no more is written", self._locator.path, self._limit)

    def _append(self, blocks: bytes) -> None:
        self._size += len(blocks)
        self._queue.put(blocks)

    def _append_statistics(self) -> None:
        """Say how many frames are missing, unless the capture says so already or has no room for it."""
        dropped = self.discards["queue-full"] + self.discards["limit"]
        known = (self._frames + dropped, dropped)
        if known != self._told and not (self._limit and self._size + _STATISTICS_SIZE > self._limit):
            self._told = known
            self._append(statistics_block(time.time_ns(), *known))

    # --- and are written ---

    async def run(
        self,
        sink: Sink,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Write what comes until closed, or until nobody reads the FIFO any more.

        When it is closed or cancelled, it has ``GRACE`` seconds for the rest.

        Raises:
            LinkError: the file cannot be written, for the disk is full for example.
        """
        task_status.started()
        self._is_running = True
        try:
            if self._file is None:
                await self._wait_for_reader()
            if self._file is not None and not self._end.is_set():
                await self._write_until_end(self._file)
        finally:
            self._is_running = False
            if self._end.is_set():
                self._close_file()
            if self._failure is not None:
                raise self._failure

    async def _wait_for_reader(self) -> None:
        """Wait until somebody reads the FIFO, and begin; or until closed."""
        while not self._end.is_set():
            file = open_fifo(self._locator)
            if file is not None:
                self._begin(file)
                return
            with trio.move_on_after(READER_INTERVAL):
                await self._end.wait()

    async def _write_until_end(self, file: CaptureFile) -> None:
        self._queue.resume()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write, file)
            nursery.start_soon(self._watch_reader, file)
            try:
                await self._end.wait()
            finally:
                nursery.cancel_scope.cancel()
                self._append_statistics()
                self._queue.stop(GRACE)

    async def _write(self, file: CaptureFile) -> None:
        try:
            lost = await self._queue.write_to(file)
        except BrokenPipeError:
            self._finish("no-reader")
        except OSError as error:
            self._failure = LinkError(
                f"cannot write {self._locator.path}: {error.strerror}; the capture ends"
            )
            self._finish("failed")
        else:
            if lost:
                logger.warning("%s: the last %d bytes were not taken in time", self._locator.path, lost)
                self._finish("failed")

    async def _watch_reader(self, file: CaptureFile) -> None:
        await file.reader_left()
        self._finish("no-reader")

    def _finish(self, refusal: str) -> None:
        """Let ``run`` end; ``refusal`` is why frames are not taken from now on."""
        self._refusal = refusal
        self._end.set()

    def close(self) -> None:
        """End the capture: ``run`` writes what is left, or this, where it does not run. Idempotent."""
        if not self._end.is_set():
            self._finish("closed")
        if not self._is_running:
            self._close_file()

    def _close_file(self) -> None:
        file, self._file = self._file, None
        if file is None:
            return
        self._append_statistics()
        try:
            if rest := self._queue.rest():
                file.write_now(rest)
        except OSError as error:
            logger.warning("cannot write the end of %s: %s", self._locator.path, error.strerror)
        finally:
            file.close()


async def open_pcap(locator: PcapLocator) -> PcapLink:
    """Open or make the file; a FIFO that nobody reads is opened by ``run``.

    Raises:
        LinkError: it cannot be opened, or there is something in it already.
    """
    file = await trio.to_thread.run_sync(open_capture, locator)
    return PcapLink(file, locator)
