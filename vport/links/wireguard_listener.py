"""The switch's side of WireGuard: one socket, and a link for each peer that has proven to be there.

Peers stand in the operator's file or in the store of those added by command. A peer has a place in its port
from the moment its session is established, the only proof of its presence, until its keys have died or it
has stopped answering. The port itself is kept for it all the time.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, Final

import trio

from vport.errors import LinkError, RefusedError, SettingsError
from vport.links.base import Accept, Listener, PortKeeper
from vport.links.binding import bind_udp
from vport.links.datagrams import Resolver, ask_for_local_address, raise_buffers, resolve
from vport.links.wireguard_invitations import Invitations
from vport.links.wireguard_peer import EthernetPeer, IpPeer, PeerLink
from vport.links.wireguard_settings import (
    DEFAULT_PORT,
    ListenerSettings,
    load_peers,
    read_listener,
    save_peers,
)
from vport.links.wireguard_socket import BootClock, Happening, WireguardSocket
from vport.wireguard.events import (
    ControlReceived,
    EndpointMoved,
    HandshakeAbandoned,
    SessionEnded,
    SessionEstablished,
)
from vport.wireguard.ip_station import IpStation, IpStationSettings, virtual_mac
from vport.wireguard.keys import NO_PRESHARED_KEY
from vport.wireguard.settings import Mode, PeerSettings

if TYPE_CHECKING:
    import socket
    from ipaddress import IPv4Network, IPv6Network

    from vport.locator import WireguardLocator
    from vport.profile import PortProfile
    from vport.wireguard.config import PeerSection
    from vport.wireguard.keys import PublicKey
    from vport.wireguard.peer import Peer

logger = logging.getLogger(__name__)

_PATHS_AT_ONCE: Final = 64  # 10 µs each, every few seconds


def mode_of(section: PeerSection) -> Mode:
    """Say what a peer carries. A stock file does not: there a peer with addresses is a stock client."""
    return section.mode or (Mode.IP if section.allowed_ips else Mode.ETHERNET)


def profile_of(section: PeerSection) -> PortProfile:
    """Say what a peer's port is to be like; the port of a stock client has its virtual station."""
    profile = section.profile
    if mode_of(section) is Mode.IP:
        return replace(
            profile, station=virtual_mac(section.public_key), macs=frozenset(), max_macs=0, tagged=()
        )
    return profile


class Member:
    """A peer of a listener.

    Attributes:
        section: what the operator said.
        peer: as the device knows it.
        link: as the switch sees it.
        profile: what its port is to be like.
        is_stored: whether it was added by command, so that commands may change it.
        enrolled: of an invitation, the key that was brought with it.
        predecessor: the invitation that this peer came with, until it is seen to work.
        is_kept: whether the switch keeps a port for it.
    """

    __slots__ = ("enrolled", "is_kept", "is_stored", "link", "peer", "predecessor", "profile", "section")

    def __init__(self, section: PeerSection, peer: Peer, link: PeerLink, *, is_stored: bool) -> None:
        self.section = section
        self.peer = peer
        self.link = link
        self.profile = profile_of(section)
        self.is_stored = is_stored
        self.enrolled: PublicKey | None = None
        self.predecessor: Member | None = None
        self.is_kept = False

    @property
    def is_invitation(self) -> bool:
        """Whether it may do no more than bring a key."""
        return self.section.expires > 0


