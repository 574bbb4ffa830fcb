"""Joining: segments of one TCP flow, or equal datagrams of one UDP flow, become one superframe.

The rules are those of the kernel's own receive offload (tcp_gro_receive, udp_gro_receive_segment) and
one of ours: cutting the result must give the very same frames again. Hence

* same Ethernet, IP and TCP or UDP headers but for lengths, IDs, sequence numbers, checksums, FIN, PSH, CWR;
* IPv4 without options or fragments, IPv6 without extension headers; at most one 802.1Q tag;
* IPv4 IDs count up by one. The kernel also takes equal IDs of packets with DF; a superframe cannot say
  that (``fixed_ids``);
* sequence numbers without a gap, payload in every segment, only the last shorter;
* no SYN, RST, URG; FIN and PSH only in the last segment, CWR only in the first;
* every checksum right, and written the way a sender computes it (a TCP checksum of 65535 verifies, but is
  one that nobody computes; a UDP checksum of 0 is none).

Read ``joined`` first. A train is looked at as rows: row i is its i-th frame.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from vport.checksum import MODULUS, ones_sum, put_word, row_sums
from vport.clean_runs import is_clean_run
from vport.ethernet import HEADER_SIZE
from vport.segments import (
    CWR,
    DONT_FRAGMENT,
    FIN,
    IPV4,
    IPV4_HEADER_SIZE,
    IPV6,
    IPV6_HEADER_SIZE,
    LEAST_SIZE,
    MAX_IP_SIZE,
    PSH,
    RST,
    SYN,
    TCP,
    TCP_CHECKSUM,
    UDP,
    UDP_CHECKSUM,
    URG,
    Layout,
    ordinary_layout,
)
from vport.superframes import superframe
from vport.train import Train
from vport.virtio_net import TapOffload

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from vport.ethernet import Buffer

    _Flags = npt.NDArray[np.bool_]
    _Bytes = npt.NDArray[np.uint8]
    _Words = npt.NDArray[np.uint64]

# Datagrams in one superframe: what the kernel's own receive offload makes at most (UDP_GRO_CNT_MAX),
# and so the most that a socket with UDP_GRO has to expect.
DATAGRAMS_MAX: Final = 64

# Frames from which on looking for what can be joined pays: that costs 20 µs, or 50 µs where the train is no
# clean run, however few frames there are; a frame alone costs 1.5 µs for the write and some 3 µs in the
# kernel's TCP and the answer to it.
LEAST: Final = 8

_CSUM: Final = int(TapOffload.CSUM)
_TSO_ECN: Final = int(TapOffload.TSO_ECN)
_NEEDED: Final = {
    (IPV4, TCP): int(TapOffload.TSO4),
    (IPV6, TCP): int(TapOffload.TSO6),
    (IPV4, UDP): int(TapOffload.USO4),
    (IPV6, UDP): int(TapOffload.USO6),
}


def joined(train: Train, takes: TapOffload, *, fixed_ids: bool = False, least: int = LEAST) -> list[Train]:
    """Join what can be joined in a plain train: superframes, and plain trains of what lies between.

    The order of the frames is kept. Superframes have bytes of their own, the rest are views; ``[train]``
    itself when nothing can be joined.

    Args:
        train: frames as they came, believed in nothing.
        takes: which kinds of superframes to make.
        fixed_ids: also join IPv4 packets with DF that all have the same ID, as Linux sends datagrams from
            unconnected sockets. Their IDs get lost, which RFC 6864 (4.1) allows as nobody may look at
            them, but whoever cuts the superframe sends other bytes.
        least: how many consecutive frames of one kind make it worth to look closer, at least 2.
    """
    data, size, total = train.data, train.frame_size, len(train.data)
    kinds = int(takes)
    if total <= size * (least - 1) or size < LEAST_SIZE or not kinds & _CSUM:
        return [train]
    result: list[Train] = []
    view, done = memoryview(data), 0
    for layout, run in _runs(data, size, kinds, least, fixed_ids=fixed_ids):
        if run.start * size > done:
            result.append(Train(view[done : run.start * size], size))
        result.append(superframe(data, size, run, layout))
        done = min(run.stop * size, total)
    if not done:
        return [train]
    if done < total:
        result.append(Train(view[done:], size))
    return result


def _runs(
    data: Buffer, size: int, kinds: int, least: int, *, fixed_ids: bool
) -> Iterator[tuple[Layout, range]]:
    """Give the frames, by number, that become one superframe each, and where their headers lie."""
    layout, rest = _layout(data, 0, size, kinds), len(data) % size
    if layout is not None and (not rest or rest > layout.payload) and is_clean_run(data, size, layout):
        for run in _parts(0, -(-len(data) // size), size, layout):
            yield layout, run
        return
    for rows in _groups(data, size, kinds, least, layout):
        for run in rows.runs(kinds, fixed_ids=fixed_ids):
            yield rows.layout, run


def _parts(start: int, stop: int, stride: int, layout: Layout) -> Iterator[range]:
    """Divide frames that belong together into what fits into superframes: at least two for each."""
    most = (MAX_IP_SIZE - layout.payload + layout.network) // (stride - layout.payload)
    if layout.protocol == UDP:
        most = min(most, DATAGRAMS_MAX)
    for part in range(start, stop, most):
        if min(stop, part + most) - part > 1:
            yield range(part, min(stop, part + most))


def _groups(data: Buffer, size: int, kinds: int, least: int, layout: Layout | None) -> Iterator[_Rows]:
    """Give the stretches of ``least`` rows or more with joinable headers at the same offsets.

    Those of the first frame lie as ``layout`` says.
    """
    count, rest = divmod(len(data), size)
    if layout is not None:
        rows = _Rows(data, size, range(count + (rest > layout.payload)), layout)
        if rows.is_uniform():
            if len(rows.numbers) >= least:
                yield rows
            return
    first = 0
    for number in range(1, count + bool(rest) + 1):
        start = number * size
        found = _layout(data, start, min(size, len(data) - start), kinds)
        if found != layout:
            if layout is not None and number - first >= least:
                yield _Rows(data, size, range(first, number), layout)
            first, layout = number, found


def _layout(data: Buffer, start: int, size: int, kinds: int) -> Layout | None:
    """Find the headers of the frame of ``size`` bytes at ``start``; None when it cannot be joined."""
    layout = ordinary_layout(data, start, size)
    if layout is None or not kinds & _NEEDED[layout.ethertype, layout.protocol]:
        return None
    if layout.protocol == TCP and data[start + layout.transport + 13] & (SYN | RST | URG):
        return None
    return layout


@lru_cache(maxsize=64)
def _masks(layout: Layout) -> tuple[_Words, _Words]:
    """Give the header bits that are alike in all frames of a flow, and those that make out the layout.

    Both as 64-bit words, for headers padded with zeros to a multiple of 8 bytes.
    """
    network, transport = layout.network, layout.transport
    alike = bytearray(b"\xff" * layout.payload)
    shape = bytearray(layout.payload)
    shape[12:HEADER_SIZE] = shape[network - 2 : network] = b"\xff\xff"
    if layout.ethertype == IPV4:
        for start, size in ((2, 4), (10, 2)):  # total length and ID; header checksum
            alike[network + start : network + start + size] = bytes(size)
        put_word(shape, network + 6, MODULUS - DONT_FRAGMENT)
        shape[network] = shape[network + 9] = 0xFF
    else:
        put_word(alike, network + 4, 0)  # payload length
        shape[network], shape[network + 6] = 0xF0, 0xFF
    if layout.protocol == TCP:
        alike[transport + 4 : transport + 8] = bytes(4)  # sequence number
        alike[transport + 13] = 0xFF - (FIN | PSH | CWR)
        put_word(alike, transport + TCP_CHECKSUM, 0)
        shape[transport + 12 : transport + 14] = bytes((0xF0, SYN | RST | URG))
    else:
        alike[transport + 4 : transport + 8] = bytes(4)  # length and checksum
    padding = bytes(-layout.payload % 8)
    return np.frombuffer(alike + padding, np.uint64), np.frombuffer(shape + padding, np.uint64)


class _Rows:
    """Consecutive frames whose headers lie at the same offsets, and their headers as a table of their own.

    Attributes:
        data: the train's bytes.
        stride: bytes from one frame to the next.
        numbers: which frames of the train these are.
        last_size: bytes of the last of them; the others have ``stride``.
        layout: where the headers lie.
        heads: their headers, a row each, padded with zeros to a multiple of 8 bytes.
        alike: whether all belong to one flow as far as headers can tell.
    """

    __slots__ = ("alike", "data", "differences", "heads", "last_size", "layout", "numbers", "stride")

    def __init__(self, data: Buffer, stride: int, numbers: range, layout: Layout) -> None:
        self.data, self.stride, self.numbers, self.layout = data, stride, numbers, layout
        self.last_size = min(stride, len(data) - numbers[-1] * stride)
        shape = (len(numbers), layout.payload)
        self.heads: _Bytes = np.zeros((len(numbers), -(-layout.payload // 8) * 8), np.uint8)
        given: _Bytes = np.ndarray(shape, "u1", data, numbers.start * stride, (stride, 1))
        self.heads[:, : layout.payload] = given
        words: _Words = self.heads.view(np.uint64)
        self.differences = words ^ words[0]
        self.alike = not (self.differences & _masks(layout)[0]).any()

    def is_uniform(self) -> bool:
        """Whether the headers really lie at the same offsets in all rows."""
        return self.alike or not (self.differences & _masks(self.layout)[1]).any()

    def runs(self, kinds: int, *, fixed_ids: bool) -> Iterator[range]:
        """Give the frames, by number, that become one superframe each: at least two."""
        valid = self._valid()
        links = valid[1:] & valid[:-1]
        if self.layout.ethertype == IPV4:
            links &= self._ids_continue(fixed_ids=fixed_ids)
        if self.layout.protocol == TCP:
            links &= self._segments_continue(kinds)
        if not self.alike:
            words: _Words = self.heads.view(np.uint64) & _masks(self.layout)[0]
            links &= (words[1:] == words[:-1]).all(axis=1)
        first = self.numbers.start
        breaks = (np.flatnonzero(~links) + (first + 1)).tolist()
        for start, stop in pairwise([first, *breaks, self.numbers.stop]):
            yield from _parts(start, stop, self.stride, self.layout)

    def _column(self, offset: int, kind: str) -> npt.NDArray[np.uint32]:
        """Give the header field at ``offset`` of every row, as NumPy type ``kind``, a view."""
        heads = self.heads
        column: npt.NDArray[np.uint32] = np.ndarray(len(heads), kind, heads, offset, heads.strides[:1])
        return column

    def _has_length(self, offset: int, start: int) -> _Flags:
        """Whether the length field at ``offset`` says what lies from ``start`` to the frame's end."""
        field = self._column(offset, ">u2")
        right: _Flags = field == self.stride - start
        right[-1] = field[-1] == self.last_size - start
        return right

    def _valid(self) -> _Flags:
        """Whether lengths and checksums of each row are right, in IP as in TCP or UDP."""
        network, transport = self.layout.network, self.layout.transport
        if self.layout.ethertype == IPV6:
            valid = self._has_length(network + 4, network + IPV6_HEADER_SIZE)
        else:
            count, width = self.heads.shape
            valid = self._has_length(network + 2, network)
            valid &= row_sums(self.heads, network, count, width, IPV4_HEADER_SIZE) % MODULUS == 0
            valid &= self._column(network + 10, "u2") != MODULUS
        if self.layout.protocol == UDP:
            valid &= self._has_length(transport + 4, transport)
            valid &= self._column(transport + UDP_CHECKSUM, "u2") != 0
        else:
            valid &= self._column(transport + TCP_CHECKSUM, "u2") != MODULUS
        valid &= self._transport_sums() % MODULUS == 0
        return valid

    def _transport_sums(self) -> npt.NDArray[np.int64]:
        """Sum TCP or UDP, pseudo header included, of each row: congruent to zero where it is right."""
        layout, count = self.layout, len(self.numbers)
        first, missing = self.numbers.start * self.stride, self.stride - self.last_size
        # The addresses stand right before the TCP or UDP header, so that one sum takes in both.
        start = layout.network + (12 if layout.ethertype == IPV4 else 8)
        full = count - 1 if missing else count
        sums = row_sums(self.data, first + start, full, self.stride, self.stride - start)
        sums += layout.protocol + self.stride - layout.transport
        if missing:
            last = first + full * self.stride
            total = ones_sum(self.data[last + start : last + self.last_size])
            total += layout.protocol + self.last_size - layout.transport
            sums = np.append(sums, total)
        return sums

    def _ids_continue(self, *, fixed_ids: bool) -> _Flags:
        """Whether the IPv4 ID of each row but the first is the next one."""
        start = self.layout.network
        ids = self._column(start + 4, ">u2").astype(np.uint16)
        steps = ids[1:] - ids[:-1]
        links: _Flags = steps == 1
        if fixed_ids:
            links |= (steps == 0) & (self._column(start + 6, "u1")[1:] & DONT_FRAGMENT >> 8 != 0)
        return links

    def _segments_continue(self, kinds: int) -> _Flags:
        """Whether sequence number and flags of each row but the first continue the TCP segment before it."""
        start = self.layout.transport
        sequences = self._column(start + 4, ">u4").astype(np.uint32)
        links: _Flags = sequences[1:] - sequences[:-1] == self.stride - self.layout.payload
        flags = self._column(start + 13, "u1")
        before = FIN | PSH if kinds & _TSO_ECN else FIN | PSH | CWR
        links &= (flags[:-1] & before | flags[1:] & CWR) == 0
        return links
