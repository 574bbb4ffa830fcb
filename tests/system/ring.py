"""Rings for tests: our switch in a namespace, real bridges beside it, a ping through both."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self

from tests.system.namespaces import inside, run
from tests.system.processes import VSWITCH, Process
from tests.system.requirements import require_program
from tests.system.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

PROMPT = b"\nvde$ "


class Ring:
    """Processes in one namespace, ended with their test in reverse order."""

    def __init__(self, namespace: str, directory: Path) -> None:
        self.namespace = namespace
        self.directory = directory
        self._processes: list[Process] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for process in reversed(self._processes):
            process.end()

    def start(self, *command: str, stdin: int = subprocess.DEVNULL) -> Process:
        """Start a process inside."""
        log = self.directory / f"process-{len(self._processes)}.log"
        process = Process(["ip", "netns", "exec", self.namespace, *command], log, stdin=stdin)
        self._processes.append(process)
        return process

    def run(self, *command: str) -> str:
        """Run a command inside to its end."""
        return inside(self.namespace, *command)

    def switch(self, name: str, *options: str) -> Switch:
        """Start a switch of ours inside."""
        path = str(self.directory / f"{name}.mgmt")
        commands = self.directory / "nothing.rc"  # whatever is set up for switches of this machine
        commands.touch()
        process = self.start(*VSWITCH, "--nostdin", "-f", str(commands), "--mgmt", path, *options)
        process.wait_for("management shell")
        return Switch(process, path)


class Switch:
    """A switch of ours, asked through its management socket."""

    def __init__(self, process: Process, path: str) -> None:
        self.process = process
        self._path = path

    def ask(self, line: str) -> list[str]:
        """Give a command; the lines of its answer, which must be a success."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(5)
            client.connect(self._path)
            _read_to_prompt(client)
            client.sendall(f"{line}\n".encode())
            lines = _read_to_prompt(client).removesuffix(PROMPT).decode().splitlines()
        assert any(text.startswith("1000") for text in lines), f"{line}: {lines}"
        return [text for text in lines if not re.match(r"(0000|1000|\.$|$)", text)]

    def document(self, line: str) -> Any:
        """Give a command with ``-j``; its document."""
        return json.loads("\n".join(self.ask(f"{line} -j")))

    def tree(self, vlan: int = 0) -> dict[str, Any]:
        """Give the document of a VLAN's tree."""
        found: dict[str, Any] = self.document(f"fstp/print {vlan}")[0]
        return found

    def states(self, vlan: int = 0) -> dict[int, str]:
        """Give the states of the ports in a VLAN's tree."""
        return {port["port"]: port["state"] for port in self.tree(vlan)["ports"]}


def _read_to_prompt(client: socket.socket) -> bytes:
    data = b""
    while not data.endswith(PROMPT):
        piece = client.recv(65536)
        assert piece, "the switch closed the session"
        data += piece
    return data


class OpenVSwitch:
    """Open vSwitch with its userspace datapath, its files and sockets in a folder of its own."""

    def __init__(self, ring: Ring) -> None:
        for program in ("ovsdb-server", "ovs-vswitchd", "ovs-vsctl", "ovsdb-tool"):
            require_program(program, "openvswitch-switch")
        folder = ring.directory / "ovs"
        folder.mkdir()
        self._ring = ring
        self._folder = folder
        self._database = f"unix:{folder}/db.sock"
        schema = "/usr/share/openvswitch/vswitch.ovsschema"
        run("ovsdb-tool", "create", f"{folder}/conf.db", schema)
        server = ("ovsdb-server", f"{folder}/conf.db", f"--remote=punix:{folder}/db.sock")
        ring.start(*server, f"--unixctl={folder}/db.ctl", f"--pidfile={folder}/db.pid")
        wait_until("ovsdb-server", (folder / "db.sock").exists)
        self.set("--no-wait", "init")
        daemon = ("ovs-vswitchd", self._database, f"--unixctl={folder}/vs.ctl", f"--pidfile={folder}/vs.pid")
        ring.start(*daemon)
        wait_until("ovs-vswitchd", (folder / "vs.ctl").exists)

    def set(self, *arguments: str) -> str:
        """Run ``ovs-vsctl``."""
        return self._ring.run("ovs-vsctl", "--timeout=10", f"--db={self._database}", *arguments)

    def add_bridge(self, *options: str) -> None:
        """Add the bridge ``ovs0`` with these settings."""
        self.set("add-br", "ovs0", "--", "set", "bridge", "ovs0", "datapath_type=netdev", *options)

    def add_port(self, name: str) -> None:
        """Make a device a port of the bridge."""
        self.set("add-port", "ovs0", name)

    def rstp(self) -> str:
        """Show what it thinks of its tree."""
        return self._ring.run("ovs-appctl", f"--target={self._folder}/vs.ctl", "rstp/show", "ovs0")


class Pinger:
    """A ping that goes on, and tells how long there was no answer."""

    def __init__(self, ring: Ring, address: str, interval: float = 0.02) -> None:
        self.interval = interval
        self._process = ring.start("ping", "-n", "-D", "-O", "-W", "1", "-i", str(interval), address)

    @property
    def answers(self) -> list[float]:
        """Give when answers came, in seconds of the system's clock."""
        found = re.findall(r"^\[([\d.]+)\] \d+ bytes from", self._process.output, re.MULTILINE)
        return [float(text) for text in found]

    def wait_for_answer(self, seconds: float = 30.0) -> None:
        """Wait for an answer more than there are."""
        count = len(self.answers)
        wait_until("an answer to ping", lambda: len(self.answers) > count, seconds)

    @property
    def longest_silence(self) -> float:
        """Give the longest time between two answers, in seconds."""
        answers = self.answers
        return max((after - before for before, after in pairwise(answers)), default=0.0)

    @property
    def duplicates(self) -> int:
        """Count the answers that came twice: frames go round."""
        return self._process.output.count("DUP!")

    @property
    def loss(self) -> float:
        """Give the share of requests that were not answered, as ping says at its end."""
        found = re.search(r"([\d.]+)% packet loss", self._process.output)
        assert found is not None, self._process.output
        return float(found[1]) / 100

    def end(self) -> None:
        """Stop, with the summary."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait()
