"""Our user-mode network beside Debian's slirpvde on vde_switch: ``python -m tests.bench.bench_slirp``.

A station in a namespace of its own hangs by a TAP on a switch in namespace S; its only way to the iperf3
server in namespace O is the user-mode network. The MTU is 1500 where nothing else is said. Rounds alternate,
so that a drift of the machine hits all alike; shown is the median of ``-n`` rounds.

    up, down      one TCP connection to the outside, and from it (Mbit/s)
    connections   TCP connections made and closed one after the other (1/s)
    udp           datagrams of 1400 bytes to the outside at 100 Mbit/s: share that arrives (%)

Needs root, vde2, libslirp0 and iperf3; all traffic stays in namespaces made here.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import statistics
import subprocess
import tempfile
from contextlib import ExitStack, contextmanager
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING

from tests.system.hosts import Underlay
from tests.system.lan_parts import Station
from tests.system.namespaces import network_namespace
from tests.system.processes import VSWITCH, Process
from tests.system.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OUTSIDE = "10.200.0.2"

CONNECT = """
import socket, sys, time
start, count = time.perf_counter(), 0
while time.perf_counter() - start < 2:
    socket.create_connection((sys.argv[1], 9), 5).close()
    count += 1
print(count / (time.perf_counter() - start))
"""

ACCEPT = """
import socket
s = socket.create_server(("", 9), backlog=1024)
print("accepting", flush=True)
while True:
    s.accept()[0].close()
"""


@contextmanager
def ours(hosts: Underlay, station: Station, mtu: int = 1500) -> Iterator[None]:
    tap = f"tap://lan0?netns={station.host.name}&mac=02:00:00:00:01:01&mtu={mtu}"
    with hosts["S"].start(
        [*VSWITCH, "--attach", tap, "--attach", f"slirp://10.0.2.0/24?mtu={mtu}"]
    ) as switch:
        switch.wait_for("slirp 10.0.2.2/24 has joined")
        yield


@contextmanager
def slirpvde(hosts: Underlay, station: Station) -> Iterator[None]:
    """Run vde_switch with a TAP that is then moved into the station's namespace."""
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        s = hosts["S"]
        control, console = f"{directory}/ctl", f"{directory}/mgmt"
        switch = ["vde_switch", "-s", control, "-M", console, "-t", "lan0"]
        log = Path(directory) / "vde_switch.log"
        process = stack.enter_context(Process(s.inside(switch), log, stdin=subprocess.PIPE))
        assert process.popen.stdin is not None
        stack.enter_context(process.popen.stdin)
        wait_until("vde_switch", lambda: Path(console).exists() and "lan0" in s.run(["ip", "link"]).stdout)
        s.ip(f"link set lan0 netns {station.host.name}")
        station.host.ip("link set lan0 up")
        router = stack.enter_context(s.start(["slirpvde", "-D", "-s", control]))
        router.wait_for("dhcp_start")
        yield


def iperf(hosts: Underlay, station: Station, *options: str) -> float:
    """Give the median of what the receiving side saw in half seconds, Mbit/s.

    That is there even when the user-mode network dies under the load, as Debian's slirpvde does.
    """
    common = ["-f", "m", "-i", "0.5", "--forceflush"]
    client_command = ["timeout", "8", "iperf3", "-c", OUTSIDE, "-t", "3", *common, *options]
    with hosts["O"].start(["iperf3", "-s", *common]) as server:
        server.wait_for("Server listening")
        with station.host.start(client_command) as client:
            client.popen.wait(15)
            receiver = client if "-R" in options else server
            lines = re.findall(
                r"^\[ +\d+\] .* ([\d.]+) Mbits/sec(?! .*(?:sender|receiver))", receiver.output, re.MULTILINE
            )
    speeds = [float(speed) for speed in lines if float(speed)]
    return statistics.median(speeds) if speeds else 0.0


def datagrams(hosts: Underlay, station: Station) -> float:
    with hosts["O"].start(["iperf3", "-s", "--forceflush"]) as server:
        server.wait_for("Server listening")
        options = ["-u", "-b", "100M", "-l", "1400", "-t", "3", "-J"]
        done = station.host.run(["timeout", "8", "iperf3", "-c", OUTSIDE, *options])
    end = json.loads(done.stdout).get("end", {})
    return 100 - float(end["sum"]["lost_percent"]) if "sum" in end else 0.0


def connections(hosts: Underlay, station: Station) -> float:
    with hosts["O"].start(["python3", "-c", ACCEPT]) as server:
        server.wait_for("accepting")
        done = station.host.run(["python3", "-c", CONNECT, OUTSIDE])
    return float(done.stdout) if done.returncode == 0 else 0.0


MEASURES: dict[str, Callable[[Underlay, Station], float]] = {
    "up": iperf,
    "down": lambda hosts, station: iperf(hosts, station, "-R"),
    "connections": connections,
    "udp": datagrams,
}


CONTENDERS = ("ours", "ours, MTU 9000", "slirpvde")


def measure(contender: str, figure: str, logs: Path) -> float:
    """Start everything afresh, so that one figure's end is not the next one's beginning."""
    with Underlay("S", "O", logs=logs) as hosts, network_namespace() as namespace:
        station = Station(namespace, logs)
        mtu = 9000 if "9000" in contender else 1500
        running = slirpvde(hosts, station) if contender == "slirpvde" else ours(hosts, station, mtu)
        with running:
            assert station.udhcpc()["router"] == "10.0.2.2"
            return MEASURES[figure](hosts, station)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-n", type=int, default=3, help="rounds")
    parser.add_argument("-f", nargs="+", choices=MEASURES, default=list(MEASURES), help="figures")
    parser.add_argument("-c", nargs="+", choices=CONTENDERS, default=CONTENDERS, help="contenders")
    arguments = parser.parse_args()
    results: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as logs:
        for _ in range(arguments.n):
            for contender, figure in itertools.product(arguments.c, arguments.f):
                results.setdefault((contender, figure), []).append(measure(contender, figure, Path(logs)))
    print(f"{'':16}" + "".join(f"{figure:>14}" for figure in arguments.f))
    median = {key: statistics.median(found) for key, found in results.items()}
    for contender in arguments.c:
        shown = (median[contender, figure] for figure in arguments.f)
        print(f"{contender:16}" + "".join(f"{one:14.0f}" if one else f"{'failed':>14}" for one in shown))
    if {"ours", "slirpvde"} <= set(arguments.c):
        ratios = [median["ours", figure] / (median["slirpvde", figure] or nan) for figure in arguments.f]
        print(f"{'ours/slirpvde':16}" + "".join(f"{ratio:14.2f}" for ratio in ratios))


if __name__ == "__main__":
    main()
