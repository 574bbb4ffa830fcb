"""TAP: a device of this kernel, so that the machine itself joins the LAN.

``open_tap`` makes the device or opens a persistent one, and sets it up; ``TapLink`` carries its frames.

With a virtio-net header (IFF_VNET_HDR) the kernel hands over TCP and UDP superframes and leaves
checksums unfinished: those go on as they are, described by ``Train.offload``. Small frames are read one
behind the other into one buffer, so that frames of one size are a train without a copy.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections import Counter
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Final

import trio

from vport.errors import FrameError, LinkError
from vport.ethernet import HEADER_SIZE
from vport.fairness import Pace
from vport.links.base import Link
from vport.links.readiness import notify_closing, serve_readable
from vport.links.tuntap import open_device, set_features
from vport.netdev import in_namespace
from vport.offload import (
    NO_OFFLOAD,
    VNET_HEADER,
    VirtioNetHeader,
    VnetFlag,
    complete_checksums,
    join,
)
from vport.segments import superframe_header
from vport.train import Train

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vport.ethernet import Buffer
    from vport.links.base import Sink
    from vport.links.tuntap import OpenDevice
    from vport.locator import TapLocator
    from vport.netdev import Device, Kernel

# --- how much is read in one turn, before others get theirs ---

FRAMES_A_TURN: Final = 256  # a quarter of a millisecond at a microsecond each, where they do not cost more
BYTES_A_TURN: Final = 192 * 1024  # four superframes; more leaves the processor's second-level cache
_ROOM: Final = 65536 + 64  # bytes of the largest superframe, with some slack

# --- what is joined before it is written ---

# Joining costs 20 µs however short the train, or 50 µs when it is no clean run; a write 1 µs a frame. A TCP
# superframe saves the receiver one pass and half an acknowledgement a frame (13 % of a core at 1 Gbit/s), a
# UDP one only where the application uses UDP_GRO.
_JOIN_AT_LEAST: Final = 16  # frames

# --- superframes are bounded so that their frames fill one UDP_SEGMENT send ---

_UDP_PAYLOAD_MAXIMUM: Final = 65487  # of one UDP_SEGMENT send over IPv6; 65507 over IPv4
_SEGMENTS_MAXIMUM: Final = 64  # UDP_MAX_SEGMENTS before Linux 6.10 (128 since)
_ENVELOPE: Final = 36  # what a link may add to a frame: a VLAN tag (4) and WireGuard (32)
_TCP_HEADERS: Final = 40 + 20 + 12  # IPv6, TCP, its timestamps: the smallest payload of a full frame
_TCP_RESERVE: Final = 192  # the kernel takes MAX_TCP_HEADER + 1 off gso_max_size; 192 is its least value
_GSO_SIZE_MAXIMUM: Final = 65536  # GSO_LEGACY_MAX_SIZE; more would be jumbograms


def superframe_limits(mtu: int) -> tuple[int, int]:
    """Give ``gso_max_size`` and ``gso_max_segs`` for a device with this MTU.

    TCP fills a superframe with as many full segments as fit in ``gso_max_size``, so the limit is set just
    below what would let one more in.
    """
    frame = HEADER_SIZE + mtu + _ENVELOPE
    segments = max(1, min(_SEGMENTS_MAXIMUM, _UDP_PAYLOAD_MAXIMUM // frame))
    size = (segments + 1) * max(1, mtu - _TCP_HEADERS) - 1 + _TCP_RESERVE
    return min(size, _GSO_SIZE_MAXIMUM), _SEGMENTS_MAXIMUM


async def open_tap(locator: TapLocator) -> TapLink:
    """Make the TAP device or open a persistent one, and set it up as the locator says.

    Raises:
        LinkError: it cannot be had or set up so; nothing is left behind, and a persistent device is
            as it was.
    """
    device, state = await in_namespace(locator.netns, lambda kernel: _open(kernel, locator))
    return TapLink(device, state)


def _open(kernel: Kernel, locator: TapLocator) -> tuple[OpenDevice, Device]:
    before = kernel.snapshot(locator.name)
    device = open_device(kernel, locator.name, "tap", offload=locator.offload)
    try:
        _set_up(kernel, device.name, locator)
        return device, kernel.get(device.name)
    except BaseException:
        if before is not None:
            kernel.restore(before)
        release(device.descriptor)
        raise


def release(descriptor: int) -> None:
    """Close the device. A persistent one would keep the offloads, and its next user may not know them."""
    set_features(descriptor, wanted=False)
    os.close(descriptor)


def _set_up(kernel: Kernel, name: str, locator: TapLocator) -> None:
    """Do what the locator asks for: what addresses depend on first, what others notice last."""
    if locator.mtu is not None:
        kernel.set_mtu(name, locator.mtu)
    if locator.mac is not None:
        kernel.set_mac(name, locator.mac)
    limit_superframes(kernel, name)
    for address in locator.address:
        kernel.add_address(name, address)
    if locator.bridge is not None:
        kernel.join_bridge(name, locator.bridge)
    if locator.up:
        kernel.set_up(name)


def limit_superframes(kernel: Kernel, name: str) -> None:
    """Fit superframes to one send. It only makes things faster, so a refusal is no error."""
    size, segments = superframe_limits(kernel.get(name).mtu)
    try:
        kernel.limit_superframes(name, size=size, segments=segments)
    except LinkError:
        return


class TapLink(Link):
    """The open device as a link. Made by ``open_tap``.

    Attributes:
        name: of the device.
        mtu: of the device when it was opened.
        features: what the kernel hands over unfinished.
    """

    module = "tuntap"

    def __init__(self, device: OpenDevice, state: Device) -> None:
        self.name = device.name
        self.mtu = state.mtu
        self.features = device.features
        self.station = state.mac
        self.description = f"{device.name} (mtu {state.mtu})"
        self.discards: Counter[str] = Counter()
        self._descriptor = device.descriptor
        self._header_size = VNET_HEADER.size if device.vnet_header else 0
        self._no_header = NO_OFFLOAD.encode()[: self._header_size]
        self._takes = device.features
        # Who joins the datagrams of a flow whose IPv4 IDs are all the same loses those IDs. This machine
        # does not look at them (RFC 6864 section 4.1); what a bridge passes on should stay as it was.
        self._fixed_ids = not state.master
        self._buffer = memoryview(bytearray(BYTES_A_TURN + _ROOM))
        self._headers = bytearray(FRAMES_A_TURN * self._header_size)
        self._header_views = _pieces(memoryview(self._headers), self._header_size, FRAMES_A_TURN)
        self._sizes: list[int] = []
        self._gathered: list[tuple[bytes, Buffer]] = []  # virtio-net header and frame
        self._pace = Pace(FRAMES_A_TURN)

    # --- from the device ---

    async def run(self, sink: Sink, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Read frames into ``sink`` until closed.

        Raises:
            LinkError: the device was deleted.
        """
        if self._descriptor < 0:
            task_status.started()
            return
        with contextlib.suppress(trio.ClosedResourceError):
            task_status.started()
            await serve_readable(self._descriptor, lambda: self._turn(sink))

    def _turn(self, sink: Sink) -> bool:
        """Deliver what one turn allows; return whether more may be waiting."""
        if self._descriptor < 0:
            return False
        started = time.perf_counter()
        more = self._fill(self._pace.limit)
        for train in self._trains():
            sink.deliver(train)
        sink.flush()
        self._pace.took(time.perf_counter() - started)
        return more

    def _fill(self, limit: int) -> bool:
        """Read up to ``limit`` frames, one behind the other; return whether more may be waiting."""
        descriptor, buffer, skip, readv = self._descriptor, self._buffer, self._header_size, os.readv
        sizes = self._sizes
        sizes.clear()
        position = 0
        try:
            for header in islice(self._header_views, limit):
                size = readv(descriptor, (header, buffer[position : position + _ROOM])) - skip
                sizes.append(size)
                position += size
                if position > BYTES_A_TURN:
                    break
        except BlockingIOError:
            return False
        except OSError as error:
            what = "was deleted" if error.errno == errno.EBADFD else f"cannot be read: {error.strerror}"
            raise LinkError(f"{self.name} {what}") from error
        return True

    def _trains(self) -> Iterator[Train]:
        """Give what is in the buffer as trains: runs of frames with one size and one header."""
        sizes = self._sizes
        first = position = 0
        for after in self._run_ends():
            size = sizes[first]
            end = position + (after - first - 1) * size + sizes[after - 1]
            header = bytes(self._header_views[first])
            try:
                yield _described(self._buffer[position:end], size, header)
            except FrameError:
                self.discards["malformed"] += after - first
            first, position = after, end

    def _run_ends(self) -> list[int]:
        """Give the number of the frame behind each run; only the last of a run may be shorter."""
        sizes, headers, skip = self._sizes, self._headers, self._header_size
        count = len(sizes)
        if count < 2 or self._is_one_run():
            return [count] if count else []
        ends = []
        run: bytes | bytearray = b""
        size = -1  # of the run under way; -1 when the next frame begins a new one
        for number, one in enumerate(sizes):
            start = number * skip
            header = headers[start : start + skip]
            if one > size or header != run:
                ends.append(number)
                size, run = one, header
            if one < size or (skip and headers[start + 1]):
                size = -1  # superframes stay alone
        return [*ends[1:], count]

    def _is_one_run(self) -> bool:
        """Whether all frames have one size and one header and none is a superframe."""
        sizes, skip = self._sizes, self._header_size
        size, count = sizes[0], len(sizes)
        if sizes.count(size) < count or (skip and self._headers[1]):
            return False
        return self._headers[: count * skip] == self._headers[:skip] * count

    # --- to the device ---

    def transmit(self, train: Train) -> None:
        """Gather the frames until ``flush``, as superframes where they join.

        What is known of several trains goes to the kernel together: its way through TCP takes so much of the
        processor's caches that to come back here from each write costs more than the gathering.
        """
        if train.offload is None and len(train.data) < train.frame_size * _JOIN_AT_LEAST:
            self._gather(train)
            return
        try:
            pieces = join(train, self._takes, fixed_ids=self._fixed_ids)
        except FrameError:
            self.discards["malformed"] += train.count
            return
        for piece in pieces:
            if piece.offload is None:
                self._gather(piece)
            else:
                self._gathered.append((_encoded(piece.offload), piece.data))

    def _gather(self, train: Train) -> None:
        if len(train.data) <= train.frame_size:
            self._gathered.append((self._no_header, train.data))
        else:
            self._gathered += [(self._no_header, frame) for frame in train.frames()]

    def flush(self) -> None:
        """Write what was gathered; discard and count what the device refuses."""
        if not self._gathered:
            return
        gathered, self._gathered = self._gathered, []
        descriptor, writev = self._descriptor, os.writev
        for buffers in gathered:
            try:
                writev(descriptor, buffers)
            except OSError as error:
                header, data = buffers
                self.discards[_discard_reason(error, len(data))] += _frame_count(header, data)

    def close(self) -> None:
        """Close the device, which removes it unless it is persistent. Idempotent."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor < 0:
            return
        notify_closing(descriptor)
        release(descriptor)


_encoded: Final = lru_cache(maxsize=256)(VirtioNetHeader.encode)


def _frame_count(header: bytes, data: Buffer) -> int:
    """Say how many frames were to be written with one virtio-net header."""
    asked = _decoded(header)
    return 1 if asked is None else Train(data, len(data), asked).count


@lru_cache(maxsize=256)
def _decoded(header: bytes) -> VirtioNetHeader | None:
    """Read a virtio-net header; None if it asks for nothing, or there is none."""
    return VirtioNetHeader._make(VNET_HEADER.unpack(header)) if any(header[:2]) else None


def _pieces(view: memoryview, size: int, count: int) -> list[memoryview]:
    return [view[index * size : (index + 1) * size] for index in range(count)]


def _described(data: memoryview, size: int, header: bytes) -> Train:
    """Make a train of frames of ``size`` bytes that were read with the same virtio-net header.

    Raises:
        FrameError: header and frame contradict each other.
    """
    asked = _decoded(header)
    if asked is None:
        return Train(data, size)
    if asked.gso_type:
        asked = superframe_header(data, asked)
        return Train(data, asked.hdr_len + asked.gso_size, asked)
    if not asked.flags & VnetFlag.NEEDS_CSUM:
        return Train(data, size)
    if len(data) == size:
        return Train(data, size, asked)
    complete_checksums(data, size, asked)
    return Train(data, size)


def _discard_reason(error: OSError, size: int) -> str:
    if size < HEADER_SIZE:
        return "undersized"
    return _REASONS.get(error.errno or 0, "refused")


_REASONS: Final = {
    errno.EAGAIN: "queue-full",
    errno.ENOBUFS: "queue-full",
    errno.ENOMEM: "queue-full",
    errno.EIO: "device-down",
    errno.EBADFD: "device-deleted",
    errno.EBADF: "closed",
    errno.EMSGSIZE: "oversized",
    errno.E2BIG: "oversized",
}
