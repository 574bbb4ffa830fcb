"""What ``Bridge.receive`` costs per train: ``python -m tests.bench.bench_relay``; best of several rounds.

To see what guards and spanning tree add, run it on two revisions, or compare the lines.
"""

from __future__ import annotations

import time
from random import Random
from typing import TYPE_CHECKING, Final

from tests.vswitch.links_in_memory import RecordingLink
from vport.ethernet import BROADCAST, MacAddress, Vid
from vport.train import Train
from vswitch.bridge import Bridge
from vswitch.control_plane import ControlPlane
from vswitch.guards import StormSettings
from vswitch.guards.port_guards import PortGuards
from vswitch.spanning_tree import BridgeSettings
from vswitch.vlan import PortState

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS: Final = 15
TRAINS: Final = 10_000
PORTS: Final = 4
PAYLOAD: Final = b"\x08\x00" + bytes(1386)


def station(number: int) -> bytes:
    """Give the address of a station."""
    return bytes((2, 0, 0, 0, 0, number))


def measure(name: str, act: Callable[[], object]) -> None:
    """Print the best time of one call, in nanoseconds."""
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(TRAINS):
            act()
        best = min(best, time.perf_counter() - start)
    print(f"{name:<44} {best / TRAINS * 1e9:7.0f} ns")


def main() -> None:
    """Measure unicast and broadcast, lone frames and trains of 40."""
    bridge = Bridge()
    ports = [bridge.plug(RecordingLink()).port for _ in range(PORTS)]
    for number, port in enumerate(ports):
        hello = station(number) * 2 + PAYLOAD
        bridge.receive(port, Train(hello, len(hello)), 0.0)
    known = station(1) + station(0) + PAYLOAD
    everyone = BROADCAST + station(0) + PAYLOAD
    lone, train = Train(known, len(known)), Train(known * 40, len(known))
    broadcast = Train(everyone, len(everyone))
    measure("one known unicast frame", lambda: bridge.receive(ports[0], lone, 1.0))
    measure("40 known unicast frames", lambda: bridge.receive(ports[0], train, 1.0))
    measure("one broadcast frame to 3 ports", lambda: bridge.receive(ports[0], broadcast, 1.0))
    plane = ControlPlane(bridge, MacAddress(station(9)), Random(1), BridgeSettings(), 0.0)
    guards = PortGuards(storm=StormSettings(broadcast=10_000_000))
    plane.protection.set_guards(ports[0], guards, 0.0)
    measure("the same with storm control", lambda: bridge.receive(ports[0], broadcast, 1.0))
    plane.topology.enable(0.0)
    plane.attend(0.0)
    plane.handle_timer(4.0)
    for number, port in enumerate(ports):
        assert bridge.vlans[Vid(0)].state(port) is PortState.FORWARDING
        bridge.fdb.learn(Vid(0), MacAddress(station(number)), port, 4.0)
    measure("one known unicast frame, spanning tree on", lambda: bridge.receive(ports[0], lone, 5.0))
    measure("40 known unicast frames, spanning tree on", lambda: bridge.receive(ports[0], train, 5.0))


if __name__ == "__main__":
    main()
