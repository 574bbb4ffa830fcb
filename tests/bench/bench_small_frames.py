"""Small frames of many peers through the switch alone, beside ``vde_switch``: what a frame costs.

    python -m tests.bench.bench_small_frames

* Sixteen peers send single 64-byte frames in turn, each to the station behind the next one. Ours has them on
  UDP, ``vde_switch`` on its data sockets. What sends and what receives are processes of their own that use
  sendmmsg and recvmmsg; as much is under way as the window says, so that nothing is lost for want of room.
* One broadcast frame goes to a thousand UDP peers of a switch: the time until the last one has it.

The peers of a UDP switch are one socket with an address of its own for each (127.1.0.1, …), so that one
system call sends frames of all sixteen. A ``vde_switch`` takes from a data socket only what its peer sends,
so there it takes one call for each peer. With few cores the rates per second of the switch's processor time
say more than those per second: sender and receiver want to run too.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import multiprocessing
import os
import select
import shutil
import socket
import statistics
import struct
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from tests.system.processes import VSWITCH, Process
from tests.system.waiting import wait_until
from vport.ethernet import encode_frame
from vport.links.datagrams import IN_PKTINFO, IP_PKTINFO, SO_RCVBUFFORCE, SOL_UDP, UDP_GRO
from vport.links.mmsg import IOVEC, MMSGHDR, Calls, address_of, encode_address, encode_control

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vport.links.datagrams import SocketAddress

PEERS: Final = 16
FRAME_SIZE: Final = 64
BATCH: Final = 256
WINDOW: Final = 2048  # frames under way at most
VDE_BATCH: Final = 8  # frames for a data socket at once; its queue holds eleven
LISTENERS: Final = 1000
BROADCASTS: Final = 50
ROOM: Final = 65536  # bytes of a received train
SO_TIMESTAMPNS: Final = 35  # asm-generic/socket.h


def station(number: int) -> bytes:
    return b"\2\0\0\0" + struct.pack("!H", number)


def own_address(number: int) -> bytes:
    return bytes((127, 1, *divmod(number + 1, 250)))


def frame_to(destination: bytes, number: int) -> bytes:
    return encode_frame(destination, station(number), 0x88B5, bytes(FRAME_SIZE - 14))


class Batch:
    """Messages that are filled in once and sent or received as often as wished."""

    def __init__(self, count: int, size: int) -> None:
        self.calls = Calls()
        self.data = np.zeros((count, size), np.uint8)
        self.messages = np.zeros(count, MMSGHDR)
        self._vectors = np.zeros(count, IOVEC)
        self._vectors["base"] = address_of(self.data) + np.arange(count) * size
        self._vectors["len"] = size
        self.headers = self.messages["header"]
        self.headers["iov"] = address_of(self._vectors) + np.arange(count) * IOVEC.itemsize
        self.headers["iovlen"] = 1
        self.address = address_of(self.messages)

    def send(self, descriptor: int, first: int, count: int) -> int:
        """Send ``count`` messages from number ``first`` on; give how many went, 0 when none can now."""
        try:
            return self.calls.send(descriptor, self.address + first * MMSGHDR.itemsize, count)
        except BlockingIOError:
            return 0

    def receive(self, descriptor: int) -> int:
        """Receive what is there; give how many frames that was."""
        try:
            count = self.calls.receive(descriptor, self.address, len(self.messages))
        except BlockingIOError:
            return 0
        return int((self.messages["len"][:count] // FRAME_SIZE).sum())


class Progress:
    """How many frames were sent and how many came back, shared between the processes."""

    def __init__(self) -> None:
        self.sent = multiprocessing.RawValue(ctypes.c_int64, 0)
        self.received = multiprocessing.RawValue(ctypes.c_int64, 0)

    def wait_for_room(self) -> None:
        """Wait until less is under way than the window says; what does not come for long is lost."""
        patience = time.monotonic() + 0.1
        while self.sent.value - self.received.value > WINDOW - BATCH:
            if time.monotonic() > patience:
                self.sent.value = self.received.value
            time.sleep(0.0001)


# --- peers on UDP ---


def udp_socket() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 24)
    sock.bind(("0.0.0.0", 0))
    sock.setblocking(False)
    return sock


def udp_batch(server: SocketAddress, frames: list[bytes]) -> tuple[Batch, list[object]]:
    """Prepare a message of each peer in turn, number i from ``own_address(i)``; keep what comes along."""
    batch = Batch(len(frames), len(frames[0]))
    name = np.frombuffer(encode_address(socket.AF_INET, server), np.uint8)
    controls = np.stack(
        [
            np.frombuffer(
                encode_control(
                    socket.IPPROTO_IP, IP_PKTINFO, IN_PKTINFO.pack(0, own_address(number), bytes(4))
                ),
                np.uint8,
            )
            for number in range(len(frames))
        ]
    )
    for row, frame in zip(batch.data, frames, strict=True):
        row[:] = np.frombuffer(frame, np.uint8)
    batch.headers["name"], batch.headers["namelen"] = address_of(name), len(name)
    batch.headers["control"] = address_of(controls) + np.arange(len(frames)) * controls.shape[1]
    batch.headers["controllen"] = controls.shape[1]
    return batch, [name, controls]


def send_udp(sock: socket.socket, server: SocketAddress, progress: Progress) -> None:
    """Send single frames of the peers in turn, until killed."""
    numbers = range(PEERS)
    frames = [frame_to(station((number + 1) % PEERS), number) for number in numbers]
    one_turn, kept = udp_batch(server, frames)
    batch = Batch(BATCH, FRAME_SIZE)
    for at in range(0, BATCH, PEERS):
        batch.data[at : at + PEERS] = one_turn.data
        for field in ("name", "namelen", "control", "controllen"):
            batch.headers[field][at : at + PEERS] = one_turn.headers[field]
    while kept:
        progress.wait_for_room()
        progress.sent.value += batch.send(sock.fileno(), 0, BATCH)


def receive_udp(sock: socket.socket, progress: Progress) -> None:
    """Count what comes for the peers, until killed."""
    sock.setsockopt(SOL_UDP, UDP_GRO, 1)
    batch = Batch(64, ROOM)
    while True:
        select.select([sock], [], [])
        progress.received.value += batch.receive(sock.fileno())


@contextlib.contextmanager
def our_switch(scratch: Path) -> Iterator[tuple[Process, SocketAddress]]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        server = probe.getsockname()
    command = [*VSWITCH, "--listen", f"udp://127.0.0.1:{server[1]}", "--numports", "4096"]
    with Process(command, scratch / "ours") as process:
        process.wait_for("listening on")
        yield process, server


def introduce(sock: socket.socket, server: SocketAddress, count: int, process: Process) -> None:
    """Have as many peers join."""
    frames = [frame_to(station(number), number) for number in range(count)]
    batch, kept = udp_batch(server, frames)
    for first in range(0, count, 100):
        batch.send(sock.fileno(), first, min(100, count - first))
        expected = min(first + 100, count)
        wait_until("peers", lambda: process.output.count("has joined") >= expected)  # noqa: B023
    del kept


def measure_ours(seconds: float, scratch: Path) -> tuple[float, float]:
    with our_switch(scratch) as (process, server), udp_socket() as sock:
        introduce(sock, server, PEERS, process)
        return measure(
            process.popen.pid,
            seconds,
            lambda progress: send_udp(sock, server, progress),
            lambda progress: receive_udp(sock, progress),
        )


# --- peers of vde_switch ---


class VdePeer:
    """A peer as ``vde_plug`` is one: a request on the control socket, then a data socket."""

    def __init__(self, directory: Path, number: int) -> None:
        self.control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.control.connect(str(directory / "ctl"))
        self.data = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        own = str(directory.parent / f"peer{number}")
        self.data.bind(own)
        request = struct.pack("=III", 0xFEEDFACE, 3, 0) + struct.pack("=H108s", socket.AF_UNIX, own.encode())
        self.control.send(request + b"bench")
        reply = self.control.recv(110)
        self.data.connect(reply[2:].rstrip(b"\0").decode())
        self.data.setblocking(False)


def send_vde(peers: list[VdePeer], progress: Progress) -> None:
    """Send frames of the peers in turn, until killed."""
    batches = []
    for number in range(PEERS):
        batch = Batch(VDE_BATCH, FRAME_SIZE)
        frame = frame_to(station((number + 1) % PEERS), number)
        batch.data[:] = np.frombuffer(frame, np.uint8)
        batches.append((batch, peers[number].data.fileno()))
    poll = select.poll()
    for _, descriptor in batches:
        poll.register(descriptor, select.POLLOUT)
    while True:
        sent = sum(batch.send(descriptor, 0, VDE_BATCH) for batch, descriptor in batches)
        progress.sent.value += sent
        if not sent:
            poll.poll(1)


def receive_vde(peers: list[VdePeer], progress: Progress) -> None:
    """Count what comes for the peers, until killed."""
    batch = Batch(64, 2048)
    poll = select.poll()
    for peer in peers:
        poll.register(peer.data, select.POLLIN)
    while True:
        progress.received.value += sum(batch.receive(descriptor) for descriptor, _ in poll.poll())


def measure_vde(seconds: float, scratch: Path) -> tuple[float, float]:
    directory = scratch / "vde.ctl"
    command = ["vde_switch", "-s", str(directory), "-f", "/dev/null"]
    with Process(command, scratch / "vde", stdin=subprocess.PIPE) as process:
        wait_until("vde_switch", (directory / "ctl").exists)
        peers = [VdePeer(directory, number) for number in range(PEERS)]
        for number, peer in enumerate(peers):
            peer.data.send(frame_to(station(number), number))
        return measure(
            process.popen.pid,
            seconds,
            lambda progress: send_vde(peers, progress),
            lambda progress: receive_vde(peers, progress),
        )


# --- both ---


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(
    pid: int, seconds: float, send: Callable[[Progress], None], receive: Callable[[Progress], None]
) -> tuple[float, float]:
    """Give frames forwarded per second, and per second of the switch's processor time."""
    progress = Progress()
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=one, args=(progress,), daemon=True) for one in (receive, send)]
    for child in children:
        child.start()
    try:
        wait_until("traffic", lambda: progress.received.value > 10 * WINDOW)
        frames, cpu, at = progress.received.value, cpu_seconds(pid), time.perf_counter()
        time.sleep(seconds)
        frames = progress.received.value - frames
        return frames / (time.perf_counter() - at), frames / max(cpu_seconds(pid) - cpu, 0.01)
    finally:
        for child in children:
            child.kill()
            child.join()


