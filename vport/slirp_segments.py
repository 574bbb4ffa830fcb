"""Long TCP segments between libslirp and a LAN whose frames are short.

libslirp cuts what it reads from a socket into frames one by one, and a TAP joins them again: most of what a
byte costs on its way to a station. So libslirp is told that stations take long segments: the maximum segment
size (MSS) that they offer is multiplied on the way in. What comes out is marked as a superframe, to be
cut into segments of the size that the station did offer, by the kernel or by who needs frames. Offers of
libslirp itself are put down to what fits the LAN, and other packets that do not fit it are fragmented.

Pure functions on frames; who remembers the offers is ``OfferedSizes``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vport.checksum import MODULUS, checksum, get_word, pseudo_sum, put_word
from vport.errors import FrameError
from vport.ethernet import HEADER_SIZE
from vport.packets.ip import decode_ipv4
from vport.segments import (
    IPV4,
    IPV4_HEADER_SIZE,
    IPV6,
    IPV6_HEADER_SIZE,
    SYN,
    TCP,
    TCP_CHECKSUM,
    TCP_HEADER_SIZE,
)
from vport.train import Train, lone
from vport.virtio_net import GsoType, VirtioNetHeader, VnetFlag

if TYPE_CHECKING:
    from vport.ethernet import Buffer

# Long segments save work, but libslirp tells of a window that opened again only when two of them fit, and
# windows have 65535 bytes: with much longer ones uploads to a slow receiver would stall.
LONG_SEGMENT: Final = 16384
STACK_MTU: Final = 65521  # of libslirp: the largest that it takes; nothing is fragmented before it gets here
LONGEST_SYN: Final = HEADER_SIZE + IPV6_HEADER_SIZE + 60  # a TCP header with all options
DEFAULT_MSS: Final = 536  # of who offers none (RFC 9293 section 3.7.1)
MAX_STATIONS: Final = 4096
_MSS: Final = 2  # kinds of TCP options (RFC 9293 section 3.2)
_NO_OPERATION: Final = 1
_END: Final = 0
_MORE_FRAGMENTS: Final = 0x2000


class OfferedSizes:
    """The least MSS that each station has offered: it has one way to us, whatever the connection.

    Offers below the default are not multiplied, and so of no interest here.

    Attributes:
        least: of all stations.
    """

    def __init__(self) -> None:
        self.least = 0xFFFF
        self._sizes: dict[bytes, int] = {}

    def note(self, station: bytes, size: int) -> None:
        """Remember an offer; the station that was silent longest is forgotten when there are too many."""
        known = self._sizes.pop(station, size)
        if len(self._sizes) >= MAX_STATIONS:
            del self._sizes[next(iter(self._sizes))]
            self.least = DEFAULT_MSS
        self._sizes[station] = min(known, size)
        self.least = min(self.least, size)

    def of(self, station: bytes) -> int:
        """Give what a station takes."""
        return self._sizes.get(station, DEFAULT_MSS)


def tcp_offset(frame: Buffer) -> int | None:
    """Give where the TCP header begins; None for what is no TCP, a fragment, or has no whole header."""
    if len(frame) < HEADER_SIZE + IPV4_HEADER_SIZE:
        return None
    ethertype = frame[12] << 8 | frame[13]
    if ethertype == IPV4 and frame[23] == TCP and not (frame[20] & 0x3F or frame[21]):
        offset = HEADER_SIZE + (frame[HEADER_SIZE] & 15) * 4
    elif ethertype == IPV6 and frame[20] == TCP:
        offset = HEADER_SIZE + IPV6_HEADER_SIZE
    else:
        return None
    if len(frame) < offset + 20 or len(frame) < offset + (frame[offset + 12] >> 4) * 4:
        return None
    return offset


def mss_position(frame: Buffer) -> int | None:
    """Give where the offered MSS stands in a SYN; None where none is offered."""
    offset = tcp_offset(frame)
    if offset is None or not frame[offset + 13] & SYN:
        return None
    at, end = offset + 20, offset + (frame[offset + 12] >> 4) * 4
    while at < end and frame[at] != _END:
        if frame[at] == _NO_OPERATION:
            at += 1
            continue
        if at + 1 >= end or frame[at + 1] < 2 or at + frame[at + 1] > end:
            return None
        if frame[at] == _MSS:
            return at + 2 if frame[at + 1] == 4 else None
        at += frame[at + 1]
    return None


def replace_mss(frame: bytearray | memoryview, position: int, size: int) -> None:
    """Put another MSS into a SYN and keep its checksum right (RFC 1624, equation 3)."""
    offset = tcp_offset(frame)
    assert offset is not None
    (before,) = get_word(frame, position)
    (check,) = get_word(frame, offset + TCP_CHECKSUM)
    # An odd place has the two bytes in two words of the sum: exchanged, which multiplies by 256.
    weight = 256 if (position - offset) % 2 else 1
    total = (MODULUS - check) + (MODULUS - before + size) * weight
    put_word(frame, position, size)
    put_word(frame, offset + TCP_CHECKSUM, MODULUS - total % MODULUS)


def multiply_offer(frame: memoryview, offered: OfferedSizes) -> bool:
    """Let a station's SYN offer long segments, whole multiples of what it offers, and remember that.

    Returns whether the frame was changed; other frames are left alone.
    """
    position = mss_position(frame)
    if position is None:
        return False
    (size,) = get_word(frame, position)
    if not DEFAULT_MSS <= size <= LONG_SEGMENT // 2:
        return False
    offered.note(station_of(frame, is_sender=True), size)
    replace_mss(frame, position, LONG_SEGMENT // size * size)
    return True


def limit_offer(frame: memoryview, mtu: int) -> None:
    """Put libslirp's offer in a SYN down to what packets of ``mtu`` bytes carry."""
    position = mss_position(frame)
    if position is None:
        return
    most = mtu - TCP_HEADER_SIZE - (IPV4_HEADER_SIZE if frame[12] == IPV4 >> 8 else IPV6_HEADER_SIZE)
    if get_word(frame, position)[0] > most:
        replace_mss(frame, position, most)


