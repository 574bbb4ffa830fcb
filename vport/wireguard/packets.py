"""IP packets inside WireGuard, as stock peers send them: how long they are, where from and where to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vport.errors import FrameError

if TYPE_CHECKING:
    from vport.ethernet import Buffer

_IPV4_HEADER: Final = 20  # RFC 791 section 3.1
_IPV6_HEADER: Final = 40  # RFC 8200 section 3


def version(packet: Buffer) -> int:
    """Give the first nibble; 4 and 6 are IP, everything else comes from a peer in another mode."""
    return packet[0] >> 4


def size(packet: Buffer) -> int:
    """Give the length that the header states: what is behind it is padding.

    Raises:
        FrameError: it is no IP packet, or not all of one.
    """
    total = minimum = 0
    if not packet:
        raise FrameError("an empty packet")
    if packet[0] >> 4 == 4 and len(packet) >= _IPV4_HEADER:
        minimum = (packet[0] & 15) * 4
        total = packet[2] << 8 | packet[3]
    elif packet[0] >> 4 == 6 and len(packet) >= _IPV6_HEADER:
        minimum = _IPV6_HEADER
        total = _IPV6_HEADER + (packet[4] << 8 | packet[5])
    if minimum < _IPV4_HEADER or not minimum <= total <= len(packet):
        raise FrameError(f"no whole IP packet: first byte {packet[0]:#04x}, {total} of {len(packet)} bytes")
    return total


def source(packet: Buffer) -> bytes:
    """Give the source address, 4 or 16 bytes, of a packet that ``size`` accepted."""
    return bytes(packet[12:16] if packet[0] >> 4 == 4 else packet[8:24])


def destination(packet: Buffer) -> bytes:
    """Give the destination address, 4 or 16 bytes, of a packet that ``size`` accepted."""
    return bytes(packet[16:20] if packet[0] >> 4 == 4 else packet[24:40])