def broadcast(scratch: Path) -> list[float]:
    """Send broadcasts to a thousand peers; give the milliseconds until the last one had each."""
    times = []
    with our_switch(scratch) as (process, server), udp_socket() as sock:
        introduce(sock, server, LISTENERS + 1, process)
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        frame = frame_to(b"\xff" * 6, 0)
        batch, kept = udp_batch(server, [frame])
        for _ in range(BROADCASTS):
            start = time.time_ns()
            batch.send(sock.fileno(), 0, 1)
            times.append((last_arrival(sock, LISTENERS) - start) / 1e6)
        del kept
    return sorted(times)


def last_arrival(sock: socket.socket, count: int) -> int:
    """Receive as many datagrams; give when the kernel had the last one, in nanoseconds."""
    stamp = b""
    for _ in range(count):
        select.select([sock], [], [], 5)
        _, ((_, _, stamp),), _, _ = sock.recvmsg(2048, 64)
    seconds, nanoseconds = struct.unpack("@qq", stamp)
    return int(seconds * 10**9 + nanoseconds)


def main() -> None:
    parser = argparse.ArgumentParser(description="Small frames of many peers through the switch alone.")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("-n", "--rounds", type=int, default=3)
    args = parser.parse_args()
    contenders = {"ours": measure_ours} | ({"vde": measure_vde} if shutil.which("vde_switch") else {})
    figures: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for _ in range(args.rounds):
        for name, contender in contenders.items():
            with tempfile.TemporaryDirectory() as scratch:
                figures[name].append(contender(args.seconds, Path(scratch)))
    medians = {
        name: [statistics.median(column) for column in zip(*rounds, strict=True)]
        for name, rounds in figures.items()
    }
    for name, (rate, per_cpu) in medians.items():
        print(f"{PEERS} peers, {name:5}{rate:12,.0f} frames/s {per_cpu:12,.0f} per CPU second of the switch")
    if "vde" in medians:
        rate, per_cpu = (ours / vde for ours, vde in zip(medians["ours"], medians["vde"], strict=True))
        print(f"ours ÷ vde    {rate:12.2f}          {per_cpu:12.2f}")
    with tempfile.TemporaryDirectory() as scratch:
        times = broadcast(Path(scratch))
    median = statistics.median(times)
    print(f"one broadcast to {LISTENERS} peers: best {times[0]:.2f} ms, median {median:.2f} ms")


if __name__ == "__main__":
    main()
