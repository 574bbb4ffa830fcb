"""Locators of what plugs in on this machine or over a stream: VDE, TCP, Unix sockets, pipes, captures."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self
from urllib.parse import quote, unquote

from vport.errors import SettingsError
from vport.locator.base import HostPortLocator, Locator, flag, option
from vport.readers import (
    byte_count,
    file_mode,
    file_path,
    group_name,
    integer,
)

_SAFE_PATH: Final = "/:.,@+-_~"  # brackets are escaped: they hold a port number
_HIGHEST_PORT: Final = 65535


def _octal(mode: int) -> str:
    return f"{mode:04o}"


@dataclass(frozen=True, slots=True, kw_only=True)
class VdeLocator(Locator):
    """A VDE 2 switch's control directory. See ``vport.links.vde``.

    Attributes:
        path: of the directory; empty for the usual places.
        port: the port to be plugged into, None for any.
    """

    scheme: ClassVar[str] = "vde"
    form: ClassVar[str] = "vde://DIRECTORY[PORT], listening: vde://DIRECTORY"
    summary: ClassVar[str] = "VDE 2: vde_plug, vde_plug2tap, slirpvde, QEMU -netdev vde; a vde_switch"
    can_listen: ClassVar[bool] = True

    path: str
    port: int | None = None
    mode: int | None = option(
        None,
        file_mode,
        "permissions (default: listening 0600, calling 0700)",
        "OCTAL",
        _octal,
    )
    dirmode: int | None = option(
        None,
        file_mode,
        "listening: of the directory (default: made from mode)",
        "OCTAL",
        _octal,
    )
    group: str | None = option(None, group_name, "group of the directory and the sockets", "GROUP")
    description: str | None = option(None, str, "calling: how port/print of the switch shows us", "TEXT")

    @classmethod
    def read_target(cls, text: str) -> dict[str, Any]:
        """Read ``DIRECTORY[PORT]``; both may be missing."""
        match = re.fullmatch(r"([^\[\]]*)(?:\[(.*)\])?", text)
        if match is None:
            raise SettingsError(f"{text!r} is not DIRECTORY or DIRECTORY[PORT]; write %5B for a bracket")
        path, port = match.groups()
        values: dict[str, Any] = {"path": file_path(unquote(path)) if path else ""}
        if port is not None:
            try:
                values["port"] = integer(0, _HIGHEST_PORT)(port)
            except SettingsError as error:
                raise SettingsError(f"port {error}") from None
        return values

    def write_target(self) -> str:
        """Write ``DIRECTORY[PORT]``."""
        return quote(self.path, safe=_SAFE_PATH) + (f"[{self.port}]" if self.port is not None else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpLocator(HostPortLocator):
    """Frames over TCP, each behind its length. See ``vport.links.stream``."""

    scheme: ClassVar[str] = "tcp"
    form: ClassVar[str] = "tcp://HOST:PORT, listening: tcp://[ADDRESS]:PORT"
    summary: ClassVar[str] = (
        "frames behind their length in 4 bytes: QEMU -netdev stream (authenticates nobody)"
    )
    can_listen: ClassVar[bool] = True


@dataclass(frozen=True, slots=True, kw_only=True)
class _PathLocator(Locator):
    """A Unix socket or a file, named by its path."""

    path: str

    @classmethod
    def read_target(cls, text: str) -> dict[str, Any]:
        """Read the path."""
        return {"path": file_path(unquote(text))}

    def write_target(self) -> str:
        """Write the path."""
        return quote(self.path, safe=_SAFE_PATH)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnixLocator(_PathLocator):
    """The same as ``tcp`` over a Unix stream socket. See ``vport.links.stream``."""

    scheme: ClassVar[str] = "unix"
    form: ClassVar[str] = "unix://PATH"
    summary: ClassVar[str] = "frames behind their length in 4 bytes: QEMU -netdev stream, passt"
    can_listen: ClassVar[bool] = True

    mode: int = option(0o600, file_mode, "listening: permissions of the socket", "OCTAL", _octal)
    group: str | None = option(None, group_name, "listening: group of the socket", "GROUP")


@dataclass(frozen=True, slots=True, kw_only=True)
class UnixgramLocator(_PathLocator):
    """One raw frame per datagram over a Unix socket. See ``vport.links.unixgram``."""

    scheme: ClassVar[str] = "unixgram"
    form: ClassVar[str] = "unixgram://PATH"
    summary: ClassVar[str] = "one raw frame per datagram of a Unix socket: QEMU -netdev dgram, vfkit"
    can_listen: ClassVar[bool] = True

    local: str | None = option(None, file_path, "calling: path of our own socket (default: drawn)", "PATH")
    mode: int = option(0o600, file_mode, "permissions of our socket", "OCTAL", _octal)
    group: str | None = option(None, group_name, "group of our socket", "GROUP")


@dataclass(frozen=True, slots=True, kw_only=True)
class StdioLocator(Locator):
    """Standard input and output, in the framing of a VDE plug. See ``vport.links.pipes``."""

    scheme: ClassVar[str] = "stdio"
    form: ClassVar[str] = "stdio:"
    summary: ClassVar[str] = (
        "standard input and output, frames behind their length in 2 bytes: dpipe, vde_plug"
    )

    @classmethod
    def prefix(cls) -> str:
        """Give what its texts begin with."""
        return cls.form

    @classmethod
    def read_text(cls, rest: str) -> Self:
        """Read what must be empty."""
        if rest not in {"", "//"}:
            raise SettingsError(f"expected {cls.form} and nothing behind it")
        return cls()

    def __str__(self) -> str:
        return self.form


@dataclass(frozen=True, slots=True, kw_only=True)
class CmdLocator(Locator):
    """Standard input and output of a command, in the framing of a VDE plug. See ``vport.links.pipes``.

    A command may contain anything, so there is no query: what is to be said about it stands in front.
    A command whose own name begins with ``restart:`` is written with a blank before it.

    Attributes:
        command: program and arguments, quoted as for a shell, which is not used.
        restart: whether to start it again when it ends.
    """

    scheme: ClassVar[str] = "cmd"
    form: ClassVar[str] = "cmd:COMMAND, cmd:restart:COMMAND to start it again whenever it ends"
    summary: ClassVar[str] = "a command's standard input and output: 'cmd:ssh HOST vde_plug /tmp/vde.ctl'"

    command: str
    restart: bool = False

    @classmethod
    def prefix(cls) -> str:
        """Give what its texts begin with."""
        return "cmd:"

    @classmethod
    def read_text(cls, rest: str) -> Self:
        """Read the command and what stands in front of it."""
        text = rest.removeprefix("//")
        restart = text.startswith("restart:")
        locator = cls(command=text.removeprefix("restart:").strip(), restart=restart)
        try:
            words = shlex.split(locator.command)
        except ValueError as error:
            raise SettingsError(f"the quotes of {locator.command!r} do not match ({error})") from None
        if not words or "\0" in locator.command:
            raise SettingsError("expected cmd:COMMAND, but there is no command")
        return locator

    def __str__(self) -> str:
        if self.restart:
            return f"cmd:restart:{self.command}"
        needs_blank = self.command.startswith(("restart:", "//"))
        return f"cmd:{' ' if needs_blank else ''}{self.command}"

    @property
    def words(self) -> list[str]:
        """The program and its arguments."""
        return shlex.split(self.command)


@dataclass(frozen=True, slots=True, kw_only=True)
class PcapLocator(_PathLocator):
    """A capture file, or a FIFO from which a capture is read. See ``vport.links.pcap``.

    Attributes:
        limit: bytes; 0 for no limit, None for the usual one.
    """

    scheme: ClassVar[str] = "pcap"
    form: ClassVar[str] = "pcap://PATH"
    summary: ClassVar[str] = "writes what it is sent into a pcapng file or a FIFO: Wireshark, tcpdump"

    snaplen: int = option(262144, integer(14, 262144), "store so many bytes of a frame, no more", "N")
    limit: int | None = option(
        None, byte_count, "size of the file at which writing stops; 0: none (default: 1G, FIFO: none)", "SIZE"
    )
    overwrite: bool = flag(False, "replace what is in the file")
    mode: int = option(0o600, file_mode, "permissions of a file that is made", "OCTAL", _octal)
