"""The programs of VDE against our switch, and our port against theirs: real clients, real frames."""

from __future__ import annotations

import os
import pwd
import re
import shlex
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.system.hosts import Namespace, ip
from tests.system.processes import ROOT, VPORT, VSWITCH, VSWITCHTERM, Process, run
from tests.system.requirements import require_program, require_root, require_tun
from tests.system.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

_NUMBERS = count()
PYTHON = shlex.quote(sys.executable)


class Bench:
    """Switches, plugs and hosts of one test, all of which end with it."""

    def __init__(self, stack: ExitStack, path: Path) -> None:
        self.stack = stack
        self.path = path
        self.directory = path / "vde.ctl"
        self.management = path / "mgmt"
        self._hosts = 0

    def start(self, command: list[str], *, stdin: int = subprocess.DEVNULL) -> Process:
        log = self.path / f"log-{next(_NUMBERS)}"
        return self.stack.enter_context(Process(command, log, stdin=stdin))

    def switch(self, *options: str) -> Process:
        """Start our switch on the control directory."""
        switch = self.start(
            [*VSWITCH, "--sock", str(self.directory), "--mgmt", str(self.management), *options]
        )
        switch.wait_for("management shell on")
        return switch

    def real_switch(self, directory: Path) -> Process:
        """Start a vde_switch; it ends with its standard input, so that stays open."""
        require_program("vde_switch", "vde-switch")
        reading, writing = os.pipe()
        self.stack.callback(os.close, writing)
        self.stack.callback(os.close, reading)
        switch = self.start(["vde_switch", "-s", str(directory), "-M", f"{directory}.mgmt"], stdin=reading)
        wait_until("vde_switch", (directory / "ctl").exists)
        return switch

    def host(self) -> Namespace:
        """Make a namespace."""
        require_tun()
        self._hosts += 1
        name = f"vdew{os.getpid()}-{next(_NUMBERS)}"
        ip(f"netns add {name}")
        self.stack.callback(run, ["ip", "netns", "del", name])
        host = Namespace(name, f"10.3.3.{self._hosts}", "", self.path)
        host.ip("link set lo up")
        return host

    def plug_in(self, host: Namespace, directory: Path, *options: str) -> Process:
        """Let vde_plug2tap join ``host`` to a switch."""
        require_program("vde_plug2tap", "vde2")
        plug = self.stack.enter_context(host.start(["vde_plug2tap", "-s", str(directory), *options, "tap0"]))
        self.address(host)
        return plug

    def vport(self, host: Namespace, *places: str) -> Process:
        """Let our port join ``host``'s TAP device to another place."""
        port = self.stack.enter_context(host.start([*VPORT, *places, "tap://tap0"]))
        self.address(host)
        return port

    @staticmethod
    def address(host: Namespace) -> None:
        wait_until("tap0", lambda: "tap0" in host.run(["ip", "link"]).stdout)
        host.ip(f"addr add {host.address}/24 dev tap0")
        host.ip("link set tap0 up")

    def ask(self, command: str) -> str:
        """Ask our switch through its management shell."""
        return run([*VSWITCHTERM, str(self.management), command]).stdout


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    require_root()
    require_program("ip", "iproute2")
    with ExitStack() as stack:
        yield Bench(stack, tmp_path)


def until_ping(one: Namespace, other: Namespace) -> None:
    wait_until(f"{one.name} pings {other.name}", lambda: one.can_ping(other.address), 15)


def test_vde_plug2tap_joins_two_hosts_through_our_switch(bench: Bench) -> None:
    bench.switch()
    a, b = bench.host(), bench.host()
    plug = bench.plug_in(a, bench.directory)
    bench.plug_in(b, bench.directory, "-p", "7")

    until_ping(a, b)

    assert a.ping(b.address, count=10) == 10
    ports = bench.ask("port/print")
    assert "Port 0007" in ports
    assert re.search(r"module unix prog +: vde_plug2tap: user=root pid=\d+", ports)
    assert "Current User: root" in ports
    assert (bench.directory / "007.2").is_socket()
    plug.end()
    wait_until("the plug has left", lambda: bench.ask("port/print").count("module") == 1)


def test_directory_goes_with_our_switch_and_its_clients_with_it(bench: Bench) -> None:
    switch = bench.switch("--mode", "0660")
    plug = bench.plug_in(bench.host(), bench.directory)
    assert bench.directory.stat().st_mode & 0o7777 == 0o2770
    assert (bench.directory / "ctl").stat().st_mode & 0o777 == 0o660

    assert switch.end() == 0

    assert plug.wait() == 0
    assert not bench.directory.exists()


def test_port_that_is_in_no_range_is_refused_and_the_client_does_not_hang(bench: Bench) -> None:
    require_program("vde_plug", "vdeplug")
    switch = bench.switch("--numports", "4")

    refused = run(["vde_plug", f"{bench.directory}[9]"], seconds=5)

    assert refused.returncode != 0
    switch.wait_for("turned a client away")


