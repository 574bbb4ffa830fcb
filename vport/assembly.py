"""Assembling: trains of slices become superframes again, or the frames that the slices stand for.

What slices are is told in ``vport.slices``. They come from the network, so that nothing about them is
believed: what does not fit together is no slice.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

from vport.checksum import checksum, get_word, put_word
from vport.errors import FrameError
from vport.segments import (
    CWR,
    FIN,
    NEEDS_CSUM,
    PSH,
    TCP,
    ordinary_layout,
)
from vport.slices import GROUP_BIT, SOURCE, Shape, marks, shape_of
from vport.superframes import checksum_field, finish_head, virtio_header
from vport.train import Train
from vport.virtio_net import GsoType, VirtioNetHeader

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from vport.ethernet import Buffer
    from vport.segments import Layout

    _Parts = npt.NDArray[np.void]

_NONE: Final = int(GsoType.NONE)


def assemble(train: Train) -> list[Train]:
    """Make superframes of a train of slices, in new bytes: one, unless slices are missing or out of order.

    A slice whose neighbours are missing becomes a frame with a partial checksum.

    Raises:
        FrameError: these are no slices.
    """
    data = train.data
    shape = _shape(data, train.frame_size)
    head = bytearray(data[: shape.layout.payload])
    offset = _offset(head, shape)
    if _are_neighbours(data, head, shape, offset):
        return [_assembled(data, head, shape, offset)]
    return [_assembled(*part) for part in _parts(train)]


def _shape(data: Buffer, stride: int) -> Shape:
    """Find the headers of the first slice in ``data``.

    Raises:
        FrameError: it is none.
    """
    layout = ordinary_layout(data, 0, min(stride, len(data)))
    if layout is None or not data[SOURCE] & GROUP_BIT or 0 < len(data) % stride <= layout.payload:
        raise FrameError(f"{len(data)} bytes in frames of {stride} are no slices")
    return shape_of(layout, stride - layout.payload)


def _offset(head: Buffer, shape: Shape) -> int:
    """Read the offset of a slice's payload in its superframe's."""
    marked: int = get_word(head, shape.mark_at)[0]
    return marked ^ shape.unmarked(head, shape.total(head))


def _are_neighbours(data: Buffer, head: bytearray, shape: Shape, offset: int) -> bool:
    """Whether ``data`` is a part of one superframe, from ``offset`` on; ``head`` is the first slice's."""
    count = -(-len(data) // shape.stride)
    first, odd = divmod(offset, shape.size)
    if odd or (first + count) * shape.size > 0xFFFF + shape.size:
        return False
    rows: _Parts = np.ndarray(count, shape.head, data, 0, (shape.stride,))
    expected = np.frombuffer(head * count, np.uint8) ^ marks(shape, first, count)
    return rows.tobytes() == expected.tobytes()


def _parts(train: Train) -> Iterator[tuple[Buffer, bytearray, Shape, int]]:
    """Give what belongs together in a train of slices, in order, by looking at one after the other.

    As ``_assembled`` takes it: the bytes, the headers of the first, the shape and the offset.
    """
    data, stride = memoryview(train.data), train.frame_size
    start, expected = 0, (b"", 0)  # headers of the superframe, and offset
    shape, first, first_offset = _shape(data, stride), bytearray(), 0
    for at in range(0, len(data), stride):
        frame = data[at : at + stride]
        own = _shape(frame, stride)
        head = bytearray(frame[: own.layout.payload])
        offset = _offset(head, own)
        common = bytearray(head)
        put_word(common, own.mark_at, 0)
        if own.is_ipv4:
            put_word(common, own.number_at, 0)
        if (bytes(common), offset) != expected:
            if at:
                yield data[start:at], first, shape, first_offset
            start, first, first_offset = at, head, offset
        shape, expected = own, (bytes(common), offset + own.size)
    yield data[start:], first, shape, first_offset


def _assembled(data: Buffer, head: bytearray, shape: Shape, offset: int) -> Train:
    """Join slices that are neighbours, the first of which has the headers ``head`` and stands at ``offset``.

    Raises:
        FrameError: they are more than their superframe has.
    """
    layout = shape.layout
    start, size, stride = layout.payload, shape.size, shape.stride
    full, rest = divmod(len(data), stride)
    payload = full * size + (rest - start if rest else 0)
    whole = shape.total(head) - start
    if offset + payload > whole:
        raise FrameError(f"slices up to byte {offset + payload} of a superframe with {whole}")
    out = np.empty(start + payload, np.uint8)
    if full:
        rows: _Parts = np.ndarray(full, shape.payload, out, start)
        rows[:] = np.ndarray(full, shape.payload, data, start, (stride,))
    view = out.data
    if rest:
        view[start + full * size :] = data[full * stride + start :]
    head[SOURCE] &= ~GROUP_BIT
    if payload < whole:
        _rewrite(head, shape, offset, payload, is_last=offset + payload == whole)
    view[:start] = head
    if payload <= size:
        return Train(view, start + payload, _header_alone(layout))
    return Train(view, stride, virtio_header(head, layout, size))


def _rewrite(head: bytearray, shape: Shape, offset: int, payload: int, *, is_last: bool) -> None:
    """Make of a superframe's headers those of its ``payload`` bytes from ``offset`` on."""
    layout = shape.layout
    network, transport = layout.network, layout.transport
    if shape.is_ipv4:
        marked = get_word(head, shape.number_at)[0]
        put_word(head, shape.number_at, 0)
        number = marked ^ checksum(head[network:transport])
        put_word(head, network + 4, get_word(head, network + 4)[0] + number & 0xFFFF)
    if layout.protocol == TCP:
        sequence = int.from_bytes(head[transport + 4 : transport + 8], "big") + offset
        head[transport + 4 : transport + 8] = (sequence & 0xFFFFFFFF).to_bytes(4, "big")
        if offset:
            head[transport + 13] &= ~CWR
        if not is_last:
            head[transport + 13] &= ~(FIN | PSH)
    finish_head(head, layout, layout.payload + payload, 0)


@lru_cache(maxsize=256)
def _header_alone(layout: Layout) -> VirtioNetHeader:
    """Give the virtio-net header of a frame with a partial checksum."""
    return VirtioNetHeader(NEEDS_CSUM, _NONE, 0, 0, layout.transport, checksum_field(layout))
