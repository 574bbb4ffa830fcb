"""The PID file of a daemon: refused while its process lives, replaced when it is stale, removed at exit."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from vport.errors import LinkError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

MODE: Final = 0o644
_SIZE_MAX: Final = 64  # bytes; a PID has at most seven digits


class PidFile:
    """A file that holds this process's PID while it exists.

    Raises:
        LinkError: it names a living process or is no PID file, or cannot be written.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        _clear(path)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE)
        except OSError as error:
            raise LinkError(f"cannot make the PID file {path}: {error.strerror}") from error
        with open(descriptor, "w") as file:
            file.write(f"{os.getpid()}\n")

    def close(self) -> None:
        """Remove the file if it is still ours. Idempotent."""
        with suppress(OSError):
            if _read(self.path) == str(os.getpid()):
                os.unlink(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _read(path: str) -> str:
    """Give what stands in the file, without blanks; never waits, as a FIFO would make it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise IsADirectoryError(0, "it is not a regular file")
        return file.read(_SIZE_MAX).decode("ascii", "replace").strip()


def _clear(path: str) -> None:
    """Remove the file that a process which no longer lives has left."""
    try:
        text = _read(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise LinkError(f"cannot read the PID file {path}: {error.strerror}") from error
    if text and not (text.isdecimal() and text.isascii()):
        raise LinkError(f"{path} exists and is not a PID file: give another path, or remove it")
    if text and _is_alive(int(text)):
        raise LinkError(f"{path} names process {text}, which is running: end it, or give another path")
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise LinkError(f"cannot replace the old PID file {path}: {error.strerror}") from error


def _is_alive(pid: int) -> bool:
    """Whether a process other than this one has that PID (in a container ours may be the old one's)."""
    if pid in {0, os.getpid()} or pid > 2**31 - 1:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return not _has_ended(pid)


def _has_ended(pid: int) -> bool:
    """Whether the process only waits for its parent to take note, which in a container nobody may do."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(") ")[2].startswith("Z")  # the state (proc(5))
    except OSError:
        return False
