from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vport.errors import SettingsError
from vswitch.spanning_tree.priority import (
    ROOT_PATH_COST_MAX,
    BridgeId,
    PortId,
    PriorityVector,
    bridge_address,
    bridge_priority,
    format_bridge_id,
    make_bridge_id,
    make_port_id,
)

MAC = bytes.fromhex("00ff0000000a")

bridge_ids = st.integers(0, 2**64 - 1).map(BridgeId)
vectors = st.builds(
    PriorityVector, bridge_ids, st.integers(0, 2**32 - 1), bridge_ids, st.integers(0, 2**16 - 1).map(PortId)
)


def vector(root: int = 1, cost: int = 0, bridge: int = 1, port: int = 0x8001) -> PriorityVector:
    return PriorityVector(BridgeId(root), cost, BridgeId(bridge), PortId(port))


def test_bridge_id_reads_as_fstp_print_shows_it() -> None:
    bridge_id = make_bridge_id(0x8000, MAC)

    assert format_bridge_id(bridge_id) == "80:00:00:ff:00:00:00:0a"
    assert (bridge_priority(bridge_id), bridge_address(bridge_id)) == (0x8000, MAC)


def test_lower_bridge_priority_wins_over_lower_address() -> None:
    assert make_bridge_id(0x7000, b"\xff" * 6) < make_bridge_id(0x8000, b"\0" * 6)


def test_port_id_holds_priority_above_number() -> None:
    assert make_port_id(128, 20) == 0x8014
    assert make_port_id(112, 4095) < make_port_id(128, 0)


@pytest.mark.parametrize(("priority", "number"), [(129, 1), (256, 1), (-16, 1), (128, 4096), (128, -1)])
def test_port_id_refuses_what_does_not_fit(priority: int, number: int) -> None:
    with pytest.raises(SettingsError, match=r"priority|number"):
        make_port_id(priority, number)


@pytest.mark.parametrize("priority", [-1, 65536])
def test_bridge_id_refuses_a_priority_that_does_not_fit(priority: int) -> None:
    with pytest.raises(SettingsError, match="0 to 65535"):
        make_bridge_id(priority, MAC)


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (vector(root=1, cost=9), vector(root=2, cost=0)),
        (vector(cost=1, bridge=9), vector(cost=2, bridge=1)),
        (vector(bridge=1, port=9), vector(bridge=2, port=1)),
        (vector(port=1), vector(port=2)),
    ],
)
def test_vectors_compare_component_by_component(better: PriorityVector, worse: PriorityVector) -> None:
    assert better < worse
    assert better.is_superior_to(worse)
    assert not vector(bridge=7 << 4).is_superior_to(vector(bridge=3))


def test_worse_news_from_the_same_port_are_superior() -> None:
    assert vector(cost=50).is_superior_to(vector(cost=10))
    assert not vector(cost=50, port=0x8002).is_superior_to(vector(cost=10))


def test_the_same_port_is_known_by_address_and_number_only() -> None:
    before = vector(bridge=0x8000 << 48 | 5, port=0x8001)
    after = vector(bridge=0x9000 << 48 | 5, port=0x7001)

    assert after.is_from_same_port(before)
    assert not after.is_from_same_port(vector(bridge=0x8000 << 48 | 6))


def test_a_message_is_not_superior_to_itself() -> None:
    assert not vector().is_superior_to(vector())


def test_cost_that_leaves_its_field_is_no_way_to_the_root() -> None:
    assert vector(cost=ROOT_PATH_COST_MAX - 5).through(5) == vector(cost=ROOT_PATH_COST_MAX)
    assert vector(cost=ROOT_PATH_COST_MAX - 5).through(6) is None


@given(vectors, vectors, vectors)
def test_order_of_vectors_is_total(one: PriorityVector, two: PriorityVector, three: PriorityVector) -> None:
    assert (one < two) + (one == two) + (two < one) == 1
    if one <= two <= three:
        assert one <= three
