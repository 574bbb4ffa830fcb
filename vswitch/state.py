"""The core of a switch changed as a ``CoreChange`` says, and a running switch captured as settings.

A switch that is made from what was captured is the same switch; ``difference`` says by which changes. Links,
listeners, plugins and faults are opened elsewhere (``builder``), and here only captured.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, assert_never

from vport.errors import SettingsError
from vport.locator import WireguardLocator
from vswitch.access import AccessRule
from vswitch.changes import (
    AddStation,
    ChangeFdb,
    ChangeGuards,
    ChangeMode,
    ChangePort,
    ChangePortLimit,
    ChangeTreePort,
    ChangeTrees,
    CreateVlan,
    LimitAddresses,
    RemoveStation,
    RemoveVlan,
)
from vswitch.config import PortSettings, StaticStation, TreePort, TreeTimes, WireguardSettings
from vswitch.ports import NO_VLAN
from vswitch.vlan import DEFAULT_VID

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from vport.impairment import WireSettings
    from vport.locator import Locator
    from vport.wireguard.config import PeerSection
    from vswitch.bridge import Bridge
    from vswitch.changes import CoreChange
    from vswitch.config import SwitchSettings
    from vswitch.control_plane import ControlPlane
    from vswitch.ports import Endpoint, Port
    from vswitch.topology import Topology

# --- changes ---


def change_core(change: CoreChange, bridge: Bridge, plane: ControlPlane, now: float) -> None:
    """Carry out a change.

    Raises:
        SettingsError: it is impossible for the switch as it is; nothing was changed.
    """
    match change:
        case ChangeMode():
            _change_mode(change, bridge, plane.topology, now)
        case ChangePortLimit():
            _change_port_limit(change.limit, bridge)
        case ChangeFdb():
            bridge.fdb.change(**asdict(change.settings))
        case ChangeGuards():
            plane.protection.configure(change.settings, now)
        case ChangeTrees(priority, times):
            plane.topology.configure(
                replace(
                    plane.topology.settings,
                    priority=priority,
                    hello_time=times.hello_time,
                    max_age=times.max_age,
                    forward_delay=times.forward_delay,
                ),
                now,
            )
        case ChangeTreePort():
            _change_tree_port(change.settings, bridge, plane.topology, now)
        case CreateVlan():
            bridge.create_vlan(change.vid)
        case RemoveVlan():
            if bridge.vlans[change.vid].members:
                raise SettingsError(f"VLAN {change.vid} has ports")
            bridge.remove_vlan(change.vid)
        case ChangePort():
            _change_port(change.settings, bridge, plane, now)
        case LimitAddresses():
            _port(bridge, change.port).limit_addresses(change.limit)
        case AddStation(station):
            bridge.fdb.add_static(station.vid, station.mac, _port(bridge, station.port), now)
        case RemoveStation(station):
            bridge.fdb.delete(station.vid, station.mac)
        case _:
            assert_never(change)


def _port(bridge: Bridge, number: int) -> Port:
    """Find a port, or make it."""
    return bridge.ports.get(number) or bridge.create_port(number)


def _change_mode(change: ChangeMode, bridge: Bridge, topology: Topology, now: float) -> None:
    bridge.is_hub = change.is_hub
    if change.is_fstp and not change.is_hub:
        topology.enable(now)
    else:
        topology.disable(now)
        topology.is_wanted = change.is_fstp


def _change_port_limit(limit: int, bridge: Bridge) -> None:
    """Change how many ports there can be; those beyond go if they are empty and nothing is said of them."""
    beyond = [port for port in bridge.ports if port.number > limit]
    if all(map(_is_plain, beyond)):
        for port in beyond:
            bridge.remove_port(port)
    bridge.ports.change_limit(limit)


def _is_plain(port: Port) -> bool:
    usual = PortSettings(number=port.number)
    return not port.is_active and port.keeper is None and _capture_port(port, (), None) == usual


def _change_tree_port(said: TreePort, bridge: Bridge, topology: Topology, now: float) -> None:
    vlan = bridge.vlans[said.vid]
    topology.set_by_operator(
        vlan, said.port, cost=said.cost, priority=said.priority, is_edge=said.is_edge, now=now
    )
    if said.bonus:
        topology.set_bonus(vlan, said.port, said.bonus, now)
    elif topology.tree(vlan, now).bonus[0] == said.port:
        topology.set_bonus(vlan, None, 0, now)


def _change_port(settings: PortSettings, bridge: Bridge, plane: ControlPlane, now: float) -> None:
    port = _port(bridge, settings.number)
    port.description = settings.description
    port.access = AccessRule(settings.user, settings.group)
    if port.guards != settings.guards:
        plane.protection.set_guards(port, settings.guards, now)
    if port.keeper is None:
        bridge.set_allocatable(port, settings.allocatable)
        for vid in port.tagged.difference(settings.tagged):
            bridge.remove_tagged(port, vid)
        if port.pvid != settings.pvid:
            bridge.set_pvid(port, settings.pvid)
        for vid in settings.tagged:
            bridge.add_tagged(port, vid)


# --- capturing ---


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What is around the core of a running switch.

    Attributes:
        listening: what its listeners were opened from, and their peers.
        attached: what its own links were opened from.
        impaired: the faults of ports.
        plugins: what they were loaded from.
    """

    listening: Sequence[tuple[Locator, tuple[PeerSection, ...]]] = ()
    attached: Mapping[Endpoint, Locator] = field(default_factory=dict)
    impaired: Mapping[Port, WireSettings] = field(default_factory=dict)
    plugins: tuple[str, ...] = ()


