"""packet://eth0: an existing device of this kernel, through AF_PACKET (packet(7)).

Everything that the device receives is delivered, also what is for others (promiscuous mode); what is
transmitted goes out of it. What this machine itself sends out of the device is not seen.

A virtio-net header goes before every frame (PACKET_VNET_HDR), as with a TAP: superframes of TCP and
unfinished checksums come as they are and may be sent so. The kernel takes the outer VLAN tag out of what it
receives; it is put back from the packet's auxiliary data.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import struct
from collections import Counter
from typing import TYPE_CHECKING, Final

import trio

from vport.errors import FrameError, LinkError
from vport.ethernet import HEADER_SIZE, TAG_SIZE, EtherType
from vport.links.base import Link
from vport.links.datagrams import raise_buffers
from vport.links.readiness import notify_closing, serve_readable
from vport.netdev import in_namespace
from vport.offload import NO_OFFLOAD, VNET_HEADER, TapOffload, from_tap, join, plain
from vport.tagging import push_tag
from vport.train import Train

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vport.ethernet import Buffer
    from vport.links.base import Sink
    from vport.locator import PacketLocator
    from vport.netdev import Kernel

# --- constants of the kernel (linux/if_packet.h, linux/if_ether.h, linux/if_arp.h) ---

SOL_PACKET: Final = 263
PACKET_ADD_MEMBERSHIP: Final = 1
PACKET_AUXDATA: Final = 8
PACKET_VNET_HDR: Final = 15
PACKET_IGNORE_OUTGOING: Final = 23  # since Linux 4.20
PACKET_OUTGOING: Final = 4  # type of a packet in its address
PACKET_MR_PROMISC: Final = 1
ETH_P_ALL: Final = 3
ARPHRD_ETHER: Final = 1
ARPHRD_LOOPBACK: Final = 772
SIOCGIFINDEX: Final = 0x8933
_MEMBERSHIP: Final = struct.Struct("iHH8s")  # struct packet_mreq
_AUXDATA: Final = struct.Struct("IIIHHHH")  # struct tpacket_auxdata
_VLAN_VALID: Final = 1 << 4  # TP_STATUS_VLAN_VALID
_TPID_VALID: Final = 1 << 6  # TP_STATUS_VLAN_TPID_VALID

# --- our own constants ---

FRAMES_A_TURN: Final = 256
BYTES_A_TURN: Final = 192 * 1024  # as for a TAP
_ROOM: Final = 65536 + 64
_JOIN_AT_LEAST: Final = 16  # frames, as for a TAP
_TAKES: Final = TapOffload.CSUM | TapOffload.TSO4 | TapOffload.TSO6 | TapOffload.TSO_ECN
_UNTAGGED: Final = (0, 0)
_REASONS: Final = {
    errno.EAGAIN: "queue-full",
    errno.ENOBUFS: "queue-full",
    errno.ENOMEM: "queue-full",
    errno.EMSGSIZE: "oversized",
    errno.ENETDOWN: "device-down",
    errno.ENXIO: "device-deleted",
    errno.ENODEV: "device-deleted",
    errno.EBADF: "closed",
}


async def open_packet(locator: PacketLocator) -> PacketLink:
    """Open the device that ``locator`` names.

    Raises:
        LinkError: there is no such device, it is not an Ethernet, or that is not permitted.
    """
    return PacketLink(await in_namespace(locator.netns, lambda kernel: _open(kernel, locator)), locator)


def _open(kernel: Kernel, locator: PacketLocator) -> socket.socket:
    kernel.get(locator.name)
    try:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
    except PermissionError as error:
        raise LinkError(
            f"no permission to open {locator.name}: run with sudo, or give the program the capability: "
            "sudo setcap cap_net_raw+ep PROGRAM"
        ) from error
    try:
        _set_up(sock, locator)
    except BaseException as error:
        sock.close()
        if isinstance(error, OSError):
            raise LinkError(f"cannot open {locator.name}: {error.strerror}") from error
        raise
    return sock


def _set_up(sock: socket.socket, locator: PacketLocator) -> None:
    """Set all options before the first frame can come, which is with ``bind``."""
    sock.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    sock.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
    try:
        sock.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    except OSError as error:  # an older kernel hands them over, marked as such
        if error.errno != errno.ENOPROTOOPT:
            raise
    raise_buffers(sock)
    sock.bind((locator.name, ETH_P_ALL))
    kind = sock.getsockname()[3]
    if kind not in {ARPHRD_ETHER, ARPHRD_LOOPBACK}:
        raise LinkError(f"{locator.name} is not an Ethernet device (type {kind}): it has no frames")
    if locator.promiscuous:
        request = _MEMBERSHIP.pack(_device_index(sock, locator.name), PACKET_MR_PROMISC, 0, bytes(8))
        sock.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, request)


def _device_index(sock: socket.socket, name: str) -> int:
    """Find the device in the socket's namespace. Raises OSError (ENODEV) when it is gone."""
    reply = fcntl.ioctl(sock, SIOCGIFINDEX, struct.pack("16s16x", os.fsencode(name)))
    index: int = struct.unpack_from("i", reply, 16)[0]
    return index


