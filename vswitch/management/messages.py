"""Messages that a switch sends unasked: the categories, their tags, and how each event reads.

A session asks for categories with ``debug/add``; what it then gets is VDE's text (specification: VDE
management, section 1.3), field by field, since programs parse it. ``describe`` is the one place where the
core's events become text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vport.ethernet import format_mac
from vport.shell.message import Category, Message
from vswitch.events import (
    AccessRefused,
    EndpointAdded,
    EndpointRemoved,
    FdbEntryAdded,
    FdbEntryRemoved,
    PortAdded,
    PortRemoved,
    StationMoved,
    StationStrayed,
)
from vswitch.management.topology_messages import GUARD_CATEGORIES, TREE_CATEGORIES, describe_topology

if TYPE_CHECKING:
    from vport.ethernet import MacAddress, Vid
    from vswitch.events import Event


FDB_ADDED: Final = Category("hash/+", 0o011, "hash: a station was learned")
FDB_REMOVED: Final = Category("hash/-", 0o012, "hash: a station was forgotten")
STATION_MOVED: Final = Category("hash/move", 0o013, "hash: a station moved to another port")
PORT_ADDED: Final = Category("port/+", 0o021, "new port")
PORT_REMOVED: Final = Category("port/-", 0o022, "port without endpoints")
DESCRIPTION_SET: Final = Category("port/descr", 0o023, "description of an endpoint")
ACCESS_REFUSED: Final = Category("port/refused", 0o024, "access to a port refused")
ENDPOINT_ADDED: Final = Category("port/ep/+", 0o031, "new endpoint")
ENDPOINT_REMOVED: Final = Category("port/ep/-", 0o032, "endpoint gone")

CATEGORIES: Final = (
    FDB_ADDED,
    FDB_REMOVED,
    STATION_MOVED,
    *TREE_CATEGORIES,
    PORT_ADDED,
    PORT_REMOVED,
    DESCRIPTION_SET,
    ENDPOINT_ADDED,
    ENDPOINT_REMOVED,
    *GUARD_CATEGORIES,
    ACCESS_REFUSED,
)
"""What sessions can ask for, in the order of ``debug/list``. ``LOST`` comes unasked with any of them."""


def describe(event: Event) -> list[Message]:
    """Say what happened, in the messages that VDE sends for it."""
    match event:
        case FdbEntryAdded():
            return [Message(FDB_ADDED, _station(event.mac, event.vid, event.port))]
        case FdbEntryRemoved():
            return [Message(FDB_REMOVED, _station(event.mac, event.vid, event.port))]
        case StationMoved():
            text = f"{_station(event.mac, event.vid, event.old)} -> Port {event.new}"
            return [Message(STATION_MOVED, text)]
        case PortAdded():
            return [Message(PORT_ADDED, f"{event.port:02d}")]
        case PortRemoved():
            return [Message(PORT_REMOVED, f"{event.port:02d}")]
        case EndpointAdded():
            place = _endpoint(event)
            return [
                Message(ENDPOINT_ADDED, place),
                Message(DESCRIPTION_SET, f'{place} -> "{event.description}"'),
            ]
        case EndpointRemoved():
            return [Message(ENDPOINT_REMOVED, _endpoint(event))]
        case StationStrayed():
            return []  # a sample for the watch over flapping stations, which says it in its own words
        case AccessRefused():
            return [
                Message(ACCESS_REFUSED, f'Port {event.port:02d} -> "{event.description}": {event.reason}')
            ]
        case _:
            return [describe_topology(event)]


def _station(mac: MacAddress, vid: Vid, port: int) -> str:
    """Name a station. The VLAN's two bytes stand low before high, as VDE has always written them."""
    return f"{format_mac(mac)} VLAN {vid & 0xFF:02x}:{vid >> 8:02x} Port {port}"


def _endpoint(event: EndpointAdded | EndpointRemoved) -> str:
    return f"Port {event.port:02d} FD {event.endpoint:2d}"
