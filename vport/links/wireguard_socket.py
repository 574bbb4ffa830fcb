"""One UDP socket with a WireGuard device behind it: what arrives goes in, what the device says is done.

Both ends have one, the listener with all its peers and the client with its one. The device decides
everything; here are the socket, the clock and the timer. In one turn all that waits in the socket is handed
to the device, datagrams that it asks for leave at once, frames go on to the peers' sinks, and those are
flushed at the end of the turn.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import time
from collections import Counter
from math import inf
from typing import TYPE_CHECKING, Final, Protocol

import trio

from vport.links.datagrams import tells_local_address
from vport.links.outbox import source_control
from vport.links.path_mtu import PathProbe
from vport.links.postbox import open_postbox
from vport.links.readiness import notify_closing, serve_readable
from vport.links.wireguard_settings import StampFile
from vport.train import Train
from vport.wireguard.constants import MessageType
from vport.wireguard.device import Device
from vport.wireguard.endpoint import Endpoint
from vport.wireguard.events import (
    ControlReceived,
    EndpointMoved,
    FramesReceived,
    HandshakeAbandoned,
    PacketsReceived,
    SessionEnded,
    SessionEstablished,
    Transmit,
)

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from vport.links.datagrams import SocketAddress
    from vport.links.inbox import Arrival
    from vport.links.outbox import Destination
    from vport.wireguard.events import Event
    from vport.wireguard.keys import PrivateKey
    from vport.wireguard.peer import Peer

logger = logging.getLogger(__name__)

BROKEN_SOCKET_PAUSE: Final = 0.1  # seconds; the kernel may be out of memory: do not spin
HANDSHAKES_A_TURN: Final = 64
"""Messages other than data that are worked on in a turn, 30 µs each in a flood. More are waiting at once only
when we are too slow for what comes; then they are shed, unread, so that the peers' data get through. Whoever
means it asks again."""

PLACES_LIMIT: Final = 4096  # far ends whose address is kept in the kernel's form; 1 kB each
CLOCK_CHECK: Final = 30.0  # seconds between looks at the wall clock, which may have been set
_LONGEST_WAIT: Final = 5.0  # seconds; Trio's clock stops while the machine sleeps, the device's does not

Happening = SessionEstablished | EndpointMoved | HandshakeAbandoned | SessionEnded | ControlReceived
"""What the owner of a socket is told besides traffic."""


class BootClock:
    """The time since boot, on which keys age also while the machine sleeps.

    Args:
        rate: how many of its seconds pass in a second; who waits for keys to die may want more than 1.
    """

    __slots__ = ("rate",)

    def __init__(self, rate: float = 1.0) -> None:
        self.rate = rate

    def now(self) -> float:
        """Give the time in seconds."""
        return time.clock_gettime(time.CLOCK_BOOTTIME) * self.rate


class PeerSink(Protocol):
    """Where what one peer sends goes."""

    def receive_trains(self, trains: list[Train]) -> None:
        """Take frames of an Ethernet peer, borrowed until ``flush``."""

    def receive_packets(self, packets: list[memoryview], now: float) -> None:
        """Take packets of an IP peer, borrowed for the call."""

    def finish(self) -> None:
        """Flush what was taken."""


class Owner(Protocol):
    """Who is told what happens to peers."""

    def happened(self, event: Happening, now: float) -> None:
        """Take note. May call the socket."""

    def handle_timers(self, now: float) -> float:
        """Do what is due besides the device's timers; give the time of the next such thing, or inf."""


