"""What spanning tree and the guards tell: part of ``vswitch.events.Event``."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vport.ethernet import MacAddress, Vid
    from vswitch.guards.mac_flap import MacFlapping
    from vswitch.guards.mac_limit import LimitExceeded
    from vswitch.guards.port_guards import Shut, ShutReason
    from vswitch.guards.storm_control import StormKind
    from vswitch.ports import PortNumber
    from vswitch.spanning_tree import Change


class OpenCause(StrEnum):
    """Why a port that a guard had shut works again."""

    TIMER = "its pause is over"
    OPERATOR = "the operator opened it"
    LINK_LEFT = "nothing is plugged in any more"


# --- spanning tree ---


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeChanged:
    """Something changed in a VLAN's tree: a port's state or role, the root, the active topology."""

    vid: Vid
    change: Change


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighbourHeard:
    """The first BPDU after a silence came in on a port."""

    port: PortNumber
    vid: Vid


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighbourLost:
    """BPDUs come in no more on a port, or its link has gone."""

    port: PortNumber
    vid: Vid


# --- guards ---


@dataclass(frozen=True, slots=True, kw_only=True)
class PortShutDown:
    """A guard shut a port."""

    port: PortNumber
    shut: Shut


@dataclass(frozen=True, slots=True, kw_only=True)
class PortOpened:
    """A port that a guard had shut works again."""

    port: PortNumber
    reason: ShutReason
    cause: OpenCause


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopFound:
    """What left one port came back on another, or on the same; one of them was shut."""

    sent_on: PortNumber
    received_on: PortNumber
    vid: Vid
    shut: PortNumber


@dataclass(frozen=True, slots=True, kw_only=True)
class StationFlaps:
    """A station is seen on several ports in turn."""

    flapping: MacFlapping

    @property
    def mac(self) -> MacAddress:
        """The station's address."""
        return self.flapping.mac


@dataclass(frozen=True, slots=True, kw_only=True)
class StormBegan:
    """Storm control discards what a port floods."""

    port: PortNumber
    kind: StormKind
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StormEnded:
    """A port floods no more than it may; ``discarded`` frames were lost since it began."""

    port: PortNumber
    kind: StormKind
    discarded: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressLimitReached:
    """An address beyond a port's limit was seen."""

    port: PortNumber
    exceeded: LimitExceeded


@dataclass(frozen=True, slots=True, kw_only=True)
class BpdusRefused:
    """BPDUs came in on a port with root guard while no spanning tree runs, and were discarded."""

    port: PortNumber
    count: int


TopologyEvent = (
    TreeChanged
    | NeighbourHeard
    | NeighbourLost
    | PortShutDown
    | PortOpened
    | LoopFound
    | StationFlaps
    | StormBegan
    | StormEnded
    | AddressLimitReached
    | BpdusRefused
)
