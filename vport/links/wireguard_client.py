"""A port's side of WireGuard: a socket that calls one switch, and finds it again when it or its name moves.

The protocol itself deals with our own address changing: the socket is bound to no address, so the kernel
always sends from the one that works, and the switch follows the authenticated source.
"""

from __future__ import annotations

import logging
import random
from collections import Counter
from math import inf
from typing import TYPE_CHECKING, Final

import trio

from vport.backoff import Backoff
from vport.ethernet import random_mac
from vport.greeting import INTERVAL, greeting
from vport.links.base import Link, Sink
from vport.links.binding import bind_to_all
from vport.links.datagrams import Resolver, raise_buffers, resolve
from vport.links.wireguard_peer import EthernetTunnel
from vport.links.wireguard_settings import ClientSettings, read_client
from vport.links.wireguard_socket import Happening, WireguardSocket
from vport.train import lone
from vport.wireguard.events import SessionEstablished
from vport.wireguard.keys import NO_PRESHARED_KEY
from vport.wireguard.mtu import COMMON_MTU, lan_mtu
from vport.wireguard.settings import Mode, PeerSettings

if TYPE_CHECKING:
    import socket

    from vport.locator import WireguardLocator
    from vport.train import Train
    from vport.wireguard.endpoint import Endpoint

logger = logging.getLogger(__name__)

ANSWER_TIME: Final = 6.0  # seconds that an address of the switch is given: one initiation and one repeat
CHECK_INTERVAL: Final = 2.0  # seconds between looks at whether the switch still answers
UNANSWERED: Final = 2  # calls without an answer after which the host name may mean another address
DEFAULT_KEEPALIVE: Final = 25  # seconds; what NATs forget after 30 (wg(8))


