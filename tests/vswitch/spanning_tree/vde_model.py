"""A model of vde_switch's fast spanning tree by its observed rules, to build mixed networks with.

Rules in short: hello every 4 s on every port; a new link forwards at once; better information, or any
change on the root port, is adopted and shuts every other port that hears BPDUs; worse information with the
same root shuts the port, unless the sender calls it its root port; 12 s of silence make the switch root; a
shut port that hears nothing for two periods of 16 s opens; every topology change is relayed, from shut
ports as well.
"""

from __future__ import annotations

from dataclasses import dataclass

from vport.errors import FrameError
from vport.ethernet import MacAddress
from vswitch.spanning_tree.bpdu import Dialect, PortRole, RstBpdu, decode_frame, encode_frame
from vswitch.spanning_tree.priority import BridgeId, PortId, PriorityVector, make_bridge_id
from vswitch.spanning_tree.settings import Times
from vswitch.vlan import PortState

Frames = list[tuple[int, bytes]]

HELLO_TIME = 4.0
ROOT_LIFETIME = 12.0
SWEEP_TICKS = 4
PORT_COST = 20_000_000
NOBODY = BridgeId(2**64 - 1)


@dataclass(slots=True)
class VdePort:
    is_backup: bool = False
    heard: int = 0  # bit 0: in this period of 16 s, bit 1: in the one before


class VdeNode:
    """One vde_switch with FSTP on, in one VLAN whose ports are untagged."""

    def __init__(self, number: int, priority: int = 0x8000) -> None:
        self.mac = MacAddress(bytes((0x02, 0, 0, 0, number >> 8, number & 255)))
        self.bridge_id = make_bridge_id(priority, self.mac)
        self.ports: dict[int, VdePort] = {}
        self.best = self._own()
        self.root_port: int | None = None
        self.heard_at = 0.0
        self.hello_at: float | None = None
        self.ticks = 0
        self.now = 0.0
        self.changes_relayed = 0
        self._outbox: Frames = []

    # --- the interface of a node ---

    def port_up(self, port: int, now: float) -> Frames:
        self._start(now)
        self.ports[port] = VdePort()
        self._send(port)
        self._topology_change(port)
        return self._flush()

    def port_down(self, port: int, now: float) -> Frames:
        self._start(now)
        if self.ports.pop(port, None) is None:
            return []
        if port == self.root_port:
            self._become_root()
        self._topology_change(port)
        return self._flush()

    def receive(self, port: int, frame: bytes, now: float) -> Frames:
        self._start(now)
        try:
            _, bpdu = decode_frame(frame)
        except FrameError:
            return []
        if isinstance(bpdu, RstBpdu) and port in self.ports:
            self._receive(port, bpdu, _code(bpdu))
        return self._flush()

    def handle_timer(self, now: float) -> Frames:
        self._start(now)
        if self.hello_at is None or now < self.hello_at:
            return []
        self.hello_at = now + HELLO_TIME
        self.ticks += 1
        if self.root_port is not None and now - self.heard_at > ROOT_LIFETIME:
            self._become_root()
            self._topology_change(None)
        if self.ticks % SWEEP_TICKS == 0:
            self._sweep()
        for port in self.ports:
            self._send(port, agreement=True)
        return self._flush()

    def next_deadline(self) -> float | None:
        return self.hello_at

    def state(self, port: int) -> PortState:
        is_open = port in self.ports and not self.ports[port].is_backup
        return PortState.FORWARDING if is_open else PortState.DISCARDING

    def root_id(self) -> BridgeId:
        return self.best.root_id

    # --- the rules ---

    def _receive(self, port: int, bpdu: RstBpdu, code: int) -> None:
        self.ports[port].heard |= 1
        if bpdu.topology_change:
            self.changes_relayed += 1
            self._topology_change(port)
        vector = bpdu.vector._replace(root_path_cost=(bpdu.vector.root_path_cost + PORT_COST) & 0xFFFF_FFFF)
        if vector == self.best:
            self.heard_at = self.now
        elif vector < self.best or port == self.root_port:
            self._adopt(port, vector)
        elif vector.root_id == self.best.root_id:
            self.ports[port].is_backup = code != 1
        else:
            self._send(port)

    def _adopt(self, port: int, vector: PriorityVector) -> None:
        if vector.root_id > self.bridge_id:
            self._become_root()
            self._topology_change(None)
            return
        self.best, self.root_port, self.heard_at = vector, port, self.now
        self.ports[port].is_backup = False
        for number, other in self.ports.items():
            if number != port and other.heard:
                other.is_backup = True
                self._send(number)
        self._send(port, agreement=True)
        self._topology_change(None)

    def _become_root(self) -> None:
        self.best, self.root_port = self._own(), None
        for port in self.ports.values():
            port.is_backup = False

    def _topology_change(self, ingress: int | None) -> None:
        for number, port in self.ports.items():
            if number != ingress and port.heard and not port.is_backup:
                self._send(number, topology_change=True)

    def _sweep(self) -> None:
        for port in self.ports.values():
            if port.is_backup and not port.heard:
                port.is_backup = False
            port.heard = port.heard << 1 & 2

    # --- helpers ---

    def _own(self) -> PriorityVector:
        return PriorityVector(self.bridge_id, 0, NOBODY, PortId(0))

    def _start(self, now: float) -> None:
        self.now = now
        if self.hello_at is None:
            self.hello_at = now + HELLO_TIME

    def _send(self, port: int, *, agreement: bool = False, topology_change: bool = False) -> None:
        is_backup = self.ports[port].is_backup
        role = PortRole.ALTERNATE if is_backup else PortRole.DESIGNATED
        if port == self.root_port:
            role = PortRole.ROOT
        port_id = PortId((0x80 | port >> 4) << 8 | port & 0xFF)
        vector = PriorityVector(self.best.root_id, self.best.root_path_cost, self.bridge_id, port_id)
        age = 0.0 if self.root_port is None else self.now - self.heard_at
        bpdu = RstBpdu(
            vector=vector,
            times=Times(age, 40.0, 4.0, 0.0),
            role=role,
            topology_change=topology_change,
            learning=not is_backup,
            forwarding=not is_backup,
            agreement=agreement,
            dialect=Dialect.VDE,
        )
        self._outbox.append((port, encode_frame(bpdu, self.mac)))

    def _flush(self) -> Frames:
        frames, self._outbox = self._outbox, []
        return frames


def _code(bpdu: RstBpdu) -> int:
    """Give the role bits as they were on the wire: this switch reads them its own way, whoever sent them."""
    exchanged = {PortRole.ROOT: 2, PortRole.ALTERNATE: 1, PortRole.DESIGNATED: 3}
    plain = {PortRole.ROOT: 1, PortRole.ALTERNATE: 2, PortRole.DESIGNATED: 3}
    return (plain if bpdu.dialect is Dialect.VDE else exchanged)[bpdu.role]
