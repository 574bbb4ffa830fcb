"""WireGuard: handshakes a second, and what a thousand peers cost that only keep alive.

    python -m tests.bench.bench_wireguard [--peers 1000] [--seconds 30]

* ``core``: initiations answered by the protocol alone, in this process, on one core.
* ``switch``: a real ``vswitch`` on loopback; all peers call it, each from a socket of its own, then they only
  keep alive (every 25 s). Printed are how soon all were in (whoever comes when the switch thinks it is
  flooded has to bring a cookie, which takes 5 s), what a handshake costs the switch, and then
  the memory (resident) and the share of a core that it takes.

The peers run in one process here, which takes its share of the machine; the figures of ``switch`` are the
switch's own.
"""

from __future__ import annotations

import argparse
import os
import re
import select
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from vport.wireguard.device import Device
from vport.wireguard.endpoint import Endpoint
from vport.wireguard.events import Event, SessionEstablished, Transmit
from vport.wireguard.keys import PrivateKey
from vport.wireguard.settings import PeerSettings

ROOT = Path(__file__).resolve().parents[2]
KEEPALIVE = 25
PORT = 51899
TIMERS_EVERY = 0.1  # seconds; looking at a thousand takes one millisecond
CALLS_A_SECOND = 400  # well below what makes the switch ask for cookies, unless it is stopped for a while


def new_device(key: PrivateKey, now: float) -> Device:
    return Device(key, entropy=os.urandom, now=now, unix_ns=time.time_ns())


def bench_core(count: int) -> float:
    """Answer ``count`` initiations of as many peers; give how many a second."""
    key = PrivateKey.generate(os.urandom)
    device = new_device(key, 0.0)
    messages = []
    for number in range(count):
        own = PrivateKey.generate(os.urandom)
        device.add_peer(PeerSettings(public_key=own.public), 0.0)
        caller = new_device(own, 0.0)
        switch = caller.add_peer(PeerSettings(public_key=key.public), 0.0, Endpoint("10.0.0.1", 1))
        (event,) = caller.connect(switch, 1.0)
        assert isinstance(event, Transmit)
        messages.append((bytes(event.data), Endpoint(f"10.1.{number >> 8}.{number & 255}", 51820)))
    start, now, answered = time.perf_counter(), 10.0, 0
    for data, endpoint in messages:
        now += 0.01  # below the rate that counts as load
        answered += len(device.receive(data, endpoint, now))
    taken = time.perf_counter() - start
    assert answered >= count
    return count / taken


class Caller:
    """A peer of the switch: a device and a socket."""

    def __init__(self, key: PrivateKey, switch: PrivateKey, number: int) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setblocking(False)
        self.sock.bind((f"127.1.{number >> 8}.{number & 255}", 0))  # one address has 20 handshakes a second
        self.sock.connect(("127.0.0.1", PORT))
        self.device = new_device(key, time.monotonic())
        self._switch = PeerSettings(public_key=switch.public, persistent_keepalive=KEEPALIVE)
        self.is_in = False

    def call(self) -> None:
        now = time.monotonic()
        peer = self.device.add_peer(self._switch, now, Endpoint("127.0.0.1", PORT))
        self.carry_out(self.device.connect(peer, now))

    def carry_out(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Transmit):
                self.sock.send(event.data)
            elif isinstance(event, SessionEstablished):
                self.is_in = True

    def read(self) -> None:
        try:
            data = self.sock.recv(2048)
        except (BlockingIOError, ConnectionRefusedError):
            return
        self.carry_out(self.device.receive(data, Endpoint("127.0.0.1", PORT), time.monotonic()))


class Crowd:
    """All the callers on one epoll."""

    def __init__(self, callers: list[Caller]) -> None:
        self.callers = callers
        self._by_number = {caller.sock.fileno(): caller for caller in callers}
        self._timers_at = 0.0
        self._epoll = select.epoll()
        for number in self._by_number:
            self._epoll.register(number, select.EPOLLIN)

    def run(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end:
            for number, _ in self._epoll.poll(min(0.05, end - now)):
                self._by_number[number].read()
            if now < self._timers_at:
                continue
            self._timers_at = now + TIMERS_EVERY
            for caller in self.callers:
                deadline = caller.device.next_deadline()
                if deadline is not None and deadline <= now:
                    caller.carry_out(caller.device.handle_timer(now))

    @property
    def count(self) -> int:
        return sum(caller.is_in for caller in self.callers)


def usage(pid: int) -> tuple[float, float]:
    """Give CPU seconds and resident MiB of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    status = Path(f"/proc/{pid}/status").read_text()
    resident = int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), resident


def bench_switch(count: int, seconds: float) -> None:
    """Have ``count`` peers come in, then only keep alive."""
    key = PrivateKey.generate(os.urandom)
    keys = [PrivateKey.generate(os.urandom) for _ in range(count)]
    with tempfile.TemporaryDirectory(prefix="bench-wireguard-") as directory:
        peers = "".join(f"[Peer]\nPublicKey = {one.public.encode()}\n" for one in keys)
        path = Path(directory) / "switch.conf"
        path.touch(mode=0o600)
        path.write_text(f"[Interface]\nPrivateKey = {key.encode()}\nListenPort = {PORT}\n{peers}")
        log = Path(directory) / "log"
        with log.open("wb") as output:
            switch = subprocess.Popen(
                [sys.executable, "-m", "vswitch.cli", "--listen", f"wg://{path}", "-n", str(count + 8),
                 "--mgmt", f"{directory}/mgmt"],
                cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                env={**os.environ, "XDG_STATE_HOME": directory},
            )  # fmt: skip
        try:
            while b"management shell" not in log.read_bytes():
                assert switch.poll() is None, log.read_text()
                time.sleep(0.05)
            idle, empty = usage(switch.pid)
            crowd = Crowd([Caller(one, key, number) for number, one in enumerate(keys)])
            start = time.monotonic()
            half = 0.0
            for number, caller in enumerate(crowd.callers):
                caller.call()
                if number == count // 2:
                    half = time.monotonic() - start
                crowd.run(1 / CALLS_A_SECOND)
            while crowd.count < count:
                crowd.run(0.05)
                assert time.monotonic() - start < 60, f"only {crowd.count} of {count} got in"
            taken = time.monotonic() - start
            crowd.run(1.0)
            cpu, resident = usage(switch.pid)
            crowd.run(seconds)
            after, _ = usage(switch.pid)
            print(f"switch: {count} peers, calling at {count / 2 / half:.0f}/s, all in after {taken:.1f} s, "
                  f"{(cpu - idle) / count * 1e6:.0f} µs of CPU for each")  # fmt: skip
            print(f"        {resident:.0f} MiB ({empty:.0f} before they came), keeping alive takes "
                  f"{(after - cpu) / seconds:.2%} of a core")  # fmt: skip
        finally:
            switch.terminate()
            switch.wait()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=30.0)
    arguments = parser.parse_args()
    print(f"core:   {bench_core(min(arguments.peers, 1000)):.0f} initiations answered a second")
    bench_switch(arguments.peers, arguments.seconds)


if __name__ == "__main__":
    main()
