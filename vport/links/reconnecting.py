"""Links that call a far end which may go away and come back: sessions, one after the other.

What differs between them is how a session is opened and what it carries; that it is opened again, how long
is waited before, what is logged and what happens to frames meanwhile is the same and stands here.
"""

from __future__ import annotations

import logging
import os
from abc import ABC, abstractmethod
from collections import Counter
from typing import TYPE_CHECKING, Final

import trio

from vport.backoff import Backoff
from vport.errors import LinkError
from vport.links.base import Link, Sink

if TYPE_CHECKING:
    from vport.train import Train

logger = logging.getLogger(__name__)

SETTLED: Final = 2.0  # seconds after which a session counts as one that works


class Session(ABC):
    """One connection to the far end, from when it is open until it ends."""

    @abstractmethod
    def transmit(self, train: Train) -> None:
        """Send ``train`` now or on ``flush``, as ``Link.transmit``."""

    @abstractmethod
    def flush(self) -> None:
        """Send what was gathered, as ``Link.flush``."""

    @abstractmethod
    async def carry(self, sink: Sink) -> str:
        """Deliver what is received until the far end has gone; say in a few words how."""

    @abstractmethod
    def close(self) -> None:
        """Give back what the session holds. Idempotent; ``carry`` ends."""


class ReconnectingLink(Link):
    """A link that goes on trying, for ever: errors never end ``run``.

    Args:
        description: what it calls.
    """

    def __init__(self, description: str) -> None:
        self.description = description
        self.discards: Counter[str] = Counter()
        self._session: Session | None = None
        self._run_scope: trio.CancelScope | None = None
        self._is_closed = False
        self._troubles: set[str] = set()  # what was logged since all was well

    @abstractmethod
    async def open_session(self) -> Session:
        """Connect.

        Raises:
            LinkError, OSError: it does not work now; cancelled or failed, nothing is left open.
        """

    @property
    def is_connected(self) -> bool:
        """Whether frames reach the far end."""
        return self._session is not None

    def transmit(self, train: Train) -> None:
        """Hand ``train`` to the session; discard it while there is none."""
        session = self._session
        if session is None:
            self.discards["unreachable"] += train.count
        else:
            session.transmit(train)

    def flush(self) -> None:
        """Send what was gathered."""
        if self._session is not None:
            self._session.flush()

    async def run(self, sink: Sink, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Carry frames until cancelled or closed; ``started`` at once."""
        backoff = Backoff()
        task_status.started()
        with trio.CancelScope() as self._run_scope:
            while not self._is_closed:
                opened_at = trio.current_time()
                session = await self._try()
                if session is not None:
                    await self._carry(session, sink)
                    if trio.current_time() - opened_at >= SETTLED:
                        backoff.reset()
                await trio.sleep(backoff.next_delay())

    def close(self) -> None:
        """End the session and ``run``."""
        self._is_closed = True
        if self._session is not None:
            self._session.close()
        if self._run_scope is not None:
            self._run_scope.cancel()

    async def _try(self) -> Session | None:
        try:
            session = await self.open_session()
        except (LinkError, OSError) as error:
            self._lost(reason_of(error))
            return None
        logger.info("%s: connected", self.description)
        return session

    async def _carry(self, session: Session, sink: Sink) -> None:
        self._session = session
        self._troubles.clear()
        try:
            reason = await session.carry(sink)
        except (LinkError, OSError) as error:
            reason = reason_of(error)
        finally:
            self._session = None
            session.close()
        if not self._is_closed:
            self._lost(reason)

    def _lost(self, reason: str) -> None:
        level = logging.DEBUG if reason in self._troubles else logging.WARNING
        logger.log(level, "%s: %s; trying again until it works", self.description, reason)
        self._troubles.add(reason)


def reason_of(error: Exception) -> str:
    """Say in a few words what went wrong."""
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    return str(error)
