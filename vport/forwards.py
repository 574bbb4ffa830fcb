"""Forwarded ports of a user-mode network, as text and as values: QEMU's ``hostfwd`` and ``guestfwd``.

tcp:127.0.0.1:2222-10.0.2.15:22      what connects to the machine's port 2222 reaches the station's 22
udp::5353-:53                        on all addresses of the machine, to the first DHCP address
tcp:10.0.2.100:80-tcp:127.0.0.1:8080 what stations connect to at 10.0.2.100 reaches the machine's 8080
tcp:10.0.2.100:81-unix:/run/app.sock … reaches a Unix stream socket
tcp:10.0.2.100:82-cmd:/usr/bin/tool  … is the standard input and output of a command, run for each
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Final

from vport.errors import SettingsError
from vport.readers import host_and_port, integer, write_host_and_port

if TYPE_CHECKING:
    from vport.readers import IpAddress

ANY: Final = IPv4Address(0)
_END: Final = r"(?:\[([^\]]*)\]|([^\[\]:]*)):([0-9]{1,5})"  # ADDRESS:PORT, an IPv6 address in brackets
_UNIX_PATH_MAXIMUM: Final = 107  # bytes: sun_path less its final NUL (unix(7))


class Transport(StrEnum):
    """What is forwarded."""

    TCP = "tcp"
    UDP = "udp"


def _read_end(match: re.Match[str], first: int) -> tuple[IpAddress | None, int]:
    """Give address and port of the end whose groups begin at ``first``; no address is None."""
    bracketed, plain, port = match.groups()[first : first + 3]
    address: IpAddress | None = None
    try:
        if bracketed is not None:
            address = IPv6Address(bracketed)
        elif plain:
            address = IPv4Address(plain)
    except ValueError:
        raise SettingsError(f"{bracketed or plain!r} is not an IP address") from None
    return address, integer(1, 65535)(port)


def _write_end(address: IpAddress | None, port: int) -> str:
    return f":{port}" if address is None else write_host_and_port(str(address), port)


@dataclass(frozen=True, slots=True)
class HostEnd:
    """Where the machine listens for a forwarded port; what a forward is removed by."""

    transport: Transport
    address: IpAddress
    port: int

    def __str__(self) -> str:
        return f"{self.transport}:{_write_end(self.address, self.port)}"

    @classmethod
    def read(cls, text: str) -> HostEnd:
        """Read ``tcp:127.0.0.1:2222``; a whole forward is understood too. Raises SettingsError."""
        match = re.fullmatch(rf"(tcp|udp):{_END}(?:-.*)?", text)
        if not match:
            raise SettingsError(f"{text!r} is not PROTOCOL:[ADDRESS]:PORT, such as tcp:127.0.0.1:2222")
        address, port = _read_end(match, 1)
        return cls(Transport(match[1]), ANY if address is None else address, port)


@dataclass(frozen=True, slots=True)
class HostForward:
    """A port of the machine that leads to a station.

    Attributes:
        host: where the machine listens.
        guest: the station; None for the one with the first address of the DHCP server.
        guest_port: its port.
    """

    host: HostEnd
    guest: IpAddress | None
    guest_port: int

    def __str__(self) -> str:
        return f"{self.host}-{_write_end(self.guest, self.guest_port)}"

    @classmethod
    def read(cls, text: str) -> HostForward:
        """Read ``tcp:127.0.0.1:2222-10.0.2.15:22``. Raises SettingsError."""
        match = re.fullmatch(rf"(tcp|udp):{_END}-{_END}", text)
        if not match:
            raise SettingsError(
                f"{text!r} is not PROTOCOL:[ADDRESS]:PORT-[STATION]:PORT, such as tcp::2222-10.0.2.15:22"
            )
        host, host_port = _read_end(match, 1)
        guest, guest_port = _read_end(match, 4)
        address = ANY if host is None else host
        if address.version != (4 if guest is None else guest.version):
            raise SettingsError(f"{text!r} leads from IPv{address.version} to another version of IP")
        return cls(HostEnd(Transport(match[1]), address, host_port), guest, guest_port)


class Target(StrEnum):
    """What a connection of a station leads to."""

    TCP = "tcp"
    UNIX = "unix"
    COMMAND = "cmd"


@dataclass(frozen=True, slots=True)
class GuestForward:
    """A TCP port at an address inside that leads to something of the machine's.

    Attributes:
        address: inside the network, and nobody else's.
        target: the kind of ``where``.
        where: ``HOST:PORT``, the path of a socket, or a command with its arguments.
    """

    address: IPv4Address
    port: int
    target: Target
    where: str

    def __str__(self) -> str:
        return f"tcp:{self.address}:{self.port}-{self.target}:{self.where}"

    @classmethod
    def read(cls, text: str) -> GuestForward:
        """Read ``tcp:10.0.2.100:80-unix:/run/app.sock``. Raises SettingsError."""
        match = re.fullmatch(r"tcp:([0-9.]+):([0-9]{1,5})-(tcp|unix|cmd):([^\0]+)", text)
        if not match:
            raise SettingsError(
                f"{text!r} is not tcp:ADDRESS:PORT-tcp:HOST:PORT, or …-unix:PATH, or …-cmd:COMMAND"
            )
        address = _inner_address(match[1])
        target, where = Target(match[3]), match[4]
        if target == Target.TCP:
            host_and_port(where, any_host=False)
        if target == Target.UNIX and len(where.encode()) > _UNIX_PATH_MAXIMUM:
            raise SettingsError(
                f"{where!r} is longer than a socket's path can be ({_UNIX_PATH_MAXIMUM} bytes)"
            )
        return cls(address, integer(1, 65535)(match[2]), target, where)


def _inner_address(text: str) -> IPv4Address:
    try:
        address = ip_address(text)
    except ValueError:
        raise SettingsError(f"{text!r} is not an IP address") from None
    assert isinstance(address, IPv4Address)
    return address
