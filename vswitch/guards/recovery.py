"""How long a guard keeps a port shut."""

from __future__ import annotations

from typing import Final

from vport.errors import SettingsError

RECOVERY_MAX: Final = 86_400  # seconds that a port is shut at most, if not for good


def check_recovery(guard: str, seconds: float | None) -> None:
    """See that a port may be shut for that long; None is for good.

    Raises:
        SettingsError: it may not.
    """
    if seconds is not None and not 1 <= seconds <= RECOVERY_MAX:
        raise SettingsError(f"{guard} recovery {seconds:g} s is not within 1 to {RECOVERY_MAX} s")
