"""The switch's side of raw UDP: one socket, and a link for each address that sends to it."""

from __future__ import annotations

import contextlib
import logging
import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import trio

from vport.errors import RefusedError
from vport.ethernet import HEADER_SIZE
from vport.fairness import Crowding
from vport.greeting import GREETING_SIZE
from vport.links.base import Accept, Attachment, Link, Listener, Sink
from vport.links.binding import bind_udp
from vport.links.datagrams import (
    Resolver,
    SocketAddress,
    ask_for_local_address,
    format_address,
    raise_buffers,
    resolve,
)
from vport.links.inbox import FULL_TURN, without_short
from vport.links.postbox import open_postbox
from vport.links.readiness import notify_closing, serve_readable
from vport.links.udp_intake import APART_LIMIT, CALM, HARMLESS, Intake, open_beside
from vport.slices import tell_apart
from vport.train import lone

if TYPE_CHECKING:
    import socket
    from collections.abc import Hashable

    from vport.ethernet import Buffer
    from vport.links.inbox import Arrival
    from vport.links.outbox import Destination
    from vport.locator import UdpLocator
    from vport.train import Train


logger = logging.getLogger(__name__)

REFUSAL_LOG_INTERVAL: Final = 10.0  # seconds between lines about newcomers that were refused
BROKEN_SOCKET_PAUSE: Final = 0.1  # seconds; the kernel may be out of memory: do not spin


