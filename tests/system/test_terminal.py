"""The console on the terminal that the switch was started at."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.system.daemons import ask, free_udp_port, somewhere
from tests.system.processes import VSWITCH, Process
from tests.system.screen import Screen
from tests.system.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path


def test_commands_can_be_typed_where_the_switch_was_started(tmp_path: Path) -> None:
    command = [*somewhere(), "--attach", "host://10.1.1.1/24", "--mgmt", str(tmp_path / "mgmt")]
    with Screen(command, tmp_path) as screen:
        screen.wait_for("vde$")
        screen.enter("port/showinfo")
        screen.wait_for("Numports=1024")
        screen.enter("debug/add vlan")
        screen.enter("debug/add port")
        screen.wait_for("1000 Success")
        screen.enter("logout")
        screen.wait_for("own terminal")
        screen.enter("nosuch")
        screen.wait_for("1038 Function not implemented")

        assert "VLAN" in ask(tmp_path / "mgmt", "vlan/print")
        screen.wait_for_last_line("vde$")
        screen.press("C-d")
        screen.wait_for("[ended with 0]")
        assert "end of input on the terminal" in screen.text
    assert not (tmp_path / "mgmt").exists()


def test_shutdown_and_interrupt_end_the_switch_at_its_terminal(tmp_path: Path) -> None:
    for finish in ("shutdown", "C-c"):
        with Screen(somewhere(), tmp_path) as screen:
            screen.wait_for("vde$")
            screen.press(finish, "Enter") if finish == "C-c" else screen.enter(finish)
            screen.wait_for("[ended with 0]")


def test_log_lines_and_prompt_stay_apart(tmp_path: Path) -> None:
    udp_port = free_udp_port()
    with Screen([*VSWITCH, "--listen", f"udp://127.0.0.1:{udp_port}"], tmp_path) as screen:
        screen.wait_for_last_line("vde$")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.sendto(
                bytes.fromhex("ff" * 6 + "020000000009" + "88b5") + bytes(46), ("127.0.0.1", udp_port)
            )
            screen.wait_for("has joined")
        screen.wait_for_last_line("vde$")
        assert "vde$vswitch" not in screen.text.replace(" ", "")
        screen.enter("port/showinfo")
        screen.wait_for("Numports")


def test_terminal_is_left_alone_in_its_background(tmp_path: Path) -> None:
    switch = shlex.join([*somewhere(), "--mgmt", str(tmp_path / "mgmt")])
    with Screen(["bash", "--norc", "-i"], tmp_path) as screen:
        screen.enter(f"{switch} 2>/dev/null &")
        wait_until("the switch", lambda: (tmp_path / "mgmt").exists())
        screen.enter("echo typed for the $((1)) shell")
        screen.wait_for("typed for the 1 shell")
        time.sleep(1.2)  # it looks twice a second: had it read anything, it would be stopped by now
        screen.enter("jobs")
        screen.wait_for("Running")
        assert "VLAN" in ask(tmp_path / "mgmt", "vlan/print")

        screen.enter("fg")
        screen.enter("vlan/create 77")
        screen.wait_for("1000 Success")
        screen.enter("shutdown")
        wait_until("its end", lambda: not (tmp_path / "mgmt").exists())


def test_nostdin_leaves_the_terminal_alone(tmp_path: Path) -> None:
    with Screen([*somewhere(), "--nostdin"], tmp_path) as screen:
        screen.wait_for("listening on")
        screen.press("C-d")
        screen.enter("shutdown")
        screen.press("C-c")
        screen.wait_for("[ended with 0]")
        assert "vde$" not in screen.text


@pytest.mark.parametrize("kind", ["nothing", "pipe", "ended pipe"])
def test_input_that_is_no_terminal_is_not_read(kind: str, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    stdin = subprocess.DEVNULL if kind == "nothing" else reading
    try:
        if kind == "pipe":
            os.write(writing, b"shutdown\n")
        with Process(
            [*somewhere(), "--mgmt", str(tmp_path / "mgmt")], tmp_path / "log", stdin=stdin
        ) as switch:
            if kind == "ended pipe":
                os.close(writing)
                writing = -1
            switch.wait_for("management shell")
            assert "VLAN" in ask(tmp_path / "mgmt", "vlan/print")
            assert switch.end() == 0
            assert "vde$" not in switch.output
    finally:
        os.close(reading)
        if writing >= 0:
            os.close(writing)
