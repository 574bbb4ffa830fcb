"""Slices: a superframe on its way between two ends that both know it, so that nobody has to cut or join it.

Cutting superframes and joining frames again is half of the work of a tunnel. A *slice* stands for one of the
frames that a superframe would be cut into: it has the superframe's own headers and that frame's part of the
payload, and exactly that frame's size. A train of slices is what goes over the wire, a datagram each. Every
slice can be made the frame that it stands for by itself, so that a lost one costs no other. A slice differs
from a frame in this:

* the group bit of its source address is set, which no frame may have (802.3-2018 3.2.3): that tells slices;
* IP length, IPv4 ID, sequence number, TCP flags and UDP length are the superframe's;
* the TCP or UDP checksum is the superframe's, which is the sum of the pseudo header, with the bits inverted
  that are set in the offset of the slice's payload in the superframe's payload;
* the header checksum of IPv4 is the superframe's with the bits inverted that are set in the number of the
  slice in the superframe.

So the headers of its first slice are a superframe's but for the group bit. On their way the bytes are
protected by the checksums of the datagrams that carry the slices. Only superframes with the most ordinary
headers are sliced: no IPv4 options or fragments, no IPv6 extension headers, at most one 802.1Q tag. Ends tell
each other that they know slices as ``vport.greeting`` says.

``slice_up`` makes slices, ``vport.assembly`` makes superframes or frames of them again.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import groupby
from typing import TYPE_CHECKING, Final

import numpy as np

from vport.checksum import MODULUS, get_word, ones_sum, pseudo_sum
from vport.ethernet import HEADER_SIZE, TAG_SIZE
from vport.segments import (
    DONT_FRAGMENT,
    IPV4,
    IPV4_HEADER_SIZE,
    IPV6,
    IPV6_HEADER_SIZE,
    MAX_IP_SIZE,
    TCP,
    TCP_CHECKSUM,
    TCP_HEADER_SIZE,
    UDP,
    UDP_CHECKSUM,
    UDP_HEADER_SIZE,
    VLAN,
    Layout,
)
from vport.train import SLICES, Train, are_alike

if TYPE_CHECKING:
    import numpy.typing as npt

    from vport.ethernet import Buffer
    from vport.virtio_net import VirtioNetHeader

    _Bytes = npt.NDArray[np.uint8]
    _Parts = npt.NDArray[np.void]

SOURCE: Final = 6  # offset of the source address in a frame
GROUP_BIT: Final = 0x01  # of an address's first byte

_LEAST: Final = HEADER_SIZE + TAG_SIZE  # bytes that may be looked at without asking
_KEPT_SLICES: Final = 128  # plans for more are not kept


class Shape:
    """What all slices with the same layout and size have in common.

    Attributes:
        layout: where the headers lie.
        size: payload bytes of every slice but the last.
        stride: bytes from one slice to the next.
        is_ipv4: whether it is IPv4, else IPv6.
        mark_at: where the checksum stands that tells the offset.
        number_at: where the checksum stands that tells the number of an IPv4 slice.
        addresses: where the IP addresses begin and end.
        head: the NumPy type of a slice's headers.
        payload: the NumPy type of a slice's payload.
    """

    __slots__ = (
        "addresses",
        "head",
        "is_ipv4",
        "layout",
        "mark_at",
        "number_at",
        "payload",
        "size",
        "stride",
    )

    def __init__(self, layout: Layout, size: int) -> None:
        network = layout.network
        self.is_ipv4 = layout.ethertype == IPV4
        self.layout, self.size, self.stride = layout, size, layout.payload + size
        self.number_at = network + 10
        self.mark_at = layout.transport + (TCP_CHECKSUM if layout.protocol == TCP else UDP_CHECKSUM)
        self.addresses = (network + 12, network + 20) if self.is_ipv4 else (network + 8, network + 40)
        self.head, self.payload = np.dtype(f"V{layout.payload}"), np.dtype(f"V{size}")

    def total(self, head: Buffer) -> int:
        """Give the size of the superframe, as its IP header tells it."""
        network: int = self.layout.network
        if self.is_ipv4:
            return network + int(get_word(head, network + 2)[0])
        return network + IPV6_HEADER_SIZE + int(get_word(head, network + 4)[0])

    def unmarked(self, head: Buffer, total: int) -> int:
        """Give what stands at ``mark_at`` in a superframe of ``total`` bytes with the headers ``head``."""
        start, end = self.addresses
        return pseudo_sum(head[start:end], self.layout.protocol, total - self.layout.transport)


shape_of: Final = lru_cache(maxsize=256)(Shape)


def marks(shape: Shape, first: int, count: int) -> _Bytes:
    """Give the bits in which the headers of ``count`` slices from number ``first`` on differ from that one's.

    The rows, one behind the other; not to be modified.
    """
    return (_kept_marks if count <= _KEPT_SLICES else _make_marks)(shape, first, count)


def _make_marks(shape: Shape, first: int, count: int) -> _Bytes:
    table: _Bytes = np.zeros((count, shape.layout.payload), np.uint8)
    offsets = np.arange(first, first + count) * shape.size
    offsets ^= first * shape.size
    _put_column(table, shape.mark_at, offsets)
    if shape.is_ipv4:
        _put_column(table, shape.number_at, np.arange(first, first + count) ^ first)
    return table.reshape(-1)


def _put_column(table: _Bytes, at: int, values: npt.NDArray[np.int64]) -> None:
    table[:, at], table[:, at + 1] = values >> 8, values & 0xFF


_kept_marks: Final = lru_cache(maxsize=256)(_make_marks)


def tell_apart(data: Buffer, frame_size: int) -> list[Train]:
    """Make trains of what came from an end that may send slices: frames and slices do not mix.

    Args:
        data: frames and slices back to back, each at least 14 bytes long.
        frame_size: bytes of each but the last.
    """
    if len(data) <= frame_size or are_alike(data, frame_size):
        train = Train(data, frame_size, SLICES if data[SOURCE] & GROUP_BIT else None)
        train.is_run = True
        return [train]
    view, trains, start = memoryview(data), [], 0
    for is_slice, group in groupby(view[SOURCE::frame_size], lambda mark: mark & GROUP_BIT):
        end = start + len(list(group)) * frame_size
        trains.append(Train(view[start:end], frame_size, SLICES if is_slice else None))
        start = end
    return trains


def slice_up(train: Train) -> Train | None:
    """Make slices of a superframe, in new bytes; None where it is none, or must be cut, or needs not be."""
    header, data = train.offload, train.data
    if header is None or not header.gso_type or len(data) <= max(header.hdr_len + header.gso_size, _LEAST):
        return None
    shape = _shape_of_superframe(header, data[12] << 8 | data[13], data[16] << 8 | data[17])
    if shape is None:
        return None
    head = bytearray(data[: shape.layout.payload])
    if not _is_ordinary(head, shape, len(data)):
        return None
    head[SOURCE] |= GROUP_BIT
    return Train(_with_heads(data, head, shape), shape.stride, SLICES)


@lru_cache(maxsize=256)
def _shape_of_superframe(header: VirtioNetHeader, ethertype: int, inner: int) -> Shape | None:
    """Find the shape of a superframe's slices; None if it cannot be sliced.

    Args:
        header: of the superframe; checked against the frame by ``vport.offload.from_tap``.
        ethertype: what stands behind its addresses.
        inner: the EtherType behind a tag, if ``ethertype`` is that of one.
    """
    network = HEADER_SIZE
    if ethertype == VLAN:
        network, ethertype = HEADER_SIZE + TAG_SIZE, inner
    size = {IPV4: IPV4_HEADER_SIZE, IPV6: IPV6_HEADER_SIZE}.get(ethertype)
    protocol = {TCP_CHECKSUM: TCP, UDP_CHECKSUM: UDP}.get(header.csum_offset)
    if size is None or protocol is None or header.csum_start != network + size or not header.gso_size:
        return None
    if header.hdr_len < header.csum_start + (TCP_HEADER_SIZE if protocol == TCP else UDP_HEADER_SIZE):
        return None
    layout = Layout(ethertype, protocol, network, header.csum_start, header.hdr_len)
    return shape_of(layout, header.gso_size)


def _is_ordinary(head: bytearray, shape: Shape, size: int) -> bool:
    """Whether the headers of a superframe of ``size`` bytes say nothing that its slices could not."""
    network = shape.layout.network
    if shape.is_ipv4 and get_word(head, network + 6)[0] & ~DONT_FRAGMENT:
        return False
    if shape.is_ipv4 and (
        ones_sum(head[network : shape.layout.transport]) != MODULUS
        or get_word(head, shape.number_at)[0] == MODULUS  # as right as 0, but nobody makes it again
    ):
        return False
    if size - network > MAX_IP_SIZE or shape.total(head) != size:
        return False
    return bool(get_word(head, shape.mark_at)[0] == shape.unmarked(head, size))


def _with_heads(data: Buffer, head: bytearray, shape: Shape) -> memoryview:
    """Copy the payload of ``data``, with ``head`` and its own mark in front of every slice's."""
    start, size, stride = shape.layout.payload, shape.size, shape.stride
    full, rest = divmod(len(data) - start, size)
    count = full + bool(rest)
    out = np.empty(count * start + len(data) - start, np.uint8)
    heads: _Bytes = np.frombuffer(head * count, np.uint8) ^ marks(shape, 0, count)
    rows: _Parts = np.ndarray(count, shape.head, out, 0, (stride,))
    rows[:] = heads.view(shape.head)
    rows = np.ndarray(full, shape.payload, out, start, (stride,))
    rows[:] = np.ndarray(full, shape.payload, data, start)
    view = out.data
    if rest:
        view[-rest:] = data[-rest:]
    return view
