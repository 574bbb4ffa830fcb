"""The console on a terminal: prompt_toolkit's line editor beside Trio.

prompt_toolkit's editor runs an asyncio loop of its own. It gets a thread to do so, one call for each line;
everything else stays with Trio. The two meet in four places: ``Prompt.read`` waits for the thread,
completion asks Trio for what the switch lists, and by calls on the editor's loop ``Prompt.leave`` ends a
line that is being typed and ``Prompt.show`` prints above it.

From the first line to the last the terminal hands over each key as it is pressed, also while a command is
carried out, so that what is typed ahead (Ctrl-D, too) is there for the next line.
"""

from __future__ import annotations

import os
import signal
import sys
import termios
import tty
from collections import deque
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio
from prompt_toolkit import PromptSession
from prompt_toolkit.application import run_in_terminal
from prompt_toolkit.completion import Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, InMemoryHistory
from prompt_toolkit.input.vt100 import Vt100Input
from prompt_toolkit.utils import is_dumb_terminal

from vport.errors import LinkError, SettingsError
from vswitch.management.client import Answer, Farewell
from vswitch.management.completion import (
    CONSOLE_COMMANDS,
    CommandName,
    FileName,
    Fixed,
    Listed,
    at_cursor,
    command_candidates,
    parse_help,
)
from vswitch.management.watch import Watch, Watcher, read_watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from prompt_toolkit.completion import CompleteEvent
    from prompt_toolkit.history import History

    from vswitch.management.client import Notice
    from vswitch.management.completion import HelpEntry, Source
    from vswitch.management.connection import SwitchConnection

_HELD_MAX: Final = 1000  # messages that wait to be shown; of more, the newest
_COMPLETION_TIME: Final = 1.0  # seconds that the switch has to list candidates; the editor waits for it


def history_path() -> Path:
    """Give the file in which lines are kept between runs."""
    state = os.environ.get("XDG_STATE_HOME", "")
    base = Path(state) if os.path.isabs(state) else Path.home() / ".local" / "state"
    return base / "vswitch" / "history"


def open_history(path: Path) -> History:
    """Open the file of lines typed before; without a place to write, they are kept for this run only."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.open("ab").close()
    except OSError:
        return InMemoryHistory()
    return FileHistory(path)


class SwitchCompleter(Completer):
    """Completes menus, commands and arguments.

    Args:
        entries: what the switch's ``help`` says.
        lookup: gives the lines that a command of the switch prints; called in the editor's thread.
    """

    def __init__(self, entries: Sequence[HelpEntry], lookup: Callable[[str], Iterable[str]]) -> None:
        self._entries = entries
        self._lookup = lookup
        self._files = PathCompleter(expanduser=True)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        """Give what may complete the word at the cursor."""
        word, source = at_cursor(self._entries, document.text_before_cursor)
        if isinstance(source, FileName):
            yield from self._files.get_completions(Document(word, len(word)), complete_event)
            return
        for candidate, text in self._candidates(source, word):
            if candidate.startswith(word):
                yield Completion(candidate, -len(word), display_meta=text)

    def _candidates(self, source: Source | None, word: str) -> list[tuple[str, str]]:
        match source:
            case CommandName():
                return command_candidates(self._entries, word)
            case Fixed(words):
                return [(candidate, "") for candidate in words]
            case Listed():
                return [(candidate, "") for candidate in source.read(self._lookup(source.command))]
            case _:
                return []


@contextmanager
def keys_as_pressed(terminal: int) -> Iterator[None]:
    """Have the terminal pass on each key by itself, unseen; Ctrl-C still interrupts.

    The editor sets what it needs on top of this for each line, and returns to this afterwards. A terminal
    that collected lines between two of them would swallow a Ctrl-D that comes early.
    """
    before = termios.tcgetattr(terminal)
    tty.setcbreak(terminal, termios.TCSANOW)
    try:
        yield
    finally:
        with suppress(termios.error):  # the terminal is gone
            termios.tcsetattr(terminal, termios.TCSANOW, before)


class _Keyboard(Vt100Input):
    """The terminal's keys, which stay as they are while something is printed above the line."""

    def cooked_mode(self) -> AbstractContextManager[None]:
        return nullcontext()


class Prompt:
    """Reads lines at a terminal, with history and completion.

    Args:
        message: stands in front of the line.
        completer: is asked at Tab.
        history: the lines typed before.
        show: prints what has come meanwhile; called in the editor's thread while a line is being typed,
            otherwise in Trio's.
    """

    def __init__(
        self, message: str, completer: Completer, history: History, show: Callable[[], None]
    ) -> None:
        self._message = message
        self._show = show
        self._is_reading = False
        self._to_show = False
        self._leaving = False
        self._session: PromptSession[str] = PromptSession(
            history=history,
            completer=completer,
            complete_while_typing=False,
            enable_history_search=True,
            input=_Keyboard(sys.stdin),
        )

    async def read(self) -> str | None:
        """Read a line; empty when it was given up with Ctrl-C, None at Ctrl-D and after ``leave``.

        Cancellation leaves the thread behind, with the terminal as the editor set it: call ``leave``.
        """
        self._is_reading = True
        try:
            text = await trio.to_thread.run_sync(self._read_in_thread, abandon_on_cancel=True)
        finally:
            self._is_reading = self._to_show = False
        self._show()  # what came too late to be shown above the line
        return text

    def _read_in_thread(self) -> str | None:
        try:
            return self._session.prompt(self._message, pre_run=self._begin)
        except KeyboardInterrupt:
            return ""
        except EOFError:
            return None

    def _begin(self) -> None:
        """Do what was asked for before there was a loop to do it."""
        self._end_if_leaving()
        if self._to_show:
            self._show_above()

    def show(self) -> None:
        """Have ``show`` called, above the line if one is being typed. Called in Trio's thread.

        A terminal that cannot move its cursor (``TERM=dumb``) has no line to print above.
        """
        if not self._is_reading or is_dumb_terminal():
            self._show()
        elif not self._to_show:
            self._to_show = True  # before we look for the loop: it may be about to begin
            self._call(self._show_above)

    def _show_above(self) -> None:
        run_in_terminal(self._show_now)

    def _show_now(self) -> None:
        self._to_show = False  # first: what comes from here on asks again
        self._show()

    def _call(self, function: Callable[[], None]) -> None:
        """Have the editor's loop call a function, if it runs."""
        loop = self._session.app.loop
        if loop is not None:
            with suppress(RuntimeError):  # the line has just been entered and the loop closed
                loop.call_soon_threadsafe(function)

    def leave(self) -> None:
        """End the line that is being typed, and every later one at once. Called in Trio's thread."""
        self._leaving = True
        self._call(self._end_if_leaving)

    def _end_if_leaving(self) -> None:
        app = self._session.app
        if self._leaving and app.future is not None and not app.future.done():
            app.exit(exception=EOFError)


