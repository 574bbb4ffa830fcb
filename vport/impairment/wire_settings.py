"""All that is set on a wire, as one value: to be kept, compared, and set again on another."""

from __future__ import annotations

from dataclasses import dataclass, field

from vport.impairment.markov import DEFAULT_PERIOD
from vport.impairment.settings import ImpairmentSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSettings:
    """What holds in one Markov state.

    Attributes:
        name: of the state, empty for none.
        left_to_right: what happens to frames in that direction.
        right_to_left: the same for the other one.
        edges: the states that steps lead to, with their percentages; the loop is what they leave.
    """

    name: str = ""
    left_to_right: ImpairmentSettings = field(default_factory=ImpairmentSettings)
    right_to_left: ImpairmentSettings = field(default_factory=ImpairmentSettings)
    edges: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WireSettings:
    """What is set on a wire; the default is a clear one.

    Attributes:
        fifo: no frame overtakes an earlier one in its direction.
        states: the Markov states, at least one.
        period: seconds between their steps.
        current: the state to be in. Where states change by chance it is not a setting, and 0.
    """

    fifo: bool = True
    states: tuple[StateSettings, ...] = (StateSettings(),)
    period: float = DEFAULT_PERIOD
    current: int = 0
