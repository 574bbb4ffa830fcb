"""``vxlan://`` and the kernel's VXLAN device on one segment."""

from __future__ import annotations

import json
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
import trio

from tests.system.hosts import Underlay
from tests.system.processes import VPORT, Process
from tests.system.requirements import require_program, require_tun
from tests.system.waiting import wait_until
from vport.errors import LinkError
from vport.links import open_link

if TYPE_CHECKING:
    from pathlib import Path


def kernel_device(hosts: Underlay, name: str, options: str, address: str) -> None:
    """Give a host a VXLAN device of the kernel."""
    hosts[name].ip(f"link add vx0 type vxlan id 42 dstport 4789 dev u0 {options}")
    hosts[name].ip(f"addr add {address}/24 dev vx0")
    hosts[name].ip("link set vx0 mtu 1400 up")


def our_end(hosts: Underlay, name: str, options: str, address: str) -> Process:
    """Give a host a TAP device on our end of the segment."""
    return hosts[name].start(
        [*VPORT, f"vxlan://?vni=42&{options}", f"tap://tap0?mtu=1400&address={address}/24"]
    )


def test_kernel_device_and_ours_exchange_traffic_both_ways(tmp_path: Path) -> None:
    require_tun()
    require_program("iperf3")
    with Underlay("K", "O", logs=tmp_path) as hosts:
        kernel_device(hosts, "K", f"remote {hosts['O'].address}", "10.6.0.1")
        with our_end(hosts, "O", f"remote={hosts['K'].address}", "10.6.0.2") as ours:
            ours.wait_for("tap0 (mtu 1400) is open")
            wait_until("a ping from the kernel's end", lambda: hosts["K"].can_ping("10.6.0.2"))
            assert hosts["O"].can_ping("10.6.0.1")
            with hosts["K"].start(["iperf3", "-s", "--forceflush"]) as server:
                server.wait_for("listening")
                for options in ([], ["-R"]):
                    done = hosts["O"].run(["iperf3", "-c", "10.6.0.1", "-t", "1", "-J", *options])
                    rate = json.loads(done.stdout)["end"]["sum_received"]["bits_per_second"]
                    print(f"TCP through vxlan:// {options} {rate / 1e9:.2f} Gbit/s")  # noqa: T201 - pytest -rP
                    assert rate > 50e6


def test_three_ends_find_one_another_and_learn(tmp_path: Path) -> None:
    require_tun()
    with Underlay("K", "O", "P", logs=tmp_path) as hosts, ExitStack() as stack:
        kernel_device(hosts, "K", "", "10.6.0.1")
        for name in ("O", "P"):
            hosts["K"].run(
                ["bridge", "fdb", "append", "00:00:00:00:00:00", "dev", "vx0", "dst", hosts[name].address]
            )
        for number, (name, other) in enumerate((("O", "P"), ("P", "O")), 2):
            remotes = f"remote={hosts['K'].address}&remote={hosts[other].address}"
            process = stack.enter_context(our_end(hosts, name, remotes, f"10.6.0.{number}"))
            process.wait_for("tap0 (mtu 1400) is open")
        for source, target in (("K", 2), ("K", 3), ("O", 1), ("O", 3), ("P", 1), ("P", 2)):
            wait_until(f"{source} to {target}", lambda s=source, t=target: hosts[s].can_ping(f"10.6.0.{t}"))


def test_multicast_group_joins_both(tmp_path: Path) -> None:
    require_tun()
    with Underlay("K", "O", logs=tmp_path) as hosts:
        kernel_device(hosts, "K", "group 239.1.1.1 ttl 2", "10.6.0.1")
        with our_end(hosts, "O", "remote=239.1.1.1&device=u0", "10.6.0.2") as ours:
            ours.wait_for("tap0 (mtu 1400) is open")
            wait_until("a ping", lambda: hosts["K"].can_ping("10.6.0.2"))
            assert hosts["O"].can_ping("10.6.0.1")


def test_segment_over_ipv6(tmp_path: Path) -> None:
    require_tun()
    with Underlay("K", "O", logs=tmp_path) as hosts:
        kernel_device(hosts, "K", f"remote {hosts['O'].address6}", "10.6.0.1")
        with our_end(hosts, "O", f"remote={hosts['K'].address6}", "10.6.0.2") as ours:
            ours.wait_for("tap0 (mtu 1400) is open")
            wait_until("a ping", lambda: hosts["K"].can_ping("10.6.0.2"))


async def test_what_cannot_be_had_is_named() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(LinkError, match=f"UDP port {port}: is in use"):
            await open_link(f"vxlan://127.0.0.1:{port}?vni=1")
    with trio.fail_after(20), pytest.raises(LinkError, match=r"no-such-host\.invalid"):
        await open_link("vxlan://?vni=1&remote=no-such-host.invalid")