class Console:
    """The dialogue with one switch at a terminal.

    Args:
        connection: the session.
        write: prints a line.
        show_notice: prints a message that came unasked.
    """

    def __init__(
        self,
        connection: SwitchConnection,
        write: Callable[[str], None],
        show_notice: Callable[[Notice], None],
    ) -> None:
        self._connection = connection
        self._write = write
        self._show_notice = show_notice
        self._prompt: Prompt | None = None
        self._watcher: Watcher | None = None
        self._held: deque[Notice] = deque(maxlen=_HELD_MAX)  # of messages, until they can be shown
        self._overflow = 0  # messages left out; counted in Trio's thread
        self._told = 0  # of them, those of which that was said

    async def run(self) -> int:
        """Carry out what is typed until the operator or the switch leaves; give the exit status.

        Raises:
            LinkError: the switch went away.
        """
        greeting = await self._connection.greeting()
        answer = await self._connection.ask("help")
        entries = [*parse_help(answer.lines if isinstance(answer, Answer) else ()), *CONSOLE_COMMANDS]
        completer = SwitchCompleter(entries, self._lookup)
        message = f"vswitch[{self._connection.path}]: "
        self._prompt = Prompt(message, completer, open_history(history_path()), self.show_held)
        with keys_as_pressed(sys.stdin.fileno()):
            self._print(greeting.lines)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._leave_on_signal)
                await self._converse(self._prompt)
                nursery.cancel_scope.cancel()
        self._connection.check()
        return 0

    def leave(self) -> None:
        """End the dialogue: the switch has closed the session, or we were told to go."""
        if self._watcher is not None:
            self._watcher.stop()
        if self._prompt is not None:
            self._prompt.leave()

    def notice(self, notice: Notice) -> None:
        """Show a message that came unasked: above the line, or after what is watched if something is."""
        self._overflow += len(self._held) == _HELD_MAX
        self._held.append(notice)
        if self._watcher is None and self._prompt is not None:
            self._prompt.show()

    async def _converse(self, prompt: Prompt) -> None:
        while not self._connection.is_ended:
            text = await prompt.read()
            if text is None:
                return
            for line in filter(None, map(str.strip, text.splitlines())):
                try:
                    if not await self._carry_out(line):
                        return
                except LinkError:
                    return

    async def _carry_out(self, line: str) -> bool:
        """Carry out a line, here or at the switch; tell whether the session goes on."""
        try:
            watch = read_watch(line)
        except SettingsError as error:
            self._print([str(error)])
            return True
        if watch is not None:
            await self._run_watch(watch)
            return True
        answer = await self._connection.ask(line)
        if isinstance(answer, Farewell):
            return False
        self._print(answer.lines)
        if answer.is_failure or (answer.errno is not None and not answer.lines):
            self._print([answer.status])
        return True

    async def _run_watch(self, watch: Watch) -> None:
        self._watcher = Watcher(self._connection, watch)
        try:
            complaint = await self._watcher.run()
        finally:
            self._watcher = None
        if complaint is not None:
            self._print([complaint])
        self.show_held()

    def _print(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._write(line)
        sys.stdout.flush()

    def show_held(self) -> None:
        """Show the messages that have come; in the editor's thread while a line is being typed.

        Those that come meanwhile wait for the next call, so that keys have their turn.
        """
        count, left_out = len(self._held), self._overflow - self._told
        if left_out:
            self._told += left_out
            self._write(f"** {left_out} messages left out: they came faster than they can be shown")
        for _ in range(count):
            self._show_notice(self._held.popleft())

    def _lookup(self, command: str) -> Iterable[str]:
        """Ask the switch what there is, from the editor's thread."""
        try:
            return trio.from_thread.run(self._list, command)
        except (trio.Cancelled, trio.RunFinishedError):
            return ()

    async def _list(self, command: str) -> Iterable[str]:
        with trio.move_on_after(_COMPLETION_TIME):
            try:
                answer = await self._connection.ask(command)
            except LinkError:
                return ()
            if isinstance(answer, Answer):
                return answer.lines
        return ()

    async def _leave_on_signal(self) -> None:
        """Give the terminal back when the session is told to end."""
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGHUP) as signals:
            async for _ in signals:
                self.leave()
