"""Sending trains over a UDP socket: cut where the kernel cannot, gathered, sent on ``flush``.

A train goes out with one system call (UDP_SEGMENT) as long as the kernel can cut it for that far end:
frames longer than the path MTU, IPsec and old kernels are reasons why it cannot. The first refusal is
remembered for the far end, and its frames go one by one from then on.
"""

from __future__ import annotations

import errno
import socket
import struct
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from vport import offload
from vport.errors import FrameError
from vport.greeting import Acquaintance
from vport.links.datagrams import IN6_PKTINFO, IN_PKTINFO, IP_PKTINFO, SOL_UDP, UDP_SEGMENT, SocketAddress

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    from vport.ethernet import Buffer
    from vport.train import Train

MAX_SEGMENTS: Final = 128  # UDP_MAX_SEGMENTS (linux/udp.h); 64 before Linux 6.10, found out when sending
OLD_MAX_SEGMENTS: Final = 64
MAX_PAYLOAD_V4: Final = 65507  # 65535 less IPv4 and UDP headers
MAX_PAYLOAD_V6: Final = 65487  # the same for IPv6, whose header the kernel counts when it cuts

_NOT_NOW: Final = frozenset({errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM})
NO_SEGMENTS: Final = frozenset({errno.EMSGSIZE, errno.EINVAL, errno.EIO, errno.ENOPROTOOPT})
_AncillaryItem = tuple[int, int, bytes]
Waiting = tuple["Destination", "Buffer", int]
"""A train for a destination: its bytes and its frame size."""


class Destination:
    """A far end as the outbox knows it.

    Attributes:
        acquaintance: what is known of it by its greetings.
        address: where to; None on a connected socket.
        source: control messages that set our address, none to leave it to the kernel.
        row: where a ``BatchOutbox`` keeps it in its tables.
        segmentable: the longest frame of which a train may be sent in one piece, 0 for none.
        discards: frames not sent, by reason; shared with the link.
    """

    __slots__ = ("acquaintance", "address", "discards", "row", "segmentable", "source")

    def __init__(
        self,
        address: SocketAddress | None,
        discards: Counter[str],
        *,
        local: bytes = b"",
        segmentation: bool = True,
    ) -> None:
        self.acquaintance = Acquaintance()
        self.address = address
        self.discards = discards
        self.row = 0
        self.source: list[_AncillaryItem] = [source_control(local)] if local else []
        self.segmentable = MAX_PAYLOAD_V4 if segmentation else 0


@lru_cache(maxsize=256)
def _segment_control(frame_size: int) -> _AncillaryItem:
    """Make the control message with which the kernel cuts a train."""
    return (SOL_UDP, UDP_SEGMENT, struct.pack("H", frame_size))


def source_control(local: bytes) -> _AncillaryItem:
    """Make the control message with which a datagram leaves from our address ``local``."""
    if len(local) == 16:
        return (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, IN6_PKTINFO.pack(local, 0))
    return (socket.IPPROTO_IP, IP_PKTINFO, IN_PKTINFO.pack(0, local, bytes(4)))


