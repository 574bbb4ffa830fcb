"""UDP datagrams in IPv4 packets (RFC 768)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vport.checksum import checksum
from vport.errors import FrameError
from vport.packets.ip import Ipv4

if TYPE_CHECKING:
    from ipaddress import IPv4Address

_HEADER: Final = struct.Struct("!HHHH")  # source port, destination port, length, checksum
_PSEUDO_HEADER: Final = struct.Struct("!4s4sxBH")  # addresses, zero, protocol, length
UDP_PROTOCOL: Final = 17


@dataclass(frozen=True, slots=True, kw_only=True)
class Udp:
    """A datagram."""

    source_port: int
    destination_port: int
    payload: bytes

    def in_ipv4(self, source: IPv4Address, destination: IPv4Address) -> Ipv4:
        """Give the IPv4 packet that carries this datagram."""
        size = _HEADER.size + len(self.payload)
        datagram = bytearray(_HEADER.pack(self.source_port, self.destination_port, size, 0)) + self.payload
        covered = _PSEUDO_HEADER.pack(source.packed, destination.packed, UDP_PROTOCOL, size)
        # Zero would mean that there is no checksum; all ones is the same number.
        struct.pack_into("!H", datagram, 6, checksum(covered + datagram) or 0xFFFF)
        return Ipv4(source=source, destination=destination, protocol=UDP_PROTOCOL, payload=bytes(datagram))


def decode_udp(packet: Ipv4) -> Udp:
    """Decode the datagram that ``packet`` carries.

    Raises:
        FrameError: another protocol, a fragment, lengths that contradict each other, a wrong checksum.
    """
    data = packet.payload
    if packet.protocol != UDP_PROTOCOL or packet.is_fragment or len(data) < _HEADER.size:
        raise FrameError(f"{len(data)} bytes of protocol {packet.protocol} are no whole UDP datagram")
    source_port, destination_port, size, check = _HEADER.unpack_from(data)
    if not _HEADER.size <= size <= len(data):
        raise FrameError(f"a UDP datagram of {size} bytes in {len(data)}")
    data = data[:size]
    covered = _PSEUDO_HEADER.pack(packet.source.packed, packet.destination.packed, UDP_PROTOCOL, size)
    if check and checksum(covered + data):
        raise FrameError("the UDP checksum is wrong")
    return Udp(source_port=source_port, destination_port=destination_port, payload=data[_HEADER.size :])
