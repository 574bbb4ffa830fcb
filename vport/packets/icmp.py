"""ICMP of both IP versions, echo messages in particular (RFC 792, RFC 4443)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from vport.checksum import checksum
from vport.errors import FrameError
from vport.packets.ip import IpProtocol, Ipv4, Ipv6, pseudo_header

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

    from vport.ethernet import Buffer

_ECHO: Final = struct.Struct("!HH")  # identifier, sequence number; the data follows
ICMP_HEADER_SIZE: Final = 4
ECHO_HEADER_SIZE: Final = ICMP_HEADER_SIZE + _ECHO.size


class IcmpType(IntEnum):
    """Message types of ICMP for IPv4 (RFC 792)."""

    ECHO_REPLY = 0
    DESTINATION_UNREACHABLE = 3
    SOURCE_QUENCH = 4
    REDIRECT = 5
    ECHO_REQUEST = 8
    TIME_EXCEEDED = 11
    PARAMETER_PROBLEM = 12


class Icmpv6Type(IntEnum):
    """Message types of ICMP for IPv6 (RFC 4443 section 4, RFC 4861 section 4)."""

    DESTINATION_UNREACHABLE = 1
    TIME_EXCEEDED = 3
    ECHO_REQUEST = 128
    ECHO_REPLY = 129
    NEIGHBOUR_SOLICITATION = 135
    NEIGHBOUR_ADVERTISEMENT = 136


@dataclass(frozen=True, slots=True, kw_only=True)
class Icmp:
    """An ICMP message of either version; ``body`` is what follows type, code and checksum."""

    type: int
    code: int = 0
    body: bytes = b""

    def encode(self, covered: bytes = b"") -> bytes:
        """Give the message with its checksum, which for IPv6 also covers the pseudo-header ``covered``."""
        message = bytearray(struct.pack("!BBH", self.type, self.code, 0)) + self.body
        struct.pack_into("!H", message, 2, checksum(covered + message))
        return bytes(message)

    def in_ipv6(self, source: IPv6Address, destination: IPv6Address, hop_limit: int) -> Ipv6:
        """Give the IPv6 packet that carries this message."""
        covered = pseudo_header(source, destination, IpProtocol.ICMPV6, ICMP_HEADER_SIZE + len(self.body))
        return Ipv6(
            source=source,
            destination=destination,
            next_header=IpProtocol.ICMPV6,
            payload=self.encode(covered),
            hop_limit=hop_limit,
        )

    def in_ipv4(self, source: IPv4Address, destination: IPv4Address) -> Ipv4:
        """Give the IPv4 packet that carries this message."""
        return Ipv4(source=source, destination=destination, protocol=IpProtocol.ICMP, payload=self.encode())


def decode_icmp(message: Buffer, covered: bytes = b"") -> Icmp:
    """Decode an ICMP message and verify its checksum over ``covered`` and itself.

    Raises:
        FrameError: it is too short, or the checksum is wrong.
    """
    if len(message) < ICMP_HEADER_SIZE:
        raise FrameError(f"an ICMP message of {len(message)} bytes is too short (4 bytes)")
    if checksum(covered + bytes(message)):
        raise FrameError("the ICMP checksum is wrong")
    return Icmp(type=message[0], code=message[1], body=bytes(message[ICMP_HEADER_SIZE:]))


def decode_icmpv6(packet: Ipv6, message: Buffer) -> Icmp:
    """Decode the ICMP message that ``packet`` carries and verify its checksum. Raises FrameError."""
    return decode_icmp(
        message, pseudo_header(packet.source, packet.destination, IpProtocol.ICMPV6, len(message))
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Echo:
    """The body of an echo request or reply, the same for both versions of IP."""

    identifier: int
    sequence: int
    data: bytes = b""

    def encode(self) -> bytes:
        """Give the body of the ICMP message."""
        return _ECHO.pack(self.identifier, self.sequence) + self.data


def decode_echo(body: Buffer) -> Echo:
    """Decode the body of an echo message.

    Raises:
        FrameError: it ends before its sequence number.
    """
    if len(body) < _ECHO.size:
        raise FrameError(f"an echo message of {len(body)} bytes has no sequence number")
    identifier, sequence = _ECHO.unpack_from(body)
    return Echo(identifier=identifier, sequence=sequence, data=bytes(body[_ECHO.size :]))
