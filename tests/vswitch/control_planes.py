"""Switches with their control planes, joined by cables in memory, under one clock that is moved by hand."""

from __future__ import annotations

from collections import deque
from random import Random
from typing import TYPE_CHECKING

from tests.vswitch.links_in_memory import RecordingLink
from vport.ethernet import MacAddress, Vid
from vport.train import Train, lone
from vswitch.bridge import Bridge
from vswitch.control_plane import ControlPlane
from vswitch.fabric import Fabric
from vswitch.overseer import Overseer, transmit
from vswitch.spanning_tree import BridgeSettings

if TYPE_CHECKING:
    from vswitch.events import Event
    from vswitch.fabric import Place
    from vswitch.ports import Port
    from vswitch.vlan import PortState

DELIVERIES: int = 20_000  # frames between two instants; above, something goes round


class Cable(RecordingLink):
    """An end of a cable: what is transmitted waits for its turn in the network."""

    def __init__(self, network: Network, module: str) -> None:
        super().__init__()
        self.module = module
        self.network = network
        self.place: Place | None = None
        self.far: Cable | None = None

    def transmit(self, train: Train) -> None:
        super().transmit(train)
        if self.far is not None:
            self.network.waiting.extend((self.far, bytes(frame)) for frame in train.frames())


class Switch:
    """A switch without Trio."""

    def __init__(self, network: Network, number: int, settings: BridgeSettings) -> None:
        self.network = network
        self.bridge = Bridge()
        self.mac = MacAddress(bytes((2, 0, 0, 0, 1, number)))
        self.plane = ControlPlane(self.bridge, self.mac, Random(number), settings, 0.0)
        self.fabric = Fabric(self.bridge, lambda: network.now, self._publish)
        Overseer(self.fabric, self.plane)
        self.events: list[Event] = []

    def _publish(self, events: list[Event]) -> None:
        self.plane.protection.observe(events, self.network.now)
        self.events += events + self.bridge.events.drain()

    def plug(self, module: str = "test", port: int | None = None) -> Cable:
        """Plug one end of a cable in; its other end is loose."""
        cable = Cable(self.network, module)
        cable.place = self.fabric.attach(cable, port=port)
        return cable

    def port(self, number: int) -> Port:
        """Give a port."""
        found = self.bridge.ports.get(number)
        assert found is not None
        return found

    def state(self, number: int, vid: int = 0) -> PortState:
        """Give what a port does in a VLAN."""
        return self.bridge.vlans[Vid(vid)].state(self.port(number))

    def send(self, number: int, frame: bytes) -> None:
        """Let a frame in on a port, from the first thing plugged in there."""
        place = next(iter(self.port(number).endpoints))
        assert isinstance(place.link, Cable)
        assert place.link.place is not None
        place.link.place.deliver(lone(frame))
        place.link.place.flush()

    def events_of(self, *kinds: type) -> list[Event]:
        """Take the events of these kinds so far, and forget all."""
        found = [event for event in self.events if isinstance(event, kinds)]
        self.events.clear()
        return found


class Network:
    """Switches and cables."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waiting: deque[tuple[Cable, bytes]] = deque()
        self.switches: list[Switch] = []

    def switch(self, *, fstp: bool = True, priority: int = 0x8000) -> Switch:
        """Add a switch."""
        made = Switch(self, len(self.switches) + 1, BridgeSettings(priority=priority))
        self.switches.append(made)
        if fstp:
            made.plane.topology.enable(self.now)
        return made

    def join(self, one: Switch, other: Switch, module: str = "test") -> tuple[Cable, Cable]:
        """Put a cable between two switches."""
        ends = one.plug(module), other.plug(module)
        ends[0].far, ends[1].far = ends[1], ends[0]
        return ends

    def cut(self, end: Cable) -> None:
        """Take a cable out at both ends."""
        for cable in (end, end.far):
            if cable is not None and cable.place is not None:
                cable.place.detach("cut")
                cable.far = None
        self.deliver()

    def deliver(self) -> int:
        """Deliver until nothing is on its way; give how many frames that were."""
        count = 0
        while self.waiting:
            cable, frame = self.waiting.popleft()
            count += 1
            assert count < DELIVERIES, "frames go round"
            if cable.place is not None and cable.place.endpoint in cable.place.endpoint.port.endpoints:
                cable.place.deliver(lone(frame))
                cable.place.flush()
        return count

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        self.deliver()
        while True:
            deadlines = [(switch.plane.next_deadline(), switch) for switch in self.switches]
            due = min((deadline for deadline, _ in deadlines if deadline is not None), default=end + 1)
            if due > end:
                break
            self.now = max(self.now, due)
            for switch in self.switches:
                transmit(switch.plane.handle_timer(self.now))
                switch.fabric.publish_events()
            self.deliver()
        self.now = end
