"""Which line of a TOML text gives a key its value, for error messages; ``tomllib`` keeps no positions."""

from __future__ import annotations

import tomllib


def find_line(text: str, path: tuple[str | int, ...]) -> int:
    """Find the line, from 1, on which the statement begins that gives ``path`` its value.

    ``tomllib`` keeps no positions, but it tells of any number of first lines whether they are a whole
    document and what it says: the statement looked for is the one that makes ``path`` appear.
    """
    lines = text.split("\n")
    low, high = 0, len(lines)  # the first `low` lines do not have it, the first `high` lines do
    while high - low > 1:
        middle = (low + high) // 2
        whole, document = _whole_before(lines, middle, low)
        if _has(document, path):
            high = whole
        elif whole > low:
            low = whole
        else:  # no statement ends between `low` and `middle`
            end = _whole_after(lines, middle, high)
            if end == high or _has(tomllib.loads(_first(lines, end)), path):
                return low + 1
            low = end
    return low + 1


def _first(lines: list[str], count: int) -> str:
    return "\n".join(lines[:count]) + "\n"


def _whole_before(lines: list[str], count: int, low: int) -> tuple[int, object]:
    """Find the largest number of first lines, from ``low`` to ``count``, that are a whole document."""
    for number in range(count, low, -1):
        try:
            return number, tomllib.loads(_first(lines, number))
        except tomllib.TOMLDecodeError:
            continue
    return low, {}


def _whole_after(lines: list[str], count: int, high: int) -> int:
    """Find the smallest number of first lines, from ``count`` to ``high``, that are a whole document."""
    for number in range(count, high):
        try:
            tomllib.loads(_first(lines, number))
        except tomllib.TOMLDecodeError:
            continue
        return number
    return high


def _has(document: object, path: tuple[str | int, ...]) -> bool:
    for step in path:
        if isinstance(step, int):
            if not isinstance(document, list) or step >= len(document):
                return False
            document = document[step]
        else:
            if not isinstance(document, dict) or step not in document:
                return False
            document = document[step]
    return True
