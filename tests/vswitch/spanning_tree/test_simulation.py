"""Random networks under a virtual clock: never a loop, always one tree again.

``VSWITCH_TOPOLOGIES=500 pytest tests/vswitch/spanning_tree/test_simulation.py`` runs as many; a failing
seed is its test id.
"""

from __future__ import annotations

import os
from random import Random
from typing import Final

import pytest

from tests.vswitch.spanning_tree.network import LoopError, Network, OurNode, random_links
from vswitch.spanning_tree import BridgeSettings
from vswitch.vlan import PortState

TOPOLOGIES: Final = int(os.environ.get("VSWITCH_TOPOLOGIES", "16"))
WIDE: Final = {"max_age": 40.0, "forward_delay": 21.0}  # forty switches to the root instead of twenty
BOUND: Final = 40.0 + 2 * 21.0  # seconds; max age and twice the forward delay, the classic bound
CAUSES = 4


def settle(net: Network, bound: float) -> float:
    """Run until the network has converged, and give how long the last change of a port state took."""
    start = net.now
    while True:
        net.run(1.0)
        try:
            net.assert_converged()
        except LoopError:
            raise
        except AssertionError:
            if net.now - start >= bound:
                raise
            continue
        changed_at = net.last_state_change
        net.run(4.0)  # still the same when every hello and short delay has passed
        if net.last_state_change == changed_at:
            net.assert_converged()
            return max(0.0, changed_at - start)


def disturb(net: Network, random: Random, everyone: range) -> None:
    """One fault or recovery."""
    alive = [link for link in net.links if all(end[0] in net.nodes for end in link.ends)]
    dead = sorted(set(everyone) - set(net.nodes))
    match random.randrange(5):
        case 0 | 1:
            net.cut(random.choice([link for link in alive if link.is_up] or net.links))
        case 2:
            down = [link for link in alive if not link.is_up or link.is_silent]
            for link in down[:1]:
                net.cut(link)
                net.run(
                    2 * net.skew
                )  # both ends have noticed; a link that comes back unnoticed is a loop for a hello
                net.bring_up(link)
        case 3 if len(net.nodes) > 2:
            net.stop_node(random.choice(sorted(net.nodes)))
        case 4 if dead:
            number = random.choice(dead)
            net.add_node(number)
            for link in net.links_of(number):
                if all(end[0] in net.nodes for end in link.ends):
                    net.bring_up(link)
        case _:
            net.silence(random.choice([link for link in alive if link.is_up] or net.links))


@pytest.mark.parametrize("seed", range(TOPOLOGIES))
def test_no_loop_at_any_instant_and_one_tree_after_every_disturbance(seed: int) -> None:
    random = Random(seed)
    count = random.randint(2, 50)
    priorities = [random.choice((0x7000, 0x8000, 0x9000)) for _ in range(count + 1)]
    hold_count = random.choice((1, 3, 6, 10))

    def make_node(number: int) -> OurNode:
        settings = BridgeSettings(priority=priorities[number], tx_hold_count=hold_count, **WIDE)
        return OurNode(number, settings=settings)

    net = Network(random, make_node)
    for number in range(1, count + 1):
        net.add_node(number)
    for one, other in random_links(random, count, random.randint(0, count)):
        net.add_link(one, other)
    settle(net, BOUND)

    for _ in range(CAUSES):
        for _ in range(random.randint(1, 3)):
            disturb(net, random, range(1, count + 1))
            net.run(random.choice((0, 0.001, 0.01, 0.1, 1)))
        for _ in range(20):
            net.at(random.uniform(0, 3), lambda: net.flood(random.choice(sorted(net.nodes))))
        settle(net, BOUND)


@pytest.mark.parametrize("broken", range(7))
def test_ring_of_seven_heals_within_a_second(broken: int) -> None:
    net = Network(Random(broken), OurNode)
    for number in range(1, 8):
        net.add_node(number)
    for number in range(1, 8):
        net.add_link(number, number % 7 + 1)
    settle(net, 5.0)
    blocked = [link for link in net.links if link not in net.active_links()]
    assert len(blocked) == 1

    net.cut(net.links[broken])
    before = net.now
    net.run(1.0)

    net.assert_converged()
    assert net.last_state_change - before < 1.0

    net.bring_up(net.links[broken])
    net.run(1.0)
    net.assert_converged()


def test_silent_root_link_is_replaced_after_three_hellos() -> None:
    net = Network(Random(1), OurNode)
    for number in (1, 2, 3):
        net.add_node(number)
    links = [net.add_link(1, 2), net.add_link(1, 3), net.add_link(2, 3)]
    settle(net, 5.0)

    net.silence(links[1])

    net.run(3.9)
    assert (
        net.nodes[3].state(3) is not PortState.FORWARDING or net.nodes[2].state(3) is not PortState.FORWARDING
    )
    net.run(3.2)
    net.assert_converged()


def test_cable_between_two_ports_of_one_switch_is_cut() -> None:
    net = Network(Random(1), OurNode)
    net.add_node(1)
    net.add_link(1, 1)

    settle(net, 30.0)

    assert {net.nodes[1].state(2), net.nodes[1].state(3)} == {PortState.DISCARDING, PortState.FORWARDING}


def test_parallel_cables_leave_one_in_use_and_swap_at_once() -> None:
    net = Network(Random(1), OurNode)
    net.add_node(1)
    net.add_node(2)
    cables = [net.add_link(1, 2) for _ in range(3)]
    settle(net, 5.0)
    assert net.active_links() == cables[:1]

    net.cut(cables[0])
    net.run(0.1)

    assert net.active_links() == cables[1:2]


def test_tagged_instances_agree_with_each_other() -> None:
    net = Network(Random(3), lambda number: OurNode(number, vid=291, is_tagged=True))
    for number in (1, 2, 3):
        net.add_node(number)
    for one, other in ((1, 2), (2, 3), (3, 1)):
        net.add_link(one, other)

    settle(net, 5.0)

    assert len(net.active_links()) == 2


def test_the_checker_sees_a_loop() -> None:
    """The checks above are worth nothing if a loop would pass them."""

    class Open(OurNode):
        def state(self, port: int) -> PortState:
            return PortState.FORWARDING

    net = Network(Random(1), Open, skew=0.0)
    for number in (1, 2, 3):
        net.add_node(number)
    for one, other in ((1, 2), (2, 3)):
        net.add_link(one, other)
    net.run(1.0)

    net.add_link(3, 1)

    with pytest.raises(LoopError, match="closes a loop"):
        net.run(1.0)


def test_the_checker_sees_a_frame_that_circulates() -> None:
    class Open(OurNode):
        def state(self, port: int) -> PortState:
            return PortState.FORWARDING

    net = Network(Random(1), Open, loops_allowed=True)
    for number in (1, 2, 3):
        net.add_node(number)
    for one, other in ((1, 2), (2, 3), (3, 1)):
        net.add_link(one, other)
    net.run(1.0)

    net.flood(1)

    with pytest.raises(LoopError, match="a frame went"):
        net.run(1.0)
