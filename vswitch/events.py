"""What the core tells its shell: frozen events in a bounded queue, in the order in which they happened.

The shell drains the queue after each batch of frames and after each command, and turns the events into
log lines and into debug messages for the sessions that asked for them.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vswitch.topology_events import TopologyEvent

if TYPE_CHECKING:
    from vport.ethernet import MacAddress, Vid
    from vswitch.ports import PortNumber

QUEUE_LIMIT: Final = 4096  # events between two drains; more than one batch of frames can cause


@dataclass(frozen=True, slots=True, kw_only=True)
class FdbEntryAdded:
    """A station was learned or configured."""

    mac: MacAddress
    vid: Vid
    port: PortNumber


@dataclass(frozen=True, slots=True, kw_only=True)
class FdbEntryRemoved:
    """A station was forgotten: aged, flushed, evicted or deleted."""

    mac: MacAddress
    vid: Vid
    port: PortNumber


@dataclass(frozen=True, slots=True, kw_only=True)
class StationMoved:
    """A station showed up on another port, and its entry followed."""

    mac: MacAddress
    vid: Vid
    old: PortNumber
    new: PortNumber


@dataclass(frozen=True, slots=True, kw_only=True)
class StationStrayed:
    """A frame of a station came in on another port while it was heard on its own: a loop, or a copy.

    In a loop every frame is such a one; only a sample of them is told.
    """

    mac: MacAddress
    vid: Vid
    port: PortNumber
    seen: PortNumber


@dataclass(frozen=True, slots=True, kw_only=True)
class PortAdded:
    """A port number came into use."""

    port: PortNumber


@dataclass(frozen=True, slots=True, kw_only=True)
class PortRemoved:
    """The last endpoint of a port left, or the port was deleted."""

    port: PortNumber


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointAdded:
    """A link was plugged into a port."""

    port: PortNumber
    endpoint: int
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointRemoved:
    """A link was unplugged."""

    port: PortNumber
    endpoint: int
    description: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRefused:
    """A link was kept out of a port by its access rule, or by the user of what is plugged in there."""

    port: PortNumber
    description: str
    reason: str


Event = (
    FdbEntryAdded
    | FdbEntryRemoved
    | StationMoved
    | StationStrayed
    | PortAdded
    | PortRemoved
    | EndpointAdded
    | EndpointRemoved
    | TopologyEvent
    | AccessRefused
)


class EventQueue:
    """A bounded queue: when nobody drains it, the newest events are lost and counted.

    Attributes:
        lost: how many events did not fit since the queue was made.
    """

    __slots__ = ("_events", "lost")

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self.lost = 0

    def put(self, event: Event) -> None:
        """Append an event."""
        if len(self._events) >= QUEUE_LIMIT:
            self.lost += 1
        else:
            self._events.append(event)

    def drain(self) -> list[Event]:
        """Take all events, oldest first."""
        events = list(self._events)
        self._events.clear()
        return events

    def __bool__(self) -> bool:
        return bool(self._events)
