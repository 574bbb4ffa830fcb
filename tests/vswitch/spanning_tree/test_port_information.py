from __future__ import annotations

from typing import Any

import pytest

from tests.vswitch.spanning_tree.machines import (
    NOW,
    TIMES,
    bridge,
    change,
    enter,
    make_lone_port,
    rst,
    target,
    variables,
    vector,
)
from vswitch.spanning_tree.bpdu import ConfigBpdu, Dialect, PortRole, TcnBpdu
from vswitch.spanning_tree.port_information import PORT_INFORMATION, classify
from vswitch.spanning_tree.settings import PortSettings, Times
from vswitch.spanning_tree.variables import InfoIs, Port

HELD = vector(1, 10, 2)  # what the port holds in these tests: root 1, 10 away, from bridge 2
BETTER, WORSE = vector(1, 5, 3), vector(1, 20, 3)
SOON, PAST = NOW + 1, NOW - 1


def port_holding(info_is: InfoIs = InfoIs.RECEIVED, **changes: Any) -> Port:
    port = make_lone_port(info_is=info_is, port_priority=HELD, port_times=TIMES, **changes)
    port.designated_priority = port.designated_priority._replace(root_id=HELD.root_id, root_path_cost=100)
    return port


# --- exits ---


@pytest.mark.parametrize(
    ("state", "changes", "expected"),
    [
        ("DISABLED", {"port_enabled": False, "info_is": InfoIs.DISABLED}, None),
        ("DISABLED", {"info_is": InfoIs.DISABLED}, "AGED"),
        ("DISABLED", {"info_is": InfoIs.DISABLED, "rcvd_msg": True}, "DISABLED"),
        ("AGED", {"updt_info": True}, "UPDATE"),
        ("AGED", {"updt_info": True, "selected": False}, None),
        ("CURRENT", {"updt_info": True}, "UPDATE"),
        ("CURRENT", {"updt_info": True, "selected": False, "rcvd_msg": True}, None),
        ("CURRENT", {"rcvd_msg": True}, "RECEIVE"),
        ("CURRENT", {"rcvd_info_while": NOW}, "AGED"),
        ("CURRENT", {"rcvd_info_while": SOON}, None),
        ("CURRENT", {"rcvd_info_while": PAST, "info_is": InfoIs.MINE}, None),
        ("CURRENT", {"rcvd_info_while": PAST, "rcvd_msg": True}, "RECEIVE"),
        ("CURRENT", {"port_enabled": False}, "DISABLED"),
        ("RECEIVE", {"rcvd_info": "SUPERIOR_DESIGNATED"}, "SUPERIOR_DESIGNATED"),
        ("RECEIVE", {"rcvd_info": "REPEATED_DESIGNATED"}, "REPEATED_DESIGNATED"),
        ("RECEIVE", {"rcvd_info": "INFERIOR_DESIGNATED"}, "INFERIOR_DESIGNATED"),
        ("RECEIVE", {"rcvd_info": "NOT_DESIGNATED"}, "NOT_DESIGNATED"),
        ("RECEIVE", {"rcvd_info": "REFLECTED"}, "REFLECTED"),
        ("RECEIVE", {"rcvd_info": "OTHER"}, "OTHER"),
    ],
)
def test_information_exits(state: str, changes: dict[str, Any], expected: str | None) -> None:
    port = change(port_holding(rcvd_info_while=SOON), **changes)

    assert target(PORT_INFORMATION, state, port) == expected


# --- rcvInfo ---


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (rst(BETTER), "SUPERIOR_DESIGNATED"),
        (ConfigBpdu(vector=BETTER, times=TIMES), "SUPERIOR_DESIGNATED"),
        (rst(HELD), "REPEATED_DESIGNATED"),
        (rst(HELD, times=TIMES._replace(max_age=19.0)), "SUPERIOR_DESIGNATED"),
        (rst(WORSE), "INFERIOR_DESIGNATED"),
        (rst(HELD._replace(root_path_cost=50)), "SUPERIOR_DESIGNATED"),
        (rst(WORSE, PortRole.ROOT), "NOT_DESIGNATED"),
        (rst(HELD, PortRole.ALTERNATE), "NOT_DESIGNATED"),
        (rst(BETTER, PortRole.ROOT), "OTHER"),
        (rst(vector(1, 100, 0x50)), "REFLECTED"),
        (rst(vector(1, 100, 0x50), PortRole.ROOT), "REFLECTED"),
        (rst(vector(1, 100, 0x50, port=2)), "INFERIOR_DESIGNATED"),
        (TcnBpdu(), "OTHER"),
    ],
)
def test_received_information_is_classified(message: Any, expected: str) -> None:
    assert classify(port_holding(message=message)) == expected


