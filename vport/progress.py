"""What went through a cable, for people: rates while it runs, the sum at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vport.impairment import BOTH
from vport.impairment.report import describe_statistics

if TYPE_CHECKING:
    from vport.impairment import Wire
    from vport.impairment.channel import Statistics

_STEP: Final = 1000
_ARROWS: Final = ("→", "←")


def scaled(number: float, unit: str) -> str:
    """Write a number with a prefix of thousands: ``12.3 Mbit/s``."""
    for prefix in ("", "k", "M"):
        if number < _STEP:
            return f"{number:.0f} {unit}" if not prefix else f"{number:.1f} {prefix}{unit}"
        number /= _STEP
    return f"{number:.1f} G{unit}"


class Progress:
    """Rates of a wire since the last look."""

    def __init__(self, wire: Wire, now: float) -> None:
        self._wire = wire
        self._looked_at = now
        self._before = self._counts()

    def line(self, now: float) -> str:
        """Give a line with the rates of both directions since the last one."""
        counts, elapsed = self._counts(), max(now - self._looked_at, 1e-9)
        parts = []
        for arrow, before, after in zip(_ARROWS, self._before, counts, strict=True):
            frames, size, discarded = ((b - a) / elapsed for a, b in zip(before, after, strict=True))
            text = f"{arrow} {scaled(size * 8, 'bit/s')}, {scaled(frames, 'frames/s')}"
            parts.append(text + (f", {scaled(discarded, 'discarded/s')}" if discarded else ""))
        self._before, self._looked_at = counts, now
        return "   ".join(parts)

    def _counts(self) -> list[tuple[int, int, int]]:
        return [_numbers(self._wire.channels[direction].statistics) for direction in BOTH]


def _numbers(statistics: Statistics) -> tuple[int, int, int]:
    return statistics.delivered, statistics.delivered_bytes, statistics.discarded


def summary(wire: Wire) -> list[str]:
    """Give the lines that sum up a run."""
    return describe_statistics(wire)
