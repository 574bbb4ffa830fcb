"""Access to ports with VDE's own client, run by several users."""

from __future__ import annotations

import json
import subprocess
import tempfile
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.system.processes import VSWITCH, VSWITCHTERM, Process, run
from tests.system.requirements import require_program, require_root
from tests.system.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

_NUMBERS = count()


class Switch:
    """A switch that every user of this machine may call, and the clients that do."""

    def __init__(self, stack: ExitStack, directory: Path) -> None:
        self._stack = stack
        self._directory = directory
        self._path = str(directory / "mgmt")
        sockets = ["--sock", str(directory / "ctl"), "--mode", "0666", "--dirmode", "0777"]
        self._start([*VSWITCH, *sockets, "--mgmt", self._path]).wait_for("management shell")

    def _start(self, command: list[str]) -> Process:
        log = self._directory / f"log{next(_NUMBERS)}"
        process = self._stack.enter_context(Process(command, log, stdin=subprocess.PIPE))
        assert process.popen.stdin is not None
        self._stack.callback(process.popen.stdin.close)
        return process

    def tell(self, *lines: str) -> str:
        done = run([*VSWITCHTERM, self._path], stdin="\n".join(lines))
        assert done.returncode == 0, done.stderr
        return done.stdout

    def port(self, number: int) -> dict[str, Any]:
        done = run([*VSWITCHTERM, "-j", self._path, f"port/allprint {number}"])
        found: dict[str, Any] = json.loads(done.stdout)[0]
        return found

    def listen_for_refusals(self) -> Process:
        """Start a session that is told of refusals."""
        session = self._start([*VSWITCHTERM, self._path])
        assert session.popen.stdin is not None
        session.popen.stdin.write(b"debug/add port/refused\ndebug/list port/refused\n")
        session.popen.stdin.flush()
        session.wait_for("ON")
        return session

    def call(self, user: str, port: int) -> Process:
        """Let a user's vde_plug ask for a port."""
        who = [
            "setpriv",
            "--reuid",
            user,
            "--regid",
            user if user != "nobody" else "nogroup",
            "--clear-groups",
        ]
        return self._start([*who, "vde_plug", f"{self._directory}/ctl[{port}]"])


@pytest.fixture
def switch() -> Iterator[Switch]:
    require_root()
    require_program("vde_plug", "vdeplug")
    require_program("setpriv", "util-linux")
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        Path(name).chmod(0o755)
        yield Switch(stack, Path(name))


def test_port_kept_for_a_user_lets_in_only_that_one(switch: Switch) -> None:
    switch.tell("port/create 5", "port/setuser 5 nobody")
    session = switch.listen_for_refusals()

    switch.call("daemon", 5)
    session.wait_for("** port/refused Port 05")
    assert "user daemon may not use it: it is kept for user nobody" in session.output
    assert not switch.port(5)["active"]

    switch.call("nobody", 5)
    wait_until("nobody on port 5", lambda: switch.port(5)["active"])
    assert (switch.port(5)["user"], switch.port(5)["allowed_user"]) == ("nobody", "nobody")
    assert "Current User: nobody Access Control: (User: nobody - Group: NONE)" in switch.tell("port/print 5")


def test_port_in_use_belongs_to_its_user_even_against_root(switch: Switch) -> None:
    session = switch.listen_for_refusals()
    switch.call("daemon", 7)
    wait_until("daemon on port 7", lambda: switch.port(7)["active"])

    switch.call("root", 7)
    session.wait_for("** port/refused Port 07")
    switch.call("daemon", 7)
    wait_until("two endpoints", lambda: len(switch.port(7)["endpoints"]) == 2)

    switch.tell("port/detach 7")
    assert not switch.port(7)["active"]


def test_group_lets_in_its_members(switch: Switch) -> None:
    switch.tell("port/create 9", "port/setgroup 9 daemon")
    switch.call("daemon", 9)
    wait_until("daemon on port 9", lambda: switch.port(9)["active"])
