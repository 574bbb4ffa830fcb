"""Where a capture goes: a regular file, written in threads, or a FIFO, which is never waited for.

A disk may be slow, so that a thread writes what was gathered while frames go on. A FIFO says itself whether
it takes more; how long its reader does not matter to anybody else.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import threading
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio

from vport.errors import LinkError
from vport.pcapng import fitting

if TYPE_CHECKING:
    from collections.abc import Callable

    from vport.ethernet import Buffer
    from vport.locator import PcapLocator

USUAL_LIMIT: Final = 1 << 30  # bytes: a capture that was forgotten does not fill the disk
PIPE_SIZE: Final = 1 << 20  # bytes asked for, so that a reader may be away for a moment
_FLAGS: Final = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_AT_ONCE: Final = 1 << 16  # bytes into a FIFO until other tasks have their turn


class CaptureFile(ABC):
    """An open file that blocks of a capture are written to.

    Attributes:
        usual_limit: bytes after which to stop where nobody said; 0 for never.
    """

    usual_limit: int = 0

    @abstractmethod
    async def write(self, blocks: Buffer) -> None:
        """Write whole blocks. Cancelled, nobody knows how much of them was written.

        Raises:
            BrokenPipeError: the reader has gone.
            OSError: they cannot be written.
        """

    @abstractmethod
    def write_now(self, blocks: Buffer) -> None:
        """Do the same without a turn for anybody else; a FIFO gets what it takes at once. Raises OSError."""

    async def reader_left(self) -> None:
        """Wait until nobody can read any more what is written; a regular file can always be read."""
        await trio.sleep_forever()

    @abstractmethod
    def close(self) -> None:
        """Close the file, while nobody waits for it. Idempotent."""


class RegularFile(CaptureFile):
    """A regular file that ends with a whole block, also when the disk is full.

    Args:
        descriptor: at the place where the first block goes; owned from now on.
    """

    usual_limit = USUAL_LIMIT

    def __init__(self, descriptor: int) -> None:
        self._file = open(descriptor, "wb", buffering=0)  # noqa: SIM115 - closed by `close`
        self._size = 0
        self._state = threading.Lock()  # of the two below; never held while the disk is waited for
        self._is_writing = False
        self._is_closed = False

    async def write(self, blocks: Buffer) -> None:
        """Write whole blocks in a thread, which is given up when this is cancelled. Raises OSError."""
        await trio.to_thread.run_sync(self.write_now, blocks, abandon_on_cancel=True)

    def write_now(self, blocks: Buffer) -> None:
        """Write whole blocks. Raises OSError; those that are whole by then are in the file.

        After ``close`` nothing is written any more.
        """
        with self._state:
            if self._is_closed:
                return
            self._is_writing = True
        try:
            self._write(memoryview(blocks))
        finally:
            with self._state:
                self._is_writing = False
                if self._is_closed:
                    self._file.close()

    def _write(self, view: memoryview) -> None:
        written = 0
        try:
            while written < len(view):
                written += self._file.write(view[written:]) or 0
        except OSError:
            with suppress(OSError):
                self._file.truncate(self._size + fitting(view, written)[0])
            raise
        self._size += written

    def close(self) -> None:
        """Close the file; where a thread that was given up still writes, once it is done. Idempotent.

        Until then nobody else's file can have the same number.
        """
        with self._state:
            self._is_closed = True
            if not self._is_writing:
                self._file.close()


class Fifo(CaptureFile):
    """The writing end of a FIFO or a pipe that somebody reads.

    Args:
        descriptor: non-blocking; owned from now on.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        with suppress(OSError):  # capped for this user: the usual size does too
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE_SIZE)

    async def write(self, blocks: Buffer) -> None:
        """Write blocks as fast as they are read. Raises BrokenPipeError, when nobody reads any more."""
        view = memoryview(blocks)
        while view:
            try:
                view = view[os.write(self._descriptor, view[:_AT_ONCE]) :]
                await trio.lowlevel.checkpoint()
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self._descriptor)

    def write_now(self, blocks: Buffer) -> None:
        """Write what the FIFO takes at once; the rest is lost, with the end of the capture."""
        with suppress(BlockingIOError, BrokenPipeError):
            os.write(self._descriptor, blocks)

    async def reader_left(self) -> None:
        """Wait until the last reader has closed: a writing end is never readable, but tells this error."""
        await trio.lowlevel.wait_readable(self._descriptor)

    def close(self) -> None:
        """Close our end. Idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def open_capture(locator: PcapLocator) -> CaptureFile | None:
    """Open what ``locator`` names, or make it; None for a FIFO that nobody reads yet.

    May block on the file system.

    Raises:
        LinkError: it cannot be opened, or there is something in it already.
    """
    try:
        return _open(locator, _descriptor)
    except OSError as error:
        raise LinkError(f"cannot write {locator.path}: {error.strerror}") from error


def open_fifo(locator: PcapLocator) -> CaptureFile | None:
    """Try again to open a FIFO that nobody read when it was tried last; None when nobody does now.

    Raises:
        LinkError: it is no longer there.
    """
    try:
        return _open(locator, _existing)
    except OSError as error:
        raise LinkError(f"cannot write {locator.path}: {error.strerror}") from error


def _open(locator: PcapLocator, opener: Callable[[PcapLocator], int]) -> CaptureFile | None:
    try:
        descriptor = opener(locator)
    except OSError as error:
        if error.errno == errno.ENXIO and stat.S_ISFIFO(os.stat(locator.path).st_mode):
            return None
        raise
    try:
        return _checked(descriptor, locator)
    except BaseException:
        os.close(descriptor)
        raise


def _descriptor(locator: PcapLocator) -> int:
    """Open the file, or make it; not in one call, with which Linux refuses others' FIFOs in /tmp.

    (fs.protected_fifos, proc_sys_fs(5))
    """
    try:
        return _existing(locator)
    except FileNotFoundError:
        descriptor = os.open(locator.path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
        os.fchmod(descriptor, locator.mode)
        return descriptor


def _existing(locator: PcapLocator) -> int:
    return os.open(locator.path, _FLAGS)


def _checked(descriptor: int, locator: PcapLocator) -> CaptureFile:
    """Make sure that nothing is lost by writing there. Raises LinkError, OSError."""
    status = os.fstat(descriptor)
    if stat.S_ISFIFO(status.st_mode):
        return Fifo(descriptor)
    if os.isatty(descriptor):
        raise LinkError(f"{locator.path} is a terminal: let a program read it, as in | tcpdump -r -")
    if not stat.S_ISREG(status.st_mode):
        raise LinkError(f"{locator.path} is neither a file nor a FIFO")
    _lock(descriptor, locator.path)
    if status.st_size:
        if not locator.overwrite:
            raise LinkError(
                f"{locator.path} exists and has {status.st_size} bytes: give another path, remove it, or add "
                "overwrite=yes"
            )
        os.ftruncate(descriptor, 0)
    return RegularFile(descriptor)


def _lock(descriptor: int, path: str) -> None:
    """Keep two captures from writing one file, where the file system has locks. Raises LinkError."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise LinkError(f"{path} is being written by another capture: give another path") from None
    except OSError:
        return
