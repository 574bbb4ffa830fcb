"""A running switch that is told to be another one."""

from __future__ import annotations

import logging
import os
import socket
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.vport.links.places import until
from tests.vswitch.services import ask, running
from vport.errors import SettingsError
from vport.ethernet import Vid
from vport.links.wireguard_listener import WireguardListener
from vport.links.wireguard_member import Origin
from vport.links.wireguard_settings import load_peers
from vport.locator import Locator, WireguardLocator, parse
from vport.shell.command import Session, execute
from vport.wireguard.config import PeerSection
from vport.wireguard.keys import PrivateKey
from vport.wireguard.settings import Mode
from vswitch.config import ManagementSettings, PortSettings, SwitchSettings, WireguardSettings
from vswitch.config_file import read_config
from vswitch.program import ProgramSettings, reload

if TYPE_CHECKING:
    from pathlib import Path

    from vswitch.service import SwitchService

HOST, OTHER = parse("host://10.1.1.1/24"), parse("host://10.1.1.2/24")


def free_place(scheme: str, options: str = "") -> Locator:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return parse(f"{scheme}://127.0.0.1:{probe.getsockname()[1]}{options}")


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def peer(name: str, **values: object) -> PeerSection:
    key = PrivateKey.generate(os.urandom).public
    return PeerSection(public_key=key, name=name, mode=Mode.ETHERNET, **values)  # type: ignore[arg-type]


async def test_what_commands_changed_is_taken_back_and_what_was_not_touched_stays() -> None:
    place = free_place("udp")
    settings = SwitchSettings(
        listen=(place,),
        attach=(HOST,),
        vlans=(Vid(10),),
        ports=(PortSettings(number=3, pvid=Vid(10), attach=(OTHER,)),),
    )
    async with running(settings) as service:
        before = service.running_settings()
        links = set(service.plugboard.attached)
        for line in (
            "vlan/create 20", "port/setvlan 3 20", "port/sethub 1", "guard/bpdu 3 1", "port/impair 3 loss 1",
            "fstp/setprio 7", "port/setnumports 50", "hash/add 02:00:00:00:00:09 3 20", "plugin/add iplog",
            "port/attach host://10.1.1.9/24", "listen/add " + str(free_place("udp")),
        ):  # fmt: skip
            await ask(service, line)

        await service.reload(settings)

        assert service.running_settings() == before
        assert set(service.plugboard.attached) == links
        assert service.plugboard.find_listener(place) == 1


async def test_what_fails_is_logged_and_the_rest_is_done(caplog: pytest.LogCaptureFixture) -> None:
    taken = free_place("udp")
    async with running(SwitchSettings(attach=(HOST, OTHER))) as service:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other, caplog.at_level(logging.INFO):
            other.bind(("127.0.0.1", taken.port))  # type: ignore[attr-defined]
            wanted = SwitchSettings(
                listen=(taken,),
                attach=(HOST, OTHER),
                port_limit=1,
                vlans=(Vid(10),),
                plugins=("nonesuch",),
                management=ManagementSettings(path="/tmp/elsewhere"),
            )
            await service.reload(wanted)
        assert service.running_settings().vlans == (10,)
        errors = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
        assert errors[0] == "management stays as it is: to change it, restart the switch"
        assert errors[1] == "1 ports: port 2 exists, so there cannot be only 1"
        assert errors[2].startswith("plugin nonesuch: there is no plugin 'nonesuch'")
        assert errors[3].startswith(f"listening on {taken}: ")
        assert caplog.records[-1].getMessage() == "1 of 4 changes are made"

        await service.reload(wanted)  # the socket is free now
        assert service.running_settings().listen == (taken,)


async def test_peers_are_those_of_the_configuration_and_those_that_commands_added() -> None:
    place = free_place("wg", "?lan=10.1.1.1/24")
    assert isinstance(place, WireguardLocator)
    laptop, desk = peer("laptop", port=7, vlan=Vid(10)), peer("desk", port=8)
    one = SwitchSettings(wireguard=(WireguardSettings(listen=place, peers=(laptop,)),))
    both = SwitchSettings(wireguard=(WireguardSettings(listen=place, peers=(laptop, desk)),))

    def names(service: SwitchService) -> list[str]:
        return [found.name for one in service.running_settings().wireguard for found in one.peers]

    async with running(one) as service:
        key = PrivateKey.generate(os.urandom).public.encode()
        await ask(service, f"peer/add guest {key} vlan=30")
        await service.reload(one)
        assert service.plugboard.find_listener(place) == 1  # nothing has changed: it was left alone
        assert names(service) == ["laptop", "guest"]
        assert service.running_settings().vlans == (10, 30)

        (listener,) = service.plugboard.open_listeners
        assert isinstance(listener, WireguardListener)
        known = {found.name: found.peer for found in listener.roll}
        await service.reload(both)
        assert names(service) == ["laptop", "guest", "desk"]
        assert (
            known.items() <= {found.name: found.peer for found in listener.roll}.items()
        )  # their sessions live
        assert service.plugboard.open_listeners == [listener]
        await ask(service, "peer/remove desk")
        await service.reload(both)
        assert names(service) == ["laptop", "guest", "desk"]

        await service.reload(replace(both, wireguard=(), listen=(place,)))
        assert names(service) == ["guest"]
        assert service.running_settings().vlans == (30,)
        port = service.bridge.ports.get(7)
        assert port is not None
        assert (port.keeper, port.pvid, port.allocatable) == (None, 0, True)


