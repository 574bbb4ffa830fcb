"""Port receive machine: hands one BPDU at a time to the others (802.1D-2004 17.23)."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from vswitch.spanning_tree.bpdu import Dialect, RstBpdu
from vswitch.spanning_tree.machine import Machine
from vswitch.spanning_tree.settings import MIGRATE_TIME

if TYPE_CHECKING:
    from vswitch.spanning_tree.variables import Port


class ReceiveState(StrEnum):
    """States of the machine."""

    DISCARD = "DISCARD"
    RECEIVE = "RECEIVE"


def _enter_discard(port: Port) -> None:
    port.rcvd_bpdu = port.rcvd_rstp = port.rcvd_stp = False
    port.rcvd_msg = False
    port.edge_delay_while = port.tree.now + MIGRATE_TIME


def _enter_receive(port: Port) -> None:
    update_bpdu_version(port)
    port.oper_edge = port.rcvd_bpdu = False
    port.rcvd_msg = True
    port.edge_delay_while = port.tree.now + MIGRATE_TIME


def update_bpdu_version(port: Port) -> None:
    """updtBPDUVersion (17.21.22); also notes which dialect the neighbour writes."""
    if isinstance(port.message, RstBpdu):
        port.rcvd_rstp = True
        port.dialect = port.message.dialect
    else:
        port.rcvd_stp = True
        port.dialect = Dialect.IEEE


PORT_RECEIVE = Machine(
    name="receive",
    initial=ReceiveState.DISCARD,
    enter={ReceiveState.DISCARD: _enter_discard, ReceiveState.RECEIVE: _enter_receive},
    anywhere=((lambda p: p.rcvd_bpdu and not p.port_enabled, ReceiveState.DISCARD),),
    exits={
        ReceiveState.DISCARD: ((lambda p: p.rcvd_bpdu and p.port_enabled, ReceiveState.RECEIVE),),
        ReceiveState.RECEIVE: (
            (lambda p: p.rcvd_bpdu and p.port_enabled and not p.rcvd_msg, ReceiveState.RECEIVE),
        ),
    },
)
"""The standard keeps ``edgeDelayWhile`` loaded while the port is disabled; here enabling it loads it once."""
