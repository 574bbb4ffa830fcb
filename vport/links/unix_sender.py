"""Sending frames as datagrams to one Unix socket that may be slow to take them."""

from __future__ import annotations

import errno
import socket
from collections import Counter, deque
from typing import TYPE_CHECKING, Final

import trio

from vport.links.frame_batch import raise_send_buffer
from vport.links.reconnecting import reason_of
from vport.offload import plain_or_discard

if TYPE_CHECKING:
    from collections.abc import Callable

    from vport.train import Train


QUEUE_MAXIMUM: Final = 1 << 20  # bytes that wait for one far end


class Sender:
    """Sends frames to one far end; queues what it has no room for.

    Args:
        address: of the far end: a path, or an abstract name.
        discards: frames not sent, by reason.
        gone: called when the far end does not exist any more, with the reason.
        named: the socket to send from; None for one without a name.

    Raises:
        PermissionError: without ``named``: the far end takes frames from one socket only.
        OSError: there is no such far end.
    """

    def __init__(
        self,
        address: str | bytes,
        discards: Counter[str],
        gone: Callable[[str], None],
        *,
        named: socket.socket | None = None,
    ) -> None:
        self._address = address
        self._discards = discards
        self._gone = gone
        self._named = named
        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._blocked = trio.Event()
        self._can_wait = True
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            raise_send_buffer(self._sock)
            self._sock.connect(address)
        except PermissionError:
            if named is None:
                self._sock.close()
                raise
            self._can_wait = False  # as much as our buffer holds may wait, and nothing tells when it does not
        except OSError:
            self._sock.close()
            raise

    def transmit(self, train: Train) -> None:
        """Send the frames of ``train``, or queue or discard them."""
        frames = plain_or_discard(train, self._discards)
        if frames is None:
            return
        for frame in frames.frames():
            if not self._queue and self._send(frame):
                continue
            if not self._can_wait or self._queued + len(frame) > QUEUE_MAXIMUM:
                self._discards["queue-full"] += 1
            elif self._sock.fileno() >= 0:
                self._queue.append(bytes(frame))
                self._queued += len(frame)
                self._blocked.set()

    def _send(self, frame: bytes | memoryview) -> bool:
        """Send a frame; return whether it is done with."""
        try:
            if self._named is None:
                self._sock.send(frame)
            else:
                self._named.sendto(frame, self._address)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno == errno.ENOBUFS:
                return False
            if error.errno == errno.EMSGSIZE:
                self._discards["oversized"] += 1
            else:
                self._discards["unreachable"] += 1
                self._gone(f"its socket is gone: {reason_of(error)}")
        return True

    async def send_queued(self) -> None:
        """Go on sending whenever there is room again, until cancelled or closed."""
        while True:
            await self._blocked.wait()
            if self._sock.fileno() < 0:
                return
            try:
                await trio.lowlevel.wait_writable(self._sock)
            except trio.ClosedResourceError:
                return
            while self._queue and self._send(self._queue[0]):
                self._queued -= len(self._queue.popleft())
            if not self._queue:
                self._blocked = trio.Event()

    def close(self) -> None:
        """Close the socket. Idempotent."""
        if self._sock.fileno() >= 0:
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()
            self._queue.clear()
            self._queued = 0
            self._blocked.set()
