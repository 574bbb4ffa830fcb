"""Rapid spanning tree (802.1D-2004 clause 17), pure: one `SpanningTree` per VLAN.

``instance`` is what the bridge uses, ``events`` what it gets, ``settings`` what an operator sets, ``view``
what one sees. ``bpdu`` is the wire format, ``priority`` the order of identifiers, ``vde`` what differs
beside a ``vde_switch``. Each state machine is a table in the file named after it; ``machine`` walks them,
``variables`` is what they read and write.
"""

from vswitch.spanning_tree.bpdu import Bpdu, PortRole, decode_frame, encode_frame, is_bpdu_address
from vswitch.spanning_tree.events import (
    BlockReason,
    Change,
    Event,
    FlushFdb,
    PortRoleChanged,
    PortStateChanged,
    RootChanged,
    TopologyChanged,
    TransmitBpdu,
)
from vswitch.spanning_tree.instance import SpanningTree
from vswitch.spanning_tree.priority import BridgeId, PortId, PriorityVector, format_bridge_id
from vswitch.spanning_tree.settings import BridgeSettings, PortSettings
from vswitch.spanning_tree.view import InstanceView, PortView

__all__ = [
    "BlockReason",
    "Bpdu",
    "BridgeId",
    "BridgeSettings",
    "Change",
    "Event",
    "FlushFdb",
    "InstanceView",
    "PortId",
    "PortRole",
    "PortRoleChanged",
    "PortSettings",
    "PortStateChanged",
    "PortView",
    "PriorityVector",
    "RootChanged",
    "SpanningTree",
    "TopologyChanged",
    "TransmitBpdu",
    "decode_frame",
    "encode_frame",
    "format_bridge_id",
    "is_bpdu_address",
]
