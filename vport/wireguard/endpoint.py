"""Where a peer is: the source address of its last datagram, and the local one it came to."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, NamedTuple

_IPV6_NETWORK: Final = 8  # bytes of a /64: what one host can make addresses in at will


class Endpoint(NamedTuple):
    """A UDP address as the socket gave it, and the local address to answer from.

    ``host`` is numeric, ``scope`` the interface index of a link-local one. ``local`` is for the shell
    alone (from IP_PKTINFO): whatever it needs to send from the address that the peer wrote to.
    """

    host: str
    port: int
    scope: int = 0
    local: str = ""

    def __str__(self) -> str:
        host = (
            self.host.removeprefix("::ffff:") if "." in self.host else self.host
        )  # a socket for both families
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    def _address(self) -> IPv4Address | IPv6Address:
        address = ip_address(self.host)
        return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address

    def source(self) -> bytes:
        """Give address and port as bytes: what a cookie is bound to (WG 5.4.7).

        As text, since nobody but us reads it and parsing addresses would be a fifth of the cost of a flood.
        """
        return f"{self.host} {self.port} {self.scope}".encode()

    def network(self) -> bytes:
        """Give what handshakes are rationed by: the IPv4 address, or the /64 of an IPv6 one."""
        address = self._address()
        return address.packed if isinstance(address, IPv4Address) else address.packed[:_IPV6_NETWORK]
