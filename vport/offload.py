"""What a TAP with IFF_VNET_HDR leaves to us, and what we may leave to it.

* ``from_tap`` makes a train of what was read: often a superframe, one oversized frame with a virtio-net
  header that says how it is to be cut and which checksum is unfinished.
* ``plain`` gives its frames, cut and finished, to who needs frames: a UDP peer, a capture.
* ``sendable`` gives frames or slices, as the far end of a tunnel takes them.
* ``join`` goes the other way: a train of segments of one flow becomes a superframe for one write.

All but the first take trains of slices, too (``vport.slices``).

The work is done in ``vport.segmentation`` and ``vport.coalescing``, over all frames at once; the wire
format of the header is in ``vport.virtio_net``.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from vport.assembly import assemble
from vport.checksum import complete_checksums
from vport.coalescing import LEAST, joined
from vport.errors import FrameError
from vport.segmentation import cut
from vport.segments import IPV4, IPV6, NEEDS_CSUM, network_offset, superframe_header
from vport.slices import slice_up
from vport.train import SLICES, Train, lone
from vport.virtio_net import (
    GSO_ECN,
    NO_OFFLOAD,
    VNET_HEADER,
    GsoType,
    TapOffload,
    VirtioNetHeader,
    VnetFlag,
)

if TYPE_CHECKING:
    from collections import Counter

    from vport.ethernet import Buffer

__all__ = [
    "GSO_ECN",
    "NO_OFFLOAD",
    "VNET_HEADER",
    "GsoType",
    "TapOffload",
    "VirtioNetHeader",
    "VnetFlag",
    "complete_checksums",
    "cut",
    "from_tap",
    "join",
    "plain",
    "plain_or_discard",
    "sendable",
]

_NOTHING_ASKED: Final = NO_OFFLOAD.encode()
_CSUM: Final = int(TapOffload.CSUM)
_TSO_ECN: Final = int(TapOffload.TSO_ECN)
_UDP_L4: Final = int(GsoType.UDP_L4)
_NEEDED: Final = {  # by GSO type, and EtherType where the type does not tell
    (int(GsoType.TCPV4), 0): int(TapOffload.TSO4),
    (int(GsoType.TCPV6), 0): int(TapOffload.TSO6),
    (_UDP_L4, IPV4): int(TapOffload.USO4),
    (_UDP_L4, IPV6): int(TapOffload.USO6),
}


def from_tap(data: Buffer) -> Train:
    """Make a train of what was read from a TAP: virtio-net header and frame. The bytes are not copied.

    The header is checked against the frame, and its ``hdr_len``, which the kernel fills with the size of
    some buffer of its own, is put right.

    Raises:
        FrameError: the header is cut off, or lies.
    """
    if len(data) < VNET_HEADER.size:
        raise FrameError(f"{len(data)} bytes from a TAP have no virtio-net header")
    frame = memoryview(data)[VNET_HEADER.size :]
    if data[: VNET_HEADER.size] == _NOTHING_ASKED:
        return lone(frame)
    header = VirtioNetHeader._make(VNET_HEADER.unpack_from(data))
    if header.gso_type:
        right = superframe_header(frame, header)
        if len(frame) - right.hdr_len > header.gso_size:
            return Train(frame, right.hdr_len + header.gso_size, right)
        header = header._replace(gso_type=GsoType.NONE, gso_size=0)
    if not header.flags & NEEDS_CSUM:
        return lone(frame)
    if header.csum_start + header.csum_offset + 2 > len(frame):
        raise FrameError(f"{header} does not fit a frame of {len(frame)} bytes")
    return Train(frame, len(frame), header)


def plain(train: Train) -> Train:
    """Give the frames of a train: the train itself, or what its superframe or its slices are made.

    The result in the latter case has bytes of its own and is remembered in ``train.cut``.

    Raises:
        FrameError: the superframe's header lies, or the slices are none.
    """
    if train.offload is None:
        return train
    if train.cut is None:
        if train.offload is SLICES:
            train.cut = _made_frames(train)
        else:
            train.cut = _finished(train.data, train.offload)
    return train.cut


def plain_or_discard(train: Train, discards: Counter[str]) -> Train | None:
    """Give the frames of a train as ``plain`` does; None, counted in ``discards``, where it is malformed."""
    if train.offload is None:
        return train
    try:
        return plain(train)
    except FrameError:
        discards["malformed"] += train.count
        return None


def sendable(train: Train, *, slices: bool) -> Train:
    """Give a train as a far end takes it: in slices, made once for all of them, or as frames.

    A superframe that cannot be sliced comes as frames.

    Raises:
        FrameError: as ``plain``.
    """
    if not slices:
        return plain(train)
    if train.offload is SLICES or train.offload is None:
        return train
    if train.slices is None:
        train.slices = slice_up(train) or plain(train)
    return train.slices


def _made_frames(train: Train) -> Train:
    """Make frames of slices."""
    parts = [plain(part) for part in assemble(train)]
    return parts[0] if len(parts) == 1 else Train(b"".join([part.data for part in parts]), train.frame_size)


def _finished(data: Buffer, header: VirtioNetHeader) -> Train:
    """Do what ``header`` asks for, in a copy."""
    if header.gso_type:
        return cut(data, header)
    if not header.flags & NEEDS_CSUM:
        return lone(data)
    frame = bytearray(data)
    complete_checksums(frame, len(frame) or 1, header)
    return lone(frame)


def join(train: Train, takes: TapOffload, *, fixed_ids: bool = False, least: int = LEAST) -> list[Train]:
    """Give a train the form in which a TAP takes it with the fewest writes: one for each superframe.

    Segments of one flow become superframes, see ``vport.coalescing``; what cannot be joined comes as plain
    trains between them, in order; so does a train of fewer than ``least`` frames. A superframe that the TAP
    takes passes as it is, others are cut; slices are made superframes.

    Raises:
        FrameError: the train is a superframe that has to be cut, and its header lies, or its slices are none.
    """
    if train.offload is None:
        return joined(train, takes, fixed_ids=fixed_ids, least=least)
    whole = assemble(train) if train.offload is SLICES else [train]
    return [part if _is_taken(part, takes) else plain(part) for part in whole]


def _is_taken(train: Train, takes: TapOffload) -> bool:
    """Whether a TAP with the offloads ``takes`` takes this superframe, or frame with a partial checksum."""
    assert train.offload is not None
    kind = train.offload.gso_type
    ethertype = network_offset(train.data)[0] if kind == _UDP_L4 else 0
    needed = _needed(kind, ethertype)
    return int(takes) & needed == needed


@lru_cache(maxsize=32)
def _needed(kind: int, ethertype: int) -> int:
    """Give the offloads without which a TAP does not take superframes of the GSO type ``kind``."""
    needed = _CSUM
    if kind:
        needed |= _NEEDED.get((kind & ~GSO_ECN, ethertype), ~0)
    return needed | _TSO_ECN if kind & GSO_ECN else needed
