"""Life as a daemon: when the command returns, what it leaves, scripts, configuration files."""

from __future__ import annotations

import os
import pwd
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.system.daemons import Daemon, ask, free_udp_port, is_running, somewhere
from tests.system.processes import VSWITCH, Process, run
from tests.system.requirements import missing, require_program, require_root, require_tun
from tests.system.waiting import wait_until


def test_daemon_returns_when_everything_is_ready_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with Daemon(tmp_path, "--attach", "host://10.1.1.1/24") as switch:
        assert switch.done.stdout == switch.done.stderr == ""
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(switch.management))  # at once: no waiting here
        pid = switch.pid
        assert f"pid {pid} " in switch.ask("showinfo")
        assert "host 10.1.1.1/24" in switch.ask("port/print")

        assert os.readlink(f"/proc/{pid}/cwd") == "/"
        assert {os.readlink(f"/proc/{pid}/fd/{number}") for number in range(3)} == {os.devnull}
        assert os.getsid(pid) not in {pid, os.getsid(0)}  # nor could it get a terminal again

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "status", "complaint"),
    [
        (["--attach", "udp://127.0.0.1:9", "--mgmt", "/nonexistent/mgmt"], 1, "/nonexistent/mgmt"),
        (["-t", "lo"], 1, "lo"),
        (["-p", "/nonexistent/pid"], 1, "cannot make the PID file /nonexistent/pid"),
        (["-f", "/nonexistent/rc"], 2, "cannot read /nonexistent/rc: No such file or directory"),
        (["--mgmtgroup", "no-such-group"], 2, "there is no group 'no-such-group'"),
    ],
)
def test_daemon_that_cannot_start_says_why_and_leaves_nothing(
    options: list[str], status: int, complaint: str, tmp_path: Path
) -> None:
    if "-t" in options:
        require_tun()
    switch = Daemon(tmp_path, *options, expect=status)

    assert complaint in switch.done.stderr
    assert "Traceback" not in switch.done.stderr
    assert list(tmp_path.iterdir()) == []


def test_pid_file_keeps_a_second_one_away_and_a_dead_one_does_not(tmp_path: Path) -> None:
    with Daemon(tmp_path) as first:
        second = Daemon(tmp_path, "-M", "other", expect=1)
        assert f"names process {first.pid}, which is running" in second.done.stderr
        assert not (tmp_path / "other").exists()

        first.end(signal.SIGKILL)
        assert first.pidfile.exists()
        with Daemon(tmp_path) as third:
            assert f"pid {third.pid} " in third.ask("showinfo")
    assert list(tmp_path.iterdir()) == []


def test_shutdown_ends_the_daemon_and_removes_its_files(tmp_path: Path) -> None:
    with Daemon(tmp_path) as switch:
        pid = switch.pid
        switch.ask("shutdown")
        wait_until("its end", lambda: not is_running(pid))
    assert list(tmp_path.iterdir()) == []


def test_options_with_one_dash_work_as_in_vde(tmp_path: Path) -> None:
    command = [*somewhere(), "-daemon", "-pidf", "pid", "-mgmt=mgmt", "-mgmtm", "660", "-n8", "-hub"]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        check=False,
        timeout=30,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    try:
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "mgmt").stat().st_mode & 0o777 == 0o660
        assert "Numports=8\nHUB=true" in ask(tmp_path / "mgmt", "port/showinfo")
    finally:
        pid = int((tmp_path / "pid").read_text())
        os.kill(pid, signal.SIGTERM)
        wait_until("its end", lambda: not is_running(pid))


