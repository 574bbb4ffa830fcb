"""Declared commands: how a line finds its command, and how arguments are read and refused."""

from __future__ import annotations

import inspect
from errno import EINVAL, ENOENT, ENOSYS
from typing import TYPE_CHECKING, cast

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from vport.errors import CommandError
from vport.shell.arguments import Integer, Mac, Optional, Switch, Text, Word
from vport.shell.command import Catalog, Menu, Reply, Session, command, execute

if TYPE_CHECKING:
    from vswitch.management.control import Control

NO_CONTROL = cast("Control", None)


@command("vlan/create", "make a VLAN", Integer("N", 1, 4094))
def create(control: Control, session: Session, vid: int) -> None:
    assert 1 <= vid <= 4094


@command("port/print", "print", Optional(Integer("N", 1, 99)), prints=True)
def show(control: Control, session: Session, number: int | None) -> list[str]:
    if number == 66:
        raise CommandError(ENOENT, "no such port")
    return [f"number {number}"]


@command("load", "load a file", Text("path"))
async def load(control: Control, session: Session, path: str) -> Reply:
    await trio.lowlevel.checkpoint()
    return Reply(detail=path)


@command("set", "set all kinds", Switch(), Mac(), Word("name"))
def set_all(control: Control, session: Session, on: bool, mac: bytes, name: str) -> Reply:
    return Reply(detail=f"{on} {mac.hex()} {name}")


@command("showinfo", "show", prints=True)
def info(control: Control, session: Session) -> None:
    return None


CATALOG = Catalog(
    [Menu("", "", (info, load, set_all)), Menu("vlan", "VLANS", (create,)), Menu("port", "PORTS", (show,))]
)


def run(line: str) -> Reply:
    async def main() -> Reply:
        return await execute(NO_CONTROL, Session(CATALOG), line)

    return trio.run(main)


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        ("vlan/create 1", Reply()),
        ("vlan/create7", Reply()),
        ("vlan/create\t8", Reply()),
        ("vlan/create 012", Reply()),
        ("port/print", Reply(["number None"])),
        ("port/print1", Reply(["number 1"])),
        ("port/print 66", Reply((), ENOENT, "no such port")),
        ("showinfo", Reply(())),
        ("load /a path/with blanks", Reply(detail="/a path/with blanks")),
        ("set 1 2:0:0:0:0:1 me", Reply(detail="True 020000000001 me")),
        ("set 0 02.00.00.00.00.01 me", Reply(detail="False 020000000001 me")),
    ],
)
def test_command_is_found_and_carried_out(line: str, reply: Reply) -> None:
    assert run(line) == reply


@pytest.mark.parametrize(
    "line",
    ["nosuch", "SHOWINFO", "show", "port", "showinfoXYZ", "showinfo1", "help;x", "port/printabc", "7", "?"],
)
def test_what_is_no_command_is_not_implemented(line: str) -> None:
    assert run(line) == Reply(None, ENOSYS)


@pytest.mark.parametrize(
    ("line", "detail"),
    [
        ("vlan/create", "N is missing: a number from 1 to 4094; the form is: vlan/create N"),
        ("vlan/create 0", "N must be a number from 1 to 4094, not '0'"),
        ("vlan/create 4095", "N must be a number from 1 to 4094, not '4095'"),
        ("vlan/create 0x10", "N must be a number from 1 to 4094, not '0x10'"),
        ("vlan/create -5", "N must be a number from 1 to 4094, not '-5'"),
        ("vlan/create abc", "N must be a number from 1 to 4094, not 'abc'"),
        ("vlan/create " + "9" * 4000, f"N must be a number from 1 to 4094, not '{'9' * 40}…'"),
        ("vlan/create \u0661", "N must be a number from 1 to 4094, not '\u0661'"),
        ("vlan/create 9 junk", "'junk' is too much; the form is: vlan/create N"),
        ("load", "path is missing: some text; the form is: load path"),
        ("set 2 02:00:00:00:00:01 me", "the switch must be 0 or 1, not '2'"),
        ("set 1 02:00 me", "MAC must be six octets in hex, such as 02:00:00:00:00:01, not '02:00'"),
    ],
)
def test_wrong_arguments_are_named_with_what_is_allowed(line: str, detail: str) -> None:
    assert run(line) == Reply(None, EINVAL, detail)


def test_wrong_argument_of_a_printing_command_is_framed() -> None:
    assert run("port/print 100") == Reply((), EINVAL, "N must be a number from 1 to 99, not '100'")


def test_help_entries_are_in_order_and_by_prefix() -> None:
    assert list(CATALOG.entries()) == [
        ("showinfo", "", "show"),
        ("load", "path", "load a file"),
        ("set", "0/1 MAC name", "set all kinds"),
        ("vlan", "============", "VLANS"),
        ("vlan/create", "N", "make a VLAN"),
        ("port", "============", "PORTS"),
        ("port/print", "[N]", "print"),
    ]
    assert [path for path, _, _ in CATALOG.entries("port/p")] == ["port/print"]


@given(st.text(max_size=60), st.sampled_from(["", "vlan/create", "port/print ", "set 1 ", "load "]))
def test_every_line_has_a_reply(text: str, start: str) -> None:
    reply = run(start + text)
    assert reply.errno in {0, EINVAL, ENOSYS, ENOENT}


def test_async_commands_are_told_apart() -> None:
    assert inspect.iscoroutinefunction(load.function)
