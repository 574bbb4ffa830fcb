"""VDE's own clients on our management socket, as Debian ships them."""

from __future__ import annotations

import ctypes.util
import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.system.processes import Process, run
from tests.system.requirements import missing, require_program
from tests.system.screen import Screen
from tests.system.switches import ManagedSwitch, our_switch
from vswitch.management.general import BANNER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GREETING = "\n".join(BANNER) + "\n\nvde$ "
PORT_INFO = "Numports=1024\nHUB=false\ncounters=true\n"


@pytest.fixture
def switch(tmp_path: Path) -> Iterator[ManagedSwitch]:
    with our_switch(tmp_path) as running:
        yield running


def test_vdeterm_converses(switch: ManagedSwitch, tmp_path: Path) -> None:
    require_program("vdeterm", "vde2")
    prompt = f"vde[{switch.path}]:"
    with Screen(["vdeterm", switch.path], tmp_path) as screen:
        screen.wait_for_last_line(prompt)
        assert BANNER[0] in screen.text

        screen.enter("port/showinfo")
        screen.wait_for("counters=true\nSuccess")

        screen.enter("vlan/create 0")
        screen.wait_for("Invalid argument: VLAN must be a number from 1 to 4094, not '0'")

        screen.write("port/allp")
        screen.press("Tab")
        screen.wait_for_last_line(f"{prompt} port/allprint")
        screen.press("Enter")
        screen.wait_for("module host        : host 10.1.1.1/24")


def test_vdeterm_shows_messages_while_a_line_is_typed(switch: ManagedSwitch, tmp_path: Path) -> None:
    require_program("vdeterm", "vde2")
    prompt = f"vde[{switch.path}]:"
    with Screen(["vdeterm", switch.path], tmp_path) as screen:
        screen.wait_for_last_line(prompt)
        screen.enter("debug/add hash")
        screen.wait_for("Success")
        screen.write("half a li")
        screen.wait_for_last_line(f"{prompt} half a li")
        switch.new_station("02:00:00:00:00:77")
        screen.wait_for("** DBG MSG: hash/+ 02:00:00:00:00:77 VLAN 00:00 Port 2")
        screen.wait_for_last_line(f"{prompt} half a li")


def test_vdeterm_shuts_the_switch_down(switch: ManagedSwitch, tmp_path: Path) -> None:
    require_program("vdeterm", "vde2")
    with Screen(["vdeterm", switch.path], tmp_path) as screen:
        screen.wait_for_last_line(f"vde[{switch.path}]:")
        screen.enter("shutdown")
        screen.wait_for("[ended with 0]")
        assert switch.process.wait() == 0


def test_unixterm_gets_an_answer_to_each_of_several_piped_lines(
    switch: ManagedSwitch, tmp_path: Path
) -> None:
    require_program("unixterm", "vde2")
    with Process(["unixterm", switch.path], tmp_path / "unixterm.log", stdin=subprocess.PIPE) as client:
        assert client.popen.stdin is not None
        client.popen.stdin.write(b"port/showinfo\nvlan/create 7\nvlan/create 7\nlogout\n")
        client.popen.stdin.flush()
        client.wait_for("9999 END OF SESSION")
        client.popen.stdin.close()
        assert client.output == (
            GREETING + f"0000 DATA END WITH '.'\n{PORT_INFO}.\n1000 Success\n\nvde$ 1000 Success\n\n"
            "vde$ 1017 File exists: VLAN 7 exists\n\nvde$ 9999 END OF SESSION"
        )


