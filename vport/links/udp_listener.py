"""The switch's side of raw UDP: one socket, and a link for each address that sends to it."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import trio

from vport.errors import LinkError, RefusedError
from vport.ethernet import HEADER_SIZE
from vport.links.base import Accept, Attachment, Link, Listener, Sink
from vport.links.datagrams import (
    Resolver,
    SocketAddress,
    ask_for_local_address,
    format_address,
    is_unsupported_family,
    open_socket,
    raise_buffers,
    resolve,
)
from vport.links.inbox import without_short
from vport.links.postbox import open_postbox
from vport.links.readiness import notify_closing, serve_readable
from vport.train import Train

if TYPE_CHECKING:
    from collections.abc import Hashable

    from vport.links.inbox import Arrival
    from vport.links.outbox import Destination
    from vport.locator import UdpLocator

logger = logging.getLogger(__name__)

REFUSAL_LOG_INTERVAL: Final = 10.0  # seconds between lines about newcomers that were refused
BROKEN_SOCKET_PAUSE: Final = 0.1  # seconds; the kernel may be out of memory: do not spin


class UdpPeer(Link):
    """One far end of a listener: whoever sends from that address and UDP port.

    Attributes:
        heard_at: monotonic seconds when the latest datagram came.
    """

    module = "udp"

    def __init__(self, listener: UdpListener, origin: Hashable, address: SocketAddress, local: bytes) -> None:
        self.description = f"udp peer {format_address(address)}"
        self.discards: Counter[str] = Counter()
        self.address = address
        self.origin = origin
        self.heard_at = 0.0
        self.attachment: Attachment
        self.destination = listener.outbox.destination(address, self.discards, local)
        self._listener = listener
        self._outbox = listener.outbox

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

    Attributes:
        address: what the socket is bound to, as the socket module gives it.
        refused: newcomers' datagrams that the switch refused to make a peer of.
        discards: datagrams from strangers that were no frames, by reason.
    """

    def __init__(
        self, sock: socket.socket, locator: UdpLocator, *, segmentation: bool = True, batches: bool = True
    ) -> None:
        self.address: SocketAddress = sock.getsockname()
        self.description = str(replace(locator, port=self.address[1]))
        self.refused = 0
        self.discards: Counter[str] = Counter()
        self._inbox, self.outbox = open_postbox(
            sock, self._send_failed, segmentation=segmentation, batches=batches
        )
        self._sock = sock
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
            nursery.start_soon(self._expire_idle_peers)
            task_status.started()
            with contextlib.suppress(trio.ClosedResourceError):
                await self._receive(accept)
            nursery.cancel_scope.cancel()

    def close(self) -> None:
        """Close the socket and forget all peers."""
        if self._sock.fileno() >= 0:
            notify_closing(self._sock.fileno())
            self._sock.close()
            self._peers.clear()
            self._peers_by_address.clear()

    def forget(self, peer: UdpPeer) -> None:
        """Drop all that is known of a peer. Idempotent."""
        if self._peers_by_address.get(peer.address) is peer:
            del self._peers_by_address[peer.address]
            del self._peers[peer.origin]
            self.outbox.release(peer.destination)

    async def _receive(self, accept: Accept) -> None:
        while self._sock.fileno() >= 0:
            try:
                await serve_readable(self._sock.fileno(), lambda: self._turn(accept))
            except OSError as error:
                await self._survive(error)

    def _turn(self, accept: Accept) -> bool:
        """Deliver a bounded batch of what has come; return whether more may be waiting."""
        if self._sock.fileno() < 0:
            return False
        arrivals, more = self._inbox.receive()
        if arrivals:
            self._deliver(arrivals, accept)
        return more

    async def _survive(self, error: OSError) -> None:
        logger.warning("%s: receiving failed, trying again: %s", self.description, error)
        await trio.sleep(BROKEN_SOCKET_PAUSE)

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
            if frame_size < HEADER_SIZE or 0 < len(data) % frame_size < HEADER_SIZE:
                data = without_short(data, frame_size, peer.discards)
            if data:
                peer.attachment.deliver(Train(data, frame_size))
                reached[peer] = None
        for peer in reached:
            peer.attachment.flush()

    def _meet(self, origin: Hashable, frame_size: int, accept: Accept) -> UdpPeer | None:
        """Find out who writes from an origin never seen: a stranger, or a peer to another address of ours."""
        address, local = self._inbox.locate(origin)
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

    async def _expire_idle_peers(self) -> None:
        while True:
            await trio.sleep(min(self._idle / 4, 5.0))
            limit = time.monotonic() - self._idle
            for peer in self.peers:
                if peer.heard_at <= limit:
                    self.forget(peer)
                    peer.attachment.detach(f"idle for {self._idle:g} s")


async def open_udp_listener(locator: UdpLocator, *, resolver: Resolver = resolve) -> UdpListener:
    """Bind a socket as ``locator`` says: no host means all addresses of both families.

    Raises:
        LinkError: the address cannot be had; says why and what to do.
    """
    sock = await _bind(locator, resolver)
    complaint = raise_buffers(sock)
    if complaint:
        logger.warning("%s: %s", locator, complaint)
    if sock.getsockname()[0] in {"::", "0.0.0.0"}:
        ask_for_local_address(sock)
    return UdpListener(sock, locator)


async def _bind(locator: UdpLocator, resolver: Resolver) -> socket.socket:
    if not locator.host:
        return _bind_to_all(locator)
    try:
        found = await resolver(locator.host, locator.port)
    except OSError as error:
        raise LinkError(
            f"{locator}: cannot find the address of {locator.host}: {error.strerror}; "
            "give an address of this machine, or none for all"
        ) from error
    family, address = found[0]
    return _bound(locator, family, address, only_ipv6=True)


def _bind_to_all(locator: UdpLocator) -> socket.socket:
    try:
        return _bound(locator, socket.AF_INET6, ("::", locator.port), only_ipv6=False)
    except LinkError as error:
        if isinstance(error.__cause__, OSError) and is_unsupported_family(error.__cause__):
            return _bound(locator, socket.AF_INET, ("", locator.port))
        raise


def _bound(
    locator: UdpLocator, family: int, address: SocketAddress, *, only_ipv6: bool = False
) -> socket.socket:
    sock = None
    try:
        sock = open_socket(family)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only_ipv6)
        sock.bind(address)
    except OSError as error:
        if sock is not None:
            sock.close()
        raise LinkError(f"{locator}: {_advice(locator, error)}") from error
    return sock


def _advice(locator: UdpLocator, error: OSError) -> str:
    """Say what is wrong with an address and what to do about it."""
    match error.errno:
        case errno.EADDRINUSE:
            return (
                f"UDP port {locator.port} is in use by another program (ss -lunp shows which); "
                "stop it or choose another port"
            )
        case errno.EADDRNOTAVAIL:
            return f"{locator.host} is no address of this machine (ip address lists them)"
        case errno.EACCES | errno.EPERM:
            return f"no permission for UDP port {locator.port}: below 1024 it takes root; choose a higher one"
        case _:
            return f"cannot listen: {os.strerror(error.errno or 0)}"
