"""One LAN over UDP: a switch and three Linux hosts, each in a namespace of its own, joined by TAP devices."""

from __future__ import annotations

import re
import signal
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

from tests.system.hosts import Namespace, Underlay
from tests.system.processes import VPORT, VSWITCH, Process
from tests.system.requirements import require_program, require_tun
from tests.system.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

MAC = "02:00:5e:10:00:{:02x}"


class Lan:
    """A switch in namespace S and ports in A, B and C, which have 10.1.1.1 to 10.1.1.3 and fd01::1 to ::3."""

    def __init__(self, underlay: Underlay, stack: ExitStack, tmp_path: Path) -> None:
        self.underlay = underlay
        self.stack = stack
        self.management = str(tmp_path / "mgmt")
        self.switch = self.start_switch()
        self.ports = {host: self.join(host, number) for number, host in enumerate("ABC", 1)}
        for port in self.ports.values():
            port.wait_for("connected")
        for host in "ABC":
            self.wait_for_ping("A", host)

    def start_switch(self) -> Process:
        switch = self.stack.enter_context(
            self.underlay["S"].start([*VSWITCH, "9999", "--mgmt", self.management])
        )
        switch.wait_for("management shell")
        return switch

    def join(self, host: str, number: int, *, server: str = "10.200.0.1", tap: str = "tap0") -> Process:
        """Start a port in ``host`` for the station of that number."""
        locator = (
            f"tap://{tap}?mtu=1400&mac={MAC.format(number)}"
            f"&address=10.1.1.{number}/24&address=fd01::{number}/64"
        )
        return self.stack.enter_context(self.underlay[host].start([*VPORT, f"udp://{server}:9999", locator]))

    def wait_for_ping(self, source: str, target: str, seconds: float = 10.0) -> None:
        address = self.address(target)
        wait_until(f"ping {source} to {target}", lambda: self.underlay[source].can_ping(address), seconds)

    @staticmethod
    def address(host: str) -> str:
        return f"10.1.1.{'ABC'.index(host) + 1}"


@contextmanager
def make_lan(path: Path) -> Iterator[Lan]:
    require_tun()
    with Underlay("S", "A", "B", "C", logs=path) as underlay, ExitStack() as stack:
        yield Lan(underlay, stack, path)


@pytest.fixture
def lan(tmp_path: Path) -> Iterator[Lan]:
    """Give a LAN to do anything to."""
    with make_lan(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def quiet_lan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lan]:
    """Give a LAN that its tests leave as it is."""
    with make_lan(tmp_path_factory.mktemp("lan")) as made:
        yield made


@pytest.mark.parametrize("addresses", ["10.1.1.{}", "fd01::{}"], ids=["IPv4", "IPv6"])
def test_every_host_pings_every_other(quiet_lan: Lan, addresses: str) -> None:
    for source in "ABC":
        for target in range(1, 4):
            address = addresses.format(target)
            wait_until(f"{source} pings {address}", lambda: quiet_lan.underlay[source].can_ping(address))  # noqa: B023
            assert quiet_lan.underlay[source].ping(address, count=3) == 3


class Capture:
    """tcpdump on a host's TAP, for frames of an EtherType that nothing else uses."""

    def __init__(self, host: Namespace) -> None:
        self.process = host.start(
            ["tcpdump", "-i", "tap0", "-n", "-e", "-l", "-U", "--immediate-mode", "ether proto 0x88b5"]
        )

    def __enter__(self) -> Self:
        self.process.wait_for("listening on")
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.process.end()

    def count(self, destination: str) -> int:
        return len(re.findall(rf"> {destination}", self.process.output, re.IGNORECASE))


SEND = """
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("tap0", 0))
mac = bytes.fromhex(open("/sys/class/net/tap0/address").read().strip().replace(":", ""))
for destination in sys.argv[1:]:
    s.send(bytes.fromhex(destination.replace(":", "")) + mac + b"\\x88\\xb5" + bytes(50))
"""


