"""The switch's side of VDE: a control directory where clients ask, and a datagram socket for each of them.

The life of a client: it connects to ``DIR/ctl`` and sends a request; our new datagram socket is connected
to the client's, given a file and the client told of it. The order matters: clients remove their own file
as soon as they have the reply. From then on each datagram is a frame, and the end of the stream, from
either side, is the end of it. What else is said on the stream ends it too.

VDE's port 0 is a place for programs of the switch's own machine, which hear what is flooded. This switch has
no such port: who asks for it is given any port, where it hears that as well.
"""

from __future__ import annotations

import logging
import os
import pwd
import select
import socket
import struct
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio

from vport.errors import LinkError, RefusedError, RemoteProtocolError, SettingsError
from vport.links.base import Accept, Attachment, Link, Listener, Sink
from vport.links.frame_batch import FrameInbox, FrameOutbox, FrameSender, find_calls, raise_send_buffer
from vport.links.readiness import notify_closing, serve_readable
from vport.links.vde_directory import ControlDirectory
from vport.rate_limit import RateLimit
from vport.vde_protocol import REQUEST_MAXIMUM, Request, decode_request, encode_sockaddr, needed_size

if TYPE_CHECKING:
    from vport.locator import VdeLocator
    from vport.train import Train

logger = logging.getLogger(__name__)

PENDING_MAXIMUM: Final = 64  # clients whose request is not complete; further ones wait to be let in
CLIENT_MAXIMUM: Final = 4096  # clients at a time; each takes two descriptors
REQUEST_TIME: Final = 5.0  # seconds for a request; clients send it at once
REST_TIME: Final = 0.1  # seconds for the rest of a request that did not come in one piece
BROKEN_SOCKET_PAUSE: Final = 0.1  # seconds; we may be out of descriptors: do not spin
_READY_MAXIMUM: Final = 64  # sockets that are looked after before other tasks get their turn
_CREDENTIALS: Final = struct.Struct("@3i")  # struct ucred: process, user, group (unix(7))


