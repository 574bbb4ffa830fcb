"""Topology change machine: who must forget what it has learned (802.1D-2004 17.31).

Two additions keep a neighbour's storm of topology changes from becoming ours, as between two VDE switches
with two cables: a change heard on a port that does not forward waits until it does (the standard already
ignores it on alternate ports), and a flush that a neighbour asked for happens at most once a second and
port, the last one never lost.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from vswitch.spanning_tree.bpdu import PortRole
from vswitch.spanning_tree.machine import Machine, do_nothing
from vswitch.spanning_tree.variables import STOPPED

if TYPE_CHECKING:
    from vswitch.spanning_tree.variables import Port


class TopologyState(StrEnum):
    """States of the machine."""

    INACTIVE = "INACTIVE"
    LEARNING = "LEARNING"
    DETECTED = "DETECTED"
    ACTIVE = "ACTIVE"
    NOTIFIED_TCN = "NOTIFIED_TCN"
    NOTIFIED_TC = "NOTIFIED_TC"
    PROPAGATING = "PROPAGATING"
    ACKNOWLEDGED = "ACKNOWLEDGED"


# --- entry actions ---


def _enter_inactive(port: Port) -> None:
    port.fdb_flush = True
    port.tc_while = STOPPED
    port.tc_ack = False


def _enter_learning(port: Port) -> None:
    port.rcvd_tc = port.rcvd_tcn = port.rcvd_tc_ack = False
    port.tc_prop = False


def _enter_detected(port: Port) -> None:
    new_tc_while(port)
    set_tc_prop_tree(port)
    port.new_info = True
    port.topology_change_noticed = True


def _enter_notified_tc(port: Port) -> None:
    port.rcvd_tcn = port.rcvd_tc = False
    if port.role is PortRole.DESIGNATED:
        port.tc_ack = True
    set_tc_prop_tree(port)
    port.topology_change_received = True


def _enter_propagating(port: Port) -> None:
    new_tc_while(port)
    port.propagation_flush = True
    port.tc_prop = False


def _enter_acknowledged(port: Port) -> None:
    port.tc_while = STOPPED
    port.rcvd_tc_ack = False


# --- procedures (802.1D-2004 17.21) ---


def new_tc_while(port: Port) -> None:
    """newTcWhile (17.21.7): start telling the neighbour, unless we are at it already."""
    now = port.tree.now
    if not port.is_over(port.tc_while):
        return
    port.has_told_change = False
    if port.send_rstp:
        port.tc_while = now + port.hello_time + 1.0
        port.new_info = True
    else:
        times = port.tree.root_times
        port.tc_while = now + times.max_age + times.forward_delay


def set_tc_prop_tree(port: Port) -> None:
    """setTcPropTree (17.21.18): every other port is to pass it on."""
    if port.settings.restricted_tcn:
        return
    for other in port.tree.ports.values():
        if other is not port:
            other.tc_prop = True
            other.is_dirty = True


# --- the table ---


def _is_new_in_topology(port: Port) -> bool:
    # A port going down is no edge any more before it has lost its role; that must not count as news.
    return port.port_enabled and port.is_root_or_designated and port.forward and not port.oper_edge


def _has_notice(port: Port) -> bool:
    return port.rcvd_tc or port.rcvd_tcn or port.rcvd_tc_ack or port.tc_prop


def _has_left_topology(port: Port) -> bool:
    return not port.is_root_or_designated and not port.learn and not port.learning and not _has_notice(port)


_T = TopologyState
TOPOLOGY_CHANGE = Machine(
    name="topology",
    initial=_T.INACTIVE,
    enter={
        _T.INACTIVE: _enter_inactive,
        _T.LEARNING: _enter_learning,
        _T.DETECTED: _enter_detected,
        _T.ACTIVE: do_nothing,
        _T.NOTIFIED_TCN: new_tc_while,
        _T.NOTIFIED_TC: _enter_notified_tc,
        _T.PROPAGATING: _enter_propagating,
        _T.ACKNOWLEDGED: _enter_acknowledged,
    },
    onward={
        _T.DETECTED: _T.ACTIVE,
        _T.NOTIFIED_TCN: _T.NOTIFIED_TC,
        _T.NOTIFIED_TC: _T.ACTIVE,
        _T.PROPAGATING: _T.ACTIVE,
        _T.ACKNOWLEDGED: _T.ACTIVE,
    },
    exits={
        _T.INACTIVE: ((lambda p: p.learn, _T.LEARNING),),
        _T.LEARNING: (
            (_is_new_in_topology, _T.DETECTED),
            (_has_notice, _T.LEARNING),
            (_has_left_topology, _T.INACTIVE),
        ),
        _T.ACTIVE: (
            (lambda p: not p.is_root_or_designated or p.oper_edge, _T.LEARNING),
            (lambda p: p.rcvd_tcn and p.forwarding, _T.NOTIFIED_TCN),
            (lambda p: p.rcvd_tc and p.forwarding, _T.NOTIFIED_TC),
            (lambda p: p.tc_prop, _T.PROPAGATING),
            (lambda p: p.rcvd_tc_ack, _T.ACKNOWLEDGED),
        ),
    },
)
"""INACTIVE waits for ``!fdbFlush`` in the standard; our flush is part of the events that are returned."""
