"""Port receive, protocol migration, bridge detection, port state transition: two or three states each."""

from __future__ import annotations

from typing import Any

import pytest

from tests.vswitch.spanning_tree.machines import (
    NOW,
    TIMES,
    enter,
    make_lone_port,
    make_tree,
    rst,
    target,
    variables,
    vector,
)
from vswitch.spanning_tree.bpdu import ConfigBpdu, Dialect, TcnBpdu
from vswitch.spanning_tree.bridge_detection import BRIDGE_DETECTION, begin_detection
from vswitch.spanning_tree.port_protocol_migration import PORT_PROTOCOL_MIGRATION
from vswitch.spanning_tree.port_receive import PORT_RECEIVE
from vswitch.spanning_tree.port_state_transition import PORT_STATE_TRANSITION
from vswitch.spanning_tree.settings import PortSettings

CONFIG = ConfigBpdu(vector=vector(1, 0, 1), times=TIMES)
SOON, PAST = NOW + 1, NOW - 1


# --- port receive (17.23) ---


@pytest.mark.parametrize(
    ("state", "changes", "expected"),
    [
        ("DISCARD", {"rcvd_bpdu": True}, "RECEIVE"),
        ("DISCARD", {}, None),
        ("RECEIVE", {"rcvd_bpdu": True}, "RECEIVE"),
        ("RECEIVE", {"rcvd_bpdu": True, "rcvd_msg": True}, None),
        ("RECEIVE", {"rcvd_bpdu": True, "port_enabled": False}, "DISCARD"),
    ],
)
def test_receive_exits(state: str, changes: dict[str, Any], expected: str | None) -> None:
    assert target(PORT_RECEIVE, state, make_lone_port(**changes)) == expected


@pytest.mark.parametrize(
    ("message", "is_rstp", "dialect"),
    [
        (CONFIG, False, Dialect.IEEE),
        (TcnBpdu(), False, Dialect.IEEE),
        (rst(vector(1, 0, 1)), True, Dialect.IEEE),
        (rst(vector(1, 0, 1), dialect=Dialect.VDE), True, Dialect.VDE),
    ],
)
def test_receive_notes_version_and_ends_the_edge(message: Any, is_rstp: bool, dialect: Dialect) -> None:
    port = make_lone_port(message=message, oper_edge=True, rcvd_bpdu=True)

    enter(PORT_RECEIVE, "RECEIVE", port)

    assert (port.rcvd_rstp, port.rcvd_stp, port.dialect) == (is_rstp, not is_rstp, dialect)
    assert (port.oper_edge, port.rcvd_bpdu, port.rcvd_msg) == (False, False, True)
    assert port.edge_delay_while == NOW + 3.0


def test_discard_forgets_what_came() -> None:
    port = make_lone_port(rcvd_bpdu=True, rcvd_rstp=True, rcvd_stp=True, rcvd_msg=True)

    enter(PORT_RECEIVE, "DISCARD", port)

    assert not any(variables(port, "rcvd_bpdu", "rcvd_rstp", "rcvd_stp", "rcvd_msg").values())


# --- port protocol migration (17.24) ---


@pytest.mark.parametrize(
    ("state", "changes", "expected"),
    [
        ("CHECKING_RSTP", {"mdelay_while": NOW}, "SENSING"),
        ("CHECKING_RSTP", {"mdelay_while": SOON, "rcvd_stp": True}, None),
        ("CHECKING_RSTP", {"mdelay_while": PAST, "port_enabled": False}, None),
        ("SENSING", {"send_rstp": True, "rcvd_stp": True}, "SELECTING_STP"),
        ("SENSING", {"send_rstp": True, "rcvd_rstp": True}, None),
        ("SENSING", {"send_rstp": False, "rcvd_rstp": True}, "CHECKING_RSTP"),
        ("SENSING", {"send_rstp": False, "rcvd_stp": True}, None),
        ("SENSING", {"mcheck": True}, "CHECKING_RSTP"),
        ("SENSING", {"port_enabled": False}, "CHECKING_RSTP"),
        ("SELECTING_STP", {"mdelay_while": NOW}, "SENSING"),
        ("SELECTING_STP", {"mdelay_while": SOON, "rcvd_rstp": True}, None),
        ("SELECTING_STP", {"mdelay_while": SOON, "mcheck": True}, "SENSING"),
        ("SELECTING_STP", {"mdelay_while": SOON, "port_enabled": False}, "SENSING"),
    ],
)
def test_migration_exits(state: str, changes: dict[str, Any], expected: str | None) -> None:
    assert target(PORT_PROTOCOL_MIGRATION, state, make_lone_port(**changes)) == expected


