"""A VDE control directory, the switch's side: what is in it, who may use it, how it goes away.

DIR/             made with the mode that follows from the sockets', or found and left as it is
DIR/ctl          stream socket where clients ask
DIR/PPP.N        datagram socket for one client: its port and a number of our own
DIR/.PID-N       a client's datagram socket, which the client makes and removes
"""

from __future__ import annotations

import errno
import os
import re
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vport.errors import LinkError, RemoteProtocolError, SettingsError
from vport.unix_files import SocketFile, bind_file, check_path, group_id, is_alive

if TYPE_CHECKING:
    import socket
    from typing import Self

    from vport.locator import VdeLocator
    from vport.vde_protocol import Request

DEFAULT_MODE: Final = 0o600
ROOT_DIRECTORY: Final = "/var/run/vde.ctl"  # where clients look when they are told nothing
USER_DIRECTORY: Final = "/tmp/vde.ctl"
_LONGEST_NAME: Final = len("/65535.1234567")  # of a data socket
_DATA_NAME: Final = re.compile(r"[0-9]{3,5}\.[0-9]+")
# Where clients that may not write to DIR put their socket, and how they name it there.
_FALLBACK_PLACES: Final = ("/var/run", "/run", "/var/tmp", "/tmp")
_FALLBACK_PREFIX: Final = "vde."


class ControlSocket(SocketFile):
    """``DIR/ctl``."""

    what = "control socket"


def directory_mode(mode: int) -> int:
    """Give the mode of a directory whose sockets have ``mode``: who may use them may enter it.

    The group of what is made inside is the directory's (set-group-ID), so that clients of a group meet.
    """
    return 0o2000 | mode | (mode & 0o444) >> 2 | (mode & 0o222) >> 1


class ControlDirectory:
    """The directory of a switch, open for clients.

    Attributes:
        path: absolute.
        control: where clients ask.
        mode: of the sockets.
    """

    def __init__(self, path: str, control: ControlSocket, mode: int, gid: int | None) -> None:
        self.path = path
        self.control = control
        self.mode = mode
        self._gid = gid
        self._numbers = 0

    @classmethod
    def open(cls, locator: VdeLocator) -> Self:
        """Make the directory or use an existing one, and listen there.

        A directory that is there keeps its mode and group unless the locator names them: it may be
        anybody's, ``/tmp`` even.

        Raises:
            SettingsError: the path is too long or no directory, or there is no such group.
            LinkError: another switch serves it, or the system refuses.
        """
        default = ROOT_DIRECTORY if os.geteuid() == 0 else USER_DIRECTORY
        path = check_path(locator.path or default, "control directory", room=_LONGEST_NAME)
        mode = DEFAULT_MODE if locator.mode is None else locator.mode & 0o777
        gid = None if locator.group is None else group_id(locator.group)
        is_new = _make_directory(path)
        try:
            if is_new or locator.dirmode is not None or gid is not None:
                wanted = directory_mode(mode) if locator.dirmode is None else locator.dirmode
                _set_up(path, wanted, gid)
            control = ControlSocket.open(f"{path}/ctl", mode=mode, group=locator.group)
        except BaseException:
            if is_new:
                _remove_if_empty(path)
            raise
        _remove_dead(path)
        return cls(path, control, mode, gid)

    def close(self) -> None:
        """Stop listening; remove the directory if nothing is left in it. Idempotent."""
        self.control.close()
        _remove_if_empty(self.path)

    # --- data sockets ---

    def bind(self, sock: socket.socket, port: int, uid: int) -> str:
        """Give our datagram socket for a client of user ``uid`` its file; return the path.

        Raises:
            LinkError: the system refuses.
        """
        self._numbers += 1
        path = f"{self.path}/{port:03d}.{self._numbers}"
        with suppress(FileNotFoundError):
            os.unlink(path)
        if os.geteuid() == 0:  # the client may change the mode of its file, so the file is the client's
            bind_file(sock, path, self.mode & 0o700, self._gid, uid=uid, what="data socket")
        else:
            bind_file(sock, path, self.mode, self._gid, what="data socket")
        return path

    def connect(self, sock: socket.socket, request: Request, uid: int) -> None:
        """Connect ``sock`` to the socket that a client of user ``uid`` names.

        A file must be a socket of that user's own, where clients make theirs: we may have rights that
        the client has not. It is opened before it is looked at, so that it cannot be exchanged between.

        Raises:
            RemoteProtocolError: it is not, or cannot be connected to.
        """
        try:
            if request.is_abstract:
                sock.connect(request.path)
            else:
                self._connect_to_file(sock, os.fsdecode(request.path), uid)
        except OSError as error:
            shown = os.fsdecode(request.path.rstrip(b"\0"))
            raise RemoteProtocolError(f"its socket {shown!r} cannot be used: {error.strerror}") from error

    def _connect_to_file(self, sock: socket.socket, path: str, uid: int) -> None:
        self._check_place(path)
        descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISSOCK(status.st_mode):
                raise RemoteProtocolError(f"{path!r} is no socket")
            if uid not in {0, status.st_uid}:
                raise RemoteProtocolError(f"{path!r} belongs to user {status.st_uid}, not to user {uid}")
            sock.connect(f"/proc/self/fd/{descriptor}")
        finally:
            os.close(descriptor)

    def _check_place(self, path: str) -> None:
        folder, name = os.path.split(path)
        place = os.path.realpath(folder)
        if os.path.isabs(path) and name not in {"", ".", ".."}:
            if place == os.path.realpath(self.path):
                return
            if name.startswith(_FALLBACK_PREFIX) and place in map(os.path.realpath, _FALLBACK_PLACES):
                return
        raise RemoteProtocolError(f"its socket {path!r} is outside of where clients make theirs")


def _make_directory(path: str) -> bool:
    """Make the directory; tell whether it was not there."""
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        if not os.path.isdir(path):
            raise SettingsError(f"{path} exists and is no directory: give another, or remove it") from None
        return False
    except OSError as error:
        raise LinkError(f"cannot make the control directory {path}: {error.strerror}") from error
    return True


def _set_up(path: str, mode: int, gid: int | None) -> None:
    try:
        if gid is not None:
            os.chown(path, -1, gid)
        os.chmod(path, mode)
    except OSError as error:
        raise LinkError(f"cannot give {path} its mode and group: {error.strerror}") from error


def _remove_if_empty(path: str) -> None:
    try:
        os.rmdir(path)
    except OSError as error:
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT, errno.EACCES, errno.EPERM}:
            raise LinkError(f"cannot remove {path}: {error.strerror}") from error


def _remove_dead(path: str) -> None:
    """Remove the data sockets that a switch left behind when it was killed."""
    for entry in Path(path).iterdir():
        if _DATA_NAME.fullmatch(entry.name) and entry.is_socket() and not is_alive(str(entry)):
            with suppress(OSError):
                entry.unlink()
