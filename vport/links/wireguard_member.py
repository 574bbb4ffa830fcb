"""A peer of a WireGuard listener: what the operator said of it, the device's side of it, and the switch's."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING

from vport.wireguard.ip_station import virtual_mac
from vport.wireguard.settings import Mode

if TYPE_CHECKING:
    from vport.links.wireguard_peer import PeerLink
    from vport.profile import PortProfile
    from vport.wireguard.config import PeerSection
    from vport.wireguard.keys import PublicKey
    from vport.wireguard.peer import Peer


class Origin(StrEnum):
    """Where it stands that a peer may come."""

    FILE = "the listener's own file"  # which the locator names
    CONFIGURATION = "the configuration"  # of the switch
    STORE = "the store"  # of what was added by command


def profile_of(section: PeerSection) -> PortProfile:
    """Say what a peer's port is to be like; the port of a stock client has its virtual station."""
    profile = section.profile
    if section.carries is Mode.IP:
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
        origin: where it stands that it may come.
        enrolled: of an invitation, the key that was brought with it.
        predecessor: the invitation that this peer came with, until it is seen to work.
        is_kept: whether the switch keeps a port for it.
    """

    __slots__ = ("enrolled", "is_kept", "link", "origin", "peer", "predecessor", "profile", "section")

    def __init__(self, section: PeerSection, peer: Peer, link: PeerLink, origin: Origin) -> None:
        self.section = section
        self.peer = peer
        self.link = link
        self.profile = profile_of(section)
        self.origin = origin
        self.enrolled: PublicKey | None = None
        self.predecessor: Member | None = None
        self.is_kept = False

    @property
    def is_invitation(self) -> bool:
        """Whether it may do no more than bring a key."""
        return self.section.expires > 0

    def as_it_is(self) -> PeerSection:
        """Give what was said of the peer without what has no meaning for its kind, and with its port."""
        found = replace(self.section, port=self.profile.number, mode=self.section.carries)
        if found.mode is Mode.IP:
            return replace(found, tagged_vlans=(), macs=(), max_macs=0)
        return replace(found, broadcasts=False)

    @property
    def name(self) -> str:
        """What people call it, or its key where they call it nothing."""
        return self.section.label
