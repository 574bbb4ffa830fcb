"""Life as a daemon: when the command returns, what it leaves, scripts, configuration files, the terminal."""

from __future__ import annotations

import contextlib
import os
import pwd
import shlex
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

from tests.system.processes import VSWITCH, VSWITCHTERM, Process, run
from tests.system.requirements import missing, require_program, require_root, require_tun
from tests.system.screen import Screen
from tests.system.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator


def free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def somewhere() -> list[str]:
    """Give a command line of a switch that meets no other on its UDP port."""
    return [*VSWITCH, "--listen", f"udp://127.0.0.1:{free_udp_port()}"]


def ask(path: Path, *command: str) -> str:
    """Give one command to the switch that listens at ``path``; it must succeed."""
    done = run([*VSWITCHTERM, str(path), *command])
    assert done.returncode == 0, done.stderr
    return done.stdout


def is_running(pid: int) -> bool:
    """Whether the process lives; nobody waits for a daemon, so one that has ended may stay as a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


class Daemon:
    """A switch in the background, in a directory of its own; ended with its test."""

    def __init__(self, directory: Path, *options: str, expect: int = 0) -> None:
        self.directory = directory
        self.pidfile = directory / "pid"
        self.management = directory / "mgmt"
        command = [*somewhere(), "-d", "-p", "pid", "-M", "mgmt", *options]
        self.done = subprocess.run(
            command,
            cwd=directory,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "HOME": str(directory)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert self.done.returncode == expect, self.done.stderr

    @property
    def pid(self) -> int:
        return int(self.pidfile.read_text())

    def ask(self, *command: str) -> str:
        return ask(self.management, *command)

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        with contextlib.suppress(FileNotFoundError):
            pid = self.pid
            os.kill(pid, number)
            wait_until(f"the end of {pid}", lambda: not is_running(pid))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.end()


# --- in the background ---


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
        missing("needs a machine without syslog: the test is the syslog")
    require_root()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as syslog:
        syslog.bind("/dev/log")
        syslog.settimeout(10)
        try:
            with Daemon(tmp_path) as switch:
                lines = [syslog.recv(4096).decode() for _ in range(2)]
                assert lines[0].startswith(f"<30>vswitch[{switch.pid}]: listening on udp://127.0.0.1")
                assert "management shell on" in lines[1]
        finally:
            os.unlink("/dev/log")


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


# --- at a terminal ---


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
        screen.enter(f"{switch} 2>log &")
        wait_until("the switch", lambda: (tmp_path / "mgmt").exists() or Path("log").exists())
        screen.enter("echo typed for the $((1)) shell")
        screen.wait_for("typed for the 1 shell")
        time.sleep(1.2)  # twice as long as the switch takes to look again
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


# --- under systemd ---

UNIT = Path(__file__).parents[2] / "examples" / "systemd"


@pytest.fixture
def notify(tmp_path: Path) -> Iterator[socket.socket]:
    """Listen where systemd would."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(10)
        yield listening


def unit_value(key: str) -> str:
    lines = (UNIT / "vswitch.service").read_text().splitlines()
    return next(line.partition("=")[2] for line in lines if line.startswith(f"{key}="))


