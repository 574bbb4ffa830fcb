"""Making Ethernet frames fit a tunnel: TCP is told to send less, others get an ICMP message.

A bridge has no word in what its stations send, and a tunnel takes less than they think. What is too long
still crosses as long as the network below fragments it, slowly. So two things are done with IP that crosses:

* In a SYN the maximum segment size is lowered to what fits (RFC 6691; RFC 4821 asks for less, but every
  router with a tunnel does this), in both directions.
* A frame that does not fit and must not be fragmented is answered with "fragmentation needed" (RFC 1191) or
  "packet too big" (RFC 8201), in the name of whom it was for, and discarded. IPv4 that may be fragmented, and
  what is not IP, passes.
"""

from __future__ import annotations

import itertools
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from vport.checksum import checksum
from vport.errors import FrameError
from vport.ethernet import HEADER_SIZE, TAG_SIZE, EtherType
from vport.rate_limit import RateLimit
from vport.train import Train
from vport.virtio_net import VnetFlag
from vport.wireguard.mtu import IPV6_MINIMUM
from vport.wireguard.oversize import fragments_or_error

if TYPE_CHECKING:
    from collections import Counter

    from vport.ethernet import Buffer
    from vport.locator import IpAddress

SYN_LIMIT: Final = (
    HEADER_SIZE + TAG_SIZE + 60 + 60
)  # bytes: the longest IPv4 and TCP headers; a SYN has no data
_TCP_HEADER: Final = 20
_IP_HEADER: Final = {4: 20, 6: 40}
_PLAIN_IPV4: Final = b"\x08\x00\x45"  # EtherType; version and header length
_LEAST_SYN: Final = HEADER_SIZE + 20 + 20
_TCP: Final = 6  # RFC 9293: its number as an IP protocol
_SYN: Final = 2
_MSS: Final = 2  # option kind (RFC 9293 section 3.2)
_DONT_FRAGMENT: Final = 0x40
_LEAST_MSS: Final = 536  # RFC 9293 section 3.7.1: what everybody takes; a limit below makes no sense
_ERROR_BURST, _ERROR_INTERVAL = 10, 0.1  # ICMP errors are to be limited (RFC 1812 section 4.3.2.8)


class _Ip(NamedTuple):
    """Where the IP packet in a frame begins, and its version."""

    start: int
    version: int


def _find_ip(frame: Buffer) -> _Ip | None:
    """Look for IP behind an Ethernet header with at most one tag."""
    start = HEADER_SIZE
    ethertype = frame[12] << 8 | frame[13]
    if ethertype == EtherType.VLAN and len(frame) >= HEADER_SIZE + TAG_SIZE:
        start += TAG_SIZE
        ethertype = frame[16] << 8 | frame[17]
    if ethertype == EtherType.IPV4 and len(frame) >= start + _IP_HEADER[4]:
        return _Ip(start, 4)
    if ethertype == EtherType.IPV6 and len(frame) >= start + _IP_HEADER[6]:
        return _Ip(start, 6)
    return None


