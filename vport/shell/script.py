"""Scripts: files of commands, run by ``load``, at start (``--rcfile``) and again on SIGHUP.

``run_script`` carries out a file's lines in order and gives the reply to each; a command that fails does
not keep the next from being run. The reply to ``load`` shows it all, in VDE's form (specification: VDE
management, section 2.1). ``logout`` and ``shutdown`` are passed over: a script ends with its file.

A script may load others. None may load itself, directly or through others, and there are bounds to the
size of a script, to how deep scripts nest and to how much one ``load`` prints.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final

import trio

from vport.errors import CommandError
from vport.files import read_text
from vport.shell.arguments import FilePath, file_error, quoted
from vport.shell.command import Reply, Session, Step, command, execute

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vport.shell.server import Controlled

SIZE_MAX: Final = 1 << 20  # bytes of a script
DEPTH_MAX: Final = 8
OUTPUT_MAX: Final = 100_000  # lines that one `load` prints: they are kept until the client has taken them
_PASSED_OVER: Final = frozenset({"logout", "shutdown"})


async def run_script(control: Controlled, session: Session, path: str) -> list[Step]:
    """Carry out the commands in a file, and tell what each line was answered.

    Cancelled, it has carried out some of the lines.

    Raises:
        CommandError: the file cannot be read, it is being run already, or scripts nest too deep; nothing
            was done.
    """
    full = await trio.to_thread.run_sync(os.path.realpath, path)
    if full in session.scripts:
        raise CommandError(errno.ELOOP, f"{quoted(path)} loads itself")
    if len(session.scripts) >= DEPTH_MAX:
        raise CommandError(errno.ELOOP, f"more than {DEPTH_MAX} scripts load one another")
    try:
        text = await trio.to_thread.run_sync(read_text, full, SIZE_MAX)
    except OSError as error:
        raise file_error(path, error) from None
    session.scripts.append(full)
    try:
        return await _run_lines(control, session, path, text)
    finally:
        session.scripts.pop()


async def _run_lines(control: Controlled, session: Session, path: str, text: str) -> list[Step]:
    steps: list[Step] = []
    for number, line in enumerate(text.removesuffix("\n").split("\n"), 1):
        command_line = line.strip()
        reply = None
        if command_line and not command_line.startswith("#") and command_line.split()[0] not in _PASSED_OVER:
            reply = await _run_line(control, session, command_line)
        steps.append(Step(path, number, line.rstrip("\r"), reply))
        await trio.lowlevel.checkpoint()
    return steps


async def _run_line(control: Controlled, session: Session, line: str) -> Reply:
    """Carry out one line; when the scripts of this session have printed too much, say so instead."""
    if session.printed > OUTPUT_MAX:
        return Reply(None, errno.E2BIG, f"not run: the script printed more than {OUTPUT_MAX} lines")
    reply = await execute(control, session, line)
    control.publish_events()
    if reply.lines is None:
        return reply
    lines = list(reply.lines)
    session.printed += len(lines)
    return Reply(lines, reply.errno, reply.detail)


def failures(steps: Iterable[Step]) -> Iterator[str]:
    """Tell of each command that failed, in scripts that were loaded too: ``FILE:LINE: COMMAND: why``."""
    for step in steps:
        if step.reply is not None:
            if step.reply.errno:
                words = f"{os.strerror(step.reply.errno)}: {step.reply.detail}".removesuffix(": ")
                yield f"{step.script}:{step.number}: {step.line.strip()}: {words}"
            yield from failures(step.reply.steps)


@command("load", "load a configuration script", FilePath("path"))
async def load(control: Controlled, session: Session, path: str) -> Reply:
    """Run a script; a relative path starts at the working directory of whoever runs it.

    Whoever may give commands here may read what this process may: see the management socket's
    mode and group.
    """
    if not session.scripts:
        session.printed = 0
    return Reply(steps=await run_script(control, session, path))
