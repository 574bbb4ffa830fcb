"""Links and listeners opened while the switch runs, with real links."""

from __future__ import annotations

import os
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from vport.errors import LinkError, RefusedError, SettingsError
from vport.locator import UdpLocator, parse
from vport.wireguard.config import PeerSection
from vport.wireguard.keys import PrivateKey
from vswitch.config import SwitchSettings
from vswitch.service import SwitchService

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

HOST = parse("host://10.1.1.1/24")
FRAME = b"\xff" * 6 + bytes.fromhex("02000000000a88b5") + bytes(46)


@asynccontextmanager
async def running() -> AsyncIterator[SwitchService]:
    service = SwitchService(SwitchSettings(port_limit=4))
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            await nursery.start(service.run)
            yield service
            service.stop()


def free_udp_port() -> UdpLocator:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return UdpLocator(host="127.0.0.1", port=probe.getsockname()[1])


async def test_attached_link_is_closed_when_it_is_ejected() -> None:
    async with running() as service:
        endpoint = await service.plugboard.attach(HOST, 3)
        assert endpoint.port.number == 3
        other = await service.plugboard.attach(HOST)
        assert other.port.number == 1

        service.plugboard.eject(endpoint, "test")

        assert [port.number for port in service.bridge.active_ports] == [1]
        await trio.testing.wait_all_tasks_blocked()


async def test_what_cannot_be_attached_leaves_nothing_behind() -> None:
    async with running() as service:
        with pytest.raises(SettingsError):
            await service.plugboard.listen(HOST)
        with pytest.raises(RefusedError, match="no port 5"):
            await service.plugboard.attach(HOST, 5)
        with pytest.raises(LinkError):
            await service.plugboard.attach(parse("tap://lo"))
        assert not service.bridge.active_ports
        assert not service.plugboard.listeners


async def test_listener_is_closed_with_its_links_and_the_address_is_free_again() -> None:
    locator = free_udp_port()
    async with running() as service:
        for _ in range(2):
            listener = await service.plugboard.listen(locator)
            with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
                await peer.sendto(FRAME, (locator.host, locator.port))
                while not service.bridge.active_ports:
                    await trio.lowlevel.checkpoint()
                assert [(one.number, one.links) for one in service.plugboard.listeners] == [
                    (listener.number, 1)
                ]
                with pytest.raises(LinkError, match="in use"):
                    await service.plugboard.listen(locator)

                assert await service.plugboard.close_listener(listener.number)

            assert not service.bridge.active_ports
            assert not service.plugboard.listeners
        assert not await service.plugboard.close_listener(99)


async def test_links_attached_at_run_time_end_with_the_switch() -> None:
    async with running() as service:
        endpoint = await service.plugboard.attach(HOST)
    assert not endpoint.port.endpoints


async def test_what_was_opened_at_run_time_is_in_the_captured_settings() -> None:
    locator = free_udp_port()
    async with running() as service:
        endpoint = await service.plugboard.attach(HOST, 3)
        listener = await service.plugboard.listen(locator)
        captured = service.running_settings()
        assert captured.listen == (locator,)
        assert [(port.number, port.attach) for port in captured.ports] == [(3, (HOST,))]

        service.plugboard.eject(endpoint, "test")
        await service.plugboard.close_listener(listener.number)
        while service.plugboard.attached:
            await trio.lowlevel.checkpoint()
        assert service.running_settings().listen == ()
        assert service.running_settings().ports == ()


async def test_listener_that_cannot_have_a_port_gives_the_others_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    place = parse(f"wg://127.0.0.1:{free_udp_port().port}?lan=10.1.1.1/24")
    peers = tuple(
        PeerSection(public_key=PrivateKey.generate(os.urandom).public, name=f"peer {port}", port=port)
        for port in (2, 3)
    )
    async with running() as service:
        endpoint = await service.plugboard.attach(HOST, 3)
        with pytest.raises(RefusedError, match="port 3 is another's"):
            await service.plugboard.listen(place, peers)
        port = service.bridge.ports.get(2)
        assert port is not None
        assert port.keeper is None

        service.plugboard.eject(endpoint, "test")
        await service.plugboard.listen(place, peers)
        assert port.keeper is not None