class Fitting:
    """Keeps frames below a limit that may change.

    Attributes:
        limit: bytes of the longest frame that fits.
        discards: frames that were answered, or could not be, by reason.
        clamped: how many SYNs were changed.
    """

    def __init__(self, limit: int, discards: Counter[str]) -> None:
        self.limit = limit
        self.discards = discards
        self.clamped = 0
        self._errors = RateLimit(burst=_ERROR_BURST, interval=_ERROR_INTERVAL)
        self._identifications = itertools.count(1)

    def concerns(self, train: Train) -> bool:
        """Whether a train has to be looked at: too long, or short enough for a SYN."""
        size = train.frame_size
        return size > self.limit or size <= SYN_LIMIT

    def outgoing(self, train: Train, now: float) -> tuple[Train | None, bytes | None]:
        """Look at a train on its way into the tunnel.

        Returns:
            what is to be sent, None for nothing; and a frame for whoever sent it, None for none.
        """
        if train.frame_size > self.limit:
            return self._too_long(train, now)
        return self.clamp(train), None

    def _mtu(self, found: _Ip) -> int:
        """Give the longest packet; IPv6 is never told less than every link of its must take."""
        mtu = self.limit - found.start
        return mtu if found.version == 4 else max(mtu, IPV6_MINIMUM)

    # --- what is too long ---

    def _too_long(self, train: Train, now: float) -> tuple[Train | None, bytes | None]:
        found = _find_ip(train.data)
        if found is None or (found.version == 4 and not train.data[found.start + 6] & _DONT_FRAGMENT):
            return train, None
        if train.frame_size <= found.start + self._mtu(found):
            return train, None
        self.discards["too long for the tunnel"] += train.count
        if train.data[0] & 1 or not self._errors.ask(now)[0]:
            return None, None
        try:
            return None, self._error(memoryview(train.data)[: len(train.data)], train, found)
        except FrameError:
            return None, None

    def _error(self, data: memoryview, train: Train, found: _Ip) -> bytes | None:
        """Make the frame with the ICMP error about the first packet of a train."""
        packet = _cut_short(bytes(data[found.start : train.frame_size]), found.version)
        us: IpAddress = IPv4Address(packet[16:20]) if found.version == 4 else IPv6Address(packet[24:40])
        _, error = fragments_or_error(packet, self._mtu(found), us, next(self._identifications) & 0xFFFF)
        if error is None:
            return None
        # Back the way it came: addresses swapped, tag and EtherType as they were.
        return bytes(data[6:12]) + bytes(data[:6]) + bytes(data[12 : found.start]) + error

    # --- TCP ---

    def clamp(self, train: Train) -> Train:
        """Lower the maximum segment size in SYNs; the train itself where there is nothing to do."""
        size = train.frame_size
        if size > SYN_LIMIT or not _may_have_syn(train):
            return train
        changed: bytearray | None = None
        for start in range(0, len(train.data), size):
            option = self._find_mss(train.data[start : start + size])
            if option is not None:
                if changed is None:
                    changed = bytearray(train.data)
                at, tcp, mss = option
                is_partial = train.offload is not None and bool(train.offload.flags & VnetFlag.NEEDS_CSUM)
                _write_mss(changed, start + at, None if is_partial else start + tcp + 16, mss)
                self.clamped += 1
        return train if changed is None else Train(changed, size, train.offload)

    def _find_mss(self, frame: Buffer) -> tuple[int, int, int] | None:
        """Find a segment size that is too great: where it stands, where TCP begins, and what it should be."""
        found = _find_ip(frame) if len(frame) >= HEADER_SIZE + _IP_HEADER[4] else None
        if found is None:
            return None
        tcp = _find_tcp(frame, found)
        if tcp is None or not frame[tcp + 13] & _SYN:
            return None
        wanted = max(_LEAST_MSS, self._mtu(found) - _IP_HEADER[found.version] - _TCP_HEADER)
        at, end = tcp + _TCP_HEADER, min(tcp + (frame[tcp + 12] >> 4) * 4, len(frame))
        while at + 4 <= end and frame[at] != 0:
            if frame[at] == _MSS and frame[at + 1] == 4:
                return (at + 2, tcp, wanted) if frame[at + 2] << 8 | frame[at + 3] > wanted else None
            at += 1 if frame[at] == 1 else max(2, frame[at + 1])
        return None


def _find_tcp(frame: Buffer, found: _Ip) -> int | None:
    """Find the TCP header of an unfragmented packet without extension headers."""
    start = found.start
    if found.version == 4:
        is_tcp = frame[start + 9] == _TCP and not (frame[start + 6] & 0x1F or frame[start + 7])
        tcp = start + (frame[start] & 15) * 4
    else:
        is_tcp = frame[start + 6] == _TCP
        tcp = start + _IP_HEADER[6]
    return tcp if is_tcp and len(frame) >= tcp + _TCP_HEADER else None


def _may_have_syn(train: Train) -> bool:
    """Whether any frame may be a SYN, tagged or not: a look at four columns instead of a loop over frames."""
    data, size = train.data, train.frame_size
    whole = len(data) // size
    if size < _LEAST_SYN:
        return False
    if whole < 2:  # the usual lone frame, IPv4 without options: an acknowledgement, a ping
        return data[12:15] != _PLAIN_IPV4 or (data[23] == _TCP and bool(data[47] & _SYN))
    return any((np.ndarray((whole,), np.uint8, data, at, (size,)) == _TCP).any() for at in (20, 23, 24, 27))


def _write_mss(frame: bytearray, at: int, sum_at: int | None, mss: int) -> None:
    """Write the option's value, and correct the checksum by the difference (RFC 1624 equation 3)."""
    old = frame[at] << 8 | frame[at + 1]
    if sum_at is not None:
        # An option at an odd offset has its bytes the other way round in the sum.
        is_odd = (at - sum_at) & 1
        before, after = (_swapped(old), _swapped(mss)) if is_odd else (old, mss)
        total = (~(frame[sum_at] << 8 | frame[sum_at + 1]) & 0xFFFF) + (~before & 0xFFFF) + after
        total = (total & 0xFFFF) + (total >> 16)
        total = (total & 0xFFFF) + (total >> 16)
        frame[sum_at : sum_at + 2] = (~total & 0xFFFF).to_bytes(2, "big")
    frame[at : at + 2] = mss.to_bytes(2, "big")


def _swapped(value: int) -> int:
    return (value & 0xFF) << 8 | value >> 8


def _cut_short(packet: bytes, version: int) -> bytes:
    """Make the header of a superframe's packet agree with the first part of it, which is all there is."""
    size = len(packet)
    if version == 4:
        options = (packet[0] & 15) * 4
        header = bytearray(packet[:options])
        header[2:4] = min(size, packet[2] << 8 | packet[3] or size).to_bytes(2, "big")
        header[10:12] = bytes(2)
        header[10:12] = checksum(header).to_bytes(2, "big")
        return bytes(header) + packet[options:]
    return packet[:4] + (size - _IP_HEADER[6]).to_bytes(2, "big") + packet[6:]
