"""Port transmit machine: hellos and news, never more than the limit (802.1D-2004 17.26).

Hellos fall on whole seconds of the caller's clock, so that all ports of all instances send together: the
caller can put the BPDUs of many VLANs into one train, and wakes once. The first interval is therefore up to
a second short.
"""

from __future__ import annotations

from enum import StrEnum
from math import floor
from typing import TYPE_CHECKING

from vswitch.spanning_tree import vde
from vswitch.spanning_tree.bpdu import Bpdu, ConfigBpdu, PortRole, RstBpdu, TcnBpdu
from vswitch.spanning_tree.machine import Machine
from vswitch.spanning_tree.variables import STOPPED

if TYPE_CHECKING:
    from vswitch.spanning_tree.variables import Port


class TransmitState(StrEnum):
    """States of the machine."""

    TRANSMIT_INIT = "TRANSMIT_INIT"
    TRANSMIT_PERIODIC = "TRANSMIT_PERIODIC"
    TRANSMIT_CONFIG = "TRANSMIT_CONFIG"
    TRANSMIT_TCN = "TRANSMIT_TCN"
    TRANSMIT_RSTP = "TRANSMIT_RSTP"
    IDLE = "IDLE"


# --- entry actions ---


def _enter_init(port: Port) -> None:
    port.new_info = True
    port.tx_until = STOPPED


def _enter_periodic(port: Port) -> None:
    is_due = port.role is PortRole.DESIGNATED or vde.needs_hello(port)
    is_notifying = port.role is PortRole.ROOT and not port.is_over(port.tc_while)
    port.new_info = port.new_info or is_due or is_notifying


def _enter_config(port: Port) -> None:
    _transmit(port, make_config(port))
    port.tc_ack = False


def _enter_tcn(port: Port) -> None:
    _transmit(port, TcnBpdu())


def _enter_rstp(port: Port) -> None:
    _transmit(port, make_rst(port))
    port.tc_ack = False
    port.has_told_change = True


def _enter_idle(port: Port) -> None:
    port.hello_when = float(floor(port.tree.now + port.hello_time))


def _transmit(port: Port, bpdu: Bpdu) -> None:
    port.new_info = False
    port.has_told_priority = True
    port.count_transmission()
    if not port.settings.bpdu_filter:
        port.outbox.append(bpdu)


# --- procedures (802.1D-2004 17.21) ---


def make_config(port: Port) -> ConfigBpdu:
    """txConfig (17.21.19)."""
    return ConfigBpdu(
        vector=port.designated_priority,
        times=port.designated_times,
        topology_change=not port.is_over(port.tc_while),
        topology_change_ack=port.tc_ack,
    )


def make_rst(port: Port) -> RstBpdu:
    """txRstp (17.21.20), in the neighbour's dialect.

    Hellos repeat themselves, so the value is kept: building and encoding it is most of an idle port's cost.
    """
    topology_change = not port.is_over(port.tc_while)
    if port.is_beside_vde:
        return vde.make_bpdu(port, topology_change and not port.has_told_change)
    made_from = (
        port.designated_priority,
        port.designated_times,
        port.role,
        topology_change,
        port.proposing,
        port.learning,
        port.forwarding,
        port.agree,
    )
    if port.sent is not None and port.sent[0] == made_from:
        return port.sent[1]
    vector, times, role, _, proposal, learning, forwarding, agreement = made_from
    bpdu = RstBpdu(
        vector=vector,
        times=times,
        role=role,
        topology_change=topology_change,
        proposal=proposal,
        learning=learning,
        forwarding=forwarding,
        agreement=agreement,
    )
    port.sent = (made_from, bpdu)
    return bpdu


# --- the table ---


def _has_news(port: Port) -> bool:
    return port.new_info and port.may_transmit()


_T = TransmitState
PORT_TRANSMIT = Machine(
    name="transmit",
    initial=_T.TRANSMIT_INIT,
    guard=lambda p: p.selected and not p.updt_info and p.role is not PortRole.DISABLED,
    enter={
        _T.TRANSMIT_INIT: _enter_init,
        _T.TRANSMIT_PERIODIC: _enter_periodic,
        _T.TRANSMIT_CONFIG: _enter_config,
        _T.TRANSMIT_TCN: _enter_tcn,
        _T.TRANSMIT_RSTP: _enter_rstp,
        _T.IDLE: _enter_idle,
    },
    onward=dict.fromkeys(
        (_T.TRANSMIT_INIT, _T.TRANSMIT_PERIODIC, _T.TRANSMIT_CONFIG, _T.TRANSMIT_TCN, _T.TRANSMIT_RSTP),
        _T.IDLE,
    ),
    exits={
        _T.IDLE: (
            (lambda p: p.is_over(p.hello_when), _T.TRANSMIT_PERIODIC),
            (lambda p: p.send_rstp and _has_news(p), _T.TRANSMIT_RSTP),
            (
                lambda p: not p.send_rstp and p.role is PortRole.DESIGNATED and _has_news(p),
                _T.TRANSMIT_CONFIG,
            ),
            (lambda p: not p.send_rstp and p.role is PortRole.ROOT and _has_news(p), _T.TRANSMIT_TCN),
        ),
    },
)
"""The role is in the guard because the standard leaves open whether a disabled port sends."""
