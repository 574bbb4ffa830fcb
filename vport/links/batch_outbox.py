"""Sending a batch with one system call: one frame to a thousand peers, or many frames to a few.

Single frames of one size for one far end leave as one message that the kernel cuts (UDP_SEGMENT), so that
sixteen peers that talk in small frames cost sixteen messages a batch and not hundreds.
"""

from __future__ import annotations

import errno
import socket
import struct
from typing import TYPE_CHECKING, Final

import numpy as np

from vport.links.datagrams import SOL_UDP, UDP_SEGMENT
from vport.links.mmsg import (
    IOVEC,
    MMSGHDR,
    NAME_SIZE,
    Calls,
    address_of,
    encode_address,
    encode_control,
    name_size,
)
from vport.links.outbox import MAX_PAYLOAD_V4, NO_SEGMENTS, Destination, Outbox, Waiting, source_control

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    import numpy.typing as npt

    from vport.ethernet import Buffer
    from vport.links.datagrams import SocketAddress

    Integers = npt.NDArray[np.int64]

FEW: Final = 24  # sends up to which one call for each is cheaper than filling in a batch
LONG: Final = 4096  # bytes from which a buffer is sent from where it is; a shorter one is quicker copied

_SEGMENT_CONTROL: Final = encode_control(SOL_UDP, UDP_SEGMENT, struct.pack("@H", 0))
_SEGMENT_SIZE_AT: Final = socket.CMSG_LEN(0)


