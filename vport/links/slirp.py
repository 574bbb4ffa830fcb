"""A user-mode network as a link: ``slirp://10.0.2.0/24?hostfwd=tcp::2222-:22``.

The network itself is libslirp (``vport.slirp_stack``). This module gives it the clock, waits for its
descriptors, carries its frames, and bounds what stations can make it open.

libslirp names anew before every wait which descriptors it wants. They stand in an epoll set of their own,
changed by the difference, and Trio waits for that one descriptor, however many connections there are.
"""

from __future__ import annotations

import contextlib
import logging
import resource
import select
from dataclasses import replace
from itertools import groupby
from math import inf
from typing import TYPE_CHECKING, Any, Final

import trio

from vport.errors import FrameError, LinkError, SettingsError
from vport.ethernet import HEADER_SIZE, EtherType, MacAddress
from vport.links.base import Link
from vport.links.readiness import notify_closing, serve_readable
from vport.links.slirp_relay import ACCEPT_EVERY, Relays
from vport.offload import VnetFlag, complete_checksums, plain
from vport.rate_limit import RateLimit
from vport.slirp_segments import (
    LONGEST_SYN,
    OfferedSizes,
    fitted,
    limit_offer,
    mss_position,
    multiply_offer,
)
from vport.slirp_stack import Stack
from vport.train import Train
from vport.virtio_net import GSO_ECN, GsoType

if TYPE_CHECKING:
    from collections import Counter

    from vport.ethernet import Buffer
    from vport.forwards import HostEnd, HostForward
    from vport.links.base import Sink
    from vport.locator import SlirpLocator

logger = logging.getLogger(__name__)

_ROUTER_PREFIX: Final = b"\x52\x55"  # and the router's IPv4 address: its MAC address (libslirp, slirp.h)
_TCP: Final = 6
_SYN_ACK: Final = 0x12
_SYN: Final = 0x02
_HEADERS: Final = 40  # of IPv4 and TCP: the least that stands in front of a segment's payload
_TCP_SUPERFRAMES: Final = (int(GsoType.TCPV4), int(GsoType.TCPV6))

# Events of libslirp and of epoll differ in two bits (libslirp.h, epoll_ctl(2)).
_TO_EPOLL: Final = tuple(
    (bits & 0b11001) | (select.EPOLLOUT if bits & 2 else 0) | (select.EPOLLPRI if bits & 4 else 0)
    for bits in range(32)
)
_FROM_EPOLL: Final = tuple(
    (bits & 0b11001) | (2 if bits & select.EPOLLOUT else 0) | (4 if bits & select.EPOLLPRI else 0)
    for bits in range(32)
)


