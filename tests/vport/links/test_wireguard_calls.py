"""A listener that calls: two switches whose listeners know each other."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from tests.vport.links.test_wireguard import locator, until, write
from vport.links.wireguard import open_wireguard_listener
from vport.wireguard.config import HostPort, PeerSection
from vport.wireguard.keys import PrivateKey
from vswitch.bridge import Bridge
from vswitch.fabric import Fabric

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from vport.links.datagrams import Resolver
    from vport.links.wireguard import WireguardListener


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@asynccontextmanager
async def listening(
    directory: Path, key: PrivateKey, peer: PeerSection, resolver: Resolver
) -> AsyncIterator[WireguardListener]:
    name = f"{peer.name}.conf"
    file = write(directory / name, f"[Interface]\nPrivateKey = {key.encode()}\nListenPort = 0\n")
    listener = await open_wireguard_listener(locator(f"wg://{file}"), (peer,), resolver=resolver)
    fabric = Fabric(Bridge(), trio.current_time, lambda events: None)
    with listener:
        listener.keep_ports(fabric)
        async with trio.open_nursery() as nursery:
            await nursery.start(listener.serve, fabric.attach)
            yield listener
            nursery.cancel_scope.cancel()


def is_here(listener: WireguardListener, name: str) -> bool:
    member = listener.roll.find(name)
    return member is not None and member.link.attachment is not None


async def test_peer_with_an_endpoint_is_called_and_both_find_each_other_there(tmp_path: Path) -> None:
    one, other = PrivateKey.generate(os.urandom), PrivateKey.generate(os.urandom)
    asked: list[tuple[str, int]] = []

    async def resolver(host: str, port: int) -> list[tuple[int, tuple[object, ...]]]:
        await trio.lowlevel.checkpoint()
        asked.append((host, port))
        return [(2, ("127.0.0.1", port))]

    called = PeerSection(public_key=one.public, name="one")
    async with listening(tmp_path, other, called, resolver) as there:
        place = HostPort(host="other.example.net", port=there.udp_port)
        calls = PeerSection(public_key=other.public, name="other", endpoint=place)
        async with listening(tmp_path, one, calls, resolver) as here:
            await until(lambda: is_here(here, "other") and is_here(there, "one"))
    assert asked == [("other.example.net", there.udp_port)]


async def test_host_without_an_address_is_complained_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def resolver(host: str, port: int) -> list[tuple[int, tuple[object, ...]]]:
        await trio.lowlevel.checkpoint()
        raise OSError(0, "unknown")

    key = PrivateKey.generate(os.urandom)
    peer = PeerSection(
        public_key=PrivateKey.generate(os.urandom).public,
        name="x",
        endpoint=HostPort(host="nowhere.invalid", port=1),
    )
    async with listening(tmp_path, key, peer, resolver):
        await until(lambda: "cannot find the address of nowhere.invalid" in caplog.text)
