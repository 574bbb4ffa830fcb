"""Frames through pipes, each behind its length in two bytes: ``stdio:`` and ``cmd:``.

This is the framing of VDE's plugs, so that ``vde_plug``, ``dpipe``, ``wirefilter`` and ``slirpvde -s -`` can
stand at the other end: ``vport vde:///tmp/a.ctl 'cmd:ssh host vde_plug /tmp/b.ctl'``.

Some of those lose their place in the stream for good when a read ends within a length. To a pipe each frame
is therefore written by itself, and the pipe told to keep writes apart (O_DIRECT, pipe(2)).
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import signal
import stat
import subprocess
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio

from vport.errors import LinkError
from vport.framing import PLUG
from vport.links.base import Link, Sink
from vport.links.frame_stream import FrameStream
from vport.links.reconnecting import ReconnectingLink, Session

if TYPE_CHECKING:
    from vport.locator import CmdLocator, StdioLocator
    from vport.train import Train

logger = logging.getLogger(__name__)

PIPE_SIZE: Final = 1 << 20  # bytes asked for; 256 frames, where each write takes a page
GRACE: Final = 1.0  # seconds that a command has to end after SIGTERM


class StdioLink(Link):
    """Standard input and output of this process. Made by ``open_stdio``; ends with standard input.

    Log lines go to standard error, as always.
    """

    module = "stdio"

    def __init__(self, receiving: int = 0, sending: int = 1) -> None:
        self.description = "stdio:"
        self.discards: Counter[str] = Counter()
        self._restore: list[tuple[int, int]] = []
        inward = self._own(receiving, os.O_RDONLY)
        outward = self._own(sending, os.O_WRONLY)
        self._stream = FrameStream(inward, outward, PLUG, self.discards, by_frame=is_pipe(outward))

    def _own(self, descriptor: int, access: int) -> int:
        """Give a non-blocking descriptor for the same file.

        A pipe is opened once more, so that nothing changes for others who have it. What cannot be opened
        twice, a socket or a terminal, becomes non-blocking for all until ``close``.
        """
        if is_pipe(descriptor):
            with suppress(OSError):
                own = os.open(f"/proc/self/fd/{descriptor}", access | os.O_NONBLOCK | os.O_CLOEXEC)
                if access == os.O_WRONLY:
                    fcntl.fcntl(own, fcntl.F_SETFL, os.O_NONBLOCK | os.O_DIRECT)
                return own
        copy = os.dup(descriptor)
        self._restore.append((descriptor, fcntl.fcntl(copy, fcntl.F_GETFL)))
        os.set_blocking(copy, False)
        return copy

    def transmit(self, train: Train) -> None:
        """Queue ``train`` until ``flush``."""
        self._stream.transmit(train)

    def flush(self) -> None:
        """Write what waits, as far as the kernel takes it."""
        self._stream.flush()

    async def run(self, sink: Sink, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Deliver what comes in until the far end closes."""
        task_status.started()
        reason = await self._stream.carry(sink)
        logger.info("%s %s", self.description, reason)

    def close(self) -> None:
        """Let go of both; they stay open as they were. Idempotent."""
        self._stream.close()
        while self._restore:
            descriptor, flags = self._restore.pop()
            with suppress(OSError):
                fcntl.fcntl(descriptor, fcntl.F_SETFL, flags)


def is_pipe(descriptor: int) -> bool:
    """Whether the descriptor is a pipe."""
    return stat.S_ISFIFO(os.fstat(descriptor).st_mode)


# --- commands ---


