"""The table of commands that ``help`` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

HELP_HEADER: Final = (
    "COMMAND PATH       SYNTAX          HELP",
    "------------       --------------  ------------",
)


def help_lines(entries: Iterable[tuple[str, str, str]]) -> list[str]:
    """Lay out the table of commands; clients read the first word of each line below the dashes."""
    return [*HELP_HEADER, *(f"{path:<18} {syntax:<15} {text}".rstrip() for path, syntax, text in entries)]
