"""Unix sockets that have a file: made, replaced when stale, never taken from the living, removed."""

from __future__ import annotations

import errno
import grp
import os
import socket
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar, Final

from vport.errors import LinkError, SettingsError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

PATH_MAX: Final = 107  # bytes: sun_path has 108, its NUL included (unix(7))
BACKLOG: Final = 64


class SocketFile:
    """A Unix socket and the file that names it.

    Attributes:
        what: how messages call it.
        socket: bound, non-blocking; a stream socket listens.
        path: absolute, as it was when opened.
        mode: the file's permissions.
    """

    what: ClassVar[str] = "socket"

    def __init__(self, bound: socket.socket, path: str, mode: int, identity: tuple[int, int] | None) -> None:
        self.socket = bound
        self.path = path
        self.mode = mode
        self._identity = identity  # device and inode: whether the file is still ours; None: never was

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        mode: int = 0o600,
        group: str | None = None,
        kind: int = socket.SOCK_STREAM,
    ) -> Self:
        """Bind a socket to ``path``, where a dead program may have left its own; listen if it is a stream.

        Args:
            path: where.
            mode: permissions of the file.
            group: of the file, by name or number; None leaves the process's own.
            kind: SOCK_STREAM or SOCK_DGRAM.

        Raises:
            SettingsError: the path is too long or names something else than a socket, or there is no
                such group.
            LinkError: somebody else has it, or the system refuses.
        """
        full = check_path(path, cls.what)
        gid = None if group is None else group_id(group)
        clear_stale(full)
        bound = socket.socket(socket.AF_UNIX, kind | socket.SOCK_NONBLOCK)
        try:
            identity = bind_file(bound, full, mode, gid, what=cls.what)
            if kind == socket.SOCK_STREAM:
                bound.listen(BACKLOG)
            return cls(bound, full, mode, identity)
        except BaseException:
            bound.close()
            raise

    @classmethod
    def adopt(cls, bound: socket.socket) -> Self:
        """Take a socket that somebody else made; its file stays theirs."""
        bound.setblocking(False)
        path = os.fsdecode(bound.getsockname())
        if path.startswith("\0"):  # the abstract namespace (unix(7)): a name without a file
            return cls(bound, "@" + path[1:], 0o777, None)
        return cls(bound, path, stat.S_IMODE(os.stat(path).st_mode), None)

    def close(self) -> None:
        """Close the socket and remove the file if it is still ours. Idempotent."""
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


def check_path(path: str | os.PathLike[str], what: str, *, room: int = 0) -> str:
    """Give the absolute path if it fits into a socket's address, with ``room`` bytes behind it.

    Raises:
        SettingsError: it does not fit.
    """
    full = os.path.abspath(path)
    size = len(os.fsencode(full))
    if size > PATH_MAX - room:
        raise SettingsError(f"the {what}'s path has {size} bytes, {PATH_MAX - room} are allowed: {full}")
    return full


def group_id(group: str) -> int:
    """Find the number of a group.

    Raises:
        SettingsError: there is no such group.
    """
    try:
        return int(group) if group.isascii() and group.isdigit() else grp.getgrnam(group).gr_gid
    except KeyError:
        raise SettingsError(f"there is no group {group!r} on this system (see: getent group)") from None


def clear_stale(path: str) -> bool:
    """Remove the socket file of a program that no longer runs, and nothing else; tell whether there was one.

    Raises:
        SettingsError: the path names something else than a socket.
        LinkError: somebody lives there, or the file cannot be removed.
    """
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise LinkError(f"cannot look at {path}: {error.strerror}") from error
    if not stat.S_ISSOCK(found.st_mode):
        raise SettingsError(f"{path} exists and is no socket: give another path, or remove it")
    if is_alive(path):
        raise LinkError(f"{path} is in use by another switch: end that one, or give another path")
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise LinkError(f"cannot replace the old socket {path}: {error.strerror}") from error
    return True


def is_alive(path: str) -> bool:
    """Whether somebody has the socket file open. A full backlog and another type are signs of life too."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        answer = probe.connect_ex(path)
    return answer not in {errno.ECONNREFUSED, errno.ENOENT}


def bind_file(
    sock: socket.socket, path: str, mode: int, gid: int | None, *, uid: int = -1, what: str = "socket"
) -> tuple[int, int]:
    """Make the file with its final mode and owners before anybody can use it; give its identity.

    Raises:
        LinkError: the system refuses; no file is left.
    """
    os.fchmod(sock.fileno(), 0o600)  # the file's mode until the one wished for is set
    try:
        sock.bind(path)
    except OSError as error:
        raise LinkError(f"cannot make the {what} {path}: {error.strerror}") from error
    try:
        identity = _identity(path)
        if gid is not None or uid >= 0:
            os.chown(path, uid, -1 if gid is None else gid)
        os.chmod(path, mode)
    except OSError as error:
        with suppress(OSError):
            os.unlink(path)
        raise LinkError(f"cannot give {path} its mode and group: {error.strerror}") from error
    return identity


def _identity(path: str) -> tuple[int, int]:
    status = os.lstat(path)
    return status.st_dev, status.st_ino
