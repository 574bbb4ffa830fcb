"""``vswitchterm``: talk to a running switch, at a terminal, with one command, or with a script."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

import trio

from vport._version import __version__
from vport.errors import LinkError
from vport.shell.command import JSON_FLAG
from vport.shell.protocol import printable
from vswitch.management.client import Farewell
from vswitch.management.connection import SwitchConnection

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

    from vswitch.management.client import Answer, Notice

PATIENCE: Final = 30.0  # seconds, unless --timeout says otherwise

_DESCRIPTION: Final = """\
Talk to a running switch over its management socket: vswitch's, or that of VDE's vde_switch.

Without COMMAND and at a terminal, vswitchterm reads commands with line editing, history and completion,
and shows the messages that were asked for with debug/add above the line being typed. With COMMAND it
runs that one command, prints what it answers and ends with its verdict. When standard input is not a
terminal, it reads commands from there, one per line; blank lines and lines that start with # are skipped,
and a command that fails is reported with its line number and does not keep the others from being run.
"""

_EPILOG: Final = """\
at the terminal, beside the switch's own commands:
  watch [SECONDS] COMMAND
                  show again and again (every 2 s) what a command prints, until Ctrl-C
  top [SECONDS]   show the ports by how much goes through them (every second), until Ctrl-C

keys at the terminal:
  Tab             complete a menu, a command, or an argument that the switch can list (ports, VLANs,
                  stations, message categories, file names); press it again for the choices
  Up, Down        lines typed before; with something typed, those that begin with it
  Ctrl-R          search in the lines typed before
  Ctrl-A, Ctrl-E  start and end of the line
  Ctrl-C          give the line up; end watch or top
  Ctrl-D          leave (so does the command logout; shutdown ends the switch)

exit status:
  0   ended as asked; the command, or every command, succeeded
  1   a command failed, or the switch cannot be reached or went away: standard error says which and why
  2   wrong usage

files:
  $XDG_STATE_HOME/vswitch/history, or ~/.local/state/vswitch/history
                  the lines typed at the terminal, kept between runs

