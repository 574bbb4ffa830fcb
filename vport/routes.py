"""Where a router's packets go next: the networks that it has addresses in, their VLANs, its gateways."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Network
from typing import TYPE_CHECKING, Final

from vport.errors import SettingsError
from vport.ethernet import EtherType, MacAddress, Vid
from vport.packets.nd import link_local_address
from vport.station.resolution import AddressResolution, with_link_local

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from vport.readers import InterfaceAddress, IpAddress

UNTAGGED: Final = Vid(0)
_LINK_LOCAL: Final = IPv6Network("fe80::/64")


@dataclass(frozen=True, slots=True)
class RouterInterface:
    """An address of the router, and the VLAN that its network is in (0: without tags)."""

    address: InterfaceAddress
    vid: Vid = UNTAGGED


class Side:
    """One VLAN that the router is in: its address resolution there."""

    def __init__(self, mac: MacAddress, vid: Vid, interfaces: Iterable[InterfaceAddress]) -> None:
        self.vid = vid
        own = with_link_local(interfaces, link_local_address(mac))
        self.resolution = AddressResolution(mac, own, is_router=True)

    def framed(self, frames: list[bytes]) -> list[bytes]:
        """Give the frames as they go onto the link: with the tag of the VLAN."""
        if self.vid == UNTAGGED:
            return frames
        tag = EtherType.VLAN.to_bytes(2, "big") + self.vid.to_bytes(2, "big")
        return [frame[:12] + tag + frame[12:] for frame in frames]


class Routes:
    """All sides of a router, and which of them leads to an address.

    Args:
        mac: its MAC address, the same in every VLAN.
        interfaces: its addresses.
        gateways: who takes packets for all other networks, at most one for each version of IP counts.

    Attributes:
        sides: the VLANs, by their identifier.
        addresses: the router's own, but the link-local ones that it gives itself.

    Raises:
        SettingsError: an address that no single host can have, one network in two VLANs, or a gateway outside
            of all networks.
    """

    def __init__(
        self, mac: MacAddress, interfaces: Sequence[RouterInterface], gateways: Sequence[IpAddress]
    ) -> None:
        self.sides = {
            vid: Side(mac, vid, [one.address for one in interfaces if one.vid == vid])
            for vid in dict.fromkeys(one.vid for one in interfaces)
        }
        self.addresses = {one.address.ip for one in interfaces}
        self._gateways = {address.version: address for address in reversed(gateways)}
        _check_networks(interfaces)
        for gateway in gateways:
            if self._side_of(gateway) is None:
                raise SettingsError(f"the gateway {gateway} is in none of the router's networks")

    def find(self, destination: IpAddress) -> tuple[Side, IpAddress] | None:
        """Find where the next hop to ``destination`` is, and who it is."""
        next_hop: IpAddress | None = destination
        side = self._side_of(destination)
        if side is None:
            next_hop = self._gateways.get(destination.version)
            side = None if next_hop is None else self._side_of(next_hop)
        return None if side is None or next_hop is None else (side, next_hop)

    def _side_of(self, address: IpAddress) -> Side | None:
        """Find the VLAN with the smallest network that ``address`` is in; link-local ones are in all."""
        best: tuple[int, Side] | None = None
        for side in self.sides.values():
            for interface in side.resolution.interfaces:
                if interface.version != address.version or interface.network == _LINK_LOCAL:
                    continue
                length = interface.network.prefixlen
                if address in interface.network and (best is None or length > best[0]):
                    best = (length, side)
        return None if best is None else best[1]

    def is_broadcast(self, address: IpAddress) -> bool:
        """Whether ``address`` is the broadcast address of one of the networks, or of all."""
        return any(side.resolution.is_broadcast(address) for side in self.sides.values())


def _check_networks(interfaces: Sequence[RouterInterface]) -> None:
    """Refuse one network in two VLANs: where its hosts are would be anybody's guess."""
    for number, one in enumerate(interfaces):
        for other in interfaces[:number]:
            if one.vid != other.vid and one.address.network == other.address.network:
                raise SettingsError(
                    f"the network {one.address.network} is in VLAN {other.vid} and in VLAN {one.vid}"
                )
