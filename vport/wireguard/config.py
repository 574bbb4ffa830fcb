"""What the files of WireGuard's users say (wg(8), wg-quick(8)), as values: an interface and its peers.

``config_file`` reads and writes the files, and tells which values stock files do not have.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from typing import TYPE_CHECKING

from vport.profile import DEFAULT_PVID, PortProfile
from vport.readers import write_host_and_port
from vport.wireguard.settings import Mode

if TYPE_CHECKING:
    from vport.ethernet import MacAddress, Vid
    from vport.wireguard.allowed_ips import Network
    from vport.wireguard.keys import PresharedKey, PrivateKey, PublicKey

Interface = IPv4Interface | IPv6Interface
Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPort:
    """An endpoint as it stands in a file: a name or an address, still to be resolved, and a UDP port."""

    host: str
    port: int

    def __str__(self) -> str:
        return write_host_and_port(self.host, self.port)


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerSection:
    """A ``[Peer]``. ``mode`` is None where the file does not say: stock files never do.

    Attributes:
        port: number of its port on the switch; None for a free one.
        vlan: VLAN of its frames without a tag.
        tagged_vlans: VLANs of its frames with a tag.
        macs: the only addresses of stations behind it; empty for any.
        max_macs: how many stations may be behind it, 0 for any number.
        broadcasts: whether an IP peer is sent what the LAN sends to all.
        expires: an invitation ends then, in seconds since 1970; 0 for a peer that is no invitation.
    """

    public_key: PublicKey
    preshared_key: PresharedKey | None = None
    allowed_ips: tuple[Network, ...] = ()
    endpoint: HostPort | None = None
    persistent_keepalive: int = 0
    name: str = ""
    mode: Mode | None = None
    port: int | None = None
    vlan: Vid = DEFAULT_PVID
    tagged_vlans: tuple[Vid, ...] = ()
    macs: tuple[MacAddress, ...] = ()
    max_macs: int = 0
    broadcasts: bool = False
    expires: int = 0

    @property
    def label(self) -> str:
        """What people call it, or its key where they call it nothing."""
        return self.name or self.public_key.encode()

    @property
    def carries(self) -> Mode:
        """What it carries. Where the file does not say, a peer with addresses is a stock client."""
        return self.mode or (Mode.IP if self.allowed_ips else Mode.ETHERNET)

    @property
    def profile(self) -> PortProfile:
        """What its port is to be like; of an IP peer without the virtual station."""
        return PortProfile(
            number=self.port,
            pvid=self.vlan,
            tagged=self.tagged_vlans,
            macs=frozenset(self.macs),
            max_macs=self.max_macs,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A whole file: the ``[Interface]`` and its peers.

    Attributes:
        ignored: line and key of what we know but do not obey.
    """

    private_key: PrivateKey
    listen_port: int | None = None
    addresses: tuple[Interface, ...] = ()
    dns: tuple[str, ...] = ()
    mtu: int | None = None
    gateways: tuple[Address, ...] = ()
    peers: tuple[PeerSection, ...] = ()
    ignored: tuple[tuple[int, str], ...] = ()
