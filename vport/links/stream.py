"""Frames over TCP and Unix stream sockets, each behind its length in four bytes: ``tcp`` and ``unix``.

Compatible with QEMU's ``-netdev stream`` and ``-netdev socket``, and with passt. It authenticates nobody; a
Unix socket has the permissions of its file. A client connects again when the far end comes back.
"""

from __future__ import annotations

import logging
import socket
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio

from vport.errors import LinkError, RefusedError
from vport.framing import QEMU
from vport.links.base import Accept, Attachment, Link, Listener, Sink
from vport.links.binding import advice
from vport.links.datagrams import format_address, is_unsupported_family
from vport.links.frame_batch import raise_send_buffer
from vport.links.frame_stream import FrameStream
from vport.links.reconnecting import ReconnectingLink
from vport.locator import TcpLocator, UnixLocator
from vport.rate_limit import RateLimit
from vport.unix_files import BACKLOG, SocketFile

if TYPE_CHECKING:
    from vport.train import Train

logger = logging.getLogger(__name__)

CONNECTION_MAXIMUM: Final = 1024  # of one listener at a time
CONNECT_TIME: Final = 20.0  # seconds for a TCP connection to be made
BROKEN_SOCKET_PAUSE: Final = 0.1  # seconds; we may be out of descriptors: do not spin
# A far end that is switched off is noticed after half a minute, whether or not there is something to send.
_KEEPALIVE: Final = (
    (socket.TCP_KEEPIDLE, 15),
    (socket.TCP_KEEPINTVL, 5),
    (socket.TCP_KEEPCNT, 3),
    (socket.TCP_USER_TIMEOUT, 30_000),
)


def prepare(sock: socket.socket | trio.socket.SocketType) -> None:
    """Send small frames at once, let bursts wait in the kernel, and notice a far end that is gone."""
    if sock.family == socket.AF_UNIX:
        raise_send_buffer(sock)  # TCP's grows by itself
    else:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, True)
        for name, value in _KEEPALIVE:
            sock.setsockopt(socket.IPPROTO_TCP, name, value)


class StreamClient(ReconnectingLink):
    """Calls a listening stream socket. Made by ``open_stream_client``."""

    def __init__(self, locator: TcpLocator | UnixLocator) -> None:
        super().__init__(str(locator))
        self.module = locator.scheme
        self._locator = locator

    async def open_session(self) -> FrameStream:
        """Connect."""
        if isinstance(self._locator, UnixLocator):
            stream = await trio.open_unix_socket(self._locator.path)
        else:
            with trio.move_on_after(CONNECT_TIME) as scope:
                stream = await trio.open_tcp_stream(self._locator.host, self._locator.port)
            if scope.cancelled_caught:
                raise LinkError(f"no answer within {CONNECT_TIME:g} s")
        prepare(stream.socket)
        descriptor = stream.socket.detach()
        return FrameStream(descriptor, descriptor, QEMU, self.discards)


