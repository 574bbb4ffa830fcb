"""What may stand at the cursor of a command line, found out from the switch itself. No I/O.

The switch's ``help`` names its menus, its commands, and a placeholder for each argument. What a
placeholder stands for (a port, a VLAN, a station …) other commands of the switch list; which one, and how its
lines show it, is the table below. Works for our switch and for VDE's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vport.locator import SCHEMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True, slots=True)
class HelpEntry:
    """A line of ``help``.

    Attributes:
        path: the name of a command, or of a menu.
        is_menu: whether it is a menu.
        arguments: a command's placeholders, without the brackets of optional ones.
        text: what it does.
    """

    path: str
    is_menu: bool
    arguments: tuple[str, ...]
    text: str


CONSOLE_COMMANDS: Final = (
    HelpEntry("watch", False, ("SECONDS", "COMMAND"), "show again and again what a command prints"),
    HelpEntry("top", False, ("SECONDS",), "show the ports by how much goes through them"),
)
"""What the console does itself, beside the switch's commands."""

_SYNTAX_COLUMN: Final = 19
_TEXT_COLUMN: Final = 35


def parse_help(lines: Iterable[str]) -> list[HelpEntry]:
    """Read the table that ``help`` prints: everything below the line of dashes."""
    table = iter(lines)
    for line in table:
        if line.startswith("-----"):
            break
    return [_parse_entry(line) for line in table if line.strip()]


def _parse_entry(line: str) -> HelpEntry:
    """Read one line; a name or syntax that is too wide moves what follows it to the right."""
    path = line.split(None, 1)[0]
    syntax_at = max(_SYNTAX_COLUMN, len(path) + 1)
    blank = line.find(" ", max(_TEXT_COLUMN, syntax_at + _TEXT_COLUMN - _SYNTAX_COLUMN) - 1)
    text_at = len(line) if blank < 0 else blank
    words = line[syntax_at:text_at].split()
    is_menu = bool(words) and words[0].startswith("===")
    arguments = () if is_menu else tuple(word.strip("[]") for word in words)
    return HelpEntry(path, is_menu, arguments, line[text_at:].strip())


# --- what a placeholder stands for ---


@dataclass(frozen=True, slots=True)
class Listed:
    """Things that a command lists: the first group of ``pattern`` in each of its lines that match."""

    command: str
    pattern: re.Pattern[str]

    def read(self, lines: Iterable[str]) -> list[str]:
        """Find the things in what the command printed, each once, in order."""
        found = (self.pattern.match(line) for line in lines)
        return list(dict.fromkeys(match[1] for match in found if match is not None))


@dataclass(frozen=True, slots=True)
class Fixed:
    """One of a few words."""

    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CommandName:
    """A menu or a command."""


@dataclass(frozen=True, slots=True)
class FileName:
    """A file on this machine."""


Source = Listed | Fixed | CommandName | FileName

_PORTS: Final = Listed("port/allprint", re.compile(r"Port 0*(\d+) untagged_vlan="))
_VLANS: Final = Listed("vlan/allprint", re.compile(r"VLAN 0*(\d+)\Z"))
_PEER_OPTIONS: Final = (
    "address=", "port=", "vlan=", "tagged=", "mac=", "macs=", "keepalive=", "broadcasts=on", "psk=@",
)  # fmt: skip

_SOURCES: Final[dict[str, Source]] = {
    "PORT": _PORTS,
    "VLAN": _VLANS,
    "ID": Listed("port/print", re.compile(r"  -- endpoint ID 0*(\d+) ")),
    "MAC": Listed("hash/print", re.compile(r"Hash: \d+ Addr: (\S+) ")),
    "dbgpath": Listed("debug/list", re.compile(r"(\S+) +[0-7]{3} (?:ON|OFF) ")),
    "0/1": Fixed(("0", "1")),
    "1/0": Fixed(("0", "1")),
    "port/vlan": Fixed(("port", "vlan")),
    "LISTENER": Listed("listen/print", re.compile(r"Listener 0*(\d+) ")),
    "LOCATOR": Fixed(tuple(f"{scheme}://" for scheme in SCHEMES)),
    "path": FileName(),
}
_PEER_SOURCES: Final[dict[str, Source]] = {
    "NAME": Listed("peer/print", re.compile(r"  name: (\S+)\Z")),
    "PUBKEY": Fixed(("ip", *_PEER_OPTIONS)),  # a key cannot be guessed; options may stand in its place
    "OPTIONS": Fixed(("ip", *_PEER_OPTIONS)),
}
_NUMBERS: Final[dict[str, Source]] = {"port": _PORTS, "vlan": _VLANS, "fstp": _VLANS}  # what N is in a menu


def source_of(entry: HelpEntry, index: int) -> Source | None:
    """Tell where the candidates for an argument of a command come from; None: nobody knows."""
    if entry.arguments[-1:] == ("OPTIONS",):  # any number of words
        index = min(index, len(entry.arguments) - 1)
    if index >= len(entry.arguments):
        return None
    menu, _, name = entry.path.rpartition("/")
    placeholder = entry.arguments[index]
    if name == "help":
        return CommandName()
    if name == "create" and index == 0:
        return None  # what exists already is the one thing that it cannot be
    if menu == "peer":
        return None if name in {"add", "invite"} and index == 0 else _PEER_SOURCES.get(placeholder)
    if placeholder == "N" and not name.startswith("set"):
        return _NUMBERS.get(menu)
    if placeholder == "N" and len(entry.arguments) > 1:  # VDE's port/setvlan N VLAN, port/setuser N user
        return _NUMBERS.get(menu)
    return _SOURCES.get(placeholder)


_WATCH: Final = re.compile(r"\s*watch\s+(?:[0-9.]+\s+)?")


def at_cursor(entries: Sequence[HelpEntry], line: str) -> tuple[str, Source | None]:
    """Tell which word stands at the end of ``line``, and where candidates for it come from."""
    line = _WATCH.sub("", line, count=1)
    words = line.split()
    current = "" if not words or line[-1:].isspace() else words.pop()
    if not words:
        return current, CommandName()
    entry = next((entry for entry in entries if entry.path == words[0] and not entry.is_menu), None)
    return current, None if entry is None else source_of(entry, len(words) - 1)


def command_candidates(entries: Sequence[HelpEntry], word: str) -> list[tuple[str, str]]:
    """Find what may complete the name of a command: names in its menu, with their help.

    Menus are offered as a whole, with their slash, until one has been entered.
    """
    found = []
    for entry in entries:
        name = f"{entry.path}/" if entry.is_menu else entry.path
        below = name[len(word) :].rstrip("/") if name.startswith(word) else "/"
        if name != word and "/" not in below:
            found.append((name, entry.text))
    return found
