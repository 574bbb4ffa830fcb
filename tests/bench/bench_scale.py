"""How the cost of forwarding grows with the number of ports and of known stations.

    python -m tests.bench.bench_scale

Forwarding is measured in the core alone: no sockets, trains of one frame between stations that are known, all
ports taking part. It should be flat in both numbers. Flooding has to grow with the ports. Memory is that of
the whole process, less what it had before the bridge was made.
"""

from __future__ import annotations

import multiprocessing
import resource
import statistics
import time
from collections import Counter
from pathlib import Path

import trio

from vport.ethernet import BROADCAST, MacAddress
from vport.links.base import Link, Sink
from vport.train import Train, lone
from vswitch.bridge import Bridge
from vswitch.fabric import Fabric
from vswitch.fdb import FdbSettings

PORTS = (10, 100, 1000, 4000)
STATIONS = (100, 10_000, 100_000)
FRAMES = 20_000
ROUNDS = 5


class NullLink(Link):
    """Takes everything and does nothing with it."""

    description = "nothing"
    module = "test"

    def __init__(self) -> None:
        self.discards: Counter[str] = Counter()

    def transmit(self, train: Train) -> None:
        pass

    async def run(self, sink: Sink, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()

    def close(self) -> None:
        pass


def station(number: int) -> MacAddress:
    return MacAddress(b"\x02" + number.to_bytes(5, "big"))


def resident() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def measure(ports: int, stations: int) -> tuple[float, float, float]:
    """Give thousands of frames forwarded per second, milliseconds per flooded frame, and MiB."""
    before = resident()
    bridge = Bridge(FdbSettings(capacity=1 << 18), port_limit=ports)
    fabric = Fabric(bridge, time.monotonic, lambda events: None)
    places = [fabric.attach(NullLink()) for _ in range(ports)]
    for number in range(stations):
        place = places[number % ports]
        place.deliver(lone(station(number) * 2 + b"\x90\x00" + bytes(46)))
        place.flush()
    memory = resident() - before
    pairs = [(number * 7919 % stations, (number * 104729 + 1) % stations) for number in range(FRAMES)]
    frames = [
        (places[source % ports], lone(station(target) + station(source) + b"\x08\x00" + bytes(46)))
        for source, target in pairs
    ]
    rates = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for place, train in frames:
            place.deliver(train)
            place.flush()
        rates.append(len(frames) / (time.perf_counter() - start))
    flood = lone(BROADCAST + station(0) + b"\x08\x00" + bytes(46))
    start = time.perf_counter()
    for _ in range(20):
        places[0].deliver(flood)
        places[0].flush()
    flooding = (time.perf_counter() - start) / 20
    return statistics.median(rates) / 1e3, flooding * 1e3, memory


def main() -> None:
    print(f"{'ports':>7}{'stations':>10}{'kframes/s':>12}{'ms/flood':>10}{'MiB':>8}")
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for ports in PORTS:
            for stations in STATIONS:
                rate, flood, memory = pool.apply(measure, (ports, stations))
                print(f"{ports:>7}{stations:>10}{rate:>12.0f}{flood:>10.3f}{memory:>8.1f}", flush=True)


if __name__ == "__main__":
    main()
