"""A program on a terminal: typed at and looked at through tmux, on a server of its own."""

from __future__ import annotations

import os
import shlex
import subprocess
import termios
from typing import TYPE_CHECKING, Self

from tests.system.processes import ROOT
from tests.system.requirements import require_program
from tests.system.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

COLUMNS, LINES = 120, 60


class Screen:
    """One command in a terminal; when it ends, the screen shows ``[ended with STATUS]``."""

    def __init__(self, command: list[str], home: Path) -> None:
        require_program("tmux")
        self._server = home / f"tmux-{os.urandom(4).hex()}"
        environment = {
            key: value for key, value in os.environ.items() if not key.startswith(("TMUX", "XDG_"))
        } | {"HOME": str(home), "PYTHONPATH": str(ROOT), "TERM": "screen"}
        script = f'trap : INT; {shlex.join(command)}; echo "[ended with $?]"; exec cat'
        self._tmux(
            "-f", "/dev/null", "new-session", "-d", "-x", str(COLUMNS), "-y", str(LINES), script,
            environment=environment,
        )  # fmt: skip

    def _tmux(self, *arguments: str, environment: dict[str, str] | None = None) -> str:
        command = ["tmux", "-S", str(self._server), *arguments]
        done = subprocess.run(
            command, env=environment, check=True, capture_output=True, text=True, timeout=10
        )
        return done.stdout

    @property
    def text(self) -> str:
        """What is on the screen, without the empty lines."""
        shown = self._tmux("capture-pane", "-p").split("\n")
        return "\n".join(line.rstrip() for line in shown if line.strip())

    @property
    def last_line(self) -> str:
        """The lowest line that is not empty."""
        return self.text.rpartition("\n")[2]

    def press(self, *keys: str) -> None:
        """Press keys by their names in tmux: ``Tab``, ``Enter``, ``C-c``."""
        self._tmux("send-keys", *keys)

    def write(self, text: str) -> None:
        """Type text as it is."""
        self._tmux("send-keys", "-l", text)

    def enter(self, line: str) -> None:
        """Type a line and press Enter."""
        self.write(line)
        self.press("Enter")

    def wait_for(self, text: str, seconds: float = 10.0) -> None:
        """Wait until ``text`` is on the screen."""
        wait_until(lambda: f"{text!r} on the screen:\n{self.text}", lambda: text in self.text, seconds)

    def wait_for_last_line(self, line: str, seconds: float = 10.0) -> None:
        """Wait until ``line`` is the lowest one."""
        wait_until(lambda: f"{line!r} as last line of:\n{self.text}", lambda: self.last_line == line, seconds)

    @property
    def modes(self) -> int:
        """The terminal's local modes (``c_lflag``)."""
        terminal = os.open(
            self._tmux("display-message", "-p", "#{pane_tty}").strip(), os.O_RDONLY | os.O_NOCTTY
        )
        try:
            modes: int = termios.tcgetattr(terminal)[3]
        finally:
            os.close(terminal)
        return modes

    def wait_until_line_is_taken(self) -> None:
        """Wait until the line editor has ended: Ctrl-C is not one of its keys any more."""
        wait_until(lambda: f"the line to be taken:\n{self.text}", lambda: self.modes & termios.ISIG)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._tmux("kill-server")
