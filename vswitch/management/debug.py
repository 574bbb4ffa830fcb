"""The debug menu: which messages this session gets unasked. The messages are in ``messages``."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from vport.errors import CommandError
from vport.shell.arguments import Optional, Word, quoted
from vport.shell.command import Menu, Reply, Session, command

if TYPE_CHECKING:
    from vport.shell.message import Category
    from vswitch.management.control import Control

HEADER: Final = (
    "CATEGORY               TAG STATUS HELP",
    "------------           --- ------ ----",
)
PREFIX: Final = Optional(Word("dbgpath"))


def _matching(control: Control, prefix: str | None) -> list[Category]:
    return [category for category in control.categories if category.path.startswith(prefix or "")]


def _subscriptions(session: Session) -> set[str]:
    if session.subscriptions is None:
        raise CommandError(errno.EBADF, "messages have no way to go from here")
    return session.subscriptions


def _nothing_matches(number: int, prefix: str | None) -> CommandError:
    return CommandError(number, f"no category starts with {quoted(prefix or '')} (debug/list shows them)")


def _line(category: Category, is_wanted: bool) -> str:
    return f"{category.path:<22} {category.tag:03o} {'ON' if is_wanted else 'OFF':<6} {category.help}"


@command("debug/list", "list the categories of messages", PREFIX, prints=True)
def show_categories(control: Control, session: Session, prefix: str | None) -> Reply:
    """List the categories and whether this session gets them."""
    wanted = _subscriptions(session)
    found = _matching(control, prefix)
    if not found:
        error = _nothing_matches(errno.ENOENT, prefix)
        return Reply(HEADER, error.errno, error.detail)
    documents = (
        {
            "category": category.path,
            "tag": category.tag,
            "on": category.path in wanted,
            "help": category.help,
        }
        for category in found
    )
    lines = [_line(category, category.path in wanted) for category in found]
    return Reply([*HEADER, *lines], document=documents)


@command("debug/add", "get messages of a category, or of all", PREFIX)
def add(control: Control, session: Session, prefix: str | None) -> None:
    """Subscribe to all categories that start with ``prefix``."""
    wanted = _subscriptions(session)
    paths = {category.path for category in _matching(control, prefix)}
    if not paths:
        raise _nothing_matches(errno.EINVAL, prefix)
    if paths <= wanted:
        raise CommandError(errno.EEXIST, "these messages are on already")
    wanted |= paths


@command("debug/del", "get no more messages of a category, or of any", PREFIX)
def delete(control: Control, session: Session, prefix: str | None) -> None:
    """Unsubscribe from all categories that start with ``prefix``."""
    wanted = _subscriptions(session)
    paths = {category.path for category in _matching(control, prefix)}
    if not paths:
        raise _nothing_matches(errno.EINVAL, prefix)
    if not paths & wanted:
        raise CommandError(errno.ENOENT, "these messages are off already")
    wanted -= paths


MENU: Final = Menu("debug", "DEBUG MENU", (show_categories, add, delete))
