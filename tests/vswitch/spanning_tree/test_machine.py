from __future__ import annotations

import pytest

from tests.vswitch.spanning_tree.machines import make_lone_port
from vswitch.spanning_tree.machine import Machine, always, do_nothing
from vswitch.spanning_tree.port_transmit import PORT_TRANSMIT
from vswitch.spanning_tree.runner import PORT_MACHINES


def test_machine_takes_the_first_exit_that_holds_and_goes_on_unconditionally() -> None:
    machine = Machine(
        name="x",
        initial="A",
        enter=dict.fromkeys("ABCD", do_nothing),
        exits={"A": ((lambda p: p.learn, "B"), (always, "C"))},
        onward={"C": "D"},
    )
    port = make_lone_port()
    machine.begin(port)

    assert machine.run(port) is True
    assert port.states["x"] == "D"
    assert machine.run(port) is False


def test_guard_holds_back_every_exit() -> None:
    machine = Machine(
        name="x",
        initial="A",
        enter=dict.fromkeys("AB", do_nothing),
        exits={},
        anywhere=((lambda p: p.states["x"] == "A", "B"),),
        guard=lambda p: p.learn,
    )
    port = make_lone_port()
    machine.begin(port)

    assert machine.run(port) is False

    port.learn = True
    assert machine.run(port) is True
    assert port.states["x"] == "B"


def test_a_table_without_rest_is_an_error_and_not_a_hang() -> None:
    machine = Machine(name="x", initial="A", enter={"A": do_nothing}, exits={"A": ((always, "A"),)})
    port = make_lone_port()
    machine.begin(port)

    with pytest.raises(RuntimeError, match="x machine of port 1 does not come to rest"):
        machine.run(port)


@pytest.mark.parametrize("machine", [*PORT_MACHINES, PORT_TRANSMIT], ids=lambda machine: machine.name)
def test_tables_are_complete(machine: Machine) -> None:
    targets = {target for exits in machine.exits.values() for _, target in exits}
    targets |= {target for _, target in machine.anywhere} | set(machine.onward.values()) | {machine.initial}

    assert targets <= set(machine.enter), "an exit leads to a state without an entry action"
    assert set(machine.enter) <= targets, "a state cannot be reached"
    assert set(machine.enter) == set(machine.exits) | set(machine.onward), "a state cannot be left"
    assert not set(machine.exits) & set(machine.onward), "an exit would never be tried"
