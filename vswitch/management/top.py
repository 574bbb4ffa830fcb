"""Ports by how much goes through them: from two looks at ``port/print -j`` to a table. No I/O, no clock."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

HEADER: Final = (
    f"{'PORT':>5} {'IN bit/s':>10} {'frames/s':>9} {'OUT bit/s':>10} {'frames/s':>9} {'lost/s':>7}  WHAT"
)
_PREFIXES: Final = (("G", 1e9), ("M", 1e6), ("k", 1e3))


@dataclass(frozen=True, slots=True)
class Counters:
    """What a port counted since it was made: frames and bytes in and out, frames lost."""

    name: str
    frames_in: int
    bytes_in: int
    frames_out: int
    bytes_out: int
    lost: int


@dataclass(frozen=True, slots=True)
class Rates:
    """What goes through a port in a second."""

    port: int
    name: str
    frames_in: float
    bits_in: float
    frames_out: float
    bits_out: float
    lost: float


def read_ports(lines: Sequence[str]) -> dict[int, Counters]:
    """Read what ``port/print -j`` answered.

    Raises:
        ValueError: this is not such an answer.
    """
    try:
        return {int(port["port"]): _counters(port) for port in json.loads("\n".join(lines))}
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"not the ports of a switch: {error}") from error


def _counters(port: dict[str, Any]) -> Counters:
    endpoints = port["endpoints"]
    names = [port["description"]] if port["description"] else [one["description"] for one in endpoints]
    lost = sum(port["discards"].values()) + sum(sum(one["discards"].values()) for one in endpoints)
    flows = [int(port[way][what]) for way in ("in", "out") for what in ("frames", "bytes")]
    return Counters(", ".join(map(str, names)), flows[0], flows[1], flows[2], flows[3], int(lost))


def rates(before: dict[int, Counters], after: dict[int, Counters], seconds: float) -> list[Rates]:
    """Give the rates between two looks, the busiest port first.

    A port that was not there before, or whose counters were reset, counts from zero.
    """
    return sorted(
        (_rates(number, before.get(number), now, seconds) for number, now in after.items()),
        key=lambda one: (-(one.bits_in + one.bits_out), one.port),
    )


def _rates(number: int, before: Counters | None, after: Counters, seconds: float) -> Rates:
    def rate(name: str) -> float:
        now: int = getattr(after, name)
        then: int = 0 if before is None else getattr(before, name)
        return (now - then if now >= then else now) / max(seconds, 1e-3)

    return Rates(
        number,
        after.name,
        rate("frames_in"),
        8 * rate("bytes_in"),
        rate("frames_out"),
        8 * rate("bytes_out"),
        rate("lost"),
    )


def table(found: Sequence[Rates]) -> list[str]:
    """Lay the rates out, a line for each port below a header."""
    return [HEADER, *map(_row, found)]


def _row(one: Rates) -> str:
    return (
        f"{one.port:>5} {short(one.bits_in):>10} {short(one.frames_in):>9} "
        f"{short(one.bits_out):>10} {short(one.frames_out):>9} {short(one.lost):>7}  {one.name}"
    ).rstrip()


def short(number: float) -> str:
    """Write a number in at most six characters: ``1.23 M``."""
    for prefix, size in _PREFIXES:
        if number >= size:
            scaled = number / size
            return f"{scaled:.{0 if scaled >= 100 else 1 if scaled >= 10 else 2}f} {prefix}"
    return f"{number:.0f}"
