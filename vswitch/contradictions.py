"""What cannot be true together of the settings of a switch, in terms of a configuration file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vport.ethernet import VID_MAX
from vswitch.peer_contradictions import peer_contradictions
from vswitch.ports import NO_VLAN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vport.toml_fields import KeyPath
    from vswitch.config import PortSettings, StaticStation, SwitchSettings, TreePort


def contradictions(settings: SwitchSettings) -> Iterator[tuple[KeyPath, str]]:
    """Find them: where the one stands that is complained of, and what is wrong with it."""
    vlans: set[int] = {0}
    for index, vid in enumerate(settings.vlans):
        if not 1 <= vid <= VID_MAX:
            yield ("vlans", index), f"VLAN {vid} is not from 1 to {VID_MAX}"
        if vid in vlans:
            yield ("vlans", index), f"VLAN {vid} stands there twice"
        vlans.add(vid)
    numbers: set[int] = set()
    for index, port in enumerate(settings.ports):
        yield from _port_contradictions(("port", index), port, settings.port_limit, vlans)
        if port.number in numbers:
            yield ("port", index, "number"), f"port {port.number} stands there twice"
        numbers.add(port.number)
    stations: set[tuple[int, bytes]] = set()
    for index, station in enumerate(settings.stations):
        yield from _station_contradictions(("static", index), station, settings.port_limit, vlans)
        if (station.vid, station.mac) in stations:
            yield ("static", index, "mac"), "this address stands there twice in one VLAN"
        stations.add((station.vid, station.mac))
    yield from _tree_contradictions(settings, vlans)
    yield from peer_contradictions(settings)
    for index, plugin in enumerate(settings.plugins):
        if plugin in settings.plugins[:index]:
            yield ("plugins", index), f"{plugin} stands there twice"
    if len(stations) > settings.fdb.capacity:
        yield ("static",), f"{len(stations)} entries, but the address table holds {settings.fdb.capacity}"


def _port_contradictions(
    path: KeyPath, port: PortSettings, limit: int, vlans: set[int]
) -> Iterator[tuple[KeyPath, str]]:
    if not 1 <= port.number <= limit:
        yield (*path, "number"), _no_such_port(port.number, limit)
    if port.pvid != NO_VLAN and port.pvid not in vlans:
        yield (*path, "pvid"), _no_such_vlan(port.pvid)
    for index, vid in enumerate(port.tagged):
        if vid not in vlans:
            yield (*path, "tagged", index), _no_such_vlan(vid)
        if vid == port.pvid:
            yield (*path, "tagged", index), f"VLAN {vid} is the port's untagged one"
        if vid in port.tagged[:index]:
            yield (*path, "tagged", index), f"VLAN {vid} stands there twice"


def _station_contradictions(
    path: KeyPath, station: StaticStation, limit: int, vlans: set[int]
) -> Iterator[tuple[KeyPath, str]]:
    if not 1 <= station.port <= limit:
        yield (*path, "port"), _no_such_port(station.port, limit)
    if station.vid not in vlans:
        yield (*path, "vlan"), _no_such_vlan(station.vid)


def _tree_contradictions(settings: SwitchSettings, vlans: set[int]) -> Iterator[tuple[KeyPath, str]]:
    seen: set[tuple[int, int]] = set()
    favoured: dict[int, TreePort] = {}
    for index, one in enumerate(settings.tree_ports):
        path: KeyPath = ("spanning-tree", "port", index)
        if not 1 <= one.port <= settings.port_limit:
            yield (*path, "port"), _no_such_port(one.port, settings.port_limit)
        if one.vid not in vlans:
            yield (*path, "vlan"), _no_such_vlan(one.vid)
        if (one.vid, one.port) in seen:
            yield (*path, "port"), f"port {one.port} stands there twice in VLAN {one.vid}"
        seen.add((one.vid, one.port))
        if one.bonus and favoured.setdefault(one.vid, one) is not one:
            yield (*path, "bonus"), f"port {favoured[one.vid].port} has the one bonus of VLAN {one.vid}"


def _no_such_port(number: int, limit: int) -> str:
    return f"port {number} is not from 1 to {limit}, the number of ports"


def _no_such_vlan(vid: int) -> str:
    return f"VLAN {vid} is not declared: add it to vlans"
