"""``tun://``: the kernel's IP stack on a LAN whose Ethernet we do for it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.system.namespaces import inside, network_namespace, ping, run, until_ping
from tests.system.processes import VPORT, Process
from tests.system.requirements import require_program, require_root, require_tun
from vport.errors import LinkError
from vport.links import open_link

if TYPE_CHECKING:
    from pathlib import Path


async def test_kernel_pings_and_speaks_tcp_through_a_tun_device(tmp_path: Path) -> None:
    require_tun()
    require_program("iperf3")
    with network_namespace() as one, network_namespace() as two:
        command = [
            *VPORT,
            f"tun://tun0?address=10.7.0.1/24&address=fd07::1/64&netns={one}",
            f"tap://tap0?address=10.7.0.2/24&address=fd07::2/64&netns={two}",
        ]
        with Process(command, tmp_path / "vport") as vport:
            vport.wait_for("tap0 (mtu 1500) is open")
            await until_ping(one, "10.7.0.2")
            assert await ping(two, "10.7.0.1", "-s", "1472")
            await until_ping(one, "fd07::2")
            await until_ping(two, "fd07::1")
            neighbours = run("ip", "-n", two, "neigh")
            assert "10.7.0.1 dev tap0 lladdr 02:" in neighbours
            link_local = run("ip", "-n", one, "-6", "addr", "show", "dev", "tun0", "scope", "link")
            address = link_local.split("inet6 ")[1].split("/")[0]
            await until_ping(two, f"{address}%tap0")
            assert not await ping(one, "10.7.0.77")

            with Process(
                ["ip", "netns", "exec", two, "iperf3", "-s", "--forceflush"], tmp_path / "iperf3"
            ) as server:
                server.wait_for("listening")
                for options in ((), ("-R",)):
                    report = json.loads(inside(one, "iperf3", "-c", "10.7.0.2", "-t", "1", "-J", *options))
                    rate = report["end"]["sum_received"]["bits_per_second"]
                    print(f"TCP through tun:// {options} {rate / 1e9:.2f} Gbit/s")  # noqa: T201 - pytest -rP
                    assert rate > 50e6


async def test_packets_for_elsewhere_take_the_gateway(tmp_path: Path) -> None:
    require_tun()
    with network_namespace() as one, network_namespace() as two:
        run("ip", "-n", two, "addr", "add", "10.8.8.8/32", "dev", "lo")
        command = [
            *VPORT,
            f"tun://tun0?address=10.7.0.1/24&gateway=10.7.0.2&netns={one}",
            f"tap://tap0?address=10.7.0.2/24&netns={two}",
        ]
        with Process(command, tmp_path / "vport") as vport:
            vport.wait_for("tap0 (mtu 1500) is open")
            run("ip", "-n", one, "route", "add", "default", "dev", "tun0")
            await until_ping(one, "10.8.8.8")


async def test_device_of_another_kind_is_refused() -> None:
    require_root()
    with network_namespace() as space, pytest.raises(LinkError, match="lo"):
        await open_link(f"tun://lo?address=10.7.0.1/24&netns={space}")
