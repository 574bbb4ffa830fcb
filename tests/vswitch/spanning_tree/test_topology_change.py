from __future__ import annotations

from typing import Any

import pytest

from tests.vswitch.spanning_tree.machines import (
    NOW,
    change,
    enter,
    make_lone_port,
    make_tree,
    target,
    variables,
)
from vswitch.spanning_tree.bpdu import PortRole
from vswitch.spanning_tree.settings import PortSettings
from vswitch.spanning_tree.topology_change import TOPOLOGY_CHANGE
from vswitch.spanning_tree.variables import STOPPED

OPEN = {"learn": True, "learning": True, "forward": True, "forwarding": True}
BLOCKED = {"role": PortRole.ALTERNATE}
SOON = NOW + 1


@pytest.mark.parametrize(
    ("state", "changes", "expected"),
    [
        ("INACTIVE", {}, None),
        ("INACTIVE", {"learn": True}, "LEARNING"),
        ("LEARNING", OPEN, "DETECTED"),
        ("LEARNING", {**OPEN, "oper_edge": True}, None),
        ("LEARNING", {**OPEN, "port_enabled": False}, None),
        ("LEARNING", {"learn": True}, None),
        ("LEARNING", {**OPEN, "oper_edge": True, "rcvd_tc": True}, "LEARNING"),
        ("LEARNING", {**BLOCKED, "tc_prop": True}, "LEARNING"),
        ("LEARNING", BLOCKED, "INACTIVE"),
        ("LEARNING", {**BLOCKED, "learning": True}, None),
        ("ACTIVE", OPEN, None),
        ("ACTIVE", BLOCKED, "LEARNING"),
        ("ACTIVE", {**OPEN, "oper_edge": True}, "LEARNING"),
        ("ACTIVE", {**OPEN, "rcvd_tcn": True}, "NOTIFIED_TCN"),
        ("ACTIVE", {**OPEN, "rcvd_tc": True}, "NOTIFIED_TC"),
        ("ACTIVE", {"rcvd_tc": True}, None),
        ("ACTIVE", {"rcvd_tcn": True}, None),
        ("ACTIVE", {**OPEN, "tc_prop": True}, "PROPAGATING"),
        ("ACTIVE", {**OPEN, "rcvd_tc_ack": True}, "ACKNOWLEDGED"),
    ],
)
def test_topology_exits(state: str, changes: dict[str, Any], expected: str | None) -> None:
    assert target(TOPOLOGY_CHANGE, state, make_lone_port(**changes)) == expected


def test_inactive_flushes_and_stops_telling() -> None:
    port = make_lone_port(tc_while=SOON, tc_ack=True)

    enter(TOPOLOGY_CHANGE, "INACTIVE", port)

    assert (port.fdb_flush, port.tc_while, port.tc_ack) == (True, STOPPED, False)


def test_learning_ignores_what_was_heard_before() -> None:
    names = ("rcvd_tc", "rcvd_tcn", "rcvd_tc_ack", "tc_prop")
    port = make_lone_port(**dict.fromkeys(names, True))

    enter(TOPOLOGY_CHANGE, "LEARNING", port)

    assert not any(variables(port, *names).values())


def test_a_change_of_our_own_is_told_everywhere_and_flushes_nothing_here() -> None:
    tree = make_tree(3)
    port = change(tree.ports[1], **OPEN)

    assert enter(TOPOLOGY_CHANGE, "DETECTED", port) == "ACTIVE"

    assert (port.new_info, port.tc_while) == (True, NOW + 3.0)
    assert [other.tc_prop for other in tree.ports.values()] == [False, True, True]
    assert not port.fdb_flush
    assert not port.propagation_flush


def test_a_change_told_by_a_neighbour_goes_to_every_other_port() -> None:
    tree = make_tree(2)
    port = change(tree.ports[1], rcvd_tc=True)

    assert enter(TOPOLOGY_CHANGE, "NOTIFIED_TC", port) == "ACTIVE"

    assert (port.rcvd_tc, port.tc_ack, port.tc_prop, tree.ports[2].tc_prop) == (False, True, False, True)


def test_a_root_port_acknowledges_nothing() -> None:
    port = make_lone_port(rcvd_tc=True, role=PortRole.ROOT)

    enter(TOPOLOGY_CHANGE, "NOTIFIED_TC", port)

    assert not port.tc_ack


def test_restricted_tcn_keeps_a_change_to_itself() -> None:
    tree = make_tree(2)
    port = change(tree.ports[1], rcvd_tc=True, settings=PortSettings(restricted_tcn=True))

    enter(TOPOLOGY_CHANGE, "NOTIFIED_TC", port)

    assert not tree.ports[2].tc_prop


def test_propagating_flushes_and_tells() -> None:
    port = make_lone_port(tc_prop=True)

    enter(TOPOLOGY_CHANGE, "PROPAGATING", port)

    assert (port.propagation_flush, port.tc_prop, port.tc_while, port.new_info) == (
        True,
        False,
        NOW + 3.0,
        True,
    )


def test_telling_is_not_begun_again_while_it_goes_on() -> None:
    port = make_lone_port(tc_prop=True, tc_while=SOON)

    enter(TOPOLOGY_CHANGE, "PROPAGATING", port)

    assert (port.tc_while, port.new_info) == (SOON, False)


def test_a_classic_neighbour_is_told_for_as_long_as_the_root_says() -> None:
    port = make_lone_port(send_rstp=False)

    enter(TOPOLOGY_CHANGE, "NOTIFIED_TCN", port)

    assert (port.tc_while, port.new_info) == (NOW + 35.0, False)


def test_acknowledged_stops_telling() -> None:
    port = make_lone_port(tc_while=SOON, rcvd_tc_ack=True)

    enter(TOPOLOGY_CHANGE, "ACKNOWLEDGED", port)

    assert (port.tc_while, port.rcvd_tc_ack) == (STOPPED, False)
