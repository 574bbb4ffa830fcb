"""Sealing and opening many messages of one size at once, in one buffer that UDP_SEGMENT and UDP_GRO take.

What a message costs in Python, apart from the cipher, is slices, nonces and headers. So a buffer is cut
into its slices once per message size, the headers and nonces of a whole train are written through
strided numpy views, and ``map`` calls the cipher on columns. Plaintexts lie where the cipher wants them
and are sealed in place; sealed messages are copied in and opened in place, so that the bytes
of the receiver stay as they are: a failed ``decrypt_into`` leaves forged plaintext behind.

``Keypair.seal`` and ``Keypair.open`` do the same for one message; a test holds the two against each other.
"""

from __future__ import annotations

import struct
from collections import deque
from functools import cache, lru_cache
from itertools import repeat
from typing import TYPE_CHECKING, Final

import numpy as np
from cryptography.exceptions import InvalidTag

from vport.errors import RemoteProtocolError
from vport.wireguard.constants import (
    MAX_DATAGRAMS_SIZE,
    MAX_SEGMENTS,
    TAG_SIZE,
    TRANSPORT_HEADER_SIZE,
    TRANSPORT_OVERHEAD,
    MessageType,
)
from vport.wireguard.plaintext import pad, padded_size

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from numpy.typing import NDArray

    from vport.ethernet import Buffer
    from vport.wireguard.keypair import Keypair
    from vport.wireguard.plaintext import PlaintextTrain

    Rows = NDArray[np.uint8]
    """Plaintexts of one size, one per row."""

    Parts = NDArray[np.void]
    """A part of each of many messages, as wholes."""

_NONCE_SIZE: Final = 12
_POOL_LIMIT: Final = 16  # buffers kept, of at most 64 KiB, 20 KiB of slices and 40 KiB of places
_PLACES_LIMIT: Final = 64  # kept for a buffer


@cache
def _splitter(count: int) -> Callable[[Buffer], tuple[Any, ...]]:
    return struct.Struct(f"{_NONCE_SIZE}s" * count).unpack_from


