"""Train: k frames back to back in one buffer, the unit that everything here passes on.

All frames of a train have ``frame_size`` bytes but the last, which may be shorter: that is what UDP
GRO hands us, what UDP GSO takes, and what a TSO segment becomes. A lone frame is a train of one.

A train may instead be a *superframe* fresh from a TAP: one oversized frame and the virtio-net header
that says how it is to be cut (``offload``). It stays whole until somebody needs its frames:
``vport.offload.plain`` cuts it once and remembers the result here. Or it is a train of *slices*, which
stand for the frames of a superframe and are made frames in the same way (``vport.slices``).

A train is borrowed: its bytes may be overwritten after the giver's next ``flush``. Who keeps bytes
longer copies them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from vport.ethernet import HEADER_SIZE, TAG_SIZE, EtherType
from vport.virtio_net import NO_OFFLOAD, VirtioNetHeader

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from vport.ethernet import Buffer

    _Heads = npt.NDArray[np.bytes_]
    _Parts = npt.NDArray[np.void]

SLICES: Final = VirtioNetHeader(*NO_OFFLOAD)
"""As ``Train.offload``: these are slices. Compared by identity."""

_TAGGED: Final = EtherType.VLAN.to_bytes(2, "big")
_TAGGED_HEADER_SIZE: Final = HEADER_SIZE + TAG_SIZE
_HEADS: Final = {length: np.dtype(f"V{length}") for length in (HEADER_SIZE, _TAGGED_HEADER_SIZE)}
_FEW: Final = 8  # frames: up to here a loop over slices beats NumPy (2 against 15 µs for six that differ)
_FEW_ALIKE: Final = 24  # frames: the same for the question whether they differ (1.4 against 2.7 µs for 16)


class Train:
    """Frames back to back in ``data``, each ``frame_size`` bytes long but the last.

    Attributes:
        data: the bytes; never modified by a receiver.
        frame_size: bytes of every frame but the last, Ethernet header included, at least 1. For a
            superframe: of every frame that it will be cut into, but the last.
        offload: the virtio-net header of a superframe or of a frame whose checksum is unfinished;
            ``SLICES``; None for plain frames.
        cut: the plain train that was made of this one, kept by ``vport.offload.plain``.
        slices: what goes to far ends that know slices, kept by ``vport.offload.sendable``.
        is_run: all frames are known to have the same Ethernet header.
    """

    __slots__ = ("_count", "cut", "data", "frame_size", "is_run", "offload", "slices")

    def __init__(self, data: Buffer, frame_size: int, offload: VirtioNetHeader | None = None) -> None:
        self.data = data
        self.frame_size = frame_size
        self.offload = offload
        self.cut: Train | None = None
        self.slices: Train | None = None
        self.is_run = False
        self._count = 0  # not known yet

    @property
    def count(self) -> int:
        """How many frames go over the wire."""
        if not self._count:  # every port that it leaves through asks
            header = self.offload
            if header is None or not (header.gso_type and header.gso_size):
                self._count = -(-len(self.data) // self.frame_size) or 1  # one empty datagram is a bad frame
            else:
                self._count = max(1, -(-(len(self.data) - header.hdr_len) // header.gso_size))
        return self._count

    @property
    def is_whole(self) -> bool:
        """Whether this is a superframe, or one frame with a virtio-net header."""
        return self.offload is not None and self.offload is not SLICES

    @property
    def wire_bytes(self) -> int:
        """How many bytes these frames have on the wire, headers repeated, without FCS."""
        header = self.offload
        if header is None or not header.hdr_len:
            return len(self.data)
        return len(self.data) + (self.count - 1) * header.hdr_len

    def frames(self) -> Iterator[memoryview]:
        """Give each frame, or slice, as a view. Cut a superframe first."""
        view = memoryview(self.data)
        for start in range(0, len(view), self.frame_size):
            yield view[start : start + self.frame_size]

    def copy(self) -> Train:
        """Give a train with bytes of its own, for who must keep it."""
        return Train(bytes(self.data), self.frame_size, self.offload)

    def __repr__(self) -> str:
        kind = "train" if self.offload is None else "slices" if self.offload is SLICES else "superframe"
        return f"<{kind} of {self.count} × {self.frame_size}, {len(self.data)} bytes>"


def lone(frame: Buffer) -> Train:
    """Make a train of one frame."""
    return Train(frame, len(frame) or 1)


def runs(train: Train) -> list[Train]:
    """Split a plain train, or slices, into maximal runs of consecutive frames with the same Ethernet header.

    Compared are destination, source and EtherType (14 bytes), and in frames with an 802.1Q tag also the
    TCI and the EtherType behind it (18 bytes). A last frame too short for its header is a run of its
    own; where all frames are that short, they are one run. The runs are views of the train's bytes, in
    order; ``[train]`` itself when nothing differs, and for a superframe.
    """
    data, size = train.data, train.frame_size
    total = len(data)
    if train.is_run or total <= size or size < HEADER_SIZE or train.is_whole or are_alike(data, size):
        return [train]
    if total <= size * _FEW:
        starts = _starts_one_by_one(data, size)
    else:
        starts = _starts_at_once(data, size, total % size or size)
    if len(starts) == 1:
        return [train]
    view, ends = memoryview(data), [*starts[1:], total]
    return [Train(view[start:end], size, train.offload) for start, end in zip(starts, ends, strict=True)]


def are_alike(data: Buffer, size: int) -> bool:
    """Whether all frames of ``size`` bytes in ``data``, and a shorter last one, have the same header.

    That is what ``runs`` compares. False also where the last is too short for it.
    """
    length = _TAGGED_HEADER_SIZE if data[12:HEADER_SIZE] == _TAGGED else HEADER_SIZE
    total = len(data)
    if (total % size or size) < length:
        return False
    if total > size * _FEW_ALIKE:
        heads: _Parts = np.ndarray(-(-total // size), _HEADS[length], data, 0, (size,))
        return heads.tobytes() == bytes(data[:length]) * len(heads)  # asking NumPy takes twice as long
    head = data[:length]
    for start in range(size, total, size):  # noqa: SIM110 - all() takes twice as long
        if data[start : start + length] != head:
            return False
    return True


def _starts_one_by_one(data: Buffer, size: int) -> list[int]:
    """Give the offsets at which the runs begin, 0 first, by a loop over the frames."""
    starts = []
    run: Buffer = b""
    for start in range(0, len(data), size):
        head = data[start : start + HEADER_SIZE]
        length = HEADER_SIZE
        if head[12:] == _TAGGED:
            length = _TAGGED_HEADER_SIZE
            head = data[start : start + length]
        if head != run or len(head) < length:
            starts.append(start)
            run = head
    return starts


def _starts_at_once(data: Buffer, size: int, rest: int) -> list[int]:
    """Give the offsets at which the runs begin, 0 first; ``rest`` is the last frame's size."""
    count = -(-len(data) // size)
    whole = count if rest >= HEADER_SIZE else count - 1  # frames with an Ethernet header
    heads: _Heads = np.ndarray((whole,), f"S{HEADER_SIZE}", data, 0, (size,))
    starts = np.ones(count, np.bool_)
    starts[1:whole] = heads[1:] != heads[:-1]
    tagged = np.ndarray((whole,), ">u2", data, 12, (size,)) == EtherType.VLAN
    if size >= _TAGGED_HEADER_SIZE and tagged.any():
        room = count if rest >= _TAGGED_HEADER_SIZE else count - 1  # frames with room for a tag
        behind: npt.NDArray[np.uint32] = np.ndarray((room,), "u4", data, HEADER_SIZE, (size,))
        starts[1:room] |= tagged[1:room] & (behind[1:] != behind[:-1])
        starts[room:whole] |= tagged[room:whole]
    return [start * size for start in np.flatnonzero(starts).tolist()]
