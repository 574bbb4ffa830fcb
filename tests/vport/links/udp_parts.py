"""What the UDP tests share: a port that records what it gets, and plain sockets as far ends."""

from __future__ import annotations

import socket
import struct
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Self

import trio

from vport.errors import RefusedError
from vport.ethernet import encode_frame
from vport.links.datagrams import SOL_UDP, UDP_SEGMENT
from vport.links.udp import UdpListener, open_udp_listener
from vport.links.udp_intake import CALM
from vport.locator import UdpLocator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from vport.links.base import Link
    from vport.train import Train

BROADCAST = b"\xff" * 6


def frame(number: int, size: int = 64) -> bytes:
    """A frame that can be told from others."""
    return encode_frame(BROADCAST, b"\2\0\0\0\0\1", 0x88B5, struct.pack("!I", number)).ljust(size, b".")


async def eventually(condition: Callable[[], object]) -> None:
    """Wait for what tells nobody when it comes true, under the deadline of the test."""
    while not condition():  # noqa: ASYNC110 - there is no event to wait for
        await trio.sleep(0.01)


class Recorder:
    """A sink, or a place in a port, that keeps what it is given."""

    def __init__(self) -> None:
        self.trains: list[Train] = []
        self.reason: str | None = None
        self._unflushed: list[Train] = []
        self._changed = trio.Event()

    @property
    def frames(self) -> list[bytes]:
        return [bytes(one) for train in self.trains for one in train.frames()]

    def deliver(self, train: Train) -> None:
        self._unflushed.append(train)

    def flush(self) -> None:
        self.trains += [train.copy() for train in self._unflushed]
        self._unflushed.clear()
        self.changed()

    def detach(self, reason: str) -> None:
        self.reason = reason
        self.changed()

    def changed(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def until(self, condition: Callable[[], object]) -> None:
        while not condition():
            await self._changed.wait()

    async def until_frames(self, count: int) -> list[bytes]:
        await self.until(lambda: len(self.frames) >= count)
        return self.frames


class Switch(Recorder):
    """What accepts the links of a listener; each gets a place of its own.

    Args:
        room: so many links are taken, further ones are refused.
    """

    def __init__(self, room: int = 10_000) -> None:
        super().__init__()
        self.room = room
        self.links: list[Link] = []
        self.places: list[Recorder] = []

    def accept(self, link: Link, *, port: int | None = None, user: str | None = None) -> Recorder:
        if len(self.links) >= self.room:
            raise RefusedError(f"all {self.room} ports are taken")
        place = Recorder()
        self.links.append(link)
        self.places.append(place)
        self.changed()
        return place

    async def until_links(self, count: int) -> None:
        await self.until(lambda: len(self.links) >= count)


@asynccontextmanager
async def serving(
    switch: Switch,
    host: str = "127.0.0.1",
    *,
    port: int = 0,
    idle: float = 300.0,
    batches: bool = True,
    offload: bool = True,
    calm: float = CALM,
) -> AsyncIterator[UdpListener]:
    """Serve a listener."""
    locator = UdpLocator(host=host, port=port, idle=idle, offload=offload)
    opened = await open_udp_listener(locator)
    listener = UdpListener(opened._sock, locator, segmentation=offload, batches=batches, calm=calm)
    with listener:
        async with trio.open_nursery() as nursery:
            await nursery.start(listener.serve, switch.accept)
            yield listener
            nursery.cancel_scope.cancel()


class Peer:
    """A far end: a plain UDP socket that sends to a listener."""

    def __init__(self, family: int = socket.AF_INET) -> None:
        self.sock = trio.socket.socket(family, socket.SOCK_DGRAM)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    async def connect(self, host: str, listener: UdpListener) -> Peer:
        await self.sock.connect((host, listener.address[1]))
        return self

    async def send(self, *datagrams: bytes) -> None:
        for datagram in datagrams:
            await self.sock.send(datagram)

    async def send_train(self, data: bytes, frame_size: int) -> None:
        await self.sock.sendmsg([data], [(SOL_UDP, UDP_SEGMENT, struct.pack("H", frame_size))])

    async def receive(self, count: int = 1) -> list[bytes]:
        return [await self.sock.recv(65536) for _ in range(count)]
