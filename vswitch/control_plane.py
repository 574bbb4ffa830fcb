"""The control plane: spanning trees and guards together, as the fabric and a timer drive them.

Pure: every input takes ``now`` and gives what is to be transmitted. ``attend`` is called whenever the bridge
has something for the switch itself; ``handle_timer`` at ``next_deadline``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vport.ethernet import BRIDGE_GROUP_ADDRESS
from vswitch.outbox import Outbox
from vswitch.protection import Protection
from vswitch.topology import Topology

if TYPE_CHECKING:
    from random import Random

    from vport.ethernet import MacAddress
    from vport.train import Train
    from vswitch.bridge import Bridge
    from vswitch.ports import Port
    from vswitch.spanning_tree import BridgeSettings

    Transmission = list[tuple[Port, Train]]


class ControlPlane:
    """What decides where frames may go, beside the address table.

    Args:
        bridge: what it acts on.
        mac: the switch's own address.
        random: identity and phase of probes.
        settings: of spanning tree.
        now: monotonic seconds.

    Attributes:
        topology: the spanning trees.
        protection: the guards.
    """

    def __init__(
        self, bridge: Bridge, mac: MacAddress, random: Random, settings: BridgeSettings, now: float
    ) -> None:
        self._bridge = bridge
        self._outbox = Outbox()
        self.topology = Topology(bridge, self._outbox, mac, settings, now)
        self.protection = Protection(bridge, self._outbox, mac, random, now)

    @property
    def is_wanted(self) -> bool:
        """Whether ``attend`` has something to do."""
        bridge = self._bridge
        return bool(bridge.stale or bridge.arrivals or bridge.storms or self._outbox)

    def next_deadline(self) -> float | None:
        """The instant at which ``handle_timer`` has something to do; None for never."""
        deadlines = (self.topology.next_deadline(), self.protection.next_deadline())
        return min([deadline for deadline in deadlines if deadline is not None], default=None)

    def attend(self, now: float) -> Transmission:
        """Look at what has changed and at what came in for the switch; give what to transmit."""
        bridge = self._bridge
        self._sync(now)
        for port, frame in bridge.arrivals.take():
            if port.shut is not None:
                continue
            if frame[:6] != BRIDGE_GROUP_ADDRESS:
                self.protection.receive_probe(port, frame, now)
            elif self.protection.receive_bpdu(port, now) and bridge.has_spanning_tree:
                self.topology.receive(port, frame, now)
            self._sync(now)
        self.protection.look_for_storms(now)
        return self._outbox.take()

    def handle_timer(self, now: float) -> Transmission:
        """Do what is due; give what to transmit."""
        self._sync(now)
        self.protection.handle_timer(now)
        self._sync(now)
        self.topology.handle_timer(now)
        return self._outbox.take()

    def _sync(self, now: float) -> None:
        """Let guards and trees follow ports that came, went, were shut or opened."""
        bridge = self._bridge
        if bridge.stale or (bridge.is_hub and bridge.has_spanning_tree):
            stale = set(bridge.stale)
            bridge.stale.clear()
            self.protection.sync(stale, now)
            self.topology.sync(stale, now)
