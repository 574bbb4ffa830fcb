"""Receiving a batch with one system call, and joining the frames of each far end into trains.

Where many peers send single frames at the same time, frames of the same size from the same peer become
one train, so that the bridge looks at them once and they leave with one system call too. Their order
within a peer stays.
"""

from __future__ import annotations

import contextlib
import copy
import mmap
import socket
import struct
from collections import defaultdict
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from vport.links.datagrams import DATAGRAM_SIZE, IN6_PKTINFO, IN_PKTINFO, is_connected, tells_local_address
from vport.links.inbox import FULL_TURN, Arrival, Origin
from vport.links.mmsg import (
    IOVEC,
    MMSGHDR,
    MSGHDR,
    NAME_SIZE,
    Calls,
    address_of,
    decode_address,
    field_offset,
    name_size,
)

if TYPE_CHECKING:
    from collections.abc import Hashable

    from vport.ethernet import Buffer

BATCH: Final = FULL_TURN  # datagrams or trains per turn
TRAIN_BATCH: Final = 8  # the same while long trains arrive: what was received is to be sent from the cache
LONG: Final = 4096  # mean bytes per message that count as long trains
JOINED_SIZE: Final = 60_000  # bytes up to which frames are joined: one send (65 507) carries them
STRIDE: Final = DATAGRAM_SIZE + 192  # between buffers: not a power of two, so that they share no cache set

_GRO_SPACE: Final = socket.CMSG_SPACE(4)
_GRO_SIZE_AT: Final = socket.CMSG_LEN(0)
_LENGTH_AT: Final = field_offset(MMSGHDR, "len")
_CONTROL_SIZE_AT: Final = field_offset(MSGHDR, "controllen")
_get_length: Final = struct.Struct("@I").unpack_from
_get_size: Final = struct.Struct("@N").unpack_from