def test_unit_runs_under_a_supervisor(notify: socket.socket, tmp_path: Path) -> None:
    """Start what the unit's ExecStart= says as systemd would: notified, watched, with a socket passed on."""
    assert unit_value("Type") == "notify"
    _, *options = unit_value("ExecStart").split()
    options[options.index("/etc/vswitch/vswitch.toml")] = str(tmp_path / "vswitch.toml")
    text = (UNIT / "vswitch.toml").read_text()
    (tmp_path / "vswitch.toml").write_text(text.replace(":9999", f":{free_udp_port()}"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(tmp_path / "mgmt"))
        listening.listen()
        # The shell becomes the switch, so that LISTEN_PID can name it.
        start = f"export LISTEN_PID=$$; exec {shlex.join([*VSWITCH, *options])} 3<&{listening.fileno()}"
        with Process(
            [
                "env",
                f"NOTIFY_SOCKET={tmp_path / 'notify'}",
                "LISTEN_FDS=1",
                "WATCHDOG_USEC=400000",
                "sh",
                "-c",
                start,
            ],
            tmp_path / "log",
            pass_fds=(listening.fileno(),),
        ) as switch:
            ready = notify.recv(4096).decode().split("\n")
            assert ready == ["READY=1", "STATUS=switching", f"MAINPID={switch.popen.pid}"]
            assert "host 10.1.1.1/24" in ask(tmp_path / "mgmt", "port/print")
            assert "VLAN 0010\n -- Port 0002" in ask(tmp_path / "mgmt", "vlan/allprint", "10")
            assert [notify.recv(4096) for _ in range(3)] == [b"WATCHDOG=1"] * 3

            switch.send_signal(signal.SIGTERM)
            while (message := notify.recv(4096)) == b"WATCHDOG=1":
                pass
            assert message == b"STOPPING=1"
            assert switch.wait() == 0
    assert (tmp_path / "mgmt").is_socket()  # systemd's, not ours to remove


def test_reload_is_told_to_the_supervisor(notify: socket.socket, tmp_path: Path) -> None:
    (tmp_path / "rc").write_text("")
    command = ["env", f"NOTIFY_SOCKET={tmp_path / 'notify'}", *somewhere(), "-f", str(tmp_path / "rc")]
    with Process(command, tmp_path / "log") as switch:
        assert notify.recv(4096).startswith(b"READY=1")
        switch.send_signal(signal.SIGHUP)
        assert notify.recv(4096).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
        assert notify.recv(4096).startswith(b"READY=1")


def receive_for_ever(notify: socket.socket) -> None:
    while True:
        notify.recv(4096)


def test_hung_switch_is_not_heard_by_the_watchdog(notify: socket.socket, tmp_path: Path) -> None:
    command = ["env", f"NOTIFY_SOCKET={tmp_path / 'notify'}", "WATCHDOG_USEC=200000", *somewhere()]
    with Process(command, tmp_path / "log") as switch:
        assert notify.recv(4096).startswith(b"READY=1")
        assert notify.recv(4096) == b"WATCHDOG=1"
        switch.send_signal(signal.SIGSTOP)
        try:
            notify.settimeout(0.5)
            with pytest.raises(TimeoutError):
                receive_for_ever(notify)
        finally:
            switch.send_signal(signal.SIGCONT)


def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    require_program("systemd-analyze", "systemd")
    for unit in ("vswitch.service", "vswitch.socket"):
        text = (UNIT / unit).read_text()
        (tmp_path / unit).write_text(text.replace("/usr/local/bin/vswitch", "/bin/true"))
    done = run(["systemd-analyze", "verify", *map(str, tmp_path.iterdir())])

    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_daemon_needs_no_root(tmp_path: Path) -> None:
    require_root()
    require_program("setpriv", "util-linux")
    nobody = pwd.getpwnam("nobody")
    home = tmp_path / "nobody"
    home.mkdir()
    os.chown(home, nobody.pw_uid, nobody.pw_gid)
    tmp_path.chmod(0o755)
    identity = ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]
    command = [*identity, *somewhere(), "-d", "-p", str(home / "pid"), "-M", str(home / "mgmt")]
    if run([*identity, "ls", str(home)]).returncode or run([*identity, *VSWITCH, "--version"]).returncode:
        missing("needs a Python and a temporary directory that the user nobody may use")
    done = run(command)
    assert done.returncode == 0, done.stderr
    pid = int((home / "pid").read_text())
    try:
        assert os.stat(home / "mgmt").st_uid == nobody.pw_uid
    finally:
        os.kill(pid, signal.SIGTERM)
        wait_until("its end", lambda: not is_running(pid))
