from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vport.impairment.any_wires import values, wire_settings
from vport.errors import SettingsError
from vport.impairment import BOTH, PARAMETERS, Direction, Value, Wire, WireSettings
from vport.impairment.markov import MarkovChain, Transition

LR, RL = BOTH


def test_directions_have_settings_of_their_own() -> None:
    wire = Wire(1)
    wire.read("delay", "LR10ms")
    wire.read("delay", "RL30ms")
    wire.receive(LR, b"to the right", 0.0)
    wire.receive(RL, b"to the left", 0.0)

    assert wire.next_deadline() == 0.01
    assert wire.due(LR, 0.01) == [b"to the right"]
    assert wire.due(RL, 0.01) == []
    assert wire.due(RL, 0.03) == [b"to the left"]


def test_traffic_of_one_direction_changes_nothing_in_the_other() -> None:
    def fates(disturbances: int) -> list[bytes]:
        wire = Wire(5)
        wire.read("loss", "50%")
        for number in range(200):
            for _ in range(disturbances):
                wire.receive(RL, b"noise", 0.0)
            wire.receive(LR, bytes([number]), 0.0)
        return wire.due(LR, 0.0)

    assert fates(0) == fates(3)


def test_order_is_a_matter_of_one_direction() -> None:
    wire = Wire(1)
    wire.read("delay", "LR1s")
    wire.receive(LR, b"slow", 0.0)
    wire.receive(RL, b"quick", 0.0)
    assert wire.due(RL, 0.0) == [b"quick"]


def test_another_seed_is_another_run() -> None:
    def fates(seed: int) -> list[bytes]:
        wire = Wire(seed)
        wire.read("loss", "50%")
        for number in range(200):
            wire.receive(LR, bytes([number]), 0.0)
        return wire.due(LR, 0.0)

    assert fates(1) == fates(1)
    assert fates(1) != fates(2)


def test_change_holds_for_frames_that_come_after_it() -> None:
    wire = Wire(1)
    wire.read("delay", "1s")
    wire.receive(LR, b"before", 0.0)
    wire.read("delay", "0")
    wire.set_fifo(False)
    wire.receive(LR, b"after", 0.5)
    assert wire.due(LR, 0.5) == [b"after"]
    assert wire.due(LR, 1.0) == [b"before"]


# --- states ---


def test_settings_of_a_state_hold_while_the_wire_is_in_it() -> None:
    wire = Wire(1)
    wire.resize(2, 0.0)
    wire.read("loss", "LR100%[1]")

    wire.receive(LR, b"1", 0.0)
    assert wire.due(LR, 0.0) == [b"1"]
    wire.enter(1)
    wire.receive(LR, b"2", 0.0)
    wire.receive(RL, b"3", 0.0)
    assert wire.due(LR, 0.0) == []
    assert wire.due(RL, 0.0) == [b"3"]


def test_state_that_does_not_exist_is_refused() -> None:
    wire = Wire(1)
    with pytest.raises(SettingsError, match="there is no state 1: 0 to 0"):
        wire.read("loss", "1[1]")
    with pytest.raises(SettingsError, match="there is no state 7"):
        wire.enter(7)


def test_wire_wakes_for_its_chain_only_when_it_has_states() -> None:
    wire = Wire(1)
    assert wire.next_deadline() is None
    wire.resize(2, 10.0)
    assert wire.next_deadline() == 10.1
    assert wire.advance(10.1) == []  # both loop on themselves
    wire.chain.set_edge(0, 1, 100)
    assert wire.advance(10.3) == [Transition(0, 1)]
    wire.resize(1, 11.0)
    assert wire.next_deadline() is None
    assert wire.chain.current == 0


def test_state_that_is_deleted_forgets_its_settings() -> None:
    wire = Wire(1)
    wire.resize(2, 0.0)
    wire.read("loss", "50[1]")
    wire.enter(1)
    wire.resize(1, 0.0)
    wire.resize(2, 0.0)
    assert wire.settings(1, Direction.LEFT_TO_RIGHT).loss == Value()


