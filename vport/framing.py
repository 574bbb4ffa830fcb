"""Frames in a stream of bytes, each behind its length: bytes in, trains out, and back. No I/O.

QEMU's stream sockets have a length of four bytes, VDE plugs one of two; both are big-endian and count the
frame only. Runs of frames with one length are read and written at once.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from vport.errors import RemoteProtocolError
from vport.ethernet import HEADER_SIZE
from vport.train import Train

if TYPE_CHECKING:
    from collections import Counter

    from vport.ethernet import Buffer


@dataclass(frozen=True, slots=True, kw_only=True)
class Framing:
    """How a stream is cut into frames.

    Attributes:
        prefix: the length as it stands in the stream.
        receive_limit: bytes of the longest frame that is taken; a longer one ends the stream.
        send_limit: bytes of the longest frame that is sent; a longer one is discarded.
    """

    prefix: struct.Struct
    receive_limit: int
    send_limit: int


QEMU: Final = Framing(prefix=struct.Struct("!I"), receive_limit=65535, send_limit=65535)
"""QEMU takes up to 69632 bytes and closes at more; no device that we know sends above 65535."""

PLUG: Final = Framing(prefix=struct.Struct("!H"), receive_limit=65535, send_limit=9234)
"""vde_plug loses its place in the stream at more than 9236 bytes, and its buffer for frames has 9234."""

_FEW: Final = 4  # frames up to which a loop beats NumPy


class FrameReader:
    """Cuts what comes in from a stream into trains.

    The caller reads into ``space`` and tells ``received`` how much; the trains that come out are views
    or copies, valid until the next ``space``. What it holds is bounded by ``size``.

    Args:
        framing: how the stream is cut.
        discards: where frames that are none (empty, too short) are counted.
        size: bytes that are held, at least one frame of the limit and its length.
    """

    def __init__(self, framing: Framing, discards: Counter[str], size: int = 1 << 18) -> None:
        self._prefix = framing.prefix
        self._limit = framing.receive_limit
        assert size >= self._prefix.size + self._limit
        self._discards = discards
        self._buffer = bytearray(size)
        self._view = memoryview(self._buffer)
        self._start = 0
        self._end = 0

    @property
    def held(self) -> int:
        """How many bytes of an unfinished frame are held."""
        return self._end - self._start

    def space(self) -> memoryview:
        """Give room for what comes next; what was handed out before is overwritten."""
        if self._start:
            held = self.held
            self._view[:held] = bytes(self._view[self._start : self._end])
            self._start, self._end = 0, held
        return self._view[self._end :]

    def received(self, size: int) -> list[Train]:
        """Take note of ``size`` bytes in ``space``; give the frames that are complete now, in order.

        Raises:
            RemoteProtocolError: a length above the limit, once the frames in front of it have been
                given: the stream cannot be read on.
        """
        self._end += size
        trains: list[Train] = []
        header, unpack, buffer = self._prefix.size, self._prefix.unpack_from, self._buffer
        at, end = self._start, self._end
        while at + header <= end:
            (length,) = unpack(buffer, at)
            if length > self._limit and not trains:
                raise RemoteProtocolError(f"a frame of {length} bytes, {self._limit} are allowed")
            step = header + length
            if length > self._limit or at + step > end:
                break
            count = self._run(at, length, (end - at) // step)
            if length < HEADER_SIZE:
                self._discards["short" if length else "empty"] += count
            else:
                trains.append(self._train(at, length, count))
            at += step * count
        self._start = at
        return trains

    def _run(self, at: int, length: int, possible: int) -> int:
        """Count the frames of ``length`` bytes that follow each other, at most ``possible``."""
        header = self._prefix.size
        step = header + length
        if possible == 1 or self._buffer[at + step : at + step + header] != self._buffer[at : at + header]:
            return 1
        code = f">u{header}"
        lengths = np.ndarray((possible,), code, self._buffer, at, (step,))
        others = np.flatnonzero(lengths != length)
        return int(others[0]) if len(others) else possible

    def _train(self, at: int, length: int, count: int) -> Train:
        header = self._prefix.size
        if count == 1:
            return Train(self._view[at + header : at + header + length], length)
        rows = np.ndarray((count, length), np.uint8, self._buffer, at + header, (header + length, 1))
        return Train(rows.tobytes(), length)


def frame_train(framing: Framing, train: Train, discards: Counter[str]) -> bytes:
    """Write the frames of a plain train, each behind its length.

    Frames that the far end would not take are left out and counted; there is never a length of 0, which
    stops QEMU for good.
    """
    data, size = train.data, train.frame_size
    total = len(data)
    tail = total % size if total > size else 0
    if size > framing.send_limit or total < HEADER_SIZE:
        discards["oversized" if total >= HEADER_SIZE else "short"] += train.count
        return b""
    if total <= size:
        return b"".join((framing.prefix.pack(total), data))
    whole = (total - tail) // size
    out = _framed(framing, data, size, whole)
    if tail >= HEADER_SIZE:
        out += framing.prefix.pack(tail) + bytes(memoryview(data)[total - tail :])
    elif tail:
        discards["short"] += 1
    return out


def _framed(framing: Framing, data: Buffer, size: int, count: int) -> bytes:
    """Write ``count`` frames of ``size`` bytes."""
    prefix = framing.prefix.pack(size)
    if count <= _FEW:
        view = memoryview(data)
        return b"".join(
            part for at in range(0, size * count, size) for part in (prefix, view[at : at + size])
        )
    header = len(prefix)
    rows = np.empty((count, header + size), np.uint8)
    rows[:, :header] = np.frombuffer(prefix, np.uint8)
    rows[:, header:] = np.frombuffer(data, np.uint8, size * count).reshape(count, size)
    return rows.tobytes()
