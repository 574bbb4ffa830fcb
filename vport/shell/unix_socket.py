"""The management socket's file: made, replaced when stale, never taken from a living switch, removed."""

from __future__ import annotations

import errno
import grp
import os
import socket
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from vport.errors import LinkError, SettingsError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

PATH_MAX: Final = 107  # bytes: sun_path has 108, its NUL included (unix(7))
BACKLOG: Final = 64


class ManagementSocket:
    """A listening Unix stream socket and the file that names it.

    Attributes:
        socket: the listening socket, non-blocking.
        path: absolute, as it was when opened.
        mode: the file's permissions.
    """

    def __init__(
        self, listening: socket.socket, path: str, mode: int, identity: tuple[int, int] | None
    ) -> None:
        self.socket = listening
        self.path = path
        self.mode = mode
        self._identity = identity  # device and inode: whether the file is still ours; None: never was

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, mode: int = 0o600, group: str | None = None) -> Self:
        """Listen at ``path``, where a dead switch may have left its socket.

        Raises:
            SettingsError: the path is too long or names something else than a socket, or there is no
                such group.
            LinkError: another switch listens there, or the system refuses.
        """
        full = os.path.abspath(path)
        size = len(os.fsencode(full))
        if size > PATH_MAX:
            raise SettingsError(
                f"the management socket's path has {size} bytes, {PATH_MAX} are allowed: {full}"
            )
        gid = None if group is None else _group_id(group)
        _clear(full)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            return cls(listening, full, mode, _bind(listening, full, mode, gid))
        except BaseException:
            listening.close()
            raise

    @classmethod
    def adopt(cls, listening: socket.socket) -> Self:
        """Take a socket that somebody else made and listens on; its file stays theirs."""
        listening.setblocking(False)
        path = os.fsdecode(listening.getsockname())
        if not path or path.startswith("\0"):  # an abstract name is no file
            return cls(listening, "@" + path[1:], 0o777, None)
        return cls(listening, path, stat.S_IMODE(os.stat(path).st_mode), None)

    def close(self) -> None:
        """Stop listening and remove the file if it is still ours. Idempotent."""
        if self.socket.fileno() < 0:
            return
        self.socket.close()
        with suppress(OSError):
            if _identity(self.path) == self._identity:
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


def _group_id(group: str) -> int:
    try:
        return int(group) if group.isascii() and group.isdigit() else grp.getgrnam(group).gr_gid
    except KeyError:
        raise SettingsError(f"there is no group {group!r} on this system (see: getent group)") from None


def _identity(path: str) -> tuple[int, int]:
    status = os.lstat(path)
    return status.st_dev, status.st_ino


def _clear(path: str) -> None:
    """Remove the socket file of a switch that no longer runs, and nothing else."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise LinkError(f"cannot look at {path}: {error.strerror}") from error
    if not stat.S_ISSOCK(found.st_mode):
        raise SettingsError(f"{path} exists and is no socket: give another path, or remove it")
    if _is_alive(path):
        raise LinkError(f"{path} is in use by another switch: end that one, or give another path")
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise LinkError(f"cannot replace the old socket {path}: {error.strerror}") from error


def _is_alive(path: str) -> bool:
    """Whether somebody listens at the socket file. A full backlog is a sign of life too."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        answer = probe.connect_ex(path)
    return answer not in {errno.ECONNREFUSED, errno.ENOENT}


def _bind(listening: socket.socket, path: str, mode: int, gid: int | None) -> tuple[int, int]:
    """Make the file with its final mode and group before anybody can connect."""
    os.fchmod(listening.fileno(), 0o600)  # the file's mode until the one wished for is set
    try:
        listening.bind(path)
    except OSError as error:
        raise LinkError(f"cannot make the management socket {path}: {error.strerror}") from error
    identity = _identity(path)
    try:
        if gid is not None:
            os.chown(path, -1, gid)
        os.chmod(path, mode)
        listening.listen(BACKLOG)
    except OSError as error:
        os.unlink(path)
        raise LinkError(f"cannot give {path} its mode and group: {error.strerror}") from error
    return identity
