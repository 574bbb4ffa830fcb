"""Train: k frames back to back in one buffer, the unit that everything here passes on.

All frames of a train have ``frame_size`` bytes but the last, which may be shorter: that is what UDP
GRO hands us, what UDP GSO takes, and what a TSO segment becomes. A lone frame is a train of one.

A train may instead be a *superframe* fresh from a TAP: one oversized frame and the virtio-net header
that says how it is to be cut (``offload``). It stays whole until somebody needs its frames:
``vport.offload.plain`` cuts it once and remembers the result here.

A train is borrowed: its bytes may be overwritten after the giver's next ``flush``. Who keeps bytes
longer copies them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vport.ethernet import Buffer
    from vport.offload import VirtioNetHeader


class Train:
    """Frames back to back in ``data``, each ``frame_size`` bytes long but the last.

    Attributes:
        data: the bytes; never modified by a receiver.
        frame_size: bytes of every frame but the last, Ethernet header included, at least 1. For a
            superframe: of every frame that it will be cut into, but the last.
        offload: the virtio-net header of a superframe or of a frame whose checksum is unfinished,
            else None.
        cut: the plain train that a superframe was cut into, kept by ``vport.offload.plain``.
    """

    __slots__ = ("cut", "data", "frame_size", "offload")

    def __init__(self, data: Buffer, frame_size: int, offload: VirtioNetHeader | None = None) -> None:
        self.data = data
        self.frame_size = frame_size
        self.offload = offload
        self.cut: Train | None = None

    @property
    def count(self) -> int:
        """How many frames go over the wire."""
        if self.offload is not None:
            return self.offload.frame_count(len(self.data))
        return -(-len(self.data) // self.frame_size)

    @property
    def wire_bytes(self) -> int:
        """How many bytes these frames have on the wire, headers repeated, without FCS."""
        if self.offload is not None:
            return self.offload.wire_bytes(len(self.data))
        return len(self.data)

    def frames(self) -> Iterator[memoryview]:
        """Give each frame as a view. Only for plain trains: cut a superframe first."""
        view = memoryview(self.data)
        for start in range(0, len(view), self.frame_size):
            yield view[start : start + self.frame_size]

    def copy(self) -> Train:
        """Give a train with bytes of its own, for who must keep it."""
        return Train(bytes(self.data), self.frame_size, self.offload)

    def __repr__(self) -> str:
        kind = "train" if self.offload is None else "superframe"
        return f"<{kind} of {self.count} × {self.frame_size}, {len(self.data)} bytes>"


def lone(frame: Buffer) -> Train:
    """Make a train of one frame."""
    return Train(frame, len(frame) or 1)
