"""The units of examples/systemd, run as systemd runs them."""

from __future__ import annotations

import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.system.daemons import ask, free_udp_port, somewhere
from tests.system.processes import VSWITCH, Process, run
from tests.system.requirements import require_program

if TYPE_CHECKING:
    from collections.abc import Iterator

UNIT = Path(__file__).parents[2] / "examples" / "systemd"


@pytest.fixture
def notify(tmp_path: Path) -> Iterator[socket.socket]:
    """Listen where systemd would."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(10)
        yield listening


BECOME_SERVICE = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
"""  # what systemd does between fork and exec


def unit_value(key: str) -> str:
    lines = (UNIT / "vswitch.service").read_text().splitlines()
    return next(line.partition("=")[2] for line in lines if line.startswith(f"{key}="))


def test_unit_runs_under_a_supervisor(notify: socket.socket, tmp_path: Path) -> None:
    """Start what the unit's ExecStart= says as systemd would: notified, watched, with a socket passed on."""
    assert unit_value("Type") == "notify"
    _, *options = unit_value("ExecStart").split()
    options[options.index("/etc/vswitch/vswitch.toml")] = str(tmp_path / "vswitch.toml")
    text = (UNIT / "vswitch.toml").read_text()
    (tmp_path / "vswitch.toml").write_text(text.replace(":9999", f":{free_udp_port()}"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(tmp_path / "mgmt"))
        listening.listen()
        environment = [f"NOTIFY_SOCKET={tmp_path / 'notify'}", "LISTEN_FDS=1", "WATCHDOG_USEC=400000"]
        launcher = [sys.executable, "-c", BECOME_SERVICE, str(listening.fileno())]
        with Process(
            ["env", *environment, *launcher, *VSWITCH, *options],
            tmp_path / "log",
            pass_fds=(listening.fileno(),),
        ) as switch:
            ready = notify.recv(4096).decode().split("\n")
            assert ready == ["READY=1", "STATUS=switching", f"MAINPID={switch.popen.pid}"]
            assert "host 10.1.1.1/24" in ask(tmp_path / "mgmt", "port/print")
            assert "VLAN 0010\n -- Port 0002" in ask(tmp_path / "mgmt", "vlan/allprint", "10")
            assert [notify.recv(4096) for _ in range(3)] == [b"WATCHDOG=1"] * 3

            switch.send_signal(signal.SIGTERM)
            while (message := notify.recv(4096)) == b"WATCHDOG=1":
                pass
            assert message == b"STOPPING=1"
            assert switch.wait() == 0
    assert (tmp_path / "mgmt").is_socket()  # systemd's, not ours to remove


def test_reload_is_told_to_the_supervisor(notify: socket.socket, tmp_path: Path) -> None:
    (tmp_path / "rc").write_text("")
    command = ["env", f"NOTIFY_SOCKET={tmp_path / 'notify'}", *somewhere(), "-f", str(tmp_path / "rc")]
    with Process(command, tmp_path / "log") as switch:
        assert notify.recv(4096).startswith(b"READY=1")
        switch.send_signal(signal.SIGHUP)
        assert notify.recv(4096).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
        assert notify.recv(4096).startswith(b"READY=1")


def receive_for_ever(notify: socket.socket) -> None:
    while True:
        notify.recv(4096)


def test_hung_switch_is_not_heard_by_the_watchdog(notify: socket.socket, tmp_path: Path) -> None:
    command = ["env", f"NOTIFY_SOCKET={tmp_path / 'notify'}", "WATCHDOG_USEC=200000", *somewhere()]
    with Process(command, tmp_path / "log") as switch:
        assert notify.recv(4096).startswith(b"READY=1")
        assert notify.recv(4096) == b"WATCHDOG=1"
        switch.send_signal(signal.SIGSTOP)
        try:
            notify.settimeout(0.5)
            with pytest.raises(TimeoutError):
                receive_for_ever(notify)
        finally:
            switch.send_signal(signal.SIGCONT)


def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    require_program("systemd-analyze", "systemd")
    for unit in ("vswitch.service", "vswitch.socket"):
        text = (UNIT / unit).read_text()
        (tmp_path / unit).write_text(text.replace("/usr/local/bin/vswitch", "/bin/true"))
    done = run(["systemd-analyze", "verify", *map(str, tmp_path.iterdir())])

    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