examples:
  vswitchterm /run/vswitch/mgmt
  vswitchterm /run/vswitch/mgmt port/print 3
  vswitchterm -j /run/vswitch/mgmt hash/print
  printf 'vlan/create 10\\nvlan/print\\n' | vswitchterm /run/vswitch/mgmt
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="vswitchterm",
        usage="%(prog)s [-h] [--version] [--timeout SECONDS] [-j] PATH [COMMAND [ARGUMENT ...]]",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("path", metavar="PATH", help="the switch's management socket (vswitch --mgmt PATH)")
    command = parser.add_argument(
        "command", metavar="COMMAND", nargs=argparse.REMAINDER, help="a command and its arguments; try: help"
    )
    command.required = False
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=_positive,
        default=PATIENCE,
        help="with COMMAND or a script, how long to wait for each answer (default: %(default)g)",
    )
    parser.add_argument(
        "-j", "--json", action="store_true", help="with COMMAND: print its answer as a JSON document"
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    return parser


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return value


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``vswitchterm``; give its exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    command = " ".join(options.command)
    if len(command.splitlines()) > 1:
        parser.error("COMMAND is one line; give several commands on standard input")
    if options.json and not command:
        parser.error("-j is for a COMMAND; in a script, write it behind the command")
    if options.json:
        command = f"{command} {JSON_FLAG}"
    status = 1
    try:
        status = trio.run(_run, options.path, command if options.command else None, options.timeout)
    except* KeyboardInterrupt:
        complain("interrupted")
    except* BrokenPipeError:  # whoever read our output has had enough of it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status


async def _run(path: str, command: str | None, patience: float) -> int:
    try:
        async with await SwitchConnection.open(path) as connection:
            if command is not None:
                one = _Script(connection, patience)
                return await _beside_receiving(connection, lambda: one.run_one(command))
            if not sys.stdin.isatty():
                script = _Script(connection, patience)
                return await _beside_receiving(connection, script.run_standard_input, script.leave)
            from vswitch.management.prompt import Console  # its editor takes 0.2 s to load

            console = Console(connection, write, show_notice)
            return await _beside_receiving(connection, console.run, console.leave, console.notice)
    except LinkError as error:
        complain(str(error))
        return 1


async def _beside_receiving(
    connection: SwitchConnection,
    body: Callable[[], Awaitable[int]],
    leave: Callable[[], None] | None = None,
    notice: Callable[[Notice], None] | None = None,
) -> int:
    """Run ``body`` while the switch is listened to; ``leave`` is called when it has closed the session.

    Messages that come unasked go to ``notice``, or are printed.

    Raises:
        LinkError: from ``body``; not in a group, as the nursery would raise it.
    """
    outcome: int | LinkError = 1

    async def listen() -> None:
        await connection.receive(notice or show_notice)
        if leave is not None:
            leave()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        try:
            outcome = await body()
        except LinkError as error:
            outcome = error
        nursery.cancel_scope.cancel()
    if isinstance(outcome, LinkError):
        raise outcome
    return outcome


class _Script:
    """Commands that nobody types."""

    def __init__(self, connection: SwitchConnection, patience: float) -> None:
        self._connection = connection
        self._patience = patience
        self._reading = trio.CancelScope()

    def leave(self) -> None:
        """Wait no longer for the next line: the switch has closed the session."""
        self._reading.cancel()

    async def run_one(self, command: str) -> int:
        """Run one command; give 0 or 1."""
        answer = await self._ask(command)
        if isinstance(answer, Farewell):
            return 0
        _print_lines(answer)
        if answer.is_failure:
            complain(answer.status)
        return int(answer.is_failure)

    async def run_standard_input(self) -> int:
        """Run the commands on standard input; give 0 if all succeeded, else 1."""
        failures = 0
        with self._reading:
            async with aclosing(_numbered_lines()) as lines:
                async for number, line in lines:
                    answer = await self._ask(line)
                    if isinstance(answer, Farewell):
                        break
                    _print_lines(answer)
                    if answer.is_failure:
                        complain(f"line {number}: {printable(line)}: {answer.status}")
                        failures += 1
        self._connection.check()
        return int(failures > 0)

    async def _ask(self, line: str) -> Answer | Farewell:
        try:
            with trio.fail_after(self._patience):
                return await self._connection.ask(line)
        except trio.TooSlowError:
            path = self._connection.path
            raise LinkError(
                f"the switch at {path} has not answered {printable(line)!r} in {self._patience:g} s"
            ) from None


async def _numbered_lines() -> AsyncGenerator[tuple[int, str], None]:
    """Read the commands on standard input with their line numbers; blank lines and comments are left out."""
    number, rest, data = 0, b"", b"."
    while data:
        data = await trio.to_thread.run_sync(_read_standard_input, abandon_on_cancel=True)
        *lines, rest = (rest + data).split(b"\n")
        if not data:
            lines.append(rest)
        for raw in lines:
            number += 1
            line = raw.decode("utf-8", "surrogateescape").strip()
            if line and not line.startswith("#"):
                yield number, line


def _read_standard_input() -> bytes:
    """Read what is there; not through ``sys.stdin``, whose lock an abandoned thread would keep for ever."""
    return os.read(0, 65536)


# --- output ---


def write(line: str) -> None:
    """Print a line of the switch's, with whatever could drive the terminal made visible."""
    sys.stdout.write(f"{printable(line)}\n")


def show_notice(notice: Notice) -> None:
    """Print a message that came unasked."""
    write(f"** {notice.path} {notice.text}".rstrip())
    sys.stdout.flush()


def complain(text: str) -> None:
    """Print an error, after what was printed before it."""
    sys.stdout.flush()
    sys.stderr.write(f"vswitchterm: {printable(text)}\n")


def _print_lines(answer: Answer) -> None:
    for line in answer.lines:
        write(line)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
