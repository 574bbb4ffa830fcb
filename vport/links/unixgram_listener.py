"""The switch's side of ``unixgram``: one socket, and a link for each socket that sends to it."""

from __future__ import annotations

import logging
import os
import socket
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio

from vport.errors import RefusedError, SettingsError
from vport.ethernet import HEADER_SIZE
from vport.links.base import Accept, Attachment, Link, Listener, Sink
from vport.links.frame_batch import FRAME_MAXIMUM, raise_send_buffer
from vport.links.readiness import notify_closing, serve_readable
from vport.links.reconnecting import reason_of
from vport.links.unix_sender import Sender
from vport.train import Train
from vport.unix_files import SocketFile

if TYPE_CHECKING:
    from vport.locator import UnixgramLocator

logger = logging.getLogger(__name__)

PEER_MAXIMUM: Final = 1024  # far ends of one listener
TURN: Final = 64  # datagrams taken before other tasks get their turn
REFUSAL_LOG_INTERVAL: Final = 10.0  # seconds between lines about newcomers that were refused


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
        try:
            self.sender = Sender(address, self.discards, self._gone)
        except PermissionError:
            self.sender = Sender(address, self.discards, self._gone, named=listener.sock)

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
        sock: bound, connected to nobody.
        discards: datagrams that were no frames of a peer, by reason.
    """

    def __init__(self, file: SocketFile) -> None:
        self.description = f"unixgram://{file.path}"
        self.discards: Counter[str] = Counter()
        self._file = file
        self.sock = file.socket
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
                await serve_readable(self.sock.fileno(), lambda: self._turn(accept, nursery))
            nursery.cancel_scope.cancel()

    def close(self) -> None:
        """Close the socket, remove its file and forget all peers. Idempotent."""
        if self.sock.fileno() < 0:
            return
        notify_closing(self.sock.fileno())
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
                size, address = self.sock.recvfrom_into(buffer)
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


async def open_unixgram_listener(locator: UnixgramLocator) -> UnixgramListener:
    """Make the socket.

    Raises:
        SettingsError: the path does not do, or there is no such group.
        LinkError: somebody else has it, or the system refuses.
    """
    if locator.local is not None:
        raise SettingsError(f"{locator}: option local is for calling, not for listening")
    file = SocketFile.open(locator.path, mode=locator.mode, group=locator.group, kind=socket.SOCK_DGRAM)
    raise_send_buffer(file.socket)
    return UnixgramListener(file)
