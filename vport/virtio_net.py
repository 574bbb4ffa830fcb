"""The virtio-net header in front of each frame of a TAP with IFF_VNET_HDR: wire format, nothing else.

Ten bytes, little-endian: ``struct virtio_net_hdr`` (virtio 1.2, 5.1.6). What it asks for is done in
``vport.offload``.
"""

from __future__ import annotations

import struct
from enum import IntEnum, IntFlag
from typing import Final, NamedTuple

VNET_HEADER: Final = struct.Struct("<BBHHHH")
GSO_ECN: Final = 0x80  # bit on top of the GSO type: the first segment has CWR set (virtio 1.2, 5.1.6)


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


class TapOffload(IntFlag):
    """What a TAP takes, with the numbers of TUNSETOFFLOAD (linux/if_tun.h, TUN_F_*)."""

    CSUM = 0x01
    TSO4 = 0x02
    TSO6 = 0x04
    TSO_ECN = 0x08
    USO4 = 0x20
    USO6 = 0x40


class VirtioNetHeader(NamedTuple):
    """How a superframe is to be finished. Sizes and offsets in bytes from the frame's start.

    ``hdr_len`` as the kernel gives it is only a hint (the bytes that lie in the buffer's linear part);
    in a train it is what every cut frame repeats: ``vport.offload.from_tap`` sees to that.
    """

    flags: int
    gso_type: int
    hdr_len: int  # Ethernet, IP and TCP or UDP headers
    gso_size: int  # payload bytes of each cut frame but the last
    csum_start: int
    csum_offset: int

    def encode(self) -> bytes:
        """Give the ten bytes that stand in front of the frame."""
        return VNET_HEADER.pack(*self)


NO_OFFLOAD: Final = VirtioNetHeader(0, GsoType.NONE, 0, 0, 0, 0)