def test_share_of_time_in_each_state_is_the_stationary_one() -> None:
    chain = MarkovChain(Random(3))
    chain.resize(3, 0.0)
    chain.set_period(1.0, 0.0)
    for old, new, weight in ((0, 1, 30), (0, 2, 5), (1, 0, 50), (2, 0, 100)):
        chain.set_edge(old, new, weight)
    visits: Counter[int] = Counter()
    for step in range(1, 50_001):
        chain.advance(float(step))
        visits[chain.current] += 1

    # As often into a state as out of it: of 1.65 visits 1 to state 0, 0.3/0.5 to 1, 0.05 to 2.
    assert visits[0] / 50_000 == pytest.approx(1 / 1.65, rel=0.03)
    assert visits[1] / 50_000 == pytest.approx(0.6 / 1.65, rel=0.03)
    assert visits[2] / 50_000 == pytest.approx(0.05 / 1.65, rel=0.08)


def test_loop_has_what_the_other_edges_leave() -> None:
    chain = MarkovChain(Random(1))
    chain.resize(3, 0.0)
    chain.set_edge(0, 1, 30)
    chain.set_edge(0, 2, 5)
    chain.set_edge(0, 0, 99)
    assert chain.edges(0) == [(0, 65), (1, 30), (2, 5)]
    chain.set_edge(0, 1, 95)
    assert chain.edges(0) == [(1, 95), (2, 5)]
    with pytest.raises(SettingsError, match="at most 100 together"):
        chain.set_edge(0, 1, 96)
    chain.resize(2, 0.0)
    assert chain.edges(0) == [(0, 5), (1, 95)]


def test_steps_missed_while_the_clock_leapt_are_taken_but_not_without_end() -> None:
    chain = MarkovChain(Random(1))
    chain.resize(2, 0.0)
    chain.set_edge(0, 1, 100)
    chain.set_edge(1, 0, 100)
    assert len(chain.advance(1.05)) == 10
    assert len(chain.advance(1e9)) == 1000
    assert chain.next_deadline() == 1e9 + 0.1


@pytest.mark.parametrize(("size", "name", "period"), [(0, "", 1), (257, "", 1), (1, "x" * 65, 1), (1, "", 0)])
def test_chain_refuses_what_is_out_of_range(size: int, name: str, period: float) -> None:
    chain = MarkovChain(Random(1))
    with pytest.raises(SettingsError):  # noqa: PT012 - one of the three is out of range
        chain.resize(size, 0.0)
        chain.rename(0, name)
        chain.set_period(period, 0.0)


@pytest.mark.parametrize("weights", [(33.3, 33.3, 33.4), (33.4, 33.3, 33.3)])
def test_percentages_that_are_100_together_may_be_set_in_any_order(weights: tuple[float, ...]) -> None:
    chain = MarkovChain(Random(1))
    chain.resize(4, 0.0)
    for node, weight in enumerate(weights, 1):
        chain.set_edge(0, node, weight)


# --- all of it as one value ---


@given(wire_settings(), wire_settings())
def test_wire_that_is_configured_has_the_settings(before: WireSettings, settings: WireSettings) -> None:
    wire = Wire(1)
    wire.configure(before, 0.0)
    wire.configure(settings, 1.0)
    assert wire.as_settings() == settings


def test_fresh_wire_has_the_settings_of_a_clear_one() -> None:
    assert Wire(1).as_settings() == WireSettings()


@given(st.sampled_from(list(PARAMETERS)).flatmap(lambda name: st.tuples(st.just(name), values(name))))
def test_value_that_is_written_reads_back_as_the_same(given_value: tuple[str, Value]) -> None:
    name, value = given_value
    assert PARAMETERS[name].parse(PARAMETERS[name].write(value)).value == value
