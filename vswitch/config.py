"""The settings of a switch: frozen values, checked where they are made, passed down."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from vport.errors import SettingsError
from vport.ethernet import Vid
from vport.locator import UdpLocator
from vport.toml_fields import PlacedError
from vswitch.contradictions import contradictions
from vswitch.fdb import FdbSettings
from vswitch.guards import GuardSettings
from vswitch.guards.port_guards import PortGuards
from vswitch.ports import DEFAULT_PORT_LIMIT, check_port_limit
from vswitch.spanning_tree.settings import DEFAULT_PATH_COST, DEFAULT_PORT_PRIORITY, BridgeSettings

if TYPE_CHECKING:
    from vport.ethernet import MacAddress
    from vport.impairment import WireSettings
    from vport.locator import Locator, WireguardLocator
    from vport.wireguard.config import PeerSection
    from vswitch.guards import AddressLimit

DEFAULT_LISTENER: Final = UdpLocator(host="127.0.0.1", port=9999)
DEFAULT_PRIORITY: Final = 0x8000  # of a bridge (802.1Q-2018 table 13-2)
PRIORITY_MAX: Final = 0xFFFF
_NO_TAG: Final = Vid(0)  # VLAN 0: every new port is in it, without a tag


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
        guards: what it is guarded against.
        addresses: what is said of the addresses behind it, None for nothing.
        impairment: the faults between the port and what is plugged in, None for none.
    """

    number: int
    description: str = ""
    pvid: Vid = _NO_TAG
    tagged: tuple[Vid, ...] = ()
    allocatable: bool = True
    user: str | None = None
    group: str | None = None
    attach: tuple[Locator, ...] = ()
    guards: PortGuards = field(default_factory=PortGuards)
    addresses: AddressLimit | None = None
    impairment: WireSettings | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeTimes:
    """The times of the spanning tree, in seconds.

    Raises:
        SettingsError: one is out of its range, or they do not fit each other (802.1D-2004 17.14).
    """

    hello_time: float = 2.0
    max_age: float = 20.0
    forward_delay: float = 15.0

    def __post_init__(self) -> None:
        BridgeSettings(hello_time=self.hello_time, max_age=self.max_age, forward_delay=self.forward_delay)


@dataclass(frozen=True, slots=True, kw_only=True)
class TreePort:
    """What an operator says of a port in the spanning tree of a VLAN; the port need not exist.

    Attributes:
        vid: the VLAN.
        port: the port's number.
        cost: of the way to the root through it.
        priority: over other ports to the same neighbour; the lowest wins.
        is_edge: it forwards, and takes no part in the tree.
        bonus: what the cost is lowered by, at one port of a VLAN; 0 for nothing.
    """

    vid: Vid
    port: int
    cost: int = DEFAULT_PATH_COST
    priority: int = DEFAULT_PORT_PRIORITY
    is_edge: bool = False
    bonus: int = 0


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
        times: of the spanning tree.
        tree_ports: what was said of ports in it.
        guards: those that are one for the switch.
        plugins: what is loaded at start, by name or by the path of a file.
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
    times: TreeTimes = field(default_factory=TreeTimes)
    tree_ports: tuple[TreePort, ...] = ()
    guards: GuardSettings = field(default_factory=GuardSettings)
    plugins: tuple[str, ...] = ()
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
        for path, text in contradictions(self):
            raise PlacedError(path, text)
