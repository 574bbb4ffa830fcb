"""``vswitchterm`` as people use it: at a terminal, with one command, with a script; also on VDE's switch."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import termios
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.system.processes import VSWITCHTERM, Process, run
from tests.system.screen import Screen
from tests.system.switches import ManagedSwitch, our_switch, vde_switch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def switch(tmp_path: Path) -> Iterator[ManagedSwitch]:
    with our_switch(tmp_path) as running:
        yield running


@contextmanager
def stopped(switch: ManagedSwitch) -> Iterator[None]:
    """Have the switch not answer for a while."""
    switch.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        switch.process.send_signal(signal.SIGCONT)


# --- one command, a script ---


def test_one_command_prints_its_lines_and_gives_its_verdict(switch: ManagedSwitch) -> None:
    done = run([*VSWITCHTERM, switch.path, "port/print", "1"])
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Port 0001 untagged_vlan=0000 ACTIVE")

    done = run([*VSWITCHTERM, switch.path, "vlan/create", "0"])
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "vswitchterm: Invalid argument: VLAN must be a number from 1 to 4094, not '0'\n"


def test_answer_as_a_document_is_json(switch: ManagedSwitch) -> None:
    done = run([*VSWITCHTERM, "-j", switch.path, "port/print", "1"])
    assert (done.returncode, done.stderr) == (0, "")
    (port,) = json.loads(done.stdout)
    assert (port["port"], port["endpoints"][0]["module"]) == (1, "host")
    done = run([*VSWITCHTERM, "-j", switch.path, "port/print", "77"])
    assert (done.returncode, done.stdout) == (1, "")
    assert "port 77 does not exist" in done.stderr


def test_script_on_standard_input_runs_to_its_end_and_names_what_failed(switch: ManagedSwitch) -> None:
    script = "# a comment\n\nvlan/create 7\nvlan/create 7\nbogus\nvlan/print 7"
    done = run([*VSWITCHTERM, switch.path], stdin=script)
    assert (done.returncode, done.stdout) == (1, "VLAN 0007\n")
    assert done.stderr == (
        "vswitchterm: line 4: vlan/create 7: File exists: VLAN 7 exists\n"
        "vswitchterm: line 5: bogus: Function not implemented\n"
    )
    done = run([*VSWITCHTERM, switch.path], stdin="vlan/print 7\nport/showinfo\n")
    assert (done.returncode, done.stderr) == (0, "")


def test_shutdown_is_a_success(switch: ManagedSwitch) -> None:
    done = run([*VSWITCHTERM, switch.path, "shutdown"])
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert switch.process.wait() == 0
    done = run([*VSWITCHTERM, switch.path, "showinfo"])
    assert done.returncode == 1
    assert "there is no such socket; is the switch running" in done.stderr


def test_script_ends_when_the_switch_goes_away(switch: ManagedSwitch, tmp_path: Path) -> None:
    with Process([*VSWITCHTERM, switch.path], tmp_path / "term.log", stdin=subprocess.PIPE) as client:
        assert client.popen.stdin is not None
        client.popen.stdin.write(b"port/showinfo\n")
        client.popen.stdin.flush()
        client.wait_for("counters=true")
        switch.process.send_signal(signal.SIGKILL)
        assert client.wait() == 1
        assert f"the switch at {switch.path} has gone away" in client.output
        client.popen.stdin.close()


@pytest.mark.parametrize(
    "arguments", [[], ["-j", "x"], ["--nosuch", "x"], ["--timeout", "0", "x", "help"], ["x", "a\nb"]]
)
def test_wrong_usage_is_told_apart(arguments: list[str]) -> None:
    done = run([*VSWITCHTERM, *arguments])
    assert done.returncode == 2
    assert "vswitchterm: error:" in done.stderr


def test_nobody_listening_is_told_with_what_helps(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for name in ("nosuch", "file", "m" * 200):
        done = run([*VSWITCHTERM, str(tmp_path / name), "help"])
        assert done.returncode == 1
        assert "cannot talk to a switch at" in done.stderr


def test_reader_that_had_enough_is_no_traceback(switch: ManagedSwitch) -> None:
    script = f"{' '.join(VSWITCHTERM)} {switch.path} help | head -n 1"
    assert run(["sh", "-c", script]).stderr == ""


def test_help_is_a_manual_page() -> None:
    done = run([*VSWITCHTERM, "--help"])
    assert done.returncode == 0
    for heading in ("keys at the terminal:", "exit status:", "files:", "examples:"):
        assert heading in done.stdout


# --- at a terminal ---


def test_menus_commands_and_arguments_are_completed(switch: ManagedSwitch, tmp_path: Path) -> None:
    prompt = f"vswitch[{switch.path}]:"
    with Screen([*VSWITCHTERM, switch.path], tmp_path) as screen:
        screen.wait_for_last_line(prompt)
        screen.write("por")
        screen.press("Tab")
        screen.wait_for_last_line(f"{prompt} port/")
        screen.write("allp")
        screen.press("Tab")
        screen.wait_for_last_line(f"{prompt} port/allprint")
        screen.write(" ")
        screen.press("Tab")  # the only port there is
        screen.wait_for_last_line(f"{prompt} port/allprint 1")
        screen.press("Enter")
        screen.wait_for("module host        : host 10.1.1.1/24")
        screen.write("hash/")
        screen.press("Tab")
        screen.wait_for("hash/setminper")
        screen.wait_for("look a station up")


def test_messages_appear_above_the_line_being_typed(switch: ManagedSwitch, tmp_path: Path) -> None:
    prompt = f"vswitch[{switch.path}]:"
    with Screen([*VSWITCHTERM, switch.path], tmp_path) as screen:
        screen.wait_for_last_line(prompt)
        screen.enter("debug/add hash")
        screen.wait_for("Success")
        screen.write("vlan/cre")
        screen.wait_for_last_line(f"{prompt} vlan/cre")
        switch.new_station("02:00:00:00:00:77")
        screen.wait_for("** hash/+ 02:00:00:00:00:77 VLAN 00:00 Port 2")
        screen.wait_for_last_line(f"{prompt} vlan/cre")
        screen.enter("ate 9")
        screen.wait_for(f"{prompt} vlan/create 9\nSuccess")


def test_history_is_kept_between_runs(switch: ManagedSwitch, tmp_path: Path) -> None:
    prompt = f"vswitch[{switch.path}]:"
    with Screen([*VSWITCHTERM, switch.path], tmp_path) as screen:
        screen.wait_for_last_line(prompt)
        screen.enter("vlan/print 0")
        screen.wait_for("VLAN 0000")
        screen.press("C-d")
        screen.wait_for("[ended with 0]")
    assert (tmp_path / ".local/state/vswitch/history").exists()
    with Screen([*VSWITCHTERM, switch.path], tmp_path) as screen:
        screen.wait_for_last_line(prompt)
        screen.press("Up")
        screen.wait_for_last_line(f"{prompt} vlan/print 0")


def test_what_is_typed_ahead_is_there_for_the_next_line(switch: ManagedSwitch, tmp_path: Path) -> None:
    prompt = f"vswitch[{switch.path}]:"
    with Screen([*VSWITCHTERM, switch.path], tmp_path) as screen:
        screen.wait_for_last_line(prompt)
        with stopped(switch):  # the answer takes its time
            screen.enter("vlan/print 0")
            screen.wait_until_line_is_taken()
            screen.enter("vlan/create 9")
            screen.press("C-d")
        screen.wait_for("[ended with 0]")
        assert f"{prompt} vlan/create 9\nSuccess\n{prompt}" in screen.text


def test_terminal_is_as_it_was_after_an_interrupted_command(switch: ManagedSwitch, tmp_path: Path) -> None:
    prompt = f"vswitch[{switch.path}]:"
    with Screen([*VSWITCHTERM, switch.path], tmp_path) as screen:
        screen.wait_for_last_line(prompt)
        with stopped(switch):
            screen.enter("vlan/print 0")
            screen.wait_until_line_is_taken()
            screen.press("C-c")
            screen.wait_for("vswitchterm: interrupted")
            screen.wait_for("[ended with 1]")
        assert screen.modes & termios.ICANON
        assert screen.modes & termios.ECHO


def test_control_c_gives_the_line_up(switch: ManagedSwitch, tmp_path: Path) -> None:
    prompt = f"vswitch[{switch.path}]:"
    with Screen([*VSWITCHTERM, switch.path], tmp_path) as screen:
        screen.wait_for_last_line(prompt)
        screen.write("shutdown")
        screen.wait_for_last_line(f"{prompt} shutdown")
        screen.press("C-c")
        screen.wait_for_last_line(prompt)
        screen.enter("vlan/create 0")
        screen.wait_for("Invalid argument: VLAN must be a number from 1 to 4094, not '0'")
        screen.enter("logout")
        screen.wait_for("[ended with 0]")
    assert switch.process.popen.poll() is None


def test_watched_command_is_drawn_again_until_control_c(switch: ManagedSwitch, tmp_path: Path) -> None:
    prompt = f"vswitch[{switch.path}]:"
    with Screen([*VSWITCHTERM, switch.path], tmp_path) as screen:
        screen.wait_for_last_line(prompt)
        screen.enter("debug/add hash")
        screen.enter("watch 0.1 hash/print")
        screen.wait_for("hash/print, every 0.1 s (Ctrl-C ends)")
        assert prompt not in screen.text
        switch.new_station("02:00:00:00:00:77")
        screen.wait_for("Addr: 02:00:00:00:00:77")
        assert "** hash/+" not in screen.text
        screen.press("C-c")
        screen.wait_for_last_line(prompt)
        screen.wait_for("** hash/+ 02:00:00:00:00:77")
        assert "(Ctrl-C ends)" not in screen.text
        screen.enter("watch port/print 99")
        screen.wait_for("port 99 does not exist")
        screen.enter("watch 0 help")
        screen.wait_for("SECONDS must be a number from 0.1 to 3600, not '0'")
        screen.write("watch 2 port/pr")
        screen.press("Tab")
        screen.wait_for_last_line(f"{prompt} watch 2 port/print")


def test_top_shows_rates_and_leaves_the_terminal_sane(switch: ManagedSwitch, tmp_path: Path) -> None:
    script = f"{' '.join(VSWITCHTERM)} {switch.path}; stty -a | grep -o ' -\\?icanon'"
    with Screen(["bash", "-c", script], tmp_path) as screen:
        screen.wait_for_last_line(f"vswitch[{switch.path}]:")
        screen.enter("top 0.2")
        screen.wait_for("IN bit/s")
        screen.wait_for("host 10.1.1.1/24")
        screen.press("C-c")
        screen.wait_for_last_line(f"vswitch[{switch.path}]:")
        screen.enter("logout")
        screen.wait_for("[ended with 0]")
        assert " icanon" in screen.text


def test_watching_ends_when_the_switch_goes_away(switch: ManagedSwitch, tmp_path: Path) -> None:
    with Screen([*VSWITCHTERM, switch.path], tmp_path) as screen:
        screen.wait_for_last_line(f"vswitch[{switch.path}]:")
        screen.enter("top 0.2")
        screen.wait_for("IN bit/s")
        switch.process.send_signal(signal.SIGKILL)
        screen.wait_for("has gone away")
        screen.wait_for("[ended with 1]")


def test_switch_that_goes_away_is_told_at_once(switch: ManagedSwitch, tmp_path: Path) -> None:
    with Screen([*VSWITCHTERM, switch.path], tmp_path) as screen:
        screen.wait_for_last_line(f"vswitch[{switch.path}]:")
        screen.write("half a li")
        switch.process.send_signal(signal.SIGKILL)
        screen.wait_for(f"vswitchterm: the switch at {switch.path} has gone away")
        screen.wait_for("[ended with 1]")


def test_termination_gives_the_terminal_back(switch: ManagedSwitch, tmp_path: Path) -> None:
    script = f"{' '.join(VSWITCHTERM)} {switch.path} & echo $! >{tmp_path}/pid; fg >/dev/null"
    with Screen(["bash", "-mc", f"{script}; stty -a | grep -o ' -\\?icanon'"], tmp_path) as screen:
        screen.wait_for_last_line(f"vswitch[{switch.path}]:")
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGTERM)
        screen.wait_for("[ended with 0]")
        assert " icanon" in screen.text


# --- on VDE's switch ---


def test_vde_switch_is_understood(tmp_path: Path) -> None:
    with vde_switch(tmp_path) as path:
        done = run([*VSWITCHTERM, path, "port/showinfo"])
        assert (done.returncode, done.stdout) == (0, "Numports=32\nHUB=false\ncounters=true\n")
        done = run([*VSWITCHTERM, path, "port/print", "77"])
        assert (done.returncode, done.stderr) == (1, "vswitchterm: Invalid argument\n")
        done = run([*VSWITCHTERM, path], stdin="vlan/create 6\nvlan/print\nvlan/create 6\nport/create 3\n")
        assert (done.returncode, done.stdout) == (1, "VLAN 0000\nVLAN 0006\n")
        assert done.stderr == "vswitchterm: line 3: vlan/create 6: File exists\n"


def test_vde_switch_is_driven_at_a_terminal(tmp_path: Path) -> None:
    with vde_switch(tmp_path) as path, Screen([*VSWITCHTERM, path], tmp_path) as screen:
        prompt = f"vswitch[{path}]:"
        screen.wait_for_last_line(prompt)
        screen.enter("port/create 4")
        screen.wait_for("Success")
        screen.write("port/setv")
        screen.press("Tab")
        screen.wait_for_last_line(f"{prompt} port/setvlan")
        screen.write(" ")
        screen.press("Tab")
        screen.wait_for_last_line(f"{prompt} port/setvlan 4")
        screen.write(" ")
        screen.press("Tab")
        screen.wait_for_last_line(f"{prompt} port/setvlan 4 0")
        screen.press("Enter")
        screen.enter("debug/add port")
        screen.enter("port/create 5")
        screen.wait_for("** port/+ 05")
        screen.enter("top")
        screen.wait_for("No such device or address")  # VDE's switch takes -j for the number of a port
        screen.enter("shutdown")
        screen.wait_for("[ended with 0]")