class WireguardListener(Listener):
    """A socket with all its peers. Made by ``open_wireguard_listener``.

    Attributes:
        settings: as the locator named them.
        socket: with the device.
        members: the peers, by public key.
        invitations: how further peers come in.
        refused: places that the switch refused to give.
    """

    def __init__(
        self, sock: socket.socket, settings: ListenerSettings, clock: BootClock | None = None
    ) -> None:
        self.settings = settings
        self.socket = WireguardSocket(sock, settings.config.private_key, self, settings.underlay_mtu, clock)
        self.udp_port: int = self.socket.address[1]
        self.description = f"wg://{settings.host}:{self.udp_port} as {self.public_key.encode()}"
        self.members: dict[PublicKey, Member] = {}
        self.invitations = Invitations(self)
        self.refused = 0
        self._accept: Accept | None = None
        self._keeper: PortKeeper | None = None
        self._stations: dict[IpPeer, None] = {}
        self._unseen: list[Member] = []  # whose path has yet to be looked at in this round
        for section in settings.config.peers:
            self._admit(section, is_stored=False)
        for section in load_peers(settings.store):
            self._admit(section, is_stored=True)

    @property
    def public_key(self) -> PublicKey:
        """Our identity."""
        return self.socket.device.public_key

    @property
    def networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """The networks of the LAN, for clients that have IP only."""
        return tuple(interface.network for interface in self.settings.config.addresses)

    # --- ports ---

    def keep_ports(self, keeper: PortKeeper) -> None:
        """Have a port kept for each peer, first for those that are to have a certain one."""
        self._keeper = keeper
        for member in sorted(self.members.values(), key=lambda member: member.section.port is None):
            self._reserve(member)

    def release_ports(self) -> None:
        """Give the ports back."""
        for member in self.members.values():
            self._release(member)

    def _reserve(self, member: Member) -> None:
        if self._keeper is not None and not member.is_kept:
            member.is_kept = True
            member.profile = member.link.profile = self._keeper.reserve(member.profile)

    def _release(self, member: Member) -> None:
        if self._keeper is not None and member.is_kept:
            member.is_kept = False
            self._keeper.release(member.profile)

    # --- running ---

    async def serve(
        self, accept: Accept, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve the peers until cancelled or closed."""
        self._accept = accept
        await self.socket.serve(task_status=task_status)

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
        for member in self.members.values():
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

    def find(self, name: str) -> Member | None:
        """Find a peer by its name or its public key in base64."""
        found = None
        for member in self.members.values():
            if name in {member.section.name, member.section.public_key.encode()}:
                found = member
                if not member.is_invitation:
                    break
        return found

    def add(self, section: PeerSection) -> Member:
        """Admit a peer and keep it on disk.

        Raises:
            SettingsError: its name, key or address is another's; nothing was changed.
            RefusedError: no port is free for it; nothing was changed.
        LinkError: it cannot be kept on disk; nothing was changed.
        """
        if section.name and self.find(section.name) is not None:
            raise SettingsError(f"there is a peer {section.name} already")
        member = self._admit(section, is_stored=True)
        try:
            self._reserve(member)
            member.section = replace(section, port=member.profile.number)
            self._save()
        except (LinkError, RefusedError):
            self._dismiss(member, "it could not be kept")
            raise
        return member

    def remove(self, member: Member, reason: str = "removed") -> None:
        """Revoke a peer: it is out at once, and stays out after a restart.

        Raises:
            SettingsError: it stands in the operator's file.
            LinkError: the store cannot be written. The peer is out all the same, until a restart.
        """
        if not member.is_stored:
            raise SettingsError(f"{member.section.name or 'this peer'} stands in a file: remove it there")
        self._dismiss(member, reason)
        self._save()

    def replace_key(self, member: Member, section: PeerSection) -> None:
        """Let another key take the place of an invitation's, with its name and its port.

        Raises:
            SettingsError, RefusedError, LinkError: as ``add``; the invitation is as it was.
        """
        self._release(member)
        try:
            successor = self._admit(section, is_stored=True)
            try:
                self._reserve(successor)
                self._save()
            except (LinkError, RefusedError):
                self._dismiss(successor, "it could not be kept")
                raise
        except (SettingsError, LinkError, RefusedError):
            self._reserve(member)
            raise
        successor.predecessor = member

    def _save(self) -> None:
        save_peers(
            self.settings.store,
            tuple(member.section for member in self.members.values() if member.is_stored),
        )

    def _admit(self, section: PeerSection, *, is_stored: bool) -> Member:
        settings = PeerSettings(
            public_key=section.public_key,
            name=section.name,
            preshared_key=section.preshared_key or NO_PRESHARED_KEY,
            mode=mode_of(section),
            allowed_ips=section.allowed_ips,
            persistent_keepalive=section.persistent_keepalive,
        )
        station = self._station(section) if settings.mode is Mode.IP else None
        peer = self.socket.device.add_peer(settings, self.socket.now())
        profile = profile_of(section)
        link: PeerLink
        if station is None:
            link = EthernetPeer(self.socket, peer, profile)
        else:
            link = IpPeer(self.socket, peer, profile, station)
        member = Member(section, peer, link, is_stored=is_stored)
        self.members[section.public_key] = member
        return member

    def _station(self, section: PeerSection) -> IpStation:
        config = self.settings.config
        if not config.addresses:
            raise SettingsError(
                f"peer {section.name or section.public_key.encode()} carries IP, but the LAN's network is "
                "unknown: write Address under [Interface], or lan=ADDRESS/PREFIX in the locator"
            )
        return IpStation(
            IpStationSettings(
                public_key=section.public_key,
                allowed_ips=section.allowed_ips,
                on_link=self.networks,
                mtu=config.mtu or 1400,
                gateways=config.gateways,
                hears_groups=section.broadcasts,
            )
        )

    def _dismiss(self, member: Member, reason: str) -> None:
        del self.members[member.section.public_key]
        self.socket.device.remove_peer(member.peer)
        self._unplug(member, reason)
        self._release(member)

    # --- what happens ---

    def happened(self, event: Happening, now: float) -> None:
        """Give a peer its place, or take it."""
        member = self.members.get(event.peer.settings.public_key)
        if member is None or member.peer is not event.peer:
            return
        match event:
            case SessionEstablished():
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
        if predecessor is not None and self.members.get(predecessor.section.public_key) is predecessor:
            self._end_invitation(predecessor, "was used")
        self._look_at_path(member)
        self._plug(member)

    def _end_invitation(self, member: Member, how: str) -> None:
        logger.info("the invitation of %s %s", member.section.name, how)
        self._dismiss(member, f"the invitation {how}")
        try:
            self._save()
        except LinkError as error:  # after a restart it is found expired, or its name taken
            logger.warning("%s", error)

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
            self._unseen = [one for one in self.members.values() if one.link.attachment is not None]
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
        for member in [member for member in self.members.values() if member.is_invitation]:
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
    locator: WireguardLocator, *, resolver: Resolver = resolve
) -> WireguardListener:
    """Read the files that ``locator`` names and bind a socket.

    Raises:
        SettingsError: a file is malformed: line and reason.
        LinkError: the address cannot be had; says why and what to do.
    """
    settings = read_listener(locator)
    port = settings.config.listen_port
    sock = await bind_udp(str(locator), settings.host, DEFAULT_PORT if port is None else port, resolver)
    try:
        complaint = raise_buffers(sock)
        if complaint:
            logger.warning("%s: %s", locator, complaint)
        if sock.getsockname()[0] in {"::", "0.0.0.0"}:
            ask_for_local_address(sock)
        return WireguardListener(sock, settings)
    except BaseException:
        sock.close()
        raise
