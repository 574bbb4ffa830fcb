"""A model of a classic spanning tree bridge (802.1D-1998 clause 8), to build mixed networks with.

Written from the old standard's procedures (8.6) and timers (8.7), apart from our own machines on purpose.
It knows BPDUs of version 0 only, and has no idea of edge ports: every port waits twice the forward delay.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

from vport.errors import FrameError
from vport.ethernet import MacAddress
from vswitch.spanning_tree.bpdu import Bpdu, ConfigBpdu, TcnBpdu, decode_frame, encode_frame
from vswitch.spanning_tree.priority import BridgeId, PortId, PriorityVector, make_bridge_id, make_port_id
from vswitch.spanning_tree.settings import Times
from vswitch.vlan import PortState

Frames = list[tuple[int, bytes]]

PATH_COST = 20_000_000
HELLO_TIME, MAX_AGE, FORWARD_DELAY = 2.0, 20.0, 15.0


@dataclass(slots=True)
class ClassicPort:
    port_id: PortId
    designated: PriorityVector
    phase: str = "blocking"  # blocking, listening, learning, forwarding
    forward_at: float = inf
    expires_at: float = inf
    acknowledge: bool = False


@dataclass(slots=True)
class ClassicNode:
    """One classic bridge."""

    number: int
    priority: int = 0x8000
    ports: dict[int, ClassicPort] = field(default_factory=dict)
    root_port: int | None = None
    hello_at: float = inf
    tcn_at: float = inf
    change_until: float = -inf
    root_says_change: bool = False
    now: float = 0.0
    outbox: Frames = field(default_factory=list)

    @property
    def mac(self) -> MacAddress:
        return MacAddress(bytes((0x02, 0, 0, 0, self.number >> 8, self.number & 255)))

    @property
    def bridge_id(self) -> BridgeId:
        return make_bridge_id(self.priority, self.mac)

    # --- the interface of a node ---

    def port_up(self, port: int, now: float) -> Frames:
        self.now = now
        port_id = make_port_id(128, port)
        own = PriorityVector(self.root_id(), self._cost(), self.bridge_id, port_id)
        self.ports[port] = ClassicPort(port_id, own)
        if self.hello_at == inf:
            self.hello_at = now + HELLO_TIME
        self._select()
        if self._is_designated(port):
            self._send_config(port)
        return self._flush()

    def port_down(self, port: int, now: float) -> Frames:
        self.now = now
        gone = self.ports.pop(port, None)
        if gone is not None:
            self._select()
            if gone.phase in ("learning", "forwarding"):
                self._detect_change()
        return self._flush()

    def receive(self, port: int, frame: bytes, now: float) -> Frames:
        self.now = now
        try:
            _, bpdu = decode_frame(frame)
        except FrameError:
            return []
        if port in self.ports:
            match bpdu:
                case ConfigBpdu():
                    self._receive_config(port, bpdu)
                case TcnBpdu():
                    if self._is_designated(port):
                        self._detect_change()
                        self.ports[port].acknowledge = True
                        self._send_config(port)
        return self._flush()

    def handle_timer(self, now: float) -> Frames:
        self.now = now
        for port in list(self.ports.values()):
            if port.expires_at <= now:  # message age timer: become designated (8.7.3)
                self._take(port)
                self._select()
            if port.forward_at <= now:
                self._advance(port)
        if self.hello_at <= now:
            self.hello_at = now + HELLO_TIME
            if self.root_port is None:
                self._generate()
        if self.tcn_at <= now:
            self._send_tcn()
        return self._flush()

    def next_deadline(self) -> float | None:
        timers = [self.hello_at, self.tcn_at]
        timers += [min(port.expires_at, port.forward_at) for port in self.ports.values()]
        return None if min(timers) == inf else min(timers)

    def state(self, port: int) -> PortState:
        phase = self.ports[port].phase if port in self.ports else "blocking"
        return {"forwarding": PortState.FORWARDING, "learning": PortState.LEARNING}.get(
            phase, PortState.DISCARDING
        )

    def root_id(self) -> BridgeId:
        if self.root_port is None:
            return self.bridge_id
        return self.ports[self.root_port].designated.root_id

    # --- the procedures ---

    def _receive_config(self, number: int, bpdu: ConfigBpdu) -> None:
        port = self.ports[number]
        is_ours = self._is_designated(number)
        if bpdu.vector < port.designated or (
            bpdu.vector.is_from_same_port(port.designated) and bpdu.vector[2] != self.bridge_id
        ):
            was_root = self.root_port is None
            port.designated = bpdu.vector
            port.expires_at = self.now + max(0.0, bpdu.times.max_age - bpdu.times.message_age)
            self._select()
            if was_root and self.root_port is not None and self.change_until > self.now:
                self._send_tcn()
            if number == self.root_port:
                self.root_says_change = bpdu.topology_change
                self._generate(bpdu.times)
                if bpdu.topology_change_ack:
                    self.tcn_at = inf
        elif is_ours:
            self._send_config(number)

    def _select(self) -> None:
        """Configuration update and port state selection (8.6.6, 8.6.11)."""
        offers = [
            (port.designated.through(PATH_COST), port.port_id, number)
            for number, port in self.ports.items()
            if port.designated.designated_bridge_id != self.bridge_id
            and port.designated.root_id < self.bridge_id
        ]
        best = min(((vector, port_id, number) for vector, port_id, number in offers if vector), default=None)
        before = self.root_port
        self.root_port = None if best is None else best[2]
        root, cost = (self.bridge_id, 0) if best is None else best[0][:2]
        for number, port in self.ports.items():
            own = PriorityVector(root, cost, self.bridge_id, port.port_id)
            if number != self.root_port and (own < port.designated or self._is_designated(number)):
                self._take(port, own)
        for number in self.ports:
            is_active = number == self.root_port or self._is_designated(number)
            self._activate(self.ports[number]) if is_active else self._block(self.ports[number])
        if self.root_port is None and before is not None:
            self.root_says_change = False
            self.tcn_at = inf
            self._detect_change()
            self._generate()

    def _take(self, port: ClassicPort, own: PriorityVector | None = None) -> None:
        port.designated = own or PriorityVector(self.root_id(), self._cost(), self.bridge_id, port.port_id)
        port.expires_at = inf

    def _activate(self, port: ClassicPort) -> None:
        if port.phase == "blocking":
            port.phase, port.forward_at = "listening", self.now + FORWARD_DELAY

    def _block(self, port: ClassicPort) -> None:
        if port.phase in ("learning", "forwarding"):
            self._detect_change()
        port.phase, port.forward_at = "blocking", inf

    def _advance(self, port: ClassicPort) -> None:
        if port.phase == "listening":
            port.phase, port.forward_at = "learning", self.now + FORWARD_DELAY
        else:
            port.phase, port.forward_at = "forwarding", inf
            self._detect_change()

    def _detect_change(self) -> None:
        if self.root_port is None:
            self.change_until = self.now + MAX_AGE + FORWARD_DELAY
        elif self.tcn_at == inf:
            self._send_tcn()

    # --- sending ---

    def _generate(self, times: Times | None = None) -> None:
        for number in self.ports:
            if self._is_designated(number):
                self._send_config(number, times)

    def _send_config(self, number: int, times: Times | None = None) -> None:
        port = self.ports[number]
        if self.root_port is None:
            sent = Times(0.0, MAX_AGE, HELLO_TIME, FORWARD_DELAY)
        elif times is not None:
            sent = times._replace(message_age=times.message_age + 1)
        else:
            left = self.ports[self.root_port].expires_at - self.now
            sent = Times(max(0.0, MAX_AGE - left) + 1, MAX_AGE, HELLO_TIME, FORWARD_DELAY)
        if sent.message_age >= sent.max_age:
            return
        is_changing = self.root_says_change if self.root_port is not None else self.change_until > self.now
        self._send(
            number,
            ConfigBpdu(
                vector=port.designated,
                times=sent,
                topology_change=is_changing,
                topology_change_ack=port.acknowledge,
            ),
        )
        port.acknowledge = False

    def _send_tcn(self) -> None:
        if self.root_port is not None:
            self._send(self.root_port, TcnBpdu())
            self.tcn_at = self.now + HELLO_TIME

    def _send(self, number: int, bpdu: Bpdu) -> None:
        self.outbox.append((number, encode_frame(bpdu, self.mac)))

    def _flush(self) -> Frames:
        frames, self.outbox = self.outbox, []
        return frames

    # --- questions ---

    def _is_designated(self, number: int) -> bool:
        vector = self.ports[number].designated
        return vector.designated_bridge_id == self.bridge_id and (
            vector.designated_port_id == self.ports[number].port_id
        )

    def _cost(self) -> int:
        return (
            0 if self.root_port is None else self.ports[self.root_port].designated.root_path_cost + PATH_COST
        )
