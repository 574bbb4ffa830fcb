"""Switches to be managed: ours, and VDE's."""

from __future__ import annotations

import socket
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.system.processes import VSWITCH, Process
from tests.system.requirements import require_program
from tests.system.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class ManagedSwitch:
    """A running switch of ours with its management socket and a UDP fabric on loopback."""

    def __init__(self, process: Process, path: str, udp_port: int) -> None:
        self.process = process
        self.path = path
        self._udp_port = udp_port
        self._stations: list[socket.socket] = []

    def new_station(self, mac: str) -> None:
        """Let a station be heard on a port of its own."""
        station = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._stations.append(station)
        frame = bytes.fromhex("ff" * 6 + mac.replace(":", "") + "0800") + bytes(46)
        station.sendto(frame, ("127.0.0.1", self._udp_port))

    def close(self) -> None:
        for station in self._stations:
            station.close()


@contextmanager
def our_switch(directory: Path) -> Iterator[ManagedSwitch]:
    """Run a switch with one simulated host on port 1."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        udp_port = probe.getsockname()[1]
    path = str(directory / "mgmt")
    command = [*VSWITCH, "--listen", f"udp://127.0.0.1:{udp_port}", "--attach", "host://10.1.1.1/24"]
    with Process([*command, "--mgmt", path], directory / "vswitch.log") as process:
        process.wait_for("management shell")
        switch = ManagedSwitch(process, path, udp_port)
        try:
            yield switch
        finally:
            switch.close()


@contextmanager
def vde_switch(directory: Path) -> Iterator[str]:
    """Run VDE's switch; give the path of its management socket."""
    require_program("vde_switch", "vde2")
    path = directory / "vde.mgmt"
    command = ["vde_switch", "-s", str(directory / "vde.ctl"), "-M", str(path), "-f", "/dev/null"]
    with Process(command, directory / "vde_switch.log", stdin=subprocess.PIPE) as process:
        wait_until("vde_switch's management socket", path.exists)
        yield str(path)
        assert process.popen.stdin is not None
        process.popen.stdin.close()  # its console: the end of its input ends the switch
