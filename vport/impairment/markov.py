"""States that a cable changes between by chance, a step every so often: a Markov chain under ``now``.

A new state loops on itself; the weight of the loop is always what the other edges leave of 100 percent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from vport.errors import SettingsError

if TYPE_CHECKING:
    from random import Random

MAX_NODES: Final = 256
MAX_NAME: Final = 64  # characters
DEFAULT_PERIOD: Final = 0.1  # seconds, wirefilter's
LONGEST_PERIOD: Final = 86400.0  # seconds
_WHOLE: Final = 100 + 1e-9  # percent: 33.3, 33.3 and 33.4 are more than 100 in one of their orders
_MAX_STEPS: Final = 1000  # at once, after the clock has leapt


class Transition(NamedTuple):
    """The chain went to another state."""

    old: int
    new: int


class MarkovChain:
    """The chain. Nodes are numbered from 0; weights are percent.

    Attributes:
        current: the state.
        names: of the states, empty where there is none.
        period: seconds between steps.
    """

    def __init__(self, random: Random) -> None:
        self.current = 0
        self.names = [""]
        self._random = random
        self._edges: list[dict[int, float]] = [{}]  # without the loops
        self._period = DEFAULT_PERIOD
        self._step_at: float | None = None

    @property
    def size(self) -> int:
        """How many states there are."""
        return len(self.names)

    @property
    def period(self) -> float:
        """Seconds between steps."""
        return self._period

    def set_period(self, seconds: float, now: float) -> None:
        """Change the time between steps; the next one is so far from ``now``. Raises SettingsError."""
        if not 0 < seconds <= LONGEST_PERIOD:
            raise SettingsError(
                f"the time between steps must be more than 0 and at most a day, not {seconds:g} s"
            )
        self._period = seconds
        if self._step_at is not None:
            self._step_at = now + seconds

    def resize(self, size: int, now: float) -> None:
        """Change the number of states; edges to those that go, go too. Raises SettingsError."""
        if not 1 <= size <= MAX_NODES:
            raise SettingsError(f"the number of states must be from 1 to {MAX_NODES}, not {size}")
        added = size - self.size
        self.names[size:] = []
        self._edges[size:] = []
        self.names += [""] * added
        self._edges += [{} for _ in range(added)]
        for edges in self._edges:
            for node in [node for node in edges if node >= size]:
                del edges[node]
        if self.current >= size:
            self.current = 0
        if size == 1:
            self._step_at = None
        elif self._step_at is None:
            self._step_at = now + self._period

    def check(self, node: int) -> int:
        """Give ``node`` back if there is such a state. Raises SettingsError."""
        if not 0 <= node < self.size:
            raise SettingsError(f"there is no state {node}: 0 to {self.size - 1}")
        return node

    def rename(self, node: int, name: str) -> None:
        """Name a state; empty takes the name away. Raises SettingsError."""
        if len(name) > MAX_NAME:
            raise SettingsError(f"a name has at most {MAX_NAME} characters")
        self.names[self.check(node)] = name

    def set_edge(self, old: int, new: int, weight: float) -> None:
        """Set the percentage of steps from ``old`` that lead to ``new``; a loop's follows from the others.

        Raises:
            SettingsError: there is no such state, or the edges would have more than 100 percent.
        """
        others = sum(w for node, w in self._edges[self.check(old)].items() if node != self.check(new))
        if not 0 <= weight <= 100 or (old != new and others + weight > _WHOLE):
            raise SettingsError(
                f"the weight of an edge is a percentage, and all from one state are at most 100 together: "
                f"{weight:g} with {others:g} already there is not possible"
            )
        if old == new:
            return
        if weight:
            self._edges[old][new] = weight
        else:
            self._edges[old].pop(new, None)

    def edges(self, node: int) -> list[tuple[int, float]]:
        """Give the edges from ``node`` that have a weight, the loop included, by number."""
        weights = {**self._edges[self.check(node)]}
        loop = 100 - sum(weights.values())
        if loop > 0:
            weights[node] = loop
        return sorted(weights.items())

    def weights(self, node: int) -> tuple[tuple[int, float], ...]:
        """Give the edges from ``node`` to others, as they were set."""
        return tuple(self._edges[self.check(node)].items())

    def next_deadline(self) -> float | None:
        """Tell when the next step is, None for never."""
        return self._step_at

    def advance(self, now: float) -> list[Transition]:
        """Take the steps that are due by ``now``; give the changes of state."""
        transitions = []
        steps = 0
        while self._step_at is not None and self._step_at <= now:
            steps += 1
            self._step_at = self._step_at + self._period if steps < _MAX_STEPS else now + self._period
            old, self.current = self.current, self._drawn()
            if self.current != old:
                transitions.append(Transition(old, self.current))
        return transitions

    def _drawn(self) -> int:
        rest = self._random.random() * 100
        for node, weight in self._edges[self.current].items():
            rest -= weight
            if rest < 0:
                return node
        return self.current
