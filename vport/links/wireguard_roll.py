"""The roll of a WireGuard listener: who may call, which port is kept for whom, and what is kept on disk.

Peers stand in the operator's files or in the store of those added by command. What an operator wrote holds: a
stored peer whose key or name stands in one of the operator's files leaves the store, so that it is out once
it is taken out of the file.

The store is written in a thread, since a disk may be slow and frames must not wait for it. Changes take their
turns, and each one writes the roll as it is when its turn has come; so the store never goes back to an
older one, and what a change could not write it takes back before the next one begins. A peer that is revoked
is out before its turn comes. A change that has begun is not cancelled.
"""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import trio

from vport.errors import LinkError, RefusedError, SettingsError
from vport.links.wireguard_member import Member, Origin, profile_of
from vport.links.wireguard_peer import EthernetPeer, IpPeer, PeerLink
from vport.links.wireguard_settings import load_peers, save_peers
from vport.wireguard.ip_station import IpStation, IpStationSettings
from vport.wireguard.keys import NO_PRESHARED_KEY
from vport.wireguard.settings import Mode, PeerSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from vport.links.base import PortKeeper
    from vport.links.wireguard_settings import ListenerSettings
    from vport.links.wireguard_socket import WireguardSocket
    from vport.wireguard.config import PeerSection
    from vport.wireguard.keys import PublicKey

logger = logging.getLogger(__name__)


