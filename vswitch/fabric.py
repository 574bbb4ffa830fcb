"""The fabric: carries trains from endpoint to endpoint as the bridge decides.

The bridge says what goes where, the links carry; this is the loop between the two, and the place where a
link becomes an endpoint and stops being one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from vport.links.base import Link, Sink
    from vport.train import Train
    from vswitch.bridge import Bridge
    from vswitch.events import Event
    from vswitch.ports import Endpoint, Port


class Fabric:
    """Joins links through a bridge.

    Args:
        bridge: decides.
        clock: gives the time in seconds, for the address table.
        publish: is handed what happened, after each batch of frames and each change.
    """

    def __init__(
        self, bridge: Bridge, clock: Callable[[], float], publish: Callable[[list[Event]], None]
    ) -> None:
        self.bridge = bridge
        self.clock = clock
        self._publish = publish
        self._places: dict[Endpoint, Place] = {}
        self.unflushed: dict[object, Link | Sink] = {}  # what was given something, one for each outlet

    def attach(self, link: Link, *, port: int | None = None, user: str | None = None) -> Place:
        """Give ``link`` a place in port number ``port``, or in a free one (``links.base.Accept``).

        Raises:
            RefusedError: there is no such port or none is free.
        """
        endpoint = self.bridge.plug(link, port, user=user)
        place = self._places[endpoint] = Place(self, endpoint)
        self.publish_events()
        return place

    def detach(self, endpoint: Endpoint, reason: str) -> None:
        """Take an endpoint out of its port; nothing happens if that was done before."""
        if self._places.pop(endpoint, None) is not None:
            self.bridge.unplug(endpoint, reason)
            self.publish_events()

    def publish_events(self) -> None:
        """Hand over what happened in the bridge since the last time."""
        if self.bridge.events:
            self._publish(self.bridge.events.drain())

    def carry(self, port: Port, train: Train) -> None:
        """Relay what came in on ``port``: borrowed until ``flush``."""
        for leaving_on, leaving in self.bridge.receive(port, train, self.clock()):
            leaving_on.transmit(leaving, self.unflushed)

    def flush(self) -> None:
        """Let every link that was given something finish with it."""
        if self.unflushed:
            unflushed, self.unflushed = self.unflushed, {}
            for link in unflushed.values():
                link.flush()
        if self.bridge.events:
            self.publish_events()


class Place:
    """An endpoint's way into the fabric (``links.base.Attachment``)."""

    __slots__ = ("_fabric", "endpoint")

    def __init__(self, fabric: Fabric, endpoint: Endpoint) -> None:
        self._fabric = fabric
        self.endpoint = endpoint

    @property
    def port_number(self) -> int:
        """The number of the port."""
        return self.endpoint.port.number

    def deliver(self, train: Train) -> None:
        """Relay ``train``: borrowed until ``flush``."""
        incoming = self.endpoint.port.incoming
        if incoming is None:
            self._fabric.carry(self.endpoint.port, train)
        else:
            incoming.deliver(train)

    def flush(self) -> None:
        """Finish with everything delivered so far."""
        incoming = self.endpoint.port.incoming
        if incoming is not None:
            incoming.flush()
        self._fabric.flush()

    def detach(self, reason: str) -> None:
        """Leave the port. Idempotent."""
        self._fabric.detach(self.endpoint, reason)
