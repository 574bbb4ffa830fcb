"""What TOML files of ours have in common: tables with known keys, readers of values, errors with a line.

    read_toml(text, "lan.toml", read_lan)      # read_lan takes the document, uses Table and the readers

Everything is checked before anything is given. Errors name the file, the line, the key and what is allowed.
No files are opened here.
"""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Final, TypeVar

from vport.errors import SettingsError
from vport.toml_lines import find_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

T = TypeVar("T")
D = TypeVar("D")

KeyPath = tuple[str | int, ...]
"""Where a setting stands: ``("port", 2, "pvid")`` is the third port's PVID."""

SIZE_MAX: Final = 1 << 20  # characters; far above any real file, and parsed in a second
_SHOWN: Final = 40  # characters of a wrong value that an error message repeats


class PlacedError(SettingsError):
    """A setting is wrong, or contradicts another.

    Attributes:
        path: where the one stands that is complained of.
    """

    def __init__(self, path: KeyPath, text: str) -> None:
        super().__init__(text)
        self.path = path


def read_toml(text: str, name: str, read: Callable[[object], T]) -> T:
    """Read the text of a file by ``read``; ``name`` is the file's, for error messages.

    Raises:
        SettingsError: it is not TOML, or ``read`` raises SettingsError or PlacedError.
    """
    if len(text) > SIZE_MAX:
        raise SettingsError(f"{name}: {len(text)} characters are too many for a configuration file")
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{name}:{_readable(error)}") from None
    except RecursionError:
        raise SettingsError(f"{name}: nested too deeply") from None
    try:
        return read(document)
    except PlacedError as error:
        line = find_line(text, error.path)
        raise SettingsError(f"{name}:{line}: {format_path(error.path)}: {error}") from None
    except SettingsError as error:
        raise SettingsError(f"{name}: {error}") from None


def _readable(error: tomllib.TOMLDecodeError) -> str:
    """Put the line in front, as in all other messages."""
    match = re.fullmatch(r"(.*) \(at line (\d+), column (\d+)\)", str(error), re.DOTALL)
    return f"{match[2]}: column {match[3]}: {match[1]}" if match else f" {error}"


class Table:
    """One table of the file, with no other keys than those ``known``; hands out values by key."""

    def __init__(self, value: object, known: tuple[str, ...]) -> None:
        if not isinstance(value, dict):
            raise SettingsError(f"must be a table, not {shown(value)}")
        for key in value:
            if key not in known:
                raise PlacedError((key,), f"unknown key; known are {', '.join(known)}")
        self._values: dict[str, object] = value

    def has(self, key: str) -> bool:
        """Whether there is a value of ``key``."""
        return key in self._values

    def read(self, key: str, reader: Callable[[object], T], default: D) -> T | D:
        """Read the value of ``key``, or give ``default`` when there is none."""
        return self.require(key, reader) if key in self._values else default

    def require(self, key: str, reader: Callable[[object], T]) -> T:
        """Read the value of a key that must be there."""
        if key not in self._values:
            raise SettingsError(f"{key} is missing")
        try:
            return reader(self._values[key])
        except PlacedError as error:
            raise PlacedError((key, *error.path), str(error)) from None
        except SettingsError as error:
            raise PlacedError((key,), str(error)) from None


def format_path(path: KeyPath) -> str:
    """Write a key path for people, counting from 0: ``port[3].pvid``, ``vlans[0]``."""
    words: list[str] = []
    for step in path:
        if isinstance(step, int):
            words[-1] += f"[{step}]"
        else:
            words.append(step)
    return ".".join(words) or "the file"


# --- readers of values ---


def shown(value: object) -> str:
    """Show a wrong value in an error message: as in the file, more or less, and cut when it is long."""
    if isinstance(value, dict):
        return "a table"
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def integer(low: int, high: int) -> Callable[[object], int]:
    """Make a reader of numbers from ``low`` to ``high``."""

    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise SettingsError(f"must be a number from {low} to {high}, not {shown(value)}")
        return value

    return read


def number(low: float, high: float) -> Callable[[object], float]:
    """Make a reader of numbers from ``low`` to ``high`` that need not be whole."""

    def read(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise SettingsError(f"must be a number from {low:g} to {high:g}, not {shown(value)}")
        return float(value)

    return read


def plain(number: float) -> float:
    """Give a number as a file is to show it: without a fraction where it has none."""
    return int(number) if number == int(number) else number


def boolean(value: object) -> bool:
    """Read true or false."""
    if not isinstance(value, bool):
        raise SettingsError(f"must be true or false, not {shown(value)}")
    return value


def text(value: object) -> str:
    """Read a text."""
    if not isinstance(value, str):
        raise SettingsError(f"must be a text in quotes, not {shown(value)}")
    return value


def word(value: object) -> str:
    """Read a text that is not empty."""
    found = text(value)
    if not found or "\0" in found:
        raise SettingsError(f"must be a text that is not empty, not {shown(found)}")
    return found


def choice(words: Iterable[str]) -> Callable[[object], str]:
    """Make a reader of one of a few words."""
    known = tuple(words)

    def read(value: object) -> str:
        if value not in known:
            raise SettingsError(f"must be {', '.join(known[:-1])} or {known[-1]}, not {shown(value)}")
        return text(value)

    return read


def text_as(read: Callable[[str], T]) -> Callable[[object], T]:
    """Make a reader of texts that ``read`` understands."""
    return lambda value: read(text(value))


def list_of(read: Callable[[object], T]) -> Callable[[object], tuple[T, ...]]:
    """Make a reader of lists whose items ``read`` understands."""

    def read_list(value: object) -> tuple[T, ...]:
        if not isinstance(value, list):
            raise SettingsError(f"must be a list, not {shown(value)}")
        items: list[T] = []
        for index, item in enumerate(value):
            try:
                items.append(read(item))
            except PlacedError as error:
                raise PlacedError((index, *error.path), str(error)) from None
            except SettingsError as error:
                raise PlacedError((index,), str(error)) from None
        return tuple(items)

    return read_list
