"""The operator's side of the management protocol, without I/O: bytes in, replies and messages out.

Works with our switch and with VDE's, which take one command per write and answer it before the next:

    protocol = ClientProtocol()
    protocol.receive(data)                       # once for each read
    for event in protocol.events(): ...          # Greeting | Answer | Notice | Farewell

A reply is complete when its prompt has come. Nothing here trusts the far end to be a switch: whatever the
bytes, they become events, and what is kept is bounded.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vport.errors import RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_LINE: Final = 1 << 20  # bytes of one line from the switch
MAX_REPLY: Final = 64 << 20  # bytes of one reply: a million addresses

_PROMPT: Final = re.compile(rb"[A-Za-z0-9_-]{1,32}\$ ")
_STATUS: Final = re.compile(r"1(\d{3}) (.*)", re.DOTALL)
_NOTICE: Final = re.compile(r"3([0-9]{3}) (\S+) ?(.*)", re.DOTALL)
_DATA_START: Final = "0000 DATA END WITH '.'"
_DATA_END: Final = "."
_FAREWELL: Final = b"9999 END OF SESSION"


@dataclass(frozen=True, slots=True)
class Greeting:
    """What the switch said before its first prompt."""

    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """The reply to one line.

    Attributes:
        lines: the text.
        errno: 0 for success; None for lines that get only a prompt: blank ones and comments.
        status: the words of the status line.
    """

    lines: tuple[str, ...]
    errno: int | None
    status: str

    @property
    def is_failure(self) -> bool:
        """Whether the switch refused or could not do what it was told."""
        return bool(self.errno)


@dataclass(frozen=True, slots=True)
class Notice:
    """A message that came unasked. The tag is octal in a switch's, with which a cable's do not comply: -1."""

    tag: int
    path: str
    text: str


@dataclass(frozen=True, slots=True)
class Farewell:
    """The switch ended the session, as it was told to."""


ClientEvent = Greeting | Answer | Notice | Farewell


class ClientProtocol:
    """Cuts what a switch sends into events."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._events: deque[ClientEvent] = deque()
        self._greeted = False
        self._in_data = False
        self._lines: list[str] = []
        self._statuses: list[tuple[int, int, str]] = []  # position among the lines, errno, words
        self._reply_size = 0

    def receive(self, data: bytes) -> None:
        """Take bytes from the switch.

        Raises:
            RemoteProtocolError: a line or a reply is longer than any switch's.
        """
        self._buffer += data
        start = 0
        while (end := self._next_end(start)) is not None:
            self._take(bytes(self._buffer[start:end]))
            start = end
        del self._buffer[:start]
        if len(self._buffer) > MAX_LINE:
            raise RemoteProtocolError(f"the switch sent a line of more than {MAX_LINE} bytes")

    def events(self) -> Iterator[ClientEvent]:
        """Take the events that are complete."""
        while self._events:
            yield self._events.popleft()

    def last_words(self) -> list[str]:
        """Give what came since the last prompt: why the switch closed the connection, if it said so."""
        return [*self._lines, *(text for _, _, text in self._statuses)]

    def _next_end(self, start: int) -> int | None:
        """Find where the unit at ``start`` ends: a prompt, a farewell, or a line with its LF."""
        if not self._in_data:
            prompt = _PROMPT.match(self._buffer, start)
            if prompt is not None:
                return prompt.end()
            if self._buffer.startswith(_FAREWELL, start):
                return start + len(_FAREWELL)
        end = self._buffer.find(b"\n", start)
        return None if end < 0 else end + 1

    def _take(self, unit: bytes) -> None:
        if unit.endswith(b"\n"):
            self._take_line(unit[:-1].decode("utf-8", "backslashreplace"))
        elif unit == _FAREWELL:
            self._events.append(Farewell())
        else:
            self._finish_reply()

    def _take_line(self, line: str) -> None:
        if self._in_data and line == _DATA_END:
            self._in_data = False
        elif self._in_data:
            self._keep(line)
        elif line == _DATA_START:
            self._in_data = True
        elif (notice := _NOTICE.fullmatch(line)) is not None:
            self._events.append(Notice(_read_tag(notice[1]), notice[2], notice[3]))
        elif (status := _STATUS.fullmatch(line)) is not None:
            self._statuses.append((len(self._lines), int(status[1]), status[2]))
        else:
            self._keep(line)

    def _keep(self, line: str) -> None:
        self._reply_size += len(line) + 1
        if self._reply_size > MAX_REPLY:
            raise RemoteProtocolError(f"the switch sent a reply of more than {MAX_REPLY} bytes")
        self._lines.append(line)

    def _finish_reply(self) -> None:
        """Make an event of what came before a prompt, the blank line in front of which is not text.

        A script's reply (``load``) holds the status of each of its lines; the last is the reply's own.
        """
        lines, statuses = self._lines, self._statuses
        self._lines, self._statuses, self._reply_size = [], [], 0
        if lines and lines[-1] == "":
            del lines[-1]
        if not self._greeted:
            self._greeted = True
            self._events.append(Greeting(tuple(lines)))
            return
        _, errno, words = statuses.pop() if statuses else (0, None, "")
        for position, _, text in reversed(statuses):
            lines.insert(position, text)
        self._events.append(Answer(tuple(lines), errno, words))


def _read_tag(digits: str) -> int:
    """Read the tag of a message; wirefilter's are no octal numbers."""
    return int(digits, 8) if digits.strip("01234567") == "" else -1
