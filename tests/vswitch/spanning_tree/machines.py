"""Trees and ports set up by hand, for the tests of single state machines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vport.ethernet import MacAddress, Vid
from vswitch.spanning_tree.bpdu import Dialect, PortRole, RstBpdu
from vswitch.spanning_tree.priority import BridgeId, PriorityVector, make_bridge_id, make_port_id
from vswitch.spanning_tree.settings import BridgeSettings, PortSettings, Times
from vswitch.spanning_tree.variables import InfoIs, Port, Tree, make_port

if TYPE_CHECKING:
    from vswitch.spanning_tree.machine import Machine

MAC = MacAddress(bytes.fromhex("020000000050"))
NOW = 100.0
TIMES = Times(0.0, 20.0, 2.0, 15.0)


def bridge(number: int, priority: int = 0x8000) -> BridgeId:
    return make_bridge_id(priority, bytes((2, 0, 0, 0, 0, number)))


def vector(root: int, cost: int, sender: int, port: int = 1) -> PriorityVector:
    return PriorityVector(bridge(root), cost, bridge(sender), make_port_id(128, port))


def rst(message: PriorityVector, role: PortRole = PortRole.DESIGNATED, **fields: Any) -> RstBpdu:
    if fields.get("dialect") is Dialect.VDE:
        return RstBpdu(vector=message, times=Times(0.0, 40.0, 4.0, 0.0), role=role, **fields)
    return RstBpdu(vector=message, times=fields.pop("times", TIMES), role=role, **fields)


def make_tree(ports: int = 1, **settings: Any) -> Tree:
    """Give a tree of bridge 0x50 at the instant `NOW`, its ports enabled, designated and at rest."""
    tree = Tree(MAC, Vid(0), BridgeSettings(**settings), NOW)
    for number in range(1, ports + 1):
        port = make_port(tree, number, PortSettings(), is_tagged=False)
        tree.ports[number] = port
        port.port_enabled = port.selected = port.synced = True
        port.info_is = InfoIs.MINE
        port.role = port.selected_role = PortRole.DESIGNATED
        port.is_dirty = False
    return tree


def make_lone_port(**variables: Any) -> Port:
    """Give the one port of a tree with these variables."""
    return change(make_tree().ports[1], **variables)


def change(port: Port, **variables: Any) -> Port:
    for name, value in variables.items():
        assert hasattr(port, name), name
        setattr(port, name, value)
    return port


def target(machine: Machine, state: str, port: Port) -> str | None:
    """Give the state that the table leads to from ``state``, one exit on."""
    port.states[machine.name] = state
    return machine.next_state(port)


def enter(machine: Machine, state: str, port: Port) -> str:
    """Enter a state, and give where the machine is after its unconditional exits."""
    machine.go(port, state)
    return port.states[machine.name]


def variables(port: Port, *names: str) -> dict[str, Any]:
    return {name: getattr(port, name) for name in names}