class Roll:
    """The peers of a listener.

    Args:
        socket: with the device that is to know them.
        settings: the listener's.
        unplug: is called for a peer that leaves the roll, to take its place in its port from it.

    Attributes:
        members: by public key.

    Raises:
        SettingsError: two peers have the same key or prefix; or the store is malformed: line and reason.
    """

    def __init__(
        self, socket: WireguardSocket, settings: ListenerSettings, unplug: Callable[[Member, str], None]
    ) -> None:
        self.members: dict[PublicKey, Member] = {}
        self._socket = socket
        self._settings = settings
        self._unplug = unplug
        self._keeper: PortKeeper | None = None
        self._turn = trio.Lock()
        self._unwritten = trio.Event()
        for section in settings.config.peers:
            self._admit(section, Origin.FILE)
        for section in settings.configured:
            self._admit(section, Origin.CONFIGURATION)
        self._load()

    def _load(self) -> None:
        """Admit the stored peers that the operator does not name."""
        store = self._settings.store
        operators = {member.section.name: member for member in self.members.values() if member.section.name}
        for section in load_peers(store):
            holder = self.members.get(section.public_key) or operators.get(section.name)
            if holder is not None:
                self._overruled(section, holder)
                continue
            try:
                self._admit(section, Origin.STORE)
            except SettingsError as error:
                raise SettingsError(f"{store}: peer {section.name}: {error}") from None

    def _overruled(self, section: PeerSection, holder: Member) -> None:
        """See that a stored peer leaves the store, since the operator names ``holder``."""
        self._unwritten.set()
        is_same = holder.section.public_key == section.public_key
        logger.log(
            logging.INFO if is_same else logging.WARNING,
            "%s: peer %s leaves this file: it stands in %s%s, and that holds",
            self._settings.store,
            holder.name,
            holder.origin,
            "" if is_same else " with another key",
        )

    # --- ports ---

    def keep_ports(self, keeper: PortKeeper) -> None:
        """Have a port kept for each peer, first for those that are to have a certain one.

        Raises:
            RefusedError: two of them are to have the same port, or there are too few.
        """
        self._keeper = keeper
        for member in sorted(self.members.values(), key=lambda member: member.section.port is None):
            try:
                self._reserve(member)
            except RefusedError as error:
                raise RefusedError(f"peer {member.name}: {error}") from None

    def release_ports(self) -> None:
        """Give the ports back."""
        for member in self.members.values():
            self._release(member)

    def _reserve(self, member: Member) -> None:
        if self._keeper is not None and not member.is_kept:
            member.profile = member.link.profile = self._keeper.reserve(member.profile)
            member.is_kept = True

    def _release(self, member: Member) -> None:
        if self._keeper is not None and member.is_kept:
            member.is_kept = False
            self._keeper.release(member.profile)

    # --- questions ---

    def find(self, name: str) -> Member | None:
        """Find a peer by its name or its public key in base64, rather than an invitation of the same name."""
        found = None
        for member in self.members.values():
            if name in {member.section.name, member.section.public_key.encode()}:
                found = member
                if not member.is_invitation:
                    break
        return found

    def has(self, member: Member) -> bool:
        """Whether a peer still stands in the roll."""
        return self.members.get(member.section.public_key) is member

    # --- changes ---

    @asynccontextmanager
    async def _change(self) -> AsyncIterator[None]:
        """Wait for one's turn to change the roll; then nothing cancels until it is over."""
        with trio.CancelScope(shield=True):
            async with self._turn:
                yield

    async def add(self, section: PeerSection) -> Member:
        """Admit a peer and keep it on disk.

        Raises:
            SettingsError: its name, key or address is another's; nothing was changed.
            RefusedError: no port is free for it; nothing was changed.
            LinkError: it cannot be kept on disk; nothing was changed.
        """
        async with self._change():
            if section.name and self.find(section.name) is not None:
                raise SettingsError(f"there is a peer {section.name} already")
            return await self._enter(section)

    async def configure(self, section: PeerSection, as_it_is: Callable[[Member], PeerSection]) -> None:
        """Admit a peer that the switch's configuration names by now; its word holds over the store's.

        Args:
            section: what the configuration says.
            as_it_is: says what a configuration would say of a peer as it is now. A stored peer of which
                the same is said keeps its session.

        Raises:
            SettingsError: its key or address is another's.
            RefusedError: its port is another's, or none is free. The same peers are there as before in
                both cases; stored ones that would have had to go shake hands anew.
        """
        async with self._change():
            stored = [one for one in self if one.origin is Origin.STORE and _is_overruled(one, section)]
            if [as_it_is(one) for one in stored] == [section]:  # it was saved since it was added
                (member,) = stored
                member.origin, member.section = Origin.CONFIGURATION, section
            else:
                member = self._let_in_place_of(stored, section)
            for one in stored:
                self._overruled(one.section, member)

    def _let_in_place_of(self, stored: list[Member], section: PeerSection) -> Member:
        for one in stored:
            self._dismiss(one, "the configuration names it")
        try:
            member = self._admit(section, Origin.CONFIGURATION)
            try:
                self._reserve(member)
            except RefusedError:
                self._dismiss(member, "there is no port for it")
                raise
        except (SettingsError, RefusedError):
            for one in stored:
                self._reserve(self._admit(one.section, Origin.STORE))
            raise
        return member

    async def withdraw(self, key: PublicKey) -> None:
        """Revoke a peer that the switch's configuration no longer names; nothing happens if it is out."""
        async with self._change():
            member = self.members.get(key)
            if member is not None and member.origin is Origin.CONFIGURATION:
                self._dismiss(member, "the configuration no longer names it as it was")

    async def replace_key(self, member: Member, section: PeerSection) -> Member:
        """Let another key take the place of an invitation's, with its name and its port; give the new peer.

        Raises:
            SettingsError, RefusedError, LinkError: as ``add``; the invitation is as it was. Or it has
                been revoked in the meantime.
        """
        async with self._change():
            if not self.has(member):
                raise SettingsError("the invitation was revoked")
            self._release(member)
            try:
                successor = await self._enter(section)
            except (SettingsError, LinkError, RefusedError):
                if self.has(member):
                    self._reserve(member)
                raise
            successor.predecessor = member
            return successor

    async def _enter(self, section: PeerSection) -> Member:
        member = self._admit(section, Origin.STORE)
        try:
            self._reserve(member)
            member.section = replace(section, port=member.profile.number)
            await self._write()
        except (LinkError, RefusedError):
            self._dismiss(member, "it could not be kept")
            raise
        return member

    async def remove(self, member: Member) -> None:
        """Revoke a peer: it is out at once and, unless it stands in the switch's configuration, for good.

        Raises:
            SettingsError: it stands in the operator's file.
            LinkError: the store cannot be written. The peer is out all the same, until a restart.
        """
        if member.origin is Origin.FILE:
            raise SettingsError(f"{member.name} stands in a file: remove it there")
        self._dismiss(member, "removed")
        if member.origin is Origin.STORE:
            async with self._change():
                await self._write()

    def end(self, member: Member, reason: str) -> None:
        """Revoke a peer of the store now, and have that written as soon as may be."""
        self._dismiss(member, reason)
        self._unwritten.set()

    async def run(self) -> None:
        """Write what ``end`` left to be written; until cancelled, and then what is left."""
        try:
            while True:
                await self._unwritten.wait()
                await self._write_later()
        finally:
            if self._unwritten.is_set():
                await self._write_later()

    async def _write_later(self) -> None:
        async with self._change():
            self._unwritten = trio.Event()
            try:
                await self._write()
            except LinkError as error:  # after a restart it is found expired, or its name taken
                logger.warning("%s", error)

    async def _write(self) -> None:
        """Write the store; only in a turn."""
        sections = tuple(member.section for member in self.members.values() if member.origin is Origin.STORE)
        await trio.to_thread.run_sync(save_peers, self._settings.store, sections)

    # --- in and out ---

    def _admit(self, section: PeerSection, origin: Origin) -> Member:
        settings = PeerSettings(
            public_key=section.public_key,
            name=section.name,
            preshared_key=section.preshared_key or NO_PRESHARED_KEY,
            mode=section.carries,
            allowed_ips=section.allowed_ips,
            persistent_keepalive=section.persistent_keepalive,
        )
        station = self._station(section) if settings.mode is Mode.IP else None
        peer = self._socket.device.add_peer(settings, self._socket.now())
        profile = profile_of(section)
        link: PeerLink
        if station is None:
            link = EthernetPeer(self._socket, peer, profile)
        else:
            link = IpPeer(self._socket, peer, profile, station)
        member = self.members[section.public_key] = Member(section, peer, link, origin)
        return member

    def _station(self, section: PeerSection) -> IpStation:
        config = self._settings.config
        if not config.addresses:
            raise SettingsError(
                f"peer {section.name or section.public_key.encode()} carries IP, but the LAN's network is "
                "unknown: write Address under [Interface], or lan=ADDRESS/PREFIX in the locator"
            )
        return IpStation(
            IpStationSettings(
                public_key=section.public_key,
                allowed_ips=section.allowed_ips,
                on_link=self._settings.networks,
                mtu=config.mtu or 1400,
                gateways=config.gateways,
                hears_groups=section.broadcasts,
            )
        )

    def _dismiss(self, member: Member, reason: str) -> None:
        """Take a peer out, unless it is: it may have been revoked while it was being written."""
        if self.has(member):
            del self.members[member.section.public_key]
            self._unplug(member, reason)  # first: the log is to say where it was
            self._socket.device.remove_peer(member.peer)
            self._release(member)

    def __iter__(self) -> Iterator[Member]:
        return iter(self.members.values())


def _is_overruled(stored: Member, section: PeerSection) -> bool:
    """Whether a stored peer goes where the operator names ``section``: it has its key, or its name."""
    own = stored.section
    return own.public_key == section.public_key or (own.name != "" and own.name == section.name)
