"""What the kernel knows of the way to an address: the longest packet that fits.

That is the MTU of the device that leads there, or less once a router has said so (ICMP "fragmentation
needed", which the kernel checks against the sockets that it has, and forgets after ten minutes). It is asked
with a socket of its own: errors told to the socket that all peers share (IP_RECVERR) would fail somebody
else's sends.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final

from vport.wireguard.mtu import LEAST_UNDERLAY

if TYPE_CHECKING:
    from vport.wireguard.endpoint import Endpoint

_IP_MTU: Final = 14  # linux/in.h; missing from the socket module
_IPV6_MTU: Final = 24  # linux/in6.h
_MAPPED: Final = "::ffff:"


class PathProbe:
    """Asks the kernel. Holds a socket of each family that was asked for; sends nothing."""

    def __init__(self) -> None:
        self._sockets: dict[int, socket.socket] = {}

    def ask(self, endpoint: Endpoint) -> tuple[int, int] | None:
        """Give the longest packet on the way to ``endpoint`` and the version of IP; None without a way."""
        host = endpoint.host
        family = socket.AF_INET6
        address: tuple[str | int, ...] = (host, endpoint.port, 0, endpoint.scope)
        if "." in host:
            family = socket.AF_INET
            address = (host.removeprefix(_MAPPED), endpoint.port)
        try:
            probe = self._socket(family)
            probe.connect(address)
            if family == socket.AF_INET:
                mtu, version = probe.getsockopt(socket.IPPROTO_IP, _IP_MTU), 4
            else:
                mtu, version = probe.getsockopt(socket.IPPROTO_IPV6, _IPV6_MTU), 6
        except OSError:
            return None
        return max(mtu, LEAST_UNDERLAY), version

    def _socket(self, family: int) -> socket.socket:
        probe = self._sockets.get(family)
        if probe is None:
            probe = self._sockets[family] = socket.socket(family, socket.SOCK_DGRAM)
            probe.setblocking(False)
        return probe

    def close(self) -> None:
        """Close the sockets."""
        for probe in self._sockets.values():
            probe.close()
        self._sockets.clear()