def test_command_line_of_debians_network_scripts_works(tmp_path: Path) -> None:
    """Debian's if-pre-up.d/vde2 runs vde_switch with these options, in this order."""
    require_tun()
    require_program("ip")
    tap = f"vst{os.getpid() % 10**8}"
    data = ["-s", str(tmp_path / "ctl"), "-m", "660", "-g", "root"]
    if "--vdesock" not in run([*VSWITCH, "--help"]).stdout:
        data = []  # the VDE data socket is tested with the listener that serves it
    run(["ip", "tuntap", "add", "dev", tap, "mode", "tap"])
    try:
        with Daemon(tmp_path, *data, "-t", tap, "--mgmtmode", "660") as switch:
            assert f"module tuntap      : {tap}" in switch.ask("port/print")
            assert switch.management.stat().st_mode & 0o777 == 0o660
            assert "LOWER_UP" in run(["ip", "link", "show", tap]).stdout
        assert "state DOWN" in run(["ip", "link", "show", tap]).stdout
    finally:
        run(["ip", "link", "del", tap])


def test_log_goes_to_syslog(tmp_path: Path) -> None:
    if os.path.exists("/dev/log"):
        pytest.skip("this machine has a syslog of its own: the test would have to take its place")
    require_root()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as syslog:
        syslog.bind("/dev/log")
        syslog.settimeout(10)
        try:
            with Daemon(tmp_path) as switch:
                ours = f"<30>vswitch[{switch.pid}]: "
                lines: list[str] = []
                while len(lines) < 2:  # other programs of this machine may log meanwhile
                    line = syslog.recv(4096).decode()
                    lines += [line.removeprefix(ours)] if line.startswith(ours) else []
                assert lines[0].startswith("listening on udp://127.0.0.1")
                assert lines[1].startswith("management shell on")
        finally:
            os.unlink("/dev/log")


def test_daemon_needs_no_root() -> None:
    require_root()
    require_program("setpriv", "util-linux")
    nobody = pwd.getpwnam("nobody")
    identity = ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]
    if run([*identity, *VSWITCH, "--version"]).returncode:
        missing("needs a Python that the user nobody may use")
    with tempfile.TemporaryDirectory() as name:  # pytest's own is closed to others
        os.chown(name, nobody.pw_uid, nobody.pw_gid)
        home = Path(name)
        done = run([*identity, *somewhere(), "-d", "-p", str(home / "pid"), "-M", str(home / "mgmt")])
        assert done.returncode == 0, done.stderr
        pid = int((home / "pid").read_text())
        try:
            assert os.stat(home / "mgmt").st_uid == nobody.pw_uid
        finally:
            os.kill(pid, signal.SIGTERM)
            wait_until("its end", lambda: not is_running(pid))
        assert list(home.iterdir()) == []


# --- scripts ---


def test_rcfile_is_run_before_the_command_returns_and_again_on_hangup(tmp_path: Path) -> None:
    rc = tmp_path / "rc"
    rc.write_text("# VLANs\nvlan/create 10\nshutdown\n\nvlan/create ten\n")
    with Daemon(tmp_path, "-f", "rc") as switch:
        assert f"{rc}:5: vlan/create ten: Invalid argument: VLAN must be a number" in switch.done.stderr
        assert "VLAN 0010" in switch.ask("vlan/print")

        rc.write_text("vlan/create 20\n")
        os.kill(switch.pid, signal.SIGHUP)
        wait_until("VLAN 20", lambda: "VLAN 0020" in switch.ask("vlan/print"))
        rc.unlink()
        os.kill(switch.pid, signal.SIGHUP)
        assert "VLAN 0020" in switch.ask("vlan/print")


def test_rcfile_at_home_is_found(tmp_path: Path) -> None:
    if "XDG_CONFIG_HOME" in os.environ:
        pytest.skip("XDG_CONFIG_HOME says where the rcfile is")
    rc = tmp_path / ".config" / "vswitch" / "rc"
    rc.parent.mkdir(parents=True)
    rc.write_text("vlan/create 10\n")
    with Daemon(tmp_path) as switch:
        assert "VLAN 0010" in switch.ask("vlan/print")


# --- configuration files ---


