"""Batches of raw frames over connected datagram sockets: VDE data sockets, QEMU's Unix datagrams.

Each far end has a socket of its own, so there is nothing that tells them apart and nothing that the kernel
cuts or joins; what counts is to take and give many frames with one system call (``mmsg``). One
``FrameInbox`` and one ``FrameOutbox`` serve all sockets of a listener in turn.
"""

from __future__ import annotations

import errno
import mmap
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import numpy as np

from vport.ethernet import HEADER_SIZE
from vport.links.mmsg import IOVEC, MMSGHDR, Calls, address_of
from vport.offload import plain_or_discard
from vport.train import Train

if TYPE_CHECKING:
    from collections import Counter

    import trio

    from vport.ethernet import Buffer

BATCH: Final = 128  # frames per system call: 192 KB of full frames, which stay in the cache until sent
FRAME_MAXIMUM: Final = 65535  # bytes; longer datagrams are no frames of a device that we know
SEND_BUFFER: Final = 4 << 20  # bytes asked for: what may wait in the kernel for a client that is slow to read
_STRIDE: Final = 65536 + 192  # between buffers: not a power of two, so that they share no cache set
_FEW: Final = 3  # frames up to which a call for each is cheaper than filling in a batch
_NOT_NOW: Final = frozenset({errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM})
_SO_SNDBUFFORCE: Final = 32  # asm-generic/socket.h


