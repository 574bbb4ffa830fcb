from __future__ import annotations

import pytest

from tests.vswitch.spanning_tree.machines import TIMES, bridge, change, make_tree, vector
from vswitch.spanning_tree.bpdu import PortRole
from vswitch.spanning_tree.port_role_selection import select_roles
from vswitch.spanning_tree.priority import PriorityVector
from vswitch.spanning_tree.settings import PortSettings, Times
from vswitch.spanning_tree.variables import InfoIs, Port, Tree

COST = 20_000_000


def hear(port: Port, message: PriorityVector, **changes: object) -> None:
    change(port, info_is=InfoIs.RECEIVED, port_priority=message, port_times=TIMES, **changes)


def roles(tree: Tree) -> list[PortRole]:
    return [port.selected_role for port in tree.ports.values()]


def test_alone_we_are_root_and_every_port_is_designated() -> None:
    tree = make_tree(2)
    tree.reselect = True

    select_roles(tree)

    assert (tree.root_priority.root_id, tree.root_port, tree.reselect) == (tree.bridge_id, None, False)
    assert roles(tree) == [PortRole.DESIGNATED] * 2
    assert all(port.selected and port.is_dirty for port in tree.ports.values())


def test_the_shorter_way_to_the_best_root_is_the_root_port() -> None:
    tree = make_tree(3)
    hear(tree.ports[1], vector(1, 100, 3))
    hear(tree.ports[2], vector(1, 50, 4))
    hear(tree.ports[3], vector(2, 0, 2))

    select_roles(tree)

    assert tree.root_port is tree.ports[2]
    assert tree.root_priority == vector(1, 50 + COST, 4)
    assert roles(tree) == [PortRole.ALTERNATE, PortRole.ROOT, PortRole.DESIGNATED]


def test_equal_ways_are_told_apart_by_sender_and_then_by_our_own_port() -> None:
    tree = make_tree(3)
    hear(tree.ports[1], vector(1, 0, 1, port=2))
    hear(tree.ports[2], vector(1, 0, 1, port=1))
    hear(tree.ports[3], vector(1, 0, 1, port=1))

    select_roles(tree)

    assert tree.root_port is tree.ports[2]


def test_path_cost_and_bonus_decide_among_ways() -> None:
    tree = make_tree(2)
    hear(tree.ports[1], vector(1, 0, 1, port=1))
    hear(tree.ports[2], vector(1, 0, 1, port=2))
    tree.bonus_port, tree.bonus_cost = 2, 1000

    select_roles(tree)

    assert tree.root_port is tree.ports[2]
    assert tree.root_priority.root_path_cost == COST - 1000


def test_a_bonus_never_makes_a_way_free() -> None:
    tree = make_tree(1)
    tree.bonus_port, tree.bonus_cost = 1, 10 * COST

    assert tree.ports[1].path_cost == 1


def test_times_come_from_the_root_and_age_on_the_way_but_hello_is_our_own() -> None:
    tree = make_tree(2, hello_time=1.0)
    hear(tree.ports[1], vector(1, 0, 1))
    tree.ports[1].port_times = Times(3.0, 30.0, 2.0, 20.0)

    select_roles(tree)

    assert tree.root_times == Times(4.0, 30.0, 2.0, 20.0)
    assert tree.ports[2].designated_times == Times(4.0, 30.0, 1.0, 20.0)
    assert tree.ports[2].designated_priority == PriorityVector(
        bridge(1), COST, tree.bridge_id, tree.ports[2].port_id
    )


def test_disabled_and_aged_ports() -> None:
    tree = make_tree(2)
    tree.ports[1].info_is = InfoIs.DISABLED
    tree.ports[2].info_is = InfoIs.AGED

    select_roles(tree)

    assert roles(tree) == [PortRole.DISABLED, PortRole.DESIGNATED]
    assert [port.updt_info for port in tree.ports.values()] == [False, True]


def test_our_own_information_is_updated_only_when_it_changed() -> None:
    tree = make_tree(2)
    tree.ports[2].port_times = TIMES._replace(max_age=19.0)

    select_roles(tree)

    assert [port.updt_info for port in tree.ports.values()] == [False, True]


def test_what_we_hear_of_ourselves_is_a_backup() -> None:
    tree = make_tree(2)
    hear(tree.ports[2], vector(0x50, 0, 0x50, port=1))

    select_roles(tree)

    assert roles(tree) == [PortRole.DESIGNATED, PortRole.BACKUP]
    assert tree.root_port is None


def test_worse_than_ours_is_answered_as_designated() -> None:
    tree = make_tree(2)
    hear(tree.ports[1], vector(1, 0, 1))
    hear(tree.ports[2], vector(1, 3 * COST, 4))

    select_roles(tree)

    assert roles(tree) == [PortRole.ROOT, PortRole.DESIGNATED]
    assert tree.ports[2].updt_info


def test_root_guard_never_looks_for_the_root_behind_the_port() -> None:
    tree = make_tree(2)
    hear(tree.ports[1], vector(1, 0, 1), settings=PortSettings(restricted_role=True))

    select_roles(tree)

    assert tree.root_port is None
    assert roles(tree) == [PortRole.ALTERNATE, PortRole.DESIGNATED]


def test_a_cost_beyond_its_field_is_no_way() -> None:
    tree = make_tree(1)
    hear(tree.ports[1], vector(1, 0xFFFF_FFFF - COST + 1, 3))

    select_roles(tree)

    assert tree.root_port is None


@pytest.mark.parametrize("priority", [0x7000, 0x9000])
def test_our_own_priority_counts(priority: int) -> None:
    tree = make_tree(1, priority=priority)
    hear(tree.ports[1], vector(1, 0, 1))

    select_roles(tree)

    assert (tree.root_port is None) is (priority == 0x7000)
