"""The commands of each menu, on the real bridge: what they print, what they change, what they refuse."""

from __future__ import annotations

import inspect
import re
import socket
from typing import TYPE_CHECKING

import pytest
import trio

from tests.system.lan_parts import require_slirp
from tests.vswitch.links_in_memory import RecordingLink
from tests.vswitch.management.small_switch import SmallSwitch
from vport.errors import RefusedError
from vport.links import open_link
from vport.locator import parse
from vport.shell.command import Session, execute
from vport.shell.message import Message
from vport.train import Train
from vswitch.access import AccessRule
from vswitch.config import SwitchSettings
from vswitch.events import AccessRefused
from vswitch.management.control import SocketInfo
from vswitch.management.hash import bucket_of
from vswitch.management.menus import switch_catalog
from vswitch.management.messages import ACCESS_REFUSED, CATEGORIES, describe
from vswitch.ports import PortCounters, PortNumber

if TYPE_CHECKING:
    from vport.links.base import Link
    from vport.shell.command import Command

CATALOG = switch_catalog()


class Operator:
    """Gives commands to a switch and reads the replies, without any socket between them."""

    def __init__(self, switch: SmallSwitch) -> None:
        self.switch = switch
        self.session = Session(switch.catalog)

    def __call__(self, line: str) -> tuple[int, list[str] | None]:
        """Run a command; give its errno and its lines."""

        async def main() -> tuple[int, list[str] | None]:
            reply = await execute(self.switch, self.session, line)
            return reply.errno, None if reply.lines is None else list(reply.lines)

        return trio.run(main)

    def detail(self, line: str) -> str:
        """Run a command that fails; give what it says beside the errno."""

        async def main() -> str:
            return (await execute(self.switch, self.session, line)).detail

        return trio.run(main)


@pytest.fixture
def switch() -> SmallSwitch:
    return SmallSwitch()


@pytest.fixture
def ask(switch: SmallSwitch) -> Operator:
    return Operator(switch)


@pytest.mark.parametrize(
    "command",
    [command for menu in CATALOG.menus for command in menu.commands],
    ids=lambda command: command.path,
)
def test_functions_take_what_their_commands_declare(command: Command) -> None:
    assert len(inspect.signature(command.function).parameters) == 2 + len(command.arguments)


def test_names_fit_their_column() -> None:
    for path, _, text in CATALOG.entries():
        assert len(path) <= 18
        assert text


def test_control_directories_are_shown_as_vde_shows_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    switch = SmallSwitch()
    listen = (parse("vde:///run/one.ctl"), parse("udp://:9999"), parse("vde:///run/two.ctl?mode=0660"))
    monkeypatch.setattr(switch, "running_settings", lambda: SwitchSettings(listen=listen))

    shown = trio.run(execute, switch, Session(CATALOG), "ds/showinfo")

    assert list(shown.lines or ()) == [
        "ctl dir /run/one.ctl",
        "std mode 0600",
        "ctl dir /run/two.ctl",
        "std mode 0660",
    ]


def test_commands_are_listed_in_the_order_of_vde() -> None:
    assert [path for path, _, _ in CATALOG.entries()][:8] == [
        "ds", "ds/showinfo", "help", "logout", "shutdown", "showinfo", "load", "debug",
    ]  # fmt: skip


# --- general ---


def test_help_lists_what_starts_with_its_argument(ask: Operator) -> None:
    assert ask("help vlan/c") == (
        0,
        [
            "COMMAND PATH       SYNTAX          HELP",
            "------------       --------------  ------------",
            "vlan/create        VLAN            create a VLAN",
        ],
    )
    number, lines = ask("help nosuch")
    assert number == 0
    assert lines is not None
    assert len(lines) == 2


def test_showinfo_says_what_runs_since_when(ask: Operator, switch: SmallSwitch) -> None:
    switch.clock = 12.9
    _, lines = ask("showinfo")
    assert lines is not None
    assert re.fullmatch(r"\w+ V\.[0-9.]+", lines[0])
    assert lines[2] == ""
    assert re.fullmatch(r"pid \d+ MAC 00:ff:00:00:00:01 uptime 12", lines[3])
    assert lines[4:] == []

    switch.management = SocketInfo("/run/vs.mgmt", 0o600)
    _, lines = ask("showinfo")
    assert lines is not None
    assert lines[4] == "mgmt /run/vs.mgmt perm 0600"


