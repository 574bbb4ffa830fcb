"""The switch's side of WireGuard: one socket, and a link for each peer that has proven to be there.

Who may call stands in the roll (``wireguard_roll``). A peer has a place in its port from the moment its
session is established, the only proof of its presence, until its keys have died or it has stopped answering.
The port itself is kept for it all the time.
"""

from __future__ import annotations

import logging
from collections import Counter
from math import inf
from typing import TYPE_CHECKING, Final

import trio

from vport.errors import RefusedError
from vport.links.base import Accept, Listener, PortKeeper
from vport.links.binding import bind_udp
from vport.links.datagrams import Resolver, ask_for_local_address, raise_buffers, resolve
from vport.links.wireguard_calls import Calls
from vport.links.wireguard_invitations import Invitations
from vport.links.wireguard_member import Origin
from vport.links.wireguard_peer import EthernetPeer, IpPeer
from vport.links.wireguard_roll import Roll
from vport.links.wireguard_settings import DEFAULT_PORT, ListenerSettings, read_listener
from vport.links.wireguard_socket import BootClock, Happening, WireguardSocket
from vport.wireguard.events import (
    ControlReceived,
    EndpointMoved,
    HandshakeAbandoned,
    SessionEnded,
    SessionEstablished,
)

if TYPE_CHECKING:
    import socket

    from vport.links.wireguard_member import Member
    from vport.locator import WireguardLocator
    from vport.wireguard.config import PeerSection
    from vport.wireguard.keys import PublicKey

logger = logging.getLogger(__name__)

_PATHS_AT_ONCE: Final = 64  # 10 µs each, every few seconds


