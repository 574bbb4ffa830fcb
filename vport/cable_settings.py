"""What a cable is started with: one frozen value."""

from __future__ import annotations

from dataclasses import dataclass
from random import SystemRandom
from typing import TYPE_CHECKING, Final

from vport.impairment import Wire

if TYPE_CHECKING:
    from vport.locator import Locator

_SEED_BITS: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class CableSettings:
    """A cable as a program.

    Attributes:
        first: the left end.
        second: the right end.
        impairments: parameters and their settings as they were written, in order.
        fifo: keep frames in order.
        seed: decides all that is left to chance, None for another run each time.
        rcfile: absolute path of a script that is run at the start, None for none.
        management: path of the management socket, None for none.
        management_mode: its permissions.
        pidfile: absolute path of the PID file, None for none.
        progress: show rates on standard error.
    """

    first: Locator
    second: Locator
    impairments: tuple[tuple[str, str], ...] = ()
    fifo: bool = True
    seed: int | None = None
    rcfile: str | None = None
    management: str | None = None
    management_mode: int = 0o600
    pidfile: str | None = None
    progress: bool = False

    def make_wire(self) -> Wire:
        """Make the wire with its faults. Raises SettingsError."""
        wire = Wire(SystemRandom().getrandbits(_SEED_BITS) if self.seed is None else self.seed)
        for name, text in self.impairments:
            wire.read(name, text)
        wire.set_fifo(self.fifo)
        return wire
