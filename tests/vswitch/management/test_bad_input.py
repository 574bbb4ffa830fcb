"""Every command with too few, too many and wrong arguments: an error that says which, nothing changed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from tests.vswitch.management.small_switch import SmallSwitch
from vport.shell.arguments import Argument, Choice, Integer, Mac, Optional, Place, Switch, Text
from vport.shell.command import Session, execute
from vswitch.management.menus import switch_catalog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from vport.shell.command import Command, Reply

COMMANDS = [command for menu in switch_catalog().menus for command in menu.commands]
SNAPSHOT = (
    "port/showinfo", "port/allprint", "vlan/allprint", "hash/showinfo", "hash/print", "listen/print",
    "debug/list", "help",
)  # fmt: skip


def good(argument: Argument[Any]) -> str:
    """Give a text that an argument takes."""
    if isinstance(argument, Optional):
        return good(argument.argument)
    match argument:
        case Integer():
            return str(min(argument.high, max(argument.low, 3)))
        case Switch():
            return "1"
        case Mac():
            return "02:00:00:00:00:09"
        case Choice():
            return argument.words[0]
        case Place():
            return "tap://tap0"
        case _:
            return "word"


def bad(argument: Argument[Any]) -> list[str]:
    """Give texts that an argument must refuse; none where anything goes."""
    if isinstance(argument, Optional):
        return bad(argument.argument)
    match argument:
        case Integer():
            outside = [str(argument.low - 1), str(argument.high + 1)]
            return [*outside, "x", "0x1", "1.5", "--1", "9" * 3000, "\u0663", "1,2"]
        case Switch():
            return ["2", "-1", "on", "x" * 3000]
        case Mac():
            return ["02:00:00:00:00", "02:00:00:00:00:00:01", "x", "02:00:00:00:00:zz", ":" * 3000]
        case Choice():
            return ["x", "PORT", "x" * 3000]
        case Place():
            return ["x", "tap://", "nosuch://x", "tap://x?nosuch=1", "udp://x:99999", "x" * 3000]
        case _:
            return []


def cases() -> Iterator[tuple[str, str]]:
    """Give wrong lines, and what the error must name."""
    for command in COMMANDS:
        given = [good(argument) for argument in command.arguments]
        if not any(isinstance(argument, Text) or argument.takes_rest for argument in command.arguments):
            yield f"{command.path} {' '.join([*given, 'surplus'])}", "'surplus' is too much"
        for index, argument in enumerate(command.arguments):
            if not argument.optional:
                yield f"{command.path} {' '.join(given[:index])}", f"{argument.placeholder} is missing"
            name = "switch" if argument.placeholder == "0/1" else argument.placeholder
            for wrong in bad(argument):
                line = " ".join([command.path, *given[:index], wrong, *given[index + 1 :]])
                yield line, name


def run(switch: SmallSwitch, line: str) -> Reply:
    async def main() -> Reply:
        return await execute(switch, Session(switch.catalog), line)

    return trio.run(main)


def state(switch: SmallSwitch) -> list[object]:
    found = []
    for command in SNAPSHOT:
        reply = run(switch, f"{command} -j")
        assert reply.errno == 0
        found.append(json.loads("\n".join(reply.lines or ())))
    return found


@pytest.fixture(scope="module")
def switch() -> SmallSwitch:
    made = SmallSwitch()
    made.learn("02:00:00:00:00:01", made.plug("x", 3))
    run(made, "vlan/create 7")
    return made


NEED_WIREGUARD = {"peer/add", "peer/invite"}  # see test_peer


@pytest.mark.parametrize(("line", "named"), list(cases()), ids=lambda text: text[:50])
def test_wrong_argument_is_named_and_nothing_changes(switch: SmallSwitch, line: str, named: str) -> None:
    before = state(switch)

    reply = run(switch, line)

    assert reply.errno == 22
    assert named in reply.detail
    assert len(reply.detail) < 400
    assert state(switch) == before


def test_range_is_part_of_the_error(switch: SmallSwitch) -> None:
    for command in COMMANDS:
        for index, argument in enumerate(command.arguments):
            inner = argument.argument if isinstance(argument, Optional) else argument
            if isinstance(inner, Integer):
                given = [good(one) for one in command.arguments[:index]]
                detail = run(switch, " ".join([command.path, *given, str(inner.high + 1)])).detail
                assert f"from {inner.low} to {inner.high}" in detail


@pytest.mark.parametrize(
    "command",
    [one for one in COMMANDS if one.prints and one.path not in NEED_WIREGUARD],
    ids=lambda one: one.path,
)
def test_every_printing_command_has_a_document(switch: SmallSwitch, command: Command) -> None:
    arguments = {
        "hash/find": "02:00:00:00:00:01", "listen/add": "udp://:9999", "port/attach": "tap://tap0",
        "fstp/setfstp": "1",
        "port/impair": "3",
    }.get(command.path, "")  # fmt: skip
    if command.path == "plugin/list":
        assert run(switch, "plugin/add iplog").errno == 0
    for line in (f"{command.path} {arguments} -j", f"{command.path} -j {arguments}"):
        reply = run(switch, line)
        assert reply.errno == 0, reply.detail
        document = json.loads("\n".join(reply.lines or ()))
        assert document is not None
        assert not isinstance(document, dict) or "lines" not in document


def test_flag_for_json_is_an_argument_too_much_where_nothing_is_printed(switch: SmallSwitch) -> None:
    assert run(switch, "vlan/create 9 -j").detail.startswith("'-j' is too much")


def test_failed_command_has_no_document(switch: SmallSwitch) -> None:
    reply = run(switch, "port/print 9 -j")
    assert (reply.errno, reply.lines) == (6, ())


def documented_keys() -> dict[str, set[str]]:
    """Read the README's table: the keys of each command, before any bracket."""
    readme = (Path(__file__).parents[3] / "README.md").read_text().split("## For programs")[1]
    found = {}
    for commands, keys in re.findall(r"^\| (`.*?`) \| (.*) \|$", readme, re.MULTILINE):
        outer = re.sub(r"\([^)]*\)", "", keys)
        for command in re.findall(r"`([^`]+)`", commands):
            found[command] = set(re.findall(r"`([^`]+)`", outer))
    return found


def test_keys_of_documents_are_those_of_the_readme() -> None:
    switch = SmallSwitch()
    switch.learn("02:00:00:00:00:01", switch.plug("x", 3))
    run(switch, "plugin/add iplog")
    documented = documented_keys()
    assert set(documented) == {command.path for command in COMMANDS if command.prints}
    arguments = {
        "hash/find": "02:00:00:00:00:01", "listen/add": "udp://:9999", "port/attach": "tap://tap0",
        "fstp/setfstp": "1",
        "port/impair": "3",
    }  # fmt: skip
    for command in ("listen/add", *documented.keys() - NEED_WIREGUARD):
        reply = run(switch, f"{command} {arguments.get(command, '')} -j")
        document = json.loads("\n".join(reply.lines or ()))
        for one in document if isinstance(document, list) else [document]:
            assert set(one) == documented[command], command