class Connection(Link):
    """One far end of a listener."""

    def __init__(self, sock: socket.socket, module: str, description: str) -> None:
        self.module = module
        self.description = description
        self.discards: Counter[str] = Counter()
        descriptor = sock.detach()
        self._stream = FrameStream(descriptor, descriptor, QEMU, self.discards)

    def transmit(self, train: Train) -> None:
        """Queue ``train`` until ``flush``."""
        self._stream.transmit(train)

    def flush(self) -> None:
        """Write what waits, as far as the kernel takes it."""
        self._stream.flush()

    async def carry(self, sink: Sink) -> str:
        """Deliver what comes in until the connection ends; say how."""
        return await self._stream.carry(sink)

    async def run(self, sink: Sink, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Not for a connection: ``StreamListener.serve`` delivers what it sends."""
        raise NotImplementedError("the listener delivers what its connections send")

    def close(self) -> None:
        """Hang up. Idempotent."""
        self._stream.close()


class StreamListener(Listener):
    """A listening stream socket, and a link for each that connects.

    Made by ``open_stream_listener``.

    Attributes:
        address: what the socket is bound to, as the socket module gives it.
        refused: connections that the switch did not take.
    """

    def __init__(self, sock: socket.socket, module: str, description: str, file: SocketFile | None) -> None:
        self.address = sock.getsockname()
        self.description = description
        self.refused = 0
        self._sock = sock
        self._module = module
        self._file = file
        self._connections: dict[Connection, Attachment] = {}
        self._complaints = RateLimit(burst=5, interval=2.0)

    @property
    def connections(self) -> list[Connection]:
        """The connections there are, oldest first."""
        return list(self._connections)

    async def serve(
        self, accept: Accept, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Accept connections and deliver what they send, until cancelled or closed."""
        async with trio.open_nursery() as nursery:
            task_status.started()
            with suppress(trio.ClosedResourceError):
                while True:
                    await trio.lowlevel.wait_readable(self._sock)
                    connection = await self._accept(accept)
                    if connection is not None:
                        nursery.start_soon(self._carry, connection)
            nursery.cancel_scope.cancel()

    def close(self) -> None:
        """Stop listening and hang up on everybody. Idempotent."""
        if self._sock.fileno() < 0:
            return
        trio.lowlevel.notify_closing(self._sock)
        for connection in self.connections:
            connection.close()
        self._connections.clear()
        if self._file is not None:
            self._file.close()
        self._sock.close()

    async def _accept(self, accept: Accept) -> Connection | None:
        try:
            sock, address = self._sock.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return None
        except OSError as error:
            logger.warning("%s: cannot accept, trying again: %s", self.description, error.strerror)
            await trio.sleep(BROKEN_SOCKET_PAUSE)
            return None
        sock.setblocking(False)
        where = format_address(address) if sock.family != socket.AF_UNIX else self.description
        try:
            prepare(sock)
        except OSError:  # it is gone already
            sock.close()
            return None
        return self._join(Connection(sock, self._module, f"{self._module} client {where}"), accept)

    def _admit(self, connection: Connection, accept: Accept) -> Attachment:
        if len(self._connections) >= CONNECTION_MAXIMUM:
            raise RefusedError(f"there are {CONNECTION_MAXIMUM} connections already")
        return accept(connection)

    def _join(self, connection: Connection, accept: Accept) -> Connection | None:
        try:
            self._connections[connection] = self._admit(connection, accept)
        except RefusedError as error:
            connection.close()
            self.refused += 1
            allowed, suppressed = self._complaints.ask(trio.current_time())
            if allowed:
                logger.warning(
                    "%s: refused %s: %s (%d more were not logged)",
                    self.description,
                    connection.description,
                    error,
                    suppressed,
                )
            return None
        return connection

    async def _carry(self, connection: Connection) -> None:
        attachment = self._connections[connection]
        reason = "the switch ends"
        try:
            reason = await connection.carry(attachment)
        finally:
            attachment.detach(reason)
            connection.close()
            self._connections.pop(connection, None)


async def open_stream_client(locator: TcpLocator | UnixLocator) -> StreamClient:
    """Make a client for ``locator``; it connects in ``run``, and goes on trying there.

    Raises:
        LinkError: the locator names no host.
    """
    if isinstance(locator, TcpLocator) and not locator.host:
        raise LinkError(f"{locator}: names no host to call; write tcp://HOST:{locator.port}")
    return StreamClient(locator)


async def open_stream_listener(locator: TcpLocator | UnixLocator) -> StreamListener:
    """Listen as ``locator`` says; a TCP locator without host means all addresses of both families.

    Raises:
        SettingsError: the path of a Unix socket does not do.
        LinkError: the address cannot be had; says why and what to do.
    """
    if isinstance(locator, UnixLocator):
        file = SocketFile.open(locator.path, mode=locator.mode, group=locator.group)
        return StreamListener(file.socket, locator.scheme, f"unix://{file.path}", file)
    try:
        sock = await _listen(locator)
    except OSError as error:
        raise LinkError(f"{locator}: {advice('TCP', (locator.host, locator.port), error)}") from error
    return StreamListener(sock, locator.scheme, f"tcp://{format_address(sock.getsockname())}", None)


async def _listen(locator: TcpLocator) -> socket.socket:
    if locator.host:
        found = await trio.socket.getaddrinfo(locator.host, locator.port, type=socket.SOCK_STREAM)
        family, _, _, _, address = found[0]
        return _bound(family, address)
    try:
        return _bound(socket.AF_INET6, ("::", locator.port))
    except OSError as error:
        if not is_unsupported_family(error):
            raise
        return _bound(socket.AF_INET, ("", locator.port))


def _bound(family: int, address: tuple[object, ...]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, True)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, address[0] != "::")
        sock.bind(address)
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock
