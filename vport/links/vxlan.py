"""vxlan://: a VXLAN tunnel end point over one UDP socket (RFC 7348). The formats are in ``vport.vxlan``.

Frames for a station that was heard from a far end go there alone; all others go to every remote that the
locator names, multicast groups among them. What comes in is never sent on to another far end: all ends of a
segment must name each other, or share a group.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import struct
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

import trio

from vport.errors import LinkError
from vport.ethernet import HEADER_SIZE, is_multicast
from vport.links.base import Link
from vport.links.datagrams import (
    Resolver,
    SocketAddress,
    is_unsupported_family,
    open_socket,
    raise_buffers,
    resolve,
)
from vport.links.postbox import open_postbox
from vport.links.readiness import notify_closing, serve_readable
from vport.locator.udp import is_group
from vport.offload import plain_or_discard
from vport.train import runs
from vport.vxlan import StationTable, decapsulate, encapsulate, encode_header, learn_all

if TYPE_CHECKING:
    from vport.links.base import Sink
    from vport.links.inbox import Arrival
    from vport.links.outbox import Destination
    from vport.locator import VxlanLocator
    from vport.train import Train

logger = logging.getLogger(__name__)

COLLECT_INTERVAL: Final = 5.0  # seconds
FAR_ENDS_MAX: Final = 1024  # that are learned; what comes from more is delivered, but answered by flooding
_IP_MREQN: Final = struct.Struct("4s4si")  # struct ip_mreqn
_IPV6_MREQ: Final = struct.Struct("16sI")  # struct ipv6_mreq


async def open_vxlan(locator: VxlanLocator, *, resolver: Resolver = resolve) -> VxlanLink:
    """Bind the socket, look the remotes up and join the groups.

    Raises:
        LinkError: the address or port cannot be had, or a remote's name has no address.
    """
    remotes = [await _look_up(locator, host, port, resolver) for host, port in locator.remote]
    needs_ipv6 = any(family == socket.AF_INET6 for family, _ in remotes)
    needs_ipv4 = any(family == socket.AF_INET for family, _ in remotes)
    if locator.host:
        family, address = await _look_up(locator, locator.host, locator.port, resolver)
    elif needs_ipv6 or not needs_ipv4:
        family, address = socket.AF_INET6, ("::", locator.port)
    else:
        family, address = socket.AF_INET, ("", locator.port)
    sock = _bound(locator, family, address)
    try:
        for _, remote in remotes:
            if is_group(remote[0]):
                _join(sock, locator, remote[0])
        return VxlanLink(locator, sock, [_in_family(sock.family, remote) for _, remote in remotes])
    except BaseException as error:
        sock.close()
        if isinstance(error, OSError):
            raise LinkError(f"{locator}: cannot join the multicast group: {error.strerror}") from error
        raise


async def _look_up(
    locator: VxlanLocator, host: str, port: int, resolver: Resolver
) -> tuple[int, SocketAddress]:
    try:
        return (await resolver(host, port))[0]
    except OSError as error:
        raise LinkError(f"{locator}: cannot find the address of {host}: {error.strerror or error}") from error


def _bound(locator: VxlanLocator, family: int, address: SocketAddress) -> socket.socket:
    try:
        sock = open_socket(family)
    except OSError as error:
        if family == socket.AF_INET6 and not locator.host and is_unsupported_family(error):
            return _bound(locator, socket.AF_INET, ("", locator.port))
        raise LinkError(f"{locator}: cannot make a socket: {error.strerror}") from error
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, bool(locator.host))
        sock.bind(address)
    except OSError as error:
        sock.close()
        reason = os.strerror(error.errno or 0)
        if error.errno == errno.EADDRINUSE:
            reason = "is in use, by a program or a VXLAN device of the kernel (ip -d link); choose another"
        raise LinkError(f"{locator}: UDP port {locator.port}: {reason}") from error
    complaint = raise_buffers(sock)
    if complaint:
        logger.warning("%s: %s", locator, complaint)
    return sock


def _join(sock: socket.socket, locator: VxlanLocator, group: str) -> None:
    """Join a multicast group on the locator's device, and do not hear our own packets. Raises OSError."""
    index = socket.if_nametoindex(locator.device) if locator.device is not None else 0
    if ":" not in group:
        packed = socket.inet_pton(socket.AF_INET, group)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, _IP_MREQN.pack(packed, bytes(4), index))
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, _IP_MREQN.pack(packed, bytes(4), index))
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, locator.ttl)
        return
    packed = socket.inet_pton(socket.AF_INET6, group.partition("%")[0])
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, _IPV6_MREQ.pack(packed, index))
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, locator.ttl)


