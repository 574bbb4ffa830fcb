"""The parameters of one direction of a cable, and the one table of them.

Names and base units are those of VDE's wirefilter, so that its commands and scripts work.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vport.errors import SettingsError
from vport.impairment.values import ZERO, Setting, Value, parse_setting

if TYPE_CHECKING:
    from collections.abc import Mapping

MEGABYTE: Final = 1 << 20  # what noise is counted in: bits per 2^20 bytes
_BITS: Final = 8 * MEGABYTE
_DAY: Final = 86_400_000.0  # milliseconds
_TERABYTE: Final = 1e12

_PERCENT: Final = {"%": 1.0}
_FRAMES: Final[dict[str, float]] = {}
_TIME: Final = {"ms": 1.0, "s": 1000.0, "us": 0.001, "µs": 0.001}
_BYTES: Final = {
    "B": 1.0,
    "kB": 1e3,
    "MB": 1e6,
    "GB": 1e9,
    "KiB": 2.0**10,
    "MiB": 2.0**20,
    "GiB": 2.0**30,
}
_RATE: Final = {
    "Mbit": 1e6 / 8,
    "kbit": 1e3 / 8,
    "Gbit": 1e9 / 8,
    "bit": 1 / 8,
    **{f"{name}/s": size for name, size in _BYTES.items()},
    **_BYTES,
}
_ERROR_RATE: Final = {"ber": float(_BITS)}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One of the things that can be set.

    Attributes:
        name: as the management command is called.
        units: by name, with their size in the base unit, the usual one first.
        limit: the largest value, in the base unit.
        help: what it does, with its base unit.
    """

    name: str
    units: Mapping[str, float]
    limit: float
    help: str

    def parse(self, text: str) -> Setting:
        """Read a setting of this parameter. Raises SettingsError."""
        setting = parse_setting(text, self.units, self.limit, self.name)
        if self.name == "dup" and setting.value.mean >= 100:
            raise SettingsError("dup: at 100 % a frame would be repeated for ever; it must be less")
        return setting

    def write(self, value: Value) -> str:
        """Write a value so that ``parse`` reads the same one, in the base unit: ``10ms+3msN``."""
        unit = next((name for name, size in self.units.items() if size == 1.0), "")
        text = f"{_exact(value.mean)}{unit}"
        if value.variation:
            text += f"+{_exact(value.variation)}{unit}"
        return f"{text}N" if value.is_normal else text


def _exact(number: float) -> str:
    """Write a number with all its digits, and without those that say nothing."""
    return str(int(number)) if number.is_integer() else repr(number)


PARAMETERS: Final = {
    parameter.name: parameter
    for parameter in (
        Parameter("loss", _PERCENT, 1e6, "set loss percentage"),
        Parameter("lostburst", _FRAMES, 1e9, "set mean length of bursts of lost packets; 0: no bursts"),
        Parameter("delay", _TIME, _DAY, "set delay ms"),
        Parameter("dup", _PERCENT, 100, "set dup packet percentage"),
        Parameter("bandwidth", _RATE, _TERABYTE, "set channel bandwidth bytes/sec; 0: no limit"),
        Parameter("speed", _RATE, _TERABYTE, "set interface speed bytes/sec; 0: no limit"),
        Parameter("noise", _ERROR_RATE, _BITS, "set noise factor bits/Mbyte (ber: bit error rate)"),
        Parameter("mtu", _BYTES, 65535, "set longest frame that passes, bytes; 0: any"),
        Parameter("chanbufsize", _BYTES, _TERABYTE, "set channel buffer size (bytes); 0: no limit"),
    )
}
ALIASES: Final = {"band": "bandwidth", "capacity": "chanbufsize"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImpairmentSettings:
    """What happens to frames in one direction; all zero: nothing.

    Attributes:
        loss: percent of frames lost.
        lostburst: mean length in frames of the bursts in which they are lost, 0 for each on its own.
        delay: milliseconds.
        dup: percent; each copy of a frame is repeated with this probability.
        bandwidth: bytes per second that the channel delivers, 0 for no limit; frames wait in its buffer.
        speed: bytes per second that the interface sends, 0 for no limit; frames wait before the channel.
        noise: bits flipped per 2^20 bytes.
        mtu: bytes of the longest frame that passes, Ethernet header included, 0 for any.
        chanbufsize: bytes that the channel's buffer holds, 0 for as many as there is room for.
    """

    loss: Value = ZERO
    lostburst: Value = ZERO
    delay: Value = ZERO
    dup: Value = ZERO
    bandwidth: Value = ZERO
    speed: Value = ZERO
    noise: Value = ZERO
    mtu: Value = ZERO
    chanbufsize: Value = ZERO

    def with_value(self, name: str, value: Value) -> ImpairmentSettings:
        """Give the same settings with one parameter changed."""
        return dataclasses.replace(self, **{name: value})

    @property
    def is_clear(self) -> bool:
        """Whether frames pass untouched. Where nothing is lost, the length of bursts does not matter."""
        return self in (_CLEAR, ImpairmentSettings(lostburst=self.lostburst, chanbufsize=self.chanbufsize))

    @classmethod
    def read(cls, **texts: str) -> ImpairmentSettings:
        """Make settings from texts, for programs: ``ImpairmentSettings.read(loss="1%", delay="10ms+3ms")``.

        Raises:
            SettingsError: a text is malformed, or names a direction.
        """
        values = {}
        for name, text in texts.items():
            if name not in PARAMETERS:
                raise SettingsError(f"{name!r} is not one of {', '.join(PARAMETERS)}")
            setting = PARAMETERS[name].parse(text)
            if len(setting.directions) == 1:
                raise SettingsError(f"{name}: {text!r} names a direction, but these settings are for one")
            values[name] = setting.value
        return cls(**values)


_CLEAR: Final = ImpairmentSettings()
