"""One raw frame per datagram of a Unix socket: ``unixgram``.

Compatible with QEMU's ``-netdev dgram`` over Unix sockets and with what talks to vfkit's. There is no
connection: a far end is whoever sends from a socket with a name, until that name does not answer any more.
Frames to each go out through a socket connected to it, because the kernel tells of such a one when there is
room again; without, ten datagrams (net.unix.max_dgram_qlen) are all that may wait.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import tempfile
from collections import Counter, deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio

from vport.errors import FrameError, LinkError, RefusedError, SettingsError
from vport.ethernet import HEADER_SIZE
from vport.links.base import Accept, Attachment, Link, Listener, Sink
from vport.links.frame_batch import FRAME_MAXIMUM, FrameInbox, find_calls, raise_send_buffer
from vport.links.reconnecting import ReconnectingLink, Session, reason_of
from vport.offload import plain
from vport.train import Train
from vport.unix_files import SocketFile

if TYPE_CHECKING:
    from collections.abc import Callable

    from vport.locator import UnixgramLocator

logger = logging.getLogger(__name__)

PEER_MAXIMUM: Final = 1024  # far ends of one listener
QUEUE_MAXIMUM: Final = 1 << 20  # bytes that wait for one far end
TURN: Final = 64  # datagrams taken before other tasks get their turn
REFUSAL_LOG_INTERVAL: Final = 10.0  # seconds between lines about newcomers that were refused


class Sender:
    """Sends frames to one far end; queues what it has no room for.

    Args:
        address: of the far end: a path, or an abstract name.
        discards: frames not sent, by reason.
        gone: called once when the far end does not exist any more, with the reason.

    Raises:
        OSError: there is no such far end.
    """

    def __init__(self, address: str | bytes, discards: Counter[str], gone: Callable[[str], None]) -> None:
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            raise_send_buffer(self._sock)
            self._sock.connect(address)
        except OSError:
            self._sock.close()
            raise
        self._discards = discards
        self._gone = gone
        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._blocked = trio.Event()

    def transmit(self, train: Train) -> None:
        """Send the frames of ``train``, or queue or discard them."""
        if train.offload is not None:
            try:
                train = plain(train)
            except FrameError:
                self._discards["malformed"] += train.count
                return
        for frame in train.frames():
            if not self._queue and self._send(frame):
                continue
            if self._queued + len(frame) > QUEUE_MAXIMUM:
                self._discards["queue-full"] += 1
            elif self._sock.fileno() >= 0:
                self._queue.append(bytes(frame))
                self._queued += len(frame)
                self._blocked.set()

    def _send(self, frame: bytes | memoryview) -> bool:
        """Send a frame; return whether it is done with."""
        try:
            self._sock.send(frame)
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
        while self._sock.fileno() >= 0:
            await self._blocked.wait()
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


class UnixgramPeer(Link):
    """One far end of a listener: whoever sends from that socket. Raises OSError when it is gone."""

    module = "unixgram"

    def __init__(self, listener: UnixgramListener, address: str | bytes) -> None:
        shown = address if isinstance(address, str) else "@" + os.fsdecode(address[1:].rstrip(b"\0"))
        self.description = f"unixgram peer {shown}"
        self.discards: Counter[str] = Counter()
        self.address = address
        self.attachment: Attachment
        self.scope = trio.CancelScope()
        self._listener = listener
        self._reason = "the switch ends"
        self.sender = Sender(address, self.discards, self._gone)

    def transmit(self, train: Train) -> None:
        """Send ``train``, or queue or discard it."""
        self.sender.transmit(train)

    async def run(self, sink: Sink, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Not for a peer: ``UnixgramListener.serve`` delivers what it sends."""
        raise NotImplementedError("the listener delivers what its peers send")

    async def keep(self) -> None:
        """Send what is queued until the far end has gone or the link is closed; then leave the port."""
        try:
            with self.scope:
                await self.sender.send_queued()
        finally:
            self.sender.close()
            self._listener.forget(self)
            self.attachment.detach(self._reason)

    def _gone(self, reason: str) -> None:
        self._reason = reason
        self.scope.cancel()

    def close(self) -> None:
        """Forget the peer; it counts as a newcomer when it is heard of again."""
        self._gone("unplugged")
        self.sender.close()
        self._listener.forget(self)