class WireguardListener(Listener):
    """A socket with all its peers. Made by ``open_wireguard_listener``.

    Attributes:
        settings: as the locator named them.
        socket: with the device.
        roll: the peers.
        invitations: how further peers come in.
        refused: places that the switch refused to give.
    """

    def __init__(
        self,
        sock: socket.socket,
        settings: ListenerSettings,
        clock: BootClock | None = None,
        *,
        resolver: Resolver = resolve,
    ) -> None:
        self.settings = settings
        self.socket = WireguardSocket(sock, settings.config.private_key, self, settings.underlay_mtu, clock)
        self.udp_port: int = self.socket.address[1]
        self.description = f"wg://{settings.host}:{self.udp_port} as {self.public_key.encode()}"
        self.roll = Roll(self.socket, settings, self._unplug)
        self.invitations = Invitations(self)
        self._calls = Calls(self.socket, self.roll, resolver)
        self.refused = 0
        self._accept: Accept | None = None
        self._stations: dict[IpPeer, None] = {}
        self._unseen: list[Member] = []  # whose path has yet to be looked at in this round

    @property
    def public_key(self) -> PublicKey:
        """Our identity."""
        return self.socket.device.public_key

    @property
    def named_peers(self) -> tuple[PeerSection, ...]:
        """The peers but those of the locator's own file, and but invitations, which are used up."""
        return tuple(
            member.as_it_is()
            for member in self.roll
            if member.origin is not Origin.FILE and not member.is_invitation
        )

    # --- ports ---

    def keep_ports(self, keeper: PortKeeper) -> None:
        """Have a port kept for each peer."""
        self.roll.keep_ports(keeper)

    def release_ports(self) -> None:
        """Give the ports back."""
        self.roll.release_ports()

    # --- running ---

    async def serve(
        self, accept: Accept, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve the peers until cancelled or closed."""
        self._accept = accept
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.roll.run)
            nursery.start_soon(self._calls.run)
            nursery.start_soon(self.invitations.run)
            await self.socket.serve(task_status=task_status)
            nursery.cancel_scope.cancel()

    def close(self) -> None:
        """Close the socket."""
        self._accept = None
        self.socket.close()

    # --- peers ---

    @property
    def discards(self) -> Counter[str]:
        """What went no further and was nobody's, or could not be sent, by reason."""
        found: Counter[str] = Counter()
        found.update(self.socket.device.discards)
        for member in self.roll:
            found.subtract(member.peer.discards)
        found.update(self.socket.discards)
        return +found

    @staticmethod
    def discards_of(member: Member) -> Counter[str]:
        """What did not cross between a peer and the LAN, by reason."""
        found: Counter[str] = Counter(member.link.discards)
        if isinstance(member.link, IpPeer):
            found.update(member.link.host.discards)
        return found

    # --- what happens ---

    def happened(self, event: Happening, now: float) -> None:
        """Give a peer its place, or take it."""
        member = self.roll.members.get(event.peer.settings.public_key)
        if member is None or member.peer is not event.peer:
            return
        match event:
            case SessionEstablished():
                if isinstance(member.link, EthernetPeer):
                    member.link.forget_greetings()
                self._established(member)
            case EndpointMoved(peer, before):
                if before is not None and member.link.attachment is not None:
                    logger.info("%s (it was at %s)", member.link.description, before)
            case HandshakeAbandoned(peer):
                if not peer.has_session(now):
                    self._unplug(member, "it does not answer")
            case SessionEnded():
                self._unplug(member, "its keys have died of age")
            case ControlReceived():
                self.invitations.enrol(member, event)

    def _established(self, member: Member) -> None:
        """Give a peer its place; an invitation has none, and ends when the key that it brought works."""
        if member.is_invitation:
            return
        predecessor, member.predecessor = member.predecessor, None
        if predecessor is not None and self.roll.has(predecessor):
            self._end_invitation(predecessor, "was used")
        self._look_at_path(member)
        self._plug(member)

    def _end_invitation(self, member: Member, how: str) -> None:
        logger.info("the invitation of %s %s", member.section.name, how)
        self.roll.end(member, f"the invitation {how}")

    def _plug(self, member: Member) -> None:
        link = member.link
        if link.attachment is not None or self._accept is None:
            return
        try:
            link.attachment = self._accept(link, port=member.profile.number)
        except RefusedError as error:
            self.refused += 1
            logger.warning("%s: refused: %s", link.description, error)
            return
        self.socket.sinks[member.peer] = link
        if isinstance(link, IpPeer):
            self._stations[link] = None
            link.announce()

    def _look_at_path(self, member: Member) -> None:
        """See how long packets to a peer may be."""
        endpoint = member.peer.endpoint
        if endpoint is not None and isinstance(member.link, EthernetPeer):
            found = self.socket.path_mtu(endpoint)
            if found is not None:
                member.link.path_changed(*found)

    def _look_at_paths(self) -> None:
        """Do so for some of the peers that are there, others the next time."""
        if not self._unseen:
            self._unseen = [one for one in self.roll if one.link.attachment is not None]
        for _ in range(min(_PATHS_AT_ONCE, len(self._unseen))):
            self._look_at_path(self._unseen.pop())

    def _unplug(self, member: Member, reason: str) -> None:
        link = member.link
        attachment = link.attachment
        if isinstance(link, IpPeer):
            self._stations.pop(link, None)
        link.close()
        if attachment is not None:
            attachment.detach(reason)

    def handle_timers(self, now: float) -> float:
        """Let the stations of stock clients ask again for whom they look; end invitations in time."""
        earliest = inf
        self._look_at_paths()
        for member in [member for member in self.roll if member.is_invitation]:
            if self.invitations.is_expired(member):
                self._end_invitation(member, "has run out")
        for link in list(self._stations):
            deadline = link.host.next_deadline()
            if deadline is not None and deadline <= now:
                link.handle_timer(now)
                deadline = link.host.next_deadline()
            if deadline is not None:
                earliest = min(earliest, deadline)
        return earliest


async def open_wireguard_listener(
    locator: WireguardLocator, peers: tuple[PeerSection, ...] = (), *, resolver: Resolver = resolve
) -> WireguardListener:
    """Read the files that ``locator`` names and bind a socket; ``peers`` may call beside those in the files.

    Raises:
        SettingsError: a file is malformed: line and reason.
        LinkError: the address cannot be had; says why and what to do.
    """
    settings = read_listener(locator, peers)
    port = settings.config.listen_port
    sock = await bind_udp(str(locator), settings.host, DEFAULT_PORT if port is None else port, resolver)
    try:
        complaint = raise_buffers(sock)
        if complaint:
            logger.warning("%s: %s", locator, complaint)
        if sock.getsockname()[0] in {"::", "0.0.0.0"}:
            ask_for_local_address(sock)
        return WireguardListener(sock, settings, resolver=resolver)
    except BaseException:
        sock.close()
        raise