# --- hash ---


@pytest.mark.parametrize(
    ("mac", "vid", "bucket"),
    [("020000000001", 0, 43), ("020000000003", 10, 31), ("020000000005", 10, 100), ("020000000003", 20, 125)],
)
def test_buckets_are_those_of_the_original(mac: str, vid: int, bucket: int) -> None:
    assert bucket_of(bytes.fromhex(mac), vid, 128) == bucket


def test_hash_prints_what_the_original_prints(ask: Operator, switch: SmallSwitch) -> None:
    ports = [switch.plug("x", number) for number in range(1, 6)]
    switch.learn("02:00:00:00:00:02", ports[1])
    switch.clock = 1.5
    for number, vid in ((3, 10), (1, 0)):
        switch.learn(f"02:00:00:00:00:{number:02x}", ports[number - 1], vid)
    assert ask("hash/print") == (
        0,
        [
            "Hash: 0031 Addr: 02:00:00:00:00:03 VLAN 0010 to port: 003  age 0 secs",
            "Hash: 0043 Addr: 02:00:00:00:00:01 VLAN 0000 to port: 001  age 0 secs",
            "Hash: 0060 Addr: 02:00:00:00:00:02 VLAN 0000 to port: 002  age 1 secs",
        ],
    )
    one = ["Hash: 0031 Addr: 02:00:00:00:00:03 VLAN 0010 to port: 003  age 0 secs"]
    for mac in ("02:00:00:00:00:03", "2.0.0.0.0.3"):
        assert ask(f"hash/find {mac} 10") == (0, one)
    assert ask("hash/find 02:00:00:00:00:03") == (19, [])
    assert ask("hash/find 02:00:00") == (22, [])
    assert ask("hash/find") == (22, [])


def test_newest_entry_of_a_bucket_comes_first(ask: Operator, switch: SmallSwitch) -> None:
    endpoint = switch.plug("x")
    assert ask("hash/setsize 1") == (0, None)
    for number in (1, 2, 3):
        switch.learn(f"02:00:00:00:00:{number:02x}", endpoint)
    _, lines = ask("hash/print")
    assert lines is not None
    assert [line[28:34] for line in lines] == [":00:03", ":00:02", ":00:01"]


def test_hash_settings_are_shown_and_changed(ask: Operator, switch: SmallSwitch) -> None:
    assert ask("hash/showinfo") == (
        0,
        ["Hash size 128", "GC interval 2 secs", "GC expire 100 secs", "Min persistence 3 secs"],
    )
    switch.learn("02:00:00:00:00:01", switch.plug("x"))
    for line in ("hash/setsize 1000", "hash/setgcint 0", "hash/setexpire 4", "hash/setminper 0"):
        assert ask(line) == (0, None)
    assert ask("hash/showinfo") == (
        0,
        ["Hash size 1024", "GC interval 0 secs", "GC expire 4 secs", "Min persistence 0 secs"],
    )
    assert ask("hash/print") == (0, [])


@pytest.mark.parametrize(
    "line",
    [
        "hash/setsize 0",
        "hash/setsize -1",
        "hash/setsize 2000000000",
        "hash/setgcint -3",
        "hash/setgcint x",
        "hash/setexpire 0",
        "hash/setexpire abc",
        "hash/setexpire 9 9",
        "hash/setminper",
        "hash/setminper -1",
    ],
)
def test_wrong_hash_settings_change_nothing(ask: Operator, line: str) -> None:
    before = ask("hash/showinfo")
    assert ask(line) == (22, None)
    assert ask("hash/showinfo") == before


def test_static_entries_are_added_shown_and_deleted(ask: Operator, switch: SmallSwitch) -> None:
    switch.plug("x", 3)
    switch.learn("02:00:00:00:00:02", switch.plug("y", 4))
    assert ask("hash/add 02:00:00:00:00:01 3") == (0, None)
    assert ask("hash/add 02:00:00:00:00:01 9") == (6, None)
    assert ask("hash/add 02:00:00:00:00:01 3 7") == (6, None)
    for group in ("01:00:00:00:00:01", "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff"):
        assert ask(f"hash/add {group} 3") == (22, None)
    static = "Hash: 0043 Addr: 02:00:00:00:00:01 VLAN 0000 to port: 003  age 0 secs static"
    learned = "Hash: 0060 Addr: 02:00:00:00:00:02 VLAN 0000 to port: 004  age 0 secs"
    assert ask("hash/print") == (0, [static, learned])
    for line in ("hash/flush port 3", "hash/flush vlan 0"):
        assert ask(line) == (0, None)
    assert ask("hash/print") == (0, [static])
    assert ask("hash/flush") == (0, None)
    assert ask("hash/delete 02:00:00:00:00:01") == (0, None)
    assert ask("hash/delete 02:00:00:00:00:01") == (19, None)
    for wrong in ("hash/flush port", "hash/flush nonsense 3", "hash/flush port x", "hash/flush port 33"):
        assert ask(wrong) == (22, None)
    assert ask("hash/flush vlan 7") == (6, None)


