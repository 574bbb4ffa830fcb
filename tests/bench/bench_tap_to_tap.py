"""TCP between two TAPs on one switch, beside a veth pair.

    sudo .venv/bin/python -m tests.bench.bench_tap_to_tap

Two namespaces are joined twice: by a veth pair, and by a switch of ours that has a TAP in each. The rounds
of the two alternate, so that a drift of the machine hits both; printed are the medians and their ratio.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.system.processes import VSWITCH, Process, run

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES: Final = ("obtA", "obtB")
ADDRESSES: Final = {"veth": "10.202.0.{}", "taps": "10.203.0.{}"}
MTU: Final = 1500


def ip(arguments: str) -> None:
    subprocess.run(["ip", *arguments.split()], check=True)


@contextlib.contextmanager
def namespaces() -> Iterator[None]:
    """Make the two namespaces and the veth pair between them."""
    with contextlib.ExitStack() as undo:
        for name in NAMES:
            ip(f"netns add {name}")
            undo.callback(run, ["ip", "netns", "del", name])
        ip(f"link add v0 netns {NAMES[0]} type veth peer name v0 netns {NAMES[1]}")
        for number, name in enumerate(NAMES, 1):
            ip(f"-n {name} addr add {ADDRESSES['veth'].format(number)}/24 dev v0")
            ip(f"-n {name} link set v0 up")
        yield


@contextlib.contextmanager
def switch(scratch: Path) -> Iterator[None]:
    """Run a switch with a TAP in each namespace."""
    attached = []
    for number, name in enumerate(NAMES, 1):
        address = ADDRESSES["taps"].format(number)
        attached += ["--attach", f"tap://tap0?netns={name}&mtu={MTU}&address={address}/24"]
    with Process([*VSWITCH, *attached, "--mgmt", str(scratch / "mgmt")], scratch / "log") as process:
        process.wait_for("management shell")
        yield


def throughput(address: str, seconds: int) -> float:
    """Give the Gbit/s that arrive at ``address`` over one TCP stream."""
    command = ["ip", "netns", "exec", NAMES[0], "iperf3", "-J", "-t", str(seconds), "-c", address]
    done = run(command, seconds=seconds * 3 + 10)
    try:
        return float(json.loads(done.stdout)["end"]["sum_received"]["bits_per_second"]) / 1e9
    except (ValueError, KeyError):
        sys.exit(f"iperf3 to {address} failed: {done.stdout[-300:]}{done.stderr}")


def main() -> None:
    parser = argparse.ArgumentParser(description="TCP between two TAPs on one switch, beside a veth pair.")
    parser.add_argument("-n", "--rounds", type=int, default=3)
    parser.add_argument("-t", "--seconds", type=int, default=4, help="of each measurement")
    args = parser.parse_args()
    if os.geteuid() or not shutil.which("iperf3"):
        parser.error("needs root, for namespaces and devices, and iperf3")
    figures: dict[str, list[float]] = {kind: [] for kind in ADDRESSES}
    with tempfile.TemporaryDirectory() as scratch, namespaces(), switch(Path(scratch)):
        server = ["ip", "netns", "exec", NAMES[1], "iperf3", "-s", "--forceflush"]
        with Process(server, Path(scratch) / "iperf3") as listening:
            listening.wait_for("Server listening")
            for _ in range(args.rounds):
                for kind, address in ADDRESSES.items():
                    figures[kind].append(throughput(address.format(2), args.seconds))
    veth, taps = (statistics.median(figures[kind]) for kind in ("veth", "taps"))
    for name, kind, median in (("veth to veth", "veth", veth), ("TAP to TAP", "taps", taps)):
        rounds = ", ".join(f"{one:.2f}" for one in figures[kind])
        print(f"{name:13}{median:6.2f} Gbit/s   (rounds: {rounds})")
    print(f"{'ratio':13}{taps / veth:6.2f}")


if __name__ == "__main__":
    main()
