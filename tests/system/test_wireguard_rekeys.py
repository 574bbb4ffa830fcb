"""Keys are renewed and die under load, with a stock client at the other end."""

from __future__ import annotations

import json
import os
from functools import partial
from ipaddress import ip_interface, ip_network
from typing import TYPE_CHECKING

import pytest
import trio

from tests.system.hosts import Namespace, Underlay
from tests.system.requirements import require_program, require_tun
from tests.system.wireguard_hosts import StockClient
from vport.links.binding import bind_to_all
from vport.links.tap import open_tap
from vport.links.wireguard_listener import WireguardListener
from vport.links.wireguard_settings import ListenerSettings
from vport.links.wireguard_socket import BootClock
from vport.locator import TapLocator
from vport.netdev import in_namespace
from vport.wireguard.config import Config, PeerSection
from vport.wireguard.keys import PrivateKey
from vport.wireguard.settings import Mode
from vswitch.bridge import Bridge
from vswitch.fabric import Fabric

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RATE = 40.0  # keys are renewed after 3 s and dead after 4.5 s
SECONDS = 11
CLIENT = """[Interface]
PrivateKey = {key}
[Peer]
PublicKey = {switch}
AllowedIPs = 10.1.1.0/24
Endpoint = 10.200.0.1:51820
"""


@pytest.fixture
def underlay(tmp_path: Path) -> Iterator[Underlay]:
    require_tun()
    require_program("iperf3")
    with Underlay("S", "A", "B", logs=tmp_path) as hosts:
        yield hosts


async def _watch(listener: WireguardListener, seen: set[float]) -> None:
    """Note the times of all handshakes."""
    (member,) = listener.roll
    while True:
        if member.peer.last_handshake_at is not None:
            seen.add(member.peer.last_handshake_at)
        await trio.sleep(0.05)


async def _iperf(server: Namespace, client: Namespace) -> list[float]:
    """Send for a while; give the Mbit/s of each second, as the sender counts them."""
    with server.start(["iperf3", "-s", "-1", "--forceflush"]) as listening:
        await trio.to_thread.run_sync(partial(listening.wait_for, "listening"))
        command = client.inside(["iperf3", "-c", "10.1.1.11", "-t", str(SECONDS), "-J"])
        done = await trio.run_process(command, capture_stdout=True, check=False)
    result = json.loads(done.stdout)
    assert "error" not in result, result["error"]
    return [one["sum"]["bits_per_second"] / 1e6 for one in result["intervals"]]


async def test_keys_are_renewed_and_die_under_load(
    underlay: Underlay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    ours, theirs = PrivateKey.generate(os.urandom), PrivateKey.generate(os.urandom)
    section = PeerSection(
        public_key=theirs.public, mode=Mode.IP, allowed_ips=(ip_network("10.1.1.2"),), name="phone"
    )
    settings = ListenerSettings(
        config=Config(private_key=ours, addresses=(ip_interface("10.1.1.254/24"),), peers=(section,)),
        host="",
        store=tmp_path / "peers",
        public=None,
        underlay_mtu=None,
    )
    sock = await in_namespace(underlay["S"].name, lambda kernel: bind_to_all("test", 51820))
    fabric = Fabric(Bridge(), trio.current_time, lambda events: None)
    place = TapLocator(
        name="tap0", netns=underlay["A"].name, address=(ip_interface("10.1.1.11/24"),), mtu=1400
    )
    seen: set[float] = set()
    with trio.fail_after(60), WireguardListener(sock, settings, BootClock(RATE)) as listener:
        listener.keep_ports(fabric)
        with await open_tap(place) as tap, StockClient(underlay["B"], tmp_path) as client:
            client.configure(
                CLIENT.format(key=theirs.encode(), switch=ours.public.encode()),
                ["10.1.1.2/32"],
                ["10.1.1.0/24"],
            )
            async with trio.open_nursery() as nursery:
                await nursery.start(listener.serve, fabric.attach)
                nursery.start_soon(tap.run, fabric.attach(tap))
                nursery.start_soon(_watch, listener, seen)
                rates = await _iperf(underlay["A"], underlay["B"])
                nursery.cancel_scope.cancel()

    # The client's session at first; ours when that is dead to us; then one every 3 s, which we start.
    assert len(seen) >= 3
    assert min(rates) > 0
