"""tun://NAME: a layer-3 device of this kernel as a station on the LAN.

The kernel hands over IP packets; ``vport.station.layer3`` gives them their Ethernet headers and answers for
the device's addresses. Superframes stay whole, as with a TAP: their virtio-net header is moved by the 14
bytes of the Ethernet header.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
from collections import Counter, deque
from typing import TYPE_CHECKING, Final

import trio

from vport.errors import FrameError, LinkError
from vport.ethernet import HEADER_SIZE
from vport.links.base import Link
from vport.links.readiness import notify_closing, serve_readable
from vport.links.tap import limit_superframes, release
from vport.links.tuntap import open_device
from vport.netdev import in_namespace
from vport.offload import NO_OFFLOAD, VNET_HEADER, VirtioNetHeader, from_tap, join, plain
from vport.station import derived_mac
from vport.station.events import describe
from vport.station.layer3 import Layer3Station
from vport.train import Train, lone, runs

if TYPE_CHECKING:
    from vport.ethernet import Buffer
    from vport.links.base import Sink
    from vport.links.tuntap import OpenDevice
    from vport.locator import InterfaceAddress, IpAddress, TunLocator
    from vport.netdev import Kernel

logger = logging.getLogger(__name__)

PACKETS_A_TURN: Final = 64
MAX_QUEUED_BYTES: Final = 1 << 20  # frames that wait for ``run``
_ROOM: Final = 65536 + 64
_JOIN_AT_LEAST: Final = 16  # frames, as for a TAP


async def open_tun(locator: TunLocator) -> TunLink:
    """Make the TUN device or open a persistent one, and set it up as the locator says.

    Raises:
        LinkError: it cannot be had or set up so; nothing is left behind.
        SettingsError: an address is not that of one host on a LAN.
    """
    station = Layer3Station(locator.mac or derived_mac(locator.address[0]), locator.address, locator.gateway)
    device, addresses = await in_namespace(locator.netns, lambda kernel: _open(kernel, locator))
    station = Layer3Station(station.mac, addresses, locator.gateway)
    return TunLink(device, station)


def _open(kernel: Kernel, locator: TunLocator) -> tuple[OpenDevice, list[InterfaceAddress]]:
    before = kernel.snapshot(locator.name)
    device = open_device(kernel, locator.name, "tun", offload=True)
    try:
        if locator.mtu is not None:
            kernel.set_mtu(device.name, locator.mtu)
        limit_superframes(kernel, device.name)
        for address in locator.address:
            kernel.add_address(device.name, address)
        kernel.set_up(device.name)
        # The kernel adds a link-local address of its own: it speaks from it, so the LAN must find it.
        found = kernel.addresses(kernel.get(device.name))
    except BaseException:
        if before is not None:
            kernel.restore(before)
        release(device.descriptor)
        raise
    return device, [*locator.address, *(one for one in found if one not in locator.address)]


class TunLink(Link):
    """The open device as a link. Made by ``open_tun``."""

    module = "tuntap"

    def __init__(self, device: OpenDevice, station: Layer3Station) -> None:
        self.station = station.mac
        self.discards: Counter[str] = station.discards
        self.description = f"{device.name} ({station.resolution.interfaces[0]})"
        self._name = device.name
        self._station = station
        self._descriptor = device.descriptor
        self._takes = device.features
        self._header = memoryview(bytearray(VNET_HEADER.size if device.vnet_header else 0))
        self._no_header = NO_OFFLOAD.encode()[: len(self._header)]
        self._buffer = memoryview(bytearray(_ROOM))
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self._wake = trio.Event()

    # --- from the device ---

    async def run(self, sink: Sink, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Read packets and deliver them as frames until closed.

        Raises:
            LinkError: the device was deleted.
        """
        failure: LinkError | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._speak, sink)
            self._enqueue(self._station.announce())
            task_status.started()
            try:
                await self._read(sink)
            except LinkError as error:  # not from inside the nursery: that would put it into a group
                failure = error
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _read(self, sink: Sink) -> None:
        if self._descriptor >= 0:
            with contextlib.suppress(trio.ClosedResourceError):
                await serve_readable(self._descriptor, lambda: self._turn(sink))

    def _turn(self, sink: Sink) -> bool:
        """Deliver what one turn allows; return whether more may be waiting."""
        if self._descriptor < 0:
            return False
        more = True
        now = trio.current_time()
        for _ in range(PACKETS_A_TURN):
            try:
                size = os.readv(self._descriptor, (self._header, self._buffer)) - len(self._header)
            except BlockingIOError:
                more = False
                break
            except OSError as error:
                what = "was deleted" if error.errno == errno.EBADFD else f"cannot be read: {error.strerror}"
                raise LinkError(f"{self._name} {what}") from error
            self._take(self._buffer[:size], sink, now)
        sink.flush()
        return more

    def _take(self, packet: memoryview, sink: Sink, now: float) -> None:
        """Deliver a packet as a frame, or let it wait until its next hop is known."""
        header, next_hop = self._station.header_for(packet, now)
        try:
            if header is not None:
                sink.deliver(self._framed(header, packet))
            elif next_hop is not None:
                self._ask(next_hop, packet, now)
        except FrameError:
            self.discards["malformed"] += 1

    def _framed(self, ethernet: bytes, packet: memoryview) -> Train:
        """Make the train that a packet with an Ethernet header is. Raises FrameError."""
        if not any(self._header[:2]):
            return lone(b"".join((ethernet, packet)))
        asked = VirtioNetHeader._make(VNET_HEADER.unpack(self._header))
        moved = asked._replace(csum_start=asked.csum_start + HEADER_SIZE, hdr_len=asked.hdr_len + HEADER_SIZE)
        return from_tap(b"".join((moved.encode(), ethernet, packet)))

    def _ask(self, next_hop: IpAddress, packet: memoryview, now: float) -> None:
        """Let a packet wait, cut and finished: what is kept for later has no header to describe it."""
        placeholder = bytes(12) + (b"\x08\x00" if next_hop.version == 4 else b"\x86\xdd")
        for frame in plain(self._framed(placeholder, packet)).frames():
            self._enqueue(self._station.wait(next_hop, bytes(frame[HEADER_SIZE:]), now))

    # --- what the station says by itself ---

    async def _speak(self, sink: Sink) -> None:
        """Deliver the station's own frames: answers, questions, packets that have waited."""
        while True:
            self._enqueue(self._station.handle_timer(trio.current_time()))
            for conflict in self._station.conflicts:
                logger.warning("%s: %s", self._name, describe(conflict))
            self._station.conflicts.clear()
            if self._queue:
                while self._queue:
                    sink.deliver(lone(self._queue.popleft()))
                self._queued_bytes = 0
                sink.flush()
            self._wake = trio.Event()
            deadline = self._station.next_deadline()
            with trio.move_on_at(float("inf") if deadline is None else deadline):
                await self._wake.wait()

    def _enqueue(self, frames: list[bytes]) -> None:
        for frame in frames:
            if self._queued_bytes + len(frame) > MAX_QUEUED_BYTES:
                self.discards["queue-full"] += 1
                continue
            self._queued_bytes += len(frame)
            self._queue.append(frame)
        if frames:
            self._wake.set()

    # --- to the device ---

    def transmit(self, train: Train) -> None:
        """Write the packets that are for the device; answer what asks for its addresses."""
        if self._descriptor < 0:
            self.discards["closed"] += train.count
            return
        now = trio.current_time()
        for run in runs(train):
            if run.offload is None and self._station.is_discovery(run.data):
                for frame in run.frames():
                    self._receive(lone(frame), now)
            else:
                self._receive(run, now)

    def _receive(self, train: Train, now: float) -> None:
        """Take frames that have one Ethernet header."""
        is_for_device, answers = self._station.receive(train.data, now)
        self._enqueue(answers)
        if not is_for_device:
            return
        few = train.offload is None and len(train.data) < train.frame_size * _JOIN_AT_LEAST
        try:
            pieces = [train] if few else join(train, self._takes, fixed_ids=True)
        except FrameError:
            self.discards["malformed"] += train.count
            return
        for piece in pieces:
            if piece.offload is None:
                for frame in piece.frames():
                    self._write(self._no_header, frame[HEADER_SIZE:], 1)
            else:
                self._write(_moved_back(piece.offload), memoryview(piece.data)[HEADER_SIZE:], piece.count)

    def _write(self, header: Buffer, packet: Buffer, count: int) -> None:
        try:
            os.writev(self._descriptor, (header, packet))
        except OSError as error:
            self.discards[_REASONS.get(error.errno or 0, "refused")] += count

    def close(self) -> None:
        """Close the device, which removes it unless it is persistent. Idempotent."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            notify_closing(descriptor)
            release(descriptor)


def _moved_back(header: VirtioNetHeader) -> bytes:
    """Let a virtio-net header count from the IP header."""
    return header._replace(
        csum_start=header.csum_start - HEADER_SIZE, hdr_len=max(0, header.hdr_len - HEADER_SIZE)
    ).encode()


_REASONS: Final = {
    errno.EAGAIN: "queue-full",
    errno.ENOBUFS: "queue-full",
    errno.ENOMEM: "queue-full",
    errno.EIO: "device-down",
    errno.EBADFD: "device-deleted",
    errno.EINVAL: "malformed",
}
