from __future__ import annotations

from typing import Any

import pytest

from tests.vswitch.spanning_tree.machines import NOW, TIMES, change, enter, make_lone_port, make_tree, target
from vswitch.spanning_tree.bpdu import ConfigBpdu, Dialect, PortRole, RstBpdu, TcnBpdu
from vswitch.spanning_tree.port_transmit import PORT_TRANSMIT
from vswitch.spanning_tree.settings import PortSettings

SOON = NOW + 1
NEWS = {"new_info": True, "hello_when": SOON}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"hello_when": SOON}, None),
        ({"hello_when": NOW}, "TRANSMIT_PERIODIC"),
        ({**NEWS, "hello_when": NOW}, "TRANSMIT_PERIODIC"),
        (NEWS, "TRANSMIT_RSTP"),
        ({**NEWS, "role": PortRole.ALTERNATE}, "TRANSMIT_RSTP"),
        ({**NEWS, "tx_until": NOW + 5.5}, None),
        ({**NEWS, "tx_until": NOW + 5.0}, "TRANSMIT_RSTP"),
        ({**NEWS, "send_rstp": False}, "TRANSMIT_CONFIG"),
        ({**NEWS, "send_rstp": False, "role": PortRole.ROOT}, "TRANSMIT_TCN"),
        ({**NEWS, "send_rstp": False, "role": PortRole.ALTERNATE}, None),
        ({**NEWS, "selected": False}, None),
        ({**NEWS, "updt_info": True}, None),
        ({**NEWS, "role": PortRole.DISABLED}, None),
    ],
)
def test_transmit_exits(changes: dict[str, Any], expected: str | None) -> None:
    assert target(PORT_TRANSMIT, "IDLE", make_lone_port(**changes)) == expected


@pytest.mark.parametrize(
    ("changes", "is_due"),
    [
        ({}, True),
        ({"role": PortRole.ROOT}, False),
        ({"role": PortRole.ROOT, "tc_while": SOON}, True),
        ({"role": PortRole.ALTERNATE}, False),
        ({"role": PortRole.ROOT, "dialect": Dialect.VDE}, True),
        ({"role": PortRole.ALTERNATE, "dialect": Dialect.VDE}, True),
        ({"role": PortRole.BACKUP, "dialect": Dialect.VDE}, False),
    ],
)
def test_hello_of_each_role(changes: dict[str, Any], is_due: bool) -> None:
    port = make_lone_port(**changes)

    assert enter(PORT_TRANSMIT, "TRANSMIT_PERIODIC", port) == "IDLE"

    assert port.new_info is is_due


def test_hellos_fall_on_whole_seconds() -> None:
    port = make_lone_port()
    port.tree.now = 100.7

    enter(PORT_TRANSMIT, "IDLE", port)

    assert port.hello_when == 102.0


def test_init_has_news_and_a_full_allowance() -> None:
    port = make_lone_port(tx_until=SOON + 10)

    assert enter(PORT_TRANSMIT, "TRANSMIT_INIT", port) == "IDLE"

    assert port.new_info
    assert port.may_transmit()


def test_the_hold_count_bounds_a_burst_and_a_place_comes_free_each_second() -> None:
    port = make_tree(tx_hold_count=3).ports[1]
    port.hello_when = NOW + 100

    for _ in range(5):
        port.new_info = True
        PORT_TRANSMIT.begin(port) if not port.states else PORT_TRANSMIT.run(port)
    PORT_TRANSMIT.run(port)
    assert len(port.outbox) == 3

    port.tree.now = port.transmit_opens_at
    PORT_TRANSMIT.run(port)
    assert (len(port.outbox), port.tree.now) == (4, NOW + 1.0)


def test_rst_bpdu_says_what_the_port_is_and_does() -> None:
    port = make_lone_port(
        proposing=True, learning=True, agree=True, tc_while=SOON, tc_ack=True, new_info=True
    )

    enter(PORT_TRANSMIT, "TRANSMIT_RSTP", port)

    assert port.outbox == [
        RstBpdu(
            vector=port.designated_priority,
            times=TIMES,
            role=PortRole.DESIGNATED,
            topology_change=True,
            proposal=True,
            learning=True,
            forwarding=False,
            agreement=True,
        )
    ]
    assert (port.new_info, port.tc_ack) == (False, False)


def test_configuration_bpdu_acknowledges_once() -> None:
    port = make_lone_port(send_rstp=False, tc_ack=True)

    enter(PORT_TRANSMIT, "TRANSMIT_CONFIG", port)

    assert port.outbox == [ConfigBpdu(vector=port.designated_priority, times=TIMES, topology_change_ack=True)]
    assert not port.tc_ack


def test_root_port_beside_a_classic_bridge_sends_a_notification() -> None:
    port = make_lone_port(role=PortRole.ROOT, send_rstp=False)

    enter(PORT_TRANSMIT, "TRANSMIT_TCN", port)

    assert port.outbox == [TcnBpdu()]


@pytest.mark.parametrize("role", [PortRole.ALTERNATE, PortRole.ROOT])
def test_a_vde_switch_hears_root_from_every_port_that_it_should_forward_to(role: PortRole) -> None:
    port = make_lone_port(role=role, dialect=Dialect.VDE)
    port.tree.root_port = change(port, heard_at=NOW - 3)

    enter(PORT_TRANSMIT, "TRANSMIT_RSTP", port)

    (bpdu,) = port.outbox
    assert isinstance(bpdu, RstBpdu)
    assert (bpdu.dialect, bpdu.role, bpdu.agreement) == (Dialect.VDE, PortRole.ROOT, True)
    assert bpdu.times == (3.0, 40.0, 4.0, 0.0)


def test_a_vde_switch_is_told_of_a_change_once() -> None:
    port = make_lone_port(dialect=Dialect.VDE, tc_while=NOW + 3)

    enter(PORT_TRANSMIT, "TRANSMIT_RSTP", port)
    enter(PORT_TRANSMIT, "TRANSMIT_RSTP", port)

    assert [isinstance(bpdu, RstBpdu) and bpdu.topology_change for bpdu in port.outbox] == [True, False]


def test_a_filtered_port_is_silent() -> None:
    port = make_lone_port(settings=PortSettings(bpdu_filter=True))

    enter(PORT_TRANSMIT, "TRANSMIT_RSTP", port)

    assert port.outbox == []
