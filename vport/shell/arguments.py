"""Arguments of commands: what each may be, in words and as a value. Numbers are decimal.

An error says which argument was wrong, and what is allowed.
"""

from __future__ import annotations

import errno
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from vport.errors import CommandError, SettingsError
from vport.ethernet import MacAddress, parse_mac
from vport.locator import Locator
from vport.locator import parse as parse_locator

T = TypeVar("T")

_SHOWN: Final = 40  # characters of a wrong argument that an error message repeats


def quoted(text: str) -> str:
    """Show a wrong argument in an error message: printable, and cut when it is long."""
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")


def invalid(argument: str, expected: str, value: object) -> CommandError:
    """Make the error for an argument that is not what it must be."""
    return CommandError(errno.EINVAL, f"{argument} must be {expected}, not {quoted(str(value))}")


def file_error(path: str, error: OSError) -> CommandError:
    """Make the error for a file that cannot be read or written."""
    return CommandError(error.errno or errno.EIO, f"{quoted(path)}: {error.strerror or error}")


class Argument(ABC, Generic[T]):
    """One argument of a command: how it is called in ``help``, what it may be, how it is read."""

    placeholder: str
    optional = False
    takes_rest = False

    @property
    @abstractmethod
    def expected(self) -> str:
        """What the argument must be, for error messages: "a number from 1 to 4094"."""

    @abstractmethod
    def parse(self, text: str) -> T:
        """Read the argument.

        Raises:
            CommandError: it is not as expected.
        """

    @property
    def syntax(self) -> str:
        """How ``help`` shows the argument."""
        return f"[{self.placeholder}]" if self.optional else self.placeholder


@dataclass(frozen=True)
class Integer(Argument[int]):
    """A decimal number. A leading zero does not make it octal, nor 0x hexadecimal."""

    placeholder: str
    low: int
    high: int

    @property
    def expected(self) -> str:
        """The range, in words."""
        return f"a number from {self.low} to {self.high}"

    def parse(self, text: str) -> int:
        """Read the number."""
        if not re.fullmatch(r"-?[0-9]{1,20}", text) or not self.low <= int(text) <= self.high:
            raise invalid(self.placeholder, self.expected, text)
        return int(text)


@dataclass(frozen=True)
class Switch(Argument[bool]):
    """On or off, written 1 or 0."""

    placeholder: str = "0/1"

    @property
    def expected(self) -> str:
        """The two digits."""
        return "0 or 1"

    def parse(self, text: str) -> bool:
        """Read the digit."""
        if text not in {"0", "1"}:
            raise invalid("the switch", self.expected, text)
        return text == "1"


@dataclass(frozen=True)
class Choice(Argument[str]):
    """One of a few words."""

    placeholder: str
    words: tuple[str, ...]

    @property
    def expected(self) -> str:
        """The words."""
        return " or ".join(self.words)

    def parse(self, text: str) -> str:
        """Take the word."""
        if text not in self.words:
            raise invalid(self.placeholder, self.expected, text)
        return text


@dataclass(frozen=True)
class Place(Argument[Locator]):
    """A locator: the text that names a link or a listener."""

    placeholder: str = "LOCATOR"

    @property
    def expected(self) -> str:
        """The form, with examples."""
        return "a place to plug in, such as tap://tap0 or udp://192.0.2.1:9999"

    def parse(self, text: str) -> Locator:
        """Read the locator."""
        try:
            return parse_locator(text)
        except SettingsError as error:
            detail = str(error).replace(text, f"{text[:_SHOWN]}…") if len(text) > 2 * _SHOWN else str(error)
            raise CommandError(errno.EINVAL, f"{self.placeholder}: {detail}") from None


@dataclass(frozen=True)
class Mac(Argument[MacAddress]):
    """A MAC address."""

    placeholder: str = "MAC"

    @property
    def expected(self) -> str:
        """The form, with an example."""
        return "six octets in hex, such as 02:00:00:00:00:01"

    def parse(self, text: str) -> MacAddress:
        """Read the address."""
        try:
            return parse_mac(text)
        except SettingsError:
            raise invalid(self.placeholder, self.expected, text) from None


@dataclass(frozen=True)
class Word(Argument[str]):
    """Anything without blanks."""

    placeholder: str

    @property
    def expected(self) -> str:
        """Anything goes."""
        return "a word without blanks"

    def parse(self, text: str) -> str:
        """Take it as it is."""
        return text


@dataclass(frozen=True)
class Text(Word):
    """Everything up to the end of the line, blanks included: a path. Only as the last argument."""

    takes_rest = True

    @property
    def expected(self) -> str:
        """Anything goes, but it must be there."""
        return "some text"


@dataclass(frozen=True)
class FilePath(Text):
    """The path of a file, in which blanks may stand."""

    @property
    def expected(self) -> str:
        """A path."""
        return "a path"

    def parse(self, text: str) -> str:
        """Take it without the blanks around it."""
        path = text.strip()
        if "\0" in path:
            raise invalid(self.placeholder, self.expected, path)
        return path


class Optional(Argument[T | None]):
    """An argument that can be left out; the command then gets None."""

    optional = True

    def __init__(self, argument: Argument[T]) -> None:
        self.argument = argument
        self.placeholder = argument.placeholder
        self.takes_rest = argument.takes_rest

    @property
    def expected(self) -> str:
        """What the argument must be where it is given."""
        return self.argument.expected

    def parse(self, text: str) -> T:
        """Read the argument that was given."""
        return self.argument.parse(text)
