"""Frames of TCP and UDP flows, and their superframes, made the plain way: one by one, with struct.

Independent of the code under test: what it cuts and joins is compared with these.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vport.offload import GSO_ECN, VirtioNetHeader

if TYPE_CHECKING:
    from collections.abc import Iterator

FIN, SYN, RST, PSH, ACK, URG, CWR = 1, 2, 4, 8, 16, 32, 128
TIMESTAMPS = b"\1\1\x08\x0a\0\0\0\1\0\0\0\2"


def rfc1071(data: bytes) -> int:
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF - total


@dataclass(frozen=True)
class Flow:
    """Everything that the headers of a flow's frames say, and how to make one of its frames."""

    version: int = 4
    protocol: int = 6
    tags: bytes = b""
    ip_options: bytes = b""  # IPv4 options, or a whole IPv6 extension header of type 60
    tcp_options: bytes = b""
    addresses: bytes = b"\x0a\0\0\1\x0a\0\0\2" * 4
    ports: bytes = b"\x10\0\x20\0"
    fragment: int = 0x4000
    ack: int = 7
    window: int = 500
    macs: bytes = b"\2\0\0\0\0\1\2\0\0\0\0\2"
    first_word: int = 0x60012345  # of IPv6, as the hop limit: no checksum protects them
    hop_limit: int = 64

    @property
    def start(self) -> int:
        """Where the TCP or UDP header starts."""
        return 14 + len(self.tags) + (20 if self.version == 4 else 40) + len(self.ip_options)

    @property
    def size(self) -> int:
        """Bytes of all headers."""
        return self.start + (20 + len(self.tcp_options) if self.protocol == 6 else 8)

    def pseudo(self, length: int) -> bytes:
        if self.version == 4:
            return self.addresses[:8] + struct.pack("!HH", self.protocol, length)
        return self.addresses + struct.pack("!II", length, self.protocol)

    def frame(
        self, payload: bytes, *, ident: int = 0, sequence: int = 0, flags: int = ACK, partial: bool = False
    ) -> bytes:
        """Make a frame the plain way; ``partial``: with the pseudo header's sum for a checksum."""
        length = self.size - self.start + len(payload)
        if self.protocol == 6:
            offset = (20 + len(self.tcp_options)) // 4 << 4
            segment = self.ports + struct.pack(
                "!IIBBHHH", sequence & 0xFFFFFFFF, self.ack, offset, flags, self.window, 0, 0
            )
            segment += self.tcp_options + payload
        else:
            segment = self.ports + struct.pack("!HH", length & 0xFFFF, 0) + payload
        if partial:
            check = 0xFFFF - rfc1071(self.pseudo(length))
        else:
            check = rfc1071(self.pseudo(length) + segment)
            check = check or (0xFFFF if self.protocol == 17 else 0)
        field = 16 if self.protocol == 6 else 6
        segment = segment[:field] + struct.pack("!H", check) + segment[field + 2 :]
        return self.ethernet() + self.network(len(segment), ident & 0xFFFF) + segment

    def ethernet(self) -> bytes:
        ethertype = b"\x08\0" if self.version == 4 else b"\x86\xdd"
        return self.macs + self.tags + ethertype

    def network(self, length: int, ident: int) -> bytes:
        length += len(self.ip_options)
        if self.version == 6:
            kind = 60 if self.ip_options else self.protocol
            head = (
                struct.pack("!IHBB", self.first_word, length & 0xFFFF, kind, self.hop_limit) + self.addresses
            )
            return head + self.ip_options
        kind = 0x45 + len(self.ip_options) // 4
        head = struct.pack("!BBHHHBB", kind, 2, 20 + length, ident, self.fragment, 64, self.protocol)
        check = rfc1071(head + self.addresses[:8] + self.ip_options)
        return head + struct.pack("!H", check) + self.addresses[:8] + self.ip_options

    def superframe(
        self, payload: bytes, gso_size: int, *, ident: int = 0, sequence: int = 0, flags: int = ACK
    ) -> tuple[bytes, VirtioNetHeader]:
        """Make what a TAP would give for all these segments together."""
        kind = 5 if self.protocol == 17 else 1 if self.version == 4 else 4
        if flags & CWR and self.protocol == 6:
            kind |= GSO_ECN
        field = 16 if self.protocol == 6 else 6
        header = VirtioNetHeader(1, kind, self.size, gso_size, self.start, field)
        return self.frame(payload, ident=ident, sequence=sequence, flags=flags, partial=True), header

    def frames(
        self, payload: bytes, gso_size: int, *, ident: int = 0, sequence: int = 0, flags: int = ACK
    ) -> Iterator[bytes]:
        """Make the segments one by one: the reference for cutting."""
        for at in range(0, len(payload), gso_size):
            own = flags if at == 0 else flags & ~CWR
            if at + gso_size < len(payload):
                own &= ~(FIN | PSH)
            part = payload[at : at + gso_size]
            yield self.frame(part, ident=ident + at // gso_size, sequence=sequence + at, flags=own)
