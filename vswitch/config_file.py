"""Configuration files: the text of a TOML file to settings and back. No files are opened here.

``read_config`` checks the whole text before it gives anything. Its errors name the file, the line, the key
and what is allowed. ``write_config`` is its inverse: what it writes reads back as the same settings, and
what is as where nothing is said is not written.

    numports = 64
    vlans = [10, 20]
    listen = ["udp://:9999"]          # for those who call
    attach = ["host://10.1.1.9/24"]   # opened at start, into free ports
    plugins = ["iplog"]               # loaded at start: by name, or by the path of a file

    [management]
    path = "/run/vswitch/mgmt"
    mode = "0660"                     # octal, as text

    [[port]]
    number = 1
    pvid = 10                         # 4095: no untagged VLAN
    tagged = [20]
    attach = ["tap://tap0"]           # opened at start, into this port

    [port.guard]                      # what it is guarded against: see ``guard_tables``
    bpdu = true
    [port.impair]                     # its faults: see ``impairment_tables``
    loss = "1%"

    [[static]]
    mac = "02:00:00:00:00:01"
    vlan = 10
    port = 1

    [guard]                           # the guards of the whole switch: see ``guard_tables``
    [spanning-tree]                   # its times and ports: see ``tree_tables``

    [[wireguard]]                     # a listener with peers of its own
    listen = "wg://:51820?lan=10.1.1.1/24"
    [[wireguard.peer]]                # see ``peer_tables``
    name = "laptop"
    public-key = "…"
"""

from __future__ import annotations

import os.path
import re
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

import tomli_w

from vport.errors import SettingsError
from vport.ethernet import VID_MAX, MacAddress, Vid, format_mac
from vport.locator import WireguardLocator, parse
from vport.readers import station_address
from vport.toml_fields import Table, boolean, integer, list_of, read_toml, shown, text, text_as, word
from vswitch.config import (
    DEFAULT_LISTENER,
    DEFAULT_PRIORITY,
    PRIORITY_MAX,
    ManagementSettings,
    PortSettings,
    StaticStation,
    SwitchSettings,
    TreeTimes,
    WireguardSettings,
)
from vswitch.fdb import CAPACITY_MAX, TIME_MAX, FdbSettings
from vswitch.guard_tables import read_guards, read_port_guards, write_guards, write_port_guards
from vswitch.guards import GuardSettings
from vswitch.guards.port_guards import PortGuards
from vswitch.ports import DEFAULT_PORT_LIMIT, NO_VLAN, PORT_LIMIT_MAX
from vswitch.tree_tables import read_tree, write_tree

if TYPE_CHECKING:
    from collections.abc import Callable

    from vport.locator import Locator

_HEADING: Final = "# Written by vswitch (config/save); to be read with vswitch --config.\n\n"
_HASH_KEYS: Final = {
    "expire": "aging_time",
    "gc-interval": "collect_interval",
    "min-persistence": "min_persistence",
    "capacity": "capacity",
    "size": "buckets",
}
_SWITCH_KEYS: Final = (
    "mac", "numports", "hub", "fstp", "priority", "vlans", "listen", "attach", "plugins",
    "hash", "guard", "spanning-tree", "management", "port", "static", "wireguard",
)  # fmt: skip
_MANAGEMENT_KEYS: Final = ("path", "mode", "group")
_PORT_KEYS: Final = (
    "number",
    "descr",
    "pvid",
    "tagged",
    "allocatable",
    "user",
    "group",
    "attach",
    "guard",
    "impair",
)
_STATION_KEYS: Final = ("mac", "vlan", "port")
_WIREGUARD_KEYS: Final = ("listen", "peer")


# --- reading ---


def read_config(text: str, name: str) -> SwitchSettings:
    """Read the text of a configuration file; ``name`` is the file's, for error messages.

    Raises:
        SettingsError: it is not TOML, has an unknown key or one twice, a value of the wrong type or out
            of its range, or values that contradict each other.
    """
    return read_toml(text, name, _read_switch)


