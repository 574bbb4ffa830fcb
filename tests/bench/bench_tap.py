"""Figures of a TAP alone, as root: ``python -m tests.bench.bench_tap``.

* Reading: the device's queue is filled with datagrams and drained by the link.
* Writing: a train of datagrams for a socket of the machine is written again and again.

Both with offloads and without; the best of many rounds, so that other load matters little.
"""

from __future__ import annotations

import socket
import struct
import time
from itertools import cycle, islice

import trio

from tests.system.namespaces import inside, network_namespace
from vport.checksum import checksum
from vport.ethernet import encode_frame
from vport.links.tap import TapLink, open_tap
from vport.locator import TapLocator, parse
from vport.netns import namespace
from vport.train import Train

ROUNDS = 40
QUEUE = 900  # frames; the kernel holds 1000


class Count:
    """A sink that counts."""

    def __init__(self) -> None:
        self.frames = self.trains = 0

    def deliver(self, train: Train) -> None:
        self.frames += train.count
        self.trains += 1

    def flush(self) -> None:
        pass


async def opened(netns: str, offload: str) -> TapLink:
    """Open a TAP that says nothing of its own accord, with a neighbour to send to."""
    inside(netns, "sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1")
    text = f"tap://tap0?netns={netns}&mtu=1400&mac=02:00:00:00:00:01&address=10.1.1.1/24&offload={offload}"
    locator = parse(text)
    assert isinstance(locator, TapLocator)
    link = await open_tap(locator)
    inside(netns, "ip", "neigh", "replace", "10.1.1.2", "lladdr", "02:00:00:00:00:02", "dev", "tap0")
    return link


def drain(link: TapLink, sock: socket.socket, sizes: list[int]) -> tuple[float, Count]:
    """Fill the queue and empty it; give the seconds that emptying took."""
    for size in islice(cycle(sizes), QUEUE):
        sock.sendto(bytes(size), ("10.1.1.2", 9))
    count = Count()
    start = time.perf_counter()
    while link._turn(count):
        pass
    return time.perf_counter() - start, count


def read(link: TapLink, sock: socket.socket, sizes: list[int]) -> str:
    seconds, count = min((drain(link, sock, sizes) for _ in range(ROUNDS)), key=lambda one: one[0])
    return f"{count.frames / seconds:,.0f} frames/s in {count.trains} trains"


def datagrams(count: int, size: int) -> Train:
    """Make a train of datagrams to 10.1.1.1, numbered as a sender numbers them."""
    length = 8 + size
    addresses = bytes((10, 1, 1, 2, 10, 1, 1, 1))
    frames = []
    for number in range(count):
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, number, 0x4000, 64, 17, 0) + addresses
        head = head[:10] + checksum(head).to_bytes(2, "big") + head[12:]
        udp = struct.pack("!HHH", 9, 5002, length)
        check = checksum(addresses + struct.pack("!HH", 17, length) + udp + bytes(2 + size))
        packet = head + udp + check.to_bytes(2, "big") + bytes(size)
        frames.append(encode_frame(bytes((2, 0, 0, 0, 0, 1)), bytes((2, 0, 0, 0, 0, 2)), 0x0800, packet))
    return Train(b"".join(frames), 42 + size)


def write(link: TapLink, train: Train) -> str:
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.perf_counter()
        link.transmit(train)
        best = min(best, time.perf_counter() - start)
    return f"{best * 1e6:.1f} µs, {train.count / best:,.0f} frames/s"


async def main() -> None:
    for offload in ("yes", "no"):
        with network_namespace() as netns, await opened(netns, offload) as link, namespace(netns):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                print(f"offload={offload}, read 64-byte datagrams: {read(link, sock, [64])}")
                mixed = [64, 700, 64, 64, 1200]
                print(f"offload={offload}, read datagrams of {mixed}: {read(link, sock, mixed)}")
            for count in (1, 8, 64):
                print(f"offload={offload}, write {count} × 64 bytes: {write(link, datagrams(count, 64))}")


if __name__ == "__main__":
    trio.run(main)
