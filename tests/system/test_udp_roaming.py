"""A port that changes its address: its traffic resumes from the new one by itself."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from tests.vport.links.udp_parts import Recorder, Switch, frame
from vport.links.udp import UdpPeer, open_udp_client, open_udp_listener
from vport.locator import UdpLocator
from vport.train import lone

if TYPE_CHECKING:
    from collections.abc import Iterator

CLONE_NEWNET = 0x40000000  # linux/sched.h

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
    pytest.mark.skipif(shutil.which("ip") is None, reason="needs iproute2"),
]


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@contextmanager
def namespace(name: str) -> Iterator[str]:
    ip("netns", "add", name)
    try:
        yield name
    finally:
        ip("netns", "delete", name)


@contextmanager
def inside(name: str) -> Iterator[None]:
    """Have this thread open sockets in another network namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/proc/thread-self/ns/net").open("rb") as here, Path(f"/run/netns/{name}").open("rb") as there:
        assert libc.setns(there.fileno(), CLONE_NEWNET) == 0
        try:
            yield
        finally:
            assert libc.setns(here.fileno(), CLONE_NEWNET) == 0


@pytest.fixture
def network() -> Iterator[tuple[str, str]]:
    """Two namespaces joined by a veth pair: that of the switch, 198.18.0.1, and that of the port."""
    switch, port = f"udpw-s{os.getpid()}", f"udpw-p{os.getpid()}"
    with ExitStack() as stack:
        stack.enter_context(namespace(switch))
        stack.enter_context(namespace(port))
        ip("-n", switch, "link", "add", "s0", "type", "veth", "peer", "name", "p0", "netns", port)
        for name, device, address in ((switch, "s0", "198.18.0.1/24"), (port, "p0", "198.18.0.2/24")):
            ip("-n", name, "address", "add", address, "dev", device)
            ip("-n", name, "link", "set", device, "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield switch, port


@pytest.mark.parametrize("is_replaced", [True, False], ids=["address-replaced", "network-gone-for-a-while"])
async def test_port_with_a_new_address_is_found_within_seconds(
    network: tuple[str, str], is_replaced: bool
) -> None:
    there, here = network
    switch, sink = Switch(), Recorder()
    with inside(there):
        listener = await open_udp_listener(UdpLocator(host="", port=9999))
    with trio.fail_after(20), listener, inside(here):
        async with trio.open_nursery() as nursery:
            await nursery.start(listener.serve, switch.accept)
            client = await open_udp_client(UdpLocator(host="198.18.0.1", port=9999))
            await nursery.start(client.run, sink)
            await switch.until_links(1)
            assert isinstance(switch.links[0], UdpPeer)
            assert switch.links[0].address[0] == "::ffff:198.18.0.2"

            ip("-n", here, "address", "delete", "198.18.0.2/24", "dev", "p0")
            if not is_replaced:
                await trio.sleep(3)  # long enough that the port notices
            ip("-n", here, "address", "add", "198.18.0.3/24", "dev", "p0")

            with trio.fail_after(6):
                await switch.until_links(2)
            assert isinstance(switch.links[1], UdpPeer)
            assert switch.links[1].address[0] == "::ffff:198.18.0.3"
            switch.links[1].transmit(lone(frame(1)))
            switch.links[1].flush()
            assert await sink.until_frames(1) == [frame(1)]
            nursery.cancel_scope.cancel()
