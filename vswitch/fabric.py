"""The fabric: carries trains from endpoint to endpoint as the bridge decides.

The bridge says what goes where, the links carry; this is the loop between the two, and the place where a
link becomes an endpoint and stops being one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from vport.links.base import Link, Listener, Sink
    from vport.profile import PortProfile
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

    Attributes:
        attend: is called before that, for what the bridge has for the switch itself.
        relay: decides what leaves where: the bridge itself, or whoever looks at frames before and behind it.
    """

    def __init__(
        self, bridge: Bridge, clock: Callable[[], float], publish: Callable[[list[Event]], None]
    ) -> None:
        self.bridge = bridge
        self.clock = clock
        self.relay = bridge.receive
        self._publish = publish
        self._places: dict[Endpoint, Place] = {}
        self.attend: Callable[[], None] = lambda: None
        self.unflushed: dict[object, Link | Sink] = {}  # what was given something, one for each outlet

    def attach(
        self,
        link: Link,
        *,
        port: int | None = None,
        user: str | None = None,
        listener: Listener | None = None,
        by_operator: bool = False,
    ) -> Place:
        """Give ``link`` a place in port number ``port``, or in a free one (``links.base.Accept``).

        Args:
            link: what to plug in.
            port: the number that it asks for.
            user: whom it belongs to, where that is known.
            listener: what made the link, if anything did.
            by_operator: no access rule is asked.

        Raises:
            RefusedError: there is no such port, none is free, or ``user`` may not use it.
        """
        try:
            endpoint = self.bridge.plug(link, port, user=user, by_operator=by_operator)
            self.bridge.present(endpoint.port, self.clock())
            place = self._places[endpoint] = Place(self, endpoint, listener)
        finally:
            self.publish_events()
        return place

    def reserve(self, profile: PortProfile) -> PortProfile:
        """Keep a port for the links with a profile (``links.base.PortKeeper``)."""
        keeper = self.bridge.reserve(profile).keeper
        assert keeper is not None
        return keeper

    def release(self, profile: PortProfile) -> None:
        """Give a kept port back (``links.base.PortKeeper``)."""
        port = None if profile.number is None else self.bridge.ports.get(profile.number)
        if port is not None and port.keeper == profile:
            self.bridge.release(port)

    def eject(self, endpoint: Endpoint, reason: str) -> None:
        """Take an endpoint out of its port and close its link."""
        self.detach(endpoint, reason)
        endpoint.link.close()

    def made_by(self, listener: Listener) -> list[Endpoint]:
        """Find the endpoints whose links ``listener`` made."""
        return [endpoint for endpoint, place in self._places.items() if place.listener is listener]

    def detach(self, endpoint: Endpoint, reason: str) -> None:
        """Take an endpoint out of its port; nothing happens if that was done before."""
        if self._places.pop(endpoint, None) is not None:
            self.bridge.unplug(endpoint, reason)
            self.publish_events()

    def publish_events(self) -> None:
        """Hand over what happened in the bridge since the last time."""
        self.attend()
        if self.bridge.events:
            self._publish(self.bridge.events.drain())

    def carry(self, port: Port, train: Train) -> None:
        """Relay what came in on ``port``: borrowed until ``flush``."""
        for leaving_on, leaving in self.relay(port, train, self.clock()):
            leaving_on.transmit(leaving, self.unflushed)

    def flush(self) -> None:
        """Let every link that was given something finish with it; also what came of that."""
        while self.unflushed:
            unflushed, self.unflushed = self.unflushed, {}
            for link in unflushed.values():
                link.flush()
        bridge = self.bridge
        if bridge.arrivals or bridge.storms or bridge.stale:
            self.publish_events()
        elif bridge.events:
            self._publish(bridge.events.drain())


class Place:
    """An endpoint's way into the fabric (``links.base.Attachment``)."""

    __slots__ = ("_fabric", "endpoint", "listener")

    def __init__(self, fabric: Fabric, endpoint: Endpoint, listener: Listener | None) -> None:
        self._fabric = fabric
        self.endpoint = endpoint
        self.listener = listener

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
