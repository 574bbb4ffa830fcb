"""A port that floods does not keep the others from being served."""

from __future__ import annotations

import contextlib
import multiprocessing
import socket
import statistics
import time
from typing import TYPE_CHECKING

import pytest

from tests.system.processes import VSWITCH, Process
from tests.system.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECONDS = 2.0
INTERVAL = 0.005


def free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def station(number: int) -> bytes:
    return b"\x02" + number.to_bytes(5, "big")


def frame(destination: bytes, source: bytes) -> bytes:
    return destination + source + b"\x88\xb5" + bytes(46)


def flood(port: int, seconds: float) -> None:
    """Send frames between two stations behind one port, and broadcasts, as fast as it goes."""
    frames = [frame(station(99), station(98)), frame(b"\xff" * 6, station(98))]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.connect(("127.0.0.1", port))
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for number in range(200):
                peer.send(frames[number % 10 == 0])


class Pair:
    """Two UDP peers of a switch, and the time that a frame takes from one to the other."""

    def __init__(self, port: int, first: int, stack: contextlib.ExitStack) -> None:
        self.one, self.other = (
            stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(2)
        )
        self.macs = station(first), station(first + 1)
        for peer, mac in zip((self.one, self.other), self.macs, strict=True):
            peer.connect(("127.0.0.1", port))
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
            peer.settimeout(0.2)
            peer.send(frame(mac, mac))

    def measure(self, seconds: float) -> list[float]:
        """Give the seconds that frames took; a lost one counts as the time-out."""
        times = []
        deadline = time.monotonic() + seconds
        number = 0
        while time.monotonic() < deadline:
            number += 1
            payload = frame(self.macs[1], self.macs[0])[:-4] + number.to_bytes(4, "big")
            start = time.monotonic()
            self.one.send(payload)
            times.append(self._arrival(payload, start))
            time.sleep(INTERVAL)
        return times

    def _arrival(self, payload: bytes, start: float) -> float:
        with contextlib.suppress(TimeoutError):
            while self.other.recv(2000) != payload:
                if time.monotonic() - start > 0.2:
                    break
        return time.monotonic() - start


@pytest.fixture
def flooded(tmp_path: Path) -> Iterator[tuple[Pair, Pair]]:
    """Give a quiet pair on the flooder's own UDP socket, and one on another, while the flood is on."""
    shared, other = free_udp_port(), free_udp_port()
    command = [*VSWITCH, "--listen", f"udp://127.0.0.1:{shared}", "--listen", f"udp://127.0.0.1:{other}"]
    with Process(command, tmp_path / "log") as switch, contextlib.ExitStack() as stack:
        wait_until("both listeners", lambda: switch.output.count("listening on") == 2)
        pairs = Pair(shared, 1, stack), Pair(other, 3, stack)
        wait_until("four peers", lambda: switch.output.count("has joined") == 4)
        flooder = multiprocessing.get_context("spawn").Process(target=flood, args=(shared, 3 * SECONDS + 5))
        flooder.start()
        try:
            wait_until("the flooder", lambda: switch.output.count("has joined") == 5)
            yield pairs
        finally:
            flooder.kill()
            flooder.join()


def test_quiet_ports_are_served_beside_a_flooding_one(flooded: tuple[Pair, Pair]) -> None:
    for name, pair in zip(("same socket", "other socket"), flooded, strict=True):
        times = pair.measure(SECONDS)
        median, worst = statistics.median(times), statistics.quantiles(times, n=20)[-1]
        lost = sum(one >= 0.2 for one in times)
        print(f"{name}: median {median * 1e3:.2f} ms, 95 % below {worst * 1e3:.2f} ms, {lost} lost")  # noqa: T201
        assert median < 0.02
        assert worst < 0.1
        assert lost <= len(times) * 0.02
