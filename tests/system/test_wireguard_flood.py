"""A flood of handshakes from invented sources: the peers that are there carry on, and new ones get in."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from tests.system.processes import VPORT, VSWITCH, VSWITCHTERM, Process, run
from tests.system.waiting import wait_until
from vport.wireguard.keys import PrivateKey

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

RATE = 20_000  # a second
SECONDS = 60.0  # at most: it ends when all has been seen


def _key(directory: Path, name: str) -> tuple[str, Path]:
    key = PrivateKey.generate(os.urandom)
    path = directory / f"{name}.key"
    path.write_text(key.encode())
    path.chmod(0o600)
    return key.public.encode(), path


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_flood_of_handshakes_leaves_peers_alone_and_lets_new_ones_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    port = _free_port()
    switch, switch_file = _key(tmp_path, "switch")
    keys = {name: _key(tmp_path, name) for name in ("good", "new")}
    management = str(tmp_path / "mgmt")

    def command(line: str) -> str:
        return run([*VSWITCHTERM, management, line]).stdout

    def join(name: str, host: str) -> Process:
        locator = f"wg://127.0.0.1:{port}?peer={switch}&key=@{keys[name][1]}"
        return stack.enter_context(Process([*VPORT, locator, host], tmp_path / f"{name}.log"))

    with ExitStack() as stack:
        listening = f"wg://:{port}?key=@{switch_file}"
        command_line = [
            *VSWITCH,
            "--listen",
            listening,
            "--attach",
            "host://10.1.1.1/24",
            "--mgmt",
            management,
        ]
        process = stack.enter_context(Process(command_line, tmp_path / "vswitch.log"))
        process.wait_for("management shell")
        for name, (public, _) in keys.items():
            assert run([*VSWITCHTERM, management, f"peer/add {name} {public}"]).returncode == 0
        good = join("good", "host://10.1.1.2/24?ping=10.1.1.1&interval=0.02&count=400")
        good.wait_for("reply from")

        before = _cpu_seconds(process.popen.pid)
        flooding = [
            sys.executable,
            "-m",
            "tests.system.wireguard_flood",
            switch,
            str(port),
            str(RATE),
            str(SECONDS),
        ]
        began = time.monotonic()
        flood = stack.enter_context(Process(flooding, tmp_path / "flood.log"))
        wait_until("the flood to be felt", lambda: "overload" in command("peer/print"))
        started = time.monotonic()
        join("new", "host://10.1.1.3/24").wait_for("connected to", 30)
        joined = time.monotonic() - started
        good.wait_for("packets transmitted", 30)
        used = _cpu_seconds(process.popen.pid) - before
        lasted = time.monotonic() - began
        flood.end(signal.SIGINT)

        sent = int(re.findall(r"sent (\d+)", flood.output)[0])
        transmitted, received = map(
            int, re.findall(r"(\d+) packets transmitted, (\d+) received", good.output)[0]
        )
        with capsys.disabled():
            sys.stdout.write(
                f"\n  flood: {sent / lasted:.0f} initiations/s; good peer: {received} of {transmitted} "
                f"pings; new peer in after {joined:.1f} s; switch used {used / lasted:.0%} of a core\n"
            )
        assert received >= 0.8 * transmitted  # all of them on an idle machine; CI shares its cores
        assert joined < 30  # a cookie costs 5 s, and one may be lost
        assert process.popen.poll() is None


def _cpu_seconds(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
