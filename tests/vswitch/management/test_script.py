"""Scripts: ``load``, and what their replies look like on the wire."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from tests.vswitch.management.small_switch import SmallSwitch
from vport.ethernet import Vid
from vport.shell import script
from vport.shell.command import Reply, Session, execute
from vport.shell.protocol import PROMPT, encode_reply
from vswitch.config_file import read_config
from vswitch.management.menus import switch_catalog

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def switch() -> SmallSwitch:
    return SmallSwitch()


@pytest.fixture
def session() -> Session:
    return Session(switch_catalog())


async def run(switch: SmallSwitch, session: Session, line: str) -> str:
    """Carry out a line and give the reply as it goes over the wire, without prompt."""
    return encode_reply(await execute(switch, session, line)).removesuffix(PROMPT).decode()


async def test_script_is_answered_line_by_line_as_in_vde(
    switch: SmallSwitch, session: Session, tmp_path: Path
) -> None:
    path = tmp_path / "lan.rc"
    path.write_text(
        "# set up\n\n   \nvlan/create 10\r\nbogus command\nport/showinfo\nlogout\nshutdown\nvlan/create 11"
    )

    said = await run(switch, session, f"load {path}  ")

    assert said == (
        f"vde[{path}]: # set up\n"
        f"vde[{path}]: \n"
        f"vde[{path}]:    \n"
        f"vde[{path}]: vlan/create 10\n"
        "1000 Success\n"
        f"vde[{path}]: bogus command\n"
        "1038 Function not implemented\n"
        f"vde[{path}]: port/showinfo\n"
        "0000 DATA END WITH '.'\nNumports=32\nHUB=false\ncounters=true\n.\n1000 Success\n"
        f"vde[{path}]: logout\n"
        f"vde[{path}]: shutdown\n"
        f"vde[{path}]: vlan/create 11\n"
        "1000 Success\n"
        "1000 Success\n"
    )
    assert {10, 11} <= set(switch.bridge.vlans)
    assert not switch.stopped.is_set()


async def test_scripts_nest(switch: SmallSwitch, session: Session, tmp_path: Path) -> None:
    inner, outer = tmp_path / "inner", tmp_path / "outer"
    inner.write_text("vlan/create 10\n")
    outer.write_text(f"load {inner}\nload {inner}\n")

    said = await run(switch, session, f"load {outer}")

    assert said == (
        f"vde[{outer}]: load {inner}\nvde[{inner}]: vlan/create 10\n1000 Success\n1000 Success\n"
        f"vde[{outer}]: load {inner}\nvde[{inner}]: vlan/create 10\n1017 File exists: VLAN 10 exists\n"
        "1000 Success\n1000 Success\n"
    )


async def test_script_that_loads_itself_is_refused_at_the_second_time(
    switch: SmallSwitch, session: Session, tmp_path: Path
) -> None:
    one, two, link = tmp_path / "one", tmp_path / "two", tmp_path / "link"
    one.write_text(f"vlan/create 1\nload {two}\nvlan/create 3\n")
    two.write_text(f"vlan/create 2\nload {link}\n")
    link.symlink_to(one)

    said = await run(switch, session, f"load {one}")

    assert said.count("loads itself") == 1
    assert "1040 " in said
    assert {1, 2, 3} <= set(switch.bridge.vlans)
    assert session.scripts == []


async def test_nesting_is_bounded(switch: SmallSwitch, session: Session, tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / str(number)).write_text(f"vlan/create {number + 1}\nload {tmp_path / str(number + 1)}\n")

    said = await run(switch, session, f"load {tmp_path / '0'}")

    assert said.count("more than 8 scripts load one another") == 1
    assert set(switch.bridge.vlans) == set(range(9))


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("missing", errno.ENOENT),
        (".", errno.EISDIR),
        ("fifo", errno.EINVAL),
        ("/dev/zero", errno.EINVAL),
        ("huge", errno.EFBIG),
        ("x" * 300, errno.ENAMETOOLONG),
        ("a\0b", errno.EINVAL),
    ],
)
async def test_what_is_no_script_is_refused(
    name: str, number: int, switch: SmallSwitch, session: Session, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "huge").write_bytes(b"#" * (script.SIZE_MAX + 1))

    reply = await execute(switch, session, f"load {tmp_path / name}")

    assert reply.errno == number
    assert reply.steps == ()


async def test_load_without_a_path_names_it(switch: SmallSwitch, session: Session) -> None:
    assert await run(switch, session, "load") == (
        "1022 Invalid argument: path is missing: a path; the form is: load path\n"
    )


async def test_output_is_bounded(
    switch: SmallSwitch, session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "OUTPUT_MAX", 10)
    (tmp_path / "rc").write_text("port/showinfo\n" * 10)

    said = await run(switch, session, f"load {tmp_path / 'rc'}")
    assert said.count("Numports") == 4
    assert said.count("not run: the script printed more than 10 lines") == 6
    assert (await run(switch, session, f"load {tmp_path / 'rc'}")).count("Numports") == 4


async def test_script_of_bytes_that_are_not_text_is_run_as_far_as_it_goes(
    switch: SmallSwitch, session: Session, tmp_path: Path
) -> None:
    (tmp_path / "rc").write_bytes(b"\xff\xfe\0\nvlan/create 5\n\x1b[2J\n")

    said = await run(switch, session, f"load {tmp_path / 'rc'}")

    assert 5 in switch.bridge.vlans
    assert "\x1b" not in said
    assert said.isprintable() or "\n" in said


async def test_failures_name_file_line_and_command(
    switch: SmallSwitch, session: Session, tmp_path: Path
) -> None:
    inner, outer = tmp_path / "inner", tmp_path / "outer"
    inner.write_text("vlan/create 10\nvlan/create ten\n")
    outer.write_text(f"\nload {inner}\nbogus\n")

    steps = await script.run_script(switch, session, str(outer))

    assert list(script.failures(steps)) == [
        f"{inner}:2: vlan/create ten: Invalid argument: VLAN must be a number from 1 to 4094, not 'ten'",
        f"{outer}:3: bogus: Function not implemented",
    ]


# --- config/ ---


async def test_saved_state_is_the_running_state(
    switch: SmallSwitch, session: Session, tmp_path: Path
) -> None:
    path = tmp_path / "lan.toml"
    port = switch.bridge.create_port(4, allocatable=False)
    switch.bridge.create_vlan(Vid(10))
    switch.bridge.set_pvid(port, Vid(10))
    switch.bridge.create_port(5)

    assert await run(switch, session, f"config/save {path}") == "1000 Success\n"

    assert path.stat().st_mode & 0o777 == 0o600
    saved = read_config(path.read_text(), str(path))
    assert saved == switch.running_settings()
    assert [port.number for port in saved.ports] == [4]
    shown = await execute(switch, session, "config/show")
    assert "\n".join(shown.lines or ()) + "\n" == path.read_text()


async def test_save_replaces_a_file_and_refuses_what_is_none(
    switch: SmallSwitch, session: Session, tmp_path: Path
) -> None:
    old, link = tmp_path / "old.toml", tmp_path / "link"
    old.write_text("x")
    old.chmod(0o644)
    link.symlink_to(old)
    assert await execute(switch, session, f"config/save {link}") == Reply()
    assert link.is_symlink()
    assert "mac = " in old.read_text()
    assert old.stat().st_mode & 0o777 == 0o600

    for path, number in ((tmp_path, errno.EINVAL), (tmp_path / "no" / "x", errno.ENOENT)):
        assert (await execute(switch, session, f"config/save {path}")).errno == number
    assert (await execute(switch, session, "config/save /dev/null")).errno == errno.EINVAL
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["link", "old.toml"]


async def test_logout_leaves_the_switchs_own_terminal_open(switch: SmallSwitch) -> None:
    reply = await execute(switch, Session(switch_catalog(), is_console=True), "logout")
    assert not reply.ends_session
    assert "own terminal" in reply.detail