@pytest.mark.parametrize(
    ("command", "lines"),
    [
        ("port/showinfo", PORT_INFO),
        ("vlan/create 12", ""),
        ("vlan/create 0", ""),
        ("port/print 99", ""),
        ("port/createauto", "Port 0002\n"),
        ("port/setuser 1 no-such-user", ""),
        ("listen/remove 99", ""),
        ("nosuch", ""),
    ],
)
def test_vdecmd_understands_the_end_of_every_reply(switch: ManagedSwitch, command: str, lines: str) -> None:
    require_program("unixcmd", "vde2")
    started = time.monotonic()
    done = run(["unixcmd", "-s", switch.path, "-f", "/etc/vde2/vdecmd", *command.split()])
    assert time.monotonic() - started < 0.9, "vdecmd waited for its time-out of 1 s"
    assert done.stdout.replace("\0", "") == lines
    assert done.stderr == ""


def test_socat_scripts_with_several_commands_in_one_write(switch: ManagedSwitch) -> None:
    require_program("socat")
    done = run(
        ["socat", "-t10", "-", f"UNIX-CONNECT:{switch.path}"],
        stdin="vlan/create 7\r\n# comment\n\nvlan/print 7\nbogus\nport/showinfo",
    )
    assert done.returncode == 0
    assert done.stdout == (
        GREETING + "1000 Success\n\nvde$ \nvde$ \nvde$ 0000 DATA END WITH '.'\nVLAN 0007\n.\n1000 Success\n\n"
        "vde$ 1038 Function not implemented\n\n"
        f"vde$ 0000 DATA END WITH '.'\n{PORT_INFO}.\n1000 Success\n\nvde$ "
    )


_LIBVDEMGMT = """\
import ctypes, json, sys

class Output(ctypes.Structure):
    _fields_ = [("text", ctypes.c_void_p), ("size", ctypes.c_size_t)]

library = ctypes.CDLL("libvdemgmt.so.0")
library.vdemgmt_open.restype = ctypes.c_void_p
Callback = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p)
session = ctypes.c_void_p(library.vdemgmt_open(sys.argv[1].encode()))
found = {}
for name in ("banner", "prompt", "version"):
    getter = getattr(library, "vdemgmt_get" + name)
    getter.restype = ctypes.c_char_p
    found[name] = getter(session).decode()
for command in sys.argv[2:]:
    output = Output()
    status = library.vdemgmt_sendcmd(session, command.encode(), ctypes.byref(output))
    text = ctypes.string_at(output.text, output.size).decode() if output.text else ""
    found[command] = [status, text.replace("\\0", "")]
messages = []
callback = Callback(lambda path, tag, text: messages.append([path.decode(), tag, text.decode()]))
found["registered"] = library.vdemgmt_asyncreg(session, b"port/+", callback)
print("ready", flush=True)
sys.stdin.readline()
library.vdemgmt_asyncrecv(session)
library.vdemgmt_close(session)
print(json.dumps({**found, "messages": messages}))
"""


def test_libvdemgmt_parses_replies_details_and_messages(switch: ManagedSwitch, tmp_path: Path) -> None:
    if ctypes.util.find_library("vdemgmt") is None and not _loads("libvdemgmt.so.0"):
        missing("needs libvdemgmt.so.0 (apt install vde2)")
    commands = ["port/showinfo", "vlan/create 0", "vlan/create 5", "vlan/create 5", "port/print 99"]
    command = [sys.executable, "-c", _LIBVDEMGMT, switch.path, *commands]
    with Process(command, tmp_path / "libvdemgmt.log", stdin=subprocess.PIPE) as client:
        client.wait_for("ready")
        switch.new_station("02:00:00:00:00:77")
        assert client.popen.stdin is not None
        client.popen.stdin.write(b"\n")
        client.popen.stdin.close()
        assert client.wait() == 0
        found = json.loads(client.output.partition("ready\n")[2])
    assert found == {
        "banner": "\n".join(BANNER),
        "prompt": "vde$ ",
        "version": BANNER[0].partition("V.")[2],
        "port/showinfo": [0, PORT_INFO],
        "vlan/create 0": [22, ""],
        "vlan/create 5": [17, ""],
        "port/print 99": [6, ""],
        "registered": 0,
        "messages": [["port/+", 0o21, "02\n"]],
    }


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
