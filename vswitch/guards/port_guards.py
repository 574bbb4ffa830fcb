"""What guards one port: the operator's settings, and whether a guard has shut it.

``Bridge.receive`` reads ``Port.shut``, ``Port.storm`` and ``Port.mac_limit``; everything else is looked at
when it happens: a BPDU comes in, a probe of ours comes back, a pause is over (see ``vswitch.protection``).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vswitch.guards.storm_control import StormSettings


class ShutReason(StrEnum):
    """Which guard shut a port."""

    BPDU_GUARD = "bpdu-guard"
    LOOP = "loop"
    MAC_LIMIT = "mac-limit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shut:
    """A port is shut: it discards everything, both ways.

    Attributes:
        reason: which guard did it.
        detail: what happened, in words, with the other port where there is one.
        since: when.
        recover_at: when it opens again by itself; None for not before its link comes anew.
    """

    reason: ShutReason
    detail: str
    since: float
    recover_at: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PortGuards:
    """The guards of one port, as the operator wants them; they outlive its links.

    Attributes:
        bpdu: shut the port when a BPDU comes in: only end stations may be there.
        root: what is behind the port never becomes the root: with spanning tree off its BPDUs are discarded.
        topology: topology changes from behind the port are not passed on (restricted TCN).
        loop: send probes, and shut the port when it is the younger one of a loop.
        storm: limits of flooded frames; None for those of its kind of link.
    """

    bpdu: bool = False
    root: bool = False
    topology: bool = False
    loop: bool = True
    storm: StormSettings | None = None

    @property
    def hears_bpdus(self) -> bool:
        """Whether BPDUs must be looked at where no spanning tree runs."""
        return self.bpdu or self.root
