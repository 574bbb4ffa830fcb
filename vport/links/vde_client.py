"""A port's side of VDE: plugs into a switch through its control directory, and again when it comes back."""

from __future__ import annotations

import errno
import getpass
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from vport.errors import LinkError, RemoteProtocolError, SettingsError
from vport.links.frame_batch import FrameInbox, FrameOutbox, FrameSender, find_calls, raise_send_buffer
from vport.links.readiness import notify_closing, serve_readable
from vport.links.reconnecting import ReconnectingLink, Session
from vport.links.vde_directory import ROOT_DIRECTORY, USER_DIRECTORY
from vport.locator import VdeLocator, parse
from vport.unix_files import PATH_MAX, group_id
from vport.vde_protocol import SOCKADDR_SIZE, Request, decode_sockaddr, encode_request

if TYPE_CHECKING:
    from collections import Counter

    from vport.links.base import Sink
    from vport.links.mmsg import Calls
    from vport.train import Train

REPLY_TIME: Final = 5.0  # seconds; a vde_switch that refuses says nothing and keeps the stream open
_DEFAULT_MODE: Final = 0o700
_FILES_FOLLOWED: Final = 8  # files that name a file that names … a directory
_NAMES_TRIED: Final = 256  # numbers for our own socket in one place

# Where our own socket goes: beside the switch's or, where we may not write there, where every client of
# VDE looks for room.
_FALLBACK_PLACES: Final = ("/var/run/vde", "/var/tmp/vde", "/tmp/vde")


def find_directory(locator: VdeLocator) -> tuple[str, int | None]:
    """Find out which control directory and which port a locator means.

    An empty path means what clients of VDE take by default: what the user chose, the system's switch, the
    user's. A regular file stands for the locator in its first line.

    Raises:
        LinkError: there is none.
    """
    path, port = locator.path or _default_path(), locator.port
    for _ in range(_FILES_FOLLOWED):
        if not os.path.isfile(path):
            return os.path.abspath(path), port
        named = _first_line(path)
        path, port = named.path, named.port if port is None else port
    raise LinkError(f"{path} is one of too many files that name each other, and no directory")


def _default_path() -> str:
    home = Path.home()
    for choice in (home / ".vdeplug/default", home / ".vde2/default.switch"):
        if choice.exists():
            return str(choice)
    return USER_DIRECTORY if os.path.exists(f"{USER_DIRECTORY}/ctl") else ROOT_DIRECTORY


def _first_line(path: str) -> VdeLocator:
    """Read the locator in a file. Raises LinkError."""
    try:
        with open(path, encoding="utf-8") as file:
            line = file.readline(4096).strip()
        named = parse(line if ":" in line.split("/", 1)[0] else f"vde://{line}")
    except (OSError, UnicodeDecodeError, SettingsError) as error:
        raise LinkError(f"no locator can be read from {path}: {error}") from error
    if not isinstance(named, VdeLocator) or not named.path:
        raise LinkError(f"{path} names no VDE switch, but {line!r}")
    return named


