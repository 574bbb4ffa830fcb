"""How peers come to a listener: added with a key of theirs, given one of ours, or invited to bring one.

``Invitations`` makes keys, finds free addresses, and lets an invited machine put a key of its own in the
place of the invitation's. What a token is and why is in ``vport.wireguard.invitation``.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from dataclasses import replace
from ipaddress import ip_network
from typing import TYPE_CHECKING, Final

from vport.errors import FrameError, LinkError, RefusedError, SettingsError
from vport.wireguard.config import Config, HostPort, PeerSection
from vport.wireguard.invitation import (
    Invitation,
    decode_enrolment,
    encode_confirmation,
    free_address,
    stock_config,
)
from vport.wireguard.keys import PresharedKey, PrivateKey
from vport.wireguard.mtu import COMMON_MTU
from vport.wireguard.settings import Mode

if TYPE_CHECKING:
    from vport.links.wireguard_listener import Member, WireguardListener
    from vport.wireguard.config import Address, Interface
    from vport.wireguard.events import ControlReceived

logger = logging.getLogger(__name__)

INVITATION_TIME: Final = 24 * 3600  # seconds that an invitation is good for
_SOMEWHERE: Final = ("192.0.2.1", 9)  # nobody: asked only how one would get there (RFC 5737)


class Invitations:
    """What a listener knows about letting peers in."""

    def __init__(self, listener: WireguardListener) -> None:
        self._listener = listener

    # --- addresses ---

    def _taken(self) -> set[Address]:
        """Give the addresses of the LAN that somebody has been given."""
        taken = {interface.ip for interface in self._listener.settings.config.addresses}
        taken.update(self._listener.settings.config.gateways)
        for member in self._listener.members.values():
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
        return tuple(free_address(network, taken) for network in self._listener.networks)

    def public_endpoint(self) -> HostPort:
        """Give the host and port to call: as the operator said, or the address that leads to the Internet.

        Raises:
            SettingsError: nobody said, and there is no way out of this machine.
        """
        listener = self._listener
        if listener.settings.public is not None:
            return listener.settings.public
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

    def invite(self, section: PeerSection) -> Invitation:
        """Invite a machine with a port of ours; ``section`` says what the peer is to be like, but for keys.

        Raises:
            SettingsError, RefusedError, LinkError: as ``WireguardListener.add``.
        """
        key = PrivateKey.generate(os.urandom)
        addresses = self._addresses_of(section)
        psk = PresharedKey.generate(os.urandom)
        self._listener.add(
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
            endpoint=self.public_endpoint(),
            addresses=addresses,
            mtu=self._listener.settings.config.mtu or 0,
        )

    def invite_stock(self, section: PeerSection) -> Config:
        """Add a stock client and make its file, which holds the private key that we made for it.

        Raises:
            SettingsError: the LAN's network is not known; or as ``WireguardListener.add``.
            RefusedError, LinkError: as ``WireguardListener.add``.
        """
        listener = self._listener
        key = PrivateKey.generate(os.urandom)
        psk = PresharedKey.generate(os.urandom)
        addresses = self._addresses_of(section)
        endpoint = self.public_endpoint()
        listener.add(
            replace(
                section,
                public_key=key.public,
                preshared_key=psk,
                mode=Mode.IP,
                allowed_ips=tuple(ip_network(address.ip) for address in addresses),
            )
        )
        mtu = listener.settings.config.mtu or COMMON_MTU
        return stock_config(key, psk, addresses, (listener.public_key, endpoint), listener.networks, mtu)

    def _addresses_of(self, section: PeerSection) -> tuple[Interface, ...]:
        """Give the addresses that ``section`` asks for with the LAN's prefix lengths, or free ones."""
        if not section.allowed_ips:
            return self.pick_addresses()
        found: list[Interface] = []
        taken = self._taken()
        for prefix in section.allowed_ips:
            network = next((one for one in self._listener.networks if prefix.network_address in one), None)
            if network is None or prefix.num_addresses != 1:
                raise SettingsError(f"{prefix} is no address of the LAN")
            if prefix.network_address in taken:
                raise SettingsError(f"{prefix.network_address} is taken")
            found.append(free_address(ip_network(prefix.network_address), ()))
            found[-1] = type(found[-1])((found[-1].ip, network.prefixlen))
        return tuple(found)

    # --- enrolling ---

    def enrol(self, member: Member, event: ControlReceived) -> None:
        """Let an invited machine bring its own key. Asked again for the same key, say yes again."""
        if not member.section.expires:
            return
        try:
            key = decode_enrolment(event.body)
        except FrameError:
            return
        if member.enrolled is None:
            try:
                self._listener.replace_key(member, replace(member.section, public_key=key, expires=0))
            except (SettingsError, RefusedError, LinkError) as error:
                logger.warning("%s could not join: %s", member.section.name, error)
                return
            member.enrolled = key
            logger.info("%s has joined with a key of its own", member.section.name)
        if member.enrolled == key:
            self._listener.socket.send_control(member.peer, encode_confirmation(key))

    def is_expired(self, member: Member) -> bool:
        """Whether an invitation has run out."""
        return 0 < member.section.expires <= time.time()