class ChildSession(Session):
    """A command that runs, and the pipes to it.

    Args:
        child: started.
        stream: the pipes.
    """

    def __init__(self, child: subprocess.Popen[bytes], stream: FrameStream) -> None:
        self._child = child
        self._stream = stream
        self._is_carried = False

    @property
    def status(self) -> int | None:
        """With what the command has ended, None while it runs."""
        return self._child.returncode

    def transmit(self, train: Train) -> None:
        """Queue ``train`` until ``flush``."""
        self._stream.transmit(train)

    def flush(self) -> None:
        """Write what waits, as far as the kernel takes it."""
        self._stream.flush()

    async def carry(self, sink: Sink) -> str:
        """Deliver what the command prints until it ends; say with which status."""
        self._is_carried = True
        try:
            await self._stream.carry(sink)
            self._stream.close()
            with trio.move_on_after(GRACE):
                return await self._ended()
        finally:
            with trio.CancelScope(shield=True):  # at most twice GRACE
                await self._end()
            self._is_carried = False
        return describe_status(self._child.returncode)

    async def _end(self) -> None:
        """See to it that the command has ended: asked first, then killed."""
        self._stream.close()
        for end in (self._child.terminate, self._child.kill):
            if self._child.poll() is None:
                end()
                with trio.move_on_after(GRACE):
                    await self._ended()

    async def _ended(self) -> str:
        """Wait for the end of the command."""
        # Asking a command to end reaps one that has just ended by itself: then its number names nobody.
        if self._child.poll() is None:
            descriptor = os.pidfd_open(self._child.pid)
            try:
                await trio.lowlevel.wait_readable(descriptor)
            finally:
                os.close(descriptor)
        return describe_status(self._child.wait())

    def close(self) -> None:
        """Close the pipes and end the command, in ``carry`` if that is under way. Idempotent."""
        self._stream.close()
        if not self._is_carried and self._child.poll() is None:
            self._child.kill()
            self._child.wait()


def describe_status(status: int) -> str:
    """Say how a command ended."""
    if status >= 0:
        return f"the command ended with status {status}"
    try:
        return f"the command was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"the command was ended by signal {-status}"


def start_command(words: list[str], discards: Counter[str], description: str) -> ChildSession:
    """Start a command with pipes for its standard input and output; its standard error is ours.

    Raises:
        LinkError: it cannot be started.
    """
    to_child, sending = os.pipe2(os.O_CLOEXEC | os.O_DIRECT)
    receiving, from_child = os.pipe2(os.O_CLOEXEC)
    try:
        for end in (sending, receiving):
            os.set_blocking(end, False)
            with suppress(OSError):  # capped for this user: the usual size does too
                fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
        child = subprocess.Popen(words, stdin=to_child, stdout=from_child)
    except OSError as error:
        os.close(sending)
        os.close(receiving)
        raise LinkError(f"{description}: cannot start {words[0]}: {error.strerror}") from error
    finally:
        os.close(to_child)
        os.close(from_child)
    stream = FrameStream(receiving, sending, PLUG, discards, by_frame=True)
    return ChildSession(child, stream)


class CommandLink(Link):
    """A command that is run once; its end is the end of the link. Made by ``open_command``."""

    module = "cmd"

    def __init__(self, locator: CmdLocator) -> None:
        self.description = str(locator)
        self.discards: Counter[str] = Counter()
        self._session = start_command(locator.words, self.discards, self.description)
        self._is_closed = False

    def transmit(self, train: Train) -> None:
        """Queue ``train`` until ``flush``."""
        self._session.transmit(train)

    def flush(self) -> None:
        """Write what waits, as far as the kernel takes it."""
        self._session.flush()

    async def run(self, sink: Sink, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Deliver what the command prints until it ends.

        Raises:
            LinkError: it ended with another status than 0.
        """
        task_status.started()
        reason = await self._session.carry(sink)
        if self._session.status and not self._is_closed:
            raise LinkError(f"{self.description}: {reason}")
        logger.info("%s: %s", self.description, reason)

    def close(self) -> None:
        """End the command. Idempotent."""
        self._is_closed = True
        self._session.close()


class RestartedCommandLink(ReconnectingLink):
    """A command that is started again, after a pause, whenever it ends. Made by ``open_command``."""

    module = "cmd"

    def __init__(self, locator: CmdLocator) -> None:
        super().__init__(str(locator))
        self._words = locator.words

    async def open_session(self) -> ChildSession:
        """Start the command."""
        await trio.lowlevel.checkpoint()
        return start_command(self._words, self.discards, self.description)


async def open_stdio(locator: StdioLocator) -> StdioLink:
    """Take standard input and output.

    Raises:
        LinkError: one of them is closed.
    """
    try:
        return StdioLink()
    except OSError as error:
        raise LinkError(f"{locator}: standard input or output cannot be used: {error.strerror}") from error


async def open_command(locator: CmdLocator) -> CommandLink | RestartedCommandLink:
    """Start the command, at once unless it is to be restarted: then ``run`` does.

    Raises:
        LinkError: there is no such command, or it cannot be started.
    """
    program = locator.words[0]
    if shutil.which(program) is None:
        raise LinkError(f"{locator}: there is no command {program!r} (see PATH), or it may not be run")
    return RestartedCommandLink(locator) if locator.restart else CommandLink(locator)