def test_broadcast_and_multicast_arrive_everywhere_but_at_the_sender(quiet_lan: Lan) -> None:
    require_program("tcpdump")
    groups = ["ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:fb", "33:33:00:00:00:fb"]
    with (
        Capture(quiet_lan.underlay["A"]) as a,
        Capture(quiet_lan.underlay["B"]) as b,
        Capture(quiet_lan.underlay["C"]) as c,
    ):
        sent = quiet_lan.underlay["A"].run(["python3", "-c", SEND, *groups, "01:80:c2:00:00:0e"])
        assert sent.returncode == 0, sent.stderr
        for group in groups:
            wait_until(f"{group} at B", lambda: b.count(group) == 1)  # noqa: B023
            wait_until(f"{group} at C", lambda: c.count(group) == 1)  # noqa: B023
        # What A sent is seen once on its own device, going out, and never comes back.
        assert [a.count(group) for group in groups] == [1, 1, 1]
        assert b.count("01:80:c2:00:00:0e") == c.count("01:80:c2:00:00:0e") == 0


def test_unicast_reaches_only_its_station(quiet_lan: Lan) -> None:
    require_program("tcpdump")
    with Capture(quiet_lan.underlay["B"]) as b, Capture(quiet_lan.underlay["C"]) as c:
        to_b, everyone = MAC.format(2), "ff:ff:ff:ff:ff:ff"
        quiet_lan.underlay["A"].run(["python3", "-c", SEND, to_b, everyone])
        wait_until("the broadcast behind it at C", lambda: c.count(everyone) == 1)
        wait_until("the unicast at B", lambda: b.count(to_b) == 1)
        assert c.count(to_b) == 0


def test_tcp_flows_both_ways(quiet_lan: Lan) -> None:
    require_program("iperf3")
    with quiet_lan.underlay["B"].start(["iperf3", "-s", "--forceflush"]) as server:
        server.wait_for("Server listening")
        for options in ([], ["-R"], ["-P", "4"], ["-6"]):
            target = "fd01::2" if "-6" in options else "10.1.1.2"
            done = quiet_lan.underlay["A"].run(["iperf3", "-c", target, "-t", "1", *options])
            assert done.returncode == 0, done.stdout + done.stderr
            received = re.findall(r"([\d.]+) Mbits/sec\s+receiver|([\d.]+) Gbits/sec\s+receiver", done.stdout)
            assert received, done.stdout


def test_station_that_moves_to_another_port_is_found_there_at_once(lan: Lan) -> None:
    lan.ports["C"].end()
    assert lan.underlay["A"].ping("10.1.1.2", count=3) == 3

    moved = time.monotonic()
    lan.ports["B"].end()
    lan.join("C", 2, tap="tap1")

    wait_until("A pings the station behind its new port", lambda: lan.underlay["A"].can_ping("10.1.1.2"))
    assert time.monotonic() - moved < 5


def test_pings_resume_after_the_switch_was_killed_and_started_again(lan: Lan) -> None:
    pings = lan.underlay["A"].start(["ping", "-n", "-i", "0.2", "10.1.1.2"])
    with pings:
        pings.wait_for("icmp_seq=5 ")
        lan.switch.end(signal.SIGKILL)
        lost_at = pings.output.count("bytes from")

        lan.switch = lan.start_switch()
        wait_until("replies", lambda: pings.output.count("bytes from") > lost_at + 3, 5.0)


def test_traffic_resumes_when_a_port_changes_its_address(lan: Lan) -> None:
    pings = lan.underlay["A"].start(["ping", "-n", "-i", "0.2", "10.1.1.2"])
    with pings:
        pings.wait_for("icmp_seq=3 ")
        b = lan.underlay["B"]
        b.ip("addr add 10.200.0.77/24 dev u0")
        b.ip("addr del 10.200.0.3/24 dev u0")
        b.ip("addr replace 10.200.0.77/24 dev u0")
        replies = pings.output.count("bytes from")
        wait_until(
            "replies from the new address", lambda: pings.output.count("bytes from") > replies + 5, 10.0
        )
    lan.ports["B"].wait_for("from 10.200.0.77")


def test_sigterm_leaves_nothing_behind(lan: Lan) -> None:
    assert Path(lan.management).is_socket()

    for port in lan.ports.values():
        assert port.end() == 0
    assert lan.switch.end() == 0

    assert not Path(lan.management).exists()
    for host in lan.underlay.hosts.values():
        assert "tap0" not in host.run(["ip", "link"]).stdout
        assert host.run(["ss", "-Huan"]).stdout == ""


def test_sigint_ends_cleanly_too(lan: Lan) -> None:
    assert lan.ports["A"].end(signal.SIGINT) == 0
    assert lan.switch.end(signal.SIGINT) == 0


def test_ipv6_underlay_carries_the_lan(lan: Lan) -> None:
    lan.ports["C"].end()
    lan.join("C", 3, server="[fd20::1]")

    lan.wait_for_ping("A", "C")