def raise_send_buffer(sock: socket.socket | trio.socket.SocketType) -> None:
    """Let more frames wait for the far end; where the kernel caps it, as much as it allows."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, SEND_BUFFER)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)


def find_calls() -> Calls | None:
    """Give the batch system calls, where the C library has them."""
    with suppress(OSError):
        return Calls()
    return None


class FrameInbox:
    """Takes frames from connected datagram sockets.

    Args:
        calls: the batch system calls; None for a call for each frame.
    """

    def __init__(self, calls: Calls | None) -> None:
        self._calls = calls
        memory = mmap.mmap(-1, BATCH * _STRIDE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        with suppress(OSError):  # then only pages that frames were written to take memory
            memory.madvise(mmap.MADV_NOHUGEPAGE)
        self._arena = np.frombuffer(memory, np.uint8).reshape(BATCH, _STRIDE)
        self._rows = [row.data[: FRAME_MAXIMUM + 1] for row in self._arena]
        vectors = np.zeros(BATCH, IOVEC)
        vectors["base"] = address_of(self._arena) + np.arange(BATCH, dtype=np.uintp) * _STRIDE
        vectors["len"] = FRAME_MAXIMUM + 1
        messages = np.zeros(BATCH, MMSGHDR)
        messages["header"]["iov"] = address_of(vectors) + np.arange(BATCH, dtype=np.uintp) * IOVEC.itemsize
        messages["header"]["iovlen"] = 1
        self._vectors = vectors  # kept alive: the kernel reads it
        self._messages = messages  # likewise
        self._address = address_of(messages)
        self._sizes = messages["len"]

    def receive(self, sock: socket.socket, discards: Counter[str]) -> tuple[list[Train], bool]:
        """Take what is there, without waiting; also tell whether there may be more.

        The trains are valid until the next call. What is no frame is counted in ``discards``.

        Raises:
            OSError: the socket reports an error.
        """
        try:
            if self._calls is None:
                sizes = [sock.recv_into(self._rows[0])]
            else:
                count = self._calls.receive(sock.fileno(), self._address, BATCH)
                sizes = self._sizes[:count].tolist()
        except (BlockingIOError, InterruptedError):
            return [], False
        return self._trains(sizes, discards), len(sizes) == BATCH or self._calls is None

    def _trains(self, sizes: list[int], discards: Counter[str]) -> list[Train]:
        """Join runs of frames of one size, the last of which may be shorter."""
        if sizes.count(sizes[0]) == len(sizes) and HEADER_SIZE <= sizes[0] <= FRAME_MAXIMUM:
            return [self._joined(0, len(sizes), sizes[0], sizes[0])]
        trains: list[Train] = []
        first = 0
        for after in _run_ends(sizes):
            size = sizes[first]
            if sizes[after - 1] >= HEADER_SIZE and size <= FRAME_MAXIMUM:
                trains.append(self._joined(first, after, size, sizes[after - 1]))
            else:
                discards["oversized" if size > FRAME_MAXIMUM else "short"] += after - first
            first = after
        return trains

    def _joined(self, first: int, after: int, size: int, last: int) -> Train:
        """Make a train of the frames from ``first`` to before ``after``."""
        if after - first == 1:
            return Train(self._rows[first][:size], size)
        if last == size:
            return Train(self._arena[first:after, :size].tobytes(), size)
        whole = self._arena[first : after - 1, :size].tobytes()
        return Train(whole + self._rows[after - 1][:last], size)


def _run_ends(sizes: list[int]) -> list[int]:
    """Give the number of the frame behind each run: one size, and then at most one shorter frame.

    Datagrams that are no frames are in runs of their own kind.
    """
    ends: list[int] = []
    size = sizes[0]
    is_done = False
    for number, one in enumerate(sizes):
        joins = not is_done and (one == size or HEADER_SIZE <= one < size <= FRAME_MAXIMUM)
        if not joins:
            ends.append(number)
            size = one
        is_done = joins and one < size
    return [*ends, len(sizes)]


class FrameOutbox:
    """Sends frames over connected datagram sockets.

    Args:
        calls: the batch system calls; None for a call for each frame.
    """

    def __init__(self, calls: Calls | None) -> None:
        self._calls = calls
        self._reserve(BATCH)

    def _reserve(self, count: int) -> None:
        self._vectors = np.zeros(count, IOVEC)
        self._messages = np.zeros(count, MMSGHDR)
        headers = self._messages["header"]
        headers["iov"] = address_of(self._vectors) + np.arange(count, dtype=np.uintp) * IOVEC.itemsize
        headers["iovlen"] = 1
        self._steps = np.arange(count, dtype=np.uintp)
        self._address = address_of(self._messages)

    def send(self, sock: socket.socket, waiting: list[Train], discards: Counter[str]) -> OSError | None:
        """Send the frames of ``waiting``; count what cannot be sent in ``discards``.

        Returns:
            the last error that is neither a full queue nor a matter of size, None if there was none.
        """
        if self._calls is None or sum(-(-len(train.data) // train.frame_size) for train in waiting) <= _FEW:
            failure = None
            for train in waiting:
                for frame in train.frames():
                    failure = _send_one(sock, frame, discards) or failure
            return failure
        return self._send_batch(sock, waiting, discards, self._calls)

    def _send_batch(
        self, sock: socket.socket, waiting: list[Train], discards: Counter[str], calls: Calls
    ) -> OSError | None:
        total, kept = self._fill(waiting)
        descriptor, done = sock.fileno(), 0
        failure: OSError | None = None
        while done < total:
            try:
                done += calls.send(descriptor, self._address + done * MMSGHDR.itemsize, total - done)
            except InterruptedError:
                continue
            except OSError as error:
                if error.errno in _NOT_NOW:
                    discards["queue-full"] += total - done
                    break
                failure = _count_failure(error, discards) or failure
                done += 1
        del kept
        return failure

    def _fill(self, waiting: list[Train]) -> tuple[int, list[object]]:
        """Point a message to each frame; give how many, and what must be kept until they are sent."""
        counts = [-(-len(train.data) // train.frame_size) for train in waiting]
        total = sum(counts)
        if total > len(self._vectors):
            self._reserve(1 << (total - 1).bit_length())
        bases, lengths = self._vectors["base"], self._vectors["len"]
        kept: list[object] = []
        at = 0
        for train, count in zip(waiting, counts, strict=True):
            array = np.frombuffer(train.data, np.uint8)
            kept.append(array)
            size = train.frame_size
            bases[at : at + count] = self._steps[:count] * np.uintp(size) + np.uintp(address_of(array))
            lengths[at : at + count] = size
            at += count
            lengths[at - 1] = len(array) - (count - 1) * size
        return total, kept


class FrameSender:
    """Gathers trains for one far end, and sends their frames at once.

    Args:
        outbox: sends.
        sock: connected to the far end.
        discards: what cannot be sent, by reason.
    """

    def __init__(self, outbox: FrameOutbox, sock: socket.socket, discards: Counter[str]) -> None:
        self._outbox = outbox
        self._sock = sock
        self._discards = discards
        self._waiting: list[Train] = []

    def add(self, train: Train) -> None:
        """Take a train, lent until ``flush``."""
        frames = plain_or_discard(train, self._discards)
        if frames is not None:
            self._waiting.append(frames)

    def flush(self) -> None:
        """Send what was taken; what the socket has no room for is discarded."""
        waiting = self._waiting
        if waiting:
            self._waiting = []
            self._outbox.send(self._sock, waiting, self._discards)


def _send_one(sock: socket.socket, frame: Buffer, discards: Counter[str]) -> OSError | None:
    try:
        sock.send(frame)
    except OSError as error:
        if error.errno in _NOT_NOW:
            discards["queue-full"] += 1
            return None
        return _count_failure(error, discards)
    return None


def _count_failure(error: OSError, discards: Counter[str]) -> OSError | None:
    if error.errno == errno.EMSGSIZE:
        discards["oversized"] += 1
        return None
    discards["unreachable"] += 1
    return error