@pytest.mark.parametrize(("version", "is_rstp"), [(2, True), (0, False)])
def test_checking_sends_what_the_operator_allows(version: int, is_rstp: bool) -> None:
    port = make_tree(protocol_version=version).ports[1]
    port.mcheck = True

    enter(PORT_PROTOCOL_MIGRATION, "CHECKING_RSTP", port)

    assert variables(port, "mcheck", "send_rstp", "mdelay_while") == {
        "mcheck": False,
        "send_rstp": is_rstp,
        "mdelay_while": NOW + 3.0,
    }


def test_a_bridge_that_only_speaks_stp_ignores_rst_bpdus() -> None:
    port = make_tree(protocol_version=0).ports[1]
    port.send_rstp, port.rcvd_rstp = False, True

    assert target(PORT_PROTOCOL_MIGRATION, "SENSING", port) is None


def test_selecting_stp_waits_before_it_listens_again() -> None:
    port = make_lone_port()

    enter(PORT_PROTOCOL_MIGRATION, "SELECTING_STP", port)

    assert (port.send_rstp, port.mdelay_while) == (False, NOW + 3.0)


def test_sensing_starts_afresh() -> None:
    port = make_lone_port(rcvd_rstp=True, rcvd_stp=True)

    enter(PORT_PROTOCOL_MIGRATION, "SENSING", port)

    assert (port.rcvd_rstp, port.rcvd_stp) == (False, False)


# --- bridge detection (17.25) ---

SILENT = {"proposing": True, "send_rstp": True, "edge_delay_while": NOW}


@pytest.mark.parametrize(
    ("state", "changes", "expected"),
    [
        ("EDGE", {"oper_edge": True}, None),
        ("EDGE", {"oper_edge": False}, "NOT_EDGE"),
        ("EDGE", {"oper_edge": True, "port_enabled": False}, "NOT_EDGE"),
        (
            "EDGE",
            {"oper_edge": True, "port_enabled": False, "settings": PortSettings(admin_edge=True)},
            None,
        ),
        ("NOT_EDGE", SILENT, "EDGE"),
        ("NOT_EDGE", {**SILENT, "edge_delay_while": SOON}, None),
        ("NOT_EDGE", {**SILENT, "proposing": False}, None),
        ("NOT_EDGE", {**SILENT, "send_rstp": False}, None),
        ("NOT_EDGE", {**SILENT, "port_enabled": False}, None),
        ("NOT_EDGE", {**SILENT, "settings": PortSettings(auto_edge=False)}, None),
        ("NOT_EDGE", {"settings": PortSettings(admin_edge=True)}, None),
        ("NOT_EDGE", {"settings": PortSettings(admin_edge=True), "port_enabled": False}, "EDGE"),
    ],
)
def test_detection_exits(state: str, changes: dict[str, Any], expected: str | None) -> None:
    assert target(BRIDGE_DETECTION, state, make_lone_port(**changes)) == expected


@pytest.mark.parametrize("admin_edge", [True, False])
def test_detection_begins_with_the_operators_word(admin_edge: bool) -> None:
    port = make_lone_port(settings=PortSettings(admin_edge=admin_edge), oper_edge=not admin_edge)

    begin_detection(port)

    assert port.oper_edge is admin_edge


# --- port state transition (17.30) ---


@pytest.mark.parametrize(
    ("state", "changes", "expected"),
    [
        ("DISCARDING", {"learn": True}, "LEARNING"),
        ("DISCARDING", {"forward": True}, None),
        ("LEARNING", {"learn": True, "forward": True}, "FORWARDING"),
        ("LEARNING", {"learn": True}, None),
        ("LEARNING", {"learn": False}, "DISCARDING"),
        ("FORWARDING", {"learn": True, "forward": False}, "DISCARDING"),
        ("FORWARDING", {"learn": True, "forward": True}, None),
    ],
)
def test_state_exits(state: str, changes: dict[str, Any], expected: str | None) -> None:
    assert target(PORT_STATE_TRANSITION, state, make_lone_port(**changes)) == expected


def test_state_follows_through_learning_to_forwarding_and_back_at_once() -> None:
    port = make_lone_port(learn=True, forward=True)
    PORT_STATE_TRANSITION.begin(port)

    PORT_STATE_TRANSITION.run(port)
    assert (port.learning, port.forwarding) == (True, True)

    port.learn = port.forward = False
    PORT_STATE_TRANSITION.run(port)
    assert (port.learning, port.forwarding) == (False, False)
