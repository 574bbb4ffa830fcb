"""Assembling: trains of slices become superframes again, or the frames that the slices stand for.

What slices are is told in ``vport.slices``. They come from the network, so that nothing about them is
believed: what does not fit together is no slice.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

from vport.checksum import get_word, put_word
from vport.errors import FrameError
from vport.segments import (
    CWR,
    FIN,
    NEEDS_CSUM,
    PSH,
    TCP,
    ordinary_layout,
)
from vport.slices import GROUP_BIT, SOURCE, Shape, differences, shape_of
from vport.superframes import finish_head
from vport.train import Train
from vport.virtio_net import GsoType, VirtioNetHeader

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from vport.ethernet import Buffer

    _Parts = npt.NDArray[np.void]

_NONE: Final = int(GsoType.NONE)


def assemble(train: Train) -> list[Train]:
    """Make superframes of a train of slices, in new bytes: one, unless slices are missing or out of order.

    A slice whose neighbours are missing becomes a frame with a partial checksum.

    Raises:
        FrameError: these are no slices.
    """
    data, stride = train.data, train.frame_size
    shape = _shape(data, stride)
    head = bytearray(data[: shape.layout.payload])
    first, odd = divmod(get_word(head, shape.offset_at)[0], shape.size)
    if not odd and _are_neighbours(data, head, shape, first):
        return [_assembled(data, head, shape)]
    return [_assembled(part, bytearray(part[: shape.layout.payload]), shape) for shape, part in _parts(train)]


def _shape(data: Buffer, stride: int) -> Shape:
    """Find the headers of the first slice in ``data``.

    Raises:
        FrameError: it is none.
    """
    layout = ordinary_layout(data, 0, min(stride, len(data)))
    if layout is None or not data[SOURCE] & GROUP_BIT or 0 < len(data) % stride <= layout.payload:
        raise FrameError(f"{len(data)} bytes in frames of {stride} are no slices")
    return shape_of(layout, stride - layout.payload)


def _are_neighbours(data: Buffer, head: bytearray, shape: Shape, first: int) -> bool:
    """Whether ``data`` is a part of one superframe, from slice ``first`` on; ``head`` is that one's."""
    start, stride = shape.layout.payload, shape.stride
    count = -(-len(data) // stride)
    if (first + count) * shape.size > 0xFFFF + shape.size:
        return False
    rows: _Parts = np.ndarray(count, shape.head, data, 0, (stride,))
    common = np.frombuffer(rows.tobytes(), np.uint8) ^ differences(shape, first, count)
    blank = bytearray(head[:start])
    shape.blank(blank)
    return common.tobytes() == blank * count


def _parts(train: Train) -> Iterator[tuple[Shape, Buffer]]:
    """Give what belongs together in a train of slices, in order, by looking at one after the other."""
    data, stride = memoryview(train.data), train.frame_size
    start, expected = 0, (b"", 0)  # headers but for what is each slice's own, and offset
    shape = _shape(data, stride)
    for at in range(0, len(data), stride):
        frame = data[at : at + stride]
        own = _shape(frame, stride)
        head = bytearray(frame[: own.layout.payload])
        offset = get_word(head, own.offset_at)[0]
        own.blank(head)
        found = (bytes(head), offset)
        if found != expected and at:
            yield shape, data[start:at]
            start = at
        shape, expected = own, (found[0], offset + own.size)
    yield shape, data[start:]


def _assembled(data: Buffer, head: bytearray, shape: Shape) -> Train:
    """Join slices that are neighbours, the first of which has the headers ``head``.

    Raises:
        FrameError: they are more than their superframe has.
    """
    layout = shape.layout
    start, size, stride = layout.payload, shape.size, shape.stride
    full, rest = divmod(len(data), stride)
    payload = full * size + (rest - start if rest else 0)
    offset, whole = get_word(head, shape.offset_at)[0], shape.total(head) - start
    if offset + payload > whole:
        raise FrameError(f"slices up to byte {offset + payload} of a superframe with {whole}")
    out = np.empty(start + payload, np.uint8)
    if full:
        rows: _Parts = np.ndarray(full, shape.payload, out, start)
        rows[:] = np.ndarray(full, shape.payload, data, start, (stride,))
    view = out.data
    if rest:
        view[start + full * size :] = data[full * stride + start :]
    _rewrite(head, shape, offset, is_last=offset + payload == whole)
    kind, field = finish_head(head, layout, start + payload, 0)
    view[:start] = head
    if payload <= size:
        alone = VirtioNetHeader(NEEDS_CSUM, _NONE, 0, 0, layout.transport, field)
        return Train(view, start + payload, alone)
    return Train(view, stride, _header(kind, start, size, layout.transport, field))


@lru_cache(maxsize=256)
def _header(kind: int, start: int, size: int, transport: int, field: int) -> VirtioNetHeader:
    return VirtioNetHeader(NEEDS_CSUM, kind, start, size, transport, field)


def _rewrite(head: bytearray, shape: Shape, offset: int, *, is_last: bool) -> None:
    """Make headers from a slice's those of the frames from there on; lengths and checksums come later."""
    head[SOURCE] &= ~GROUP_BIT
    network, transport = shape.layout.network, shape.layout.transport
    if shape.number_at:
        ident, number = get_word(head, network + 4)[0], get_word(head, shape.number_at)[0]
        put_word(head, network + 4, ident + number & 0xFFFF)
    if shape.layout.protocol != TCP:
        return
    if offset:
        sequence = int.from_bytes(head[transport + 4 : transport + 8], "big") + offset
        head[transport + 4 : transport + 8] = (sequence & 0xFFFFFFFF).to_bytes(4, "big")
        head[transport + 13] &= ~CWR
    if not is_last:
        head[transport + 13] &= ~(FIN | PSH)
