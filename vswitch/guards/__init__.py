"""Guards that work where spanning tree is off, all pure: they are asked, and answer with values.

``loop_detection``: our own probes coming back. ``mac_flap``: addresses that jump between ports.
``storm_control``: too much that goes to everyone. ``mac_limit``: too many addresses behind one port.
"""

from vswitch.guards.loop_detection import (
    LoopDetected,
    LoopDetector,
    LoopPortRecovered,
    LoopSettings,
    ProbeToSend,
)
from vswitch.guards.mac_flap import MacFlapDetector, MacFlapping, MacFlapSettings
from vswitch.guards.mac_limit import (
    AddressLimit,
    LimitAction,
    LimitExceeded,
    MacLimit,
    MacLimitSettings,
)
from vswitch.guards.settings import GuardSettings
from vswitch.guards.storm_control import StormControl, StormKind, StormReport, StormSettings

__all__ = [
    "AddressLimit",
    "GuardSettings",
    "LimitAction",
    "LimitExceeded",
    "LoopDetected",
    "LoopDetector",
    "LoopPortRecovered",
    "LoopSettings",
    "MacFlapDetector",
    "MacFlapSettings",
    "MacFlapping",
    "MacLimit",
    "MacLimitSettings",
    "ProbeToSend",
    "StormControl",
    "StormKind",
    "StormReport",
    "StormSettings",
]
