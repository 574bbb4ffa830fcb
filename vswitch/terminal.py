"""The console on the switch's own terminal: commands typed where it was started, as in VDE.

The terminal is one more management session, joined to the server by a socket pair; this module only moves
bytes between the two. The end of input (Ctrl-D, or a terminal that is gone) ends the switch. Standard
input is left alone when it is no terminal, so that services, cron jobs and pipes change nothing, and while
the switch is in the background of its terminal.

Log lines go above the prompt. What is half typed at that moment is still there, though no longer shown:
the terminal keeps the line, Ctrl-R shows it again.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import trio

from vport.shell.protocol import PROMPT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vport.shell.server import ManagementServer

logger = logging.getLogger(__name__)

_READ_SIZE: Final = 4096  # bytes: what a terminal holds for a line (termios(3))
_BACKGROUND_INTERVAL: Final = 0.5  # seconds between looks whether we are in the foreground: nothing tells


def is_usable(descriptor: int) -> bool:
    """Whether commands can be typed there."""
    try:
        return os.isatty(descriptor)
    except OSError:
        return False


async def run_console(
    server: ManagementServer, end: Callable[[], None], *, source: int = 0, sink: int = 1
) -> None:
    """Carry out what is typed until the end of input; then call ``end``.

    Args:
        server: holds the session.
        end: ends the switch.
        source: descriptor of a terminal.
        sink: descriptor that the answers go to.
    """
    ours, theirs = socket.socketpair()
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
    with log_lines_above_prompt():
        async with stream, trio.open_nursery() as nursery:
            nursery.start_soon(server.run_console_session, theirs)
            nursery.start_soon(_show, stream, sink)
            await _read(stream, source)
            logger.info("end of input on the terminal: the switch ends")
            end()


async def _read(stream: trio.SocketStream, source: int) -> None:
    """Pass on what is typed until the terminal says that it was all."""
    while True:
        await trio.lowlevel.wait_readable(source)
        if not is_in_foreground(source):
            await trio.sleep(_BACKGROUND_INTERVAL)
            continue
        try:
            data = os.read(source, _READ_SIZE)
        except OSError:  # EIO: the terminal has hung up
            return
        if not data:
            return
        await stream.send_all(data)


async def _show(stream: trio.SocketStream, sink: int) -> None:
    """Show what the session answers; in a thread, since a terminal can be stopped with Ctrl-S."""
    while data := await stream.receive_some(65536):
        await trio.to_thread.run_sync(_write, sink, data, abandon_on_cancel=True)


def _write(sink: int, data: bytes) -> None:
    try:
        while data:
            data = data[os.write(sink, data) :]
    except OSError:  # nobody reads any more; the end of input will tell
        return


def is_in_foreground(terminal: int) -> bool:
    """Whether reading from the terminal gives input; in the background it would stop the process.

    A terminal that is not the controlling one has no foreground: everybody may read.
    """
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return True


# --- log lines and the prompt ---


class _AbovePrompt(logging.Formatter):
    """Erases the prompt, writes what ``inner`` made of the line, and the prompt anew."""

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        return f"\r\x1b[K{self._inner.format(record)}"


@contextmanager
def log_lines_above_prompt() -> Iterator[None]:
    """Keep log lines and prompt apart, as long as both go to a terminal."""
    handlers = [
        handler
        for handler in logging.getLogger().handlers
        if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stderr and sys.stderr.isatty()
    ]
    before = [(handler, handler.formatter, handler.terminator) for handler in handlers]
    for handler in handlers:
        handler.setFormatter(_AbovePrompt(handler.formatter or logging.Formatter()))
        handler.terminator = PROMPT.decode()
    try:
        yield
    finally:
        for handler, formatter, terminator in before:
            handler.stream.write("\r\x1b[K")  # the last prompt, which nobody will answer
            handler.setFormatter(formatter)
            handler.terminator = terminator
