"""Tables of guards in a configuration file: ``[guard]`` and ``[port.guard]`` to settings and back.

[guard]
loop-interval = 1             # seconds between probes; 0: none are sent
loop-recovery = 300           # seconds that a port is shut for a loop
bpdu-recovery = 300           # seconds that BPDU guard shuts a port; 0: for good
flap-moves = 5                # a station flaps that moves so often …
flap-window = 10              # … within so many seconds

[port.guard]                  # below its [[port]]
bpdu = true                   # shut the port when a BPDU comes in
root = true                   # the root is never behind it
topology = true               # topology changes from there are not passed on
loop = false                  # send no probes
[port.guard.storm]            # frames a second; without the table, as its kind of link has it
broadcast = 500               # what is not named, or 0, has no limit
multicast = 2000
unknown = 5000
[port.guard.addresses]
limit = 2                     # 0: any number
action = "restrict"           # or protect, shutdown
recovery = 300                # seconds that the port is shut then; 0: for good
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vport.errors import SettingsError
from vport.toml_fields import Table, boolean, choice, integer, number, plain
from vswitch.guards import (
    AddressLimit,
    GuardSettings,
    LimitAction,
    LoopSettings,
    MacFlapSettings,
    StormSettings,
)
from vswitch.guards.mac_limit import LIMIT_MAX as ADDRESSES_MAX
from vswitch.guards.port_guards import PortGuards
from vswitch.guards.recovery import RECOVERY_MAX
from vswitch.guards.storm_control import LIMIT_MAX as STORM_MAX

if TYPE_CHECKING:
    from collections.abc import Callable

_KEYS: Final = ("loop-interval", "loop-recovery", "bpdu-recovery", "flap-moves", "flap-window")
_SWITCHES: Final = ("bpdu", "root", "topology", "loop")
_PORT_KEYS: Final = (*_SWITCHES, "storm", "addresses")
_STORM_KEYS: Final = {"broadcast": "broadcast", "multicast": "multicast", "unknown": "unknown_unicast"}
_ADDRESS_KEYS: Final = ("limit", "action", "recovery")
_UNUSED_INTERVAL: Final = LoopSettings().interval  # what the interval is while no probes are sent


# --- reading ---


def read_guards(value: object) -> GuardSettings:
    """Read what holds for the whole switch.

    Raises:
        SettingsError: a key is unknown, or a value wrong.
    """
    table, default = Table(value, _KEYS), GuardSettings()
    interval = table.read("loop-interval", _or_none(0.1, 60), default.loop.interval)
    recovery = table.read("loop-recovery", number(1, RECOVERY_MAX), default.loop.recovery)
    return GuardSettings(
        is_looking_for_loops=interval is not None,
        loop=LoopSettings(interval=interval or _UNUSED_INTERVAL, recovery=recovery),
        bpdu_recovery=table.read("bpdu-recovery", _or_none(1, RECOVERY_MAX), default.bpdu_recovery),
        flap=MacFlapSettings(
            moves=table.read("flap-moves", integer(2, 1000), default.flap.moves),
            window=table.read("flap-window", number(1, 3600), default.flap.window),
        ),
    )


def read_port_guards(value: object) -> tuple[PortGuards, AddressLimit | None]:
    """Read what one port is guarded against.

    Raises:
        SettingsError: a key is unknown, or a value wrong.
    """
    table, default = Table(value, _PORT_KEYS), PortGuards()
    switches = {name: table.read(name, boolean, getattr(default, name)) for name in _SWITCHES}
    guards = PortGuards(storm=table.read("storm", _read_storm, None), **switches)
    return guards, table.read("addresses", _read_addresses, None)


def _read_storm(value: object) -> StormSettings:
    table = Table(value, tuple(_STORM_KEYS))
    limits = {name: table.read(key, integer(0, STORM_MAX), 0) for key, name in _STORM_KEYS.items()}
    return StormSettings(**{name: limit or None for name, limit in limits.items()})


def _read_addresses(value: object) -> AddressLimit:
    table = Table(value, _ADDRESS_KEYS)
    limit = table.require("limit", integer(0, ADDRESSES_MAX))
    default = AddressLimit(limit=limit)
    return AddressLimit(
        limit=limit,
        action=LimitAction(table.read("action", choice(LimitAction), default.action)),
        recovery=table.read("recovery", _or_none(1, RECOVERY_MAX), default.recovery),
    )


def _or_none(low: float, high: float) -> Callable[[object], float | None]:
    """Make a reader of numbers from ``low`` to ``high``, and of 0, which is None."""

    def read(value: object) -> float | None:
        if isinstance(value, int | float) and value == 0 and not isinstance(value, bool):
            return None
        try:
            return number(low, high)(value)
        except SettingsError as error:
            raise SettingsError(str(error).replace("must be", "must be 0 or", 1)) from None

    return read


# --- writing ---


def write_guards(settings: GuardSettings) -> dict[str, object]:
    """Write the table of the whole switch; what is as where nothing is said is left out."""
    return {key: value for key, value in _values(settings).items() if value != _values(GuardSettings())[key]}


def _values(settings: GuardSettings) -> dict[str, float]:
    return {
        "loop-interval": plain(settings.loop.interval) if settings.is_looking_for_loops else 0,
        "loop-recovery": plain(settings.loop.recovery),
        "bpdu-recovery": plain(settings.bpdu_recovery or 0.0),
        "flap-moves": settings.flap.moves,
        "flap-window": plain(settings.flap.window),
    }


def write_port_guards(guards: PortGuards, addresses: AddressLimit | None) -> dict[str, object]:
    """Write the table of a port; what is as where nothing is said is left out."""
    default = PortGuards()
    table: dict[str, object] = {
        name: getattr(guards, name) for name in _SWITCHES if getattr(guards, name) != getattr(default, name)
    }
    if guards.storm is not None:
        table["storm"] = {key: getattr(guards.storm, name) or 0 for key, name in _STORM_KEYS.items()}
    if addresses is not None:
        table["addresses"] = _write_addresses(addresses)
    return table


def _write_addresses(addresses: AddressLimit) -> dict[str, object]:
    default = AddressLimit(limit=addresses.limit)
    table: dict[str, object] = {"limit": addresses.limit}
    if addresses.action != default.action:
        table["action"] = str(addresses.action)
    if addresses.recovery != default.recovery:
        table["recovery"] = plain(addresses.recovery or 0.0)
    return table