# --- port ---


def test_ports_are_printed_as_the_original_prints_them(ask: Operator, switch: SmallSwitch) -> None:
    assert ask("port/print") == (0, [])
    first = switch.plug("a cable", 7)
    switch.plug("another", 7)
    switch.bridge.create_port(9, allocatable=False)
    frame = bytes.fromhex("ffffffffffff020000000001") + bytes(48)
    switch.bridge.receive(first.port, Train(frame, len(frame)), 0.0)
    seven = [
        "Port 0007 untagged_vlan=0000 ACTIVE - Unnamed Allocatable",
        " Current User: NONE Access Control: (User: NONE - Group: NONE)",
        " IN:  pkts          1          bytes                   60",
        " OUT: pkts          0          bytes                    0",
        "  -- endpoint ID 0002 module test        : another",
        "  -- endpoint ID 0001 module test        : a cable",
    ]
    nine = [
        "Port 0009 untagged_vlan=0000 INACTIVE - NOT Unnamed Allocatable",
        " Current User: NONE Access Control: (User: NONE - Group: NONE)",
        " IN:  pkts          0          bytes                    0",
        " OUT: pkts          0          bytes                    0",
    ]
    assert ask("port/print") == (0, seven)
    assert ask("port/print 7") == (0, seven)
    assert ask("port/print7") == (0, seven)
    assert ask("port/print 9") == (6, [])
    assert ask("port/allprint") == (0, [*seven, *nine])
    assert ask("port/allprint 9") == (0, nine)
    assert ask("port/allprint 5") == (6, [])
    for wrong in ("0", "33", "65536", "x"):
        assert ask(f"port/print {wrong}") == (22, [])
    assert ask.detail("port/print 33") == "PORT must be a number from 1 to 32, not '33'"


def test_hub_mode_is_switched_and_shown(ask: Operator, switch: SmallSwitch) -> None:
    assert ask("port/showinfo") == (0, ["Numports=32", "HUB=false", "counters=true"])
    assert ask("port/sethub 1") == (0, None)
    assert switch.bridge.is_hub
    assert ask("port/showinfo") == (0, ["Numports=32", "HUB=true", "counters=true"])
    for wrong in ("port/sethub", "port/sethub x", "port/sethub 2", "port/sethub 1 1"):
        assert ask(wrong) == (22, None)
    assert ask("port/sethub 0") == (0, None)
    assert not switch.bridge.is_hub


def test_ports_are_created_and_removed(ask: Operator, switch: SmallSwitch) -> None:
    switch.plug("x", 2)
    assert ask("port/createauto") == (0, ["Port 0001"])
    assert ask("port/createauto") == (0, ["Port 0003"])
    assert ask("port/create 4") == (0, None)
    assert ask("port/create 4") == (17, None)
    assert ask("port/create 33") == (22, None)
    assert switch.plug("nobody asked for a number").port.number == 5
    assert ask("port/remove 2") == (98, None)
    for line in ("vlan/create 9", "port/setvlan 4 9", "vlan/addport 0 4", "hash/add 2:0:0:0:0:1 4 9"):
        assert ask(line) == (0, None)
    assert ask("port/remove 4") == (0, None)
    assert ask("port/remove 4") == (6, None)
    assert ask("hash/print") == (0, [])
    assert ask("vlan/remove 9") == (0, None)
    assert ask("port/setnumports 4") == (98, None)
    assert ask("port/setnumports 5") == (0, None)
    assert ask("port/create 4") == (0, None)
    assert ask("port/createauto") == (28, [])
    assert ask("port/setnumports 40") == (0, None)
    assert ask("port/createauto") == (0, ["Port 0006"])


