"""``watch`` and ``top`` at the console: a screen of their own, drawn anew every few seconds.

They are the console's commands, not the switch's: it is asked again and again for what an ordinary command
prints. The screen is the terminal's alternate one, so that what stood there before is there afterwards.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio
from trio_util import periodic

from vport.errors import SettingsError
from vport.shell.protocol import printable
from vswitch.management.client import Answer, Farewell
from vswitch.management.top import rates, read_ports, table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vswitch.management.connection import SwitchConnection
    from vswitch.management.top import Counters

DEFAULT_INTERVAL: Final = 2.0  # seconds
INTERVAL_MIN: Final = 0.1
INTERVAL_MAX: Final = 3600.0

# ECMA-48 and xterm: alternate screen on and off, cursor hidden and shown, home, clear to the end.
_ENTER: Final = b"\x1b[?1049h\x1b[?25l"
_LEAVE: Final = b"\x1b[?25h\x1b[?1049l"
_HOME: Final = "\x1b[H"
_REST_OF_LINE: Final = "\x1b[K"
_REST_OF_SCREEN: Final = "\x1b[J"

_TOP_COMMAND: Final = "port/print -j"


@dataclass(frozen=True, slots=True)
class Watch:
    """What to look at, and how often.

    Attributes:
        command: the switch's command; None for ``top``.
        interval: in seconds.
    """

    command: str | None
    interval: float


def read_watch(line: str) -> Watch | None:
    """Read ``watch [SECONDS] COMMAND`` or ``top [SECONDS]``; None when the line is neither.

    Raises:
        SettingsError: the time is not within its range, or there is no command.
    """
    words = line.split()
    if words[:1] == ["top"] and len(words) <= 2:
        return Watch(None, _read_interval(words[1]) if len(words) == 2 else 1.0)
    if words[:1] != ["watch"]:
        return None
    interval = DEFAULT_INTERVAL
    if len(words) > 1 and words[1][:1].isdigit():
        interval = _read_interval(words.pop(1))
    if len(words) < 2:
        raise SettingsError("COMMAND is missing; the form is: watch [SECONDS] COMMAND")
    return Watch(" ".join(words[1:]), interval)


def _read_interval(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not INTERVAL_MIN <= seconds <= INTERVAL_MAX:
        raise SettingsError(
            f"SECONDS must be a number from {INTERVAL_MIN:g} to {INTERVAL_MAX:g}, not {text!r}"
        )
    return seconds


class Watcher:
    """Draws what a switch answers until Ctrl-C, or until ``stop``."""

    def __init__(self, connection: SwitchConnection, watch: Watch) -> None:
        self._connection = connection
        self._watch = watch
        self._scope = trio.CancelScope()
        self._ports: dict[int, Counters] | None = None
        self._looked_at = 0.0

    def stop(self) -> None:
        """End the watching."""
        self._scope.cancel()

    async def run(self) -> str | None:
        """Look and draw again and again; give what keeps from it, None when the operator has seen enough.

        Raises:
            LinkError: the switch has gone away. The terminal is as it was, whatever happens.
        """
        complaint: str | None = None
        with self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._stop_at_interrupt)
                with _own_screen():
                    complaint = await self._look_and_draw()
                self.stop()
        return complaint

    async def _stop_at_interrupt(self) -> None:
        with trio.open_signal_receiver(signal.SIGINT) as signals:
            async for _ in signals:
                self.stop()

    async def _look_and_draw(self) -> str | None:
        async with aclosing(periodic(self._watch.interval)) as ticks:
            async for _ in ticks:
                answer = await self._connection.ask(self._watch.command or _TOP_COMMAND)
                if isinstance(answer, Farewell):
                    return None
                if answer.is_failure:
                    return answer.status
                try:
                    self._draw(answer)
                except ValueError as error:
                    return f"this switch does not know port/print -j ({error})"
        return None

    def _draw(self, answer: Answer) -> None:
        name = self._watch.command or "top"
        lines = self._rates(answer) if self._watch.command is None else answer.lines
        os.write(1, screenful(f"{name}, every {self._watch.interval:g} s (Ctrl-C ends)", lines).encode())

    def _rates(self, answer: Answer) -> list[str]:
        now = trio.current_time()
        ports = read_ports(answer.lines)
        before, seconds = self._ports, now - self._looked_at
        self._ports, self._looked_at = ports, now
        return table(rates(ports if before is None else before, ports, seconds))


def screenful(title: str, lines: Sequence[str]) -> str:
    """Lay out what fits on the terminal, cut at its edges, over what was there before."""
    columns, rows = shutil.get_terminal_size()
    room = max(1, rows - 2)
    shown = [title, "", *lines]
    if len(shown) > room:
        hidden = len(shown) - room + 1
        shown = [*shown[: room - 1], f"… {hidden} more lines"]
    cut = [f"{printable(line)[: columns - 1]}{_REST_OF_LINE}" for line in shown]
    return _HOME + "\r\n".join(cut) + _REST_OF_SCREEN


@contextmanager
def _own_screen() -> Iterator[None]:
    """Switch to the terminal's other screen, and back whatever happens."""
    sys.stdout.flush()
    os.write(1, _ENTER)
    try:
        yield
    finally:
        os.write(1, _LEAVE)
