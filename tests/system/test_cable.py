"""A cable with faults between real network stacks, its shell with VDE's client, and its life as a program."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.system.namespaces import network_namespace, until_ping
from tests.system.processes import VPORT, VSWITCH, VSWITCHTERM, Process, run
from tests.system.requirements import require_program, require_tun
from tests.system.screen import Screen
from tests.system.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def with_input(command: list[str], log: Path) -> Iterator[Process]:
    """Run a program that ends when its standard input does."""
    with Process(command, log, stdin=subprocess.PIPE) as process:
        yield process
        assert process.popen.stdin is not None
        process.popen.stdin.close()


HOSTS = ["host://10.1.1.1/24", "host://10.1.1.2/24"]


async def test_ping_sees_the_delay_and_the_loss_of_the_cable(tmp_path: Path) -> None:
    require_tun()
    with network_namespace() as one, network_namespace() as two:
        taps = [f"tap://tap0?address=10.4.0.{n}/24&netns={space}" for n, space in enumerate((one, two), 1)]
        command = [*VPORT, *taps, "--delay", "20ms", "--loss", "LR10%", "--seed", "5"]
        with Process(command, tmp_path / "vport") as vport:
            await until_ping(one, "10.4.0.2")
            vport.wait_for("this run can be repeated with --seed 5")
            command = ["ip", "netns", "exec", one, "ping", "-n", "-c", "200", "-i", "0.01", "10.4.0.2"]
            report = run(command).stdout
            answered = int(re.search(r"(\d+) received", report)[1])  # type: ignore[index]
            fastest, average = map(float, re.search(r"mdev = ([\d.]+)/([\d.]+)/", report).groups())  # type: ignore[union-attr]
            assert 160 <= answered <= 197
            assert 40 <= fastest < 42
            assert 40 <= average < 60
            assert vport.end() == 0
            assert re.search(r"L->R: received \d+, .*, lost \d+", vport.output)
            assert "R->L: received" in vport.output


def test_shell_of_a_running_cable_is_spoken_to_by_scripts_and_vswitchterm(tmp_path: Path) -> None:
    path = str(tmp_path / "mgmt")
    with Process([*VPORT, *HOSTS, "--mgmt", path, "--mgmtmode", "0640"], tmp_path / "vport") as vport:
        vport.wait_for("management shell on")
        assert os.stat(path).st_mode & 0o777 == 0o640
        assert run([*VSWITCHTERM, path, "delay", "LR10+5N"]).returncode == 0
        shown = run([*VSWITCHTERM, path, "showinfo"])
        assert "Delay  L->R 10+5N   R->L 0+0U" in shown.stdout
        assert run([*VSWITCHTERM, path, "loss", "-5"]).returncode != 0

        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:  # as unixterm and scripts do
            client.settimeout(5)
            client.connect(path)
            client.sendall(b"loss 5\nshowinfo\nlogout\n")
            answer = b""
            while part := client.recv(65536):
                answer += part
        assert answer.decode().endswith("9999 END OF SESSION")
        assert "\nVDEwf$ 1000 Success\n\nVDEwf$ 0000 DATA" in answer.decode()
        assert "Loss   L->R 5+0U   R->L 5+0U" in answer.decode()

        assert run([*VSWITCHTERM, path, "shutdown"]).returncode == 0
        assert vport.wait() == 0
    assert not os.path.exists(path)


def test_vdeterm_works_on_a_cable(tmp_path: Path) -> None:
    require_program("vdeterm", "vde2")
    path = str(tmp_path / "mgmt")
    with Process([*VPORT, *HOSTS, "--mgmt", path], tmp_path / "vport") as vport:
        vport.wait_for("management shell on")
        with Screen(["vdeterm", path], tmp_path) as screen:
            screen.wait_for("VDEwf")
            screen.enter("loss 5")
            screen.wait_for("Success")
            screen.write("showcur")
            screen.press("Tab")
            screen.press("Enter")
            screen.wait_for('Current Markov Node 0 "" (0,..,0)')


def test_script_sets_a_cable_up_before_its_first_frame(tmp_path: Path) -> None:
    script = tmp_path / "rc"
    script.write_text("# faults\nloss 5\n\nmarkov-numnodes 2\nsetedge 0,1,50\n")
    path = str(tmp_path / "mgmt")
    with Process([*VPORT, *HOSTS, "--rcfile", str(script), "--mgmt", path], tmp_path / "vport") as vport:
        vport.wait_for("management shell on")
        assert "Loss   L->R 5+0U" in run([*VSWITCHTERM, path, "showinfo", "0"]).stdout
        assert 'Edge 0 ->1  ""->"" weigth 50' in run([*VSWITCHTERM, path, "showedges", "0"]).stdout

    script.write_text("loss 5\nloss x\n")
    done = run([*VPORT, *HOSTS, "--rcfile", str(script)])
    assert done.returncode == 2
    assert "rc:2: loss x" in done.stderr
    assert "Traceback" not in done.stderr


def test_daemon_is_ready_when_the_command_returns_and_cleans_up(tmp_path: Path) -> None:
    path, pidfile = tmp_path / "mgmt", tmp_path / "pid"
    done = run([*VPORT, *HOSTS, "--daemon", "--pidfile", str(pidfile), "--mgmt", str(path)])
    assert done.returncode == 0, done.stderr
    pid = int(pidfile.read_text())
    try:
        assert "Fifoness TRUE" in run([*VSWITCHTERM, str(path), "showinfo"]).stdout
    finally:
        os.kill(pid, signal.SIGTERM)
    wait_until("the end of the daemon", lambda: not pidfile.exists() and not path.exists())


def test_daemon_that_cannot_start_says_so(tmp_path: Path) -> None:
    done = run([*VPORT, "tap://lo", HOSTS[0], "--daemon", "--pidfile", str(tmp_path / "pid")])
    assert done.returncode == 1
    assert "lo is in use" in done.stderr
    assert not (tmp_path / "pid").exists()


def test_progress_is_shown_line_by_line_where_there_is_no_terminal(tmp_path: Path) -> None:
    with Process([*VPORT, f"{HOSTS[0]}?ping=10.1.1.2", HOSTS[1], "--progress"], tmp_path / "vport") as vport:
        vport.wait_for("frames/s")
        assert "→" in vport.output


def test_cable_with_both_ends_in_one_switch_is_noticed(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        place = f"udp://127.0.0.1:{probe.getsockname()[1]}"
    commands = tmp_path / "rc"
    commands.write_text("guard/setloop 0 300\n")  # or the switch cuts the loop before the cable sees it
    with Process([*VSWITCH, "--listen", place, "-f", str(commands)], tmp_path / "vswitch") as switch:
        switch.wait_for("listening on")
        with Process([*VPORT, place, f"{place}?keepalive=10"], tmp_path / "vport") as vport:
            vport.wait_for("are on the same LAN: this cable makes a loop")
        with Process([*VPORT, place, place], tmp_path / "again") as vport:
            vport.wait_for("makes a loop in it")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--loss", "-5"], "loss: '-5' is not of the form"),
        (["--delay", "5 parsecs"], "delay: '5 parsecs' is not of the form"),
        (["--bandwidth", "10KB/h"], "bandwidth: 'KB/h' is not one of its units: Mbit"),
        (["--dup", "100%"], "dup: at 100 % a frame would be repeated for ever"),
        (["--mgmtmode", "rw"], "'rw' is not a file mode in octal"),
        (["--loss", "1[3]"], "there is no state 3"),
    ],
)
def test_wrong_faults_end_with_2_and_say_what_is_right(options: list[str], complaint: str) -> None:
    done = run([*VPORT, *HOSTS, *options])
    assert complaint in done.stderr
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_wirefilter_shows_the_same_settings_in_the_same_words(tmp_path: Path) -> None:
    """The same options to both, asked in the same way."""
    require_program("wirefilter", "vde-wirefilter")
    require_program("vde_switch", "vde2")
    options = ["-l", "LR20.5", "-L", "2", "-d", "100+50N", "-D", "5", "-s", "1M", "-c", "10K", "-n", "3"]
    ends = [str(tmp_path / name) for name in ("a.ctl", "b.ctl")]
    theirs, ours = str(tmp_path / "theirs"), str(tmp_path / "ours")
    with ExitStack() as stack:
        for number, end in enumerate(ends):
            command = ["vde_switch", "-s", end]
            stack.enter_context(with_input(command, tmp_path / f"switch{number}"))
            wait_until(f"the switch at {end}", lambda end=end: os.path.exists(f"{end}/ctl"))
        command = ["wirefilter", "-v", ":".join(ends), "-M", theirs, *options]
        stack.enter_context(with_input(command, tmp_path / "wirefilter"))
        wait_until("wirefilter's shell", lambda: os.path.exists(theirs))
        command = [*VPORT, *(f"vde://{end}" for end in ends), "--mgmt", ours, *options]
        stack.enter_context(Process(command, tmp_path / "vport")).wait_for("management shell on")

        shown = [run([*VSWITCHTERM, path, "showinfo"]).stdout.splitlines() for path in (theirs, ours)]
        assert len(shown[0]) == 13
        assert shown[1][:10] == shown[0][:10]
        assert [line.split(" ")[0] for line in shown[1]] == [line.split(" ")[0] for line in shown[0]]
