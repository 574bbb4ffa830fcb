"""What the commands say and how they end when they cannot do what they are asked to."""

from __future__ import annotations

import contextlib
import os
import pwd
import socket
from typing import TYPE_CHECKING

import pytest

from tests.system.processes import VPORT, VSWITCH, Process, run
from tests.system.requirements import require_program, require_root, require_tun
from tests.system.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path


def free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        ([*VSWITCH, "0"], "'0' is not a number from 1 to 65535"),
        ([*VSWITCH, "70000"], "'70000' is not a number from 1 to 65535"),
        ([*VSWITCH, "--listen", "ftp://x"], "must begin with one of udp://"),
        (
            [*VSWITCH, "--listen", "udp://:9?speed=1"],
            "unknown option 'speed'; udp has idle, keepalive, local, mac",
        ),
        ([*VSWITCH, "--numports", "0"], "'0' is not a number from 1 to"),
        ([*VSWITCH, "--mgmtmode", "rw"], "not a file mode in octal"),
        ([*VSWITCH, "--listen", "host://10.1.1.1/24"], "host does not listen; attach it instead"),
        ([*VSWITCH, "--mgmt", "/tmp/" + "x" * 120], "has 125 bytes, 107 are allowed"),
        ([*VSWITCH, "--mode", "0660"], "--mode goes with --sock DIR"),
        ([*VSWITCH, "--sock", "/tmp/x", "--mode", "rw"], "not a file mode in octal"),
        ([*VSWITCH, "--sock", "/tmp/" + "x" * 120], "the control directory's path has 125 bytes"),
        ([*VSWITCH, "--listen", "stdio:"], "stdio does not listen; attach it instead"),
        ([*VPORT, "cmd:", "stdio:"], "there is no command"),
        ([*VPORT], "expected SERVER PORT or two locators, but got 0 arguments"),
        ([*VPORT, "server", "0"], "UDP port '0' is not a number from 1 to 65535"),
        ([*VPORT, "server", "9999", "--tap", "a-name-too-long-for-it"], "1 to 15 are allowed"),
        ([*VPORT, "server", "9999", "--address", "10.1.1.1"], "not an address with a prefix length"),
        ([*VPORT, "udp://x:1", "tap://t", "--mtu", "1400"], "write tap://NAME?mtu=…"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_what_is_right(command: list[str], complaint: str) -> None:
    if "--listen" in command and "host" in complaint:
        command = [*command, "--mgmt", "/nowhere"]
    done = run(command)

    assert complaint in done.stderr
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_udp_port_in_use_is_named() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        done = run([*VSWITCH, "--listen", f"udp://127.0.0.1:{port}"])

    assert done.returncode == 1
    assert f"127.0.0.1:{port}" in done.stderr
    assert "in use" in done.stderr
    assert "Traceback" not in done.stderr


def test_management_path_of_a_living_switch_is_refused_and_of_a_dead_one_replaced(tmp_path: Path) -> None:
    path = tmp_path / "vs.mgmt"
    command = [*VSWITCH, "--listen", f"udp://127.0.0.1:{free_udp_port()}", "--mgmt", str(path)]
    with Process(command, tmp_path / "one") as one:
        one.wait_for("management shell on")
        assert path.stat().st_mode & 0o777 == 0o600
        command[-3] = f"udp://127.0.0.1:{free_udp_port()}"
        second = run(command)
        assert second.returncode == 1
        assert "in use by another switch" in second.stderr
        one.popen.kill()
        one.wait()

    assert path.is_socket()
    with Process(command, tmp_path / "two") as two:
        two.wait_for("management shell on")
        assert two.end() == 0
    assert not path.exists()


def as_nobody(command: list[str]) -> list[str]:
    require_root()
    require_program("setpriv", "util-linux")
    nobody = pwd.getpwnam("nobody")
    return ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups", *command]


def test_tap_without_permission_says_how_to_get_it() -> None:
    require_tun()
    done = run(as_nobody([*VPORT, "127.0.0.1", "9999", "--tap", "vstnope"]))
    if "Permission denied" in done.stderr and "python" in done.stderr.split(":")[0]:
        pytest.skip("user nobody may not read this Python")

    assert done.returncode == 1
    assert "sudo" in done.stderr
    open_to_all = os.stat("/dev/net/tun").st_mode & 0o006 == 0o006
    assert ("ip tuntap add" if open_to_all else "/dev/net/tun") in done.stderr


def test_tap_name_in_use_by_another_device_is_refused() -> None:
    require_tun()
    done = run([*VPORT, "127.0.0.1", "9999", "--tap", "lo"])

    assert done.returncode == 1
    assert "lo" in done.stderr
    assert "Traceback" not in done.stderr


def test_port_waits_for_a_host_name_that_does_not_resolve_yet(tmp_path: Path) -> None:
    command = [*VPORT, "udp://no-such-host.invalid:9999", "host://10.1.1.2/24"]
    with Process(command, tmp_path / "log") as port:
        port.wait_for("no-such-host.invalid")
        assert port.popen.poll() is None
        assert port.end() == 0
    assert "Traceback" not in port.output


def test_hostile_datagrams_leave_the_switch_working(tmp_path: Path) -> None:
    udp_port = free_udp_port()
    path = tmp_path / "mgmt"
    command = [*VSWITCH, "--listen", f"udp://127.0.0.1:{udp_port}", "--mgmt", str(path), "--numports", "20"]
    command += ["--attach", "host://10.1.1.1/24", "--attach", "host://10.1.1.2/24?ping=10.1.1.1&interval=0.1"]
    with (
        Process(command, tmp_path / "log") as switch,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer,
    ):
        switch.wait_for("management shell on")
        peer.connect(("127.0.0.1", udp_port))
        station = bytes.fromhex("ffffffffffff0200000000") + bytes([9]) + b"\x88\xb5"
        for datagram in (b"", b"x", station[:13], station, station.ljust(65507, b"\0"), b"\xff" * 9000):
            peer.send(datagram)
        for number in range(1000):
            peer.send(b"\xff" * 6 + b"\x02\x00\x00\x00" + number.to_bytes(2, "big") + b"\x88\xb5" + bytes(46))
        replies = switch.output.count("reply from 10.1.1.1")
        wait_until("ping goes on", lambda: switch.output.count("reply from 10.1.1.1") > replies + 3)
        table = run(["socat", "-t2", "-", f"UNIX-CONNECT:{path}"], stdin="hash/print\nlogout\n").stdout
        assert "02:00:00:00:03:e7" in table
        assert switch.end() == 0
    assert "Traceback" not in switch.output


def test_newcomers_beyond_the_number_of_ports_are_refused_and_logged_once(tmp_path: Path) -> None:
    udp_port = free_udp_port()
    command = [*VSWITCH, "--listen", f"udp://127.0.0.1:{udp_port}", "--numports", "2"]
    frame = bytes.fromhex("ffffffffffff 020000000009 88b5") + bytes(46)
    with Process(command, tmp_path / "log") as switch, contextlib.ExitStack() as stack:
        switch.wait_for("listening on")
        for _ in range(10):
            peer = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            for _ in range(3):
                peer.sendto(frame, ("127.0.0.1", udp_port))
        switch.wait_for("all 2 ports are in use")
        assert switch.end() == 0
    assert switch.output.count("all 2 ports are in use") == 1
    assert switch.output.count("has joined") == 2


def test_help_and_version_of_both_commands() -> None:
    for command, name in ((VSWITCH, "vswitch"), (VPORT, "vport")):
        assert run([*command, "--version"]).stdout.startswith(f"{name} ")
        text = run([*command, "--help"])
        assert text.returncode == 0
        assert "Examples:" in text.stdout
        assert "Exit status:" in text.stdout


def test_default_listener_is_loopback_and_gives_no_warning(tmp_path: Path) -> None:
    if os.environ.get("CI") is None and not _is_free(9999):
        pytest.skip("UDP port 9999 is in use on this machine")
    with Process([*VSWITCH], tmp_path / "log") as switch:
        switch.wait_for("listening on udp://127.0.0.1:9999")
        assert switch.end() == 0
    assert "warning" not in switch.output


def test_listening_on_all_addresses_warns_in_one_line(tmp_path: Path) -> None:
    udp_port = free_udp_port()
    with Process([*VSWITCH, str(udp_port)], tmp_path / "log") as switch:
        switch.wait_for("listening on")
        assert switch.end() == 0
    assert switch.output.count("authenticates nobody") == 1


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0 and _can_bind(port)


def _can_bind(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
