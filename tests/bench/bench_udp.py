"""Figures of the UDP listener alone, without a bridge: ``python tests/bench/bench_udp.py``.

* Sixteen peers send single 64-byte frames in turn; each frame goes on to the next peer.
* One frame goes to a thousand peers.
* One peer sends trains as a TAP with offloads would; each goes back.

The load comes from a second process. With few cores the rate per second of processor time says more
than the one per second.
"""

from __future__ import annotations

import argparse
import multiprocessing
import socket
import struct
import time
from typing import TYPE_CHECKING

import trio

from vport.ethernet import encode_frame
from vport.links.datagrams import SOL_UDP, UDP_SEGMENT
from vport.links.udp import open_udp_listener
from vport.locator import UdpLocator
from vport.train import lone

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.synchronize import Event

    from vport.links.base import Link
    from vport.links.udp import UdpListener
    from vport.train import Train


class Patch:
    """Hands what one peer sends to the peer that its destination address names."""

    def __init__(self, links: list[Link], totals: list[int]) -> None:
        self._links = links
        self._totals = totals
        self._reached: set[Link] = set()

    def deliver(self, train: Train) -> None:
        link = self._links[train.data[5] % len(self._links)]
        link.transmit(train)
        self._reached.add(link)
        self._totals[0] += train.count
        self._totals[1] += len(train.data)

    def flush(self) -> None:
        for link in self._reached:
            link.flush()
        self._reached.clear()

    def detach(self, reason: str) -> None:
        pass


def station(number: int) -> bytes:
    return b"\2\0\0\0" + struct.pack("!H", number)


def send_in_turn(port: int, peers: int, stop: Event) -> None:
    """Send single frames from ``peers`` sockets in turn, each to the station behind the next one."""
    socks = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(peers)]
    frames = [encode_frame(station((i + 1) % peers), station(i), 0x88B5, bytes(50)) for i in range(peers)]
    for sock in socks:
        sock.connect(("127.0.0.1", port))
    for sock, frame in zip(socks, frames, strict=True):
        sock.send(frame)
    pairs = [(sock.send, frame) for sock, frame in zip(socks, frames, strict=True)]
    while not stop.is_set():
        for _ in range(200):
            for send, frame in pairs:
                send(frame)


def send_trains(port: int, frame_size: int, stop: Event) -> None:
    """Send trains of full frames from one socket."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.connect(("127.0.0.1", port))
    frame = encode_frame(station(0), station(0), 0x88B5, bytes(frame_size - 14))
    train = frame * (65507 // frame_size)
    control = [(SOL_UDP, UDP_SEGMENT, struct.pack("H", frame_size))]
    while not stop.is_set():
        for _ in range(50):
            sock.sendmsg([train], control)


async def forward(
    seconds: float, load: Callable[[int, int, Event], None], argument: int
) -> tuple[float, float, float]:
    """Forward what the load sends; give frames and bits per second, and frames per processor second."""
    links: list[Link] = []
    totals = [0, 0]
    arrived = trio.Event()

    def accept(link: Link, *, port: int | None = None, user: str | None = None) -> Patch:
        links.append(link)
        arrived.set()
        return Patch(links, totals)

    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    async with trio.open_nursery() as nursery:
        with await open_udp_listener(UdpLocator(host="127.0.0.1", port=0)) as listener:
            await nursery.start(listener.serve, accept)
            child = context.Process(target=load, args=(listener.address[1], argument, stop), daemon=True)
            child.start()
            await arrived.wait()
            await trio.sleep(0.3)  # until all sixteen are known
            before, cpu, at = list(totals), time.process_time(), time.perf_counter()
            await trio.sleep(seconds)
            frames, size = totals[0] - before[0], totals[1] - before[1]
            cpu, wall = time.process_time() - cpu, time.perf_counter() - at
            stop.set()
            await trio.to_thread.run_sync(child.join)
            nursery.cancel_scope.cancel()
    return frames / wall, size * 8 / wall, frames / cpu


async def flood(peers: int, rounds: int) -> list[float]:
    """Send one frame to many peers; give the seconds that each round took."""
    links: list[Link] = []
    complete = trio.Event()

    def accept(link: Link, *, port: int | None = None, user: str | None = None) -> Patch:
        links.append(link)
        if len(links) == peers:
            complete.set()
        return Patch(links, [0, 0])

    socks = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(peers)]
    frame = encode_frame(b"\xff" * 6, station(1), 0x88B5, bytes(50))
    times = []
    async with trio.open_nursery() as nursery:
        with await open_udp_listener(UdpLocator(host="127.0.0.1", port=0)) as listener:
            await nursery.start(listener.serve, accept)
            await introduce(socks, listener)
            await complete.wait()
            for _ in range(rounds):
                started = time.perf_counter()
                train = lone(frame)
                for link in links:
                    link.transmit(train)
                for link in links:
                    link.flush()
                times.append(time.perf_counter() - started)
            nursery.cancel_scope.cancel()
    for sock in socks:
        sock.close()
    return times


async def introduce(socks: list[socket.socket], listener: UdpListener) -> None:
    """Have each socket send a frame, not more at once than the listener's buffer holds."""
    for sock in socks:
        sock.connect(("127.0.0.1", listener.address[1]))
        sock.send(bytes(60))
        await trio.lowlevel.checkpoint()


async def main(seconds: float) -> None:
    rate, _, per_cpu = await forward(seconds, send_in_turn, 16)
    print(f"16 peers in turn, single 64-byte frames: {rate:,.0f} frames/s, {per_cpu:,.0f} per CPU second")
    rate, bits, per_cpu = await forward(seconds, send_trains, 1414)
    print(f"trains of 1414-byte frames: {bits / 1e9:.2f} Gbit/s, {per_cpu:,.0f} frames per CPU second")
    for peers in (10, 100, 1000):
        times = sorted(await flood(peers, 50))
        print(f"one frame to {peers} peers: {times[0] * 1e3:.2f} ms best, {times[25] * 1e3:.2f} ms median")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Figures of the UDP listener alone, without a bridge.")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    trio.run(main, parser.parse_args().seconds)