@pytest.mark.parametrize("options", [("-m", "0666"), ("-m", "0666", "--dirmode", "0755")])
def test_other_users_plug_in_when_the_modes_let_them(options: tuple[str, ...]) -> None:
    require_root()
    require_program("vde_plug", "vdeplug")
    require_program("setpriv", "util-linux")
    with tempfile.TemporaryDirectory(prefix="vdew") as folder, ExitStack() as stack:
        os.chmod(folder, 0o755)  # pytest's own folders are closed to others
        bench = Bench(stack, Path(folder))
        bench.switch(*options)
        nobody = pwd.getpwnam("nobody")
        as_nobody = ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]
        reading, writing = os.pipe()
        plug = bench.start([*as_nobody, "vde_plug", str(bench.directory)], stdin=reading)

        wait_until("nobody's plug", lambda: "Current User: nobody" in bench.ask("port/print"))
        status = (bench.directory / "001.1").stat()
        assert (status.st_uid, status.st_mode & 0o777) == (nobody.pw_uid, 0o700)
        os.write(writing, b"\0\x3c" + b"\xff" * 6 + b"\2\0\0\0\0\1" + b"\x88\xb5" + bytes(46))
        wait_until("its frame", lambda: "IN:  pkts          1 " in bench.ask("port/print"))
        os.close(reading)
        os.close(writing)
        plug.wait()


def test_slirpvde_gives_a_lease_through_our_switch(bench: Bench) -> None:
    require_program("slirpvde", "vde2")
    require_program("busybox")
    bench.switch()
    bench.start(["slirpvde", "-D", "-q", "-s", str(bench.directory)])
    wait_until("slirpvde", lambda: "slirpvde" in bench.ask("port/print"))
    host = bench.host()
    bench.plug_in(host, bench.directory)

    lease = host.run(
        ["busybox", "udhcpc", "-i", "tap0", "-n", "-q", "-f", "-s", "/bin/true", "-t", "5", "-T", "1"]
    )

    assert lease.returncode == 0, lease.stderr
    assert re.search(r"lease of 10\.0\.2\.15 obtained from 10\.0\.2\.2", lease.stderr + lease.stdout)


def test_wirefilter_and_dpipe_join_our_switch_with_a_vde_switch(bench: Bench) -> None:
    for program, package in (("dpipe", "vdeplug"), ("wirefilter", "vde-wirefilter")):
        require_program(program, package)
    theirs = bench.path / "theirs.ctl"
    bench.switch()
    bench.real_switch(theirs)
    a, b = bench.host(), bench.host()
    bench.plug_in(a, bench.directory)
    bench.plug_in(b, theirs)
    # As leader of a session dpipe fails; a shell in between has it start as it wants to.
    bench.start(
        ["sh", "-c", f"dpipe vde_plug {bench.directory} = wirefilter -d 5 = vde_plug {theirs} & wait"]
    )

    until_ping(a, b)

    assert a.ping(b.address, count=5) == 5


def test_our_ports_join_hosts_through_a_vde_switch_and_find_it_again(bench: Bench) -> None:
    theirs = bench.path / "theirs.ctl"
    switch = bench.real_switch(theirs)
    a, b = bench.host(), bench.host()
    port = bench.vport(a, f"vde://{theirs}[5]")
    bench.plug_in(b, theirs)
    until_ping(a, b)
    assert a.ping(b.address, count=10) == 10

    switch.end()
    port.wait_for("the switch has hung up")
    bench.real_switch(theirs)
    bench.vport(c := bench.host(), f"vde://{theirs}")
    until_ping(a, c)


def test_our_switch_plugs_into_a_vde_switch(bench: Bench) -> None:
    theirs = bench.path / "theirs.ctl"
    bench.real_switch(theirs)
    bench.switch("--attach", f"vde://{theirs}")
    a, b = bench.host(), bench.host()
    bench.plug_in(a, bench.directory)
    bench.plug_in(b, theirs)

    until_ping(a, b)


def test_vport_with_a_command_replaces_dpipe(bench: Bench) -> None:
    theirs = bench.path / "theirs.ctl"
    bench.switch()
    bench.real_switch(theirs)
    a, b = bench.host(), bench.host()
    bench.plug_in(a, bench.directory)
    bench.plug_in(b, theirs)
    bench.start([*VPORT, f"vde://{bench.directory}", f"cmd:vde_plug {theirs}"])

    until_ping(a, b)

    require_program("iperf3")
    with b.start(["iperf3", "-s", "--forceflush"]) as server:
        server.wait_for("Server listening")
        done = a.run(["iperf3", "-c", b.address, "-t", "1"])
        assert done.returncode == 0, done.stdout + done.stderr


def test_dpipe_joins_a_vport_on_standard_input_and_output_with_vde_plug(bench: Bench) -> None:
    require_program("dpipe", "vdeplug")
    theirs = bench.path / "theirs.ctl"
    bench.switch()
    bench.real_switch(theirs)
    a, b = bench.host(), bench.host()
    bench.plug_in(a, bench.directory)
    bench.plug_in(b, theirs)
    ours = f"{PYTHON} -m vport.cli stdio: vde://{bench.directory}"
    bench.start(["sh", "-c", f"cd {ROOT}; dpipe {ours} = vde_plug {theirs} & wait"])

    until_ping(a, b)

    assert a.ping(b.address, count=5) == 5


def test_command_that_ends_is_told_with_its_status(bench: Bench) -> None:
    done = run([*VPORT, "cmd:sh -c 'exit 3'", "host://10.1.1.1/24"])
    assert done.returncode == 1
    assert "the command ended with status 3" in done.stderr

    missing = run([*VPORT, "cmd:no-such-command-here", "host://10.1.1.1/24"])
    assert missing.returncode == 1
    assert "there is no command 'no-such-command-here'" in missing.stderr
