"""A port's side of raw UDP: a connected socket to one switch, kept alive and found again when lost."""

from __future__ import annotations

import errno
import logging
import os
import random
import socket
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

import trio

from vport.announcing import STALE_NAME, Announcer
from vport.backoff import Backoff
from vport.errors import LinkError
from vport.ethernet import HEADER_SIZE, loopback_test_frame, random_mac
from vport.greeting import GREETING_SIZE, greeting, without_answers
from vport.links.base import Link, Sink
from vport.links.datagrams import (
    Resolver,
    SocketAddress,
    bind_local,
    format_address,
    is_literal,
    open_socket,
    raise_buffers,
    resolve,
)
from vport.links.inbox import without_short
from vport.links.postbox import open_postbox
from vport.links.readiness import notify_closing, serve_readable
from vport.slices import tell_apart
from vport.train import lone

if TYPE_CHECKING:
    from vport.ethernet import Buffer, MacAddress
    from vport.links.inbox import Arrival
    from vport.links.outbox import Destination
    from vport.locator import UdpLocator
    from vport.train import Train


logger = logging.getLogger(__name__)

ROUTE_CHECK_INTERVAL: Final = 2.0  # seconds between looks at whether our own address still holds
UPKEEP_INTERVAL: Final = 0.5  # seconds at most between looks at what is due
SETTLED: Final = 2.0  # seconds without an error after which a connection counts as working


