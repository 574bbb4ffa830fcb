"""Which line of a TOML text gives a key its value, for error messages; ``tomllib`` keeps no positions.

The text is cut where a line looks like the start of a statement. Each piece is parsed on its own: if it is
no whole statement, the cut was inside a text or a list, and the next piece belongs to it.
"""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

Path = tuple[str | int, ...]

_KEY: Final = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*')"""
_STATEMENT: Final = re.compile(rf"[ \t]*(?:\[|{_KEY}(?:[ \t]*\.[ \t]*{_KEY})*[ \t]*=)")
_PIECES_MAX: Final = 100  # that one statement can have; joining costs the square of it


def find_line(text: str, path: Path) -> int:
    """Find the line, from 1, on which the statement begins that gives ``path`` its value.

    ``text`` is a whole document. What no statement gives is said to be on line 1.
    """
    table: Path = ()
    counts: dict[Path, int] = {}  # how many tables the array of tables at a path has so far
    for line, is_header, document in _statements(text):
        if is_header:
            table = _enter(document, counts)
            if table[: len(path)] == path:
                return line
        elif path[: len(table)] == table and _has(document, path[len(table) :]):
            return line
    return 1


def _statements(text: str) -> Iterator[tuple[int, bool, dict[str, object]]]:
    """Give each statement: its first line, whether it is a table's header, what it says on its own."""
    lines = text.split("\n")
    starts = [number for number, line in enumerate(lines) if _STATEMENT.match(line)]
    first, pieces = 0, 0
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        if not pieces:
            first = start
        pieces += 1
        try:
            document = tomllib.loads("\n".join([*lines[first:end], ""]))
        except tomllib.TOMLDecodeError:
            if pieces < _PIECES_MAX:
                continue
            document = {}
        yield first + 1, lines[first].lstrip().startswith("["), document
        pieces = 0


def _enter(document: object, counts: dict[Path, int]) -> Path:
    """Give the path of the table that a header opens, with the positions in the arrays on the way."""
    path: Path = ()
    while isinstance(document, dict) and document:
        ((key, document),) = document.items()
        path = (*path, key)
        if isinstance(document, list):
            counts[path] = counts.get(path, 0) + 1
            document = document[0]
        if path in counts:
            path = (*path, counts[path] - 1)
    return path


def _has(document: object, path: Path) -> bool:
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
