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
from vswitch.spanning_tree.bpdu import Dialect, PortRole
from vswitch.spanning_tree.port_role_transitions import PORT_ROLE_TRANSITIONS as ROLES
from vswitch.spanning_tree.variables import HELD, STOPPED, Port

SOON = NOW + 1
OPEN = {"learn": True, "learning": True, "forward": True, "forwarding": True}
ROOT = {
    "role": PortRole.ROOT,
    "selected_role": PortRole.ROOT,
    "rr_while": HELD,
    "agree": True,
    "synced": True,
}
ALTERNATE = {
    "role": PortRole.ALTERNATE,
    "selected_role": PortRole.ALTERNATE,
    "synced": True,
    "agree": True,
    "fd_while": HELD,
}
BACKUP = {**ALTERNATE, "role": PortRole.BACKUP, "selected_role": PortRole.BACKUP, "rb_while": HELD}
DISABLED = {
    "role": PortRole.DISABLED,
    "selected_role": PortRole.DISABLED,
    "synced": True,
    "fd_while": HELD,
}
WAITING = {"proposing": True, "synced": True, "fd_while": SOON}


# --- becoming ---


@pytest.mark.parametrize(
    ("role", "expected"),
    [
        (PortRole.DISABLED, "DISABLE_PORT"),
        (PortRole.ROOT, "ROOT_PORT"),
        (PortRole.ALTERNATE, "BLOCK_PORT"),
        (PortRole.BACKUP, "BLOCK_PORT"),
    ],
)
@pytest.mark.parametrize("state", ["DESIGNATED_PORT", "DISABLED_PORT", "ROOT_PORT", "ALTERNATE_PORT"])
def test_a_new_role_is_taken_from_any_state(state: str, role: PortRole, expected: str) -> None:
    port = make_lone_port(selected_role=role)

    assert target(ROLES, state, port) == expected

    port.updt_info = True
    assert target(ROLES, state, port) is None, "not before the information is updated"


def test_designated_is_taken_from_another_role() -> None:
    port = make_lone_port(role=PortRole.ROOT, selected_role=PortRole.DESIGNATED)

    assert target(ROLES, "ROOT_PORT", port) == "DESIGNATED_PORT"


# --- disabled ports (figure 17-20) ---


@pytest.mark.parametrize(
    ("state", "changes", "expected"),
    [
        ("DISABLE_PORT", {"learning": True, "forwarding": True}, None),
        ("DISABLE_PORT", {}, "DISABLED_PORT"),
        ("DISABLED_PORT", {}, None),
        ("DISABLED_PORT", {"sync": True}, "DISABLED_PORT"),
        ("DISABLED_PORT", {"re_root": True}, "DISABLED_PORT"),
        ("DISABLED_PORT", {"synced": False}, "DISABLED_PORT"),
        ("DISABLED_PORT", {"fd_while": SOON}, "DISABLED_PORT"),
    ],
)
def test_disabled_exits(state: str, changes: dict[str, Any], expected: str | None) -> None:
    assert target(ROLES, state, make_lone_port(**{**DISABLED, **changes})) == expected


def test_init_shuts_the_port_and_goes_on_to_disable() -> None:
    port = make_lone_port(**OPEN)

    assert enter(ROLES, "INIT_PORT", port) == "DISABLE_PORT"

    assert (port.learn, port.forward, port.role) == (False, False, PortRole.DESIGNATED)


def test_init_leaves_the_port_to_be_put_to_rest() -> None:
    port = make_lone_port(rb_while=SOON)

    enter(ROLES, "INIT_PORT", port)

    assert (port.synced, port.sync, port.re_root) == (False, True, True)
    assert (port.rr_while, port.rb_while) == (NOW + 15.0, STOPPED)


def test_disabled_port_is_at_rest() -> None:
    port = make_lone_port(sync=True, re_root=True, synced=False, rr_while=SOON)

    enter(ROLES, "DISABLED_PORT", port)

    assert variables(port, "sync", "re_root", "synced", "rr_while", "fd_while") == {
        "sync": False,
        "re_root": False,
        "synced": True,
        "rr_while": STOPPED,
        "fd_while": HELD,
    }


# --- root ports (figure 17-21) ---


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (OPEN, None),
        ({**OPEN, "proposed": True, "agree": False}, "ROOT_PROPOSED"),
        ({**OPEN, "proposed": True}, "ROOT_AGREED"),
        ({**OPEN, "agree": False}, "ROOT_AGREED"),
        ({}, "REROOT"),
        ({**OPEN, "re_root": True}, "REROOTED"),
        ({"re_root": True, "fd_while": NOW, "rb_while": SOON}, "ROOT_LEARN"),
        ({"re_root": True, "fd_while": SOON, "rb_while": SOON}, None),
        ({"re_root": True, "fd_while": SOON}, "ROOT_LEARN"),
        ({"re_root": True, "fd_while": SOON, "learn": True, "learning": True}, "ROOT_FORWARD"),
        ({**OPEN, "rr_while": SOON}, "ROOT_PORT"),
    ],
)
def test_root_exits(changes: dict[str, Any], expected: str | None) -> None:
    assert target(ROLES, "ROOT_PORT", make_lone_port(**{**ROOT, **changes})) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"synced": True}, "ROOT_AGREED"),
        ({"synced": False}, None),
        ({"synced": True, "selected": False}, None),
        ({"synced": True, "updt_info": True}, None),
        ({"synced": True, "selected_role": PortRole.ALTERNATE}, None),
    ],
)
def test_root_agrees_when_every_other_port_is_in_line(changes: dict[str, Any], expected: str | None) -> None:
    tree = make_tree(2)
    root = change(tree.ports[1], **{**ROOT, **OPEN, "agree": False, "synced": False})
    change(tree.ports[2], **changes)

    assert target(ROLES, "ROOT_PORT", root) == expected


