"""Operations per second of the address table at its default capacity of 8192 entries.

python -m tests.bench.bench_fdb
"""

from __future__ import annotations

import itertools
import random
import statistics
import time
from typing import TYPE_CHECKING

from vport.ethernet import MacAddress, Vid
from vswitch.events import EventQueue
from vswitch.fdb import Fdb, FdbSettings
from vswitch.ports import Port, PortNumber

if TYPE_CHECKING:
    from collections.abc import Callable

ENTRIES = 8192
ROUNDS = 7
VID = Vid(0)


def macs(count: int, first: int = 0) -> list[MacAddress]:
    return [MacAddress(b"\x02" + (first + number).to_bytes(5, "big")) for number in range(count)]


def full_table(ports: list[Port], known: list[MacAddress]) -> Fdb:
    fdb = Fdb(FdbSettings(), EventQueue())
    for number, mac in enumerate(known):
        fdb.learn(VID, mac, ports[number % len(ports)], 0.0)
    return fdb


def rate(operation: Callable[[], int]) -> float:
    """Give the median of operations per second over some rounds."""
    rates = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        count = operation()
        rates.append(count / (time.perf_counter() - start))
    return statistics.median(rates)


def main() -> None:
    ports = [Port(PortNumber(number)) for number in range(1, 33)]
    known = macs(ENTRIES)
    fdb = full_table(ports, known)
    shuffled = random.Random(1).sample(known, ENTRIES)
    owner = {mac: ports[number % len(ports)] for number, mac in enumerate(known)}
    strangers = macs(ENTRIES, first=1 << 20)

    def look_up() -> int:
        for mac in shuffled:
            fdb.lookup(VID, mac)
        return ENTRIES

    def refresh() -> int:
        for mac in shuffled:
            fdb.learn(VID, mac, owner[mac], 1.0)
        return ENTRIES

    shift = itertools.count(1)

    def move() -> int:
        offset = next(shift)
        for number, mac in enumerate(known):
            fdb.learn(VID, mac, ports[(number + offset) % len(ports)], 1.0, proven=True)
        return ENTRIES

    def insert() -> int:
        table = Fdb(FdbSettings(), EventQueue())
        for mac in known:
            table.learn(VID, mac, ports[0], 0.0)
        return ENTRIES

    def evict() -> int:
        for mac in strangers:
            fdb.learn(VID, mac, ports[0], 2.0)
        fdb.flush(port=ports[0])
        return ENTRIES

    def collect() -> int:
        fdb.collect(3.0)
        return len(fdb)

    print(f"address table with {ENTRIES} entries on {len(ports)} ports, median of {ROUNDS} rounds")
    for name, operation in (
        ("look up a known station", look_up),
        ("refresh a known station", refresh),
        ("insert into an empty table", insert),
        ("move a station to another port", move),
        ("evict for a new one, table full", evict),
        ("entries looked at while collecting", collect),
    ):
        print(f"  {name:<36}{rate(operation) / 1e6:8.2f} million/s")


if __name__ == "__main__":
    main()