def test_allocatable_port_is_given_to_who_asks_for_none(ask: Operator, switch: SmallSwitch) -> None:
    assert ask("port/create 1") == (0, None)
    assert switch.plug("x").port.number == 2
    assert ask("port/allocatable 1 1") == (0, None)
    assert switch.plug("x").port.number == 1
    assert ask("port/allocatable 1 2") == (22, None)
    assert ask("port/allocatable 9 1") == (6, None)


def test_lowering_and_raising_the_number_of_ports_loses_none(ask: Operator, switch: SmallSwitch) -> None:
    endpoints = [switch.plug("x") for _ in range(8)]
    for endpoint in endpoints:
        switch.plugboard.eject(endpoint, "test")
        switch.bridge.remove_port(endpoint.port)
    for line in ("port/setnumports 3", "port/setnumports 8"):
        assert ask(line) == (0, None)
    assert [switch.plug("x").port.number for _ in range(8)] == [1, 2, 3, 4, 5, 6, 7, 8]


def test_access_is_set_shown_and_lifted(ask: Operator, switch: SmallSwitch) -> None:
    switch.plug("x", 7, user="daemon")
    for line in ("port/setuser 7 65534", "port/setgroup 7 daemon"):
        assert ask(line) == (0, None)
    _, lines = ask("port/print 7")
    assert lines is not None
    assert lines[1] == " Current User: daemon Access Control: (User: nobody - Group: daemon)"
    assert ask("port/setuser 7 123456") == (0, None)
    _, lines = ask("port/print 7")
    assert lines is not None
    assert lines[1] == " Current User: daemon Access Control: (User: 123456 - Group: daemon)"
    for line in ("port/setuser 7 ANY", "port/setgroup 7 NONE"):
        assert ask(line) == (0, None)
    for line in ("port/setuser 7 nosuch", "port/setgroup 7 none", "port/setuser 7"):
        assert ask(line) == (22, None)
    assert ask("port/setuser 8 root") == (6, None)
    assert switch.bridge.active_ports[0].access == AccessRule()


def test_refused_access_is_a_message(ask: Operator, switch: SmallSwitch) -> None:
    for line in ("port/create 7", "port/setuser 7 nobody"):
        assert ask(line) == (0, None)
    with pytest.raises(RefusedError):
        switch.plug("a cable", 7, user="daemon")
    refused = AccessRefused(port=PortNumber(7), description="a cable", reason="why")
    assert describe(refused) == [Message(ACCESS_REFUSED, 'Port 07 -> "a cable": why')]


def test_description_of_a_port_stands_behind_its_counters(ask: Operator, switch: SmallSwitch) -> None:
    switch.plug("x", 7)
    assert ask("port/descr 7 to the  cellar") == (0, None)
    _, lines = ask("port/print")
    assert lines is not None
    assert lines[4:] == [" Description: to the  cellar", "  -- endpoint ID 0001 module test        : x"]
    assert ask("port/descr 7 " + "x" * 256) == (22, None)
    assert ask("port/descr 7") == (0, None)
    assert switch.bridge.active_ports[0].description == ""


def test_endpoints_are_closed_one_by_one_or_all(ask: Operator, switch: SmallSwitch) -> None:
    links = [switch.plug("x", 7).link for _ in range(3)]
    assert ask("port/epclose 7 9") == (6, None)
    assert ask("port/epclose 7 0002") == (0, None)
    assert ask("port/epclose 7 2") == (6, None)
    assert ask("port/detach 7 1") == (0, None)
    assert ask("port/detach 7") == (0, None)
    assert ask("port/detach 7") == (6, None)
    assert [link.is_closed for link in links if isinstance(link, RecordingLink)] == [True] * 3


def test_links_and_listeners_are_opened_by_command(ask: Operator, switch: SmallSwitch) -> None:
    assert ask("port/attach tap://tap0 5") == (
        0, ["Port 0005", "  -- endpoint ID 0001 module test        : tap://tap0"],
    )  # fmt: skip
    assert ask("port/attach tap://broken") == (2, [])
    assert ask.detail("port/attach tap://broken") == "broken: there is no such device"
    assert ask("port/attach nonsense") == (22, [])
    assert ask.detail("port/attach nonsense").startswith("LOCATOR: 'nonsense' is not a locator")
    assert ask("port/attach tap://tap0 33") == (22, [])
    assert ask("port/setnumports 5") == (0, None)
    for number in range(1, 5):
        assert ask(f"port/attach tap://tap{number}")[0] == 0
    assert ask("port/attach tap://tap9") == (28, [])
    assert ask("listen/add udp://:9999") == (0, ["Listener 0001 links    0 : udp://:9999"])
    assert ask("listen/print") == (0, ["Listener 0001 links    0 : udp://:9999"])
    assert ask("listen/remove 2") == (6, None)
    assert ask("listen/remove 1") == (0, None)
    assert ask("listen/print") == (0, [])


