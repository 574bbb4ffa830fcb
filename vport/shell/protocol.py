"""The switch's side of the management protocol, without I/O: lines in, replies out.

The form is VDE's (specification: VDE management, sections 1.1 to 1.3), so that its clients work:

* On connect a banner, whose first line holds ``V.`` and the version, then the prompt ``\\nvde$ ``.
* The client sends a line, the switch answers with a reply and a prompt. Several lines at once are
  answered in order. vdeterm sends its lines without LF: a line left open is complete when nothing more
  has come for a moment, which ``next_deadline`` and ``handle_timer`` tell and decide.
* A reply is a status line ``1NNN text``, NNN being the errno in decimal; before it, for commands that
  print, the text between ``0000 DATA END WITH '.'`` and a line that is a lone dot.
* The end of a session is ``9999 END OF SESSION`` without LF.
* A message is a line ``3NNN path text``, NNN being its tag in octal, between replies.

Where an error's detail goes: behind a colon on the status line, as in ``1022 Invalid argument: N must be
a number from 1 to 4094, not '0'``. vdeterm shows everything behind the four digits; vdecmd and
libvdemgmt look only at the digits (which must start with ``10``, so an errno stays below 100) and read up
to LF; scripts that match the words find them first. The text is one line, its length bounded.

Text from elsewhere (a peer's description, a typed argument) may hold anything; what could move a
terminal's cursor or break the framing is escaped here, once, for all commands.
"""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING, Final

from vport.shell.command import Reply

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vport.shell.command import Step
    from vport.shell.message import Message

# --- constants of the protocol ---

PROMPT: Final = b"\nvde$ "
DATA_START: Final = b"0000 DATA END WITH '.'\n"
DATA_END: Final = b".\n"
END_OF_SESSION: Final = b"9999 END OF SESSION"
STATUS_BASE: Final = 1000

_STATUS_TEXTS: Final = {
    0: "Success",
    2: "No such file or directory",
    6: "No such device or address",
    9: "Bad file descriptor",
    11: "Resource temporarily unavailable",
    12: "Cannot allocate memory",
    13: "Permission denied",
    17: "File exists",
    19: "No such device",
    22: "Invalid argument",
    28: "No space left on device",
    38: "Function not implemented",
    98: "Address already in use",
}  # glibc's words in the C locale, which programs compare; other C libraries have others

# --- our own constants ---

MAX_LINE: Final = 4096  # bytes; vdeterm's buffer is 1024, a path 4096 at most
QUIET_TIME: Final = 0.05  # seconds; a person's next keystroke comes later, the rest of a write sooner
MAX_DETAIL: Final = 400  # characters of detail on a status line: vdecmd's line buffer is 1024 bytes

_CONTROL: Final = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if code != 0x09}
_CONTROL.update({0x2028: "\\u2028", 0x2029: "\\u2029"})


def printable(text: str) -> str:
    """Escape what is no text in a line: control characters, line ends, lone surrogates."""
    if text.isprintable():
        return text
    return text.translate(_CONTROL).encode("utf-8", "backslashreplace").decode()


def encode_lines(lines: Iterable[str]) -> bytes:
    """Encode lines of a reply's text. A line that is a lone dot would end the text: it gets a blank."""
    return b"".join(b". \n" if line == "." else printable(line).encode() + b"\n" for line in lines)


def encode_status(number: int, detail: str = "") -> bytes:
    """Encode the line that ends a reply."""
    words = _STATUS_TEXTS.get(number) or os.strerror(number)
    if detail:
        words = f"{words}: {printable(detail)[:MAX_DETAIL]}"
    return f"{STATUS_BASE + number} {words}\n".encode()


def encode_reply(reply: Reply, prompt: bytes = PROMPT) -> bytes:
    """Encode a reply with the prompt that follows it."""
    if reply.ends_session:
        return END_OF_SESSION
    return _encode_body(reply, prompt) + prompt


