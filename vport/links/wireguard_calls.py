"""Calling peers: where an endpoint stands for one, a listener need not wait for it to call.

So two switches can be joined, each with a listener: one of them knows where the other is. Host names are
resolved again for each call, since the address may have changed; all addresses of a name are tried in turn.
"""

from __future__ import annotations

import logging
import socket
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from vport.links.datagrams import Resolver, SocketAddress
    from vport.links.wireguard_member import Member
    from vport.links.wireguard_roll import Roll
    from vport.links.wireguard_socket import WireguardSocket
    from vport.wireguard.config import HostPort

logger = logging.getLogger(__name__)

CALL_INTERVAL: Final = 15.0  # seconds between looks at who is not there; three initiations fit in


class Calls:
    """Calls the peers of a listener that have an endpoint and no session.

    Args:
        socket: calls.
        roll: whom.
        resolver: finds the addresses of a host.
    """

    def __init__(self, socket: WireguardSocket, roll: Roll, resolver: Resolver) -> None:
        self._socket = socket
        self._roll = roll
        self._resolver = resolver
        self._rounds = 0
        self._unfound: set[str] = set()  # hosts that were complained of

    async def run(self) -> None:
        """Look every few seconds, until cancelled."""
        while True:
            for member in list(self._roll):
                endpoint = member.section.endpoint
                if endpoint is not None and not member.peer.has_session(self._socket.now()):
                    await self._call(member, endpoint)
            self._rounds += 1
            await trio.sleep(CALL_INTERVAL)

    async def _call(self, member: Member, endpoint: HostPort) -> None:
        found = await self._look_up(endpoint)
        is_gone = not self._roll.has(member) or not self._socket.is_open
        if not found or is_gone or member.peer.has_session(self._socket.now()):
            return
        family, address = found[self._rounds % len(found)]
        device, now = self._socket.device, self._socket.now()
        device.locate_peer(member.peer, self._socket.endpoint_of(family, address), now)
        self._socket.call(member.peer)

    async def _look_up(self, endpoint: HostPort) -> list[tuple[int, SocketAddress]]:
        """Give the addresses that our socket can send to."""
        try:
            found = await self._resolver(endpoint.host, endpoint.port)
        except OSError as error:
            if endpoint.host not in self._unfound:
                logger.warning("cannot find the address of %s: %s", endpoint.host, error.strerror or error)
            self._unfound.add(endpoint.host)
            return []
        self._unfound.discard(endpoint.host)
        return [one for one in found if one[0] == socket.AF_INET or self._socket.speaks_ipv6]
