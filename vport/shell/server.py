"""The management shell on a Unix socket: the sessions, what they are sent, and when they end.

``ManagementServer.serve`` accepts sessions in a nursery of its own. A session has two tasks: one reads and
carries out commands, one writes. Between them stands an ``OutputQueue``, so that nothing here ever waits
for a client: ``publish`` only queues, and a client that does not read gets no further commands carried
out and loses messages. The protocol is in ``protocol``, the commands are in the menus' modules.
"""

from __future__ import annotations

import errno
import logging
import socket
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

import trio

from vport.shell.command import Session, execute
from vport.shell.output import OutputQueue
from vport.shell.protocol import PROMPT, ServerProtocol, encode_message, encode_status

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from vport.shell.command import Catalog, Reply
    from vport.shell.message import Category, Message

logger = logging.getLogger(__name__)

MAX_SESSIONS: Final = 64
_RECEIVE_SIZE: Final = 16384  # bytes per read: also bounds the commands taken on at once
_SEND_SIZE: Final = 65536
_LINES_AT_ONCE: Final = 256  # of a long reply; then other tasks, the forwarding of frames first, have a turn
_LAST_WORDS: Final = 10.0  # seconds without progress after which a client that said goodbye is left
_OUT_OF_RESOURCES: Final = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS}
_RETRY_ACCEPT: Final = 0.1  # seconds


class Controlled(Protocol):
    """What the commands of a shell act on, as far as the server must know it."""

    def publish_events(self) -> None:
        """Pass on what a command that was just carried out has brought about."""