class PacketLink(Link):
    """The open device as a link. Made by ``open_packet``."""

    module = "packet"

    def __init__(self, sock: socket.socket, locator: PacketLocator) -> None:
        self.description = str(locator)
        self.discards: Counter[str] = Counter()
        self._name = locator.name
        self._socket = sock
        self._takes = _TAKES
        self._header = memoryview(bytearray(VNET_HEADER.size))
        self._plain_header = NO_OFFLOAD.encode()
        self._buffer = memoryview(bytearray(BYTES_A_TURN + _ROOM))
        self._control_size = socket.CMSG_SPACE(_AUXDATA.size)

    # --- from the device ---

    async def run(self, sink: Sink, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Read frames into ``sink`` until closed.

        Raises:
            LinkError: the device was deleted.
        """
        task_status.started()
        if self._socket.fileno() >= 0:
            with contextlib.suppress(trio.ClosedResourceError):
                await serve_readable(self._socket.fileno(), lambda: self._turn(sink))

    def _turn(self, sink: Sink) -> bool:
        """Deliver what one turn allows; return whether more may be waiting."""
        if self._socket.fileno() < 0:
            return False
        more = True
        start = end = size = 0  # the run of plain frames of one size that lies in the buffer
        for _ in range(FRAMES_A_TURN):
            length, tag = self._receive(self._buffer[end : end + _ROOM])
            if length < 0:
                more = False
                break
            if self._is_plain(length, tag):
                if start < end and length != size:
                    sink.deliver(Train(self._buffer[start:end], size))
                    start = end
                size, end = length, end + length
            else:
                if start < end:
                    sink.deliver(Train(self._buffer[start:end], size))
                for train in self._described(self._buffer[end : end + length], tag):
                    sink.deliver(train)
                start = end = end + length
            if end > BYTES_A_TURN:
                break
        if start < end:
            sink.deliver(Train(self._buffer[start:end], size))
        sink.flush()
        return more

    def _receive(self, room: memoryview) -> tuple[int, tuple[int, int]]:
        """Read one frame; give its length, -1 when there is none now, and its tag as (TPID, TCI)."""
        while True:
            try:
                length, control, flags, address = self._socket.recvmsg_into(
                    [self._header, room], self._control_size
                )
            except BlockingIOError:
                return -1, _UNTAGGED
            except OSError as error:
                self._check_device(error)
                return -1, _UNTAGGED
            if address[2] == PACKET_OUTGOING:
                continue
            if flags & socket.MSG_TRUNC or length < VNET_HEADER.size + HEADER_SIZE:
                self.discards["malformed"] += 1
                continue
            return length - VNET_HEADER.size, _read_tag(control)

    def _check_device(self, error: OSError) -> None:
        """Deal with an error of the device: one that is down may come up again, one that is gone will not."""
        if error.errno != errno.ENETDOWN:
            raise LinkError(f"{self._name} cannot be read: {error.strerror}") from error
        try:
            _device_index(self._socket, self._name)
        except OSError as gone:
            raise LinkError(f"{self._name} was deleted") from gone

    def _is_plain(self, length: int, tag: tuple[int, int]) -> bool:
        return tag == _UNTAGGED and not any(self._header[:2]) and length > 0

    def _described(self, frame: memoryview, tag: tuple[int, int]) -> Iterator[Train]:
        """Give a frame with what its virtio-net header and its tag say about it."""
        try:
            # The header describes the frame before its tag is put in, which is what `from_tap` checks.
            train = from_tap(b"".join((self._header, frame)))
            yield train if tag == _UNTAGGED else _tagged(train, *tag)
        except FrameError:
            self.discards["malformed"] += 1

    # --- to the device ---

    def transmit(self, train: Train) -> None:
        """Send the frames, as superframes where they join; discard and count what the device refuses."""
        if train.offload is None and len(train.data) < train.frame_size * _JOIN_AT_LEAST:
            self._send_frames(train)
            return
        try:
            for piece in join(train, self._takes):
                if piece.offload is None:
                    self._send_frames(piece)
                elif not self._send(piece.offload.encode(), piece.data, piece.count):
                    self._send_frames(plain(piece))
        except FrameError:
            self.discards["malformed"] += train.count

    def _send_frames(self, train: Train) -> None:
        for frame in train.frames():
            self._send(self._plain_header, frame, 1)

    def _send(self, header: bytes, data: Buffer, count: int) -> bool:
        """Send one frame or superframe; return whether it is worth no other attempt."""
        try:
            self._socket.sendmsg((header, data))
        except OSError as error:
            if error.errno == errno.EINVAL and header != self._plain_header:
                self._takes = TapOffload(0)  # this kernel does not take superframes from a packet socket
                return False
            reason = "undersized" if len(data) < HEADER_SIZE else _REASONS.get(error.errno or 0, "refused")
            self.discards[reason] += count
        return True

    def close(self) -> None:
        """Close the socket; the device leaves promiscuous mode. Idempotent."""
        if self._socket.fileno() >= 0:
            notify_closing(self._socket.fileno())
            self._socket.close()


def _read_tag(control: list[tuple[int, int, bytes]]) -> tuple[int, int]:
    """Read the tag that the kernel took out, as (TPID, TCI); (0, 0) for none."""
    for level, kind, data in control:
        if level == SOL_PACKET and kind == PACKET_AUXDATA and len(data) >= _AUXDATA.size:
            status, _, _, _, _, tci, tpid = _AUXDATA.unpack_from(data)
            if status & _VLAN_VALID:
                return (tpid if status & _TPID_VALID else EtherType.VLAN), tci
    return _UNTAGGED


def _tagged(train: Train, tpid: int, tci: int) -> Train:
    """Put a tag back. Raises FrameError."""
    tagged = push_tag(train, tci)
    if tpid != EtherType.VLAN:
        data = bytearray(tagged.data)
        data[HEADER_SIZE - 2 : HEADER_SIZE - 2 + TAG_SIZE // 2] = tpid.to_bytes(2, "big")
        return Train(data, tagged.frame_size, tagged.offload)
    return tagged