class VdeClientLink(Link):
    """One client of a listener.

    Attributes:
        sock: our datagram socket, connected to the client's.
        stream: the control connection, whose end is the end of the link.
        path: of our socket's file; empty before it has one.
    """

    module = "unix prog"

    def __init__(
        self, listener: VdeListener, sock: socket.socket, stream: trio.socket.SocketType, description: str
    ) -> None:
        self.description = description or "unnamed"
        self.discards: Counter[str] = Counter()
        self.sock = sock
        self.stream = stream
        self.path = ""
        self.attachment: Attachment
        self._listener = listener
        self._sender = FrameSender(listener.outbox, sock, self.discards)

    def transmit(self, train: Train) -> None:
        """Gather ``train`` until ``flush``."""
        self._sender.add(train)

    def flush(self) -> None:
        """Send what was gathered; what the client's socket has no room for is discarded."""
        self._sender.flush()

    async def run(self, sink: Sink, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Not for a client: ``VdeListener.serve`` delivers what it sends."""
        raise NotImplementedError("the listener delivers what its clients send")

    def close(self) -> None:
        """Hang up: the client sees the end of its stream."""
        self._listener.forget(self)


class VdeListener(Listener):
    """A control directory, and a link for each client that asks there.

    Made by ``open_vde_listener``.

    Attributes:
        directory: what is on disk.
        discards: clients that were turned away, by reason.
    """

    def __init__(self, directory: ControlDirectory, *, batches: bool = True) -> None:
        self.directory = directory
        self.description = f"vde://{directory.path}"
        self.discards: Counter[str] = Counter()
        calls = find_calls() if batches else None
        self.outbox = FrameOutbox(calls)
        self._inbox = FrameInbox(calls)
        self._ready = select.epoll()
        self._clients: dict[int, VdeClientLink] = {}
        self._pending = trio.Semaphore(PENDING_MAXIMUM)
        self._complaints = RateLimit(burst=5, interval=2.0)

    @property
    def clients(self) -> list[VdeClientLink]:
        """The clients there are, oldest first."""
        return list(self._clients.values())

    async def serve(
        self, accept: Accept, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Let clients in and deliver what they send, until cancelled or closed."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._carry)
            task_status.started()
            with suppress(trio.ClosedResourceError):
                await self._let_in(accept, nursery)
            nursery.cancel_scope.cancel()

    def close(self) -> None:
        """Hang up on all clients and remove what was made on disk. Idempotent."""
        if self._ready.closed:
            return
        for client in self.clients:
            self.forget(client)
        trio.lowlevel.notify_closing(self.directory.control.socket)
        notify_closing(self._ready.fileno())
        self._ready.close()
        self.directory.close()

    def forget(self, client: VdeClientLink) -> None:
        """Close all that belongs to a client. Idempotent."""
        if self._clients.pop(client.sock.fileno(), None) is None:
            return
        self._ready.unregister(client.sock)
        self._discard(client)

    def _discard(self, client: VdeClientLink) -> None:
        client.sock.close()
        client.stream.close()
        if client.path:
            with suppress(OSError):
                os.unlink(client.path)

    # --- frames ---

    async def _carry(self) -> None:
        """Deliver what clients send. One task for all: a wake-up serves whoever has sent by then."""
        with suppress(trio.ClosedResourceError):
            await serve_readable(self._ready.fileno(), self._deliver_ready)

    def _deliver_ready(self) -> bool:
        """Deliver a batch of each client that has sent; tell whether there may be more already."""
        if self._ready.closed:
            return False
        more = False
        for descriptor, _ in self._ready.poll(0, _READY_MAXIMUM):
            client = self._clients.get(descriptor)
            if client is not None:
                more = self._deliver(client) or more
        return more

    def _deliver(self, client: VdeClientLink) -> bool:
        try:
            trains, more = self._inbox.receive(client.sock, client.discards)
        except OSError:
            client.discards["error"] += 1  # such as the client's socket being gone; its stream ends too
            return False
        attachment = client.attachment
        for train in trains:
            attachment.deliver(train)
        attachment.flush()
        return more

    # --- clients ---

    async def _let_in(self, accept: Accept, nursery: trio.Nursery) -> None:
        listening = self.directory.control.socket
        while True:
            await self._pending.acquire()
            stream = None
            while stream is None:
                await trio.lowlevel.wait_readable(listening)
                stream = await self._accept(listening)
            nursery.start_soon(self._converse, stream, accept)

    async def _accept(self, listening: socket.socket) -> trio.socket.SocketType | None:
        try:
            stream, _ = listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return None
        except OSError as error:
            if listening.fileno() < 0:
                raise trio.ClosedResourceError from None
            logger.warning("%s: cannot let a client in, trying again: %s", self.description, error.strerror)
            await trio.sleep(BROKEN_SOCKET_PAUSE)
            return None
        return trio.socket.from_stdlib_socket(stream)

    async def _converse(self, stream: trio.socket.SocketType, accept: Accept) -> None:
        """Serve one client, from its request to the end of its stream."""
        client = None
        try:
            try:
                client = await self._plug(stream, accept)
            finally:
                self._pending.release()
            if client is not None:
                await self._until_end(client)
        finally:
            if client is not None:
                self.forget(client)
            stream.close()

    async def _plug(self, stream: trio.socket.SocketType, accept: Accept) -> VdeClientLink | None:
        try:
            with trio.fail_after(REQUEST_TIME):
                data = await _collect(stream)
            if data:  # else somebody only wanted to know whether we are there
                return self._join(decode_request(data), stream, accept)
        except trio.TooSlowError:
            self._turn_away("too slow", f"no whole request within {REQUEST_TIME:g} s")
        except RemoteProtocolError as error:
            self._turn_away("malformed", str(error))
        except RefusedError as error:
            self._turn_away("refused", str(error))
        except (LinkError, OSError, trio.ClosedResourceError) as error:
            self._turn_away("failed", str(error))
        return None

    def _turn_away(self, reason: str, text: str) -> None:
        self.discards[reason] += 1
        allowed, suppressed = self._complaints.ask(trio.current_time())
        if allowed:
            more = f" ({suppressed} more were not logged)" if suppressed else ""
            logger.warning("%s: turned a client away: %s%s", self.description, text, more)

    def _join(self, request: Request, stream: trio.socket.SocketType, accept: Accept) -> VdeClientLink:
        """Make the link that a request asks for, and tell the client.

        Raises:
            RemoteProtocolError: the client's socket is not to be used.
            RefusedError: the switch does not take it.
            LinkError, OSError: the system does not.
        """
        if len(self._clients) >= CLIENT_MAXIMUM:
            raise RefusedError(f"there are {CLIENT_MAXIMUM} clients already")
        _, uid, _ = _CREDENTIALS.unpack(
            stream.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        )
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        client = VdeClientLink(self, sock, stream, request.description)
        try:
            raise_send_buffer(sock)
            self.directory.connect(sock, request, uid)
            client.attachment = accept(client, port=request.port or None, user=_user_name(uid))
        except BaseException:
            self._discard(client)
            raise
        try:
            client.path = self.directory.bind(sock, client.attachment.port_number, uid)
            _reply(stream, client.path)
        except BaseException:
            client.attachment.detach("it could not be told its socket")
            self._discard(client)
            raise
        self._clients[sock.fileno()] = client
        self._ready.register(sock, select.EPOLLIN)
        return client

    async def _until_end(self, client: VdeClientLink) -> None:
        """Wait for the end of the client's stream."""
        reason = "the switch ends"
        try:
            said = await client.stream.recv(1)
            reason = "it said something after its request" if said else "it has hung up"
        except OSError as error:
            reason = f"its stream broke: {error.strerror}"
        except trio.ClosedResourceError:
            reason = "unplugged"
        finally:
            client.attachment.detach(reason)


async def _collect(stream: trio.socket.SocketType) -> bytes:
    """Receive a request, nothing if the stream ends; one that comes in pieces is put together.

    Raises:
        RemoteProtocolError: it is none, or the stream ended within it.
    """
    data = await stream.recv(REQUEST_MAXIMUM + 1)
    is_whole = len(data) >= needed_size(data)
    while not is_whole and len(data) <= REQUEST_MAXIMUM:
        patience = REST_TIME if len(data) >= needed_size(data) else REQUEST_TIME
        piece = b""
        with trio.move_on_after(patience):
            piece = await stream.recv(REQUEST_MAXIMUM + 1 - len(data))
        is_whole = not piece
        data += piece
    if 0 < len(data) < needed_size(data):
        raise RemoteProtocolError(f"the stream ended after {len(data)} bytes of a request")
    return data


def _reply(stream: trio.socket.SocketType, path: str) -> None:
    """Tell the client our socket. The stream is fresh, so there is room for it."""
    with socket.socket(fileno=stream.fileno()) as plain_stream:
        try:
            plain_stream.send(encode_sockaddr(path.encode()))
        finally:
            plain_stream.detach()


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


async def open_vde_listener(locator: VdeLocator) -> VdeListener:
    """Make the control directory, or use the one that is there, and listen.

    Raises:
        SettingsError: the path does not do, or there is no such group.
        LinkError: another switch serves it, or the system refuses.
    """
    if locator.port is not None or locator.description is not None:
        raise SettingsError(f"{locator}: a port and a description are for calling, not for listening")
    return VdeListener(ControlDirectory.open(locator))