async def test_peer_that_was_saved_since_it_was_added_leaves_the_store_and_keeps_its_session(
    tmp_path: Path,
) -> None:
    place = free_place("wg", "?lan=10.1.1.1/24")
    saved = tmp_path / "saved.toml"
    async with running(SwitchSettings(listen=(place,))) as service:
        key = PrivateKey.generate(os.urandom).public.encode()
        await ask(service, f"peer/add guest {key} vlan=30")
        (listener,) = service.plugboard.open_listeners
        assert isinstance(listener, WireguardListener)
        (guest,) = listener.roll
        assert stored(listener) == ["guest"]
        await ask(service, f"config/save {saved}")
        await service.reload(read_config(saved.read_text(), str(saved)))
        assert (*listener.roll,) == (guest,)
        assert guest.origin is Origin.CONFIGURATION
        await until(lambda: stored(listener) == [])


async def test_peer_of_the_configuration_takes_the_name_of_a_stored_one_or_neither_changes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    place = free_place("wg", "?lan=10.1.1.1/24")
    assert isinstance(place, WireguardLocator)
    taken, desk = peer("desk", port=7), peer("desk", port=9)
    async with running(SwitchSettings(listen=(place,))) as service:
        for name, number in (("desk", 8), ("other", 7)):
            key = PrivateKey.generate(os.urandom).public.encode()
            await ask(service, f"peer/add {name} {key} port={number}")
        (listener,) = service.plugboard.open_listeners
        assert isinstance(listener, WireguardListener)
        before = {found.section for found in listener.roll}

        await service.reload(SwitchSettings(wireguard=(WireguardSettings(listen=place, peers=(taken,)),)))
        assert {found.section for found in listener.roll} == before
        assert stored(listener) == ["desk", "other"]
        assert f"peer desk into {place}: port 7 is another's" in caplog.text

        await service.reload(SwitchSettings(wireguard=(WireguardSettings(listen=place, peers=(desk,)),)))
        assert {(found.name, found.origin, found.profile.number) for found in listener.roll} == {
            ("desk", Origin.CONFIGURATION, 9),
            ("other", Origin.STORE, 7),
        }
        await until(lambda: stored(listener) == ["other"])


async def test_port_of_a_stored_peer_that_goes_becomes_what_is_said_of_it() -> None:
    place = free_place("wg", "?lan=10.1.1.1/24")
    assert isinstance(place, WireguardLocator)
    async with running(SwitchSettings(listen=(place,))) as service:
        key = PrivateKey.generate(os.urandom).public.encode()
        await ask(service, f"peer/add desk {key} port=5 vlan=10")
        wanted = SwitchSettings(
            vlans=(Vid(30),),
            ports=(PortSettings(number=5, pvid=Vid(30)),),
            wireguard=(WireguardSettings(listen=place, peers=(peer("desk", port=9),)),),
        )
        await service.reload(wanted)
        assert replace(service.running_settings(), mac=None) == wanted


async def test_two_listeners_may_have_peers_of_one_name_whom_their_keys_tell_apart() -> None:
    places = [free_place("wg", "?lan=10.1.1.1/24") for _ in range(2)]
    first, second = places
    assert isinstance(second, WireguardLocator)
    laptop = peer("laptop")
    wanted = SwitchSettings(listen=(first,), wireguard=(WireguardSettings(listen=second, peers=(laptop,)),))
    async with running(SwitchSettings(listen=(first, second))) as service:
        key = PrivateKey.generate(os.urandom).public.encode()
        await ask(service, f"peer/add laptop {key}")
        await service.reload(wanted)
        await service.reload(wanted)
        named = service.running_settings().wireguard
        assert {found.public_key.encode() for one in named for found in one.peers} == {
            key,
            laptop.public_key.encode(),
        }
        reply = await execute(service, Session(service.server.catalog), "peer/remove laptop")
        assert "2 listeners have a peer 'laptop': give its public key" in reply.detail
        await ask(service, f"peer/remove {key}")
        await ask(service, "peer/remove laptop")


async def test_spanning_tree_that_a_hub_ended_is_wanted_again_by_the_file() -> None:
    settings = SwitchSettings(is_fstp=True)
    async with running(settings) as service:
        topology = service.control_plane.topology
        await ask(service, "port/sethub 1")
        await until(lambda: not topology.is_enabled)
        await ask(service, "port/sethub 0")
        assert not service.running_settings().is_fstp
        await service.reload(settings)
        assert topology.is_enabled


async def test_switch_that_no_file_could_describe_goes_on(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(wanted: SwitchSettings) -> None:
        raise SettingsError("port 500 is not from 1 to 100")

    async with running(SwitchSettings()) as service:
        monkeypatch.setattr(service, "reload", refuse)
        await reload(service, ProgramSettings(reread=SwitchSettings))
        assert "the switch as it is: port 500 is not from 1 to 100" in caplog.text


def stored(listener: WireguardListener) -> list[str]:
    return [found.name for found in load_peers(listener.settings.store)]
