"""Ours beside vde_switch and beside classic spanning tree, both as independent models."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest

from tests.vswitch.spanning_tree.classic_model import ClassicNode
from tests.vswitch.spanning_tree.network import Network, OurNode
from tests.vswitch.spanning_tree.test_simulation import settle
from tests.vswitch.spanning_tree.vde_model import VdeNode
from vswitch.spanning_tree import BridgeSettings, TopologyChanged
from vswitch.vlan import PortState

if TYPE_CHECKING:
    from tests.vswitch.spanning_tree.network import Link, Node

CLASSIC_BOUND = 20.0 + 2 * 15.0 + 5.0
VDE_BOUND = 12.0 + 4.0 + 16.0 * 3


def mixed_ring(kinds: str, seed: int = 0, priorities: tuple[int, ...] = (), **options: object) -> Network:
    """Give a ring: ``O`` is ours, ``V`` a vde_switch, ``C`` a classic bridge."""

    def make_node(number: int) -> Node:
        priority = priorities[number - 1] if priorities else 0x8000
        match kinds[number - 1]:
            case "V":
                return VdeNode(number, priority)
            case "C":
                return ClassicNode(number, priority)
            case _:
                return OurNode(number, settings=BridgeSettings(priority=priority))

    net = Network(Random(seed), make_node, loops_allowed="V" in kinds)
    for number in range(1, len(kinds) + 1):
        net.add_node(number)
    for number in range(1, len(kinds) + 1):
        net.add_link(number, number % len(kinds) + 1)
    return net


def random_kinds(random: Random, other: str) -> str:
    kinds = [random.choice("O" + other) for _ in range(random.randint(2, 7))]
    kinds[random.randrange(len(kinds))] = "O"
    return "".join(kinds)


def cut_and_heal(net: Network, link: Link, bound: float) -> None:
    net.cut(link)
    settle(net, bound)
    net.bring_up(link)
    settle(net, bound)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(("other", "bound"), [("V", VDE_BOUND), ("C", CLASSIC_BOUND)])
def test_a_mixed_ring_is_cut_and_heals(other: str, bound: float, seed: int) -> None:
    random = Random(seed)
    kinds = random_kinds(random, other)
    priorities = tuple(random.choice((0x7000, 0x8000, 0x9000)) for _ in kinds)
    net = mixed_ring(kinds, seed, priorities)
    settle(net, bound)

    for link in random.sample(net.links, min(3, len(net.links))):
        cut_and_heal(net, link, bound)

    assert net.loop_seconds < 0.1, "a vde_switch opens a new link at once, but we close the ring at once too"


@pytest.mark.parametrize("kinds", ["OV", "VO", "OVV", "VVO", "OVO", "VOV"])
def test_two_cables_to_a_vde_switch_make_no_storm(kinds: str) -> None:
    net = mixed_ring(kinds)
    net.run(60.0)
    before = net.bpdus

    net.cut(net.links[0])
    net.run(10.0)
    net.bring_up(net.links[0])
    net.run(20.0)

    net.assert_converged()
    assert net.bpdus - before < 30 * 3 * len(kinds), "a hello each way and second, and a few changes"


def test_a_vde_neighbour_is_answered_in_its_dialect() -> None:
    net = mixed_ring("OV", priorities=(0x9000, 0x8000))
    settle(net, VDE_BOUND)
    ours = net.nodes[1]
    assert isinstance(ours, OurNode)

    root_port, spare = (ours.tree.port_view(port) for port in (2, 3))

    assert root_port is not None
    assert spare is not None
    assert (root_port.protocol, root_port.state) == ("fstp", PortState.FORWARDING)
    assert (spare.protocol, spare.state) == ("fstp", PortState.DISCARDING)
    assert net.nodes[2].state(3) is PortState.FORWARDING, "its end is ready to take over at once"

    net.cut(net.links[0])
    net.run(0.1)
    net.assert_converged()


def test_a_classic_neighbour_is_answered_in_classic_bpdus_and_a_rapid_one_is_not() -> None:
    net = mixed_ring("OOC")
    settle(net, CLASSIC_BOUND)
    ours = net.nodes[2]
    assert isinstance(ours, OurNode)

    protocols = [view.protocol for view in ours.tree.view(0.0).ports]

    assert protocols == ["rstp", "rstp", "stp"]


def test_a_topology_change_crosses_classic_bridges_by_notification() -> None:
    net = mixed_ring("OCO")
    settle(net, CLASSIC_BOUND)
    ours = [net.nodes[number] for number in (1, 3)]
    for node in ours:
        assert isinstance(node, OurNode)
        node.events.clear()

    net.cut(net.links[0])
    settle(net, CLASSIC_BOUND)

    changed = [isinstance(event, TopologyChanged) for node in ours for event in node.events]  # type: ignore[attr-defined]
    assert any(changed)


def test_a_bridge_forced_to_classic_works_with_the_independent_model() -> None:
    def make_node(number: int) -> Node:
        if number == 2:
            return ClassicNode(number)
        return OurNode(number, settings=BridgeSettings(protocol_version=0))

    net = Network(Random(1), make_node)
    for number in (1, 2, 3):
        net.add_node(number)
    for one, other in ((1, 2), (2, 3), (3, 1)):
        net.add_link(one, other)

    settle(net, CLASSIC_BOUND)

    assert len(net.active_links()) == 2
