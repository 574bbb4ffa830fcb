"""The settings of a switch: one frozen value, checked where it is made, passed down."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from vport.errors import SettingsError
from vswitch.fdb import FdbSettings
from vswitch.ports import DEFAULT_PORT_LIMIT, check_port_limit

if TYPE_CHECKING:
    from vport.ethernet import MacAddress
    from vport.locator import Locator


DEFAULT_PRIORITY: Final = 0x8000  # of a bridge (802.1Q-2018 table 13-2)
PRIORITY_MAX: Final = 0xFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagementSettings:
    """Where the management shell listens.

    Attributes:
        path: of the Unix socket.
        mode: its permissions.
        group: its group, by name or number; None leaves the process's own.
    """

    path: str
    mode: int = 0o600
    group: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchSettings:
    """Everything that a switch is started with.

    Attributes:
        listen: what makes links for those who call.
        attach: links that are opened and plugged in at start, in this order.
        management: the shell's socket, None for none.
        mac: the switch's own address, None to draw one.
        is_hub: start as a hub.
        is_fstp: run the spanning tree; a hub has none.
        priority: the switch's in the spanning tree.
        port_limit: how many ports there can be.
        fdb: the address table's settings.

    Raises:
        SettingsError: a value is out of its range.
    """

    listen: tuple[Locator, ...] = ()
    attach: tuple[Locator, ...] = ()
    management: ManagementSettings | None = None
    mac: MacAddress | None = None
    is_hub: bool = False
    is_fstp: bool = False
    priority: int = DEFAULT_PRIORITY
    port_limit: int = DEFAULT_PORT_LIMIT
    fdb: FdbSettings = field(default_factory=FdbSettings)

    def __post_init__(self) -> None:
        check_port_limit(self.port_limit)
        if not 0 <= self.priority <= PRIORITY_MAX:
            raise SettingsError(f"priority {self.priority} is not from 0 to {PRIORITY_MAX}")
