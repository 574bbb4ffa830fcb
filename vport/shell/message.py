"""Messages that a shell's session gets unasked: what one is, and the one that every shell may send."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Category:
    """A kind of message.

    Attributes:
        path: its name; ``debug/add`` takes any beginning of it.
        tag: its number, written in octal; below 0o100, since libvdemgmt looks for lines with ``30``.
        help: one line that says when such a message is sent.
    """

    path: str
    tag: int
    help: str


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it is sent: one line.

    Attributes:
        category: what kind it is.
        text: what happened.
        code: three digits that stand in place of the category's tag and path, None for these.
    """

    category: Category
    text: str
    code: str | None = None


LOST: Final = Category("debug/lost", 0o001, "messages were lost")
