from __future__ import annotations

import socket
from ipaddress import ip_address
from pathlib import Path

import pytest
import trio

from vport.errors import LinkError, SettingsError
from vport.ethernet import BROADCAST, Vid
from vport.links.host import HostLink
from vport.locator import UdpLocator, parse
from vswitch.config import ManagementSettings, SwitchSettings
from vswitch.service import SwitchService

HOSTS = (parse("host://10.1.1.1/24?address=fd01::1/64"), parse("host://10.1.1.2/24?address=fd01::2/64"))


def host(service: SwitchService, port: int) -> HostLink:
    """Give the simulated host on a port."""
    found = service.bridge.ports.get(port)
    assert found is not None
    link = found.endpoints[0].link
    assert isinstance(link, HostLink)
    return link


async def test_simulated_hosts_ping_each_other_through_the_switch(nursery: trio.Nursery) -> None:
    service = SwitchService(SwitchSettings(attach=HOSTS))
    await nursery.start(service.run)

    with trio.fail_after(5):
        for address in ("10.1.1.2", "fd01::2"):
            assert 0 < await host(service, 1).ping(ip_address(address), 2.0) < 2
    service.stop()


async def test_silent_station_is_collected_by_the_ageing_task(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    service = SwitchService(SwitchSettings(attach=HOSTS))
    await nursery.start(service.run)
    await trio.sleep(1)
    assert len(service.bridge.fdb) == 2

    await trio.sleep(100)
    assert len(service.bridge.fdb) == 2
    await trio.sleep(4)
    assert len(service.bridge.fdb) == 0
    service.stop()


async def test_changed_collection_interval_takes_effect(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    service = SwitchService(SwitchSettings(attach=HOSTS))
    await nursery.start(service.run)
    await trio.sleep(1)

    service.bridge.fdb.change(collect_interval=0)
    await trio.sleep(500)
    assert len(service.bridge.fdb) == 2
    service.bridge.fdb.change(collect_interval=10)
    await trio.sleep(12)
    assert len(service.bridge.fdb) == 0
    service.stop()


async def test_udp_peer_joins_the_lan(nursery: trio.Nursery) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        udp_port = probe.getsockname()[1]
    locator = UdpLocator(host="127.0.0.1", port=udp_port)
    service = SwitchService(SwitchSettings(listen=(locator,), attach=HOSTS[:1]))
    await nursery.start(service.run)
    peer = trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with peer, trio.fail_after(5):
        await peer.connect(("127.0.0.1", udp_port))
        request = BROADCAST + bytes.fromhex("020000000009 0806 0001 0800 06 04 0001 020000000009 0a010109")
        await peer.send(request + bytes(6) + bytes.fromhex("0a010101"))

        reply = await peer.recv(2000)

    assert reply[:6] == bytes.fromhex("020000000009")
    assert reply[12:14] == b"\x08\x06"
    service.stop()


async def test_what_was_opened_is_closed_when_something_else_cannot_be(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        locator = UdpLocator(host="127.0.0.1", port=taken.getsockname()[1])
        management = ManagementSettings(path=str(tmp_path / "mgmt"))
        service = SwitchService(SwitchSettings(listen=(locator,), management=management))
        with pytest.RaisesGroup(LinkError, flatten_subgroups=True):
            await service.run()
    assert not (tmp_path / "mgmt").exists()


async def test_management_path_too_long_is_a_settings_error(tmp_path: Path) -> None:
    management = ManagementSettings(path=str(tmp_path / ("x" * 107)))
    with pytest.RaisesGroup(SettingsError, flatten_subgroups=True):
        await SwitchService(SwitchSettings(management=management)).run()


async def test_management_shell_sees_the_ports_and_shutdown_ends_the_switch(tmp_path: Path) -> None:
    path = str(tmp_path / "mgmt")
    service = SwitchService(SwitchSettings(attach=HOSTS, management=ManagementSettings(path=path)))
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            await nursery.start(service.run)
            stream = await trio.open_unix_socket(path)
            await stream.send_all(b"port/print\nshutdown\n")
            said = b"".join([chunk async for chunk in stream])
            await stream.aclose()

    assert b"module host" in said
    assert said.endswith(b"9999 END OF SESSION")
    assert not Path(path).exists()


async def test_link_that_fails_leaves_its_port_and_the_rest_goes_on(nursery: trio.Nursery) -> None:
    service = SwitchService(SwitchSettings(attach=HOSTS))
    await nursery.start(service.run)

    host(service, 2).close()
    with trio.fail_after(5):
        port = service.bridge.ports.get(2)
        assert port is not None
        while port.endpoints:
            await trio.lowlevel.checkpoint()

    assert len(service.bridge.active_ports) == 1
    service.stop()


async def test_spanning_tree_of_the_settings_runs_and_is_captured(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    settings = SwitchSettings(is_fstp=True, priority=4096, attach=HOSTS)
    service = SwitchService(settings)
    await nursery.start(service.run)
    await trio.sleep(9)

    vlan = service.bridge.vlans[Vid(0)]
    tree = service.control_plane.topology.tree(vlan, trio.current_time())
    port = tree.port_view(1)
    assert port is not None
    assert port.transmitted >= 4  # every two seconds, as the task that keeps the time sees to it
    assert tree.settings.priority == 4096
    assert await host(service, 1).ping(ip_address("10.1.1.2"), 2.0) < 2
    running = service.running_settings()
    assert (running.is_fstp, running.priority) == (True, 4096)
    service.stop()


async def test_hub_starts_without_the_spanning_tree_that_was_asked_for(nursery: trio.Nursery) -> None:
    service = SwitchService(SwitchSettings(is_fstp=True, is_hub=True, attach=HOSTS))
    await nursery.start(service.run)
    assert not service.control_plane.topology.is_enabled
    assert service.running_settings().is_fstp
    service.stop()
