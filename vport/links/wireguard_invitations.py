"""How peers come to a listener: added with a key of theirs, given one of ours, or invited to bring one.

``Invitations`` makes keys, finds free addresses, and lets an invited machine put a key of its own in the
place of the invitation's. What a token is and why is in ``vport.wireguard.invitation``.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Final

import trio

from vport.errors import FrameError, LinkError, RefusedError, SettingsError
from vport.wireguard.config import Config, HostPort, PeerSection
from vport.wireguard.invitation import (
    Invitation,
    config_of,
    decode_enrolment,
    encode_confirmation,
    free_address,
    stock_config,
)
from vport.wireguard.keys import PresharedKey, PrivateKey
from vport.wireguard.mtu import COMMON_MTU
from vport.wireguard.settings import Mode

if TYPE_CHECKING:
    from vport.links.wireguard_listener import WireguardListener
    from vport.links.wireguard_member import Member
    from vport.wireguard.config import Address, Interface
    from vport.wireguard.events import ControlReceived
    from vport.wireguard.keys import PublicKey

logger = logging.getLogger(__name__)

INVITATION_TIME: Final = 24 * 3600  # seconds that an invitation is good for
_WAITING: Final = 16  # keys that were brought and not entered yet
_SOMEWHERE: Final = ("192.0.2.1", 9)  # nobody: asked only how one would get there (RFC 5737)


class Invitations:
    """What a listener knows about letting peers in."""

    def __init__(self, listener: WireguardListener) -> None:
        self._listener = listener
        self._asked, self._brought = trio.open_memory_channel[tuple["Member", "PublicKey"]](_WAITING)

    # --- addresses ---

    def _taken(self) -> set[Address]:
        """Give the addresses of the LAN that somebody has been given."""
        taken = {interface.ip for interface in self._listener.settings.config.addresses}
        taken.update(self._listener.settings.config.gateways)
        for member in self._listener.roll:
            for prefix in member.section.allowed_ips:
                if prefix.num_addresses == 1:
                    taken.add(prefix.network_address)
        return taken

    def pick_addresses(self) -> tuple[Interface, ...]:
        """Give the next free address of each of the LAN's networks.

        Raises:
            SettingsError: one of them is full.
        """
        taken = self._taken()
        return tuple(free_address(network, taken) for network in self._listener.settings.networks)

    def public_endpoint(self) -> HostPort:
        """Give the host and port to call: as the operator said, or the address that it listens on.

        Where that is all addresses, it is the one that leads to the Internet.

        Raises:
            SettingsError: nobody said, and there is no way out of this machine.
        """
        listener = self._listener
        if listener.settings.public is not None:
            return listener.settings.public
        bound = str(listener.socket.address[0])
        if not ip_address(bound).is_unspecified:
            return HostPort(host=bound, port=listener.udp_port)
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.connect(_SOMEWHERE)
                host = str(probe.getsockname()[0])
        except OSError:
            raise SettingsError(
                "under which name do others reach this machine? say so: --listen 'wg://…?public=HOST:PORT'"
            ) from None
        return HostPort(host=host, port=listener.udp_port)

    # --- inviting ---

    async def invite(self, section: PeerSection) -> Invitation:
        """Invite a machine with a port of ours; ``section`` says what the peer is to be like, but for keys.

        Raises:
            SettingsError, RefusedError, LinkError: as ``Roll.add``.
        """
        key = PrivateKey.generate(os.urandom)
        addresses = self._addresses_of(section)
        psk = section.preshared_key or PresharedKey.generate(os.urandom)
        endpoint = self.public_endpoint()
        await self._listener.roll.add(
            replace(
                section,
                public_key=key.public,
                preshared_key=psk,
                mode=Mode.ETHERNET,
                allowed_ips=tuple(ip_network(address.ip) for address in addresses),
                expires=int(time.time()) + INVITATION_TIME,
            )
        )
        return Invitation(
            server_key=self._listener.public_key,
            key=key,
            preshared_key=psk,
            endpoint=endpoint,
            addresses=addresses,
            mtu=self._listener.settings.config.mtu or 0,
        )

    async def make_keys(self, section: PeerSection) -> tuple[PeerSection, Config]:
        """Add a peer, and make its file, which holds the private key that we made for it.

        Returns:
            the peer as it was added, and the file.

        Raises:
            SettingsError: a stock client, and the LAN's network is not known; or as ``Roll.add``.
            RefusedError, LinkError: as ``Roll.add``.
        """
        listener = self._listener
        key = PrivateKey.generate(os.urandom)
        psk = section.preshared_key or PresharedKey.generate(os.urandom)
        addresses = self._addresses_of(section)
        endpoint = self.public_endpoint()
        member = await listener.roll.add(
            replace(
                section,
                public_key=key.public,
                preshared_key=psk,
                allowed_ips=tuple(ip_network(address.ip) for address in addresses),
            )
        )
        mtu = listener.settings.config.mtu
        if section.carries is Mode.IP:
            server = (listener.public_key, endpoint)
            file = stock_config(key, psk, addresses, server, listener.settings.networks, mtu or COMMON_MTU)
        else:
            file = config_of(
                Invitation(
                    server_key=listener.public_key,
                    key=key,
                    preshared_key=psk,
                    endpoint=endpoint,
                    addresses=addresses,
                    mtu=mtu or 0,
                ),
                key,
            )
        return member.section, file

    def _addresses_of(self, section: PeerSection) -> tuple[Interface, ...]:
        """Give the addresses that ``section`` asks for with the LAN's prefix lengths, or free ones."""
        if not section.allowed_ips:
            return self.pick_addresses()
        found: list[Interface] = []
        taken, networks = self._taken(), self._listener.settings.networks
        for prefix in section.allowed_ips:
            network = next((one for one in networks if prefix.network_address in one), None)
            if network is None or prefix.num_addresses != 1:
                raise SettingsError(f"{prefix} is no address of the LAN")
            if prefix.network_address in taken:
                raise SettingsError(f"{prefix.network_address} is taken")
            found.append(free_address(ip_network(prefix.network_address), ()))
            found[-1] = type(found[-1])((found[-1].ip, network.prefixlen))
        return tuple(found)

    # --- enrolling ---

    def enrol(self, member: Member, event: ControlReceived) -> None:
        """Take note of the key that an invited machine brings; ``run`` enters it.

        When more than a few wait, the rest is forgotten: machines ask until they are answered.
        """
        if not member.is_invitation:
            return
        with suppress(FrameError, trio.WouldBlock):
            self._asked.send_nowait((member, decode_enrolment(event.body)))

    async def run(self) -> None:
        """Enter the keys that are brought, one after the other, until cancelled."""
        async for member, key in self._brought:
            await self._enter(member, key)

    async def _enter(self, member: Member, key: PublicKey) -> None:
        """Let a key take the invitation's place. Asked again for the same key, say yes again."""
        roll = self._listener.roll
        if member.enrolled is None:
            try:
                await roll.replace_key(member, replace(member.section, public_key=key, expires=0))
            except (SettingsError, RefusedError, LinkError) as error:
                logger.warning("%s could not join: %s", member.section.name, error)
                return
            member.enrolled = key
            logger.info("%s has joined with a key of its own", member.section.name)
        if member.enrolled == key and roll.has(member) and self._listener.socket.is_open:
            self._listener.socket.send_control(member.peer, encode_confirmation(key))

    def is_expired(self, member: Member) -> bool:
        """Whether an invitation has run out."""
        return 0 < member.section.expires <= time.time()
