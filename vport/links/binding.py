"""Binding sockets to what an operator asked for, with advice where that cannot be."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING

from vport.errors import LinkError
from vport.links.datagrams import is_unsupported_family, open_socket

if TYPE_CHECKING:
    from vport.links.datagrams import Resolver, SocketAddress


async def bind_udp(
    name: str, host: str, port: int, resolver: Resolver, *, offload: bool = True
) -> socket.socket:
    """Bind a UDP socket; an empty host means all addresses of both families, port 0 any free port.

    Args:
        name: what error messages begin with.
        host: a local address or a name of one.
        port: the UDP port.
        resolver: looks the name up.
        offload: whether to have the kernel join what arrives (UDP_GRO).

    Raises:
        LinkError: the address cannot be had; says why and what to do.
    """
    if not host:
        return bind_to_all(name, port, offload=offload)
    try:
        found = await resolver(host, port)
    except OSError as error:
        raise LinkError(
            f"{name}: cannot find the address of {host}: {error.strerror}; "
            "give an address of this machine, or none for all"
        ) from error
    family, address = found[0]
    return _bound(name, family, address, offload=offload, only_ipv6=True)


def bind_to_all(name: str, port: int, *, offload: bool = True) -> socket.socket:
    """Bind a UDP socket to all addresses, of both families where the machine has both.

    Raises:
        LinkError: the port cannot be had.
    """
    try:
        return _bound(name, socket.AF_INET6, ("::", port), offload=offload, only_ipv6=False)
    except LinkError as error:
        if isinstance(error.__cause__, OSError) and is_unsupported_family(error.__cause__):
            return _bound(name, socket.AF_INET, ("", port), offload=offload)
        raise


def _bound(
    name: str, family: int, address: SocketAddress, *, offload: bool, only_ipv6: bool = False
) -> socket.socket:
    sock = None
    try:
        sock = open_socket(family, offload=offload)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only_ipv6)
        sock.bind(address)
    except OSError as error:
        if sock is not None:
            sock.close()
        raise LinkError(f"{name}: {advice('UDP', address, error)}") from error
    return sock


def advice(protocol: str, address: SocketAddress, error: OSError) -> str:
    """Say what is wrong with an address for ``protocol``, UDP or TCP, and what to do about it."""
    port = address[1]
    match error.errno:
        case errno.EADDRINUSE:
            listing = f"ss -l{protocol[0].lower()}np"
            return (
                f"{protocol} port {port} is in use by another program ({listing} shows which); "
                "stop it or choose another port"
            )
        case errno.EADDRNOTAVAIL:
            return f"{address[0]} is no address of this machine (ip address lists them)"
        case errno.EACCES | errno.EPERM:
            return f"no permission for {protocol} port {port}: below 1024 it takes root; choose a higher one"
        case _:
            return f"cannot listen: {error.strerror or os.strerror(error.errno or 0)}"