def capture(settings: SwitchSettings, bridge: Bridge, plane: ControlPlane, opened: Opened) -> SwitchSettings:
    """Give the settings of a switch that would be as this one is now, with all ports that exist.

    Args:
        settings: what it was started with; what cannot change since is taken from there.
        bridge: as it is.
        plane: its spanning trees and guards.
        opened: what is around them.
    """
    links: dict[Port, list[Locator]] = {}
    for endpoint, locator in opened.attached.items():
        links.setdefault(endpoint.port, []).append(locator)
    named = [(at, peers) for at, peers in opened.listening if isinstance(at, WireguardLocator) and peers]
    topology = plane.topology
    tree = topology.settings
    return replace(
        settings,
        listen=tuple(place for place, peers in opened.listening if not peers),
        wireguard=tuple(
            WireguardSettings(listen=place, peers=tuple(capture_peer(peer, bridge) for peer in peers))
            for place, peers in named
        ),
        attach=(),
        plugins=opened.plugins,
        mac=topology.mac,
        is_hub=bridge.is_hub,
        is_fstp=topology.is_enabled or (topology.is_wanted and bridge.is_hub),
        priority=tree.priority,
        times=TreeTimes(hello_time=tree.hello_time, max_age=tree.max_age, forward_delay=tree.forward_delay),
        tree_ports=tuple(one for one in _capture_trees(topology) if bridge.ports.is_number(one.port)),
        guards=plane.protection.settings,
        port_limit=bridge.ports.limit,
        fdb=bridge.fdb.settings,
        vlans=tuple(sorted(vid for vid in bridge.vlans if vid != DEFAULT_VID)),
        ports=tuple(
            _capture_port(port, tuple(links.get(port, ())), opened.impaired.get(port))
            for port in bridge.ports
        ),
        stations=_stations(bridge),
    )


def without_plain_ports(settings: SwitchSettings) -> SwitchSettings:
    """Leave out the ports of which nothing is said: they are made when they are needed."""
    ports = tuple(port for port in settings.ports if port != PortSettings(number=port.number))
    return replace(settings, ports=ports)


def _capture_port(port: Port, attach: tuple[Locator, ...], impairment: WireSettings | None) -> PortSettings:
    """Capture a port. What one that is kept for somebody is like beyond that, its keeper says."""
    settings = PortSettings(
        number=port.number,
        description=port.description,
        user=port.access.user,
        group=port.access.group,
        guards=port.guards,
        addresses=port.addresses,
        impairment=impairment,
    )
    if port.keeper is not None:
        return settings
    return replace(
        settings,
        pvid=port.pvid,
        tagged=tuple(sorted(port.tagged)),
        allocatable=port.allocatable,
        attach=attach,
    )


def _capture_trees(topology: Topology) -> Iterator[TreePort]:
    """Capture what was said of ports in spanning trees."""
    for vid, tree in sorted(topology.trees, key=lambda pair: pair[0]):
        favoured, bonus = tree.bonus
        known = tree.known_ports
        for number in sorted(known.keys() | ({favoured} if favoured is not None else set())):
            settings = tree.port_settings(number)
            captured = TreePort(
                vid=vid,
                port=number,
                cost=settings.path_cost,
                priority=settings.priority,
                is_edge=settings.bpdu_filter,
                bonus=bonus if number == favoured else 0,
            )
            if captured != TreePort(vid=vid, port=number):
                yield captured


def capture_peer(peer: PeerSection, bridge: Bridge) -> PeerSection:
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