class ManagementServer:
    """Everything that is said over the management socket.

    Args:
        control: what the commands act on: the switch.
        catalog: its commands.
        banner: what a session is greeted with.
        prompt: what follows every reply.
        max_sessions: how many may be open; more are told so and closed.
    """

    def __init__(
        self,
        control: Controlled,
        catalog: Catalog,
        banner: Sequence[str],
        *,
        prompt: bytes = PROMPT,
        max_sessions: int = MAX_SESSIONS,
    ) -> None:
        self._control = control
        self.catalog = catalog
        self._banner = banner
        self._prompt = prompt
        self._max_sessions = max_sessions
        self._sessions: set[_SocketSession] = set()

    async def serve(
        self, listening: socket.socket, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve sessions on ``listening``, a non-blocking socket that stays its owner's, until cancelled.

        Cancellation ends the sessions; what fits into their sockets at once is still sent.
        """
        async with trio.open_nursery() as nursery:
            task_status.started()
            while True:
                client = await _accept(listening)
                if len(self._sessions) >= self._max_sessions:
                    self._refuse(client)
                else:
                    nursery.start_soon(self._run_session, client)

    def publish(self, messages: Iterable[Message]) -> None:
        """Tell the sessions that asked for it what happened. Never waits and never fails.

        ``messages`` may be made as they are asked for: nothing is asked while nobody wants any.
        """
        wanted: set[str] = set()
        for session in self._sessions:
            wanted |= session.subscriptions
        if not wanted:
            return
        for message in messages:
            if message.category.path in wanted:
                self.send(message)

    def wants(self, category: Category) -> bool:
        """Whether any session asked for messages of this category."""
        return any(category.path in session.subscriptions for session in self._sessions)

    def drop(self, category: Category) -> None:
        """Forget who asked for messages of a category that is no more."""
        for session in self._sessions:
            session.subscriptions.discard(category.path)

    def send(self, message: Message) -> None:
        """Send a message to the sessions that asked for its category. Never waits and never fails."""
        data = encode_message(message)
        for session in self._sessions:
            if message.category.path in session.subscriptions:
                session.send_message(data)

    def _refuse(self, client: socket.socket) -> None:
        logger.warning("management session refused: %d are open already", len(self._sessions))
        with client:
            text = f"{self._max_sessions} sessions are open, which is the most; close one of them"
            _send_now(client, encode_status(errno.EAGAIN, text))

    async def _run_session(self, client: socket.socket) -> None:
        await self._converse(client, Session(self.catalog), self._banner)

    async def run_console_session(self, client: socket.socket) -> None:
        """Serve the switch's own terminal, at the other end of ``client``, until it ends. No banner."""
        await self._converse(client, Session(self.catalog, is_console=True), ())

    async def _converse(self, client: socket.socket, given: Session, banner: Iterable[str]) -> None:
        with client:
            protocol = ServerProtocol(banner, self._prompt)
            session = _SocketSession(client, self._control, given, protocol)
            self._sessions.add(session)
            try:
                await session.run()
            finally:
                self._sessions.discard(session)
                session.send_now()


class _SocketSession:
    """One client's connection."""

    def __init__(
        self, client: socket.socket, control: Controlled, session: Session, protocol: ServerProtocol
    ) -> None:
        client.setblocking(False)
        self._socket = client
        self._control = control
        self._session = session
        self._protocol = protocol
        self._output = OutputQueue()
        self._output_waits = trio.Event()  # set when there is something to send
        self._output_moved = trio.Event()  # set when something was sent

    @property
    def subscriptions(self) -> set[str]:
        """The categories of messages that this client wants."""
        return self._session.subscriptions or set()

    async def run(self) -> None:
        """Serve the client until it leaves, the session is ended, or its connection breaks."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write, nursery.cancel_scope)
            await self._read()
            await self._drain()
            nursery.cancel_scope.cancel()

    def send_message(self, data: bytes) -> None:
        """Queue a message, or count it as lost."""
        self._output.put_message(data)
        self._output_waits.set()

    def send_now(self) -> None:
        """Send what the socket takes without waiting: the last words of a session that was cancelled."""
        self._queue_output()
        _send_now(self._socket, self._output.head(len(self._output)))

    # --- reading ---

    async def _read(self) -> None:
        while not self._protocol.ended:
            self._queue_output()
            while self._output.is_congested:
                await self._until_sent()
            data = await self._receive()
            if data is None:
                self._protocol.handle_timer(trio.current_time())
            elif data:
                self._protocol.receive(data, trio.current_time())
            else:
                self._protocol.receive_eof()
            await self._carry_out_commands()
            if data == b"":
                return

    async def _receive(self) -> bytes | None:
        """Give what arrived, nothing at the end, None when the time of the open line has come."""
        deadline = self._protocol.next_deadline()
        with trio.move_on_at(float("inf") if deadline is None else deadline):
            await trio.lowlevel.wait_readable(self._socket)
        try:
            return self._socket.recv(_RECEIVE_SIZE)
        except BlockingIOError:
            return None
        except OSError:  # reset: the same as gone
            return b""

    async def _carry_out_commands(self) -> None:
        while (line := self._protocol.next_command()) is not None:
            reply = await execute(self._control, self._session, line)
            self._control.publish_events()
            self._protocol.reply(await _collected(reply))
            self._queue_output()
            while self._output.is_congested:
                await self._until_sent()
        self._queue_output()

    # --- writing ---

    def _queue_output(self) -> None:
        data = self._protocol.data_to_send()
        if data:
            self._output.put_reply(data)
            self._output_waits.set()

    async def _until_sent(self) -> None:
        """Wait until the client has taken something."""
        await self._output_moved.wait()

    async def _drain(self) -> None:
        """Let the client take what is left; give up when it takes nothing for a while."""
        while self._output:
            with trio.move_on_after(_LAST_WORDS) as patience:
                await self._until_sent()
            if patience.cancelled_caught:
                return

    async def _write(self, session: trio.CancelScope) -> None:
        """Send what is queued; end the session when the client is gone."""
        while True:
            await self._output_waits.wait()
            await trio.lowlevel.wait_writable(self._socket)
            try:
                size = self._socket.send(self._output.head(_SEND_SIZE))
            except BlockingIOError:
                continue
            except OSError:
                session.cancel()
                return
            self._output.sent(size)
            self._output_moved.set()
            self._output_moved = trio.Event()
            if not self._output:
                self._output_waits = trio.Event()


# --- helpers ---


async def _accept(listening: socket.socket) -> socket.socket:
    """Accept the next client; what goes wrong with one, or for want of descriptors, passes."""
    while True:
        await trio.lowlevel.wait_readable(listening)
        try:
            return listening.accept()[0]
        except (BlockingIOError, ConnectionAbortedError):
            continue
        except OSError as error:
            if error.errno not in _OUT_OF_RESOURCES:
                raise
            logger.warning("cannot accept a management session: %s", error.strerror)
            await trio.sleep(_RETRY_ACCEPT)


async def _collected(reply: Reply) -> Reply:
    """Take a reply's lines out of their generator, giving way now and then when there are many."""
    if reply.lines is None:
        return reply
    lines: list[str] = []
    for line in reply.lines:
        lines.append(line)
        if len(lines) % _LINES_AT_ONCE == 0:
            await trio.lowlevel.checkpoint()
    return replace(reply, lines=lines)


def _send_now(client: socket.socket, data: bytes) -> None:
    """Send what fits without waiting, to a client that may be gone."""
    with suppress(OSError):
        client.send(data, socket.MSG_DONTWAIT)
