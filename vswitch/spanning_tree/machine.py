"""State machines as data: a table of states, exits and entry actions, and the few lines that walk it.

Each machine of 802.1D-2004 clause 17 is one `Machine` in a file of its own, written so that a reader can
lay it beside the standard's figure. Conditions and actions see one port; what concerns the whole bridge
they reach through ``port.tree``. Nothing here knows what the states mean.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from vswitch.spanning_tree.variables import Port

Condition = Callable[["Port"], bool]
Action = Callable[["Port"], None]
Exit = tuple[Condition, str]

STEP_LIMIT: Final = 1000  # the longest legal walk takes about ten; a bug must not hang the switch


def always(_port: Port) -> bool:
    """Hold for every port: the guard of a machine that has none."""
    return True


def do_nothing(_port: Port) -> None:
    """Enter a state that only waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One state machine.

    Attributes:
        name: key of its state in ``Port.states``. initial: the state that BEGIN enters. enter: what each
        state does on entry; every state is listed. exits: conditions and targets per state, tried in order;
        only while ``guard`` holds. States that are only
            left unconditionally are not listed.
        anywhere: exits that every state has, tried first. onward: states that are left at once and
        unconditionally (UCT), whatever the guard says. guard: qualifies all exits but the unconditional
        ones.
    """

    name: str
    initial: str
    enter: Mapping[str, Action]
    exits: Mapping[str, tuple[Exit, ...]]
    anywhere: tuple[Exit, ...] = ()
    onward: Mapping[str, str] = field(default_factory=dict)
    guard: Condition = always

    def begin(self, port: Port) -> None:
        """Enter the initial state and what follows from it unconditionally."""
        self.go(port, self.initial)

    def run(self, port: Port) -> bool:
        """Take exits until none applies; say whether any did.

        Raises:
            RuntimeError: it does not come to rest, which is a bug in the table.
        """
        for step in range(STEP_LIMIT):
            target = self.next_state(port)
            if target is None:
                return step > 0
            self.go(port, target)
        raise RuntimeError(f"{self.name} machine of port {port.number} does not come to rest")

    def next_state(self, port: Port) -> str | None:
        """Give the state that the table leads to from here; ``None`` to stay."""
        if self.guard is not always and not self.guard(port):
            return None
        for condition, target in self.anywhere:
            if condition(port):
                return target
        for condition, target in self.exits.get(port.states[self.name], ()):
            if condition(port):
                return target
        return None

    def go(self, port: Port, target: str) -> None:
        """Enter a state, whatever the exits say, and what follows from it unconditionally."""
        state: str | None = target
        while state is not None:
            port.states[self.name] = state
            self.enter[state](port)
            state = self.onward.get(state)
