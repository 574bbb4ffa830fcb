"""Settings to a bridge, and a running bridge back to settings.

``make_bridge`` makes what the settings name in a fresh bridge; ``capture`` is its inverse, so that a switch
that is started from what was captured is the same switch. Links and listeners are the service's.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from vport.locator import WireguardLocator
from vswitch.access import AccessRule
from vswitch.bridge import Bridge
from vswitch.config import PortSettings, StaticStation, WireguardSettings
from vswitch.ports import NO_VLAN
from vswitch.vlan import DEFAULT_VID

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from vport.ethernet import MacAddress
    from vport.locator import Locator
    from vport.wireguard.config import PeerSection
    from vswitch.config import SwitchSettings
    from vswitch.ports import Endpoint, Port


def make_bridge(
    settings: SwitchSettings,
    now: float,
    groups_of: Callable[[str], Collection[str]] = lambda user: (),
) -> Bridge:
    """Make a bridge with the VLANs, ports and static entries that the settings name.

    Args:
        settings: what the bridge is to be.
        now: the time, for its address table.
        groups_of: gives the groups of a user, for the ports' access rules.
    """
    bridge = Bridge(settings.fdb, settings.port_limit, groups_of)
    bridge.is_hub = settings.is_hub
    for vid in settings.vlans:
        bridge.create_vlan(vid)
    for port in settings.ports:
        _configure_port(bridge, port)
    for station in settings.stations:
        place = bridge.ports.get(station.port) or bridge.create_port(station.port)
        bridge.fdb.add_static(station.vid, station.mac, place, now)
    return bridge


def _configure_port(bridge: Bridge, settings: PortSettings) -> None:
    port = bridge.create_port(settings.number, allocatable=settings.allocatable)
    port.description = settings.description
    port.access = AccessRule(settings.user, settings.group)
    bridge.set_pvid(port, settings.pvid)
    for vid in settings.tagged:
        bridge.add_tagged(port, vid)


def capture(
    settings: SwitchSettings,
    bridge: Bridge,
    mac: MacAddress,
    listening: Iterable[tuple[Locator, tuple[PeerSection, ...]]],
    attached: Mapping[Endpoint, Locator],
) -> SwitchSettings:
    """Give the settings of a switch that would be as this one is now.

    Args:
        settings: what it was started with; what cannot change since is taken from there.
        bridge: as it is.
        mac: the switch's own address, which may have been drawn.
        listening: what its listeners were opened from, and their peers.
        attached: what its own links were opened from.
    """
    links: dict[Port, list[Locator]] = {}
    for endpoint, locator in attached.items():
        links.setdefault(endpoint.port, []).append(locator)
    ports = (_capture_port(port, tuple(links.get(port, ()))) for port in bridge.ports)
    named = [(place, peers) for place, peers in listening if isinstance(place, WireguardLocator) and peers]
    return replace(
        settings,
        listen=tuple(place for place, peers in listening if not peers),
        wireguard=tuple(
            WireguardSettings(listen=place, peers=tuple(_capture_peer(peer, bridge) for peer in peers))
            for place, peers in named
        ),
        attach=(),
        mac=mac,
        is_hub=bridge.is_hub,
        port_limit=bridge.ports.limit,
        fdb=bridge.fdb.settings,
        vlans=tuple(sorted(vid for vid in bridge.vlans if vid != DEFAULT_VID)),
        ports=tuple(port for port in ports if port != PortSettings(number=port.number)),
        stations=_stations(bridge),
    )


def _capture_port(port: Port, attach: tuple[Locator, ...]) -> PortSettings:
    """Capture a port. One that differs in nothing from a port that is made when needed is left out later.

    What a port that is kept for somebody is like, its keeper says.
    """
    if port.keeper is not None:
        access = port.access
        return PortSettings(
            number=port.number, description=port.description, user=access.user, group=access.group
        )
    return PortSettings(
        number=port.number,
        description=port.description,
        pvid=port.pvid,
        tagged=tuple(sorted(port.tagged)),
        allocatable=port.allocatable,
        user=port.access.user,
        group=port.access.group,
        attach=attach,
    )


def _capture_peer(peer: PeerSection, bridge: Bridge) -> PeerSection:
    """Capture a peer with the VLANs that its port is in by now."""
    port = None if peer.port is None else bridge.ports.get(peer.port)
    if port is None or port.keeper is None:
        return peer
    vlan = peer.vlan if port.pvid == NO_VLAN else port.pvid
    tagged = () if peer.carries == "ip" else tuple(sorted(vid for vid in port.tagged if vid))
    return replace(peer, vlan=vlan, tagged_vlans=tuple(vid for vid in tagged if vid != vlan))


def _stations(bridge: Bridge) -> tuple[StaticStation, ...]:
    """Capture the static entries but those of stations that are ours to present: they come by themselves."""
    ours = {port.keeper.station for port in bridge.ports if port.keeper is not None}
    entries = sorted(
        (entry.vid, entry.mac, entry.port.number)
        for entry in bridge.fdb
        if entry.is_static and entry.mac not in ours
    )
    return tuple(StaticStation(mac=mac, port=port, vid=vid) for vid, mac, port in entries)