class Outbox:
    """Gathers what is to be sent over one socket until ``flush``.

    Args:
        sock: a non-blocking UDP socket.
        report: told of an error that is neither a full queue nor a matter of size.
        segmentation: whether to let the kernel cut trains at all.
    """

    def __init__(
        self,
        sock: socket.socket,
        report: Callable[[Destination, OSError], None],
        *,
        segmentation: bool = True,
    ) -> None:
        self._sock = sock
        self._segmentation = segmentation
        self._report = report
        self._max_payload = MAX_PAYLOAD_V6 if sock.family == socket.AF_INET6 else MAX_PAYLOAD_V4
        self._max_segments = MAX_SEGMENTS
        self._waiting: list[Waiting] = []

    def destination(self, address: SocketAddress | None, discards: Counter[str], local: bytes) -> Destination:
        """Make a destination that datagrams reach from our address ``local`` (empty: the kernel's choice)."""
        return Destination(address, discards, local=local, segmentation=self._segmentation)

    def set_source(self, destination: Destination, local: bytes) -> None:
        """Change the address of ours that datagrams to ``destination`` leave from."""
        destination.source = [source_control(local)] if local else []
        destination.segmentable = MAX_PAYLOAD_V4 if self._segmentation else 0  # another path

    def release(self, destination: Destination) -> None:
        """Forget a destination."""

    def add(self, destination: Destination, train: Train) -> None:
        """Take a train, lent until ``flush``."""
        if train.offload is not None:
            try:
                train = offload.sendable(train, slices=destination.acquaintance.knows_slices)
            except FrameError:
                destination.discards["malformed"] += train.count
                return
        data, frame_size = train.data, train.frame_size
        size = len(data)
        if size > frame_size and (
            frame_size > destination.segmentable
            or size > self._max_payload
            or size > frame_size * self._max_segments
        ):
            self._add_pieces(destination, data, frame_size)
        else:
            self._waiting.append((destination, data, frame_size))

    def flush(self) -> bool:
        """Send all that was taken; tell whether there was anything."""
        if not self._waiting:
            return False
        waiting, self._waiting = self._waiting, []
        for destination, data, frame_size in waiting:
            self._send(destination, data, frame_size)
        return True

    def _add_pieces(self, destination: Destination, data: Buffer, frame_size: int) -> None:
        self._waiting += [
            (destination, piece, frame_size) for piece in self._pieces(destination, data, frame_size)
        ]

    def _frames_per_send(self, destination: Destination, frame_size: int) -> int:
        if frame_size > destination.segmentable:
            return 1
        return max(1, min(self._max_segments, self._max_payload // frame_size))

    def _send(self, destination: Destination, data: Buffer, frame_size: int, *, again: bool = False) -> None:
        control = destination.source
        if len(data) > frame_size:
            control = [*control, _segment_control(frame_size)] if control else [_segment_control(frame_size)]
        try:
            if destination.address is None:
                self._sock.sendmsg([data], control)
            else:
                self._sock.sendmsg([data], control, 0, destination.address)
        except OSError as error:
            self._failed(destination, data, frame_size, error, again=again)

    def _failed(
        self,
        destination: Destination,
        data: Buffer,
        frame_size: int,
        error: OSError,
        *,
        again: bool = False,
    ) -> None:
        """Deal with what the kernel refused: in smaller pieces, once more, or not at all."""
        if error.errno in _NOT_NOW:
            destination.discards["queue-full"] += -(-len(data) // frame_size)
        elif len(data) > frame_size and error.errno in NO_SEGMENTS:
            self._shrink(destination, len(data), frame_size, error)
            for piece in self._pieces(destination, data, frame_size):
                self._send(destination, piece, frame_size)
        elif error.errno == errno.EMSGSIZE and len(data) <= self._max_payload and not again:
            # A router's word about an earlier frame, told on this occasion (udp(7)): this one still goes.
            self._send(destination, data, frame_size, again=True)
        elif error.errno == errno.EMSGSIZE:
            destination.discards["oversized"] += 1
        else:
            destination.discards["unreachable"] += -(-len(data) // frame_size)
            self._report(destination, error)

    def _pieces(self, destination: Destination, data: Buffer, frame_size: int) -> list[memoryview]:
        view = memoryview(data)
        step = frame_size * self._frames_per_send(destination, frame_size)
        return [view[at : at + step] for at in range(0, len(view), step)]

    def _shrink(self, destination: Destination, size: int, frame_size: int, error: OSError) -> None:
        """Remember what the kernel refused, so that it is not tried again."""
        if error.errno == errno.EINVAL and size > frame_size * OLD_MAX_SEGMENTS:
            self._max_segments = OLD_MAX_SEGMENTS
        elif error.errno in {errno.EMSGSIZE, errno.EINVAL}:
            destination.segmentable = frame_size - 1
        else:
            destination.segmentable = 0
