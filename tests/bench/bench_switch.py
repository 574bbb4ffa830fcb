"""A switch as a process: time until it forwards its first frame, and what 1000 idle UDP peers cost.

    python -m tests.bench.bench_switch

Everything stays on the loopback interface.
"""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.system.processes import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

PEERS = 1000
IDLE_SECONDS = 5.0
STARTS = 5


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def switch(port: int) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "vswitch.cli", "--listen", f"udp://127.0.0.1:{port}", "--numports", "4096"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(10)


def peer(port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.connect(("127.0.0.1", port))
    sock.setblocking(False)
    return sock


def frame(number: int) -> bytes:
    return b"\xff" * 6 + b"\x02" + number.to_bytes(5, "big") + b"\x88\xb5" + bytes(46)


def time_to_first_frame() -> float:
    """Start a switch; give the seconds until a frame of one peer has come out at another."""
    port = free_port()
    start = time.perf_counter()
    with switch(port), peer(port) as one, peer(port) as other:
        while True:
            for sock, number in ((other, 2), (one, 1)):
                with contextlib.suppress(ConnectionRefusedError):
                    sock.send(frame(number))
            time.sleep(0.002)
            with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
                other.recv(2000)
                return time.perf_counter() - start


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def idle_peers() -> None:
    port = free_port()
    with switch(port) as process, contextlib.ExitStack() as stack:
        with peer(port) as probe:
            while True:
                with contextlib.suppress(ConnectionRefusedError):
                    probe.send(frame(0))
                    probe.send(frame(0))
                    break
                time.sleep(0.01)
        time.sleep(0.5)
        empty = resident_mib(process.pid)
        before = cpu_seconds(process.pid)
        peers = [stack.enter_context(peer(port)) for _ in range(PEERS)]
        announced = b"\x02" + bytes(5)
        for number, sock in enumerate(peers, 1):
            mac = announced[:1] + number.to_bytes(5, "big")
            sock.send(mac + mac + b"\x90\x00" + bytes(46))
            if number % 50 == 0:
                time.sleep(0.01)
        time.sleep(1)
        joining = cpu_seconds(process.pid) - before
        full = resident_mib(process.pid)
        before = cpu_seconds(process.pid)
        time.sleep(IDLE_SECONDS)
        idle = (cpu_seconds(process.pid) - before) / IDLE_SECONDS
        print(f"{PEERS} UDP peers joining: {joining:.2f} s CPU")
        print(f"memory: {empty:.1f} MiB without, {full:.1f} MiB with them")
        print(f"CPU while they are idle: {100 * idle:.2f} % of a core")


def main() -> None:
    times = [time_to_first_frame() for _ in range(STARTS)]
    print(f"start to first frame forwarded: median {statistics.median(times):.2f} s of {STARTS}")
    idle_peers()


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    main()
