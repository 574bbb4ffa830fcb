"""VLANs among real hosts: kept apart, carried together over a trunk, understood by Open vSwitch."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.system.namespaces import inside, network_namespace
from tests.system.namespaces import run as run_checked
from tests.system.ovs import open_vswitch
from tests.system.processes import VSWITCH, VSWITCHTERM, Process, run
from tests.system.requirements import require_program, require_tun
from tests.system.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FULL = ["-s", "1472", "-M", "do"]  # an IPv4 packet of 1500 bytes, not to be cut: 1514 bytes, 1518 with a tag


class Switch:
    """One of our switches and its management shell."""

    def __init__(self, stack: ExitStack, directory: Path, name: str, *arguments: str) -> None:
        self._path = str(directory / f"{name}.mgmt")
        command = [*VSWITCH, "--mgmt", self._path, *arguments]
        self.process = stack.enter_context(Process(command, directory / f"{name}.log"))
        self.process.wait_for("management shell")

    def tell(self, *lines: str) -> str:
        """Give commands, which must all succeed; give what they printed."""
        done = run([*VSWITCHTERM, self._path], stdin="\n".join(lines))
        assert done.returncode == 0, done.stderr
        return done.stdout

    def plug(self, namespace: str, number: int, *, vlan: int | None = None, port: int) -> None:
        """Plug a host in, with a TAP device in its namespace."""
        address = f"&address=10.1.1.{number}/24" if number else ""
        untagged = [] if vlan is None else [f"port/setvlan {port} {vlan}"]
        self.tell(f"port/attach tap://tap0?netns={namespace}&mtu=1500{address} {port}", *untagged)

    def make_trunk(self, port: int, *vlans: int) -> None:
        """Let a port carry VLANs with their tags, and nothing else."""
        self.tell(f"port/setvlan {port} 4095", *(f"vlan/addport {vlan} {port}" for vlan in vlans))


def can_ping(namespace: str, number: int, *options: str, seconds: int = 1) -> bool:
    """Whether an echo request is answered."""
    command = ["ip", "netns", "exec", namespace, "ping", "-n", "-c1", f"-W{seconds}", *options]
    return run([*command, f"10.1.1.{number}"]).returncode == 0


def who_can_ping(*pairs: tuple[str, int]) -> list[tuple[str, int]]:
    """Give those of the pairs, a namespace and whom it pings, that get an answer; all try at once."""
    with ThreadPoolExecutor(len(pairs)) as pool:
        answered = list(pool.map(lambda pair: can_ping(*pair), pairs))
    return [pair for pair, is_answered in zip(pairs, answered, strict=True) if is_answered]


def wait_for_ping(namespace: str, number: int, *options: str) -> None:
    wait_until(f"{namespace} pings 10.1.1.{number}", lambda: can_ping(namespace, number, *options), 20)


@pytest.fixture
def hosts() -> Iterator[list[str]]:
    """Give four namespaces."""
    require_tun()
    require_program("ping")
    with ExitStack() as stack:
        yield [stack.enter_context(network_namespace()) for _ in range(4)]


def free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_hosts_of_two_vlans_do_not_hear_each_other(hosts: list[str], tmp_path: Path) -> None:
    with ExitStack() as stack:
        switch = Switch(stack, tmp_path, "one", "--listen", f"udp://127.0.0.1:{free_udp_port()}")
        switch.tell("vlan/create 10", "vlan/create 20")
        for port, (host, vlan) in enumerate(zip(hosts, (10, 10, 20), strict=False), 1):
            switch.plug(host, port, vlan=vlan, port=port)

        wait_for_ping(hosts[0], 2)
        wait_for_ping(hosts[1], 1, *FULL)
        assert who_can_ping((hosts[0], 3), (hosts[2], 1), (hosts[2], 2)) == []

        switch.tell("port/setvlan 3 10")
        wait_for_ping(hosts[2], 1)


def test_trunk_between_two_switches_carries_both_vlans(hosts: list[str], tmp_path: Path) -> None:
    udp_port = free_udp_port()
    with ExitStack() as stack:
        two = Switch(stack, tmp_path, "two", "--listen", f"udp://127.0.0.1:{udp_port}")
        one = Switch(stack, tmp_path, "one", "--listen", f"udp://127.0.0.1:{free_udp_port()}")
        for switch, (first, second) in ((one, (0, 1)), (two, (2, 3))):
            switch.tell("vlan/create 10", "vlan/create 20")
            switch.plug(hosts[first], first + 1, vlan=10, port=1)
            switch.plug(hosts[second], second + 1, vlan=20, port=2)
        one.tell(f"port/attach udp://127.0.0.1:{udp_port} 3")
        one.make_trunk(3, 10, 20)
        wait_until("the trunk at the other switch", lambda: "Port 0003" in two.tell("port/print"))
        two.make_trunk(3, 10, 20)

        for options in ((), FULL):
            wait_for_ping(hosts[0], 3, *options)
            wait_for_ping(hosts[1], 4, *options)
        assert who_can_ping((hosts[0], 4), (hosts[1], 3)) == []
        assert "VLAN 0010" in two.tell("hash/print")


def test_open_vswitch_at_a_tagged_port_talks_to_untagged_ones(hosts: list[str], tmp_path: Path) -> None:
    require_program("tcpdump")
    a, b, p, q = hosts
    with ExitStack() as stack:
        middle = stack.enter_context(network_namespace())
        for number, (host, device) in enumerate(((p, "p0"), (q, "q0")), 3):
            run_checked(
                "ip", "-n", middle, "link", "add", device, "type", "veth", "peer", "e0", "netns", host
            )
            run_checked("ip", "-n", middle, "link", "set", device, "up")
            inside(host, "ip", "address", "add", f"10.1.1.{number}/24", "dev", "e0")
            inside(host, "ip", "link", "set", "e0", "up")
        ovs = stack.enter_context(open_vswitch(middle, tmp_path / "ovs"))
        switch = Switch(stack, tmp_path, "one", "--listen", f"udp://127.0.0.1:{free_udp_port()}")
        switch.tell("vlan/create 10", "vlan/create 20")
        switch.plug(a, 1, vlan=10, port=1)
        switch.plug(b, 2, vlan=20, port=2)
        switch.plug(middle, 0, port=3)
        switch.make_trunk(3, 10, 20)
        dump = ["tcpdump", "-i", "tap0", "-n", "-e", "-l", "--immediate-mode", "icmp or (vlan and icmp)"]
        seen = stack.enter_context(Process(["ip", "netns", "exec", middle, *dump], tmp_path / "tcpdump.log"))
        seen.wait_for("listening on")
        ovs.add_port("tap0", "trunks=10,20")
        ovs.add_port("p0", "tag=10")
        ovs.add_port("q0", "tag=20")

        for options in ((), FULL):
            wait_for_ping(a, 3, *options)
            wait_for_ping(q, 2, *options)
        assert who_can_ping((a, 4), (p, 2)) == []
        wait_until("the tags", lambda: "vlan 10," in seen.output and "vlan 20," in seen.output)
        assert "length 1518" in seen.output