class VdeSession(Session):
    """Plugged into a switch.

    Args:
        stream: the control connection.
        sock: our datagram socket, connected to the switch's.
        calls: the batch system calls.
        discards: frames neither delivered nor sent, by reason.
    """

    def __init__(
        self,
        stream: trio.socket.SocketType,
        sock: socket.socket,
        calls: Calls | None,
        discards: Counter[str],
    ) -> None:
        self._stream = stream
        self._sock = sock
        self._discards = discards
        self._inbox = FrameInbox(calls)
        self._sender = FrameSender(FrameOutbox(calls), sock, discards)

    def transmit(self, train: Train) -> None:
        """Gather ``train`` until ``flush``."""
        self._sender.add(train)

    def flush(self) -> None:
        """Send what was gathered; what the switch's socket has no room for is discarded."""
        self._sender.flush()

    async def carry(self, sink: Sink) -> str:
        """Deliver what the switch sends until it hangs up."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._receive, sink)
            try:
                said = await self._stream.recv(1)
            except trio.ClosedResourceError:
                said = b""
            nursery.cancel_scope.cancel()
        return "the switch spoke out of turn" if said else "the switch has hung up"

    async def _receive(self, sink: Sink) -> None:
        def turn() -> bool:
            try:
                trains, more = self._inbox.receive(self._sock, self._discards)
            except OSError:
                self._discards["error"] += 1  # the switch is going; the end of the stream says so
                return False
            for train in trains:
                sink.deliver(train)
            sink.flush()
            return more

        with suppress(trio.ClosedResourceError):
            await serve_readable(self._sock.fileno(), turn)

    def close(self) -> None:
        """Hang up. Idempotent."""
        self._stream.close()
        if self._sock.fileno() >= 0:
            notify_closing(self._sock.fileno())
            self._sock.close()


class VdeClient(ReconnectingLink):
    """A link into a VDE switch. Made by ``open_vde_client``."""

    module = "vde"

    def __init__(self, locator: VdeLocator, *, batches: bool = True) -> None:
        super().__init__(str(locator))
        self._locator = locator
        self._gid = None if locator.group is None else group_id(locator.group)
        self._calls = find_calls() if batches else None

    async def open_session(self) -> VdeSession:
        """Ask for a place and take it."""
        directory, port = find_directory(self._locator)
        stream = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        own = ""
        try:
            await _call(stream, directory)
            raise_send_buffer(sock)
            own = self._bind(sock, directory)
            request = Request(path=os.fsencode(own), port=port, description=self._introduction())
            path = await _ask(stream, request)
            sock.connect(path)
            if self._locator.mode is not None:  # the switch has left it to us
                with suppress(OSError):
                    os.chmod(path, self._locator.mode)
        except BaseException:
            stream.close()
            sock.close()
            raise
        finally:
            if own:
                with suppress(OSError):
                    os.unlink(own)
        return VdeSession(stream, sock, self._calls, self.discards)

    def _introduction(self) -> str:
        """Say who we are, in the words that clients of VDE use."""
        who = self._locator.description or "vport:"
        try:
            user = getpass.getuser()
        except (KeyError, OSError):
            user = str(os.getuid())
        return f"{who} user={user} pid={os.getpid()}"

    def _bind(self, sock: socket.socket, directory: str) -> str:
        """Give our socket a file that the switch can use; give its path.

        Raises:
            LinkError: there is no place for it.
        """
        for place in (f"{directory}/", *(f"{place}" for place in _FALLBACK_PLACES)):
            path = _bind_in(sock, place)
            if path is not None:
                self._permit(path, directory)
                return path
        raise LinkError(
            f"no place for our own socket, neither in {directory} nor in /var/run, /var/tmp, /tmp"
        )

    def _permit(self, path: str, directory: str) -> None:
        """Let the switch write to our socket, which may belong to another user."""
        mode = _DEFAULT_MODE if self._locator.mode is None else self._locator.mode
        os.chmod(path, mode)
        control = os.stat(f"{directory}/ctl")
        if self._gid is not None:
            os.chown(path, -1, self._gid)
        elif not mode & 0o077 and control.st_uid not in {0, os.geteuid()}:
            try:
                os.chown(path, -1, control.st_gid)
                os.chmod(path, mode | 0o070)
            except PermissionError:
                os.chmod(path, 0o777)


def _bind_in(sock: socket.socket, place: str) -> str | None:
    """Bind to a name of our own that begins with ``place``; give it, None where that cannot be."""
    for number in range(_NAMES_TRIED):
        path = f"{place}.{os.getpid():05d}-{number:05d}"
        if len(os.fsencode(path)) > PATH_MAX:
            return None
        try:
            sock.bind(path)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                continue
            return None
        return path
    return None


async def _call(stream: trio.socket.SocketType, directory: str) -> None:
    """Connect to the control socket. Raises LinkError."""
    path = f"{directory}/ctl"
    if len(os.fsencode(path)) > PATH_MAX:
        raise LinkError(f"the path of the control socket is longer than {PATH_MAX} bytes: {path}")
    try:
        await stream.connect(path)
    except FileNotFoundError:
        raise LinkError(f"no switch is at {directory} ({path} does not exist)") from None
    except ConnectionRefusedError:
        raise LinkError(f"the switch at {directory} has gone (nobody listens on {path})") from None
    except PermissionError:
        raise LinkError(f"no permission to use the switch at {directory}") from None


async def _ask(stream: trio.socket.SocketType, request: Request) -> bytes:
    """Send a request, receive the reply: the path of the switch's socket.

    Raises:
        LinkError: the switch does not want us, or does not say what it should.
    """
    await stream.send(encode_request(request))
    data = b""
    with trio.move_on_after(REPLY_TIME) as scope:
        while len(data) < SOCKADDR_SIZE:
            piece = await stream.recv(SOCKADDR_SIZE - len(data))
            if not piece:
                raise LinkError("the switch refuses us (is the port free and are we allowed in?)")
            data += piece
    if scope.cancelled_caught:
        raise LinkError("the switch does not answer, which is how vde_switch refuses a port")
    try:
        return decode_sockaddr(data)
    except RemoteProtocolError as error:
        raise LinkError(f"the switch's reply makes no sense: {error}") from error


async def open_vde_client(locator: VdeLocator) -> VdeClient:
    """Make a client for ``locator``; it plugs in in ``run``, and goes on trying there.

    Raises:
        SettingsError: there is no such group.
    """
    return VdeClient(locator)
