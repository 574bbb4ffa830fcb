"""What commands set is saved, and a switch that is started from it is the same; for every command."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Final

import pytest

from tests.vswitch.services import lines_of, running
from vport.locator import parse
from vport.wireguard.keys import PrivateKey
from vswitch.config import PortSettings, SwitchSettings
from vswitch.config_file import read_config
from vswitch.guards import AddressLimit
from vswitch.management.menus import switch_catalog

if TYPE_CHECKING:
    from pathlib import Path

LASTING: Final = """\
port/setnumports 100
vlan/create 10
vlan/create 20
vlan/create 30
vlan/remove 30
port/create 1
port/create 2
port/create 3
port/createauto
port/create 9
port/remove 9
port/setvlan 1 10
vlan/addport 20 1
vlan/addport 10 2
vlan/delport 10 2
port/allocatable 3 1
port/setuser 2 root
port/setgroup 2 root
port/descr 2 the attic
port/attach host://10.1.1.1/24 5
port/attach host://10.1.1.2/24 6
port/detach 6
port/remove 6
port/impair 1 loss LR1.5%
port/impair 1 delay 10ms+3msN
port/impair 1 markov-numnodes 2
port/impair 1 bandwidth RL1000000.5[1]
port/impair 1 setedge 0,1,30
port/impair 1 markov-name 1,bad, very
port/impair 1 markov-time 7
port/impair 1 fifo 0
port/impair 2 loss 1
port/impair 2 off
hash/setsize 64
hash/setgcint 7
hash/setexpire 77
hash/setminper 5
hash/add 02:00:00:00:00:01 1 10
hash/add 02:00:00:00:00:02 1
hash/delete 02:00:00:00:00:02
fstp/setprio 4096
fstp/settimes 1 10 8
fstp/sethello 2
fstp/setmaxage 12
fstp/setfwddelay 9
fstp/setedge 0 3 1
fstp/setcost 10 1 2000
fstp/setcost 10 99 2000
fstp/setportprio 20 1 16
fstp/bonus 20 2 100
fstp/setfstp 1
guard/bpdu 1 1
guard/root 1 1
guard/topology 2 1
guard/loop 2 0
guard/storm 3 1 0 5
guard/storm 2 1 1 1
guard/stormdefault 2
guard/maclimit 1 3 shutdown 0
guard/maclimit 2 3
guard/maclimit 2 0
guard/setloop 0 77
guard/setrecovery 0
guard/setflap 9 99
plugin/add iplog
plugin/add dump
plugin/del dump
listen/add unix://{directory}/socket
"""
QUESTIONS: Final = {"print", "allprint", "showinfo", "list", "find", "detail", "discards", "show", "help"}
IN_TESTS_OF_THEIR_OWN: Final = {
    "slirp/hostfwd",
    "slirp/hostfwd-del",
    "peer/add",
    "peer/remove",
    "peer/invite",
}
NOT_TO_BE_SAVED: Final = {
    "port/sethub": "has no spanning tree: below",
    "port/epclose": "as port/detach, but for those who called, too",
    "port/resetcounter": "counters are no settings",
    "hash/flush": "what was learned is no setting",
    "fstp/mcheck": "a question to the neighbour",
    "guard/recover": "that a port is shut is no setting",
    "listen/remove": "takes back what was added: below",
    "debug/add": "of the session",
    "debug/del": "of the session",
    "load": "what it runs is",
    "config/save": "",
    "logout": "",
    "shutdown": "",
}


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def test_every_command_is_here_or_asks_or_leaves_nothing() -> None:
    covered = (
        {line.split()[0] for line in LASTING.splitlines()} | IN_TESTS_OF_THEIR_OWN | NOT_TO_BE_SAVED.keys()
    )
    commands = {command.path: command for menu in switch_catalog().menus for command in menu.commands}
    questions = {path for path in commands if path.rpartition("/")[2] in QUESTIONS}
    assert commands.keys() - questions == covered
    assert all(commands[path].prints for path in questions)


async def test_what_every_command_sets_is_saved_and_makes_the_same_switch(tmp_path: Path) -> None:
    saved, again = tmp_path / "saved.toml", tmp_path / "again.toml"
    questions = (
        "port/showinfo", "vlan/allprint", "hash/showinfo", "fstp/showinfo", "guard/showinfo",
        "guard/print 1", "guard/print 2", "guard/print 3", "plugin/list", "port/impair 2", "config/show",
    )  # fmt: skip
    async with running(SwitchSettings()) as service:
        for line in LASTING.format(directory=tmp_path).splitlines():
            await lines_of(service, line)
        before = [await lines_of(service, question) for question in questions]
        faults = (await lines_of(service, "port/impair 1"))[:-2]  # but for the counters
        await lines_of(service, f"config/save {saved}")
    async with running(read_config(saved.read_text(), str(saved))) as service:
        assert [await lines_of(service, question) for question in questions] == before
        assert len((await lines_of(service, "port/impair 1"))[:-2]) == len(faults)
        trees = await lines_of(service, "fstp/print 20")
        assert " bonusport 0002 bonuscost 100" in "".join(trees)
        await lines_of(service, f"config/save {again}")
    assert again.read_text() == saved.read_text()
    assert 'bandwidth = "RL1000000.5B/s[1]"' in saved.read_text()


async def test_hub_and_listeners_that_were_closed_are_saved(tmp_path: Path) -> None:
    path = tmp_path / "saved.toml"
    async with running(SwitchSettings(is_fstp=True)) as service:
        await lines_of(service, "port/sethub 1")
        await lines_of(service, f"listen/add unix://{tmp_path}/socket")
        await lines_of(service, "listen/remove 1")
        await lines_of(service, f"config/save {path}")
    settings = read_config(path.read_text(), str(path))
    assert (settings.is_hub, settings.is_fstp, settings.listen) == (True, True, ())


async def test_spanning_tree_that_was_switched_off_before_the_switch_became_a_hub_is_off() -> None:
    async with running(SwitchSettings(is_fstp=True)) as service:
        await lines_of(service, "fstp/setfstp 0")
        await lines_of(service, "port/sethub 1")
        assert not service.running_settings().is_fstp


async def test_link_that_was_just_detached_is_not_saved() -> None:
    async with running(SwitchSettings()) as service:
        endpoint = await service.plugboard.attach(parse("host://10.1.1.1/24"), 6)
        service.plugboard.eject(endpoint, "test")
        assert service.running_settings().ports == ()


async def test_untouched_switch_saves_no_more_than_its_address(tmp_path: Path) -> None:
    async with running(read_config("listen = []", "f")) as service:
        lines = await lines_of(service, "config/show")
    assert [line.partition(" =")[0] for line in lines if line and not line.startswith("#")] == [
        "mac",
        "listen",
    ]


async def test_limit_of_a_peers_port_that_was_changed_by_command_is_saved(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        place = f"wg://127.0.0.1:{probe.getsockname()[1]}?lan=10.1.1.1/24"
    saved = tmp_path / "saved.toml"
    async with running(SwitchSettings()) as service:
        await lines_of(service, f"listen/add {place}")
        for port in (7, 8, 9):
            key = PrivateKey.generate(os.urandom).public.encode()
            await lines_of(service, f"peer/add desk{port} {key} port={port} macs=2")
        await lines_of(service, "guard/maclimit 7 0")
        await lines_of(service, "guard/maclimit 8 5 protect")
        await lines_of(service, "guard/bpdu 8 1")
        await lines_of(service, f"config/save {saved}")
    read = read_config(saved.read_text(), str(saved))
    assert [(port.number, port.addresses) for port in read.ports[:1]] == [(7, AddressLimit(limit=0))]
    assert PortSettings(number=9) not in read.ports
    async with running(read) as service:
        ports = [service.bridge.ports.get(number) for number in (7, 8, 9)]
        limits = [port.mac_limit.settings.limit if port and port.mac_limit else None for port in ports]
        assert limits == [None, 5, 2]
