"""Commands of the management shell: one declared function each, with help and typed ``arguments``.

    @command("hash/setexpire", "set the age at which entries are removed, in seconds", Integer("N", 0, 10**6))
    def set_expire(control: Control, session: Session, seconds: int) -> None: ...

    MENU = Menu("hash", "HASH TABLE MENU", (set_expire, ...))

A function gets what the shell controls (a switch, a cable), the session that asks, and one value for each
declared argument; it returns a ``Reply``, the lines to print, or nothing, and raises ``CommandError`` for
what cannot be done. It may be ``async``. A ``Catalog`` joins the menus, finds the command that a line names
and reads its arguments, of which too many are an error; ``execute`` does all of it for one line.

After a command that prints, ``-j`` gives a JSON document in place of the text: ``Reply.document``.

How replies look on the wire is in ``protocol``; nothing here reads a clock or a socket.
"""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from vport.errors import CommandError, LinkError, RefusedError, SettingsError
from vport.shell.arguments import quoted
from vport.shell.document import as_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vport.shell.arguments import Argument

MENU_SYNTAX: Final = (
    "============"  # what `help` shows in place of arguments; vdeterm's completion skips menus
)
_ERRNO_END: Final = 100  # clients know status lines that begin with 10
JSON_FLAG: Final = "-j"


# --- what a command answers ---


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to one command.

    Attributes:
        lines: the text, without line ends; None for commands that answer with a status only. Consumed
            once: it may be a generator over a snapshot, which the server interleaves with its other work.
        errno: 0, or why the command failed.
        document: the same as ``lines`` for programs: what JSON can say. An iterator stands for an array.
        detail: what the operator should know beyond the errno, on the status line.
        ends_session: the session is over: no status, no prompt.
        steps: the lines of a script that was run, in place of text.
    """

    lines: Iterable[str] | None = None
    errno: int = 0
    detail: str = ""
    ends_session: bool = False
    document: object = None
    steps: Iterable[Step] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a script, and what it was answered.

    Attributes:
        script: the file's path as it was given.
        number: of the line in the file, from 1.
        line: its text.
        reply: None for a line that is not run: a blank one, a comment, the end of a session.
    """

    script: str
    number: int
    line: str
    reply: Reply | None


Result = Reply | Iterable[str] | None
"""What a command's function returns: a whole reply, the lines of a successful one, or just success."""


@dataclass(slots=True, eq=False)
class Session:
    """Whoever gives commands, as the commands see it.

    Attributes:
        catalog: the commands that this session can give.
        subscriptions: paths of the message categories that it wants; None where messages have no way
            to go, as in a script that runs at start.
        is_console: it is the terminal that the switch was started at: there is no leaving it.
        scripts: absolute paths of the scripts being run, each loaded by the one before.
        printed: how many lines they have printed.
    """

    catalog: Catalog
    subscriptions: set[str] | None = field(default_factory=set)
    is_console: bool = False
    scripts: list[str] = field(default_factory=list)
    printed: int = 0


# --- commands and menus ---


@dataclass(frozen=True, slots=True)
class Command:
    """A declared command.

    Attributes:
        path: its full name, such as ``hash/setexpire``.
        help: one line that says what it does.
        arguments: what it takes, optional ones last.
        function: what it does.
        prints: whether its reply has text, which then is framed on failure too.
    """

    path: str
    help: str
    arguments: tuple[Argument[Any], ...]
    function: Callable[..., Result | Awaitable[Result]]
    prints: bool = False

    @property
    def syntax(self) -> str:
        """The arguments, as the SYNTAX column of ``help`` shows them."""
        return " ".join(argument.syntax for argument in self.arguments)

    def read_arguments(self, text: str) -> list[Any]:
        """Read the values from what follows the command's name.

        Raises:
            CommandError: there are too few or too many, or one is not what it must be.
        """
        takes_rest = bool(self.arguments) and self.arguments[-1].takes_rest
        words = text.split(None, len(self.arguments) - 1 if takes_rest else -1)
        if len(words) > len(self.arguments):
            surplus = quoted(words[len(self.arguments)])
            raise CommandError(errno.EINVAL, f"{surplus} is too much; the form is: {self.usage}")
        values: list[Any] = [
            argument.parse(word) for argument, word in zip(self.arguments, words, strict=False)
        ]
        for argument in self.arguments[len(words) :]:
            if not argument.optional:
                name = argument.placeholder
                raise CommandError(
                    errno.EINVAL, f"{name} is missing: {argument.expected}; the form is: {self.usage}"
                )
            values.append(None)
        return values

    @property
    def usage(self) -> str:
        """The command as it is to be typed."""
        return f"{self.path} {self.syntax}".rstrip()


