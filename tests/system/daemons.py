"""Switches in the background, each in a directory of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from pathlib import Path
from typing import Self

from tests.system.processes import VSWITCH, VSWITCHTERM, run
from tests.system.waiting import wait_until


def free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def somewhere() -> list[str]:
    """Give a command line of a switch that meets no other on its UDP port."""
    return [*VSWITCH, "--listen", f"udp://127.0.0.1:{free_udp_port()}"]


def ask(path: Path, *command: str) -> str:
    """Give one command to the switch that listens at ``path``; it must succeed."""
    done = run([*VSWITCHTERM, str(path), *command])
    assert done.returncode == 0, done.stderr
    return done.stdout


def is_running(pid: int) -> bool:
    """Whether the process lives; nobody waits for a daemon, so one that has ended may stay as a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


class Daemon:
    """A switch in the background, in a directory of its own; ended with its test."""

    def __init__(self, directory: Path, *options: str, expect: int = 0) -> None:
        self.directory = directory
        self.pidfile = directory / "pid"
        self.management = directory / "mgmt"
        command = [*somewhere(), "-d", "-p", "pid", "-M", "mgmt", *options]
        self.done = subprocess.run(
            command,
            cwd=directory,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "HOME": str(directory)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert self.done.returncode == expect, self.done.stderr

    @property
    def pid(self) -> int:
        return int(self.pidfile.read_text())

    def ask(self, *command: str) -> str:
        return ask(self.management, *command)

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        with contextlib.suppress(FileNotFoundError):
            pid = self.pid
            os.kill(pid, number)
            wait_until(f"the end of {pid}", lambda: not is_running(pid))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.end()
