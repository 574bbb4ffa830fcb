"""Cutting: one TCP or UDP superframe becomes a train, byte for byte as the kernel would cut it.

All frames are made at once: the headers are copied into all rows of the new train, the payload behind
them, and what differs from row to row is written column by column. Read ``cut`` first.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

import numpy as np

from vport.checksum import MODULUS, complete_checksums, get_word, ones_sum, put_word, row_sums
from vport.errors import FrameError
from vport.segments import (
    CWR,
    FIN,
    IPV6,
    IPV6_HEADER_SIZE,
    MAX_IP_SIZE,
    PSH,
    TCP_CHECKSUM,
    UDP,
    UDP_CHECKSUM,
    superframe_layout,
)
from vport.train import Train, lone

if TYPE_CHECKING:
    import numpy.typing as npt

    from vport.ethernet import Buffer
    from vport.segments import Layout
    from vport.virtio_net import VirtioNetHeader

# 64 kB in segments of 48 bytes, the least that Linux accepts as MSS (tcp_min_snd_mss), become 200 kB.
# Who asks for more than this only wants our memory.
MAX_CUT_SIZE: Final = 1 << 20

_get_long: Final = struct.Struct("!I").unpack_from


def cut(data: Buffer, header: VirtioNetHeader) -> Train:
    """Cut the superframe ``data`` as ``header`` says, into a train with bytes of its own.

    As in the kernel (tcp_gso_segment, __udp_gso_segment): IPv4 IDs count up, FIN and PSH are only in the
    last segment, CWR is only in the first, and checksums continue from the partial one, so that a wrong
    one stays wrong. What fits one segment only has its checksum completed.

    Raises:
        FrameError: header and frame contradict each other, or the result would be absurdly large.
    """
    layout = superframe_layout(data, header)
    payload, size = len(data) - layout.payload, header.gso_size
    if payload <= size:
        frame = bytearray(data)
        complete_checksums(frame, len(frame), header)
        return lone(frame)
    total = payload - (-payload // size) * layout.payload
    if layout.payload - layout.network + size > MAX_IP_SIZE or total > MAX_CUT_SIZE:
        raise FrameError(f"{header} makes {total} bytes of a frame of {len(data)}")
    segments = _Segments(data, layout, size)
    network, transport = _write_ipv4, _write_tcp
    if layout.ethertype == IPV6:
        network = _write_ipv6
    if layout.protocol == UDP:
        transport = _write_udp
    network(segments)
    transport(segments)
    return Train(segments.out, layout.payload + size)


class _Segments:
    """The new train while its headers are being written.

    Attributes:
        layout: where the headers lie, in the superframe and in every segment.
        head: the superframe's headers, as they were.
        whole: bytes of TCP or UDP in the superframe, as in its pseudo header.
        out: all segments, back to back.
        stride: bytes from one segment to the next.
        count: how many segments there are.
        last: offset of the last one in ``out``.
        missing: bytes that the last one is shorter than the others.
        sums: for each segment, a number congruent to the one's complement sum of its payload.
    """

    __slots__ = ("count", "head", "last", "layout", "missing", "out", "stride", "sums", "whole")

    def __init__(self, data: Buffer, layout: Layout, size: int) -> None:
        start = layout.payload
        full, rest = divmod(len(data) - start, size)
        self.layout = layout
        self.head = bytes(data[:start])
        self.whole = len(data) - layout.transport
        self.stride = start + size
        self.count = full + bool(rest)
        self.last = (self.count - 1) * self.stride
        self.missing = size - rest if rest else 0
        given = np.frombuffer(data, np.uint8)
        out = np.empty(self.count * start + len(data) - start, np.uint8)
        heads: npt.NDArray[np.uint8] = np.ndarray((self.count, start), "u1", out.data, 0, (self.stride, 1))
        heads[:] = given[:start]
        rows = out[: full * self.stride].reshape(full, self.stride)
        rows[:, start:] = given[start : start + full * size].reshape(full, size)
        self.sums = np.empty(self.count, np.int64)
        self.sums[:full] = row_sums(data, start, full, size, size)
        if rest:
            out[self.last + start :] = given[-rest:]
            self.sums[full] = ones_sum(data[-rest:])
        self.out = out.data

    def fill(self, offset: int, kind: str, values: npt.NDArray[np.int64] | int) -> None:
        """Write ``values`` to all segments, ``offset`` bytes from their start, as NumPy type ``kind``."""
        column: npt.NDArray[np.int64] = np.ndarray((self.count,), kind, self.out, offset, (self.stride,))
        column[:] = values


def _write_ipv4(segments: _Segments) -> None:
    """Write total lengths, IDs and header checksums (RFC 791 3.1)."""
    head, start = segments.head, segments.layout.network
    length = segments.stride - start
    old_length, old_id, old_checksum = (get_word(head, start + offset)[0] for offset in (2, 4, 10))
    constant = ones_sum(head[start : segments.layout.transport]) - old_length - old_id - old_checksum
    ids = np.arange(old_id, old_id + segments.count) & 0xFFFF
    checksums = (-(constant + length) - ids) % MODULUS
    segments.fill(start + 2, ">u2", length)
    segments.fill(start + 4, ">u2", ids)
    segments.fill(start + 10, ">u2", checksums)
    if segments.missing:
        at = segments.last + start
        put_word(segments.out, at + 2, length - segments.missing)
        put_word(segments.out, at + 10, (int(checksums[-1]) + segments.missing) % MODULUS)


def _write_ipv6(segments: _Segments) -> None:
    """Write payload lengths: all behind the fixed header, extension headers included (RFC 8200 3)."""
    start = segments.layout.network
    length = segments.stride - start - IPV6_HEADER_SIZE
    segments.fill(start + 4, ">u2", length)
    if segments.missing:
        put_word(segments.out, segments.last + start + 4, length - segments.missing)


def _write_tcp(segments: _Segments) -> None:
    """Write sequence numbers, flags and checksums (RFC 9293 3.1)."""
    head, start, out, sums = segments.head, segments.layout.transport, segments.out, segments.sums
    sequence, flags = _get_long(head, start + 4)[0], head[start + 13]
    first, last = flags & CWR, flags & (FIN | PSH)
    size = segments.stride - segments.layout.payload
    sequences = np.arange(sequence, sequence + size * segments.count, size) & 0xFFFFFFFF
    segments.fill(start + 4, ">u4", sequences)
    if first or last:
        segments.fill(start + 13, "u1", flags - first - last)
        out[start + 13] |= first
        out[segments.last + start + 13] |= last
    # Of the pseudo header only the length changes; the partial checksum is its sum and stands in the head.
    length = segments.stride - start
    sums += sequences
    sums += ones_sum(head[start:]) - sequence - first - last - segments.whole + length
    sums[0] += first
    sums[-1] += last - segments.missing
    segments.fill(start + TCP_CHECKSUM, ">u2", -sums % MODULUS)


def _write_udp(segments: _Segments) -> None:
    """Write lengths and checksums (RFC 768); a checksum of zero becomes 65535."""
    head, start, sums = segments.head, segments.layout.transport, segments.sums
    length = segments.stride - start
    segments.fill(start + 4, ">u2", length)
    # The length counts twice, in the header and in the pseudo header.
    sums += ones_sum(head[start:]) - get_word(head, start + 4)[0] - segments.whole + 2 * length
    sums[-1] -= 2 * segments.missing
    if segments.missing:
        put_word(segments.out, segments.last + start + 4, length - segments.missing)
    segments.fill(start + UDP_CHECKSUM, ">u2", MODULUS - sums % MODULUS)