def _encode_body(reply: Reply, prompt: bytes) -> bytes:
    """Encode a reply without the prompt behind it, as it stands in a script's."""
    status = encode_status(reply.errno, reply.detail)
    if reply.lines is not None:
        return b"".join((DATA_START, encode_lines(reply.lines), DATA_END, status))
    return b"".join((*(_encode_step(step, prompt) for step in reply.steps), status))


def _encode_step(step: Step, prompt: bytes) -> bytes:
    """Encode a script's line behind the prompt's name and the script's, and what it was answered."""
    name = prompt.strip().removesuffix(b"$")
    echo = name + f"[{printable(step.script)}]: {printable(step.line)}\n".encode()
    return echo if step.reply is None else echo + _encode_body(step.reply, prompt)


def encode_message(message: Message) -> bytes:
    """Encode an asynchronous message, to be sent between replies."""
    head = f"{message.category.tag:03o} {message.category.path}" if message.code is None else message.code
    return f"3{head} {printable(message.text)}".rstrip().encode() + b"\n"


class ServerProtocol:
    """One session: cuts what arrives into commands and puts the answers into form.

    The caller feeds ``receive`` (and ``receive_eof``, ``handle_timer``), takes commands from
    ``next_command`` until there is none, gives each one's reply to ``reply`` before the next, and sends
    what ``data_to_send`` gives. Blank lines, comments and lines that are too long are answered here.

    Attributes:
        ended: a reply ended the session; send what is left and close.
    """

    def __init__(self, banner: Iterable[str], prompt: bytes = PROMPT) -> None:
        self.ended = False
        self._prompt = prompt
        self._partial = bytearray()
        self._partial_at = 0.0
        self._skipping = False
        self._lines: deque[bytes | None] = deque()  # None: a line that was too long
        self._output = bytearray(encode_lines(banner) + prompt)

    def receive(self, data: bytes, now: float) -> None:
        """Take bytes from the client. At most one line's worth is kept beyond the complete lines."""
        *complete, rest = data.split(b"\n")
        for piece in complete:
            self._append(piece)
            self._finish_line()
        self._append(rest)
        self._partial_at = now

    def receive_eof(self) -> None:
        """Note that the client will send no more: a line left open is complete."""
        self._finish_line()

    def next_deadline(self) -> float | None:
        """Give the time at which a line left open counts as complete, None when there is none."""
        return self._partial_at + QUIET_TIME if self._partial.strip() else None

    def handle_timer(self, now: float) -> None:
        """Complete the open line if its time has come."""
        deadline = self.next_deadline()
        if deadline is not None and now >= deadline:
            self._finish_line()

    def next_command(self) -> str | None:
        """Give the next command, None when more must arrive first."""
        while self._lines and not self.ended:
            line = self._lines.popleft()
            if line is None:
                self.reply(Reply(None, 22, f"the line is longer than {MAX_LINE} bytes"))
            elif not line or line.startswith(b"#"):
                self._output += self._prompt
            else:
                return line.decode("utf-8", "backslashreplace")
        return None

    def reply(self, reply: Reply) -> None:
        """Answer the command that ``next_command`` gave last."""
        self._output += encode_reply(reply, self._prompt)
        self.ended = self.ended or reply.ends_session

    def data_to_send(self) -> bytes:
        """Take what is to be sent; always whole lines, so that messages may go between two calls."""
        data = bytes(self._output)
        self._output.clear()
        return data

    def _append(self, piece: bytes) -> None:
        if self._skipping:
            return
        self._partial += piece
        if len(self._partial) > MAX_LINE:
            self._partial.clear()
            self._skipping = True
            self._lines.append(None)

    def _finish_line(self) -> None:
        if self._skipping:  # the error was given when the line grew too long
            self._skipping = False
            return
        self._lines.append(bytes(self._partial.strip()))
        self._partial.clear()