def fitted(frame: memoryview, mtu: int, offered: OfferedSizes) -> list[Train]:
    """Give a frame of libslirp in a form that fits stations: as it is, a superframe, or fragments.

    Nothing when that cannot be.
    """
    offset = tcp_offset(frame)
    if offset is None:
        return [lone(frame)] if len(frame) <= HEADER_SIZE + mtu else fragments(frame, mtu)
    header_size = (frame[offset + 12] >> 4) * 4
    size = min(offered.of(station_of(frame, is_sender=False)), mtu - (offset - HEADER_SIZE) - TCP_HEADER_SIZE)
    if len(frame) - offset - header_size <= size:
        return [lone(frame)]
    return [superframe(frame, offset, size)]


def station_of(frame: Buffer, *, is_sender: bool) -> bytes:
    """Give the IP address of the sender or the receiver of a frame that ``tcp_offset`` knows."""
    if frame[12] << 8 | frame[13] == IPV4:
        start = HEADER_SIZE + (12 if is_sender else 16)
        return bytes(frame[start : start + 4])
    start = HEADER_SIZE + (8 if is_sender else 24)
    return bytes(frame[start : start + 16])


def superframe(frame: bytearray | memoryview, offset: int, size: int) -> Train:
    """Make a superframe of a long TCP segment, to be cut into segments of ``size`` bytes of payload.

    ``offset`` is that of the TCP header. The checksum is left to who cuts it.
    """
    payload = offset + (frame[offset + 12] >> 4) * 4
    is_ipv4 = frame[12] << 8 | frame[13] == IPV4
    addresses = bytes(frame[26:34] if is_ipv4 else frame[22:54])
    partial = pseudo_sum(addresses, TCP, len(frame) - offset)
    put_word(frame, offset + TCP_CHECKSUM, partial)
    header = VirtioNetHeader(
        flags=VnetFlag.NEEDS_CSUM,
        gso_type=GsoType.TCPV4 if is_ipv4 else GsoType.TCPV6,
        hdr_len=payload,
        gso_size=size,
        csum_start=offset,
        csum_offset=TCP_CHECKSUM,
    )
    return Train(frame, payload + size, header)


def fragments(frame: Buffer, mtu: int) -> list[Train]:
    """Cut an IPv4 packet into fragments of at most ``mtu`` bytes (RFC 791 section 3.2).

    What must not be fragmented, and what is not IPv4, gives nothing.
    """
    if frame[12] << 8 | frame[13] != IPV4:
        return []
    try:
        packet = decode_ipv4(memoryview(frame)[HEADER_SIZE:])
    except FrameError:
        return []
    if packet.dont_fragment:
        return []
    header_size = IPV4_HEADER_SIZE + len(packet.options)
    step = (mtu - header_size) // 8 * 8
    made = []
    for start in range(0, len(packet.payload), step):
        piece = bytearray(frame[: HEADER_SIZE + header_size]) + packet.payload[start : start + step]
        is_last = start + step >= len(packet.payload) and not packet.more_fragments
        place = (packet.fragment_offset + start) // 8 | (0 if is_last else _MORE_FRAGMENTS)
        put_word(piece, HEADER_SIZE + 2, len(piece) - HEADER_SIZE)
        put_word(piece, HEADER_SIZE + 6, place)
        put_word(piece, HEADER_SIZE + 10, 0)
        put_word(piece, HEADER_SIZE + 10, checksum(piece[HEADER_SIZE : HEADER_SIZE + header_size]))
        made.append(lone(piece))
    return made