def _read_switch(value: object) -> SwitchSettings:
    table = Table(value, _SWITCH_KEYS)
    wireguard = table.read("wireguard", list_of(_read_wireguard), ())
    times, tree_ports = table.read("spanning-tree", read_tree, (TreeTimes(), ()))
    values: dict[str, Any] = {
        "mac": table.read("mac", text_as(station_address), None),
        "port_limit": table.read("numports", integer(1, PORT_LIMIT_MAX), DEFAULT_PORT_LIMIT),
        "is_hub": table.read("hub", boolean, False),
        "is_fstp": table.read("fstp", boolean, False),
        "priority": table.read("priority", integer(0, PRIORITY_MAX), DEFAULT_PRIORITY),
        "vlans": table.read("vlans", list_of(_vid(1)), ()),
        "listen": table.read("listen", list_of(text_as(parse)), _usual_listeners(wireguard)),
        "wireguard": wireguard,
        "attach": table.read("attach", list_of(text_as(parse)), ()),
        "plugins": table.read("plugins", list_of(_read_plugin), ()),
        "times": times,
        "tree_ports": tree_ports,
        "guards": table.read("guard", read_guards, GuardSettings()),
        "fdb": table.read("hash", _read_hash, FdbSettings()),
        "management": table.read("management", _read_management, None),
        "ports": table.read("port", list_of(_read_port), ()),
        "stations": table.read("static", list_of(_read_station), ()),
    }
    return SwitchSettings(**values)


def _usual_listeners(wireguard: tuple[WireguardSettings, ...]) -> tuple[Locator, ...]:
    """Give what is listened on where nothing is said."""
    return () if wireguard else (DEFAULT_LISTENER,)


def _read_plugin(value: object) -> str:
    """Read a plugin's name or path, which must be absolute: a daemon works in another directory."""
    name = word(value)
    if (name.endswith(".py") or "/" in name) and not name.startswith("/"):
        raise SettingsError(f"must be a plugin's name or the absolute path of its file, not {shown(name)}")
    return os.path.normpath(name) if "/" in name else name


def _read_hash(value: object) -> FdbSettings:
    table = Table(value, tuple(_HASH_KEYS))
    limits = {"gc-interval": (0, TIME_MAX), "min-persistence": (0, TIME_MAX), "expire": (1, TIME_MAX)}
    values = {
        name: table.read(key, integer(*limits.get(key, (1, CAPACITY_MAX))), _FDB_DEFAULTS[name])
        for key, name in _HASH_KEYS.items()
    }
    return FdbSettings(**values)


_FDB_DEFAULTS: Final[dict[str, int]] = {
    item.name: getattr(FdbSettings(), item.name) for item in fields(FdbSettings)
}


def _read_management(value: object) -> ManagementSettings:
    table = Table(value, _MANAGEMENT_KEYS)
    return ManagementSettings(
        path=table.require("path", word),
        mode=table.read("mode", text_as(file_mode), 0o600),
        group=table.read("group", word, None),
    )


def _read_port(value: object) -> PortSettings:
    from vswitch.impairment_tables import read_impairment  # most switches have no faults

    table = Table(value, _PORT_KEYS)
    guards, addresses = table.read("guard", read_port_guards, (PortGuards(), None))
    return PortSettings(
        number=table.require("number", integer(1, PORT_LIMIT_MAX)),
        description=table.read("descr", text, ""),
        pvid=table.read("pvid", _vid(0, NO_VLAN), Vid(0)),
        tagged=table.read("tagged", list_of(_vid(0)), ()),
        allocatable=table.read("allocatable", boolean, True),
        user=table.read("user", word, None),
        group=table.read("group", word, None),
        attach=table.read("attach", list_of(text_as(parse)), ()),
        guards=guards,
        addresses=addresses,
        impairment=table.read("impair", read_impairment, None),
    )


def _read_station(value: object) -> StaticStation:
    table = Table(value, _STATION_KEYS)
    return StaticStation(
        mac=table.require("mac", text_as(station_address)),
        port=table.require("port", integer(1, PORT_LIMIT_MAX)),
        vid=table.read("vlan", _vid(0), Vid(0)),
    )


def _read_wireguard(value: object) -> WireguardSettings:
    from vswitch.peer_tables import read_peer  # with what knows keys, which most switches do without

    table = Table(value, _WIREGUARD_KEYS)
    return WireguardSettings(
        listen=table.require("listen", text_as(_wireguard_locator)),
        peers=table.read("peer", list_of(read_peer), ()),
    )


