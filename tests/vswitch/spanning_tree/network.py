"""A network of switches under a virtual clock: links with latency, faults, and checks after every event.

Each node has a clock of its own (an offset), so that hellos do not fall together by accident. What is
watched:

- the graph of links whose two ends forward must be a forest after *every* event;
- broadcast frames sent at random instants travel hop by hop, with the latency of each link and the port
  states of the instant at which they pass; none may cross more links than there are switches.
"""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from vport.errors import FrameError
from vport.ethernet import MacAddress, Vid
from vswitch.spanning_tree import (
    BridgeId,
    BridgeSettings,
    PortSettings,
    SpanningTree,
    TransmitBpdu,
    decode_frame,
)
from vswitch.spanning_tree.events import Event, FlushFdb, PortStateChanged
from vswitch.vlan import PortState

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

Frames = list[tuple[int, bytes]]

HOST_PORT = 1  # every node has a station here, with no bridge behind it


class LoopError(AssertionError):
    """The active topology has a loop."""


class Node(Protocol):
    """A switch of any make: every input gives the frames that it sends."""

    bridge_id: BridgeId

    def port_up(self, port: int, now: float) -> Frames: ...
    def port_down(self, port: int, now: float) -> Frames: ...
    def receive(self, port: int, frame: bytes, now: float) -> Frames: ...
    def handle_timer(self, now: float) -> Frames: ...
    def next_deadline(self) -> float | None: ...
    def state(self, port: int) -> PortState: ...
    def root_id(self) -> BridgeId: ...


class OurNode:
    """Our own spanning tree behind the interface of a node."""

    def __init__(
        self,
        number: int,
        *,
        settings: BridgeSettings | None = None,
        vid: int = 0,
        is_tagged: bool = False,
        costs: dict[int, int] | None = None,
    ) -> None:
        self.mac = MacAddress(bytes((0x02, 0, 0, 0, number >> 8, number & 255)))
        self.settings = settings or BridgeSettings()
        self.vid = Vid(vid)
        self.is_tagged = is_tagged
        self.tree = SpanningTree(self.mac, self.vid, self.settings, 0.0)
        for port, cost in (costs or {}).items():
            self.tree.configure_port(port, PortSettings(path_cost=cost), 0.0)
        self.bridge_id = self.tree.view(0.0).bridge_id
        self.events: list[Event] = []

    def port_up(self, port: int, now: float) -> Frames:
        return self._carry_out(self.tree.port_up(port, now, is_tagged=self.is_tagged))

    def port_down(self, port: int, now: float) -> Frames:
        return self._carry_out(self.tree.port_down(port, now))

    def receive(self, port: int, frame: bytes, now: float) -> Frames:
        try:
            vid, bpdu = decode_frame(frame)
        except FrameError:
            return []
        assert vid == (self.vid if self.is_tagged else None)
        return self._carry_out(self.tree.receive(port, bpdu, now))

    def handle_timer(self, now: float) -> Frames:
        return self._carry_out(self.tree.handle_timer(now))

    def next_deadline(self) -> float | None:
        return self.tree.next_deadline()

    def state(self, port: int) -> PortState:
        return self.tree.state(port)

    def root_id(self) -> BridgeId:
        return self.tree.view(0.0).root_id

    def flushed(self) -> list[int]:
        """Ports flushed so far, in order."""
        return [port for event in self.events if isinstance(event, FlushFdb) for port in event.ports]

    def _carry_out(self, events: list[Event]) -> Frames:
        self.events += [event for event in events if not isinstance(event, TransmitBpdu)]
        last = [index for index, event in enumerate(events) if isinstance(event, PortStateChanged)]
        first = [index for index, event in enumerate(events) if isinstance(event, TransmitBpdu)]
        assert not last or not first or max(last) < min(first), "a BPDU left before a state was in force"
        return [(event.port, event.frame) for event in events if isinstance(event, TransmitBpdu)]


@dataclass(slots=True, eq=False)
class Link:
    """A cable between two ports; ``is_silent`` loses every frame without either end noticing."""

    ends: tuple[tuple[int, int], tuple[int, int]]
    latency: float
    is_up: bool = False
    is_silent: bool = False
    epoch: int = 0  # frames of an earlier life of the link are lost

    def other_end(self, end: tuple[int, int]) -> tuple[int, int]:
        return self.ends[1] if self.ends[0] == end else self.ends[0]


