"""What stations connect to at forwarded addresses of a user-mode network, carried to where it leads.

libslirp connects to a Unix socket of ours for each connection, and *waits* where that socket's queue is
full: a slow program behind it would stop the whole switch. So libslirp never meets the program. It connects
to a socket in a private directory that is emptied before every few frames (``accept_waiting``), and tasks
here carry the bytes to the real target at whatever pace that has.
"""

from __future__ import annotations

import logging
import shlex
import shutil
import socket
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from vport.errors import LinkError
from vport.forwards import Target
from vport.rate_limit import RateLimit
from vport.readers import host_and_port

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from vport.forwards import GuestForward

logger = logging.getLogger(__name__)

ACCEPT_EVERY: Final = 64  # frames: so many connections at most wait in a queue; somaxconn is 128 or more
MAX_CONNECTIONS: Final = 256  # at a time; each may be a process
CONNECT_TIMEOUT: Final = 10.0  # seconds until a target that does not answer is given up
_PIECE: Final = 65536  # bytes carried at a time


class Relays:
    """The forwards of one network. A context manager: leaving it removes the sockets.

    Raises:
        LinkError: the private directory or a socket in it cannot be made.
    """

    def __init__(self, forwards: Sequence[GuestForward]) -> None:
        self._nursery: trio.Nursery | None = None
        self._count = 0
        self._newcomers = 0
        self._complaints = RateLimit(burst=5, interval=2.0)
        self._directory = Path(tempfile.mkdtemp(prefix="vport-slirp-")) if forwards else None
        self._listeners: dict[GuestForward, socket.socket] = {}
        try:
            for number, forward in enumerate(forwards):
                self._listeners[forward] = self._listen(number)
        except OSError as error:
            self.close()
            raise LinkError(f"cannot listen for forwarded ports: {error.strerror}") from error

    def _listen(self, number: int) -> socket.socket:
        assert self._directory is not None
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            listener.bind(str(self._directory / str(number)))
            listener.listen(4 * ACCEPT_EVERY)
        except BaseException:
            listener.close()
            raise
        return listener

    def paths(self) -> list[tuple[GuestForward, str]]:
        """Give each forward with the socket that libslirp shall connect to."""
        return [(forward, listener.getsockname()) for forward, listener in self._listeners.items()]

    @property
    def descriptors(self) -> int:
        """How many descriptors libslirp may have open towards us."""
        return self._count + self._newcomers

    def forget_newcomers(self) -> None:
        """Note that libslirp had a turn: it has seen the end of connections that were refused."""
        self._newcomers = 0

    def accept_waiting(self) -> None:
        """Take every connection that waits, so that the next ones find room; never waits itself."""
        for forward, listener in self._listeners.items():
            while True:
                try:
                    connection, _ = listener.accept()
                except BlockingIOError:
                    break
                except OSError:  # no descriptor left: libslirp's own sockets fail the same way
                    break
                self._begin(forward, connection)

    def _begin(self, forward: GuestForward, connection: socket.socket) -> None:
        if self._nursery is None or self._count >= MAX_CONNECTIONS:
            self._newcomers += 1
            connection.close()
            return
        connection.setblocking(False)
        self._count += 1
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(connection))
        self._nursery.start_soon(self._carry, forward, stream)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Carry connections until cancelled."""
        async with trio.open_nursery() as self._nursery:
            try:
                for listener in self._listeners.values():
                    self._nursery.start_soon(self._watch, listener)
                task_status.started()
                await trio.sleep_forever()
            finally:
                self._nursery = None

    async def _watch(self, listener: socket.socket) -> None:
        with suppress(trio.ClosedResourceError):
            while True:
                await trio.lowlevel.wait_readable(listener)
                self.accept_waiting()

    async def _carry(self, forward: GuestForward, station: trio.SocketStream) -> None:
        try:
            async with station:
                if forward.target == Target.COMMAND:
                    await self._carry_command(forward, station)
                else:
                    with trio.fail_after(CONNECT_TIMEOUT):
                        target = await _connect(forward)
                    async with target:
                        await _join(station, target)
        except (OSError, trio.BrokenResourceError, trio.TooSlowError, ValueError) as error:
            self._complain(forward, error)
        finally:
            self._count -= 1

    async def _carry_command(self, forward: GuestForward, station: trio.SocketStream) -> None:
        """Run the command with the connection as its input and output; its end is the connection's."""
        async with trio.open_nursery() as nursery:
            process: trio.Process = await nursery.start(_run_command, shlex.split(forward.where))
            assert process.stdin is not None
            assert process.stdout is not None
            nursery.start_soon(_pump, station, process.stdin)
            await _pump(process.stdout, station)
            nursery.cancel_scope.cancel()

    def _complain(self, forward: GuestForward, error: Exception) -> None:
        allowed, _ = self._complaints.ask(trio.current_time())
        if allowed:
            reason = str(error) or type(error).__name__
            logger.warning("connection of a station to %s:%d: %s", forward.address, forward.port, reason)

    def close(self) -> None:
        """Remove the sockets. Idempotent."""
        for listener in self._listeners.values():
            trio.lowlevel.notify_closing(listener)
            listener.close()
        self._listeners.clear()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


async def _connect(forward: GuestForward) -> trio.SocketStream:
    if forward.target == Target.UNIX:
        return await trio.open_unix_socket(forward.where)
    host, port = host_and_port(forward.where, any_host=False)
    return await trio.open_tcp_stream(host, port)


async def _run_command(arguments: list[str], *, task_status: trio.TaskStatus[trio.Process]) -> None:
    await trio.run_process(
        arguments,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        check=False,
        task_status=task_status,
    )


async def _join(one: trio.SocketStream, other: trio.SocketStream) -> None:
    """Carry bytes both ways until both sides have ended."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_pump, one, other)
        nursery.start_soon(_pump, other, one)


async def _pump(source: trio.abc.ReceiveStream, sink: trio.abc.SendStream) -> None:
    """Carry bytes one way; the end of ``source`` is passed on, a reader that left ends it."""
    try:
        while data := await source.receive_some(_PIECE):
            await sink.send_all(data)
        if isinstance(sink, trio.SocketStream):
            await sink.send_eof()
        else:
            await sink.aclose()
    except trio.BrokenResourceError:
        return