class UnixgramListener(Listener):
    """A datagram socket that makes a link of each socket that sends frames to it.

    Made by ``open_unixgram_listener``.

    Attributes:
        discards: datagrams that were no frames of a peer, by reason.
    """

    def __init__(self, file: SocketFile) -> None:
        self.description = f"unixgram://{file.path}"
        self.discards: Counter[str] = Counter()
        self._file = file
        self._sock = file.socket
        self._buffers = [memoryview(bytearray(FRAME_MAXIMUM + 1)) for _ in range(TURN)]
        self._peers: dict[str | bytes, UnixgramPeer] = {}
        self._refused_logged_at = -REFUSAL_LOG_INTERVAL

    @property
    def peers(self) -> list[UnixgramPeer]:
        """The peers there are, oldest first."""
        return list(self._peers.values())

    async def serve(
        self, accept: Accept, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Accept peers and deliver what they send, until cancelled or closed."""
        async with trio.open_nursery() as nursery:
            task_status.started()
            with suppress(trio.ClosedResourceError):
                while True:
                    await trio.lowlevel.wait_readable(self._sock)
                    while self._turn(accept, nursery):
                        await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()

    def close(self) -> None:
        """Close the socket, remove its file and forget all peers. Idempotent."""
        if self._sock.fileno() < 0:
            return
        trio.lowlevel.notify_closing(self._sock)
        self._file.close()
        for peer in self.peers:
            peer.close()

    def forget(self, peer: UnixgramPeer) -> None:
        """Drop what is known of a peer. Idempotent."""
        if self._peers.get(peer.address) is peer:
            del self._peers[peer.address]

    def _turn(self, accept: Accept, nursery: trio.Nursery) -> bool:
        """Deliver what is there, up to a bound; tell whether there may be more."""
        reached: list[UnixgramPeer] = []
        more = False
        for peer, frames, size in self._received(accept, nursery):
            more = True
            data = frames[0] if len(frames) == 1 else b"".join(frames)
            peer.attachment.deliver(Train(data, size))
            reached.append(peer)
        for peer in reached:
            peer.attachment.flush()
        return more

    def _received(
        self, accept: Accept, nursery: trio.Nursery
    ) -> list[tuple[UnixgramPeer, list[memoryview], int]]:
        """Take datagrams; give them by peer and size, in their order, neighbours together."""
        runs: list[tuple[UnixgramPeer, list[memoryview], int]] = []
        for buffer in self._buffers:
            try:
                size, address = self._sock.recvfrom_into(buffer)
            except OSError:  # nothing more; an error of a socket that is connected to nobody is none
                break
            if not HEADER_SIZE <= size <= FRAME_MAXIMUM:
                self.discards["short" if size < HEADER_SIZE else "oversized"] += 1
                continue
            peer = self._peers.get(address) or self._meet(address, accept, nursery)
            if peer is None:
                continue
            if runs and runs[-1][0] is peer and runs[-1][2] == size:
                runs[-1][1].append(buffer[:size])
            else:
                runs.append((peer, [buffer[:size]], size))
        return runs

    def _meet(
        self, address: str | bytes | None, accept: Accept, nursery: trio.Nursery
    ) -> UnixgramPeer | None:
        """Make a peer of a newcomer, unless nothing can be sent to it or the switch refuses."""
        if not address:
            self.discards["nameless"] += 1
            return None
        try:
            peer = self._admit(address, accept)
        except (RefusedError, OSError) as error:
            self._refuse(address, reason_of(error))
            return None
        self._peers[address] = peer
        nursery.start_soon(peer.keep)
        return peer

    def _admit(self, address: str | bytes, accept: Accept) -> UnixgramPeer:
        """Make a peer. Raises RefusedError or OSError."""
        if isinstance(address, str) and not os.path.isabs(address):
            raise RefusedError(f"its socket has the relative name {address!r}")
        if len(self._peers) >= PEER_MAXIMUM:
            raise RefusedError(f"there are {PEER_MAXIMUM} peers already")
        peer = UnixgramPeer(self, address)
        try:
            peer.attachment = accept(peer)
        except BaseException:
            peer.sender.close()
            raise
        return peer

    def _refuse(self, address: str | bytes, reason: str) -> None:
        self.discards["refused"] += 1
        now = trio.current_time()
        if now - self._refused_logged_at >= REFUSAL_LOG_INTERVAL:
            self._refused_logged_at = now
            logger.warning(
                "%s: refused %d datagrams of newcomers so far, the latest from %r: %s",
                self.description,
                self.discards["refused"],
                address,
                reason,
            )


class UnixgramSession(Session):
    """Our own socket, and a sender to the far end's."""

    def __init__(self, file: SocketFile, far: str, discards: Counter[str]) -> None:
        self._file = file
        self._discards = discards
        self._inbox = FrameInbox(find_calls())
        self._scope = trio.CancelScope()
        self._reason = "closed"
        self._sender = Sender(far, discards, self._gone)

    def transmit(self, train: Train) -> None:
        """Send ``train``, or queue or discard it."""
        self._sender.transmit(train)

    def flush(self) -> None:
        """Nothing is gathered."""

    async def carry(self, sink: Sink) -> str:
        """Deliver what comes in until the far end's socket is gone."""
        with self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._sender.send_queued)
                with suppress(trio.ClosedResourceError):
                    await self._receive(sink)
                nursery.cancel_scope.cancel()
        return self._reason

    async def _receive(self, sink: Sink) -> None:
        while True:
            await trio.lowlevel.wait_readable(self._file.socket)
            more = True
            while more:
                trains, more = self._inbox.receive(self._file.socket, self._discards)
                for train in trains:
                    sink.deliver(train)
                sink.flush()
                await trio.lowlevel.checkpoint()

    def _gone(self, reason: str) -> None:
        self._reason = reason
        self._scope.cancel()

    def close(self) -> None:
        """Close both and remove our file. Idempotent."""
        self._gone(self._reason)
        self._sender.close()
        if self._file.socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self._file.socket)
            self._file.close()


