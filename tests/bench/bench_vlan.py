"""What a VLAN tag costs: a TCP flow over a trunk of two switches, tagged by one and untagged by the other.

    sudo python -m tests.bench.bench_vlan [ROUNDS]

TAP, switch, UDP, switch, TAP, all on this machine. The same hosts talk in turn without a VLAN, and in a VLAN
that is untagged at the hosts and tagged on the trunk; the first round is not counted. On a machine that does
other things too, the switches' CPU time for a Gbit says more than the throughput.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.bench.bench_switch import cpu_seconds
from tests.system.namespaces import network_namespace
from tests.system.processes import Process
from tests.system.test_vlans import Switch, free_udp_port, wait_for_ping

SECONDS = 3


def measure(client: str, switches: tuple[Switch, Switch]) -> tuple[float, float]:
    """Send one TCP flow; give its Gbit/s, and the CPU seconds of both switches for each Gbit."""
    before = sum(cpu_seconds(switch.process.popen.pid) for switch in switches)
    command = ["ip", "netns", "exec", client, "iperf3", "-J", "-c", "10.1.1.2", "-t", str(SECONDS)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=SECONDS + 20)
    spent = sum(cpu_seconds(switch.process.popen.pid) for switch in switches) - before
    received = json.loads(done.stdout)["end"]["sum_received"]
    return received["bits_per_second"] / 1e9, spent / (received["bytes"] * 8e-9)


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 4
    udp_port = free_udp_port()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        hosts = [stack.enter_context(network_namespace()) for _ in range(2)]
        two = Switch(stack, directory, "two", "--listen", f"udp://127.0.0.1:{udp_port}")
        one = Switch(stack, directory, "one", "--listen", f"udp://127.0.0.1:{free_udp_port()}")
        for number, (switch, host) in enumerate(zip((one, two), hosts, strict=True), 1):
            switch.tell("vlan/create 10")
            tap = f"tap://tap0?netns={host}&mtu=1400&address=10.1.1.{number}/24"
            switch.tell(f"port/attach {tap} 1")
        one.tell(f"port/attach udp://127.0.0.1:{udp_port} 2")
        wait_for_ping(hosts[0], 2)
        server = ["ip", "netns", "exec", hosts[1], "iperf3", "-s", "--forceflush"]
        stack.enter_context(Process(server, directory / "iperf3.log")).wait_for("Server listening")
        rates: list[float] = []
        costs: list[float] = []
        for _ in range(rounds):
            figures = []
            for vlan in (0, 10):
                for switch in (one, two):
                    switch.tell("vlan/addport 10 2", f"port/setvlan 1 {vlan}")
                wait_for_ping(hosts[0], 2)
                figures.append(measure(hosts[0], (one, two)))
                print(f"VLAN {vlan:2d}: {figures[-1][0]:.2f} Gbit/s, {figures[-1][1]:.2f} CPU s for a Gbit")
            rates.append(figures[1][0] / figures[0][0])
            costs.append(figures[1][1] / figures[0][1])
        rate, cost = statistics.median(rates[1:]), statistics.median(costs[1:])
        print(f"tagged to untagged, median of {rounds - 1} pairs: throughput {rate:.2f}, CPU time {cost:.2f}")


if __name__ == "__main__":
    main()
