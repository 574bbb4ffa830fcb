"""UDP sockets as this project wants them: large buffers, GRO and GSO, addresses of both families.

What is here makes and describes sockets. Receiving is in ``inbox``, sending in ``outbox``.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any, Final

import trio

SocketAddress = tuple[Any, ...]
"""As the socket module gives it: (host, port), and flow label and scope for IPv6."""

Resolver = Callable[[str, int], Awaitable[list[tuple[int, SocketAddress]]]]
"""Looks up a host and gives (family, address) for each of its addresses, best first."""

# --- constants of the kernel ---

SOL_UDP: Final = 17
UDP_SEGMENT: Final = 103  # linux/udp.h
UDP_GRO: Final = 104
SO_SNDBUFFORCE: Final = 32  # asm-generic/socket.h
SO_RCVBUFFORCE: Final = 33
IP_PKTINFO: Final = 8  # linux/in.h; missing from the socket module before Python 3.14
IN_PKTINFO: Final = struct.Struct("@i4s4s")  # interface, our address, destination of the datagram
IN6_PKTINFO: Final = struct.Struct("@16si")  # our address, interface

# --- our own constants ---

DATAGRAM_SIZE: Final = 65536  # room for the longest datagram or GRO train
SOCKET_BUFFER: Final = 4 << 20  # bytes asked for; room for a burst of 10 000 small frames


async def resolve(host: str, port: int) -> list[tuple[int, SocketAddress]]:
    """Look up the addresses of ``host``, best first, as (family, address). Raises OSError."""
    found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    return [(family, address) for family, _, _, _, address in found]


def is_literal(host: str) -> bool:
    """Whether ``host`` is an address and needs no lookup."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def format_address(address: SocketAddress) -> str:
    """Write an address for people: ``198.51.100.5:9999``, ``[2001:db8::5]:9999``.

    An IPv4 peer of a socket for both families is shown as what it is.
    """
    host, port = str(address[0]), address[1]
    host = host.removeprefix("::ffff:") if "." in host else host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def open_socket(family: int, *, offload: bool = True) -> socket.socket:
    """Make a non-blocking UDP socket of the family; with ``offload`` it joins what it receives (UDP_GRO)."""
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.setblocking(False)
    if offload:
        with contextlib.suppress(OSError):  # before Linux 5.0 frames come one by one
            sock.setsockopt(SOL_UDP, UDP_GRO, 1)
    return sock


def raise_buffers(sock: socket.socket) -> str | None:
    """Give the socket large buffers; where the kernel caps them, say what to set, else None."""
    capped = []
    for forced, plain, limit in (
        (SO_RCVBUFFORCE, socket.SO_RCVBUF, "net.core.rmem_max"),
        (SO_SNDBUFFORCE, socket.SO_SNDBUF, "net.core.wmem_max"),
    ):
        try:
            sock.setsockopt(socket.SOL_SOCKET, forced, SOCKET_BUFFER)
        except PermissionError:
            sock.setsockopt(socket.SOL_SOCKET, plain, SOCKET_BUFFER)
        if sock.getsockopt(socket.SOL_SOCKET, plain) < 2 * SOCKET_BUFFER:  # the kernel doubles it
            capped.append(f"{limit}={SOCKET_BUFFER}")
    if not capped:
        return None
    return "the kernel caps socket buffers, bursts may be lost; to raise them: sysctl -w " + " ".join(capped)


def limit_receive_buffer(sock: socket.socket, size: int) -> None:
    """Give the socket a receive buffer of ``size`` bytes, or as much of that as the kernel allows."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, size)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)


def is_unsupported_family(error: OSError) -> bool:
    """Whether an error means that this machine has no IPv6 (or no IPv4)."""
    return error.errno in {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT}


def ask_for_local_address(sock: socket.socket) -> None:
    """Have the kernel tell with each datagram which of our addresses it came to."""
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)


def tells_local_address(sock: socket.socket) -> bool:
    """Whether ``ask_for_local_address`` was done."""
    if sock.family == socket.AF_INET6:
        return bool(sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO))
    return bool(sock.getsockopt(socket.IPPROTO_IP, IP_PKTINFO))


def is_connected(sock: socket.socket) -> bool:
    """Whether the socket has one far end only."""
    try:
        sock.getpeername()
    except OSError:
        return False
    return True
