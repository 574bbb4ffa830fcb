"""The changes that make one switch into another: a value for each, in words for the log by ``str``.

``difference`` finds them; ``state.change_core`` and ``builder`` carry them out. Those of the core are only
calculated with, the others open and close something.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vport.ethernet import format_mac

if TYPE_CHECKING:
    from vport.ethernet import Vid
    from vport.impairment import WireSettings
    from vport.locator import Locator
    from vport.wireguard.config import PeerSection
    from vswitch.config import PortSettings, StaticStation, TreePort, TreeTimes
    from vswitch.fdb import FdbSettings
    from vswitch.guards import AddressLimit, GuardSettings

# --- of the core ---


@dataclass(frozen=True, slots=True)
class ChangeMode:
    """Be a hub or a switch, with spanning tree or without; a hub has none, whatever is said."""

    is_hub: bool
    is_fstp: bool

    def __str__(self) -> str:
        return f"{'hub' if self.is_hub else 'switch'}, spanning tree {'on' if self.is_fstp else 'off'}"


@dataclass(frozen=True, slots=True)
class ChangePortLimit:
    """Have so many ports."""

    limit: int

    def __str__(self) -> str:
        return f"{self.limit} ports"


@dataclass(frozen=True, slots=True)
class ChangeFdb:
    """Change the address table's settings."""

    settings: FdbSettings

    def __str__(self) -> str:
        return "settings of the address table"


@dataclass(frozen=True, slots=True)
class ChangeGuards:
    """Change the guards that are one for the switch."""

    settings: GuardSettings

    def __str__(self) -> str:
        return "settings of the guards"


@dataclass(frozen=True, slots=True)
class ChangeTrees:
    """Change priority and times of the spanning trees."""

    priority: int
    times: TreeTimes

    def __str__(self) -> str:
        return "priority and times of the spanning tree"


@dataclass(frozen=True, slots=True)
class ChangeTreePort:
    """Change what is said of a port in a VLAN's spanning tree."""

    settings: TreePort

    def __str__(self) -> str:
        return f"port {self.settings.port} in the spanning tree of VLAN {self.settings.vid}"


@dataclass(frozen=True, slots=True)
class CreateVlan:
    """Make a VLAN."""

    vid: Vid

    def __str__(self) -> str:
        return f"VLAN {self.vid} is new"


@dataclass(frozen=True, slots=True)
class RemoveVlan:
    """Delete a VLAN, which has no members any more."""

    vid: Vid

    def __str__(self) -> str:
        return f"VLAN {self.vid} goes"


@dataclass(frozen=True, slots=True)
class ChangePort:
    """Make a port, or change it: its VLANs, guards, who may use it. Nothing else of ``settings`` counts."""

    settings: PortSettings

    def __str__(self) -> str:
        return f"settings of port {self.settings.number}"


@dataclass(frozen=True, slots=True)
class LimitAddresses:
    """Change what is said of the addresses behind a port."""

    port: int
    limit: AddressLimit | None

    def __str__(self) -> str:
        return f"addresses behind port {self.port}"


@dataclass(frozen=True, slots=True)
class AddStation:
    """Enter a static station; its port comes into being with it."""

    station: StaticStation

    def __str__(self) -> str:
        station = self.station
        return f"station {format_mac(station.mac)} in VLAN {station.vid} is on port {station.port}"


@dataclass(frozen=True, slots=True)
class RemoveStation:
    """Remove a static station."""

    station: StaticStation

    def __str__(self) -> str:
        return f"station {format_mac(self.station.mac)} in VLAN {self.station.vid} goes"


CoreChange = (
    ChangeMode
    | ChangePortLimit
    | ChangeFdb
    | ChangeGuards
    | ChangeTrees
    | ChangeTreePort
    | CreateVlan
    | RemoveVlan
    | ChangePort
    | LimitAddresses
    | AddStation
    | RemoveStation
)

# --- of what is around it ---


@dataclass(frozen=True, slots=True)
class Attach:
    """Open a link and plug it in, into a free port where none is named."""

    locator: Locator
    port: int | None

    def __str__(self) -> str:
        return f"{self.locator} into {'a free port' if self.port is None else f'port {self.port}'}"


@dataclass(frozen=True, slots=True)
class Unplug:
    """Take a link of ours out of a port, and close it."""

    locator: Locator
    port: int

    def __str__(self) -> str:
        return f"{self.locator} out of port {self.port}"


@dataclass(frozen=True, slots=True)
class Listen:
    """Open a listener; of WireGuard, for these peers beside those in files of its own."""

    locator: Locator
    peers: tuple[PeerSection, ...] = ()

    def __str__(self) -> str:
        return f"listening on {self.locator}"


@dataclass(frozen=True, slots=True)
class CloseListener:
    """Close a listener, with all its links."""

    locator: Locator

    def __str__(self) -> str:
        return f"no longer listening on {self.locator}"


@dataclass(frozen=True, slots=True)
class RevokePeer:
    """Take out a WireGuard peer that the configuration named; what else the listener has goes on."""

    listener: Locator
    peer: PeerSection

    def __str__(self) -> str:
        return f"peer {self.peer.label} out of {self.listener}"


@dataclass(frozen=True, slots=True)
class AdmitPeer:
    """Let a WireGuard peer in at a listener."""

    listener: Locator
    peer: PeerSection

    def __str__(self) -> str:
        return f"peer {self.peer.label} into {self.listener}"


@dataclass(frozen=True, slots=True)
class LoadPlugin:
    """Load a plugin by its name or file."""

    name: str

    def __str__(self) -> str:
        return f"plugin {self.name}"


@dataclass(frozen=True, slots=True)
class UnloadPlugin:
    """Unload the plugin that was loaded by this name or file."""

    name: str

    def __str__(self) -> str:
        return f"no plugin {self.name}"


@dataclass(frozen=True, slots=True)
class Impair:
    """Put faults between a port and its links, or take them away."""

    port: int
    settings: WireSettings | None

    def __str__(self) -> str:
        return f"faults of port {self.port}"


OuterChange = (
    Attach | Unplug | Listen | CloseListener | RevokePeer | AdmitPeer | LoadPlugin | UnloadPlugin | Impair
)
Change = CoreChange | OuterChange

Departure = UnloadPlugin | Unplug | CloseListener | RevokePeer
"""What goes, before anything else is changed: it takes its time, in which commands may change more."""