def _in_family(family: int, address: SocketAddress) -> SocketAddress:
    """Give an address as a socket of ``family`` has it: IPv4 is mapped into IPv6 (RFC 4291 2.5.5.2)."""
    if family == socket.AF_INET6 and ":" not in address[0]:
        return (f"::ffff:{address[0]}", address[1], 0, 0)
    return address


class VxlanLink(Link):
    """The end point. Made by ``open_vxlan``.

    Attributes:
        stations: behind which far end each station is.
    """

    module = "vxlan"

    def __init__(self, locator: VxlanLocator, sock: socket.socket, remotes: list[SocketAddress]) -> None:
        self.description = str(locator)
        self.discards: Counter[str] = Counter()
        self.stations: StationTable[Destination] = StationTable(locator.age)
        self._locator = locator
        self._socket = sock
        self._inbox, self._outbox = open_postbox(sock, self._send_failed)
        self._header = encode_header(locator.vni)
        self._remotes = [self._outbox.destination(address, self.discards, b"") for address in remotes]
        self._far_ends = {
            address[0]: destination
            for address, destination in zip(remotes, self._remotes, strict=True)
            if not is_group(address[0].removeprefix("::ffff:"))
        }
        self._is_closed = False

    # --- from the far ends ---

    async def run(self, sink: Sink, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Receive frames into ``sink`` until closed."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._collect)
            task_status.started()
            if not self._is_closed:
                with contextlib.suppress(trio.ClosedResourceError):
                    await serve_readable(self._socket.fileno(), lambda: self._turn(sink))
            nursery.cancel_scope.cancel()

    def _turn(self, sink: Sink) -> bool:
        """Deliver what has arrived; return whether more may be waiting."""
        if self._is_closed:
            return False
        try:
            arrivals, more = self._inbox.receive()
        except OSError:  # a far end refuses; those that do not are not to suffer
            self.discards["unreachable"] += 1
            return True
        now = time.monotonic()
        for arrival in arrivals:
            self._deliver(arrival, sink, now)
        if arrivals:
            sink.flush()
        return more

    def _deliver(self, arrival: Arrival, sink: Sink, now: float) -> None:
        origin, data, size = arrival
        for train in decapsulate(data, size, self._locator.vni, self.discards):
            if self._locator.learn and (far_end := self._far_end(self._inbox.locate(origin).address)):
                learn_all(self.stations, train, far_end, now)
            sink.deliver(train)

    def _far_end(self, address: SocketAddress) -> Destination | None:
        """Give where to send to for who sent from ``address``: its host, at the port of VXLAN.

        The source port says nothing: it is drawn from the inner frame (RFC 7348 section 5).
        """
        host = address[0]
        known = self._far_ends.get(host)
        if known is None and len(self._far_ends) < FAR_ENDS_MAX:
            known = self._outbox.destination((host, self._locator.port, *address[2:]), self.discards, b"")
            self._far_ends[host] = known
        return known

    async def _collect(self) -> None:
        """Forget silent stations, and far ends that no station is behind."""
        while True:
            await trio.sleep(COLLECT_INTERVAL)
            self.stations.collect(time.monotonic())
            used = self.stations.places() | set(self._remotes)
            for host in [host for host, far_end in self._far_ends.items() if far_end not in used]:
                self._outbox.release(self._far_ends.pop(host))

    # --- to the far ends ---

    def transmit(self, train: Train) -> None:
        """Gather ``train`` until ``flush``, for the far end of its destination or for all."""
        if self._is_closed:
            self.discards["closed"] += train.count
            return
        frames = plain_or_discard(train, self.discards)
        if frames is None:
            return
        now = time.monotonic()
        for run in runs(frames):
            if len(run.data) < HEADER_SIZE:
                self.discards["short"] += run.count
                continue
            packets = encapsulate(run, self._header)
            for destination in self._destinations(bytes(run.data[:6]), now):
                self._outbox.add(destination, packets)

    def _destinations(self, mac: bytes, now: float) -> list[Destination]:
        if not is_multicast(mac) and (far_end := self.stations.find(mac, now)) is not None:
            return [far_end]
        if not self._remotes:
            self.discards["no remote"] += 1
        return self._remotes

    def flush(self) -> None:
        """Send what was gathered."""
        self._outbox.flush()

    def _send_failed(self, destination: Destination, error: OSError) -> None:
        """Nothing to do: counted, and another far end is another matter."""

    def close(self) -> None:
        """Close the socket and end ``run``. Idempotent."""
        if not self._is_closed:
            self._is_closed = True
            notify_closing(self._socket.fileno())
            self._socket.close()