class SlirpLink(Link):
    """A network of libslirp at the far end of a link.

    Attributes:
        locator: what it could be opened with to be as it is now.
        forwards: ports of the machine that lead to stations, as they are now.
    """

    module = "slirp"

    def __init__(self, locator: SlirpLocator) -> None:
        self.locator = locator
        self.description = f"slirp {locator.router}"
        self.station = MacAddress(_ROUTER_PREFIX + locator.router.ip.packed)
        self.forwards: dict[HostEnd, HostForward] = {}
        self._armed: dict[int, int] = {}
        self._epoll = select.epoll()
        self._sleep: trio.CancelScope | None = None
        self._due_at = inf
        self._offered = OfferedSizes()
        self._is_closed = False
        self._full = RateLimit(burst=1, interval=30.0)
        # A connection to a forwarded address has no descriptor until its handshake is complete: only its
        # rate bounds how many there are, each with buffers, until libslirp gives them up.
        self._handshakes = RateLimit(burst=256, interval=0.01)
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._most_sockets = min(locator.sockets, soft // 2)  # the switch needs descriptors too
        self._inner_targets = {forward.address.packed for forward in locator.guestfwd}
        self._relays = Relays(locator.guestfwd)
        try:
            self._stack = Stack(locator, trio.current_time, self._forget)
        except BaseException:
            self._relays.close()
            self._epoll.close()
            raise
        self.discards: Counter[str] = self._stack.discards
        try:
            self._open_forwards()
        except BaseException:
            self.close()
            raise

    def _open_forwards(self) -> None:
        for forward in self.locator.hostfwd:
            self.add_forward(forward)
        for guest_forward, path in self._relays.paths():
            self._stack.add_guest_forward(guest_forward.address, guest_forward.port, path)

    # --- towards the network ---

    def transmit(self, train: Train) -> None:
        """Give the frames to libslirp at once; what it answers waits for ``run``, so nothing recurses.

        A TCP superframe goes in whole: libslirp takes segments of any size, and one is cheaper than forty.
        """
        if self._is_closed:
            self.discards["closed"] += train.count
            return
        try:
            whole = train if train.offload is None else _without_offload(train)
        except FrameError:
            self.discards["malformed"] += train.count
            return
        step = whole.frame_size * ACCEPT_EVERY
        view = self._multiply_offers(whole)
        for start in range(0, len(view), step):
            self._relays.accept_waiting()
            self._input(view[start : start + step], whole.frame_size)
        if self._sleep is not None:
            self._sleep.cancel()

    def _multiply_offers(self, train: Train) -> memoryview:
        """Let stations offer long TCP segments; only short frames can be such an offer."""
        view, size = memoryview(train.data), train.frame_size
        last = len(view) % size or size
        if last > LONGEST_SYN and size > LONGEST_SYN:
            return view
        starts = range(0, len(view), size) if size <= LONGEST_SYN else [len(view) - last]
        is_ours = False  # a train's bytes are somebody else's
        for start in starts:
            if mss_position(view[start : start + size]) is not None:
                view = view if is_ours else memoryview(bytearray(view))
                is_ours = True
                multiply_offer(view[start : start + size], self._offered)
        return view

    def _input(self, frames: memoryview, size: int) -> None:
        """Take a few frames, while there is room for the connections that they may begin."""
        if not self.locator.guestfwd and self._used() + ACCEPT_EVERY < self._most_sockets:
            self._stack.input(frames, size)
            return
        for start in range(0, len(frames), size):
            frame = frames[start : start + size]
            if begins_flow(frame) and not self._has_room(frame):
                self._refuse()
            else:
                self._stack.input(frame, size)

    def _has_room(self, frame: memoryview) -> bool:
        if self._used() >= self._most_sockets:
            return False
        target = bytes(frame[HEADER_SIZE + 16 : HEADER_SIZE + 20])  # of IPv4
        return target not in self._inner_targets or self._handshakes.ask(trio.current_time())[0]

    def _used(self) -> int:
        """How many descriptors stations have made libslirp open."""
        return self._stack.sockets + self._relays.descriptors

    def _refuse(self) -> None:
        self.discards["too many flows"] += 1
        allowed, suppressed = self._full.ask(trio.current_time())
        if allowed:
            logger.warning(
                "%s: all %d connections and flows are in use (%d refused since the last such line)",
                self.description,
                self._most_sockets,
                suppressed + 1,
            )

    # --- from the network ---

    async def run(self, sink: Sink, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Carry what the outside sends to ``sink`` until closed."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._relays.run)
            nursery.start_soon(self._serve, sink)
            task_status.started()
            while not self._is_closed:
                self._turn(sink)
                await self._wait()
            nursery.cancel_scope.cancel()

    async def _serve(self, sink: Sink) -> None:
        """Take a turn whenever one of libslirp's descriptors is ready."""
        with contextlib.suppress(trio.ClosedResourceError):
            await serve_readable(self._epoll.fileno(), lambda: self._turn(sink))

    async def _wait(self) -> None:
        """Wait until something is due that no descriptor tells, or a frame came from the other side."""
        if self._stack.has_frames:  # of answers to what was just delivered
            await trio.lowlevel.checkpoint()
            return
        with trio.CancelScope(deadline=self._due_at) as self._sleep:
            await trio.sleep_forever()
        self._sleep = None

    def _turn(self, sink: Sink) -> bool:
        """Let libslirp do what there is to do, and deliver what it sends; never is more waiting than that."""
        if self._is_closed:
            return False
        self._relays.forget_newcomers()
        events = self._epoll.poll(0, max(1, len(self._armed)))
        self._stack.ready({descriptor: _FROM_EPOLL[happened & 31] for descriptor, happened in events})
        self._deliver(sink)
        if self._is_closed:  # by what was delivered
            return False
        wanted, self._due_at = self._stack.wanted()
        self._arm(wanted)
        if self._sleep is not None:
            self._sleep.deadline = self._due_at
            if self._stack.has_frames:
                self._sleep.cancel()
        return False

    def _arm(self, wanted: dict[int, int]) -> None:
        """Make the epoll set what libslirp wants to hear of."""
        armed = self._armed
        for descriptor, events in wanted.items():
            before = armed.get(descriptor)
            if before == events:
                continue
            change = self._epoll.register if before is None else self._epoll.modify
            change(descriptor, _TO_EPOLL[events & 31])
            armed[descriptor] = events
        if len(armed) > len(wanted):
            for descriptor in armed.keys() - wanted.keys():
                self._forget(descriptor)

    def _forget(self, descriptor: int) -> None:
        """Take a descriptor out of the epoll set, if it is there: it is not wanted, or about to be closed."""
        if self._armed.pop(descriptor, None) is not None:
            with contextlib.suppress(OSError):
                self._epoll.unregister(descriptor)

    def _deliver(self, sink: Sink) -> None:
        """Deliver what libslirp sends, neighbours of the same size as one train."""
        if not self._stack.has_frames:
            return
        frames, sizes = self._stack.take_frames()
        view = memoryview(frames)
        mtu = self.locator.mtu
        surely_fits = HEADER_SIZE + mtu - max(0, mtu - _HEADERS - self._offered.least)
        start = 0
        for is_long, group in groupby(sizes, surely_fits.__lt__):
            if is_long:
                for size in group:
                    self._deliver_long(view[start : start + size], sink)
                    start += size
                continue
            base = start
            for size, end in _runs(list(group)):
                if size <= LONGEST_SYN:
                    for at in range(start, base + end, size):
                        limit_offer(view[at : at + size], mtu)
                sink.deliver(Train(view[start : base + end], size))
                start = base + end
        sink.flush()

    def _deliver_long(self, frame: memoryview, sink: Sink) -> None:
        trains = fitted(frame, self.locator.mtu, self._offered)
        if not trains:
            self.discards["longer than the MTU"] += 1
        for train in trains:
            sink.deliver(train)

    # --- forwarded ports and state, for the management shell ---

    def add_forward(self, forward: HostForward) -> None:
        """Listen on the machine for a station.

        Raises:
            SettingsError: the port cannot be had, or is forwarded already.
        """
        if self._is_closed:
            raise SettingsError(f"{self.description} is closed")
        if forward.host in self.forwards:
            raise SettingsError(f"{forward.host} is forwarded already: {self.forwards[forward.host]}")
        self._stack.add_host_forward(forward)
        self.forwards[forward.host] = forward
        self._note_forwards()
        if self._sleep is not None:
            self._sleep.cancel()

    def remove_forward(self, end: HostEnd) -> None:
        """Stop listening; connections that exist go on.

        Raises:
            SettingsError: there is no such forward.
        """
        if end not in self.forwards:
            raise SettingsError(f"{end} is not forwarded")
        del self.forwards[end]
        self._note_forwards()
        self._stack.remove_host_forward(end)

    def _note_forwards(self) -> None:
        self.locator = replace(self.locator, hostfwd=tuple(self.forwards.values()))

    def document(self) -> dict[str, Any]:
        """Give settings and state for programs."""
        locator = self.locator
        return {
            "router": str(locator.router),
            "ipv6": _text(locator.ipv6_prefix),
            "dhcp": _text(locator.dhcp_start),
            "dns": _text(locator.dns_address),
            "flows": self._used(),
            "flow_limit": self._most_sockets,
            "hostfwd": [str(forward) for forward in self.forwards.values()],
            "guestfwd": [str(forward) for forward in locator.guestfwd],
            "discards": dict(self.discards),
        }

    def describe(self) -> list[str]:
        """Give the settings, the connections and the stations as lines for people."""
        locator = self.locator
        lines = [
            f"router {locator.router}, IPv6 {locator.ipv6}, DHCP from {locator.dhcp_start or 'no'}, "
            f"DNS {locator.dns_address or 'no'}, flows {self._used()}/{self._most_sockets}"
        ]
        lines += [f"hostfwd {forward}" for forward in self.forwards.values()]
        lines += [f"guestfwd {forward}" for forward in locator.guestfwd]
        lines += [f"discarded {count}: {reason}" for reason, count in sorted(self.discards.items())]
        return lines if self._is_closed else lines + self._stack.connections() + self._stack.neighbours()

    def close(self) -> None:
        """Close every connection and ``run``. Idempotent."""
        if self._is_closed:
            return
        self._is_closed = True
        self._stack.close()
        self._relays.close()
        notify_closing(self._epoll.fileno())
        self._epoll.close()
        if self._sleep is not None:
            self._sleep.cancel()


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _runs(sizes: list[int]) -> list[tuple[int, int]]:
    """Give size of frames and offset of the end for each run of equal frames and a shorter last one."""
    runs: list[tuple[int, int]] = []
    end = size = 0
    is_open = False
    for one in sizes:
        end += one
        if is_open and one <= size:
            runs[-1] = (size, end)
        else:
            runs.append((one, end))
            size = one
            is_open = True
        is_open = is_open and one == size
    return runs


def _without_offload(train: Train) -> Train:
    """Give a train with finished checksums: a TCP superframe as one long frame, others as their frames."""
    header = train.offload
    assert header is not None
    if header.gso_type & ~GSO_ECN not in _TCP_SUPERFRAMES or not header.flags & VnetFlag.NEEDS_CSUM:
        return plain(train)
    frame = bytearray(train.data)
    complete_checksums(frame, len(frame), header._replace(gso_type=GsoType.NONE, gso_size=0))
    return Train(frame, len(frame))


def begins_flow(frame: Buffer) -> bool:
    """Whether libslirp may open a socket for this frame: a TCP SYN, or anything of IP that is not TCP."""
    if len(frame) < HEADER_SIZE + 20:
        return False
    ethertype = frame[12] << 8 | frame[13]
    if ethertype == EtherType.IPV4:
        protocol, transport = frame[HEADER_SIZE + 9], HEADER_SIZE + (frame[HEADER_SIZE] & 15) * 4
    elif ethertype == EtherType.IPV6:
        protocol, transport = frame[HEADER_SIZE + 6], HEADER_SIZE + 40
    else:
        return False
    if protocol != _TCP:
        return True
    return len(frame) <= transport + 13 or frame[transport + 13] & _SYN_ACK == _SYN


async def open_slirp(locator: SlirpLocator) -> SlirpLink:
    """Open the user-mode network that ``locator`` describes.

    Raises:
        LinkError: libslirp is missing, or a forwarded port cannot be had.
    """
    await trio.lowlevel.checkpoint()
    try:
        return SlirpLink(locator)
    except SettingsError as error:
        raise LinkError(str(error)) from None
