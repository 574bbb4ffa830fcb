"""Configuration files: the text of a TOML file to settings and back. No files are opened here.

``read_config`` checks the whole text before it gives anything. Its errors name the file, the line, the key
and what is allowed. ``write_config`` is its inverse: what it writes reads back as the same settings.

    numports = 64
    vlans = [10, 20]
    listen = ["udp://:9999"]          # for those who call
    attach = ["host://10.1.1.9/24"]   # opened at start, into free ports

    [management]
    path = "/run/vswitch/mgmt"
    mode = "0660"                     # octal, as text

    [[port]]
    number = 1
    pvid = 10                         # 4095: no untagged VLAN
    tagged = [20]
    attach = ["tap://tap0"]           # opened at start, into this port

    [[static]]
    mac = "02:00:00:00:00:01"
    vlan = 10
    port = 1
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final, TypeVar

import tomli_w

from vport.errors import SettingsError
from vport.ethernet import VID_MAX, MacAddress, Vid, format_mac
from vport.locator import parse, station_address
from vswitch.config import (
    DEFAULT_LISTENER,
    DEFAULT_PRIORITY,
    PRIORITY_MAX,
    InconsistentSettingsError,
    KeyPath,
    ManagementSettings,
    PortSettings,
    StaticStation,
    SwitchSettings,
)
from vswitch.fdb import CAPACITY_MAX, TIME_MAX, FdbSettings
from vswitch.ports import DEFAULT_PORT_LIMIT, NO_VLAN, PORT_LIMIT_MAX
from vswitch.toml_lines import find_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from vport.locator import Locator

T = TypeVar("T")
D = TypeVar("D")

SIZE_MAX: Final = 1 << 20  # characters; far above any real file, and parsed in a second
_SHOWN: Final = 40  # characters of a wrong value that an error message repeats
_HEADING: Final = "# Written by vswitch (config/save); to be read with vswitch --config.\n\n"
_HASH_KEYS: Final = {
    "expire": "aging_time",
    "gc-interval": "collect_interval",
    "min-persistence": "min_persistence",
    "capacity": "capacity",
    "size": "buckets",
}
_SWITCH_KEYS: Final = (
    "mac", "numports", "hub", "fstp", "priority", "vlans", "listen", "attach",
    "hash", "management", "port", "static",
)  # fmt: skip
_MANAGEMENT_KEYS: Final = ("path", "mode", "group")
_PORT_KEYS: Final = ("number", "descr", "pvid", "tagged", "allocatable", "user", "group", "attach")
_STATION_KEYS: Final = ("mac", "vlan", "port")


class _KeyError(Exception):
    """The value at ``path`` is not what it must be."""

    def __init__(self, path: KeyPath, text: str) -> None:
        super().__init__(text)
        self.path = path


# --- reading ---


def read_config(text: str, name: str) -> SwitchSettings:
    """Read the text of a configuration file; ``name`` is the file's, for error messages.

    Raises:
        SettingsError: it is not TOML, has an unknown key or one twice, a value of the wrong type or out
            of its range, or values that contradict each other.
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
        return _read_switch(document)
    except (_KeyError, InconsistentSettingsError) as error:
        line = find_line(text, error.path)
        raise SettingsError(f"{name}:{line}: {format_path(error.path)}: {error}") from None


def _readable(error: tomllib.TOMLDecodeError) -> str:
    """Put the line in front, as in all other messages."""
    match = re.fullmatch(r"(.*) \(at line (\d+), column (\d+)\)", str(error), re.DOTALL)
    return f"{match[2]}: column {match[3]}: {match[1]}" if match else f" {error}"


class _Table:
    """One table of the file, with no other keys than those ``known``; hands out values by key."""

    def __init__(self, value: object, known: tuple[str, ...]) -> None:
        if not isinstance(value, dict):
            raise SettingsError(f"must be a table, not {_shown(value)}")
        for key in value:
            if key not in known:
                raise _KeyError((key,), f"unknown key; known are {', '.join(known)}")
        self._values: dict[str, object] = value

    def read(self, key: str, reader: Callable[[object], T], default: D) -> T | D:
        """Read the value of ``key``, or give ``default`` when there is none."""
        return self.require(key, reader) if key in self._values else default

    def require(self, key: str, reader: Callable[[object], T]) -> T:
        """Read the value of a key that must be there."""
        if key not in self._values:
            raise SettingsError(f"{key} is missing")
        try:
            return reader(self._values[key])
        except _KeyError as error:
            raise _KeyError((key, *error.path), str(error)) from None
        except SettingsError as error:
            raise _KeyError((key,), str(error)) from None


def _read_switch(value: object) -> SwitchSettings:
    table = _Table(value, _SWITCH_KEYS)
    values: dict[str, Any] = {
        "mac": table.read("mac", _text_as(station_address), None),
        "port_limit": table.read("numports", _integer(1, PORT_LIMIT_MAX), DEFAULT_PORT_LIMIT),
        "is_hub": table.read("hub", _boolean, False),
        "is_fstp": table.read("fstp", _boolean, False),
        "priority": table.read("priority", _integer(0, PRIORITY_MAX), DEFAULT_PRIORITY),
        "vlans": table.read("vlans", _list_of(_vid(1)), ()),
        "listen": table.read("listen", _list_of(_text_as(parse)), (DEFAULT_LISTENER,)),
        "attach": table.read("attach", _list_of(_text_as(parse)), ()),
        "fdb": table.read("hash", _read_hash, FdbSettings()),
        "management": table.read("management", _read_management, None),
        "ports": table.read("port", _list_of(_read_port), ()),
        "stations": table.read("static", _list_of(_read_station), ()),
    }
    return SwitchSettings(**values)


