"""The MTU of a LAN over WireGuard: set from the network below, and frames that do not fit it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from tests.system.test_wireguard_peers import LAN4, LAN6, lan, tcp, until_ping
from tests.system.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.system.hosts import Namespace


def mtu_of(host: Namespace, device: str) -> int:
    shown = host.run(["ip", "-j", "link", "show", device]).stdout
    return int(json.loads(shown)[0]["mtu"])


@pytest.mark.parametrize(("below", "wanted"), [(1500, 1400), (1492, 1400), (1440, 1360), (1300, 1280)])
def test_device_gets_the_mtu_that_fits_the_network_below(tmp_path: Path, below: int, wanted: int) -> None:
    with lan(tmp_path, "A") as net:
        net.underlay["A"].ip(f"link set u0 mtu {below}")
        net.join("A", 11)
        assert mtu_of(net.underlay["A"], "tap11") == wanted


def test_too_long_packets_are_answered_and_tcp_adapts(tmp_path: Path) -> None:
    with lan(tmp_path, "A", "B") as net:
        net.join("A", 11)
        net.join("B", 12)
        one, other = net.underlay["A"], net.underlay["B"]
        until_ping(one, LAN4.format(12))
        for host, device in ((one, "tap11"), (other, "tap12")):
            host.ip(f"link set {device} mtu 1500")

        told = one.run(["ping", "-c", "3", "-i", "0.2", "-W", "1", "-M", "do", "-s", "1472", LAN4.format(12)])
        assert "1424" in told.stdout + told.stderr  # 1500 less 20, 8, 32, 2 and 14
        until_ping(one, LAN6.format(12))
        told = one.run(["ping", "-c", "3", "-i", "0.2", "-W", "1", "-M", "do", "-s", "1452", LAN6.format(12)])
        assert "1424" in told.stdout + told.stderr
        assert (
            one.run(["ping", "-c", "1", "-W", "2", "-M", "dont", "-s", "1472", LAN4.format(12)]).returncode
            == 0
        )
        assert tcp(one, other, LAN4.format(12)) > 5


def test_path_that_becomes_narrower_is_noticed(tmp_path: Path) -> None:
    with lan(tmp_path, "A", "B") as net:
        port = net.join("A", 11)
        net.join("B", 12)
        host = net.underlay["A"]
        until_ping(host, LAN4.format(12))
        host.ip("route replace 10.200.0.1 dev u0 mtu 1280")  # as a router's word would have it
        wait_until("the port to notice", lambda: "packets of 1280 bytes fit the path now" in port.output)
        told = host.run(
            ["ping", "-c", "3", "-i", "0.2", "-W", "1", "-M", "do", "-s", "1300", LAN4.format(12)]
        )
        assert re.search(r"mtu ?= ?1204", told.stdout + told.stderr)  # 1280 less 20, 8, 32, 2 and 14
        assert tcp(host, net.underlay["B"], LAN4.format(12)) > 5
