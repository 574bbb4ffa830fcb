"""A session with a switch over its management socket, on the operator's side."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

import trio

from vport.errors import LinkError, RemoteProtocolError
from vswitch.management.client import Answer, ClientProtocol, Farewell, Greeting, Notice

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from vswitch.management.client import ClientEvent

_RECEIVE_SIZE: Final = 65536
_HINTS: Final = {
    errno.ENOENT: "there is no such socket; is the switch running, and with this management path?",
    errno.ECONNREFUSED: "the switch that made this socket no longer runs",
    errno.EACCES: "permission denied; use sudo, or join the group that the switch gave its socket to",
    errno.ENOTSOCK: "this is no socket",
}


class SwitchConnection:
    """An open management session.

    ``receive`` runs beside everything else and takes in what the switch says; ``ask`` gives it one line
    and waits for the answer. VDE's switch takes one command per write, so one is on its way at a time.

    Attributes:
        is_ended: the switch has closed the session; ``farewell`` tells whether it was asked to.
    """

    def __init__(self, stream: trio.SocketStream, path: str) -> None:
        self.path = path
        self.is_ended = False
        self.farewell = False
        self._stream = stream
        self._protocol = ClientProtocol()
        self._lock = trio.Lock()
        self._abandoned = 0  # answers that nobody waits for any more
        self._asking = False
        self._to_asker, self._answers = trio.open_memory_channel[Answer](1)
        self._to_greeted, self._greetings = trio.open_memory_channel[Greeting](1)

    @classmethod
    async def open(cls, path: str) -> Self:
        """Connect to the switch that listens at ``path``.

        Raises:
            LinkError: nobody listens there, or we may not talk to it.
        """
        try:
            return cls(await trio.open_unix_socket(path), path)
        except OSError as error:
            reason = _HINTS.get(error.errno or 0, error.strerror or str(error))
            raise LinkError(f"cannot talk to a switch at {path}: {reason}") from error
        except ValueError as error:  # a path that no socket can have
            raise LinkError(f"cannot talk to a switch at {path}: {error}") from error

    async def receive(self, show: Callable[[Notice], None]) -> None:
        """Take in what the switch says until it closes the session; ``show`` gets its messages.

        Whoever waits in ``ask`` then gets an error.
        """
        with self._to_asker, self._to_greeted:
            try:
                while data := await self._stream.receive_some(_RECEIVE_SIZE):
                    self._protocol.receive(data)
                    for event in self._protocol.events():
                        self._take(event, show)
            except (trio.BrokenResourceError, RemoteProtocolError):
                pass  # the same as gone; what was said before is told by `ask`
            self.is_ended = True

    async def greeting(self) -> Greeting:
        """Wait for the switch's first words.

        Raises:
            LinkError: it closed the session instead.
        """
        try:
            return await self._greetings.receive()
        except trio.EndOfChannel:
            raise self._gone() from None

    async def ask(self, line: str) -> Answer | Farewell:
        """Give the switch one line and wait for its answer.

        Cancellation leaves the command carried out or not; the session stays usable.

        Raises:
            LinkError: the switch has gone away.
        """
        async with self._lock:
            is_sent = False
            self._asking = True  # from here on: the answer may come before `send_all` returns
            try:
                await self._stream.send_all(line.encode("utf-8", "surrogateescape") + b"\n")
                is_sent = True
                return await self._answers.receive()
            except trio.Cancelled:
                if is_sent:
                    self._abandon()
                raise
            except (trio.BrokenResourceError, trio.EndOfChannel):
                if self.farewell:
                    return Farewell()
                raise self._gone() from None
            finally:
                self._asking = False

    def _abandon(self) -> None:
        """Keep the next question from getting the answer to the one that was given up."""
        if self._asking:
            self._abandoned += 1
        else:
            self._answers.receive_nowait()

    def check(self) -> None:
        """Complain if the switch has closed the session unasked.

        Raises:
            LinkError: it has.
        """
        if self.is_ended and not self.farewell:
            raise self._gone()

    def _take(self, event: ClientEvent, show: Callable[[Notice], None]) -> None:
        match event:
            case Notice():
                show(event)
            case Farewell():
                self.farewell = True
            case Greeting():
                self._to_greeted.send_nowait(event)
            case Answer() if self._abandoned:
                self._abandoned -= 1
            case Answer() if self._asking:
                self._asking = False  # one answer to one question, whatever a strange switch sends
                self._to_asker.send_nowait(event)
            case Answer():
                pass

    def _gone(self) -> LinkError:
        words = "; it said: " + " / ".join(words) if (words := self._protocol.last_words()) else ""
        return LinkError(f"the switch at {self.path} has gone away{words}")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await trio.aclose_forcefully(self._stream)
