"""Bridge detection machine: is an end station behind the port, or a bridge? (802.1D-2004 17.25)."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from vswitch.spanning_tree.machine import Machine

if TYPE_CHECKING:
    from vswitch.spanning_tree.variables import Port


class DetectionState(StrEnum):
    """States of the machine."""

    EDGE = "EDGE"
    NOT_EDGE = "NOT_EDGE"


def _enter_edge(port: Port) -> None:
    port.oper_edge = True


def _enter_not_edge(port: Port) -> None:
    port.oper_edge = False


def begin_detection(port: Port) -> None:
    """Enter the machine, at first or when the operator has changed what the port is."""
    BRIDGE_DETECTION.go(port, DetectionState.EDGE if port.settings.admin_edge else DetectionState.NOT_EDGE)


def _is_silent(port: Port) -> bool:
    is_asking = port.port_enabled and port.send_rstp and port.proposing
    return port.settings.auto_edge and is_asking and port.is_over(port.edge_delay_while)


BRIDGE_DETECTION = Machine(
    name="detection",
    initial=DetectionState.NOT_EDGE,
    enter={DetectionState.EDGE: _enter_edge, DetectionState.NOT_EDGE: _enter_not_edge},
    exits={
        DetectionState.EDGE: (
            (
                lambda p: (not p.port_enabled and not p.settings.admin_edge) or not p.oper_edge,
                DetectionState.NOT_EDGE,
            ),
        ),
        DetectionState.NOT_EDGE: (
            (lambda p: not p.port_enabled and p.settings.admin_edge, DetectionState.EDGE),
            (_is_silent, DetectionState.EDGE),
        ),
    },
)
"""BEGIN goes to EDGE or NOT_EDGE by AdminEdge: `begin_detection`."""