class UnixgramClient(ReconnectingLink):
    """Exchanges frames with one socket. Made by ``open_unixgram_client``."""

    module = "unixgram"

    def __init__(self, locator: UnixgramLocator) -> None:
        super().__init__(str(locator))
        self._locator = locator
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        if locator.local is None:
            self._folder = tempfile.TemporaryDirectory(prefix="vport-")

    async def open_session(self) -> UnixgramSession:
        """Make our socket and find the far end's."""
        await trio.lowlevel.checkpoint()
        local = self._locator.local or f"{self._folder.name if self._folder else ''}/frames"
        try:
            file = SocketFile.open(
                local, mode=self._locator.mode, group=self._locator.group, kind=socket.SOCK_DGRAM
            )
        except SettingsError as error:
            raise LinkError(str(error)) from error
        try:
            return UnixgramSession(file, self._locator.path, self.discards)
        except BaseException:
            file.close()
            raise

    def close(self) -> None:
        """End the session and ``run``, and remove what was made on disk."""
        super().close()
        if self._folder is not None:
            self._folder.cleanup()


async def open_unixgram_client(locator: UnixgramLocator) -> UnixgramClient:
    """Make a client for ``locator``; it looks for the far end in ``run``, and goes on trying there."""
    return UnixgramClient(locator)


async def open_unixgram_listener(locator: UnixgramLocator) -> UnixgramListener:
    """Make the socket.

    Raises:
        SettingsError: the path does not do, or there is no such group.
        LinkError: somebody else has it, or the system refuses.
    """
    if locator.local is not None:
        raise SettingsError(f"{locator}: option local is for calling, not for listening")
    return UnixgramListener(
        SocketFile.open(locator.path, mode=locator.mode, group=locator.group, kind=socket.SOCK_DGRAM)
    )