class BatchInbox:
    """Receives with ``recvmmsg``.

    An origin is the far end's address and our own, as the kernel wrote them one after the other, without
    the zeros at the end. A train's control data is preceded by the size of its frames.

    Args:
        sock: the socket; asked for local addresses before, if at all.
        calls: the system calls.
    """

    def __init__(self, sock: socket.socket, calls: Calls) -> None:
        self._sock = sock
        self._calls = calls
        self._name_size = 0 if is_connected(sock) else name_size(sock.family)
        info = IN6_PKTINFO if sock.family == socket.AF_INET6 else IN_PKTINFO
        self._local_space = socket.CMSG_SPACE(info.size) if tells_local_address(sock) else 0
        self._info_at = NAME_SIZE + _GRO_SIZE_AT
        self._info = info
        self._origin_size = NAME_SIZE + _GRO_SIZE_AT + info.size if self._local_space else self._name_size
        self._wanted = BATCH
        self._allocate()

    def _allocate(self) -> None:
        """Lay out the buffers and the structures that point to them; the kernel fills them in."""
        memory = mmap.mmap(-1, BATCH * STRIDE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        with contextlib.suppress(OSError):  # then only pages that frames were written to take memory
            memory.madvise(mmap.MADV_NOHUGEPAGE)
        arena = np.frombuffer(memory, np.uint8).reshape(BATCH, STRIDE)
        control_size = _GRO_SPACE + self._local_space
        sides = np.zeros((BATCH, NAME_SIZE + control_size), np.uint8)
        rows = np.arange(BATCH, dtype=np.uintp)
        vectors = np.zeros(BATCH, IOVEC)
        vectors["base"] = address_of(arena) + rows * STRIDE
        vectors["len"] = DATAGRAM_SIZE
        messages = np.zeros(BATCH, MMSGHDR)
        headers = messages["header"]
        if self._name_size:
            headers["name"] = address_of(sides) + rows * sides.shape[1]
            headers["namelen"] = self._name_size
        headers["iov"] = address_of(vectors) + rows * IOVEC.itemsize
        headers["iovlen"] = 1
        headers["control"] = address_of(sides) + rows * sides.shape[1] + NAME_SIZE
        headers["controllen"] = control_size
        self._arena = [row.data for row in arena]
        self._frame_size = 0
        self._frame_views: list[Buffer] = []
        self._sides = [row.data for row in sides]
        self._vectors = vectors  # kept alive: the kernel reads it
        self._messages = messages
        self._address = address_of(messages)
        self._sizes = messages["len"]
        self._control_sizes = headers["controllen"]
        self._raw = messages.view(np.uint8).data
        self._template = bytes(self._raw)
        self._first_template = self._template[: MMSGHDR.itemsize]
        origin_type = f"S{self._origin_size or 1}"
        self._origins = np.ndarray(BATCH, origin_type, sides.data, 0, (sides.shape[1],))

    def beside(self, sock: socket.socket) -> Self:
        """Make an inbox for another socket, in the same memory."""
        twin = copy.copy(self)
        twin._sock = sock  # noqa: SLF001 - one of us
        twin._wanted = BATCH  # noqa: SLF001
        return twin

    def receive(self, limit: int = BATCH) -> tuple[list[Arrival], bool]:
        """Take up to a batch of datagrams or trains."""
        wanted = min(self._wanted, limit)
        try:
            count = self._calls.receive(self._sock.fileno(), self._address, wanted)
        except (BlockingIOError, InterruptedError):
            return [], False
        if count == 1:
            return [self._lone_arrival()], wanted == 1
        sizes = self._sizes[:count].tolist()
        control_sizes = self._control_sizes[:count].tolist()
        used = count * MMSGHDR.itemsize
        self._raw[:used] = self._template[:used]
        self._wanted = TRAIN_BATCH if sum(sizes) > LONG * count else BATCH
        if count > 1 and control_sizes.count(self._local_space) == count and min(sizes):
            return self._joined(sizes, count), count == wanted
        return list(map(self._arrival, range(count), sizes, control_sizes)), count == wanted

    def locate(self, origin: Hashable) -> Origin:
        """Tell what ``Arrival`` has as its origin."""
        assert isinstance(origin, bytes)
        whole = origin.ljust(self._origin_size, b"\0")
        local = b""
        if self._local_space:
            fields = self._info.unpack_from(whole, self._info_at)
            local = fields[0] if self._sock.family == socket.AF_INET6 else fields[1]
        return Origin(decode_address(whole), local)

    def _joined(self, sizes: list[int], count: int) -> list[Arrival]:
        """Join the frames that came singly: neighbours in a train have one origin and one size."""
        origins = self._origins[:count].tolist()
        if sizes.count(sizes[0]) == count:
            return self._joined_alike(origins, sizes[0])
        latest: dict[bytes, tuple[bytes, list[Buffer], int]] = {}
        trains: list[tuple[bytes, list[Buffer], int]] = []
        for origin, buffer, size in zip(origins, self._arena, sizes, strict=False):
            train = latest.get(origin)
            if train is not None and train[2] == size and len(train[1]) * size < JOINED_SIZE:
                train[1].append(buffer[:size])
            else:
                latest[origin] = train = (origin, [buffer[:size]], size)
                trains.append(train)
        return [
            (origin, frames[0] if len(frames) == 1 else b"".join(frames), size)
            for origin, frames, size in trains
        ]

    def _joined_alike(self, origins: list[bytes], size: int) -> list[Arrival]:
        """Do the same where all frames have one size, as those of a load of small frames mostly have.

        It takes half the time of a loop that looks at every size (24 against 49 µs for 256 frames).
        """
        frames_of: defaultdict[bytes, list[Buffer]] = defaultdict(list)
        for origin, frame in zip(origins, self._frames(size, len(origins)), strict=False):
            frames_of[origin].append(frame)
        most = -(-JOINED_SIZE // size)
        return [
            (origin, frames[at] if at + 1 == len(frames) else b"".join(frames[at : at + most]), size)
            for origin, frames in frames_of.items()
            for at in range(0, len(frames), most)
        ]

    def _frames(self, size: int, count: int) -> list[Buffer]:
        """Give the start of each buffer, ``count`` at least; the views for the latest size are kept."""
        if size != self._frame_size:
            self._frame_size = size
            self._frame_views = []
        views = self._frame_views
        views += [buffer[:size] for buffer in self._arena[len(views) : count]]
        return views

    def _lone_arrival(self) -> Arrival:
        """Read the only message of a batch, without NumPy: a lone frame's latency is made of such steps."""
        raw = self._raw
        (size,) = _get_length(raw, _LENGTH_AT)
        (control_size,) = _get_size(raw, _CONTROL_SIZE_AT)
        raw[: MMSGHDR.itemsize] = self._first_template
        self._wanted = TRAIN_BATCH if size > LONG else BATCH
        return self._arrival(0, size, control_size)

    def _arrival(self, index: int, size: int, control_size: int) -> Arrival:
        """Read one message by itself: a train, or all that came."""
        side = self._sides[index]
        if control_size == self._local_space:
            origin = bytes(side[: self._origin_size])
            frame_size = size
        else:
            at = NAME_SIZE + _GRO_SPACE
            origin = bytes(side[:NAME_SIZE]) + bytes(side[at : at + self._origin_size - NAME_SIZE])
            (frame_size,) = struct.unpack_from("@i", side, NAME_SIZE + _GRO_SIZE_AT)
        return (origin[: self._origin_size].rstrip(b"\0"), self._arena[index][:size], frame_size)