class UdpPeer(Link):
    """One far end of a listener: whoever sends from that address and UDP port.

    Attributes:
        heard_at: monotonic seconds when the latest datagram came.
        intake: the socket of its own that it has while it floods, else None.
    """

    module = "udp"

    def __init__(self, listener: UdpListener, origin: Hashable, address: SocketAddress, local: bytes) -> None:
        self.description = f"udp peer {format_address(address)}"
        self.discards: Counter[str] = Counter()
        self.address = address
        self.origin = origin
        self.heard_at = 0.0
        self.intake: Intake | None = None
        self.attachment: Attachment
        self.destination = listener.outbox.destination(address, self.discards, local)
        self._listener = listener
        self.outlet = self._outbox = listener.outbox

    def transmit(self, train: Train) -> None:
        """Gather ``train`` with what the other peers of the listener are sent."""
        self._outbox.add(self.destination, train)

    def flush(self) -> None:
        """Send what was gathered for all peers of the listener."""
        self._outbox.flush()

    async def run(self, sink: Sink, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Not for a peer: ``UdpListener.serve`` delivers what it sends."""
        raise NotImplementedError("the listener delivers what its peers send")

    def close(self) -> None:
        """Forget the peer; it counts as a newcomer when it is heard of again."""
        self._listener.forget(self)


class UdpListener(Listener):
    """A UDP socket that makes a link of each address that sends frames to it.

    Made by ``open_udp_listener``. What a peer sends that is no frame is counted in the peer's
    ``discards``; from strangers it is counted here, and makes no peer.

    Args:
        sock: a bound UDP socket, now the listener's.
        locator: how it was asked for.
        segmentation: whether to let the kernel cut trains.
        batches: whether to use the batch system calls.
        calm: seconds without a backlog after which a peer set apart shares the socket again.

    Attributes:
        address: what the socket is bound to, as the socket module gives it.
        refused: newcomers' datagrams that the switch refused to make a peer of.
        discards: datagrams from strangers that were no frames, by reason.
    """

    def __init__(
        self,
        sock: socket.socket,
        locator: UdpLocator,
        *,
        segmentation: bool = True,
        batches: bool = True,
        calm: float = CALM,
    ) -> None:
        self.address: SocketAddress = sock.getsockname()
        self.description = str(replace(locator, port=self.address[1]))
        self.refused = 0
        self.discards: Counter[str] = Counter()
        inbox, self.outbox = open_postbox(sock, self._send_failed, segmentation=segmentation, batches=batches)
        self._sock = sock
        self._shared = Intake(sock, inbox)
        self._apart: list[Intake] = []
        self._crowding: Crowding[UdpPeer] = Crowding()
        self._backlogs: dict[Hashable, UdpPeer] = {}  # peers just set apart, by origin; see _without_backlogs
        self._offload = locator.offload
        self._calm = calm
        self._idle = locator.idle
        self._peers: dict[Hashable, UdpPeer] = {}
        self._peers_by_address: dict[SocketAddress, UdpPeer] = {}
        self._refused_logged_at = -REFUSAL_LOG_INTERVAL
        self._refused_unlogged = 0

    @property
    def peers(self) -> list[UdpPeer]:
        """The peers there are, oldest first."""
        return list(self._peers_by_address.values())

    async def serve(
        self, accept: Accept, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Accept peers and deliver what they send, until cancelled or closed."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._upkeep, accept)
            task_status.started()
            await self._receive(self._shared, accept, nursery)
            nursery.cancel_scope.cancel()

    def close(self) -> None:
        """Close the sockets and forget all peers."""
        if self._sock.fileno() >= 0:
            for intake in [*self._apart, self._shared]:
                _close(intake.sock)
            self._apart.clear()
            self._backlogs.clear()
            self._peers.clear()
            self._peers_by_address.clear()

    def forget(self, peer: UdpPeer) -> None:
        """Drop all that is known of a peer. Idempotent."""
        if self._peers_by_address.get(peer.address) is peer:
            del self._peers_by_address[peer.address]
            del self._peers[peer.origin]
            self.outbox.release(peer.destination)
            self._bring_back(peer)

    # --- receiving ---

    async def _receive(self, intake: Intake, accept: Accept, nursery: trio.Nursery) -> None:
        """Receive from one socket until it is closed."""
        with contextlib.suppress(trio.ClosedResourceError):
            while intake.sock.fileno() >= 0:
                try:
                    await serve_readable(intake.sock.fileno(), lambda: self._turn(intake, accept, nursery))
                except OSError as error:
                    await self._survive(intake, error)

    def _turn(self, intake: Intake, accept: Accept, nursery: trio.Nursery) -> bool:
        """Deliver a bounded batch of what has come; return whether more may be waiting."""
        if intake.sock.fileno() < 0:
            return False
        started = time.perf_counter()
        arrivals, more = intake.inbox.receive(intake.pace.limit)
        if self._backlogs and intake is self._shared:
            arrivals = self._without_backlogs(arrivals)
        if arrivals:
            self._deliver(arrivals, accept)
        intake.pace.took(time.perf_counter() - started)
        if more:
            self._crowd(intake, arrivals, accept, nursery)
        elif intake is self._shared:
            self._crowding.relieve()
            self._backlogs.clear()
        return more

    async def _survive(self, intake: Intake, error: OSError) -> None:
        """Go on after an error; a peer's own socket that gives others than ICMP's is not worth keeping."""
        if intake.peer is None:
            logger.warning("%s: receiving failed, trying again: %s", self.description, error)
            await trio.sleep(BROKEN_SOCKET_PAUSE)
        elif error.errno in HARMLESS:
            await trio.lowlevel.checkpoint()
        else:
            self._bring_back(intake.peer)

    def _deliver(self, arrivals: list[Arrival], accept: Accept) -> None:
        now = time.monotonic()
        reached: dict[UdpPeer, None] = {}
        for origin, data, frame_size in arrivals:
            peer = self._peers.get(origin)
            if peer is None:
                peer = self._meet(origin, frame_size, accept)
                if peer is None:
                    continue
            peer.heard_at = now
            last = len(data) % (frame_size or 1)  # bytes, 0 if it is as long as the others
            if frame_size < HEADER_SIZE or 0 < last < HEADER_SIZE:
                data = without_short(data, frame_size, peer.discards)
            if data:
                if GREETING_SIZE in (frame_size, last) and self._offload:
                    self._greet(peer, data, frame_size)
                for train in tell_apart(data, frame_size):
                    peer.attachment.deliver(train)
                reached[peer] = None
        for peer in reached:
            peer.attachment.flush()

    def _greet(self, peer: UdpPeer, data: Buffer, frame_size: int) -> None:
        """Answer greetings. They are announcements of a station, too, so they go on to the switch."""
        reply = peer.destination.acquaintance.hear(data, frame_size, time.monotonic())
        if reply is not None:
            self.outbox.add(peer.destination, lone(reply))
            self.outbox.flush()

    def _meet(self, origin: Hashable, frame_size: int, accept: Accept) -> UdpPeer | None:
        """Find out who writes from an origin never seen: a stranger, or a peer to another address of ours."""
        address, local = self._shared.inbox.locate(origin)
        peer = self._peers_by_address.get(address)
        if peer is not None:
            del self._peers[peer.origin]
            self._peers[origin] = peer
            peer.origin = origin
            self.outbox.set_source(peer.destination, local)
            return peer
        if frame_size < HEADER_SIZE:
            self.discards["short"] += 1
            return None
        peer = UdpPeer(self, origin, address, local)
        try:
            peer.attachment = accept(peer)
        except RefusedError as error:
            self.outbox.release(peer.destination)
            self._refuse(address, error)
            return None
        self._peers[origin] = self._peers_by_address[address] = peer
        return peer

    def _refuse(self, address: SocketAddress, error: RefusedError) -> None:
        self.refused += 1
        self._refused_unlogged += 1
        now = time.monotonic()
        if now - self._refused_logged_at >= REFUSAL_LOG_INTERVAL:
            logger.warning(
                "%s: refused %d datagrams of newcomers, the latest from %s: %s",
                self.description,
                self._refused_unlogged,
                format_address(address),
                error,
            )
            self._refused_logged_at = now
            self._refused_unlogged = 0

    def _send_failed(self, destination: Destination, error: OSError) -> None:
        """Nothing to do: counted, and the peer leaves when it stays silent."""

    async def _upkeep(self, accept: Accept) -> None:
        """Let go of peers that have been silent, and of sockets of peers that have calmed down."""
        while True:
            await trio.sleep(min(self._idle / 4, 5.0))
            now = time.monotonic()
            for peer in self.peers:
                peer.destination.acquaintance.expire(now)
                if peer.heard_at <= now - self._idle:
                    self.forget(peer)
                    peer.attachment.detach(f"idle for {self._idle:g} s")
            for intake in list(self._apart):
                if intake.busy_at <= now - self._calm and intake.peer is not None:
                    self._take_last(intake, accept)
                    self._bring_back(intake.peer)

    # --- floods ---

    def _crowd(self, intake: Intake, arrivals: list[Arrival], accept: Accept, nursery: trio.Nursery) -> None:
        """Note that there is more than a turn takes; set the peer apart that this is due to."""
        intake.busy_at = now = time.monotonic()
        if intake is not self._shared:
            return
        taken = [
            (peer, -(-len(data) // (frame_size or 1)))
            for origin, data, frame_size in arrivals
            if (peer := self._peers.get(origin)) is not None and peer.intake is None
        ]
        burden = self._crowding.crowd(taken, len(self._peers) - len(self._apart), now)
        if burden is not None and burden.origin in self._peers and len(self._apart) < APART_LIMIT:
            self._set_apart(burden, accept, nursery)

    def _set_apart(self, peer: UdpPeer, accept: Accept, nursery: trio.Nursery) -> None:
        """Give a peer a socket of its own."""
        local = self._shared.inbox.locate(peer.origin).local
        try:
            sock = open_beside(self._sock, local, peer.address, offload=self._offload)
        except OSError as error:
            logger.debug("%s: cannot give it a socket of its own: %s", peer.description, error)
            return
        logger.debug("%s: floods and gets a socket of its own", peer.description)
        peer.intake = Intake(sock, self._shared.inbox.beside(sock), peer)
        self._apart.append(peer.intake)
        self._backlogs[peer.origin] = peer
        nursery.start_soon(self._receive, peer.intake, accept, nursery)

    def _without_backlogs(self, arrivals: list[Arrival]) -> list[Arrival]:
        """Discard what the shared queue still holds of peers set apart, until it has been emptied once.

        That may be ten thousand frames, and later ones of these peers go before them already. To forward
        them would keep the others waiting once more.
        """
        kept = []
        for arrival in arrivals:
            origin, data, frame_size = arrival
            peer = self._backlogs.get(origin)
            if peer is None:
                kept.append(arrival)
            else:
                peer.discards["backlog"] += -(-len(data) // (frame_size or 1))
        return kept

    def _bring_back(self, peer: UdpPeer) -> None:
        """Close the peer's own socket, if it has one: the kernel gives the shared one what it sends."""
        if peer.intake is not None:
            _close(peer.intake.sock)
            self._apart.remove(peer.intake)
            self._backlogs.pop(peer.origin, None)
            peer.intake = None

    def _take_last(self, intake: Intake, accept: Accept) -> None:
        """Take what is left in a socket that is about to be closed; a calm peer's is a turn at most."""
        with contextlib.suppress(OSError):
            arrivals, _ = intake.inbox.receive(FULL_TURN)
            self._deliver(arrivals, accept)


def _close(sock: socket.socket) -> None:
    notify_closing(sock.fileno())
    sock.close()


async def open_udp_listener(locator: UdpLocator, *, resolver: Resolver = resolve) -> UdpListener:
    """Bind a socket as ``locator`` says: no host means all addresses of both families.

    Raises:
        LinkError: the address cannot be had; says why and what to do.
    """
    sock = await bind_udp(str(locator), locator.host, locator.port, resolver, offload=locator.offload)
    complaint = raise_buffers(sock)
    if complaint:
        logger.warning("%s: %s", locator, complaint)
    if sock.getsockname()[0] in {"::", "0.0.0.0"}:
        ask_for_local_address(sock)
    return UdpListener(sock, locator, segmentation=locator.offload, batches=locator.offload)