def test_counters_are_reset_and_discards_are_listed(ask: Operator, switch: SmallSwitch) -> None:
    endpoint = switch.plug("x", 7)
    switch.bridge.receive(endpoint.port, Train(b"short", 5), 0.0)
    endpoint.link.discards["queue full"] += 12
    assert ask("port/discards") == (
        0,
        [
            "Port 0007",
            "           1 shorter than an Ethernet header",
            "  -- endpoint ID 0001 module test        : x",
            "          12 queue full",
        ],
    )
    assert ask("port/resetcounter 7") == (0, None)
    assert ask("port/resetcounter 8") == (6, None)
    assert ask("port/resetcounter") == (0, None)
    assert endpoint.port.counters == PortCounters()


# --- vlan ---


def test_vlans_are_created_and_printed(ask: Operator, switch: SmallSwitch) -> None:
    for number in (1, 4094):
        assert ask(f"vlan/create {number}") == (0, None)
        assert ask(f"vlan/create {number}") == (17, None)
    for wrong in ("0", "4095", "-1", "x", "", "1 2"):
        assert ask(f"vlan/create {wrong}") == (22, None)
    switch.plug("x", 3)
    port = switch.bridge.create_port(5)
    switch.bridge.add_tagged(port, switch.bridge.vlans[sorted(switch.bridge.vlans)[1]].vid)
    active = " -- Port 0003 tagged=0 active=1 status=Forwarding"
    assert ask("vlan/print") == (0, ["VLAN 0000", active, "VLAN 0001", "VLAN 4094"])
    assert ask("vlan/allprint") == (
        0,
        [
            "VLAN 0000",
            active,
            " -- Port 0005 tagged=0 active=0 status=Learning",
            "VLAN 0001",
            " -- Port 0005 tagged=1 active=0 status=Learning",
            "VLAN 4094",
        ],
    )
    assert ask("vlan/print 0") == (0, ["VLAN 0000", active])
    assert ask("vlan/allprint 4094") == (0, ["VLAN 4094"])
    assert ask("vlan/print 77") == (6, [])
    assert ask("vlan/print 4095") == (22, [])


def test_vlan_is_removed_when_no_port_is_in_it(ask: Operator, switch: SmallSwitch) -> None:
    port = switch.plug("x", 3).port
    for line in ("vlan/create 10", "vlan/addport 10 3", "hash/add 02:00:00:00:00:01 3 10"):
        assert ask(line) == (0, None)
    assert ask("vlan/remove 10") == (98, None)
    assert ask.detail("vlan/remove 10") == "VLAN 10 has ports: 3 (see vlan/allprint)"
    assert ask("vlan/delport 10 3") == (0, None)
    assert ask("vlan/delport 10 3") == (0, None)
    assert ask("vlan/remove 10") == (0, None)
    assert ask("vlan/remove 10") == (6, None)
    assert ask("vlan/remove 0") == (98, None)
    assert ask("hash/print") == (0, [])
    assert port.tagged == set()


def test_port_goes_to_another_untagged_vlan_and_to_none(ask: Operator, switch: SmallSwitch) -> None:
    switch.plug("x", 3)
    assert ask("port/setvlan 3 10") == (6, None)
    assert ask("port/setvlan 4 0") == (6, None)
    assert ask("vlan/create 10") == (0, None)
    assert ask("vlan/addport 10 3") == (0, None)
    assert ask("port/setvlan 3 10") == (0, None)
    assert ask("vlan/delport 10 3") == (98, None)
    assert ask("vlan/addport 10 3") == (0, None)
    one = " -- Port 0003 tagged=0 active=1 status=Forwarding"
    assert ask("vlan/print") == (0, ["VLAN 0000", "VLAN 0010", one])
    assert ask("port/setvlan 3 4095") == (0, None)
    assert ask("vlan/print") == (0, ["VLAN 0000", "VLAN 0010"])
    assert switch.bridge.active_ports[0].pvid == 4095