class WireguardClient(Link):
    """Connected to a switch over WireGuard. Made by ``open_wireguard_client``; errors never end ``run``."""

    module = "wg"

    def __init__(
        self, sock: socket.socket, settings: ClientSettings, *, resolver: Resolver = resolve
    ) -> None:
        self.settings = settings
        self.discards: Counter[str] = Counter()
        self._socket = WireguardSocket(sock, settings.private_key, self, settings.underlay_mtu)
        peer = settings.peer
        self.peer = self._socket.device.add_peer(
            PeerSettings(
                public_key=peer.public_key,
                name=peer.name,
                preshared_key=peer.preshared_key or NO_PRESHARED_KEY,
                mode=Mode.ETHERNET,
                persistent_keepalive=peer.persistent_keepalive or DEFAULT_KEEPALIVE,
            ),
            self._socket.now(),
        )
        self.description = f"wg {settings.endpoint}"
        self._resolver = resolver
        self._fallback_station = random_mac(random.SystemRandom())
        self._tunnel = EthernetTunnel(self._socket, self.peer, self.discards, self._answer)
        self._is_used = False  # since the latest greeting
        self._sink: Sink | None = None
        self._path: tuple[int, int] | None = None
        self._trouble = ""
        self._established = trio.Event()

    # --- frames ---

    def transmit(self, train: Train) -> None:
        """Gather ``train`` until ``flush``; what is too long is answered or goes in pieces."""
        self._tunnel.transmit(train)

    def flush(self) -> None:
        """Seal and send what was gathered; the newest wait a while for a session where there is none."""
        if self._socket.is_open:
            if not self._is_used:
                self._note_use()
            self._tunnel.flush()

    def receive_trains(self, trains: list[Train]) -> None:
        """Take frames from the switch."""
        if self._sink is None:
            return
        for train in trains:
            for part in self._tunnel.received(train):
                self._sink.deliver(part)
                if not self._is_used:
                    self._note_use()

    def receive_packets(self, packets: list[memoryview], now: float) -> None:
        """Not for an Ethernet peer: the device discards what is no frame."""
        raise AssertionError("an Ethernet peer sends no packets")

    def _answer(self, frame: bytes) -> None:
        """Give a word back to whoever sent a frame that was too long; it is flushed with what comes next."""
        if self._sink is not None:
            self._sink.deliver(lone(frame))
            self._sink.flush()

    def finish(self) -> None:
        """Flush what was delivered."""
        if self._sink is not None:
            self._sink.flush()

    async def run(self, sink: Sink, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Carry frames until cancelled or closed; ``started`` when the first call was made."""
        self._sink = sink
        self._socket.sinks[self.peer] = self
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._find_switch)
                await self._socket.serve(task_status=task_status)
                nursery.cancel_scope.cancel()
        finally:
            self._sink = None
            self._socket.sinks.pop(self.peer, None)

    def close(self) -> None:
        """Close the socket and end ``run``."""
        self._socket.close()

    # --- finding the switch ---

    async def _find_switch(self) -> None:
        """Call the switch at each of its addresses in turn until one answers; again when it is lost."""
        backoff = Backoff(first=0.5, last=30.0)
        while True:
            if self._is_found():
                backoff.reset()
                await trio.sleep(CHECK_INTERVAL)
                continue
            for endpoint in await self._look_up():
                self._socket.device.locate_peer(self.peer, endpoint, self._socket.now())
                self._socket.call(self.peer)
                with trio.move_on_after(ANSWER_TIME):
                    await self._wait_until_found()
                    break
            else:
                self._complain(f"no answer from {self.settings.endpoint}")
                await trio.sleep(backoff.next_delay())

    def _is_found(self) -> bool:
        return self.peer.has_session(self._socket.now()) and self.peer.unanswered < UNANSWERED

    async def _wait_until_found(self) -> None:
        while not self._is_found():
            self._established = trio.Event()
            await self._established.wait()

    async def _look_up(self) -> list[Endpoint]:
        host, port = self.settings.endpoint.host, self.settings.endpoint.port
        try:
            found = await self._resolver(host, port)
        except OSError as error:
            self._complain(f"cannot find the address of {host}: {error.strerror or error}")
            return []
        return [self._socket.endpoint_of(family, address) for family, address in found]

    def _complain(self, trouble: str) -> None:
        if trouble != self._trouble:
            logger.warning("%s: %s; trying again", self.description, trouble)
        self._trouble = trouble

    # --- what happens ---

    def happened(self, event: Happening, now: float) -> None:
        """Note whether there is a session."""
        match event:
            case SessionEstablished(is_renewal=False):
                logger.info("%s: connected to %s", self.description, self.peer.endpoint)
                self._trouble = ""
                self._look_at_path()
                self._greet_anew()
            case SessionEstablished():
                self._greet_anew()
            case _:
                pass

    def _greet_anew(self) -> None:
        """Announce our station; the switch may be another program now, which knows no slices."""
        self._established.set()
        self._tunnel.acquaintance.forget()
        self._greet()

    def _greet(self) -> None:
        self._is_used = False
        self._tunnel.acquaintance.offered_at = self._socket.now()
        station = self.station or self._fallback_station
        self._socket.send_trains(self.peer, [lone(greeting(station))])

    def _note_use(self) -> None:
        """See to it that the switch is greeted in time, since it has something to send, or we have."""
        self._is_used = True
        self._socket.set_alarm_at(self._tunnel.acquaintance.offered_at + INTERVAL)

    def handle_timers(self, now: float) -> float:
        """See whether the path has changed, every few seconds at least; greet the switch when due."""
        self._look_at_path()
        acquaintance = self._tunnel.acquaintance
        if not self._is_used:
            return inf
        if not acquaintance.is_offer_due(now):
            return acquaintance.offered_at + INTERVAL
        if self.peer.has_session(now):  # else that is to come, and a greeting with it
            self._greet()
        return inf

    def _look_at_path(self) -> None:
        found = None if self.peer.endpoint is None else self._socket.path_mtu(self.peer.endpoint)
        if found is not None and found != self._path:
            if self._path is not None:
                logger.info("%s: packets of %d bytes fit the path now", self.description, found[0])
            self._path = found
            self._tunnel.path_changed(*found)

    async def lan_mtu(self) -> int:
        """Say which MTU a device of the LAN should have on this machine, by what is known of the way."""
        found = [self._socket.path_mtu(endpoint) for endpoint in await self._look_up()]
        return min((lan_mtu(*path) for path in found if path is not None), default=COMMON_MTU)


async def open_wireguard_client(
    locator: WireguardLocator, *, resolver: Resolver = resolve
) -> WireguardClient:
    """Read the files that ``locator`` names and open a socket; it calls in ``run``.

    Raises:
        SettingsError: a file is malformed: line and reason.
        LinkError: there can be no socket.
    """
    settings = read_client(locator)
    sock = bind_to_all(str(locator), settings.listen_port)
    complaint = raise_buffers(sock)
    if complaint:
        logger.warning("%s: %s", locator, complaint)
    return WireguardClient(sock, settings, resolver=resolver)
