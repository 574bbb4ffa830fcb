"""Completion from what a switch says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vport.shell.help import help_lines
from vswitch.management.completion import (
    CommandName,
    FileName,
    Fixed,
    HelpEntry,
    Listed,
    at_cursor,
    command_candidates,
    parse_help,
)
from vswitch.management.menus import switch_catalog

if TYPE_CHECKING:
    from vswitch.management.completion import Source

VDE_HELP = """\
COMMAND PATH       SYNTAX          HELP
------------       --------------  ------------
ds                 ============    DATA SOCKET MENU
ds/showinfo                        show ds info
help               [arg]           Help (limited to arg when specified)
shutdown                           shutdown of the switch
load               path            load a configuration script
debug              ============    DEBUG MENU
debug/add          dbgpath         enable debug info for a given category
hash               ============    HASH TABLE MENU
hash/setexpire     N               change hash entries expire time
hash/find          MAC [VLAN]      MAC lookup
fstp/setedge       VLAN PORT 1/0   Define an edge port for a vlan 1=Y 0=N
port               ============    PORT STATUS MENU
port/sethub        0/1             1=HUB 0=switch
port/setvlan       N VLAN          set port VLAN (untagged)
port/create        N               create the port N (inactive|notallocatable)
port/setuser       N user          access control: set user
port/epclose       N ID            remove the endpoint port N/id ID
port/resetcounter  [N]             reset the port (N) counters
vlan               ============    VLAN MANAGEMENT MENU
vlan/remove        N               remove the VLAN with tag N
vlan/addport       N PORT          add port to the vlan N (tagged)"""
VDE = parse_help(VDE_HELP.split("\n"))


def test_help_of_the_original_is_read() -> None:
    assert len(VDE) == 21
    assert VDE[0] == HelpEntry("ds", True, (), "DATA SOCKET MENU")
    assert VDE[1] == HelpEntry("ds/showinfo", False, (), "show ds info")
    assert VDE[9] == HelpEntry("hash/find", False, ("MAC", "VLAN"), "MAC lookup")


def test_help_of_our_switch_is_read_as_it_was_meant() -> None:
    catalog = switch_catalog()
    read = {entry.path: entry for entry in parse_help(help_lines(catalog.entries()))}
    for menu in catalog.menus:
        for command in menu.commands:
            entry = read[command.path]
            assert entry.arguments == tuple(argument.placeholder for argument in command.arguments)
            assert entry.text == command.help


@pytest.mark.parametrize(
    ("line", "word", "kind", "command"),
    [
        ("", "", CommandName, None),
        ("po", "po", CommandName, None),
        ("help po", "po", CommandName, None),
        ("load /et", "/et", FileName, None),
        ("port/sethub ", "", Fixed, None),
        ("fstp/setedge 1 2 ", "", Fixed, None),
        ("port/setvlan 1", "1", Listed, "port/allprint"),
        ("port/setvlan 1 ", "", Listed, "vlan/allprint"),
        ("port/setuser ", "", Listed, "port/allprint"),
        ("port/resetcounter ", "", Listed, "port/allprint"),
        ("port/epclose 3 ", "", Listed, "port/print"),
        ("vlan/remove ", "", Listed, "vlan/allprint"),
        ("vlan/addport 3 ", "", Listed, "port/allprint"),
        ("hash/find ", "", Listed, "hash/print"),
        ("hash/find 02:00:00:00:00:01 ", "", Listed, "vlan/allprint"),
        ("debug/add ", "", Listed, "debug/list"),
        ("port/create ", "", type(None), None),
        ("hash/setexpire ", "", type(None), None),
        ("port/setuser 1 ", "", type(None), None),
        ("shutdown ", "", type(None), None),
        ("nosuch ", "", type(None), None),
        ("port ", "", type(None), None),
    ],
)
def test_what_may_stand_at_the_cursor(
    line: str, word: str, kind: type[Source | None], command: str | None
) -> None:
    found, source = at_cursor(VDE, line)
    assert found == word
    assert isinstance(source, kind)
    assert (source.command if isinstance(source, Listed) else None) == command


OURS = parse_help(help_lines(switch_catalog().entries()))


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("peer/remove ", ["laptop", "phone"]),
        ("peer/print l", ["laptop", "phone"]),
        ("peer/add ", None),
        ("peer/invite ", None),
        ("peer/add new ", "ip"),
        ("peer/add new key po", "port="),
        ("peer/add new key port=7 vl", "vlan="),
        ("peer/invite new ip por", "port="),
    ],
)
def test_peers_and_their_options_are_completed(line: str, found: str | list[str] | None) -> None:
    _, source = at_cursor(OURS, line)
    match source:
        case Listed():
            assert source.command == "peer/print"
            assert source.read(["peer: x", "  name: laptop", "", "  name: phone"]) == found
        case Fixed():
            assert found in source.words
        case _:
            assert found is None


def test_menus_are_completed_before_what_is_in_them() -> None:
    assert [name for name, _ in command_candidates(VDE, "")] == [
        "ds/", "help", "shutdown", "load", "debug/", "hash/", "port/", "vlan/",
    ]  # fmt: skip
    assert [name for name, _ in command_candidates(VDE, "d")] == ["ds/", "debug/"]
    assert [name for name, _ in command_candidates(VDE, "port")] == ["port/"]
    assert [name for name, _ in command_candidates(VDE, "port/set")] == [
        "port/sethub", "port/setvlan", "port/setuser",
    ]  # fmt: skip
    assert command_candidates(VDE, "vlan/")[0] == ("vlan/remove", "remove the VLAN with tag N")
    assert command_candidates(VDE, "vlan/remove") == []


@pytest.mark.parametrize(
    ("line", "lines", "found"),
    [
        ("port/setvlan ", ["Port 0001 untagged_vlan=0", " IN: x", "Port 0012 untagged_vlan=1"], "1 12"),
        ("port/epclose 1 ", ["Port 0001", "  -- endpoint ID 0012 module tap : x"], "12"),
        ("vlan/remove ", ["VLAN 0000", " -- Port 0001 tagged=0", "VLAN 0300"], "0 300"),
        ("hash/find ", ["Hash: 0037 Addr: 02:00:00:00:00:21 VLAN 0000 to port: 001  age 7 secs"] * 2,
         "02:00:00:00:00:21"),
        ("debug/add ", ["CATEGORY     TAG STATUS HELP", "hash/+       011 OFF    x"], "hash/+"),
    ],
)  # fmt: skip
def test_things_are_found_in_what_their_command_prints(line: str, lines: list[str], found: str) -> None:
    _, source = at_cursor(VDE, line)
    assert isinstance(source, Listed)
    assert source.read(lines) == found.split()


@given(st.lists(st.text()), st.text())
def test_no_text_breaks_completion(lines: list[str], line: str) -> None:
    entries = parse_help(["------", *lines])
    word, _ = at_cursor(entries, line)
    command_candidates(entries, word)
