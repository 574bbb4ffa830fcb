"""Numbers with units and variation, as operators write them.

    [LR|RL]VALUE[UNIT][+VARIATION[UNIT]][U|N][[NODE]]

``LR`` and ``RL`` name a direction, without them both are meant. The variation is uniform (``U``, the default:
value ± variation) or normal (``N``: standard deviation variation / 3, so that 99.7 % are within it).
``[NODE]`` is a Markov state. Units are those of the parameter (``10ms``, ``1%``, ``10Mbit``), or ``K``,
``M`` and ``G`` for 2^10, 2^20 and 2^30 of its base unit, as in VDE's wirefilter (specification: VDE tools,
section 1). A unit behind the variation holds for a value without one too: ``128+64K`` is ``128K+64K``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from vport.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from random import Random

_NUMBER: Final = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE]-?[0-9]{1,2})?"
_FORM: Final = re.compile(
    rf"(?P<direction>LR|RL)?\s*(?P<mean>{_NUMBER})(?P<unit>[A-Za-zµ%/]*?)"
    rf"(?:\+(?P<variation>{_NUMBER})(?P<variation_unit>[A-Za-zµ%/]*?))?"
    r"(?P<shape>[UuNn])?(?:\[(?P<node>[0-9]{1,5})\])?",
    re.ASCII,
)
_BINARY: Final = {"": 1.0, "k": 2.0**10, "m": 2.0**20, "g": 2.0**30}
_SIGMAS: Final = 3.0  # standard deviations in a normal variation


class Direction(Enum):
    """The way of a frame through a cable, from its first end (left) to its second (right) or back."""

    LEFT_TO_RIGHT = "LR"
    RIGHT_TO_LEFT = "RL"


BOTH: Final = (Direction.LEFT_TO_RIGHT, Direction.RIGHT_TO_LEFT)


@dataclass(frozen=True, slots=True)
class Value:
    """A number that may vary from frame to frame, never below zero."""

    mean: float = 0.0
    variation: float = 0.0
    is_normal: bool = False

    def draw(self, random: Random) -> float:
        """Give one value. Without variation no randomness is used up."""
        if not self.variation:
            return self.mean
        if self.is_normal:
            return max(0.0, random.gauss(self.mean, self.variation / _SIGMAS))
        return max(0.0, self.mean + self.variation * (2 * random.random() - 1))

    @property
    def is_zero(self) -> bool:
        """Whether it is always zero: the effect is off."""
        return not self.mean and not self.variation

    def __str__(self) -> str:
        return f"{self.mean:g}+{self.variation:g}{'N' if self.is_normal else 'U'}"


ZERO: Final = Value()


@dataclass(frozen=True, slots=True)
class Setting:
    """What an operator wrote: a value, for which directions, and for which Markov state."""

    value: Value
    directions: tuple[Direction, ...] = BOTH
    node: int = 0


def parse_setting(text: str, units: Mapping[str, float], limit: float, what: str) -> Setting:
    """Read a setting.

    Args:
        text: what was written.
        units: of this parameter, by name, with their size in its base unit; K, M and G are always known.
        limit: the largest value allowed, in the base unit.
        what: the parameter, for the message.

    Raises:
        SettingsError: the text is malformed, negative or too large.
    """
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise SettingsError(
            f"{what}: {text[:40]!r} is not of the form [LR|RL]VALUE[UNIT][+VARIATION[UNIT]][U|N], "
            f"such as {example(units)}; negative values are not allowed"
        )
    unit, variation_unit = match["unit"], match["variation_unit"] or ""
    mean = float(match["mean"]) * _factor(unit or variation_unit, units, what)
    variation = float(match["variation"] or 0) * _factor(variation_unit, units, what)
    if mean > limit or variation > limit:
        raise SettingsError(f"{what}: {text[:40]!r} is more than {limit:g}, which is the most")
    directions = (Direction(match["direction"]),) if match["direction"] else BOTH
    return Setting(Value(mean, variation, match["shape"] in {"N", "n"}), directions, int(match["node"] or 0))


def example(units: Mapping[str, float]) -> str:
    """Give an example in the parameter's first unit, for messages."""
    unit = next(iter(units), "")
    return f"10{unit} or LR10{unit}+3{unit}"


def _factor(unit: str, units: Mapping[str, float], what: str) -> float:
    if unit in units:
        return units[unit]
    if unit.lower() in _BINARY:
        return _BINARY[unit.lower()]
    known = ", ".join((*units, "K", "M", "G"))
    raise SettingsError(f"{what}: {unit!r} is not one of its units: {known}")
