"""What commands may ask of the running switch, and nothing more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vport.ethernet import MacAddress
    from vport.links.base import Listener
    from vswitch.bridge import Bridge


@dataclass(frozen=True, slots=True)
class SocketInfo:
    """Where a socket of the switch is: its absolute path and its mode."""

    path: str
    mode: int


class Control(Protocol):
    """The running switch, as its commands see it. The service fulfils it; tests have their own."""

    @property
    def bridge(self) -> Bridge:
        """The forwarding core."""

    @property
    def listeners(self) -> Sequence[Listener]:
        """What listens for those who call."""

    @property
    def mac(self) -> MacAddress:
        """The switch's own address."""

    @property
    def started_at(self) -> float:
        """When the switch was started, by the clock of ``now``."""

    @property
    def management(self) -> SocketInfo | None:
        """Where this shell listens, None when it has no socket."""

    def now(self) -> float:
        """Give the time on the switch's clock, in seconds."""

    def publish_events(self) -> None:
        """Pass on what the core has to tell: to the log, and to the sessions that asked for it."""

    def stop(self) -> None:
        """End the switch in an orderly way, after the command that asks for it."""
