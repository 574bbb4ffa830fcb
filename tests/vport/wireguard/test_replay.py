from __future__ import annotations

from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from vport.wireguard.constants import REJECT_AFTER_MESSAGES, REPLAY_WINDOW
from vport.wireguard.replay import ReplayWindow


class Model:
    """The law itself: each counter once, none that lags more than the window, none out of range."""

    def __init__(self) -> None:
        self.seen: set[int] = set()
        self.last = 0

    def accept(self, counter: int) -> bool:
        if counter >= REJECT_AFTER_MESSAGES or counter in self.seen or self.last - counter > REPLAY_WINDOW:
            return False
        self.seen.add(counter)
        self.last = max(self.last, counter)
        return True


def test_verdicts_agree_with_the_vectors(vectors: dict[str, Any]) -> None:
    window = ReplayWindow()

    for case in vectors["replay_window"]:
        assert window.accept(int(case["counter"])) is case["accept"], case


COUNTERS = st.one_of(
    st.integers(0, 300),
    st.integers(8000, 8400),
    st.integers(16000, 25000),
    st.integers(REJECT_AFTER_MESSAGES - 9000, (1 << 64) - 1),
)


@given(st.lists(COUNTERS, max_size=200))
@example([8192, 0, 63, 64, 8192])
@example([0, 8191, 8192, 64, 63])
@example([5, 5 + 128 * 64, 5])
def test_window_agrees_with_the_model(counters: list[int]) -> None:
    window, model = ReplayWindow(), Model()

    for counter in counters:
        assert window.accept(counter) == model.accept(counter), counter


@given(st.lists(st.tuples(st.integers(0, 20000), st.integers(1, 200), st.booleans()), max_size=60))
@example([(0, 64, True), (64, 64, True), (63, 2, True), (0, 64, False)])
@example([(1, 63, True), (64, 128, True), (1, 200, False)])
def test_run_marks_what_single_counters_would(steps: list[tuple[int, int, bool]]) -> None:
    window, model = ReplayWindow(), Model()

    for first, count, at_once in steps:
        counters = range(first, first + count)
        if at_once and window.accept_run(first, count):
            assert all(model.accept(counter) for counter in counters)
        else:
            assert [window.accept(counter) for counter in counters] == [
                model.accept(counter) for counter in counters
            ]


def test_run_is_taken_whenever_it_is_newer_than_everything() -> None:
    window = ReplayWindow()

    assert window.accept(0)
    assert window.accept_run(1, 45)
    assert not window.accept_run(45, 45)  # overlaps by one
    assert window.accept_run(50, 9000)  # longer than the window
    assert not window.accept(49)
    assert not window.accept_run(REJECT_AFTER_MESSAGES - 1, 2)
    assert window.accept_run(REJECT_AFTER_MESSAGES - 2, 2)
