"""The fabric: carries trains from endpoint to endpoint as the bridge decides.

The bridge says what goes where, the links carry; this is the loop between the two, and the place where a
link becomes an endpoint and stops being one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from vport.links.base import Link
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
    """

    def __init__(
        self, bridge: Bridge, clock: Callable[[], float], publish: Callable[[list[Event]], None]
    ) -> None:
        self.bridge = bridge
        self.clock = clock
        self._publish = publish
        self._places: dict[Endpoint, Place] = {}
        self.unflushed: set[Port] = set()

    def attach(self, link: Link, *, port: int | None = None, user: str | None = None) -> Place:
        """Give ``link`` a place in port number ``port``, or in a free one (``links.base.Accept``).

        Raises:
            RefusedError: there is no such port or none is free.
        """
        endpoint = self.bridge.plug(link, port, user=user)
        self.bridge.present(endpoint.port, self.clock())
        place = self._places[endpoint] = Place(self, endpoint)
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

    def detach(self, endpoint: Endpoint, reason: str) -> None:
        """Take an endpoint out of its port; nothing happens if that was done before."""
        if self._places.pop(endpoint, None) is not None:
            self.bridge.unplug(endpoint, reason)
            self.publish_events()

    def publish_events(self) -> None:
        """Hand over what happened in the bridge since the last time."""
        if self.bridge.events:
            self._publish(self.bridge.events.drain())

    def flush(self) -> None:
        """Let every link that was given something finish with it."""
        while self.unflushed:
            for endpoint in self.unflushed.pop().endpoints:
                endpoint.link.flush()
        if self.bridge.events:
            self.publish_events()


class Place:
    """An endpoint's way into the fabric (``links.base.Attachment``)."""

    __slots__ = ("_fabric", "endpoint")

    def __init__(self, fabric: Fabric, endpoint: Endpoint) -> None:
        self._fabric = fabric
        self.endpoint = endpoint

    def deliver(self, train: Train) -> None:
        """Relay ``train``: borrowed until ``flush``."""
        fabric = self._fabric
        for port, leaving in fabric.bridge.receive(self.endpoint.port, train, fabric.clock()):
            port.transmit(leaving)
            fabric.unflushed.add(port)

    def flush(self) -> None:
        """Finish with everything delivered so far."""
        self._fabric.flush()

    def detach(self, reason: str) -> None:
        """Leave the port. Idempotent."""
        self._fabric.detach(self.endpoint, reason)
