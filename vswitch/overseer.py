"""The overseer: the shell around the control plane, one task that keeps its time and sends what it says."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from vport.links.base import Link, Sink
    from vport.train import Train
    from vswitch.control_plane import ControlPlane
    from vswitch.fabric import Fabric
    from vswitch.ports import Port


class Overseer:
    """Drives a control plane: by frames and changes through ``attend``, by time through ``run``."""

    def __init__(self, fabric: Fabric, control_plane: ControlPlane) -> None:
        self._fabric = fabric
        self._control_plane = control_plane
        self._armed_for = inf
        self._earlier = trio.Event()
        fabric.attend = self.attend

    def attend(self) -> None:
        """Carry out what the bridge has for the control plane; the timer follows."""
        transmit(self._control_plane.attend(self._fabric.clock()))
        deadline = self._control_plane.next_deadline()
        if deadline is not None and deadline < self._armed_for:
            self._earlier.set()

    async def run(self) -> None:
        """Do what is due when it is due, until cancelled."""
        while True:
            self._earlier = trio.Event()
            deadline = self._control_plane.next_deadline()
            self._armed_for = inf if deadline is None else deadline
            with trio.move_on_at(self._armed_for):
                await self._earlier.wait()
            transmit(self._control_plane.handle_timer(self._fabric.clock()))
            self._fabric.publish_events()


def transmit(egress: list[tuple[Port, Train]]) -> None:
    """Send trains of the switch's own."""
    unflushed: dict[object, Link | Sink] = {}
    for port, train in egress:
        port.transmit(train, unflushed)
    for link in unflushed.values():
        link.flush()
