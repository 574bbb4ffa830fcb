"""What all locators are: options, and the class that every scheme derives from.

A scheme is a frozen dataclass; its fields without ``option`` are the target, the others are what may stand
behind the question mark.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, TypeVar
from urllib.parse import quote, unquote

from vport.errors import SettingsError
from vport.readers import boolean, host_and_port, interface_name, write_host_and_port

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

SAFE: Final = "/:.,@[]+-_~"  # characters that need no escape in a name or an option's value


@dataclass(frozen=True, slots=True)
class Option:
    """How one option is read and written, and what it means.

    Attributes:
        read: text to value; raises SettingsError.
        write: value to text, the inverse of ``read``.
        help: a phrase for people.
        value: the placeholder shown for its value; empty for a yes/no option.
    """

    read: Callable[[str], Any]
    help: str
    value: str
    write: Callable[[Any], str] = str


def option(
    default: T, read: Callable[[str], Any], text: str, value: str, write: Callable[[Any], str] = str
) -> T:
    """Declare a field of a locator as an option; a tuple as default makes it repeatable."""
    return field(default=default, metadata={"option": Option(read, text, value, write)})


def flag(default: bool, text: str) -> bool:
    """Declare a yes/no option."""
    return option(default, boolean, text, "", lambda value: "yes" if value else "no")


@dataclass(frozen=True, slots=True, kw_only=True)
class Locator:
    """A named place to plug in. One subclass a scheme; its fields without ``option`` are the target.

    Attributes:
        scheme: the word in front of the colon.
        form: how the target is written, for help texts.
        summary: what it carries, in a phrase.
        can_listen: whether it names listeners too.
        may_hold_secrets: whether a wrong option may be one, so that no error repeats it.
    """

    scheme: ClassVar[str]
    form: ClassVar[str]
    summary: ClassVar[str]
    can_listen: ClassVar[bool] = False
    may_hold_secrets: ClassVar[bool] = False

    @classmethod
    def prefix(cls) -> str:
        """Give what its texts begin with."""
        return f"{cls.scheme}://"

    @classmethod
    def read_text(cls, rest: str) -> Self:
        """Make a locator from what stands behind ``scheme:``. Raises SettingsError."""
        if not rest.startswith("//"):
            raise SettingsError(f"expected {cls.form}")
        target, _, query = rest[2:].partition("?")
        return cls.read(target, query)

    @classmethod
    def read_target(cls, text: str) -> dict[str, Any]:
        """Read what stands between ``scheme://`` and ``?`` into fields. Raises SettingsError."""
        raise NotImplementedError

    def write_target(self) -> str:
        """Write the target so that ``read_target`` gives the same fields."""
        raise NotImplementedError

    @classmethod
    def options(cls) -> dict[str, Option]:
        """Give the options of this scheme by name."""
        return {
            item.name.replace("_", "-"): item.metadata["option"]
            for item in dataclasses.fields(cls)
            if "option" in item.metadata
        }

    @classmethod
    def read(cls, target: str, query: str) -> Self:
        """Make a locator from the two parts of its text. Raises SettingsError."""
        return cls(**cls.read_target(target), **cls._read_options(query))

    @classmethod
    def _read_options(cls, query: str) -> dict[str, Any]:
        known = cls.options()
        defaults = {item.name: item.default for item in dataclasses.fields(cls)}
        values: dict[str, Any] = {}
        for item in filter(None, query.split("&")):
            name, _, text = item.partition("=")
            if name not in known:
                raise SettingsError(f"unknown option {name!r}; {cls.scheme} has {_listed(known)}")
            try:
                value = known[name].read(unquote(text))
            except SettingsError as error:
                raise SettingsError(f"option {name}: {error}") from None
            attribute = name.replace("-", "_")
            if isinstance(defaults[attribute], tuple):
                values[attribute] = (*values.get(attribute, ()), value)
            elif attribute in values:
                raise SettingsError(f"option {name} is given twice")
            else:
                values[attribute] = value
        return values

    def __str__(self) -> str:
        items = [
            f"{name}={quote(declared.write(one), safe=SAFE)}"
            for name, declared in self.options().items()
            for one in self._set_values(name)
        ]
        return f"{self.scheme}://{self.write_target()}" + ("?" + "&".join(items) if items else "")

    def _set_values(self, name: str) -> tuple[Any, ...]:
        """Give the values of an option that differ from its default, none when it is the default."""
        attribute = name.replace("-", "_")
        value = getattr(self, attribute)
        default = next(item.default for item in dataclasses.fields(self) if item.name == attribute)
        if value == default:
            return ()
        is_repeatable = isinstance(default, tuple)
        return value if is_repeatable else (value,)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPortLocator(Locator):
    """A place named by a host, or an address, and the port of its transport protocol."""

    host: str
    port: int

    @classmethod
    def read_target(cls, text: str) -> dict[str, Any]:
        """Read ``HOST:PORT``."""
        host, port = host_and_port(text)
        return {"host": host, "port": port}

    def write_target(self) -> str:
        """Write ``HOST:PORT``."""
        return write_host_and_port(self.host, self.port)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceLocator(Locator):
    """A locator whose target is the name of a network device."""

    name: str

    @classmethod
    def read_target(cls, text: str) -> dict[str, Any]:
        """Read the name of the device."""
        return {"name": interface_name(unquote(text))}

    def write_target(self) -> str:
        """Write the name of the device."""
        return quote(self.name, safe=SAFE)


def _listed(names: dict[str, Any]) -> str:
    return ", ".join(sorted(names)) or "no options"
