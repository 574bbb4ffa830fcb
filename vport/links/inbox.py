"""Receiving datagrams, as many at a time as there are, and telling whose they are.

``PlainInbox`` takes one datagram or GRO train with each system call, ``batch_inbox.BatchInbox`` many.
"""

from __future__ import annotations

import copy
import socket
import struct
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, Self

from vport.ethernet import HEADER_SIZE
from vport.links.datagrams import (
    DATAGRAM_SIZE,
    IN6_PKTINFO,
    IN_PKTINFO,
    IP_PKTINFO,
    SOL_UDP,
    UDP_GRO,
    SocketAddress,
)

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Hashable

    from vport.ethernet import Buffer

PLAIN_TURN: Final = 32  # datagrams or trains per turn, so that other ports get theirs
FULL_TURN: Final = 256  # the same for a batch: below half a millisecond of small frames

Arrival = tuple["Hashable", "Buffer", int]
"""What came from one far end, as (origin, data, frame size): frames back to back, as a train has them.

The origin stands for the far end and our address that it wrote to; ``Inbox.locate`` tells both. The data
are valid until the next ``receive``. An empty datagram has the frame size 0. A plain tuple, because it is
made for each lone frame (a NamedTuple costs 160 ns more).
"""


class Origin(NamedTuple):
    """Who sent something.

    Attributes:
        address: the far end.
        local: our address that it wrote to, packed (4 or 16 bytes); empty when the socket does not tell.
    """

    address: SocketAddress
    local: bytes


class Inbox(Protocol):
    """Takes what has arrived at a socket."""

    def receive(self, limit: int = FULL_TURN) -> tuple[list[Arrival], bool]:
        """Take up to ``limit`` datagrams or trains, without waiting, or fewer as a turn has it.

        Also tells whether there may be more already.

        Raises:
            OSError: the socket reports an error, such as a refusal by the far end.
        """

    def beside(self, sock: socket.socket) -> Self:
        """Make an inbox for another socket with the same options, bound to the same UDP port.

        It tells the same origins, and shares the memory: what one of the two has received is valid until
        either receives again.
        """

    def locate(self, origin: Hashable) -> Origin:
        """Tell what ``Arrival.origin`` stands for."""


class PlainInbox:
    """Receives with ``recvmsg``, a system call for each datagram or GRO train."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffers = [memoryview(bytearray(DATAGRAM_SIZE)) for _ in range(PLAIN_TURN)]
        self._control_size = socket.CMSG_SPACE(4) + socket.CMSG_SPACE(IN6_PKTINFO.size)

    def beside(self, sock: socket.socket) -> Self:
        """Make an inbox for another socket, in the same memory."""
        twin = copy.copy(self)
        twin._sock = sock  # noqa: SLF001 - one of us
        return twin

    def receive(self, limit: int = FULL_TURN) -> tuple[list[Arrival], bool]:
        """Take up to ``PLAIN_TURN`` datagrams or trains."""
        arrivals: list[Arrival] = []
        for buffer in self._buffers[:limit]:
            try:
                size, control, _, address = self._sock.recvmsg_into([buffer], self._control_size)
            except BlockingIOError:
                return arrivals, False
            except OSError:
                if arrivals:
                    break
                raise
            frame_size, local = read_control(control) if control else (0, b"")
            arrivals.append(((address, local), buffer[:size], frame_size or size))
        return arrivals, True

    def locate(self, origin: Hashable) -> Origin:
        """Tell what ``Arrival.origin`` stands for."""
        assert isinstance(origin, tuple)
        return Origin(*origin)


def without_short(data: Buffer, frame_size: int, discards: Counter[str]) -> Buffer:
    """Take from a train what is too short for an Ethernet header, and count it."""
    if frame_size < HEADER_SIZE:
        discards["short"] += -(-len(data) // frame_size) if frame_size else 1
        return b""
    tail = len(data) % frame_size
    if not 0 < tail < HEADER_SIZE:
        return data
    discards["short"] += 1
    return memoryview(data)[:-tail]


def read_control(control: list[tuple[int, int, bytes]]) -> tuple[int, bytes]:
    """Read control messages: the size of a train's frames (0: a lone frame) and our address."""
    frame_size, local = 0, b""
    for level, kind, data in control:
        if level == SOL_UDP and kind == UDP_GRO:
            (frame_size,) = struct.unpack("i", data)
        elif level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
            local, _ = IN6_PKTINFO.unpack(data)
        elif level == socket.IPPROTO_IP and kind == IP_PKTINFO:
            _, local, _ = IN_PKTINFO.unpack(data)
    return frame_size, local