class Session:
    """One connected socket of a client, from ``connect`` until it fails."""

    def __init__(self, client: UdpClient, sock: socket.socket, keepalive: float) -> None:
        self.sock = sock
        self.peer: SocketAddress = sock.getpeername()
        self.local: SocketAddress = sock.getsockname()
        self.inbox, self.outbox = open_postbox(
            sock, self._send_failed, segmentation=client.segmentation, batches=client.batches
        )
        self.destination = self.outbox.destination(None, client.discards, b"")
        self.acquaintance = self.destination.acquaintance
        self.opened_at = time.monotonic()
        self.announcer = Announcer(keepalive, self.opened_at)
        # Two ends that call each other start at different times: until the other is there, "refused" is
        # no reason to hang up, or each would call while the other does not listen.
        self._waits = client.is_bound
        self.scope = trio.CancelScope()
        self.failure: str | None = None  # why it ended
        self.settled = False  # it has been seen to work
        self.is_urgent = False  # the next one is to be opened without a pause

    def move(self, reason: str | None) -> None:
        """End the session for what may be a better one, at once; None is not worth a line."""
        self.is_urgent = True
        self.fail(reason)

    def fail(self, reason: str | None) -> None:
        """End the session; the first reason counts."""
        if not self.scope.cancel_called:
            self.failure = reason
            self.scope.cancel()

    def works(self, now: float) -> bool:
        """Whether the connection works, as far as UDP lets one know."""
        return self.announcer.has_heard or now - self.opened_at >= SETTLED

    def send(self, frame: bytes) -> None:
        """Send one frame at once."""
        self.outbox.add(self.destination, lone(frame))
        self.outbox.flush()

    def is_route_current(self) -> bool:
        """Whether the kernel would still send from the address that this socket has."""
        with socket.socket(self.sock.family, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect(self.peer)
            except OSError:
                return False
            return bool(probe.getsockname()[0] == self.local[0])

    def _send_failed(self, destination: Destination, error: OSError) -> None:
        if error.errno != errno.ECONNREFUSED or not self._waits:
            self.fail(reason_of(error))

    def receive_failed(self, error: OSError) -> None:
        """End the session because of an error, unless the next datagram may fare better."""
        if error.errno == errno.EMSGSIZE:
            return  # a router tells its MTU; sending takes it from there
        if error.errno != errno.ECONNREFUSED or not self._waits:
            self.fail(reason_of(error))


def reason_of(error: OSError) -> str:
    """Say in a few words what went wrong."""
    return os.strerror(error.errno).lower() if error.errno else str(error)


class UdpClient(Link):
    """Connected to a switch over UDP; finds it again when it, its name or the network moves.

    Made by ``open_udp_client``. Errors never end ``run``: it tries again, for ever.

    Args:
        locator: where to connect.
        resolver: looks host names up.
        segmentation: whether to let the kernel cut trains.
        batches: whether to use the batch system calls.

    Attributes:
        station: whom to announce, unless the locator says.
    """

    module = "udp"

    def __init__(
        self,
        locator: UdpLocator,
        *,
        resolver: Resolver = resolve,
        segmentation: bool = True,
        batches: bool = True,
    ) -> None:
        self.description = str(locator)
        self.discards: Counter[str] = Counter()
        self.segmentation = segmentation
        self.batches = batches
        self._locator = locator
        self._resolver = resolver
        self._fallback_station = random_mac(random.SystemRandom())
        self._session: Session | None = None
        self._run_scope: trio.CancelScope | None = None
        self._closed = False
        self._candidates: list[tuple[int, SocketAddress]] = []  # addresses to try before the next lookup
        self._known: list[tuple[int, SocketAddress]] = []  # what the latest lookup gave
        self._patience = STALE_NAME
        self._troubles: set[str] = set()  # what was logged since all was well
        self._was_found = False
        self._complained = False

    @property
    def announced_station(self) -> MacAddress:
        """The MAC address that announcements carry."""
        return self._locator.mac or self.station or self._fallback_station

    @property
    def is_bound(self) -> bool:
        """Whether it always calls from the same address, so that the other end can call it too."""
        return self._locator.local is not None

    def transmit(self, train: Train) -> None:
        """Gather ``train`` until ``flush``; discard it while there is no connection."""
        session = self._session
        if session is None:
            self.discards["unreachable"] += train.count
        else:
            session.outbox.add(session.destination, train)

    def flush(self) -> None:
        """Send what was gathered."""
        session = self._session
        if session is not None and session.outbox.flush():
            session.announcer.sent_at = time.monotonic()

    async def run(self, sink: Sink, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Carry frames until cancelled or closed; ``started`` when the first attempt was made."""
        backoff = Backoff()
        with trio.CancelScope() as self._run_scope:
            while not self._closed:
                session = self._session = await self._connect()
                task_status.started()
                task_status = trio.TASK_STATUS_IGNORED
                if session is not None:
                    await self._carry(session, sink, backoff)
                if session is None or not (session.is_urgent or self._candidates):
                    await trio.sleep(backoff.next_delay())

    def close(self) -> None:
        """Close the socket and end ``run``."""
        self._closed = True
        if self._run_scope is not None:
            self._run_scope.cancel()

    # --- connecting ---

    async def _connect(self) -> Session | None:
        """Connect to the next candidate, looking the name up when there is none left."""
        if not self._candidates:
            self._candidates = await self._look_up()
        while self._candidates:
            family, address = self._candidates.pop(0)
            try:
                return self._open_session(family, address)
            except OSError as error:
                self._lost(f"{format_address(address)}: {reason_of(error)}")
        return None

    async def _look_up(self) -> list[tuple[int, SocketAddress]]:
        """Look the name up; when that fails, the addresses that it had before may still do."""
        try:
            self._known = await self._resolver(self._locator.host, self._locator.port)
        except OSError as error:
            if not self._known:
                self._lost(f"cannot find the address of {self._locator.host}: {error.strerror or error}")
        return list(self._known)

    def _open_session(self, family: int, address: SocketAddress) -> Session:
        sock = open_socket(family, offload=self._locator.offload)
        try:
            complaint = raise_buffers(sock)
            if complaint and not self._complained:
                self._complained = True
                logger.warning("%s: %s", self.description, complaint)
            if self._locator.local is not None:
                bind_local(sock, *self._locator.local)
            sock.connect(address)
            session = Session(self, sock, self._locator.keepalive)
            self._announce(session)
        except OSError:
            sock.close()
            raise
        return session

    def _lost(self, reason: str) -> None:
        level = logging.DEBUG if reason in self._troubles else logging.WARNING
        logger.log(level, "%s: %s; trying again until it works", self.description, reason)
        self._troubles.add(reason)

    # --- carrying ---

    async def _carry(self, session: Session, sink: Sink, backoff: Backoff) -> None:
        """Carry frames over one session until it fails."""
        try:
            with session.scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(
                        serve_readable, session.sock.fileno(), lambda: self._receive(session, sink)
                    )
                    nursery.start_soon(self._upkeep, session, backoff)
                    if not is_literal(self._locator.host):
                        nursery.start_soon(self._watch_name, session)
        finally:
            self._session = None
            notify_closing(session.sock.fileno())
            session.sock.close()
        if session.settled and not session.is_urgent:
            self._candidates = []  # look the name up again and begin with the best address
        if session.failure is not None:
            self._lost(f"{format_address(session.peer)}: {session.failure}")

    def _receive(self, session: Session, sink: Sink) -> bool:
        """Deliver a bounded batch of what has come; return whether more may be waiting."""
        try:
            arrivals, more = session.inbox.receive()
        except OSError as error:
            session.receive_failed(error)
            return False
        if arrivals:
            self._deliver(session, arrivals, sink)
        return more

    def _deliver(self, session: Session, arrivals: list[Arrival], sink: Sink) -> None:
        heard = False  # anything but answers to what we said ourselves
        for _, data, frame_size in arrivals:
            last = len(data) % (frame_size or 1)  # bytes, 0 if it is as long as the others
            if frame_size < HEADER_SIZE or 0 < last < HEADER_SIZE:
                data = without_short(data, frame_size, self.discards)
            if GREETING_SIZE in (frame_size, last):
                data = self._take_greetings(session, data, frame_size)
            if data:
                heard = True
                for train in tell_apart(data, frame_size):
                    sink.deliver(train)
        sink.flush()
        if heard:
            session.announcer.heard_at = time.monotonic()

    def _take_greetings(self, session: Session, data: Buffer, frame_size: int) -> Buffer:
        """Take note of greetings and answer them; take answers out, which are for us only."""
        if self._locator.offload:
            reply = session.acquaintance.hear(data, frame_size, time.monotonic())
            if reply is not None:
                session.send(reply)
        return without_answers(data, frame_size)

    async def _upkeep(self, session: Session, backoff: Backoff) -> None:
        """Announce when due, and see whether the connection works and our address still holds."""
        checked_at = session.opened_at
        while True:
            now = time.monotonic()
            if session.announcer.is_due(now) or self._is_greeting_due(session, now):
                self._announce(session)
            session.acquaintance.expire(now)
            if not session.settled and session.works(now):
                session.settled = True
                backoff.reset()
                self._found(session)
            if now - checked_at >= ROUTE_CHECK_INTERVAL:
                checked_at = now
                if not self.is_bound and not session.is_route_current():
                    self._candidates = []
                    session.move("the network of this machine has changed")
            wait = session.announcer.next_deadline() - time.monotonic()
            await trio.sleep(min(max(wait, 0.0), UPKEEP_INTERVAL))

    def _announce(self, session: Session) -> None:
        station = self.announced_station
        session.send(greeting(station) if self._locator.offload else loopback_test_frame(station))
        session.acquaintance.offered_at = now = time.monotonic()
        session.announcer.announced(now)

    def _is_greeting_due(self, session: Session, now: float) -> bool:
        """Whether a connection in use needs another greeting."""
        is_used = session.announcer.sent_at > session.acquaintance.offered_at
        return self._locator.offload and is_used and session.acquaintance.is_offer_due(now)

    def _found(self, session: Session) -> None:
        level = logging.INFO if self._troubles or not self._was_found else logging.DEBUG
        logger.log(
            level,
            "%s: connected to %s from %s",
            self.description,
            format_address(session.peer),
            format_address(session.local),
        )
        self._troubles.clear()
        self._was_found = True

    async def _watch_name(self, session: Session) -> None:
        """Look the name up again when nothing is heard: the server may have another address."""
        while True:
            await trio.sleep(self._locator.keepalive)
            if session.announcer.has_heard:
                self._patience = STALE_NAME
            if session.announcer.silence(time.monotonic()) >= self._patience:
                self._reconsider(session, await self._look_up())

    def _reconsider(self, session: Session, found: list[tuple[int, SocketAddress]]) -> None:
        """Move on when the name has lost the address of a silent server, or has others to try.

        A LAN may well be silent, so an address is given twice the time whenever all had their turn.
        """
        addresses = [address for _, address in found]
        if session.peer not in addresses:
            self._candidates = found
            session.move(f"{self._locator.host} has another address now")
        elif len(found) > 1 and not session.announcer.has_heard:
            place = addresses.index(session.peer) + 1
            self._candidates = found[place:] + found[:place]
            self._patience *= 2
            session.move(None)


async def open_udp_client(locator: UdpLocator) -> UdpClient:
    """Make a client for ``locator``; it connects in ``run``, and goes on trying there.

    Raises:
        LinkError: the locator names no host.
    """
    if not locator.host:
        raise LinkError(f"{locator}: names no host to call; write udp://HOST:{locator.port}")
    return UdpClient(locator, segmentation=locator.offload, batches=locator.offload)
