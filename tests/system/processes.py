"""Our commands and the peers' as processes: started, watched through their output, ended by PID."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

from tests.system.waiting import wait_until

if TYPE_CHECKING:
    from types import TracebackType

ROOT = Path(__file__).resolve().parents[2]
VSWITCH = [sys.executable, "-m", "vswitch.cli"]
VPORT = [sys.executable, "-m", "vport.cli"]
VSWITCHTERM = [sys.executable, "-m", "vswitch.management.console"]


class Process:
    """A process whose output goes to a file; ended with SIGTERM and waited for when its test is over."""

    def __init__(
        self,
        command: list[str],
        log: Path,
        *,
        stdin: int = subprocess.DEVNULL,
        pass_fds: tuple[int, ...] = (),
    ) -> None:
        self.command = command
        self._log = log
        with log.open("wb") as output:
            self.popen = subprocess.Popen(
                command,
                stdin=stdin,
                stdout=output,
                stderr=output,
                pass_fds=pass_fds,
                env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
            )

    @property
    def output(self) -> str:
        """Everything that it printed so far, on both outputs."""
        return self._log.read_text(errors="replace")

    def wait_for(self, text: str, seconds: float = 10.0) -> None:
        """Wait until it has printed ``text``."""

        def printed() -> bool:
            if text in self.output:
                return True
            if self.popen.poll() is not None:
                pytest.fail(f"{self.command} ended with {self.popen.returncode}: {self.output}")
            return False

        wait_until(f"{text!r} from {self.command}; got: {self.output}", printed, seconds)

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.popen.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGTERM, seconds: float = 10.0) -> int:
        """Send it a signal, if it still runs, and give its exit status."""
        if self.popen.poll() is None:
            self.popen.send_signal(number)
        return self.wait(seconds)

    def wait(self, seconds: float = 10.0) -> int:
        """Wait for its end and give its exit status."""
        try:
            status = self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
            pytest.fail(f"{self.command} did not end within {seconds:g} s; it printed: {self.output}")
        if self.popen.stdin is not None:
            self.popen.stdin.close()
        return status

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end()


def run(command: list[str], *, seconds: float = 30.0, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command to its end, both outputs captured."""
    return subprocess.run(
        command,
        input=stdin,
        text=True,
        capture_output=True,
        timeout=seconds,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