def capacity(size: int) -> int:
    """How many messages of ``size`` bytes go into one send or receive."""
    return min(MAX_SEGMENTS, MAX_DATAGRAMS_SIZE // size)


@lru_cache(maxsize=1024)
def _measures(size: int, mtu: int) -> tuple[int, int]:
    """Give the size of the message for a plaintext of ``size`` bytes, and how many of them go at once."""
    sealed = padded_size(size, mtu) + TRANSPORT_OVERHEAD
    return sealed, capacity(sealed)


def column(data: Buffer, at: int, width: int, stride: int, count: int) -> Parts:
    """Give ``width`` bytes of each of ``count`` messages, ``stride`` bytes from one to the next.

    Copied as wholes, which takes less than a table of bytes (2 against 3 µs for 60 kB).
    """
    return np.ndarray(count, _void(width), data, at, (stride,))


@cache
def _void(width: int) -> np.dtype[np.void]:
    return np.dtype(f"V{width}")


class _Places:
    """Where the parts of ``count`` plaintexts lie: a prefix, ``width`` bytes that differ, and padding."""

    __slots__ = ("bodies", "padding", "prefixes", "type", "zeros")

    def __init__(self, buffer: Buffer, size: int, count: int, prefix: int, width: int) -> None:
        body = TRANSPORT_HEADER_SIZE + prefix
        end, rest = body + width, size - TAG_SIZE - body - width
        self.type = _void(width)
        self.bodies = column(buffer, body, width, size, count)
        self.prefixes = column(buffer, TRANSPORT_HEADER_SIZE, prefix, size, count) if prefix else None
        self.padding = column(buffer, end, rest, size, count) if rest else None
        self.zeros: Parts = np.zeros(1, _void(rest or 1))


class _SegmentBuffer:
    """Room for messages of ``size`` bytes, with every slice and view made beforehand."""

    __slots__ = (
        "_buffer",
        "_counters",
        "_heads",
        "_nonce_counters",
        "_nonces",
        "_places",
        "_receiver",
        "_size",
        "_steps",
        "plain",
        "rows",
        "sealed",
        "view",
    )

    def __init__(self, size: int) -> None:
        count = capacity(size)
        end = size * count
        buffer = bytearray(min(end + size, MAX_DATAGRAMS_SIZE))  # a shorter message may follow
        self._buffer = buffer
        self._size = size
        self.view = memoryview(buffer)
        self.sealed = [self.view[at + TRANSPORT_HEADER_SIZE : at + size] for at in range(0, end, size)]
        self.plain = [piece[:-TAG_SIZE] for piece in self.sealed]
        self.rows: Rows = np.ndarray((count, size), np.uint8, buffer)
        self._heads: NDArray[np.uint64] = np.ndarray((count,), "<u8", buffer, 0, (size,))
        self._receiver = -1  # what the heads say
        self._counters: NDArray[np.uint64] = np.ndarray((count,), "<u8", buffer, 8, (size,))
        self._nonces = bytearray(_NONCE_SIZE * count)
        self._nonce_counters: NDArray[np.uint64] = np.ndarray(
            (count,), "<u8", self._nonces, 4, (_NONCE_SIZE,)
        )
        self._steps = np.arange(count, dtype="<u8")
        self._places: dict[tuple[int, int, int], _Places] = {}

    def places(self, count: int, prefix: int, width: int) -> _Places:
        """Say where ``count`` plaintexts of ``width`` bytes behind a prefix are to be put."""
        key = (count, prefix, width)
        found = self._places.get(key)
        if found is None:
            if len(self._places) >= _PLACES_LIMIT:
                self._places.clear()
            found = self._places[key] = _Places(self._buffer, self._size, count, prefix, width)
        return found

    def write_headers(self, receiver: int, first: int, count: int) -> tuple[bytes, ...]:
        """Write the headers of ``count`` messages from counter ``first``; give the nonces."""
        if receiver != self._receiver:
            self._heads[:] = MessageType.TRANSPORT | receiver << 32
            self._receiver = receiver
        counters = self._steps[:count] + np.uint64(first)
        self._counters[:count] = counters
        self._nonce_counters[:count] = counters
        return _splitter(count)(self._nonces)

    def read_headers(self, count: int) -> tuple[NDArray[np.uint64], tuple[bytes, ...]]:
        """Give the counters of ``count`` messages, copied, and the nonces."""
        counters = self._counters[:count].copy()
        self._nonce_counters[:count] = counters
        return counters, _splitter(count)(self._nonces)

    def is_run(self, counters: NDArray[np.uint64]) -> bool:
        """Whether the counters follow each other without a gap."""
        expected = self._steps[: len(counters)] + counters[0]
        return bool(counters.tobytes() == expected.tobytes())  # asking NumPy takes three times as long


class _Pool:
    """Buffers by message size and place within a call; what was not used longest goes."""

    __slots__ = ("_buffers",)

    def __init__(self) -> None:
        self._buffers: dict[tuple[int, int], _SegmentBuffer] = {}

    def get(self, size: int, place: int) -> _SegmentBuffer:
        buffer = self._buffers.pop((size, place), None)
        if buffer is None:
            if len(self._buffers) >= _POOL_LIMIT:
                del self._buffers[next(iter(self._buffers))]
            buffer = _SegmentBuffer(size)
        self._buffers[size, place] = buffer
        return buffer


class Sealer:
    """Seals trains of plaintexts. What it returns is lent until ``restart``."""

    __slots__ = ("_place", "_pool")

    def __init__(self) -> None:
        self._pool = _Pool()
        self._place = 0

    def restart(self) -> None:
        """Take all buffers back."""
        self._place = 0

    def seal(self, keypair: Keypair, train: PlaintextTrain, mtu: int) -> list[tuple[Buffer, int]]:
        """Seal a train: datagrams back to back and their size, in as many pieces as sends it takes.

        Raises:
            LocalProtocolError: the keypair has not that many counters left.
        """
        size, limit = _measures(len(train.prefix) + train.size, mtu)
        total = len(train.data) // train.size
        if train.messages == 1 or limit < 2:
            messages = (keypair.seal(pad(plaintext, mtu)) for plaintext in train.plaintexts())
            return [(message, len(message)) for message in messages]
        pieces: list[tuple[Buffer, int]] = []
        for start in range(0, total, limit):
            count = min(limit, total - start)
            view, used = self._seal_rows(keypair, train, start, count, size).view, count * size
            if train.tail and start + count == total:
                message = keypair.seal(pad(train.tail, mtu))
                if used + len(message) > len(view) or count == MAX_SEGMENTS:
                    return [*pieces, (view[:used], size), (message, len(message))]
                view[used : used + len(message)] = message
                used += len(message)
            pieces.append((view[:used], size))
        return pieces

    def _seal_rows(
        self, keypair: Keypair, train: PlaintextTrain, start: int, count: int, size: int
    ) -> _SegmentBuffer:
        buffer = self._pool.get(size, self._place)
        self._place += 1
        places = buffer.places(count, len(train.prefix), train.size)
        if places.prefixes is not None:
            places.prefixes[:] = np.frombuffer(train.prefix, places.prefixes.dtype)
        places.bodies[:] = np.ndarray(count, places.type, train.data, start * train.size)
        if places.padding is not None:
            places.padding[:] = places.zeros
        nonces = buffer.write_headers(keypair.remote_index, keypair.take(count), count)
        deque(map(keypair.sender.encrypt_into, nonces, buffer.plain, repeat(None), buffer.sealed), 0)
        return buffer


class Opener:
    """Opens trains of messages. The rows it returns are lent until the next call."""

    __slots__ = ("_pool",)

    def __init__(self) -> None:
        self._pool = _Pool()

    def open(self, keypair: Keypair, data: Buffer, size: int) -> tuple[Rows, int, int]:
        """Open messages of ``size`` bytes each, all of ``keypair``, at most ``capacity(size)``.

        Counters are marked in the replay window. Returns the plaintexts that are genuine and fresh, in
        order, and how many messages were forged and how many replayed.
        """
        count = len(data) // size
        buffer = self._pool.get(size, 0)
        buffer.view[: count * size] = data
        counters, nonces = buffer.read_headers(count)
        try:
            deque(map(keypair.receiver.decrypt_into, nonces, buffer.sealed, repeat(None), buffer.plain), 0)
        except InvalidTag:
            return self._open_each(keypair, memoryview(data), size)
        rows = buffer.rows[:count, TRANSPORT_HEADER_SIZE : size - TAG_SIZE]
        if buffer.is_run(counters) and keypair.replay.accept_run(int(counters[0]), count):
            return rows, 0, 0
        fresh = np.array([keypair.replay.accept(counter) for counter in counters.tolist()])
        return rows[fresh], 0, count - int(fresh.sum())

    def _open_each(self, keypair: Keypair, data: memoryview, size: int) -> tuple[Rows, int, int]:
        """Do the same message by message, to keep the genuine ones beside a forged one."""
        plaintexts: list[bytes] = []
        forged = replayed = 0
        for start in range(0, len(data), size):
            try:
                counter, plaintext = keypair.open(data[start : start + size])
            except RemoteProtocolError:
                forged += 1
                continue
            if keypair.replay.accept(counter):
                plaintexts.append(plaintext)
            else:
                replayed += 1
        rows: Rows = np.array(bytearray().join(plaintexts), np.uint8)
        return rows.reshape(len(plaintexts), size - TRANSPORT_OVERHEAD), forged, replayed
