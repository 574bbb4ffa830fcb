"""A port that floods does not keep the others from being served.

A switch without the remedy (``vport.links.udp_intake``) loses nearly all frames here on the flooder's own
socket. The limits leave room for a machine that is busy with other things: two floods and the switch alone
want three cores.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import socket
import statistics
import struct
import time
from typing import TYPE_CHECKING, Final

from tests.system.namespaces import inside, network_namespace
from tests.system.processes import VSWITCH, Process
from tests.system.requirements import require_root, require_tun
from tests.system.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.process import BaseProcess
    from pathlib import Path

SECONDS: Final = 1.5  # of each measurement
GRACE: Final = 0.5  # seconds of flood in which the switch may find out who floods
INTERVAL: Final = 0.004  # seconds between measured frames
LOST: Final = 0.2  # seconds after which a frame counts as lost
LIMIT: Final = 0.05  # seconds that the median frame may take; one to five milliseconds are usual
FLOOD: Final = 0x88B5  # EtherTypes
MEASURED: Final = 0x88B6

SO_ATTACH_FILTER: Final = 26  # asm-generic/socket.h
SO_TIMESTAMPNS: Final = 35
_TIMESPEC: Final = struct.Struct("@qq")


def free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def station(number: int) -> bytes:
    return b"\x02" + number.to_bytes(5, "big")


def frame(destination: bytes, source: bytes, ethertype: int = FLOOD) -> bytes:
    return destination + source + ethertype.to_bytes(2, "big") + bytes(46)


# --- floods ---


def flood(send: Callable[[bytes], int], seconds: float) -> None:
    """Send frames between two stations behind one port, and every ninth a broadcast."""
    one, other = (station(2 * os.getpid() + number) for number in range(2))
    frames = [frame(b"\xff" * 6, one), *[frame(one, other), frame(other, one)] * 4]
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for data in frames * 20:
            with contextlib.suppress(OSError):  # a full queue, which is what is wanted
                send(data)


def flood_udp(port: int, seconds: float) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.connect(("127.0.0.1", port))
        flood(peer.send, seconds)


def flood_tap(netns: str, seconds: float) -> None:
    """Send through the TAP in a namespace, as any program on that machine could."""
    import pyroute2.netns

    pyroute2.netns.setns(netns)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as device:
        device.bind(("tap0", 0))
        flood(device.send, seconds)


# --- what is measured ---


def only_measured(sock: socket.socket) -> None:
    """Have the kernel keep the flood from the socket, so that the measurement does not have to."""
    at = 8 + 12  # the EtherType behind the UDP header
    program = struct.pack("HBBI", 0x28, 0, 0, at) + struct.pack("HBBI", 0x15, 0, 1, MEASURED)
    program += struct.pack("HBBI", 0x06, 0, 0, 65535) + struct.pack("HBBI", 0x06, 0, 0, 0)
    buffer = ctypes.create_string_buffer(program)
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("@HP", 4, ctypes.addressof(buffer)))


class Pair:
    """Two UDP peers of a switch, and the time that a frame takes from one to the other."""

    def __init__(self, port: int, first: int, stack: contextlib.ExitStack) -> None:
        self.one, self.other = (
            stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(2)
        )
        self.macs = station(first), station(first + 1)
        self._number = 0
        for peer, mac in zip((self.one, self.other), self.macs, strict=True):
            only_measured(peer)
            peer.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            peer.connect(("127.0.0.1", port))
            peer.settimeout(LOST)
            peer.send(frame(mac, mac))

    def measure(self) -> float:
        """Give the seconds that a frame took until the kernel had it here; a lost one took ``LOST``."""
        self._number += 1
        payload = frame(self.macs[1], self.macs[0], MEASURED)[:-4] + self._number.to_bytes(4, "big")
        start = time.time_ns()
        self.one.send(payload)
        return self._arrival(payload, start)

    def _arrival(self, payload: bytes, start: int) -> float:
        with contextlib.suppress(TimeoutError):
            while True:
                data, ((_, _, stamp),), _, _ = self.other.recvmsg(2000, 64)
                if data == payload:
                    seconds, nanoseconds = _TIMESPEC.unpack(stamp)
                    return (seconds * 10**9 + nanoseconds - start) / 1e9
        return LOST


class Flooded:
    """A switch with a flood on it, and two quiet pairs on different UDP sockets."""

    def __init__(self, switch: Process, ports: tuple[int, int], stack: contextlib.ExitStack) -> None:
        self.switch = switch
        self.ports = ports
        self._stack = stack
        self.pairs = {"one socket": Pair(ports[0], 1, stack), "another": Pair(ports[1], 3, stack)}
        wait_until("four peers", lambda: switch.output.count("udp peer 127.0.0.1") == 4)

    def start(self, target: Callable[..., None], argument: object) -> None:
        """Start a flood."""
        flooder: BaseProcess = multiprocessing.get_context("spawn").Process(
            target=target, args=(argument, 20.0), daemon=True
        )
        flooder.start()
        self._stack.callback(flooder.join)
        self._stack.callback(flooder.kill)

    def check(self) -> None:
        """Measure both pairs."""
        self._measure(GRACE)
        for name, times in self._measure(SECONDS).items():
            median, late = statistics.median(times), statistics.quantiles(times, n=20)[-1]
            lost = times.count(LOST)
            print(  # noqa: T201
                f"{name}: median {median * 1e3:.2f} ms, 95 % below {late * 1e3:.2f} ms, "
                f"{lost} of {len(times)} lost"
            )
            assert median < LIMIT
            assert lost <= 1 + len(times) * 0.05

    def _measure(self, seconds: float) -> dict[str, list[float]]:
        times: dict[str, list[float]] = {name: [] for name in self.pairs}
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for name, pair in self.pairs.items():
                times[name].append(pair.measure())
            time.sleep(INTERVAL)
        return times


@contextlib.contextmanager
def flooded(directory: Path, *options: str) -> Iterator[Flooded]:
    ports = free_udp_port(), free_udp_port()
    listen = [word for port in ports for word in ("--listen", f"udp://127.0.0.1:{port}")]
    with (
        Process([*VSWITCH, *listen, *options], directory / "log") as switch,
        contextlib.ExitStack() as stack,
    ):
        wait_until("both listeners", lambda: switch.output.count("listening on") == 2)
        yield Flooded(switch, ports, stack)


def test_quiet_ports_are_served_beside_a_flooding_udp_peer(tmp_path: Path) -> None:
    with flooded(tmp_path) as switch:
        switch.start(flood_udp, switch.ports[0])
        wait_until("the flooder", lambda: switch.switch.output.count("has joined") == 5)
        switch.check()


def test_quiet_ports_are_served_beside_two_flooding_udp_peers(tmp_path: Path) -> None:
    with flooded(tmp_path) as switch:
        for _ in range(2):
            switch.start(flood_udp, switch.ports[0])
        wait_until("the flooders", lambda: switch.switch.output.count("has joined") == 6)
        switch.check()


def test_quiet_ports_are_served_beside_a_flooding_tap(tmp_path: Path) -> None:
    require_root()
    require_tun()
    with network_namespace() as netns, flooded(tmp_path, "--attach", f"tap://tap0?netns={netns}") as switch:
        wait_until("the TAP", lambda: "UP" in inside(netns, "ip", "link", "show", "tap0"))
        switch.start(flood_tap, netns)
        switch.check()