class BatchOutbox(Outbox):
    """Sends with ``sendmmsg`` when there is more than a few.

    Each destination has a row in tables that hold its address and its control message in C's form.
    """

    def __init__(
        self,
        sock: socket.socket,
        report: Callable[[Destination, OSError], None],
        calls: Calls,
        *,
        segmentation: bool = True,
    ) -> None:
        super().__init__(sock, report, segmentation=segmentation)
        self._calls = calls
        self._name_size = name_size(sock.family)
        _, _, empty = source_control(bytes(16 if sock.family == socket.AF_INET6 else 4))
        self._source_space = socket.CMSG_SPACE(len(empty))
        self._free: list[int] = []
        self._released: list[int] = []
        self._names = np.zeros((0, NAME_SIZE), np.uint8)
        self._sources = np.zeros((0, self._source_space), np.uint8)
        self._has_source = np.zeros(0, np.bool_)
        self._segmentable = np.zeros(0, np.int64)
        self._reserve(FEW)

    # --- destinations ---

    def destination(
        self, address: SocketAddress | None, discards: Counter[str], local: bytes = b""
    ) -> Destination:
        """Make a destination and give it a row."""
        destination = super().destination(address, discards, local)
        if not self._free:
            self._grow()
        row = destination.row = self._free.pop()
        if address is None:
            self._name_size = 0
        else:
            name = encode_address(self._sock.family, address)
            self._names[row, : len(name)] = np.frombuffer(name, np.uint8)
        self._remember(destination)
        return destination

    def release(self, destination: Destination) -> None:
        """Take the row back, once what waits for it has been sent."""
        self._released.append(destination.row)
        if not self._waiting:
            self._recycle()

    def set_source(self, destination: Destination, local: bytes) -> None:
        """Change the address of ours that datagrams to ``destination`` leave from."""
        super().set_source(destination, local)
        self._remember(destination)

    def _remember(self, destination: Destination) -> None:
        """Write the destination's row after one of its attributes changed."""
        row = destination.row
        self._segmentable[row] = destination.segmentable
        self._has_source[row] = bool(destination.source)
        for item in destination.source:
            self._sources[row] = np.frombuffer(encode_control(*item), np.uint8)

    def _recycle(self) -> None:
        self._free += self._released
        self._released.clear()

    def _grow(self) -> None:
        """Double the tables."""
        rows = len(self._names)
        added = max(rows, 16)
        self._names = np.concatenate([self._names, np.zeros((added, NAME_SIZE), np.uint8)])
        self._sources = np.concatenate([self._sources, np.zeros((added, self._source_space), np.uint8)])
        self._has_source = np.concatenate([self._has_source, np.zeros(added, np.bool_)])
        self._segmentable = np.concatenate([self._segmentable, np.full(added, MAX_PAYLOAD_V4)])
        self._free += range(rows + added - 1, rows - 1, -1)

    # --- batches ---

    def _reserve(self, count: int) -> None:
        """Make room for a batch of ``count`` buffers."""
        space = self._source_space + len(_SEGMENT_CONTROL)
        self._vectors = np.zeros(count, IOVEC)
        self._controls = np.zeros((count, space), np.uint8)
        self._controls[:, self._source_space :] = np.frombuffer(_SEGMENT_CONTROL, np.uint8)
        at = self._source_space + _SEGMENT_SIZE_AT
        self._segment_sizes = np.ndarray(count, np.uint16, self._controls.data, at, (space,))
        self._messages = np.zeros(count, MMSGHDR)

    def flush(self) -> bool:
        """Send all that was taken, in one batch unless it is little; tell whether there was anything."""
        waiting = self._waiting
        if len(waiting) <= FEW:
            sent = super().flush()
        else:
            self._waiting = []
            self._send_batch(waiting)
            sent = True
        if self._released:
            self._recycle()
        return sent

    def _send_batch(self, waiting: list[Waiting]) -> None:
        count = len(waiting)
        if count > len(self._vectors):
            self._reserve(1 << (count - 1).bit_length())
        destinations, buffers, sizes = zip(*waiting, strict=True)
        rows: Integers = np.array([destination.row for destination in destinations], np.int64)
        addresses, lengths, kept = _locate(buffers)
        order: Integers = np.argsort(rows, kind="stable")
        rows, frame_sizes, lengths = rows[order], np.array(sizes, np.int64)[order], lengths[order]
        vectors = self._vectors[:count]
        vectors["base"] = addresses[order]
        vectors["len"] = lengths
        starts = self._message_starts(rows, frame_sizes, lengths)
        self._fill(starts, np.diff(starts, append=count), rows, frame_sizes, lengths)
        self._send_messages(waiting, order, starts)
        del kept

    def _message_starts(self, rows: Integers, frame_sizes: Integers, lengths: Integers) -> Integers:
        """Say where messages begin: single frames of one size for one destination share one."""
        joinable = (lengths == frame_sizes) & (frame_sizes <= self._segmentable[rows])
        joins = np.zeros(len(rows), np.bool_)
        joins[1:] = (
            (rows[1:] == rows[:-1]) & (frame_sizes[1:] == frame_sizes[:-1]) & joinable[1:] & joinable[:-1]
        )
        starts = np.flatnonzero(~joins)
        counts = np.diff(starts, append=len(rows))
        bounds = np.minimum(self._max_segments, self._max_payload // np.maximum(frame_sizes, 1))
        if (counts > bounds[starts]).any():
            place = np.arange(len(rows)) - np.repeat(starts, counts)
            starts = np.flatnonzero(~joins | (place % np.maximum(bounds, 1) == 0))
        return starts

    def _fill(
        self, starts: Integers, counts: Integers, rows: Integers, frame_sizes: Integers, lengths: Integers
    ) -> None:
        """Fill in a message for each of ``starts``."""
        total = len(starts)
        rows, frame_sizes = rows[starts], frame_sizes[starts]
        headers, controls = self._messages["header"][:total], self._controls[:total]
        segmented = (counts > 1) | (lengths[starts] > frame_sizes)
        has_source = self._has_source[rows]
        if self._name_size:
            headers["name"] = address_of(self._names) + rows * NAME_SIZE
            headers["namelen"] = self._name_size
        headers["iov"] = address_of(self._vectors) + starts * IOVEC.itemsize
        headers["iovlen"] = counts
        start_of_control = np.arange(total) * controls.shape[1] + np.where(has_source, 0, self._source_space)
        headers["control"] = address_of(controls) + start_of_control
        headers["controllen"] = has_source * self._source_space + segmented * len(_SEGMENT_CONTROL)
        controls[:, : self._source_space] = self._sources[rows]
        self._segment_sizes[:total] = frame_sizes

    def _send_messages(self, waiting: list[Waiting], order: Integers, starts: Integers) -> None:
        """Send the messages filled in; deal with those that the kernel refuses, and go on."""
        descriptor, messages = self._sock.fileno(), address_of(self._messages)
        done, total = 0, len(starts)
        while done < total:
            try:
                done += self._calls.send(descriptor, messages + done * MMSGHDR.itemsize, total - done)
            except OSError as error:
                last = done if error.errno != errno.EAGAIN else total - 1
                end = starts[last + 1] if last + 1 < total else len(order)
                refused = [waiting[index] for index in order[starts[done] : end].tolist()]
                self._refused(refused, error)
                done = last + 1

    def _refused(self, refused: list[Waiting], error: OSError) -> None:
        """Deal with one message's frames, or with all that a full queue leaves."""
        if len(refused) > 1 and error.errno in NO_SEGMENTS:
            destination, _, frame_size = refused[0]
            self._shrink(destination, frame_size * len(refused), frame_size, error)
            for entry in refused:
                self._send(*entry)
        else:
            for entry in refused:
                self._failed(*entry, error)

    def _shrink(self, destination: Destination, size: int, frame_size: int, error: OSError) -> None:
        super()._shrink(destination, size, frame_size, error)
        self._remember(destination)


def _locate(buffers: tuple[Buffer, ...]) -> tuple[Integers, Integers, object]:
    """Find or make an address for the bytes of each buffer.

    Gives the addresses, the lengths, and what must be kept until all has been sent.
    """
    identities = list(map(id, buffers))
    if identities.count(identities[0]) == len(buffers):  # a flood has one buffer for all destinations
        array = np.frombuffer(buffers[0], np.uint8)
        return np.full(len(buffers), address_of(array)), np.full(len(buffers), len(array)), array
    different = dict(zip(identities, buffers, strict=True))
    joined = b"".join([buffer for buffer in different.values() if len(buffer) < LONG])
    place = address_of(np.frombuffer(joined, np.uint8)) if joined else 0
    places: dict[int, int] = {}
    for identity, buffer in different.items():
        if len(buffer) < LONG:
            places[identity] = place
            place += len(buffer)
        else:
            places[identity] = address_of(np.frombuffer(buffer, np.uint8))
    addresses = np.array(list(map(places.__getitem__, identities)), np.int64)
    return addresses, np.array(list(map(len, buffers)), np.int64), joined