@pytest.mark.parametrize(("rr_while", "expected"), [(SOON, None), (NOW, "ROOT_LEARN")])
def test_root_opens_when_no_other_port_was_root_a_moment_ago(rr_while: float, expected: str | None) -> None:
    tree = make_tree(2)
    root = change(tree.ports[1], **{**ROOT, "re_root": True, "fd_while": SOON})
    tree.ports[2].rr_while = rr_while

    assert target(ROLES, "ROOT_PORT", root) == expected


def test_a_classic_bridge_never_opens_its_root_port_quickly() -> None:
    root = change(make_tree(protocol_version=0).ports[1], **{**ROOT, "re_root": True, "fd_while": SOON})

    assert target(ROLES, "ROOT_PORT", root) is None


def both(port_count: int = 2, **changes: Any) -> tuple[Port, Port]:
    tree = make_tree(port_count)
    return change(tree.ports[1], **changes), tree.ports[2]


def test_root_entries() -> None:
    root, other = both(selected_role=PortRole.ROOT, proposed=True, sync=True)

    assert enter(ROLES, "ROOT_PORT", root) == "ROOT_PORT"
    assert (root.role, root.rr_while) == (PortRole.ROOT, HELD)

    assert enter(ROLES, "ROOT_PROPOSED", root) == "ROOT_PORT"
    assert (root.proposed, other.sync, other.is_dirty) == (False, True, True)

    assert enter(ROLES, "ROOT_AGREED", root) == "ROOT_PORT"
    assert (root.agree, root.new_info, root.sync) == (True, True, False)

    assert enter(ROLES, "REROOT", root) == "ROOT_PORT"
    assert (root.re_root, other.re_root) == (True, True)

    assert enter(ROLES, "ROOT_LEARN", root) == "ROOT_PORT"
    assert (root.learn, root.forward, root.fd_while) == (True, False, NOW + 2.0)

    assert enter(ROLES, "ROOT_FORWARD", root) == "ROOT_PORT"
    assert (root.forward, root.fd_while) == (True, STOPPED)

    assert enter(ROLES, "REROOTED", root) == "ROOT_PORT"
    assert (root.re_root, other.re_root) == (False, True)


# --- designated ports (figure 17-22) ---


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({**WAITING, "proposing": False}, "DESIGNATED_PROPOSE"),
        (WAITING, None),
        ({**OPEN, "synced": True}, None),
        ({**WAITING, "synced": False}, "DESIGNATED_SYNCED"),
        ({**OPEN, "synced": False}, None),
        ({**OPEN, "synced": False, "agreed": True}, "DESIGNATED_SYNCED"),
        ({**OPEN, "synced": False, "oper_edge": True}, "DESIGNATED_SYNCED"),
        ({**OPEN, "synced": True, "sync": True}, "DESIGNATED_SYNCED"),
        ({**OPEN, "re_root": True, "rr_while": NOW}, "DESIGNATED_RETIRED"),
        ({**OPEN, "re_root": True, "rr_while": SOON}, "DESIGNATED_DISCARD"),
        ({**OPEN, "re_root": True, "rr_while": SOON, "oper_edge": True}, None),
        ({**OPEN, "synced": False, "sync": True}, "DESIGNATED_DISCARD"),
        ({**OPEN, "disputed": True}, "DESIGNATED_DISCARD"),
        ({**WAITING, "disputed": True}, None),
        ({**WAITING, "agreed": True}, "DESIGNATED_LEARN"),
        ({**WAITING, "oper_edge": True}, "DESIGNATED_LEARN"),
        ({**WAITING, "fd_while": NOW}, "DESIGNATED_LEARN"),
        ({**WAITING, "agreed": True, "learn": True, "learning": True}, "DESIGNATED_FORWARD"),
        ({**WAITING, "learn": True, "learning": True}, None),
        ({**WAITING, "agreed": True, "re_root": True, "rr_while": SOON}, None),
    ],
)
def test_designated_exits(changes: dict[str, Any], expected: str | None) -> None:
    assert target(ROLES, "DESIGNATED_PORT", make_lone_port(**changes)) == expected


