"""A port's side of ``unixgram``: a socket of its own, and one far end."""

from __future__ import annotations

import socket
import tempfile
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from vport.errors import LinkError, SettingsError
from vport.links.frame_batch import FrameInbox, find_calls
from vport.links.readiness import notify_closing, serve_readable
from vport.links.reconnecting import ReconnectingLink, Session
from vport.links.unix_sender import Sender
from vport.unix_files import SocketFile

if TYPE_CHECKING:
    from collections import Counter

    from vport.links.base import Sink
    from vport.locator import UnixgramLocator
    from vport.train import Train


class UnixgramSession(Session):
    """Our own socket, and a sender to the far end's."""

    def __init__(self, file: SocketFile, far: str, discards: Counter[str]) -> None:
        self._file = file
        self._discards = discards
        self._inbox = FrameInbox(find_calls())
        self._scope = trio.CancelScope()
        self._reason = "closed"
        self._sender = Sender(far, discards, self._gone, named=file.socket)

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
        def turn() -> bool:
            trains, more = self._inbox.receive(self._file.socket, self._discards)
            for train in trains:
                sink.deliver(train)
            sink.flush()
            return more

        await serve_readable(self._file.socket.fileno(), turn)

    def _gone(self, reason: str) -> None:
        self._reason = reason
        self._scope.cancel()

    def close(self) -> None:
        """Close both and remove our file. Idempotent."""
        self._gone(self._reason)
        self._sender.close()
        if self._file.socket.fileno() >= 0:
            notify_closing(self._file.socket.fileno())
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
