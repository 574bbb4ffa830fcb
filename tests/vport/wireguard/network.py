"""Devices on a network that exists only here: virtual time, and a seeded generator for what goes wrong."""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from vport.train import Train
from vport.wireguard.device import Device
from vport.wireguard.endpoint import Endpoint
from vport.wireguard.events import ControlReceived, FramesReceived, PacketsReceived, Transmit
from vport.wireguard.keys import PrivateKey
from vport.wireguard.settings import PeerSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from vport.wireguard.events import Event
    from vport.wireguard.peer import Peer

UNIX_NS = 1_700_000_000_000_000_000


@dataclass(frozen=True)
class Datagram:
    """One that was put on the wire, whether or not it arrived."""

    at: float
    source: Endpoint
    destination: Endpoint
    data: bytes

    @property
    def kind(self) -> int:
        return self.data[0]


@dataclass
class Faults:
    """Probabilities for each datagram, and a random further delay of up to ``reorder`` seconds."""

    loss: float = 0.0
    duplicate: float = 0.0
    corrupt: float = 0.0
    reorder: float = 0.0


@dataclass
class Network:
    """Carries datagrams between nodes with a delay of ``delay`` seconds each way."""

    seed: int = 0
    delay: float = 0.01
    faults: Faults = field(default_factory=Faults)
    now: float = 1000.0
    wire: list[Datagram] = field(default_factory=list)
    keep_wire: bool = True

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.nodes: dict[tuple[str, int], Node] = {}
        self.drop: Callable[[Datagram], bool] = lambda _: False
        self._flying: list[tuple[float, int, Datagram, int]] = []
        self._ticket = 0

    def node(self, host: str, **arguments: Any) -> Node:
        node = Node(self, Endpoint(host, 51820), **arguments)
        self.nodes[host, 51820] = node
        return node

    def post(self, source: Endpoint, transmit: Transmit) -> None:
        """Put datagrams on the wire: a train stays together unless something befalls it."""
        destination = transmit.endpoint
        data, size = bytes(transmit.data), transmit.segment_size
        if self.faults == Faults():
            self._fly(Datagram(self.now, source, destination, data), size, self.delay)
            return
        for at in range(0, len(data), size):
            datagram = Datagram(self.now, source, destination, data[at : at + size])
            for _ in range(1 + (self.random.random() < self.faults.duplicate)):
                if self.random.random() >= self.faults.loss:
                    delay = self.delay + self.random.random() * self.faults.reorder
                    self._fly(self._maybe_corrupt(datagram), size, delay)

    def _maybe_corrupt(self, datagram: Datagram) -> Datagram:
        if self.random.random() >= self.faults.corrupt:
            return datagram
        data = bytearray(datagram.data)
        data[self.random.randrange(len(data))] ^= self.random.randrange(1, 256)
        return replace(datagram, data=bytes(data))

    def inject(self, data: bytes, source: Endpoint, destination: Endpoint) -> None:
        """Deliver a datagram that nobody of ours sent, at once."""
        self._arrive(Datagram(self.now, source, destination, data), 0)

    def _fly(self, datagram: Datagram, size: int, delay: float) -> None:
        if self.keep_wire:
            self.wire.append(datagram)
        if not self.drop(datagram):
            self._ticket += 1
            heapq.heappush(self._flying, (self.now + delay, self._ticket, datagram, size))

    def _arrive(self, datagram: Datagram, size: int) -> None:
        node = self.nodes.get((datagram.destination.host, datagram.destination.port))
        if node is not None:
            node.perform(node.device.receive(datagram.data, datagram.source, self.now, size))

    def run(self, seconds: float) -> None:
        """Let time pass: deliver what is due and fire timers, in the order of time."""
        end = self.now + seconds
        while (step := self._next_step()) <= end:
            self.now = max(self.now, step)
            if self._flying and self._flying[0][0] <= self.now:
                _, _, datagram, size = heapq.heappop(self._flying)
                self._arrive(datagram, size)
                continue
            for node in self.nodes.values():
                deadline = node.device.next_deadline()
                if deadline is not None and deadline <= self.now:
                    node.perform(node.device.handle_timer(self.now))
        self.now = end

    def _next_step(self) -> float:
        deadlines = [node.device.next_deadline() for node in self.nodes.values()]
        flying = [self._flying[0][0]] if self._flying else []
        return min(
            [deadline for deadline in deadlines if deadline is not None] + flying, default=float("inf")
        )

    def kinds(self, since: float = 0.0) -> list[int]:
        """Types of the messages on the wire, in order."""
        return [datagram.kind for datagram in self.wire if datagram.at >= since]


class Node:
    """A device at an address, with what it told so far."""

    def __init__(self, network: Network, endpoint: Endpoint, key: PrivateKey | None = None) -> None:
        self.network = network
        self.endpoint = endpoint
        self.random = random.Random(f"{network.seed} {endpoint}")
        self.key = key or PrivateKey.generate(self.random.randbytes)
        self.unix_ns = UNIX_NS
        self.device = Device(self.key, entropy=self.random.randbytes, now=network.now, unix_ns=UNIX_NS)
        self.events: list[tuple[float, Event]] = []
        self.frames: list[bytes] = []
        self.packets: list[bytes] = []
        self.controls: list[bytes] = []

    def knows(self, other: Node, *, endpoint: Endpoint | None = None, **settings: Any) -> Peer:
        """Make ``other`` a peer; where it is, is known unless ``endpoint`` is said to be None."""
        return self.device.add_peer(
            PeerSettings(public_key=other.key.public, **settings), self.network.now, endpoint
        )

    def perform(self, events: Iterable[Event]) -> None:
        for event in events:
            if isinstance(event, Transmit):
                self.network.post(self.endpoint, event)
            elif isinstance(event, FramesReceived):
                self.frames += [bytes(frame) for train in event.trains for frame in train.frames()]
            elif isinstance(event, PacketsReceived):
                self.packets += [bytes(packet) for packet in event.packets]
            elif isinstance(event, ControlReceived):
                self.controls.append(event.body)
            else:
                self.events.append((self.network.now, event))

    def send(self, peer: Peer, *frames: bytes) -> None:
        trains = [Train(frame, len(frame)) for frame in frames]
        self.perform(self.device.send(peer, trains, self.network.now))

    def told(self) -> list[Event]:
        """What changed, without times, and forget it."""
        events = [event for _, event in self.events]
        self.events.clear()
        return events

    def move(self, host: str, port: int = 51820) -> None:
        """Go to another address."""
        self.network.nodes.pop((self.endpoint.host, self.endpoint.port), None)
        self.endpoint = Endpoint(host, port)
        self.network.nodes[host, port] = self


def frame(number: int, size: int = 60) -> bytes:
    """A frame that tells which one it is."""
    return number.to_bytes(8, "big").rjust(14, b"\2") + bytes(size - 14)


def couple(network: Network, **settings: Any) -> tuple[Node, Node, Peer, Peer]:
    """Two nodes that know each other: (alice, bob, bob as alice's peer, alice as bob's peer)."""
    alice, bob = network.node("10.0.0.1"), network.node("10.0.0.2")
    return (
        alice,
        bob,
        alice.knows(bob, endpoint=bob.endpoint, **settings),
        bob.knows(alice, endpoint=alice.endpoint, **settings),
    )
