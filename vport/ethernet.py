"""MAC addresses, Ethernet II headers and 802.1Q tags: values and their encodings.

A MAC address is six bytes, not an object: it is a dictionary key on the data path, and
``struct`` hands out bytes for nothing.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final, NewType

from vport.errors import FrameError, SettingsError

if TYPE_CHECKING:
    from random import Random

Buffer = bytes | bytearray | memoryview
MacAddress = NewType("MacAddress", bytes)
Vid = NewType("Vid", int)

# --- constants of the standards ---

HEADER_SIZE: Final = 14  # destination, source, EtherType (802.3-2018 3.2.3, 3.2.6)
TAG_SIZE: Final = 4  # TPID and TCI (802.1Q-2018 9.3)
MINIMUM_FRAME_SIZE: Final = 60  # 64 octets less the FCS, which never reaches us (802.3-2018 4.2.3.3)
BROADCAST: Final = MacAddress(b"\xff" * 6)
BRIDGE_GROUP_ADDRESS: Final = MacAddress(bytes.fromhex("0180c2000000"))  # BPDUs (802.1Q-2018 8.6.3)
RESERVED_GROUP_PREFIX: Final = bytes.fromhex("0180c20000")  # ...-00 to ...-0F (802.1Q-2018 8.6.3)
VID_MAX: Final = Vid(4094)  # 4095 is reserved (802.1Q-2018 table 9-2)


class EtherType(IntEnum):
    """EtherTypes that this project looks at. Fields from the wire stay plain ``int``."""

    IPV4 = 0x0800
    ARP = 0x0806
    VLAN = 0x8100
    IPV6 = 0x86DD
    LOOPBACK = 0x9000  # Ethernet configuration testing protocol


# --- our own constants ---

MAX_FRAME_SIZE: Final = 65535  # what a datagram or a TAP read can hand us; larger than any real MTU

_HEADER: Final = struct.Struct("!6s6sH")
unpack_addresses: Final = _HEADER.unpack_from
"""``unpack_addresses(buffer)`` gives (destination, source, EtherType or TPID); needs 14 bytes."""

_MAC_TEXT = re.compile(r"[0-9A-Fa-f]{1,2}(?:([:.-])[0-9A-Fa-f]{1,2})(?:\1[0-9A-Fa-f]{1,2}){4}\Z")


def parse_mac(text: str) -> MacAddress:
    """Read ``02:00:00:00:00:01``; the separator is ``:``, ``.`` or ``-``, octets have 1 or 2 digits.

    Raises:
        SettingsError: the text is no MAC address.
    """
    if not _MAC_TEXT.match(text):
        raise SettingsError(f"{text!r} is not a MAC address: six octets in hex, such as 02:00:00:00:00:01")
    return MacAddress(bytes(int(octet, 16) for octet in re.split("[:.-]", text)))


def format_mac(mac: bytes) -> str:
    """Write a MAC address the usual way: lower-case hex with colons."""
    return mac.hex(":")


def is_multicast(mac: bytes) -> bool:
    """Whether the group bit is set; the broadcast address is a group address too."""
    return bool(mac[0] & 1)


def is_reserved_group(mac: bytes) -> bool:
    """Whether this is one of the sixteen addresses that a bridge does not relay (802.1Q-2018 8.6.3)."""
    return mac[:5] == RESERVED_GROUP_PREFIX and mac[5] <= 0x0F


def random_mac(random: Random) -> MacAddress:
    """Draw a locally administered unicast address."""
    return MacAddress(bytes((random.getrandbits(8) & 0xFC | 0x02, *random.randbytes(5))))


@dataclass(frozen=True, slots=True)
class Header:
    """A decoded Ethernet II header, with the outer 802.1Q tag when there is one.

    ``ethertype`` is that of the payload: behind the tag for a tagged frame. ``tci`` is the tag
    control information (PCP, DEI, VID), ``None`` when the frame carries no tag. ``size`` is the
    number of bytes in front of the payload.
    """

    destination: MacAddress
    source: MacAddress
    ethertype: int
    tci: int | None = None

    @property
    def size(self) -> int:
        """Bytes in front of the payload: 14, or 18 with a tag."""
        return HEADER_SIZE if self.tci is None else HEADER_SIZE + TAG_SIZE

    def encode(self) -> bytes:
        """Give the header as bytes, tag included."""
        if self.tci is None:
            return _HEADER.pack(self.destination, self.source, self.ethertype)
        return struct.pack(
            "!6s6sHHH", self.destination, self.source, EtherType.VLAN, self.tci, self.ethertype
        )


def decode_header(frame: Buffer) -> Header:
    """Decode the header at the start of ``frame``.

    Raises:
        FrameError: the frame ends inside its header.
    """
    if len(frame) < HEADER_SIZE:
        raise FrameError(f"a frame of {len(frame)} bytes has no Ethernet header (14 bytes)")
    destination, source, ethertype = unpack_addresses(frame)
    if ethertype != EtherType.VLAN:
        return Header(destination, source, ethertype)
    if len(frame) < HEADER_SIZE + TAG_SIZE:
        raise FrameError(f"a tagged frame of {len(frame)} bytes has no whole tag (18 bytes)")
    tci, ethertype = struct.unpack_from("!HH", frame, 14)
    return Header(destination, source, ethertype, tci)


def encode_frame(destination: bytes, source: bytes, ethertype: int, payload: bytes) -> bytes:
    """Build an untagged frame, padded with zeros to the 60 bytes that real Ethernet requires."""
    frame = _HEADER.pack(destination, source, ethertype) + payload
    return frame.ljust(MINIMUM_FRAME_SIZE, b"\0")


def loopback_test_frame(mac: MacAddress, data: bytes = b"") -> bytes:
    """Build the frame with which a port announces itself and keeps its place on the switch.

    From the station's own address to its own address, so that no bridge relays it: the source is
    learned, and the destination is then on the port that it came from. The payload is the
    configuration testing protocol's: skip count 0 and function 1 (reply), little-endian, and behind a
    receipt number whatever the sender likes (Ethernet V2.0, chapter 8).
    """
    return encode_frame(mac, mac, EtherType.LOOPBACK, struct.pack("<HHH", 0, 1, 0) + data)
