"""ARP for IPv4 over Ethernet (RFC 826)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Final

from vport.errors import FrameError
from vport.ethernet import BROADCAST, EtherType, MacAddress, encode_frame

if TYPE_CHECKING:
    from vport.ethernet import Buffer

# Hardware and protocol spaces, their address lengths, operation; sender and target, each as hardware
# then protocol address (RFC 826, "Packet format").
_LAYOUT: Final = struct.Struct("!HHBBH6s4s6s4s")
_HARDWARE_ETHERNET: Final = 1
_NO_MAC: Final = MacAddress(bytes(6))


class ArpOperation(IntEnum):
    """What an ARP packet is (RFC 826)."""

    REQUEST = 1
    REPLY = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Arp:
    """An ARP packet. ``target_mac`` has no meaning in a request; ``operation`` may be an unknown one."""

    operation: int
    sender_mac: MacAddress
    sender: IPv4Address
    target_mac: MacAddress = _NO_MAC
    target: IPv4Address

    def encode(self) -> bytes:
        """Give the 28 bytes that follow the Ethernet header."""
        return _LAYOUT.pack(
            _HARDWARE_ETHERNET,
            EtherType.IPV4,
            6,
            4,
            self.operation,
            self.sender_mac,
            self.sender.packed,
            self.target_mac,
            self.target.packed,
        )

    def frame(self, destination: MacAddress = BROADCAST) -> bytes:
        """Give the frame that carries this packet from its sender to ``destination``."""
        return encode_frame(destination, self.sender_mac, EtherType.ARP, self.encode())


def decode_arp(payload: Buffer) -> Arp:
    """Decode what follows the Ethernet header; padding behind it is ignored.

    Raises:
        FrameError: it is too short, or not about IPv4 over Ethernet.
    """
    if len(payload) < _LAYOUT.size:
        raise FrameError(f"an ARP packet of {len(payload)} bytes is too short (28 bytes)")
    hardware, protocol, mac_size, address_size, operation, *addresses = _LAYOUT.unpack_from(payload)
    if (hardware, protocol, mac_size, address_size) != (_HARDWARE_ETHERNET, EtherType.IPV4, 6, 4):
        raise FrameError(
            f"ARP about hardware {hardware} and protocol {protocol:#06x}, not IPv4 over Ethernet"
        )
    sender_mac, sender, target_mac, target = addresses
    return Arp(
        operation=operation,
        sender_mac=MacAddress(sender_mac),
        sender=IPv4Address(sender),
        target_mac=MacAddress(target_mac),
        target=IPv4Address(target),
    )
