"""The virtio-net header of a TAP with IFF_VNET_HDR, and what it asks for.

A superframe is one oversized frame with such a header: the kernel leaves cutting and checksums to us.
Header layout: ``struct virtio_net_hdr``, 10 bytes, little-endian (virtio 1.2, 5.1.6).
"""

from __future__ import annotations

import struct
from enum import IntEnum, IntFlag
from typing import Final, NamedTuple

VNET_HEADER: Final = struct.Struct("<BBHHHH")


class VnetFlag(IntFlag):
    """Bits of ``VirtioNetHeader.flags`` (virtio 1.2, 5.1.6)."""

    NEEDS_CSUM = 1
    DATA_VALID = 2


class GsoType(IntEnum):
    """Values of ``VirtioNetHeader.gso_type`` (virtio 1.2, 5.1.6); ECN is a bit on top."""

    NONE = 0
    TCPV4 = 1
    UDP = 3
    TCPV6 = 4
    UDP_L4 = 5


GSO_ECN: Final = 0x80


class VirtioNetHeader(NamedTuple):
    """How the kernel wants a superframe finished. Sizes and offsets in bytes from the frame's start."""

    flags: int
    gso_type: int
    hdr_len: int  # Ethernet, IP and TCP or UDP headers: what every cut frame repeats
    gso_size: int  # payload bytes of each cut frame but the last
    csum_start: int
    csum_offset: int

    def frame_count(self, size: int) -> int:
        """How many frames a superframe of ``size`` bytes becomes."""
        if not self.gso_type:
            return 1
        return max(1, -(-(size - self.hdr_len) // self.gso_size))

    def wire_bytes(self, size: int) -> int:
        """How many bytes those frames have together."""
        return size + (self.frame_count(size) - 1) * self.hdr_len