# --- entry actions ---


def test_receive_goes_on_by_what_the_message_means() -> None:
    port = port_holding(message=rst(BETTER))

    enter(PORT_INFORMATION, "RECEIVE", port)

    assert port.rcvd_info == "SUPERIOR_DESIGNATED"


def test_disabled_forgets_the_neighbour() -> None:
    port = port_holding(agreed=True, agree=True, proposed=True, proposing=True, rcvd_msg=True)

    enter(PORT_INFORMATION, "DISABLED", port)

    assert port.info_is is InfoIs.DISABLED
    names = ("agreed", "agree", "proposed", "proposing", "rcvd_msg", "selected")
    assert not any(variables(port, *names).values())
    assert port.tree.reselect


def test_aged_asks_for_new_roles() -> None:
    port = port_holding()

    assert enter(PORT_INFORMATION, "AGED", port) == "AGED"

    assert (port.info_is, port.selected, port.tree.reselect) == (InfoIs.AGED, False, True)


@pytest.mark.parametrize(
    ("info_is", "cost", "is_kept"),
    [(InfoIs.MINE, 5, True), (InfoIs.MINE, 10, True), (InfoIs.MINE, 20, False), (InfoIs.AGED, 5, False)],
)
def test_update_keeps_an_agreement_only_to_information_no_worse(
    info_is: InfoIs, cost: int, is_kept: bool
) -> None:
    port = port_holding(info_is, agreed=True, synced=True, proposing=True, updt_info=True)
    port.designated_priority = HELD._replace(root_path_cost=cost)
    port.designated_times = TIMES._replace(message_age=3.0)

    assert enter(PORT_INFORMATION, "UPDATE", port) == "CURRENT"

    assert (port.agreed, port.synced, port.proposing, port.updt_info) == (is_kept, is_kept, False, False)
    assert (port.port_priority, port.port_times) == (port.designated_priority, port.designated_times)
    assert (port.info_is, port.new_info) == (InfoIs.MINE, True)


@pytest.mark.parametrize(
    ("changes", "fd_while"),
    [
        ({}, NOW + 2.0),
        ({"fd_while": NOW + 20}, NOW + 20),
        ({"forward": True}, SOON),
        ({"send_rstp": False}, SOON),
    ],
)
def test_a_new_claim_restarts_the_delay_towards_a_rapid_neighbour(
    changes: dict[str, Any], fd_while: float
) -> None:
    port = change(port_holding(InfoIs.MINE, fd_while=SOON), **changes)

    enter(PORT_INFORMATION, "UPDATE", port)

    assert port.fd_while == fd_while


def test_superior_information_is_taken_over() -> None:
    message = rst(BETTER, proposal=True, topology_change=True, times=TIMES._replace(hello_time=1.0))
    port = port_holding(message=message, agreed=True, proposing=True, agree=True, rcvd_msg=True)

    assert enter(PORT_INFORMATION, "SUPERIOR_DESIGNATED", port) == "CURRENT"

    assert (port.port_priority, port.port_times) == (BETTER, message.times)
    assert (port.info_is, port.selected, port.tree.reselect) == (InfoIs.RECEIVED, False, True)
    assert (port.agreed, port.proposing, port.proposed, port.rcvd_tc) == (False, False, True, True)
    assert port.agree, "better information than what was agreed to needs no new agreement"
    assert port.rcvd_info_while == NOW + 3 * 1.0
    assert not port.rcvd_msg


def test_worse_information_from_the_same_bridge_ends_the_agreement() -> None:
    port = port_holding(message=rst(HELD._replace(root_path_cost=50)), agree=True)

    enter(PORT_INFORMATION, "SUPERIOR_DESIGNATED", port)

    assert not port.agree


def test_information_too_old_for_its_root_expires_at_once() -> None:
    port = port_holding(message=rst(BETTER, times=Times(20.0, 20.0, 2.0, 15.0)))

    enter(PORT_INFORMATION, "SUPERIOR_DESIGNATED", port)

    assert port.rcvd_info_while == NOW


def test_times_of_a_careless_root_do_not_disarm_us() -> None:
    port = port_holding(message=rst(BETTER, times=Times(0.0, 255.0, 255.0, 0.0)))

    enter(PORT_INFORMATION, "SUPERIOR_DESIGNATED", port)

    assert port.port_times == Times(0.0, 40.0, 10.0, 4.0)


def test_repeated_information_lives_on() -> None:
    port = port_holding(message=rst(HELD, proposal=True), rcvd_info_while=PAST, rcvd_msg=True)

    enter(PORT_INFORMATION, "REPEATED_DESIGNATED", port)

    assert (port.rcvd_info_while, port.proposed, port.selected) == (NOW + 6.0, True, True)


