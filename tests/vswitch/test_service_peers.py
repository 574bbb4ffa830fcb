"""WireGuard peers of a running switch: configured, added by command, and what a saved file makes of both."""

from __future__ import annotations

import os
import socket
import stat
from dataclasses import replace
from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest

from tests.vswitch.services import ask, running
from vport.errors import RefusedError, SettingsError
from vport.ethernet import Vid
from vport.locator import WireguardLocator, parse
from vport.wireguard.config import PeerSection
from vport.wireguard.keys import PresharedKey, PrivateKey
from vport.wireguard.settings import Mode
from vswitch.config import PortSettings, SwitchSettings, WireguardSettings
from vswitch.config_file import read_config

if TYPE_CHECKING:
    from pathlib import Path


def new_key() -> str:
    return PrivateKey.generate(os.urandom).public.encode()


LAPTOP = PeerSection(
    public_key=PrivateKey.generate(os.urandom).public,
    preshared_key=PresharedKey.generate(os.urandom),
    name="laptop",
    mode=Mode.ETHERNET,
    port=7,
    vlan=Vid(10),
    tagged_vlans=(Vid(20),),
    max_macs=2,
)
PHONE = PeerSection(
    public_key=PrivateKey.generate(os.urandom).public,
    name="phone",
    mode=Mode.IP,
    allowed_ips=(ip_network("10.1.1.8"),),
)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def place() -> WireguardLocator:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        found = parse(f"wg://127.0.0.1:{probe.getsockname()[1]}?lan=10.1.1.1/24&public=vs.example.net:51820")
    assert isinstance(found, WireguardLocator)
    return found


async def test_switch_started_from_a_saved_file_has_the_same_peers(
    place: WireguardLocator, tmp_path: Path
) -> None:
    saved, again = tmp_path / "saved.toml", tmp_path / "again.toml"
    settings = SwitchSettings(wireguard=(WireguardSettings(listen=place, peers=(LAPTOP, PHONE)),))
    async with running(settings) as service:
        await ask(service, f"peer/add desk {new_key()} vlan=10 macs=1")
        await ask(service, "peer/invite tablet ip")
        await ask(service, "peer/invite visitor")
        await ask(service, "port/descr 7 the laptop's")
        await ask(service, f"config/save {saved}")
        before = service.running_settings()
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600
    read = read_config(saved.read_text(), str(saved))
    assert read == before
    assert read.ports == (PortSettings(number=7, description="the laptop's"),)
    assert read.stations == ()
    (listener,) = read.wireguard
    assert [peer.name for peer in listener.peers] == ["laptop", "phone", "desk", "tablet"]
    assert listener.peers[0] == LAPTOP

    async with running(read) as service:
        await ask(service, f"config/save {again}")
        shown = list((await ask(service, "peer/print")).lines or ())
        assert "  invitation: not used yet" in shown  # invitations live on where commands keep them
        port = service.bridge.ports.get(7)
        assert port is not None
        assert (port.pvid, port.tagged, port.description) == (10, {20}, "the laptop's")
        assert port.mac_limit is not None
        assert port.mac_limit.settings.limit == 2
    assert again.read_text() == saved.read_text()


async def test_vlan_of_a_peers_port_that_was_changed_by_command_is_saved(place: WireguardLocator) -> None:
    settings = SwitchSettings(wireguard=(WireguardSettings(listen=place, peers=(LAPTOP, PHONE)),))
    async with running(settings) as service:
        await ask(service, "vlan/create 30")
        await ask(service, "port/setvlan 7 30")
        (listener,) = service.running_settings().wireguard
        assert listener.peers[0] == replace(LAPTOP, vlan=Vid(30))


async def test_peer_that_is_removed_is_not_saved_and_the_operator_is_told(place: WireguardLocator) -> None:
    settings = SwitchSettings(wireguard=(WireguardSettings(listen=place, peers=(LAPTOP,)),))
    async with running(settings) as service:
        reply = await ask(service, "peer/remove laptop")
        assert "config/save" in reply.detail
        assert service.running_settings().wireguard == ()
        assert service.running_settings().listen == (place,)
        await ask(service, f"peer/add laptop {new_key()}")
        assert not (await ask(service, "peer/remove laptop")).detail


async def test_secrets_are_not_shown_with_the_configuration(place: WireguardLocator) -> None:
    settings = SwitchSettings(wireguard=(WireguardSettings(listen=place, peers=(LAPTOP,)),))
    async with running(settings) as service:
        shown = "\n".join((await ask(service, "config/show")).lines or ())
    assert LAPTOP.preshared_key is not None
    assert LAPTOP.preshared_key.encode() not in shown
    assert 'preshared-key = "(hidden)"' in shown


async def test_stored_peer_whose_place_the_configuration_gives_away_is_named(
    place: WireguardLocator,
) -> None:
    async with running(SwitchSettings(listen=(place,))) as service:
        await ask(service, f"peer/add desk {new_key()} ip address=10.1.1.8 port=7")
    for peers, kind, complaint in (
        ((PHONE,), SettingsError, r"wireguard-\d+\.peers: peer desk: AllowedIPs 10.1.1.8/32 belongs"),
        ((LAPTOP,), RefusedError, r"peer desk: port 7 is another's"),
    ):
        settings = SwitchSettings(wireguard=(WireguardSettings(listen=place, peers=peers),))
        with pytest.RaisesGroup(pytest.RaisesExc(kind, match=complaint), flatten_subgroups=True):
            async with running(settings):
                pass