def test_switch_restarted_from_its_saved_state_is_the_same(tmp_path: Path) -> None:
    first, second = tmp_path / "first.toml", tmp_path / "second.toml"
    first.write_text(
        f'mac = "02:00:00:00:00:99"\nvlans = [10, 20]\nlisten = ["udp://127.0.0.1:{free_udp_port()}"]\n'
        f'[management]\npath = "{tmp_path}/mgmt"\nmode = "0660"\n'
        '[[port]]\nnumber = 3\ndescr = "trunk \\u00fc"\npvid = 4095\ntagged = [10, 20]\n'
        "[[port]]\nnumber = 5\npvid = 10\nallocatable = false\n"
        'attach = ["host://10.1.1.1/24", "host://10.1.1.2/24"]\n'
        '[[static]]\nmac = "02:00:00:00:00:01"\nvlan = 20\nport = 3\n'
    )

    def states(config: Path, *commands: str) -> list[str]:
        with Process([*VSWITCH, "--config", str(config)], tmp_path / "log") as switch:
            switch.wait_for("management shell")
            for command in commands:
                ask(tmp_path / "mgmt", *command.split())
            return [
                ask(tmp_path / "mgmt", question)
                for question in ("port/showinfo", "vlan/allprint", "hash/showinfo", "config/show")
            ]

    before = states(first, "vlan/create 30", "hash/setexpire 77", "port/sethub 1", f"config/save {second}")
    after = states(second)

    assert before == after
    assert "VLAN 0030" in after[1]
    assert "-- Port 0003 tagged=1" in after[1]
    assert "HUB=true" in after[0]
    assert "expire 77" in after[2]
    assert "trunk ü" in after[3]


def test_configuration_is_read_again_on_hangup_and_a_wrong_one_changes_nothing(tmp_path: Path) -> None:
    config, rc = tmp_path / "lan.toml", tmp_path / "rc"
    rc.write_text("vlan/create 99\n")
    rest = f'listen = ["udp://127.0.0.1:{free_udp_port()}"]\n[management]\npath = "{tmp_path}/mgmt"\n'
    config.write_text(f"vlans = [10]\n{rest}")
    command = [*VSWITCH, "--config", str(config), "-n", "7", "-f", str(rc)]
    with Process(command, tmp_path / "log") as switch:
        switch.wait_for("management shell")
        config.write_text(f"vlans = [10, 20]\n{rest}[guard]\nflap-moves = 9\n")
        switch.send_signal(signal.SIGHUP)
        switch.wait_for("changed: VLAN 20 is new")
        switch.wait_for(f"running {rc} again")
        assert "9 moves within" in ask(tmp_path / "mgmt", "guard/showinfo")
        assert "Numports=7" in ask(tmp_path / "mgmt", "port/showinfo")  # the option holds
        before = ask(tmp_path / "mgmt", "config/show")

        config.write_text("vlans = [10]\nhub = 1\n")
        switch.send_signal(signal.SIGHUP)
        switch.wait_for("lan.toml:2: hub: must be true or false, not 1; nothing was changed")
        assert ask(tmp_path / "mgmt", "config/show") == before


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("numports = 4\nnumport = 8\n", "lan.toml:2: numport: unknown key; known are mac, numports, hub"),
        ('\nhub = "yes"\n', "lan.toml:2: hub: must be true or false, not 'yes'"),
        ("[[port]]\nnumber = 1\n\n[[port]]\nnumber = 1\n", "lan.toml:5: port[1].number: port 1 stands"),
        ("hub = \n", "lan.toml:1: column 7: Invalid value"),
    ],
)  # fmt: skip
def test_wrong_configuration_changes_nothing_and_names_the_line(
    text: str, complaint: str, tmp_path: Path
) -> None:
    (tmp_path / "lan.toml").write_text(text)
    done = run([*somewhere(), "--config", str(tmp_path / "lan.toml"), "--mgmt", str(tmp_path / "mgmt")])

    assert done.returncode == 2
    assert done.stderr == f"vswitch: {tmp_path}/{complaint}" + done.stderr.partition(complaint)[2]
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "mgmt").exists()