@pytest.mark.parametrize(("learning", "is_disputed"), [(True, True), (False, False)])
def test_dispute_when_a_worse_bridge_learns(learning: bool, is_disputed: bool) -> None:
    port = port_holding(InfoIs.MINE, message=rst(WORSE, learning=learning), agreed=True)

    enter(PORT_INFORMATION, "INFERIOR_DESIGNATED", port)

    assert (port.disputed, port.agreed) == (is_disputed, not is_disputed)


AGREEING = {"role": PortRole.ROOT, "agreement": True}


@pytest.mark.parametrize(
    ("message", "changes", "is_agreed"),
    [
        (rst(WORSE, **AGREEING), {}, True),
        (rst(WORSE, PortRole.ALTERNATE, agreement=True), {}, True),
        (rst(WORSE, PortRole.ROOT), {}, False),
        (rst(WORSE, **AGREEING), {"settings": PortSettings(point_to_point=False)}, False),
        (rst(vector(2, 0, 2), **AGREEING), {}, False),
        (rst(HELD._replace(designated_bridge_id=bridge(3)), **AGREEING), {}, False),
        (rst(WORSE, **AGREEING), {"has_told_priority": False}, False),
    ],
)
def test_agreement_counts_on_a_point_to_point_link_and_about_the_same_root(
    message: Any, changes: dict[str, Any], is_agreed: bool
) -> None:
    told = {"has_told_priority": True, **changes}
    port = port_holding(InfoIs.MINE, message=message, proposing=True, agreed=not is_agreed, **told)

    enter(PORT_INFORMATION, "NOT_DESIGNATED", port)

    assert (port.agreed, port.proposing) == (is_agreed, not is_agreed)


def test_tcn_is_noted() -> None:
    port = port_holding(InfoIs.MINE, message=TcnBpdu())

    enter(PORT_INFORMATION, "OTHER", port)

    assert (port.rcvd_tcn, port.rcvd_tc) == (True, False)


def test_acknowledgement_of_a_classic_bridge_is_noted() -> None:
    message = ConfigBpdu(vector=HELD, times=TIMES, topology_change=True, topology_change_ack=True)
    port = port_holding(message=message)

    enter(PORT_INFORMATION, "REPEATED_DESIGNATED", port)

    assert (port.rcvd_tc, port.rcvd_tc_ack) == (True, True)


def test_a_link_that_reflects_is_disputed_and_kept_shut() -> None:
    port = port_holding(InfoIs.MINE, message=rst(HELD), learn=True, forward=True, agreed=True)

    enter(PORT_INFORMATION, "REFLECTED", port)

    assert (port.disputed, port.agreed, port.is_reflected) == (True, False, True)
    assert port.fd_while == NOW + 6.0


# --- VDE's dialect ---


def vde(message: Any, role: PortRole, **fields: Any) -> Any:
    return rst(message, role, dialect=Dialect.VDE, **fields)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (vde(BETTER, PortRole.ALTERNATE), "SUPERIOR_DESIGNATED"),
        (vde(HELD, PortRole.ALTERNATE), "SUPERIOR_DESIGNATED"),  # its times are read differently, once
        (vde(WORSE, PortRole.ALTERNATE), "NOT_DESIGNATED"),
        (vde(WORSE, PortRole.DESIGNATED), "INFERIOR_DESIGNATED"),
        (vde(BETTER, PortRole.ROOT), "OTHER"),
    ],
)
def test_a_blocked_port_of_a_vde_switch_may_still_be_the_way_to_the_root(message: Any, expected: str) -> None:
    assert classify(port_holding(message=message, dialect=Dialect.VDE)) == expected


def test_times_of_a_vde_switch_are_translated() -> None:
    message = vde(vector(1, 40_000_000, 2), PortRole.DESIGNATED)
    port = port_holding(message=message, dialect=Dialect.VDE, info_is=InfoIs.MINE)

    enter(PORT_INFORMATION, "SUPERIOR_DESIGNATED", port)

    assert port.port_times == Times(2.0, 40.0, 4.0, 21.0), "the cost tells how many switches are in between"
    assert port.rcvd_info_while == NOW + 12.0
    assert port.proposed, "it forwards unasked, so we must bring our ports in line unasked"
    assert classify(port) == "REPEATED_DESIGNATED"


def test_a_vde_switch_that_calls_us_its_way_to_the_root_withdraws_its_offer() -> None:
    port = port_holding(
        message=vde(HELD._replace(root_path_cost=50), PortRole.ROOT),
        dialect=Dialect.VDE,
        rcvd_info_while=SOON,
    )

    enter(PORT_INFORMATION, "NOT_DESIGNATED", port)

    assert target(PORT_INFORMATION, "CURRENT", port) == "AGED"