def _read_hash(value: object) -> FdbSettings:
    table = _Table(value, tuple(_HASH_KEYS))
    limits = {"gc-interval": (0, TIME_MAX), "min-persistence": (0, TIME_MAX), "expire": (1, TIME_MAX)}
    values = {
        name: table.read(key, _integer(*limits.get(key, (1, CAPACITY_MAX))), _FDB_DEFAULTS[name])
        for key, name in _HASH_KEYS.items()
    }
    return FdbSettings(**values)


_FDB_DEFAULTS: Final[dict[str, int]] = {
    item.name: getattr(FdbSettings(), item.name) for item in fields(FdbSettings)
}


def _read_management(value: object) -> ManagementSettings:
    table = _Table(value, _MANAGEMENT_KEYS)
    return ManagementSettings(
        path=table.require("path", _word),
        mode=table.read("mode", _text_as(file_mode), 0o600),
        group=table.read("group", _word, None),
    )


def _read_port(value: object) -> PortSettings:
    table = _Table(value, _PORT_KEYS)
    return PortSettings(
        number=table.require("number", _integer(1, PORT_LIMIT_MAX)),
        description=table.read("descr", _text, ""),
        pvid=table.read("pvid", _vid(0, NO_VLAN), Vid(0)),
        tagged=table.read("tagged", _list_of(_vid(0)), ()),
        allocatable=table.read("allocatable", _boolean, True),
        user=table.read("user", _word, None),
        group=table.read("group", _word, None),
        attach=table.read("attach", _list_of(_text_as(parse)), ()),
    )


def _read_station(value: object) -> StaticStation:
    table = _Table(value, _STATION_KEYS)
    return StaticStation(
        mac=table.require("mac", _text_as(station_address)),
        port=table.require("port", _integer(1, PORT_LIMIT_MAX)),
        vid=table.read("vlan", _vid(0), Vid(0)),
    )


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


def file_mode(text: str) -> int:
    """Read a file mode: ``0660`` or ``660``, octal, at most 0777."""
    if not re.fullmatch(r"[0-7]{1,4}", text) or int(text, 8) > 0o777:
        raise SettingsError(f"{text!r} is not a file mode in octal, such as 0600")
    return int(text, 8)


def _shown(value: object) -> str:
    """Show a wrong value in an error message: as in the file, more or less, and cut when it is long."""
    if isinstance(value, dict):
        return "a table"
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _integer(low: int, high: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise SettingsError(f"must be a number from {low} to {high}, not {_shown(value)}")
        return value

    return read


def _vid(low: int, high: int = VID_MAX) -> Callable[[object], Vid]:
    return lambda value: Vid(_integer(low, high)(value))


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise SettingsError(f"must be true or false, not {_shown(value)}")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise SettingsError(f"must be a text in quotes, not {_shown(value)}")
    return value


def _word(value: object) -> str:
    text = _text(value)
    if not text or "\0" in text:
        raise SettingsError(f"must be a text that is not empty, not {_shown(text)}")
    return text


def _text_as(read: Callable[[str], T]) -> Callable[[object], T]:
    return lambda value: read(_text(value))


def _list_of(read: Callable[[object], T]) -> Callable[[object], tuple[T, ...]]:
    def read_list(value: object) -> tuple[T, ...]:
        if not isinstance(value, list):
            raise SettingsError(f"must be a list, not {_shown(value)}")
        items: list[T] = []
        for index, item in enumerate(value):
            try:
                items.append(read(item))
            except _KeyError as error:
                raise _KeyError((index, *error.path), str(error)) from None
            except SettingsError as error:
                raise _KeyError((index,), str(error)) from None
        return tuple(items)

    return read_list


# --- writing ---


def write_config(settings: SwitchSettings) -> str:
    """Write settings as the text of a configuration file.

    Raises:
        SettingsError: a text among them cannot stand in a TOML file: a path that is not UTF-8.
    """
    text = _HEADING + tomli_w.dumps(_document(settings), indent=2)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        wrong = text[error.start : error.end]
        raise SettingsError(f"cannot be written in TOML: {wrong!r} is not Unicode") from None
    return text


def _document(settings: SwitchSettings) -> dict[str, object]:
    document: dict[str, object] = {} if settings.mac is None else {"mac": format_mac(settings.mac)}
    document |= {
        "numports": settings.port_limit,
        "hub": settings.is_hub,
        "fstp": settings.is_fstp,
        "priority": settings.priority,
        "vlans": list(settings.vlans),
        "listen": _texts(settings.listen),
        "attach": _texts(settings.attach),
        "hash": {key: getattr(settings.fdb, name) for key, name in _HASH_KEYS.items()},
    }
    if settings.management is not None:
        document["management"] = _management(settings.management)
    if settings.ports:
        document["port"] = [_port(port) for port in settings.ports]
    if settings.stations:
        document["static"] = [
            {"mac": format_mac(MacAddress(station.mac)), "vlan": station.vid, "port": station.port}
            for station in settings.stations
        ]
    return document


def _texts(locators: tuple[Locator, ...]) -> list[str]:
    return [str(locator) for locator in locators]


def _management(settings: ManagementSettings) -> dict[str, object]:
    group = {} if settings.group is None else {"group": settings.group}
    return {"path": settings.path, "mode": f"{settings.mode:04o}", **group}


def _port(port: PortSettings) -> dict[str, object]:
    """Write a port; what is as in a port that nobody configured is left out."""
    values: dict[str, object] = {
        "descr": port.description,
        "pvid": port.pvid,
        "tagged": list(port.tagged),
        "user": port.user,
        "group": port.group,
        "attach": _texts(port.attach),
    }
    kept = {key: value for key, value in values.items() if value}
    return {"number": port.number, **kept} | ({} if port.allocatable else {"allocatable": False})
