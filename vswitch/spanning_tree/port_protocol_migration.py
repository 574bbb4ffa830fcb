"""Port protocol migration machine: classic STP where a classic bridge is heard (802.1D-2004 17.24)."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from vswitch.spanning_tree.machine import Machine
from vswitch.spanning_tree.settings import MIGRATE_TIME

if TYPE_CHECKING:
    from vswitch.spanning_tree.variables import Port


class MigrationState(StrEnum):
    """States of the machine."""

    CHECKING_RSTP = "CHECKING_RSTP"
    SELECTING_STP = "SELECTING_STP"
    SENSING = "SENSING"


def _enter_checking_rstp(port: Port) -> None:
    port.mcheck = False
    port.send_rstp = port.tree.is_rapid
    port.mdelay_while = port.tree.now + MIGRATE_TIME


def _enter_selecting_stp(port: Port) -> None:
    port.send_rstp = False
    port.mdelay_while = port.tree.now + MIGRATE_TIME


def _enter_sensing(port: Port) -> None:
    port.rcvd_rstp = port.rcvd_stp = False


def _should_check(port: Port) -> bool:
    return (
        not port.port_enabled or port.mcheck or (port.tree.is_rapid and not port.send_rstp and port.rcvd_rstp)
    )


PORT_PROTOCOL_MIGRATION = Machine(
    name="migration",
    initial=MigrationState.CHECKING_RSTP,
    enter={
        MigrationState.CHECKING_RSTP: _enter_checking_rstp,
        MigrationState.SELECTING_STP: _enter_selecting_stp,
        MigrationState.SENSING: _enter_sensing,
    },
    exits={
        MigrationState.CHECKING_RSTP: (
            (lambda p: p.port_enabled and p.is_over(p.mdelay_while), MigrationState.SENSING),
        ),
        MigrationState.SELECTING_STP: (
            (lambda p: p.is_over(p.mdelay_while) or not p.port_enabled or p.mcheck, MigrationState.SENSING),
        ),
        MigrationState.SENSING: (
            (lambda p: p.send_rstp and p.rcvd_stp, MigrationState.SELECTING_STP),
            (_should_check, MigrationState.CHECKING_RSTP),
        ),
    },
)
"""The standard keeps ``mdelayWhile`` loaded while the port is disabled; here enabling it loads it once."""