class WireguardSocket:
    """A device on a socket.

    Args:
        sock: a bound UDP socket, now ours.
        private_key: our identity.
        owner: who is told what happens.
        underlay_mtu: longest packet of the network below, where its devices do not tell.
        clock: how time passes for the device.

    Attributes:
        device: the protocol.
        now: gives the time on the device's clock.
        sinks: where frames and packets go, by peer; a peer without one has them discarded.
        discards: what did not get out of the socket, by reason.
    """

    def __init__(
        self,
        sock: socket.socket,
        private_key: PrivateKey,
        owner: Owner,
        underlay_mtu: int | None = None,
        clock: BootClock | None = None,
    ) -> None:
        self._clock = clock or BootClock()
        self.now = self._clock.now
        self.address: SocketAddress = sock.getsockname()
        self.discards: Counter[str] = Counter()
        self.sinks: dict[Peer, PeerSink] = {}
        self._stamps = StampFile(private_key.public)
        self.device = Device(
            private_key,
            entropy=os.urandom,
            now=self.now(),
            unix_ns=time.time_ns(),
            latest_stamp=self._stamps.load(),
        )
        self._sock = sock
        self._owner = owner
        self._tells_local = tells_local_address(sock)
        self._inbox, self._outbox = open_postbox(sock, self._send_failed)
        self._destinations: dict[Endpoint, Destination] = {}
        self._origins: dict[Hashable, Endpoint] = {}
        self._reached: dict[PeerSink, None] = {}
        self._probe = PathProbe()
        self._underlay_mtu = underlay_mtu
        self._alarm = trio.Event()
        self._alarm_at = inf  # when the timer task wakes by itself

    @property
    def is_open(self) -> bool:
        """Whether the socket was not closed yet."""
        return self._sock.fileno() >= 0

    @property
    def speaks_ipv6(self) -> bool:
        """Whether it can send to IPv6 addresses."""
        return self._sock.family == socket.AF_INET6

    def close(self) -> None:
        """Close the socket, keep the latest timestamp. Idempotent; ``serve`` ends."""
        if self.is_open:
            notify_closing(self._sock.fileno())
            self._sock.close()
            self._probe.close()
            self._stamps.save(self.device.latest_stamp)

    # --- running ---

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Receive and keep the timers until cancelled or closed."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_time)
            nursery.start_soon(self._watch_clock)
            task_status.started()
            with contextlib.suppress(trio.ClosedResourceError):
                await self._receive()
            nursery.cancel_scope.cancel()

    async def _receive(self) -> None:
        while self.is_open:
            try:
                await serve_readable(self._sock.fileno(), self._turn)
            except OSError as error:
                logger.warning("receiving failed, trying again: %s", error)
                await trio.sleep(BROKEN_SOCKET_PAUSE)

    def _turn(self) -> bool:
        """Handle a bounded batch of what has come; return whether more may be waiting."""
        if not self.is_open:
            return False
        arrivals, more = self._inbox.receive()
        if arrivals:
            self._take(arrivals)
        return more

    def _take(self, arrivals: list[Arrival]) -> None:
        now = self.now()
        receive, origins = self.device.receive, self._origins
        handshakes = 0
        for origin, data, size in arrivals:
            if not size or data[0] != MessageType.TRANSPORT:
                handshakes += -(-len(data) // size) if size else 1
                if handshakes > HANDSHAKES_A_TURN:
                    self.discards["handshake: too many at once"] += 1
                    continue
            endpoint = origins.get(origin) or self._locate(origin, data)
            events = receive(data, endpoint, now, size)
            if events:
                self.carry_out(events, now)
        self._finish()

    def _locate(self, origin: Hashable, data: object) -> Endpoint:
        """Read where something came from; remember it unless it may be one of a flood of invented sources."""
        address, local = self._inbox.locate(origin)
        scope = address[3] if len(address) > 3 else 0
        endpoint = Endpoint(address[0], address[1], scope, local.hex())
        if data[:1] == b"\x04":  # type: ignore[index]  # a buffer; transport messages come from peers
            if len(self._origins) >= PLACES_LIMIT:
                self._origins.clear()
            self._origins[origin] = endpoint
        return endpoint

    def _finish(self) -> None:
        """Flush the sinks that got something, and see whether the alarm still stands right."""
        while self._reached:
            self._reached.popitem()[0].finish()
        self._set_alarm()

    # --- time ---

    async def _keep_time(self) -> None:
        while True:
            now = self.now()
            self.carry_out(self.device.handle_timer(now), now)
            others = self._owner.handle_timers(now)
            self._finish()
            deadline = self.device.next_deadline()
            self._alarm = trio.Event()
            self._alarm_at = min(others, inf if deadline is None else deadline)
            wait = max(self._alarm_at - now, 0.0) / self._clock.rate
            with trio.move_on_after(min(wait, _LONGEST_WAIT)):
                await self._alarm.wait()

    def _set_alarm(self) -> None:
        deadline = self.device.next_deadline()
        if deadline is not None and deadline < self._alarm_at:
            self._alarm.set()

    def set_alarm_at(self, deadline: float) -> None:
        """Have ``Owner.handle_timers`` called at that time at the latest."""
        if deadline < self._alarm_at:
            self._alarm.set()

    async def _watch_clock(self) -> None:
        """Tell the device the wall clock now and then, and keep the latest stamp."""
        while True:
            await trio.sleep(CLOCK_CHECK)
            self.device.set_wall_clock(self.now(), time.time_ns())
            await trio.to_thread.run_sync(self._stamps.save, self.device.latest_stamp)

    # --- what the device says ---

    def carry_out(self, events: Iterable[Event], now: float) -> None:
        """Do what the device's events ask for.

        What it lends for sending leaves before anybody can call the device again.
        """
        others: list[Event] = []
        is_waiting = False
        for event in events:
            if type(event) is Transmit:
                is_waiting |= self._transmit(event)
            else:
                others.append(event)
        if is_waiting:
            self._outbox.flush()
        for event in others:
            self._pass_on(event, now)

    def _pass_on(self, event: Event, now: float) -> None:
        match event:
            case FramesReceived(peer, trains):
                sink = self.sinks.get(peer)
                if sink is not None:
                    sink.receive_trains(trains)
                    self._reached[sink] = None
            case PacketsReceived(peer, packets):
                sink = self.sinks.get(peer)
                if sink is not None:
                    sink.receive_packets(packets, now)
                    self._reached[sink] = None
            case Transmit():
                raise AssertionError("what is to be sent was sent before")
            case SessionEstablished(peer):
                self._try_segmentation(peer)
                self._owner.happened(event, now)
            case _:
                self._owner.happened(event, now)

    # --- sending ---

    def _transmit(self, event: Transmit) -> bool:
        """Send a handshake message at once; put data into the outbox and tell so."""
        endpoint, data, size = event
        if data[0] != MessageType.TRANSPORT:
            self._send_lone(endpoint, data)
            return False
        destination = self._destinations.get(endpoint)
        if destination is None:
            destination = self._meet(endpoint)
        self._outbox.add(destination, Train(data, size))
        return True

    def _meet(self, endpoint: Endpoint) -> Destination:
        """Make a destination of an endpoint; of too many, those used first are forgotten."""
        if len(self._destinations) >= PLACES_LIMIT:
            oldest = next(iter(self._destinations))
            self._outbox.release(self._destinations.pop(oldest))
        destination = self._outbox.destination(
            self._socket_address(endpoint), self.discards, bytes.fromhex(endpoint.local)
        )
        self._destinations[endpoint] = destination
        return destination

    def _try_segmentation(self, peer: Peer) -> None:
        """Forget what the kernel could not cut for a peer: with each session it may try again."""
        if peer.endpoint is not None:
            destination = self._destinations.pop(peer.endpoint, None)
            if destination is not None:
                self._outbox.release(destination)

    def _socket_address(self, endpoint: Endpoint) -> SocketAddress:
        if self._sock.family == socket.AF_INET:
            return (endpoint.host, endpoint.port)
        return (endpoint.host, endpoint.port, 0, endpoint.scope)

    def _send_lone(self, endpoint: Endpoint, data: bytes | bytearray | memoryview) -> None:
        control = [source_control(bytes.fromhex(endpoint.local))] if endpoint.local else []
        try:
            self._sock.sendmsg([data], control, 0, self._socket_address(endpoint))
        except OSError as error:
            self.discards[f"handshake: {os.strerror(error.errno or 0).lower()}"] += 1

    def _send_failed(self, destination: Destination, error: OSError) -> None:
        """Nothing to do: counted; the timers find out whether the peer is still there."""

    def path_mtu(self, endpoint: Endpoint) -> tuple[int, int] | None:
        """Give the longest packet on the way to ``endpoint`` and the version of IP; None without a way."""
        found = self._probe.ask(endpoint)
        if found is None or self._underlay_mtu is None:
            return found
        return min(found[0], self._underlay_mtu), found[1]

    def endpoint_of(self, family: int, address: SocketAddress) -> Endpoint:
        """Make an endpoint of a looked-up address, in the form that this socket's datagrams come with."""
        host, port = str(address[0]), int(address[1])
        if family == socket.AF_INET and self._sock.family == socket.AF_INET6:
            host = f"::ffff:{host}"
        return Endpoint(host, port, address[3] if family == socket.AF_INET6 else 0)

    # --- for the peers' links ---

    def send_trains(self, peer: Peer, trains: list[Train]) -> None:
        """Send frames to an Ethernet peer now."""
        now = self.now()
        self.carry_out(self.device.send(peer, trains, now), now)
        self._set_alarm()

    def send_packets(self, peer: Peer, packets: list[bytes]) -> None:
        """Send packets to an IP peer now."""
        now = self.now()
        self.carry_out(self.device.send_packets(peer, packets, now), now)
        self._set_alarm()

    def send_control(self, peer: Peer, body: bytes) -> None:
        """Send a control record to an Ethernet peer now."""
        now = self.now()
        self.carry_out(self.device.send_control(peer, body, now), now)
        self._set_alarm()

    def call(self, peer: Peer) -> None:
        """Start a handshake, unless there is a session."""
        now = self.now()
        self.carry_out(self.device.connect(peer, now), now)
        self._set_alarm()