@dataclass(slots=True)
class Network:
    """Nodes by number, links between their ports, and what is under way."""

    random: Random
    make_node: Callable[[int], Node]
    nodes: dict[int, Node] = field(default_factory=dict)
    links: list[Link] = field(default_factory=list)
    now: float = 0.0
    skew: float = 0.02  # seconds; how far apart the two ends of a link notice that it came or went
    loops_allowed: bool = False
    loop_seconds: float = 0.0
    bpdus: int = 0
    last_state_change: float = 0.0
    longest_way: int = 0
    in_loop_since: float | None = None
    _offsets: dict[int, float] = field(default_factory=dict)
    _links_by_end: dict[tuple[int, int], Link] = field(default_factory=dict)
    _next_port: Counter[int] = field(default_factory=Counter)
    _states: dict[tuple[int, int], PortState] = field(default_factory=dict)
    _queue: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _sequence: int = 0
    _armed: dict[int, float] = field(default_factory=dict)
    _is_changed: bool = False

    # --- building ---

    def add_node(self, number: int) -> None:
        """Add and start a node, with a station on its first port."""
        self._offsets.setdefault(number, self.random.uniform(0, 1000))
        self.nodes[number] = self.make_node(number)
        self._next_port[number] = max(self._next_port[number], HOST_PORT)
        self._act(number, lambda node, now: node.port_up(HOST_PORT, now))

    def add_link(self, one: int, other: int, latency: float | None = None) -> Link:
        """Join two nodes (or one to itself) by fresh ports and bring the link up."""
        ends = (self._fresh_port(one), self._fresh_port(other))
        link = Link(ends, self.random.uniform(0.0001, 0.005) if latency is None else latency)
        self.links.append(link)
        for end in ends:
            self._links_by_end[end] = link
        self.bring_up(link)
        return link

    def _fresh_port(self, number: int) -> tuple[int, int]:
        self._next_port[number] += 1
        return number, self._next_port[number]

    # --- faults ---

    def bring_up(self, link: Link) -> None:
        """Both ends notice within `skew`."""
        link.epoch += 1
        link.is_up, link.is_silent = True, False
        epoch = link.epoch
        for number, port in link.ends:
            self._later(self.random.uniform(0, self.skew), self._notice, link, epoch, number, port, True)

    def cut(self, link: Link) -> None:
        """Frames under way are lost; both ends notice within `skew`."""
        link.epoch += 1
        link.is_up = False
        self._is_changed = True
        epoch = link.epoch
        for number, port in link.ends:
            self._later(self.random.uniform(0, self.skew), self._notice, link, epoch, number, port, False)

    def silence(self, link: Link) -> None:
        """Frames are lost from now on, and neither end notices."""
        link.is_silent = True
        self._is_changed = True

    def stop_node(self, number: int) -> None:
        """A switch dies: its links go down."""
        for link in self.links_of(number):
            if link.is_up:
                self.cut(link)
        del self.nodes[number]
        self._armed.pop(number, None)
        for end in [end for end in self._states if end[0] == number]:
            del self._states[end]

    def links_of(self, number: int) -> list[Link]:
        """Give the links that end at a node."""
        return [link for link in self.links if number in (link.ends[0][0], link.ends[1][0])]

    def _notice(self, link: Link, epoch: int, number: int, port: int, is_up: bool) -> None:
        if link.epoch != epoch or number not in self.nodes:
            return
        if is_up:
            self._act(number, lambda node, now: node.port_up(port, now))
        else:
            self._act(number, lambda node, now: node.port_down(port, now))

    # --- running ---

    def run(self, seconds: float) -> None:
        """Let virtual time pass."""
        end = self.now + seconds
        while self._queue and self._queue[0][0] <= end:
            self.now, _, action = heapq.heappop(self._queue)
            action()
            self._check()
        self.now = end

    def at(self, delay: float, action: Callable[[], None]) -> None:
        """Have something done after ``delay`` seconds."""
        self._later(delay, action)

    def _later(self, delay: float, action: Callable[..., None], *arguments: object) -> None:
        self._sequence += 1
        entry = (self.now + delay, self._sequence, lambda: action(*arguments))
        heapq.heappush(self._queue, entry)

    def _act(self, number: int, action: Callable[[Node, float], Frames]) -> None:
        node = self.nodes[number]
        for port, frame in action(node, self.now + self._offsets[number]):
            self._send((number, port), frame)
        self._note_states(number, node)
        self._arm(number, node)

    def _send(self, end: tuple[int, int], frame: bytes) -> None:
        self.bpdus += 1
        link = self._links_by_end.get(end)
        if link is not None and link.is_up and not link.is_silent:
            self._later(link.latency, self._deliver, link, link.epoch, link.other_end(end), frame)

    def _deliver(self, link: Link, epoch: int, end: tuple[int, int], frame: bytes) -> None:
        if link.epoch == epoch and not link.is_silent and end[0] in self.nodes:
            self._act(end[0], lambda node, now: node.receive(end[1], frame, now))

    def _arm(self, number: int, node: Node) -> None:
        deadline = node.next_deadline()
        if deadline is None or self._armed.get(number) == deadline:
            return
        self._armed[number] = deadline
        delay = max(0.0, deadline - self._offsets[number] - self.now)
        self._later(delay, self._timer, number, deadline)

    def _timer(self, number: int, deadline: float) -> None:
        if self._armed.get(number) != deadline:
            return
        del self._armed[number]
        node = self.nodes[number]
        for port, frame in node.handle_timer(deadline):
            self._send((number, port), frame)
        self._note_states(number, node)
        self._arm(number, node)

    # --- watching ---

    def _note_states(self, number: int, node: Node) -> None:
        for port in range(HOST_PORT, self._next_port[number] + 1):
            end = (number, port)
            state = node.state(port)
            if self._states.get(end, PortState.DISCARDING) is not state:
                self._states[end] = state
                self._is_changed = True
                if port != HOST_PORT:
                    self.last_state_change = self.now

    def active_links(self) -> list[Link]:
        """Give the links over which frames pass at this instant."""
        forwarding = PortState.FORWARDING
        return [
            link
            for link in self.links
            if link.is_up
            and not link.is_silent
            and self._states.get(link.ends[0]) is forwarding
            and self._states.get(link.ends[1]) is forwarding
        ]

    def _check(self) -> None:
        if not self._is_changed:
            return
        self._is_changed = False
        loop = find_loop(self.active_links())
        if loop is not None and not self.loops_allowed:
            raise LoopError(f"t={self.now:.4f}: {loop.ends} closes a loop")
        if loop is not None and self.in_loop_since is None:
            self.in_loop_since = self.now
        elif loop is None and self.in_loop_since is not None:
            self.loop_seconds += self.now - self.in_loop_since
            self.in_loop_since = None

    def flood(self, number: int) -> None:
        """Send a broadcast from the station of a node."""
        if number in self.nodes:
            self._relay((number, HOST_PORT), [number])

    def _relay(self, ingress: tuple[int, int], way: list[int]) -> None:
        self.longest_way = max(self.longest_way, len(way))
        if len(way) > 2 * len(self._offsets):
            raise LoopError(f"t={self.now:.4f}: a frame went {way}")
        number = ingress[0]
        node = self.nodes[number]
        if node.state(ingress[1]) is not PortState.FORWARDING:
            return
        for port in range(HOST_PORT + 1, self._next_port[number] + 1):
            link = self._links_by_end[number, port]
            if port == ingress[1] or node.state(port) is not PortState.FORWARDING:
                continue
            if link.is_up and not link.is_silent:
                self._later(link.latency, self._arrive, link, link.epoch, link.other_end((number, port)), way)

    def _arrive(self, link: Link, epoch: int, end: tuple[int, int], way: list[int]) -> None:
        if link.epoch == epoch and not link.is_silent and end[0] in self.nodes:
            self._relay(end, [*way, end[0]])

    # --- verdicts ---

    def components(self, links: list[Link]) -> list[set[int]]:
        """Give the sets of nodes that these links join."""
        groups = {number: {number} for number in self.nodes}
        for link in links:
            one, other = groups[link.ends[0][0]], groups[link.ends[1][0]]
            if one is not other:
                one |= other
                groups.update(dict.fromkeys(other, one))
        return [set(group) for group in {id(group): group for group in groups.values()}.values()]

    def physical_components(self) -> list[set[int]]:
        """Give the sets of nodes between which frames could pass at all."""
        links = [link for link in self.links if link.is_up and not link.is_silent]
        return self.components(links)

    def assert_converged(self) -> None:
        """One root per part of the network, every station reachable, no loop."""
        assert find_loop(self.active_links()) is None
        physical = sorted(self.physical_components(), key=min)
        active = sorted(self.components(self.active_links()), key=min)
        assert active == physical, f"t={self.now:.3f}: frames pass within {active}, cables join {physical}"
        for group in physical:
            roots = {self.nodes[number].root_id() for number in group}
            assert roots == {min(self.nodes[number].bridge_id for number in group)}
        for number, node in self.nodes.items():
            assert node.state(HOST_PORT) is PortState.FORWARDING, f"station of {number} is cut off"


def find_loop(links: list[Link]) -> Link | None:
    """Give a link that closes a loop among these, if there is one."""
    parent: dict[int, int] = {}

    def find(number: int) -> int:
        while (up := parent.get(number, number)) != number:
            number = up
        return number

    for link in links:
        one, other = find(link.ends[0][0]), find(link.ends[1][0])
        if one == other:
            return link
        parent[one] = other
    return None


def random_links(random: Random, count: int, extra: int) -> list[tuple[int, int]]:
    """Give the links of a connected graph of nodes 1 to ``count``: a shallow tree, and ``extra`` more."""
    links = [(random.randint(max(1, number // 3), number - 1), number) for number in range(2, count + 1)]
    links += [tuple(random.choices(range(1, count + 1), k=2)) for _ in range(extra)]  # type: ignore[misc]
    return links
