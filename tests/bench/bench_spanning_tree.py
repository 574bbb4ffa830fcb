"""What spanning tree costs an idle switch: ``python -m tests.bench.bench_spanning_tree [VLANS [PORTS]]``.

A switch as a process with that many UDP peers on loopback, each of them a tagged member of all VLANs. The
peers never answer, so every port of every tree sends its hellos. Compared are spanning tree off (loop
detection alone) and on.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from tests.bench.bench_switch import cpu_seconds, free_port
from tests.system.processes import VSWITCH, Process
from tests.system.ring import Switch

SECONDS: Final = 10.0


def settle_and_measure(switch: Switch) -> float:
    """Give the share of a core that is used, once everything has calmed down."""
    time.sleep(5)
    before = cpu_seconds(switch.process.popen.pid)
    time.sleep(SECONDS)
    return (cpu_seconds(switch.process.popen.pid) - before) / SECONDS


def main() -> None:
    """Measure."""
    vlans, ports = [int(word) for word in (*sys.argv[1:], "100", "32")[:2]]
    udp_port = free_port()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        path = f"{folder}/mgmt"
        script = Path(folder, "rc")
        script.write_text("".join(f"vlan/create {vid}\n" for vid in range(1, vlans)))
        command = [*VSWITCH, "--nostdin", "-f", str(script), "-l", f"udp://127.0.0.1:{udp_port}", "-M", path]
        process = stack.enter_context(Process(command, Path(folder, "log")))
        process.wait_for("management shell")
        switch = Switch(process, path)
        for number in range(1, ports + 1):
            peer = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            mac = b"\x02" + number.to_bytes(5, "big")
            peer.sendto(mac + mac + b"\x90\x00" + bytes(46), ("127.0.0.1", udp_port))
            for vid in range(1, vlans):
                switch.ask(f"vlan/addport {vid} {number}")
        print(f"{vlans} VLANs x {ports} ports, a whole switch, idle")
        print(f"spanning tree off: {100 * settle_and_measure(switch):.2f} % of a core")
        switch.ask("fstp/setfstp 1")
        print(f"spanning tree on:  {100 * settle_and_measure(switch):.2f} % of a core")


if __name__ == "__main__":
    main()