def command(
    path: str, text: str, *arguments: Argument[Any], prints: bool = False
) -> Callable[[Callable[..., Result | Awaitable[Result]]], Command]:
    """Declare the decorated function as the command ``path``; ``text`` is its line in ``help``."""

    def declare(function: Callable[..., Result | Awaitable[Result]]) -> Command:
        return Command(path, text, arguments, function, prints)

    return declare


@dataclass(frozen=True, slots=True)
class Menu:
    """A folder of commands. The general commands are in the menu with no path and no title."""

    path: str
    title: str
    commands: tuple[Command, ...]


class Catalog:
    """All commands of a switch, in the order of ``help``."""

    def __init__(self, menus: Iterable[Menu]) -> None:
        self.menus: tuple[Menu, ...] = ()
        self._commands: dict[str, Command] = {}
        for menu in menus:
            self.add(menu)

    def add(self, menu: Menu) -> None:
        """Add a menu behind the others.

        Raises:
            SettingsError: one of its commands exists; nothing was added.
        """
        for entry in menu.commands:
            if entry.path in self._commands:
                raise SettingsError(f"there is a command {entry.path} already")
        self.menus += (menu,)
        self._commands.update((entry.path, entry) for entry in menu.commands)

    def remove(self, menu: Menu) -> None:
        """Take a menu out again."""
        self.menus = tuple(other for other in self.menus if other is not menu)
        for entry in menu.commands:
            del self._commands[entry.path]

    def find(self, line: str) -> tuple[Command, str]:
        """Find the command that ``line`` names, and what follows the name.

        Digits may be glued to a name that takes a number (``port/print1``), as VDE allows.

        Raises:
            CommandError: ENOSYS, there is no such command.
        """
        name, _, rest = line.replace("\t", " ").strip().partition(" ")
        if (found := self._commands.get(name)) is not None:
            return found, rest
        stem = name.rstrip("0123456789")
        found = self._commands.get(stem)
        if found is not None and found.arguments and stem != name:
            return found, f"{name[len(stem) :]} {rest}"
        raise CommandError(errno.ENOSYS)

    def entries(self, prefix: str = "") -> Iterator[tuple[str, str, str]]:
        """Give path, syntax and help of all menus and commands whose path starts with ``prefix``."""
        for menu in self.menus:
            if menu.path and menu.path.startswith(prefix):
                yield menu.path, MENU_SYNTAX, menu.title
            for entry in menu.commands:
                if entry.path.startswith(prefix):
                    yield entry.path, entry.syntax, entry.help


async def execute(control: object, session: Session, line: str) -> Reply:
    """Carry out one line that is neither blank nor a comment; whatever the line, there is a reply.

    Awaits only what the command itself awaits: most finish without giving way to another task.
    """
    try:
        found, rest = session.catalog.find(line)
    except CommandError as error:
        return Reply(None, error.errno, error.detail)
    wants_json, rest = _take_json_flag(found, rest)
    try:
        result = found.function(control, session, *found.read_arguments(rest))
        if isinstance(result, Awaitable):
            result = await result
    except (CommandError, SettingsError, LinkError, RefusedError) as error:
        number, detail = _explained(error)
        return Reply(() if found.prints else None, number, detail)
    if not isinstance(result, Reply):
        result = Reply(result if result is not None or not found.prints else ())
    return as_json(result) if wants_json else result


def _take_json_flag(found: Command, rest: str) -> tuple[bool, str]:
    """Take ``-j`` off the front or the end of the arguments of a command that prints."""
    words = rest.split()
    if found.prints and JSON_FLAG in words[:1]:
        return True, " ".join(words[1:])
    if found.prints and JSON_FLAG in words[-1:]:
        return True, " ".join(words[:-1])
    return False, rest


def _explained(error: CommandError | SettingsError | LinkError | RefusedError) -> tuple[int, str]:
    """Give errno and detail of what kept a command from being done."""
    match error:
        case CommandError():
            return error.errno, error.detail
        case SettingsError():
            return errno.EINVAL, str(error)
        case RefusedError():
            return errno.EACCES, str(error)
        case LinkError():
            cause = error.__cause__.errno if isinstance(error.__cause__, OSError) else None
            return cause if cause is not None and 0 < cause < _ERRNO_END else errno.EIO, str(error)
