"""What is set for the guards of a whole switch, as one value; what is set for a port is ``PortGuards``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from vswitch.guards.loop_detection import LoopSettings
from vswitch.guards.mac_flap import MacFlapSettings
from vswitch.guards.recovery import check_recovery

# --- our own constants ---

BPDU_GUARD_RECOVERY: Final = 300.0  # seconds; what operators know from other switches


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardSettings:
    """The guards that are one for the switch.

    Attributes:
        is_looking_for_loops: send probes at all.
        loop: how often, and how long a port pauses.
        bpdu_recovery: seconds that BPDU guard shuts a port; None for good.
        flap: when a station counts as flapping.

    Raises:
        SettingsError: the recovery is out of its range.
    """

    is_looking_for_loops: bool = True
    loop: LoopSettings = field(default_factory=LoopSettings)
    bpdu_recovery: float | None = BPDU_GUARD_RECOVERY
    flap: MacFlapSettings = field(default_factory=MacFlapSettings)

    def __post_init__(self) -> None:
        check_recovery("BPDU", self.bpdu_recovery)