# --- debug ---


def test_categories_are_listed_with_their_state(ask: Operator) -> None:
    number, lines = ask("debug/list port/ep")
    assert number == 0
    assert lines is not None
    assert lines[0] == "CATEGORY               TAG STATUS HELP"
    assert lines[2] == "port/ep/+              031 OFF    new endpoint"
    assert ask("debug/add port/ep/+") == (0, None)
    _, lines = ask("debug/list port/ep")
    assert lines is not None
    assert lines[2] == "port/ep/+              031 ON     new endpoint"


def test_subscriptions_are_by_prefix(ask: Operator) -> None:
    assert ask("debug/add nosuch") == (22, None)
    assert ask("debug/del nosuch") == (22, None)
    assert ask("debug/list nosuch")[0] == 2
    assert ask("debug/del hash/+") == (2, None)
    assert ask("debug/add port") == (0, None)
    assert ask("debug/add port/ep") == (17, None)
    assert ask("debug/add") == (0, None)
    assert ask("debug/add") == (17, None)
    assert ask.session.subscriptions == {category.path for category in CATEGORIES}
    assert ask("debug/del port/ep/+") == (0, None)
    assert ask("debug/del") == (0, None)
    assert ask("debug/del") == (2, None)


def test_messages_cannot_be_asked_for_where_they_have_no_way_to_go(ask: Operator) -> None:
    ask.session.subscriptions = None
    for line in ("debug/add", "debug/del"):
        assert ask(line) == (9, None)
    assert ask("debug/list") == (9, [])


def test_tags_are_unique_and_known_to_clients() -> None:
    tags = [category.tag for category in CATEGORIES]
    assert len(set(tags)) == len(tags)
    assert max(tags) < 0o100


# --- user-mode networks and DHCP servers ---


async def plugged(switch: SmallSwitch, locator: str) -> Link:
    link = await open_link(locator)
    switch.bridge.plug(link)
    return link


async def answer(switch: SmallSwitch, line: str) -> tuple[int, str, list[str]]:
    reply = await execute(switch, Session(CATALOG), line)
    return reply.errno, reply.detail, list(reply.lines or ())


async def test_slirp_forwards_are_printed_added_and_removed(switch: SmallSwitch) -> None:
    require_slirp()
    switch.plug("something else")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with await plugged(switch, "slirp://10.0.2.0/24"):
        assert (await answer(switch, f"slirp/hostfwd 2 tcp:127.0.0.1:{port}-:22"))[0] == 0

        errno, _, lines = await answer(switch, "slirp/print")
        assert errno == 0
        assert lines[0] == "Port 0002 slirp 10.0.2.2/24"
        assert f"  hostfwd tcp:127.0.0.1:{port}-:22" in lines
        again = await answer(switch, f"slirp/hostfwd 2 tcp:127.0.0.1:{port}-:22")
        assert again[0] == 22
        assert "is forwarded already" in again[1]

        assert (await answer(switch, f"slirp/hostfwd-del 2 tcp:127.0.0.1:{port}"))[0] == 0
        assert (await answer(switch, f"slirp/hostfwd-del 2 tcp:127.0.0.1:{port}"))[0] == 22


async def test_slirp_commands_say_what_is_wrong(switch: SmallSwitch) -> None:
    switch.plug("something else")

    assert await answer(switch, "slirp/print") == (0, "", [])
    assert (await answer(switch, "slirp/hostfwd 1 tcp::1-:2"))[:2] == (
        6,
        "no user-mode network is plugged into port 1",
    )
    assert (await answer(switch, "slirp/hostfwd 7 tcp::1-:2"))[0] == 6
    require_slirp()
    with await plugged(switch, "slirp://10.0.2.0/24"):
        assert "is not PROTOCOL" in (await answer(switch, "slirp/hostfwd 2 nonsense"))[1]


async def test_dhcp_servers_are_printed(switch: SmallSwitch) -> None:
    switch.plug("something else")
    assert await answer(switch, "dhcp/print") == (0, "", [])

    with await plugged(switch, "dhcp://10.1.1.0/24"):
        assert await answer(switch, "dhcp/print") == (0, "", ["Port 0002 dhcp 10.1.1.254/24"])
