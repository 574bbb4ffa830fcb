"""The table of the spanning tree in a configuration file: ``[spanning-tree]`` to settings and back.

    [spanning-tree]
    hello = 1                     # seconds
    max-age = 6
    forward-delay = 4
    [[spanning-tree.port]]        # a port in a VLAN; it need not exist
    vlan = 10                     # 0 where nothing is said
    port = 3
    cost = 2000
    priority = 64                 # in steps of 16
    edge = true                   # forwards, sends and takes no BPDU
    bonus = 100                   # makes the port cheaper, the only one of its VLAN

Whether it runs at all, and the switch's priority, stand in the switch's own table: ``fstp``, ``priority``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vport.errors import SettingsError
from vport.ethernet import VID_MAX, Vid
from vport.toml_fields import PlacedError, Table, boolean, integer, list_of, number, plain
from vswitch.config import TreePort, TreeTimes
from vswitch.ports import PORT_LIMIT_MAX
from vswitch.spanning_tree.priority import PATH_COST_MAX
from vswitch.spanning_tree.settings import (
    DEFAULT_PATH_COST,
    DEFAULT_PORT_PRIORITY,
    FORWARD_DELAY_RANGE,
    HELLO_TIME_RANGE,
    MAX_AGE_RANGE,
    check_port_priority,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

_KEYS: Final = ("hello", "max-age", "forward-delay", "port")
_PORT_KEYS: Final = ("vlan", "port", "cost", "priority", "edge", "bonus")


def read_tree(value: object) -> tuple[TreeTimes, tuple[TreePort, ...]]:
    """Read the table.

    Raises:
        SettingsError: a key is unknown, a value wrong, or the times do not fit each other.
    """
    table, default = Table(value, _KEYS), TreeTimes()
    hello = table.read("hello", number(*HELLO_TIME_RANGE), default.hello_time)
    max_age = table.read("max-age", number(*MAX_AGE_RANGE), default.max_age)
    delay = table.read("forward-delay", number(*FORWARD_DELAY_RANGE), default.forward_delay)
    ports = table.read("port", list_of(_read_port), ())
    try:
        return TreeTimes(hello_time=hello, max_age=max_age, forward_delay=delay), ports
    except SettingsError as error:
        known = [key for key in ("max-age", "hello", "forward-delay") if table.has(key)]
        raise PlacedError((known[0],), str(error)) from None


def _read_port(value: object) -> TreePort:
    table = Table(value, _PORT_KEYS)
    return TreePort(
        vid=Vid(table.read("vlan", integer(0, VID_MAX), 0)),
        port=table.require("port", integer(1, PORT_LIMIT_MAX)),
        cost=table.read("cost", integer(1, PATH_COST_MAX), DEFAULT_PATH_COST),
        priority=table.read("priority", _port_priority, DEFAULT_PORT_PRIORITY),
        is_edge=table.read("edge", boolean, False),
        bonus=table.read("bonus", integer(0, PATH_COST_MAX), 0),
    )


def _port_priority(value: object) -> int:
    return check_port_priority(integer(0, 240)(value))


def write_tree(times: TreeTimes, ports: Iterable[TreePort]) -> dict[str, object]:
    """Write the table; what is as where nothing is said is left out."""
    default = TreeTimes()
    found: dict[str, object] = {
        key: plain(getattr(times, name))
        for key, name in (("hello", "hello_time"), ("max-age", "max_age"), ("forward-delay", "forward_delay"))
        if getattr(times, name) != getattr(default, name)
    }
    written = [_write_port(port) for port in ports]
    return found | ({"port": written} if written else {})


def _write_port(port: TreePort) -> dict[str, object]:
    default = TreePort(vid=port.vid, port=port.port)
    values = (
        ("cost", port.cost, default.cost),
        ("priority", port.priority, default.priority),
        ("edge", port.is_edge, default.is_edge),
        ("bonus", port.bonus, default.bonus),
    )
    said: dict[str, object] = {key: value for key, value, usual in values if value != usual}
    return {"vlan": port.vid, "port": port.port, **said}
