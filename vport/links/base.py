"""What a link and a listener are: the contract that every module of this folder fulfils.

The way of a train::

    link.run(sink) ── sink.deliver(train) … sink.deliver(train), sink.flush() ──→ whoever is behind
    link.transmit(train) … link.transmit(train), link.flush()                 ←── the same, outwards

* Nothing here awaits between two links: ``deliver``, ``transmit`` and ``flush`` are plain calls. A link
  that cannot take a train now discards and counts it, or holds it in a queue bounded in bytes.
* A train is borrowed until the ``flush`` that follows it. A link may therefore gather what it is given
  and send it with one system call on ``flush``, without copying; what it keeps longer it copies.
* ``deliver`` and ``transmit`` never raise for what the far end or the network does.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Protocol

import trio

if TYPE_CHECKING:
    from collections import Counter
    from types import TracebackType
    from typing import Self

    from vport.ethernet import MacAddress
    from vport.profile import PortProfile
    from vport.train import Train
    from vport.wireguard.config import PeerSection


class Sink(Protocol):
    """Where a link puts what it receives: a port of a switch, or the other end of a cable."""

    def deliver(self, train: Train) -> None:
        """Take a train, borrowed until the next ``flush``."""

    def flush(self) -> None:
        """Finish with all trains delivered so far: their bytes are about to be overwritten."""


class Attachment(Sink, Protocol):
    """A link's place in a port, as a listener holds it for each of its links."""

    @property
    def port_number(self) -> int:
        """The number of the port."""

    def detach(self, reason: str) -> None:
        """Give the place up: the far end has gone, ``reason`` says how. Idempotent."""


class Accept(Protocol):
    """What a listener calls for each newcomer."""

    def __call__(self, link: Link, *, port: int | None = None, user: str | None = None) -> Attachment:
        """Give ``link`` a place in the port it asks for, or in a free one.

        Raises:
            RefusedError: there is no such port, none is free, or ``user`` may not use it.
        """


class PortKeeper(Protocol):
    """Keeps ports for those who are known before they come."""

    def reserve(self, profile: PortProfile) -> PortProfile:
        """Make a port as ``profile`` has it, for links with the profile that is returned and no others.

        Returns:
            the profile with the number of the port.

        Raises:
            RefusedError: the port is another's, or none is free.
        """

    def release(self, profile: PortProfile) -> None:
        """Give the port back; nothing must be plugged in."""


class Link(ABC):
    """Carries trains to and from one far end.

    Made open (``vport.links.open_link``) and closed by its owner; ``run`` receives until it is
    cancelled or the far end is gone for good. Links whose far end may come back (UDP and TCP clients)
    reconnect inside ``run`` and discard meanwhile.

    Attributes:
        description: one line for people: what this is connected to.
        module: the kind of link in a word or two, as ``port/print`` shows it.
        station: the MAC address of the one station behind this link where the link knows it (a TAP's,
            a simulated host's), else None.
        profile: what its port is to be like, where the far end has proven who it is.
        discards: frames neither delivered nor sent, by reason (a word for the operator).
        outlet: what ``flush`` finishes, where several links share it (the peers of a UDP socket): flushing
            one of them then does for all. None where the link has it for itself.
    """

    description: str
    module: str
    station: MacAddress | None = None
    profile: PortProfile | None = None
    discards: Counter[str]
    outlet: object | None = None

    @abstractmethod
    def transmit(self, train: Train) -> None:
        """Send ``train`` now or on ``flush``; discard and count it when that cannot be."""

    def flush(self) -> None:  # noqa: B027 - most links send at once and have nothing to finish
        """Send what was gathered: the bytes of all trains so far are about to be overwritten."""

    @abstractmethod
    async def run(self, sink: Sink, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Receive trains into ``sink`` until the far end ends.

        Tells ``started`` when it is at work; a far end that is not there yet is not waited for.
        Returns when the far end ended in an orderly way. Cancellation leaves the link usable.

        Raises:
            LinkError: the link broke and cannot be brought back.
        """

    @abstractmethod
    def close(self) -> None:
        """Give back what the link holds. Idempotent; a ``run`` under way ends."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class Listener(ABC):
    """Makes a link for each far end that calls: a UDP socket with many peers, a control directory.

    Made open (``vport.links.open_listener``), so that an address in use is known at once, and closed
    by its owner.

    Attributes:
        description: one line for people: what this listens on.
    """

    description: str

    @property
    def named_peers(self) -> tuple[PeerSection, ...]:
        """Those who may call, as a configuration file is to name them; most listeners ask nobody."""
        return ()

    def keep_ports(self, keeper: PortKeeper) -> None:  # noqa: B027 - most listeners do not know who will come
        """Have ports kept for those who may come; called once, before ``serve``.

        Raises:
            RefusedError: two of them are to have the same port.
        """

    def release_ports(self) -> None:  # noqa: B027 - the same
        """Give the ports back; called when the listener is closed and none of its links is plugged in."""

    @abstractmethod
    async def serve(
        self, accept: Accept, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Accept links and deliver what they receive until cancelled.

        Each link's ``close`` may be called by the switch (``port/epclose``); the far end counts as a
        newcomer when it is heard of again.

        Raises:
            LinkError: the listener broke and cannot be brought back.
        """

    @abstractmethod
    def close(self) -> None:
        """Give back what the listener holds, its links included. Idempotent."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
