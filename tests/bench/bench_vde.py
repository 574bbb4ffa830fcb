"""Two hosts on one switch, by VDE and by streams, ours beside theirs.

    sudo python tests/bench/bench_vde.py [CONTENDER …] [--rounds N] [--seconds S]

Two namespaces have a TAP device each, joined through a switch on this machine. Contenders:

    theirs          vde_switch, vde_plug2tap at both ends: what is to be beaten
    plugs           our switch, vde_plug2tap at both ends
    vport           our switch, our vport over vde:// at both ends
    vport-theirs    vde_switch, our vport over vde:// at both ends
    stream          our switch, our vport over unix:// at both ends, as QEMU -netdev stream has it

Rounds interleave the contenders, so that a drift of the machine hits all alike. Shown are the medians of TCP
in Mbit/s, of the processor seconds that switch and ports use for a gigabyte of it, of UDP datagrams of 64
bytes delivered per second, and of the round trip in ms; then TCP ÷ theirs.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PYTHON = [sys.executable, "-m"]
HOSTS = {"a": "10.5.5.1", "b": "10.5.5.2"}
MTU = 1500


def shell(command: str) -> str:
    return subprocess.run(command, shell=True, check=True, capture_output=True, text=True).stdout


class Setting:
    """A contender, set up: switch, ports, addresses."""

    def __init__(self, stack: ExitStack, contender: str, path: Path) -> None:
        self.prefix = f"vdewb{os.getpid()}"
        self.stack = stack
        self.path = path
        self.processes: list[subprocess.Popen[bytes]] = []
        for host in HOSTS:
            shell(f"ip netns add {self.prefix}{host}")
            stack.callback(shell, f"ip netns del {self.prefix}{host}")
        directory = path / "ctl"
        if "theirs" in contender:
            self.start(["vde_switch", "-s", str(directory)])
            ready = directory / "ctl"
        elif contender == "stream":
            ready = path / "socket"
            self.start([*PYTHON, "vswitch.cli", "--listen", f"unix://{ready}"])
        else:
            self.start([*PYTHON, "vswitch.cli", "--sock", str(directory)])
            ready = directory / "ctl"
        wait_for(ready.exists)
        place = f"unix://{ready}" if contender == "stream" else f"vde://{directory}"
        for host, address in HOSTS.items():
            if contender in {"theirs", "plugs"}:
                self.start(self.inside(host, ["vde_plug2tap", "-s", str(directory), "t0"]))
            else:
                self.start(self.inside(host, [*PYTHON, "vport.cli", place, f"tap://t0?mtu={MTU}"]))
            wait_for(lambda: "t0" in shell(f"ip -n {self.prefix}{host} link"))  # noqa: B023
            shell(f"ip -n {self.prefix}{host} addr add {address}/24 dev t0")
            shell(f"ip -n {self.prefix}{host} link set t0 mtu {MTU} up")
        wait_for(lambda: self.run("a", f"ping -c 1 -W 1 {HOSTS['b']} || true").count("bytes from") == 1)

    def inside(self, host: str, command: list[str]) -> list[str]:
        return ["ip", "netns", "exec", self.prefix + host, *command]

    def start(self, command: list[str]) -> None:
        log = (self.path / "log").open("ab")
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=ROOT)
        self.processes.append(process)

        def end() -> None:
            process.terminate()
            process.wait(10)
            log.close()

        self.stack.callback(end)

    def run(self, host: str, command: str) -> str:
        return shell(f"ip netns exec {self.prefix}{host} sh -c {json.dumps(command)}")

    def iperf(self, seconds: float, options: str) -> dict[str, dict[str, float]]:
        with ExitStack() as stack:
            server = subprocess.Popen(self.inside("b", ["iperf3", "-s", "-1"]), stdout=subprocess.DEVNULL)
            stack.callback(server.wait, 10)
            stack.callback(server.terminate)
            wait_for(lambda: ":5201" in self.run("b", "ss -Hltn"))
            text = self.run("a", f"iperf3 -J -c {HOSTS['b']} -t {seconds} {options}")
        end: dict[str, dict[str, float]] = json.loads(text)["end"]
        return end

    def processor_time(self) -> float:
        """Give the seconds that the switch and the ports have used so far."""
        ticks = 0
        for process in self.processes:
            fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def measure(self, seconds: float) -> dict[str, float]:
        before = self.processor_time()
        received = self.iperf(seconds, "")["sum_received"]
        used = self.processor_time() - before
        udp = self.iperf(seconds, "-u -l 64 -b 0")["sum"]
        delivered = udp["packets"] - udp["lost_packets"]
        pings = self.run("a", f"ping -n -q -c 100 -i 0.005 {HOSTS['b']}")
        return {
            "tcp": received["bits_per_second"] / 1e6,
            "cpu": used / (received["bytes"] / 1e9),
            "pps": delivered / udp["seconds"],
            "rtt": float(pings.rsplit("=", 1)[1].split("/")[1]),
        }


def wait_for(condition: object, seconds: float = 15.0) -> None:
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(condition)
        time.sleep(0.05)


def main() -> None:
    contenders = ["theirs", "plugs", "vport", "vport-theirs", "stream"]
    parser = argparse.ArgumentParser(description="VDE and streams, ours beside theirs.")
    parser.add_argument("contenders", nargs="*", default=contenders, help=", ".join(contenders))
    parser.add_argument("-n", "--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    options = parser.parse_args()
    results: dict[str, list[dict[str, float]]] = {name: [] for name in options.contenders}
    for _ in range(options.rounds):
        for name in options.contenders:
            path = Path(tempfile.mkdtemp(prefix="vdewb"))
            with ExitStack() as stack:
                stack.callback(shutil.rmtree, path, ignore_errors=True)
                results[name].append(Setting(stack, name, path).measure(options.seconds))
    medians = {
        name: {key: statistics.median(one[key] for one in runs) for key in runs[0]}
        for name, runs in results.items()
    }
    reference = medians.get("theirs", {}).get("tcp")
    for name, row in medians.items():
        ratio = f"{row['tcp'] / reference:8.2f}" if reference else ""
        print(
            f"{name:<14}{row['tcp']:8,.0f} Mbit/s{row['cpu']:8.2f} s/GB"
            f"{row['pps']:10,.0f} frames/s{row['rtt']:8.3f} ms{ratio}"
        )


if __name__ == "__main__":
    main()