def test_designated_entries() -> None:
    port = make_lone_port(role=PortRole.DESIGNATED, sync=True, synced=False, re_root=True, rr_while=SOON)

    enter(ROLES, "DESIGNATED_PROPOSE", port)
    assert (port.proposing, port.new_info, port.edge_delay_while) == (True, True, NOW + 3.0)

    enter(ROLES, "DESIGNATED_SYNCED", port)
    assert (port.synced, port.sync, port.rr_while) == (True, False, STOPPED)

    enter(ROLES, "DESIGNATED_RETIRED", port)
    assert not port.re_root

    enter(ROLES, "DESIGNATED_LEARN", port)
    assert (port.learn, port.fd_while) == (True, NOW + 2.0)

    enter(ROLES, "DESIGNATED_FORWARD", port)
    assert (port.forward, port.fd_while, port.agreed) == (True, STOPPED, True)

    port.disputed = True
    assert enter(ROLES, "DESIGNATED_DISCARD", port) == "DESIGNATED_PORT"
    assert (port.learn, port.forward, port.disputed, port.fd_while) == (False, False, False, NOW + 2.0)


def test_beside_a_classic_bridge_the_long_delay_holds_and_forwarding_is_no_agreement() -> None:
    port = make_lone_port(send_rstp=False)

    enter(ROLES, "DESIGNATED_LEARN", port)
    assert port.fd_while == NOW + 15.0

    enter(ROLES, "DESIGNATED_FORWARD", port)
    assert not port.agreed


# --- alternate and backup ports (figure 17-23) ---


@pytest.mark.parametrize(
    ("state", "changes", "expected"),
    [
        ("BLOCK_PORT", OPEN, None),
        ("BLOCK_PORT", {}, "ALTERNATE_PORT"),
        ("ALTERNATE_PORT", {}, None),
        ("ALTERNATE_PORT", {"proposed": True, "agree": False}, "ALTERNATE_PROPOSED"),
        ("ALTERNATE_PORT", {"proposed": True}, "ALTERNATE_AGREED"),
        ("ALTERNATE_PORT", {"agree": False}, "ALTERNATE_AGREED"),
        ("ALTERNATE_PORT", {"sync": True}, "ALTERNATE_PORT"),
        ("ALTERNATE_PORT", {"re_root": True}, "ALTERNATE_PORT"),
        ("ALTERNATE_PORT", {"synced": False}, "ALTERNATE_PORT"),
        ("ALTERNATE_PORT", {"fd_while": SOON}, "ALTERNATE_PORT"),
    ],
)
def test_alternate_exits(state: str, changes: dict[str, Any], expected: str | None) -> None:
    assert target(ROLES, state, make_lone_port(**{**ALTERNATE, **changes})) == expected


@pytest.mark.parametrize(("rb_while", "expected"), [(HELD, None), (SOON, "BACKUP_PORT")])
def test_backup_keeps_its_timer_loaded(rb_while: float, expected: str | None) -> None:
    assert target(ROLES, "ALTERNATE_PORT", make_lone_port(**{**BACKUP, "rb_while": rb_while})) == expected


def test_alternate_entries() -> None:
    port = make_lone_port(**{**OPEN, "selected_role": PortRole.ALTERNATE, "proposed": True})

    assert enter(ROLES, "BLOCK_PORT", port) == "BLOCK_PORT"
    assert (port.role, port.learn, port.forward) == (PortRole.ALTERNATE, False, False)

    assert enter(ROLES, "ALTERNATE_PORT", port) == "ALTERNATE_PORT"
    assert (port.synced, port.fd_while, port.rr_while) == (True, HELD, STOPPED)

    other = make_tree(2).ports[2]
    alternate = change(other.tree.ports[1], proposed=True)
    enter(ROLES, "ALTERNATE_PROPOSED", alternate)
    assert (alternate.proposed, other.sync) == (False, True)

    assert enter(ROLES, "ALTERNATE_AGREED", port) == "ALTERNATE_PORT"
    assert (port.agree, port.new_info, port.proposed) == (True, True, False)

    assert enter(ROLES, "BACKUP_PORT", port) == "ALTERNATE_PORT"
    assert port.rb_while == HELD


# --- timers that a role keeps loaded ---


@pytest.mark.parametrize(
    ("before", "timer", "expected"),
    [
        (DISABLED, "fd_while", NOW + 20.0),
        (ALTERNATE, "fd_while", NOW + 2.0),
        (ROOT, "rr_while", NOW + 15.0),
        (BACKUP, "rb_while", NOW + 4.0),
    ],
)
def test_a_role_that_ends_lets_its_timer_run(before: dict[str, Any], timer: str, expected: float) -> None:
    port = make_lone_port(**{**before, "selected_role": PortRole.DESIGNATED})

    enter(ROLES, "DESIGNATED_PORT", port)

    assert getattr(port, timer) == expected


def test_a_new_role_is_announced_to_a_vde_switch() -> None:
    port = make_lone_port(selected_role=PortRole.ALTERNATE, dialect=Dialect.VDE)

    enter(ROLES, "BLOCK_PORT", port)

    assert port.new_info
