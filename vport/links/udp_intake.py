"""The sockets that a UDP listener receives from: the one that its peers share, and those of floods.

What arrives for all peers waits in one queue of the kernel's, and a peer that sends more than is carried
keeps it full: the others' frames wait behind a hundred milliseconds of its own, or do not get in. Such a
peer is set apart. A second socket, bound to the same address and UDP port and connected to the peer,
receives what it sends, for the kernel gives a datagram to the socket that fits best. It has a queue of its
own, and a task that takes turns with those of all other ports.
"""

from __future__ import annotations

import errno
import socket
import time
from typing import TYPE_CHECKING, Final

from vport.fairness import Pace
from vport.links.datagrams import (
    ask_for_local_address,
    limit_receive_buffer,
    open_socket,
    tells_local_address,
)
from vport.links.inbox import FULL_TURN

if TYPE_CHECKING:
    from vport.links.datagrams import SocketAddress
    from vport.links.inbox import Inbox
    from vport.links.udp_listener import UdpPeer

APART_LIMIT: Final = 64  # sockets of a listener's; each takes a buffer and a turn
APART_BUFFER: Final = 1 << 20  # bytes, a quarter of the shared socket's: what waits longer comes too late
CALM: Final = 60.0  # seconds without a backlog after which a peer shares the socket again
HARMLESS: Final = frozenset(
    {errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EMSGSIZE, errno.EACCES, errno.EPROTO}
)
"""What routers and the far end said about datagrams sent to it (ICMP), told to its connected socket."""


class Intake:
    """A socket to receive from, and how much of what is there is taken in one turn.

    Attributes:
        sock: closed by the listener.
        inbox: of that socket.
        peer: whose own socket it is, None for the shared one.
        pace: keeps turns short.
        busy_at: monotonic seconds when there was last more than one turn takes.
    """

    __slots__ = ("busy_at", "inbox", "pace", "peer", "sock")

    def __init__(self, sock: socket.socket, inbox: Inbox, peer: UdpPeer | None = None) -> None:
        self.sock = sock
        self.inbox = inbox
        self.peer = peer
        self.pace = Pace(FULL_TURN)
        self.busy_at = time.monotonic()


def open_beside(shared: socket.socket, local: bytes, peer: SocketAddress, *, offload: bool) -> socket.socket:
    """Open a socket that receives what ``peer`` sends to the shared socket's UDP port.

    Until it is connected it receives what others send as well; the caller reads whose each datagram is.

    Args:
        shared: the listener's socket.
        local: our address that the peer writes to, packed; empty for that of ``shared``.
        peer: the far end.
        offload: whether to have the kernel join what arrives.

    Raises:
        OSError: it cannot be had.
    """
    sock = open_socket(shared.family, offload=offload)
    try:
        if shared.family == socket.AF_INET6:
            only_ipv6 = shared.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only_ipv6)
        if tells_local_address(shared):
            ask_for_local_address(sock)
        limit_receive_buffer(sock, APART_BUFFER)
        _bind_beside(sock, shared, _local_address(shared, local, peer))
        sock.connect(peer)
    except OSError:
        sock.close()
        raise
    return sock


def _bind_beside(sock: socket.socket, shared: socket.socket, address: SocketAddress) -> None:
    """Bind to an address that ``shared`` has too.

    The kernel allows that only where every socket there agrees (SO_REUSEADDR). The shared one agrees for
    this moment, so that no other program ever gets in, and finds the address in use as it should.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(address)
    finally:
        shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)


def _local_address(shared: socket.socket, local: bytes, peer: SocketAddress) -> SocketAddress:
    """Give our address as the peer knows it; a link-local one is that of the peer's link."""
    bound: SocketAddress = shared.getsockname()
    if not local:
        return bound
    host = socket.inet_ntop(shared.family, local)
    if shared.family == socket.AF_INET:
        return (host, bound[1])
    return (host, bound[1], 0, peer[3])
