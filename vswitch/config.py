"""The settings of a switch: frozen values, checked where they are made, passed down."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from vport.errors import SettingsError
from vport.ethernet import VID_MAX, Vid
from vport.locator import UdpLocator
from vport.toml_fields import KeyPath, PlacedError
from vswitch.fdb import FdbSettings
from vswitch.peer_contradictions import peer_contradictions
from vswitch.ports import DEFAULT_PORT_LIMIT, NO_VLAN, check_port_limit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vport.ethernet import MacAddress
    from vport.locator import Locator, WireguardLocator
    from vport.wireguard.config import PeerSection

DEFAULT_LISTENER: Final = UdpLocator(host="127.0.0.1", port=9999)
DEFAULT_PRIORITY: Final = 0x8000  # of a bridge (802.1Q-2018 table 13-2)
PRIORITY_MAX: Final = 0xFFFF
_NO_TAG: Final = Vid(0)  # VLAN 0: every new port is in it, without a tag

InconsistentSettingsError = PlacedError
"""Settings that are right one by one contradict each other; ``path`` says which one is complained of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagementSettings:
    """Where the management shell listens.

    Attributes:
        path: of the Unix socket.
        mode: its permissions.
        group: its group, by name or number; None leaves the process's own.
    """

    path: str
    mode: int = 0o600
    group: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PortSettings:
    """A port that exists from the start.

    Attributes:
        number: from 1 to the switch's limit.
        description: the operator's words.
        pvid: VLAN of frames without a tag; ``NO_VLAN`` for none.
        tagged: VLANs whose frames have a tag here.
        allocatable: whether newcomers that ask for no number may get this port.
        user: who alone may plug in, by name; None: see ``group``.
        group: whose members may plug in, by name; None with no ``user``: anybody.
        attach: links that the switch opens and plugs in here.
    """

    number: int
    description: str = ""
    pvid: Vid = _NO_TAG
    tagged: tuple[Vid, ...] = ()
    allocatable: bool = True
    user: str | None = None
    group: str | None = None
    attach: tuple[Locator, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticStation:
    """An entry of the address table that neither ages nor moves."""

    mac: MacAddress
    port: int
    vid: Vid = _NO_TAG


@dataclass(frozen=True, slots=True, kw_only=True)
class WireguardSettings:
    """A WireGuard listener, and the peers that may call it beside those in files of its own."""

    listen: WireguardLocator
    peers: tuple[PeerSection, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchSettings:
    """Everything that a switch is started with.

    Attributes:
        listen: what makes links for those who call.
        wireguard: listeners with peers that are named here.
        attach: links that are opened and plugged into free ports at start, in this order.
        management: the shell's socket, None for none.
        mac: the switch's own address, None to draw one.
        is_hub: start as a hub.
        is_fstp: run the spanning tree; a hub has none.
        priority: the switch's in the spanning tree.
        port_limit: how many ports there can be.
        fdb: the address table's settings.
        vlans: those that exist beside VLAN 0.
        ports: those that exist from the start.
        stations: static entries of the address table.

    Raises:
        SettingsError: a value is out of its range, or does not go with another.
    """

    listen: tuple[Locator, ...] = ()
    wireguard: tuple[WireguardSettings, ...] = ()
    attach: tuple[Locator, ...] = ()
    management: ManagementSettings | None = None
    mac: MacAddress | None = None
    is_hub: bool = False
    is_fstp: bool = False
    priority: int = DEFAULT_PRIORITY
    port_limit: int = DEFAULT_PORT_LIMIT
    fdb: FdbSettings = field(default_factory=FdbSettings)
    vlans: tuple[Vid, ...] = ()
    ports: tuple[PortSettings, ...] = ()
    stations: tuple[StaticStation, ...] = ()

    @property
    def has_secrets(self) -> bool:
        """Whether a file that says this is for its owner's eyes alone."""
        return any(peer.preshared_key is not None for one in self.wireguard for peer in one.peers)

    def __post_init__(self) -> None:
        check_port_limit(self.port_limit)
        if not 0 <= self.priority <= PRIORITY_MAX:
            raise SettingsError(f"priority {self.priority} is not from 0 to {PRIORITY_MAX}")
        for path, text in _contradictions(self):
            raise InconsistentSettingsError(path, text)


def _contradictions(settings: SwitchSettings) -> Iterator[tuple[KeyPath, str]]:
    """Find what cannot be true together, in terms of a configuration file."""
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
    yield from peer_contradictions(settings)
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


def _no_such_port(number: int, limit: int) -> str:
    return f"port {number} is not from 1 to {limit}, the number of ports"


def _no_such_vlan(vid: int) -> str:
    return f"VLAN {vid} is not declared: add it to vlans"
