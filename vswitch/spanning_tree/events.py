"""What an instance tells its owner: frozen values, in the order in which they must be carried out.

``Change`` is what an operator wants to know too: ``vswitch.topology_events`` adds the VLAN.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vswitch.spanning_tree.bpdu import PortRole
    from vswitch.spanning_tree.priority import BridgeId
    from vswitch.vlan import PortState


class BlockReason(StrEnum):
    """Why a port that is up does not forward, for the operator."""

    ROOT_GUARD = "root-guard"  # better information came from a port that must not lead to the root
    REFLECTED = "own-bpdu-reflected"  # the link sends back what we send
    REDUNDANT = "redundant"  # alternate or backup: another way is in use
    NEGOTIATING = "negotiating"  # designated or root, waiting for agreement or for a timer


@dataclass(frozen=True, slots=True, kw_only=True)
class TransmitBpdu:
    """Send this frame on this port, whatever the port's state; it is complete, with its tag if any."""

    port: int
    frame: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class PortStateChanged:
    """The relay must treat the port this way from now on; closing ports come before opening ones."""

    port: int
    state: PortState


@dataclass(frozen=True, slots=True, kw_only=True)
class PortRoleChanged:
    """The port plays another part."""

    port: int
    role: PortRole


@dataclass(frozen=True, slots=True, kw_only=True)
class FlushFdb:
    """Forget the dynamic entries of this instance's VLAN that point to these ports (802.1D-2004 17.19.8)."""

    ports: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RootChanged:
    """Another root, or another way to it. ``root_port`` is ``None`` on the root itself."""

    root_id: BridgeId
    root_port: int | None
    root_path_cost: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TopologyChanged:
    """The active topology changed; ``port`` is where, ``is_received`` whether a neighbour told us."""

    port: int
    is_received: bool


Change = PortStateChanged | PortRoleChanged | RootChanged | TopologyChanged
Event = Change | FlushFdb | TransmitBpdu