def _wireguard_locator(text: str) -> WireguardLocator:
    locator = parse(text)
    if not isinstance(locator, WireguardLocator):
        raise SettingsError(f"{text} must be wg://…: others have no peers to name; they go into listen = […]")
    return locator


def _vid(low: int, high: int = VID_MAX) -> Callable[[object], Vid]:
    return lambda value: Vid(integer(low, high)(value))


def file_mode(text: str) -> int:
    """Read a file mode: ``0660`` or ``660``, octal, at most 0777."""
    if not re.fullmatch(r"[0-7]{1,4}", text) or int(text, 8) > 0o777:
        raise SettingsError(f"{text!r} is not a file mode in octal, such as 0600")
    return int(text, 8)


# --- writing ---


def write_config(settings: SwitchSettings, *, with_secrets: bool = True) -> str:
    """Write settings as the text of a configuration file.

    Without secrets it cannot be read again, where there are any: it says that they are hidden.

    Raises:
        SettingsError: a text among them cannot stand in a TOML file: a path that is not UTF-8.
    """
    text = _HEADING + tomli_w.dumps(_document(settings, with_secrets=with_secrets), indent=2)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        wrong = text[error.start : error.end]
        raise SettingsError(f"cannot be written in TOML: {wrong!r} is not Unicode") from None
    return text


def _document(settings: SwitchSettings, *, with_secrets: bool) -> dict[str, object]:
    """Make the tables; what is as where nothing is said is left out."""
    values = _values(settings)
    tables: dict[str, object] = {
        "hash": {
            key: value for key, value in _hash(settings.fdb).items() if value != _hash(FdbSettings())[key]
        },
        "guard": write_guards(settings.guards),
        "spanning-tree": write_tree(settings.times, settings.tree_ports),
        "management": None if settings.management is None else _management(settings.management),
        "port": [_port(port) for port in settings.ports],
        "static": [_station(station) for station in settings.stations],
        "wireguard": [_wireguard(one, with_secrets=with_secrets) for one in settings.wireguard],
    }
    usual = _values(SwitchSettings(listen=_usual_listeners(settings.wireguard)))
    return {key: value for key, value in values.items() if value != usual[key]} | {
        key: table for key, table in tables.items() if table
    }


def _values(settings: SwitchSettings) -> dict[str, object]:
    """Give what stands outside of tables."""
    return {
        "mac": None if settings.mac is None else format_mac(settings.mac),
        "numports": settings.port_limit,
        "hub": settings.is_hub,
        "fstp": settings.is_fstp,
        "priority": settings.priority,
        "vlans": list(settings.vlans),
        "listen": _texts(settings.listen),
        "attach": _texts(settings.attach),
        "plugins": list(settings.plugins),
    }


def _hash(settings: FdbSettings) -> dict[str, int]:
    return {key: getattr(settings, name) for key, name in _HASH_KEYS.items()}


def _station(station: StaticStation) -> dict[str, object]:
    vlan = {"vlan": station.vid} if station.vid else {}
    return {"mac": format_mac(MacAddress(station.mac)), **vlan, "port": station.port}


def _wireguard(settings: WireguardSettings, *, with_secrets: bool) -> dict[str, object]:
    from vswitch.peer_tables import write_peer

    peers = [write_peer(peer, with_secrets=with_secrets) for peer in settings.peers]
    return {"listen": str(settings.listen)} | ({"peer": peers} if peers else {})


def _texts(locators: tuple[Locator, ...]) -> list[str]:
    return [str(locator) for locator in locators]


def _management(settings: ManagementSettings) -> dict[str, object]:
    group = {} if settings.group is None else {"group": settings.group}
    return {"path": settings.path, "mode": f"{settings.mode:04o}", **group}


def _port(port: PortSettings) -> dict[str, object]:
    """Write a port; what is as in a port that nobody configured is left out."""
    from vswitch.impairment_tables import write_impairment

    values: dict[str, object] = {
        "descr": port.description,
        "pvid": port.pvid,
        "tagged": list(port.tagged),
        "user": port.user,
        "group": port.group,
        "attach": _texts(port.attach),
        "guard": write_port_guards(port.guards, port.addresses),
    }
    table = {key: value for key, value in values.items() if value}
    if not port.allocatable:
        table["allocatable"] = False
    if port.impairment is not None:
        table["impair"] = write_impairment(port.impairment)
    return {"number": port.number, **table}
