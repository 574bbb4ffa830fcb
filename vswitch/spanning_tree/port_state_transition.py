"""Port state transition machine: what the relay does with the port (802.1D-2004 17.30).

The standard's procedures that switch learning and forwarding become the ``PortStateChanged`` event, which the
instance returns when all machines have come to rest.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from vswitch.spanning_tree.machine import Machine

if TYPE_CHECKING:
    from vswitch.spanning_tree.variables import Port


class StateState(StrEnum):
    """States of the machine."""

    DISCARDING = "DISCARDING"
    LEARNING = "LEARNING"
    FORWARDING = "FORWARDING"


def _enter_discarding(port: Port) -> None:
    port.learning = port.forwarding = False


def _enter_learning(port: Port) -> None:
    port.learning = True


def _enter_forwarding(port: Port) -> None:
    port.forwarding = True


PORT_STATE_TRANSITION = Machine(
    name="state",
    initial=StateState.DISCARDING,
    enter={
        StateState.DISCARDING: _enter_discarding,
        StateState.LEARNING: _enter_learning,
        StateState.FORWARDING: _enter_forwarding,
    },
    exits={
        StateState.DISCARDING: ((lambda p: p.learn, StateState.LEARNING),),
        StateState.LEARNING: (
            (lambda p: p.forward, StateState.FORWARDING),
            (lambda p: not p.learn, StateState.DISCARDING),
        ),
        StateState.FORWARDING: ((lambda p: not p.forward, StateState.DISCARDING),),
    },
)
