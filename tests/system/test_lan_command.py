"""``vport lan`` on a machine of its own, a namespace: up, up again, down, killed in the middle, refused."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.system.namespaces import inside, run
from tests.system.processes import ROOT, VPORT
from tests.system.processes import run as run_command
from tests.system.requirements import require_program, require_root, require_tun
from vport.lan.processes import with_argument

if TYPE_CHECKING:
    from collections.abc import Iterator

_NUMBERS = count()
STEPS = 9

DESCRIPTION = """
name = "{name}"
netns = "{machine}"
[[bridge]]
name = "br0"
address = ["10.5.0.1/16", "fd05::1/64"]
mtu = 1400
[[namespace]]
name = "{name}a"
bridge = "br0"
address = ["10.5.1.1/16", "fd05::a/64"]
[[namespace]]
name = "{name}b"
bridge = "br0"
address = ["10.5.1.2/16"]
[nat]
outside = "out0"
[[nat.forward]]
port = 8080
to = "10.5.1.1:80"
[[cable]]
tap = "tap0"
bridge = "br0"
remote = "udp://127.0.0.1:9998?local=:9999"
"""


class Site:
    """A machine with a way out, the outside, and a description of a LAN on it."""

    def __init__(self, directory: Path) -> None:
        self.name = f"vstl{os.getpid()}-{next(_NUMBERS)}"
        self.machine = f"{self.name}m"
        self.outside = f"{self.name}o"
        self.directory = directory
        self.file = directory / "lan.toml"
        self.state = directory / "state"
        self.file.write_text(DESCRIPTION.format(name=self.name, machine=self.machine))

    def command(self, verb: str, place: str | None = None) -> list[str]:
        return [*VPORT, "lan", verb, place or str(self.file), "--state", str(self.state)]

    def lan(self, verb: str, place: str | None = None, *, expect: int = 0) -> str:
        done = run_command(self.command(verb, place))
        assert done.returncode == expect, done.stderr or done.stdout
        return done.stderr if expect else done.stdout

    def snapshot(self) -> tuple[object, ...]:
        """What there is: devices and rules of the machine, namespaces, forwarding, processes."""
        return (
            sorted(line.split()[0] for line in inside(self.machine, "ip", "-br", "link").splitlines()),
            inside(self.machine, "nft", "list", "ruleset"),
            sorted(name for name in os.listdir("/run/netns") if name.startswith(f"{self.name}")),
            inside(self.machine, "cat", "/proc/sys/net/ipv4/ip_forward"),
            inside(self.machine, "cat", "/proc/sys/net/ipv6/conf/all/forwarding"),
            with_argument(f"{self.state}/{self.name}.tap0.pid"),
            sorted(one.name for one in self.state.glob("*.json")),
        )


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    require_tun()
    require_program("nft", "nftables")
    site = Site(tmp_path)
    with contextlib.ExitStack() as stack:
        for name in (site.machine, site.outside):
            run("ip", "netns", "add", name)
            stack.callback(run, "ip", "netns", "del", name)
            inside(name, "ip", "link", "set", "lo", "up")
        inside(site.machine, *f"ip link add out0 type veth peer name eth0 netns {site.outside}".split())
        for name, device, address in ((site.machine, "out0", 1), (site.outside, "eth0", 2)):
            inside(name, *f"ip addr add 192.0.2.{address}/24 dev {device}".split())
            inside(name, "ip", "link", "set", device, "up")
        yield site
        run_command(site.command("down", site.name))


def until_ping(namespace: str, address: str) -> None:
    done = run_command(["ip", "netns", "exec", namespace, "ping", "-c1", "-w8", address])
    assert done.returncode == 0, done.stdout


def test_up_builds_and_down_leaves_everything_as_it_was(site: Site) -> None:
    before = site.snapshot()

    said = site.lan("up")

    assert said.count("made") == STEPS
    until_ping(f"{site.name}a", "10.5.1.2")
    until_ping(f"{site.name}b", "192.0.2.2")  # which knows no way back: it sees the machine's address
    until_ping(f"{site.name}a", "fd05::1")
    shown = site.lan("show", site.name)
    assert f"├─ {site.name}a: eth0 10.5.1.1/16, fd05::a/64 via 10.5.0.1, fd05::1" in shown
    assert "tap0 ══ udp://127.0.0.1:9998?local=:9999 (process " in shown
    assert "[" not in shown

    built = site.snapshot()
    assert site.lan("up") == f"{site.name} is up already\n"
    assert site.snapshot() == built

    assert site.lan("down").count("removed") == STEPS
    assert site.snapshot() == before
    assert site.lan("down") == f"{site.name} is not up\n"


def test_port_is_forwarded_from_outside(site: Site, tmp_path: Path) -> None:
    site.lan("up")
    server = subprocess.Popen(
        ["ip", "netns", "exec", f"{site.name}a", *VPORT[:1], "-c", SERVER],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        assert inside(site.outside, *VPORT[:1], "-c", CLIENT) == "hello from 10.5.1.1\n"
        server.wait(10)
    finally:
        server.kill()
        server.communicate()


SERVER = """
import socket
with socket.create_server(("10.5.1.1", 80)) as server:
    print("ready", flush=True)
    sock, _ = server.accept()
    sock.sendall(b"hello from 10.5.1.1")
    sock.close()
"""
CLIENT = """
import socket
print(socket.create_connection(("192.0.2.1", 8080), timeout=5).makefile().read())
"""


@pytest.mark.parametrize("steps", [1, 3, 5, 7, 8])
def test_down_cleans_up_after_a_kill_in_the_middle(site: Site, steps: int) -> None:
    before = site.snapshot()
    process = subprocess.Popen(
        site.command("up"), stdout=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ}
    )
    assert process.stdout is not None
    for _ in range(steps):
        assert process.stdout.readline().startswith("made")
    process.kill()
    process.communicate()
    assert site.snapshot() != before

    site.lan("down", site.name)

    assert site.snapshot() == before


def test_up_completes_what_a_kill_left(site: Site) -> None:
    process = subprocess.Popen(site.command("up"), stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    for _ in range(4):
        process.stdout.readline()
    process.kill()
    process.communicate()

    site.lan("up")

    until_ping(f"{site.name}a", "10.5.1.2")
    assert "[" not in site.lan("show", site.name)


def test_cable_that_died_is_started_again(site: Site) -> None:
    site.lan("up")
    (pid,) = with_argument(f"{site.state}/{site.name}.tap0.pid")
    descriptor = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while with_argument(f"{site.state}/{site.name}.tap0.pid"):
        assert time.monotonic() < deadline
    os.close(descriptor)
    assert "[not running]" in site.lan("show", site.name)

    assert site.lan("up") == "made device tap0\n"


@pytest.mark.parametrize(
    ("make", "remove", "named"),
    [
        ("ip -n {m} link add br0 type bridge", None, "device br0"),
        ("ip -n {m} link add tap0 type veth peer name tap9", None, "device tap0"),
        ("ip netns exec {m} nft add table inet vswitch-lan-{n}", None, "table vswitch-lan-"),
        ("ip netns add {n}b", "ip netns del {n}b", "namespace "),
    ],
)
def test_names_of_others_are_refused_and_nothing_is_touched(
    site: Site, make: str, remove: str | None, named: str
) -> None:
    values = {"m": site.machine, "n": site.name}
    run(*make.format(**values).split())
    try:
        before = site.snapshot()

        error = site.lan("up", expect=1)

        assert f"these exist and are not ours, nothing was touched: {named}" in error
        assert site.snapshot() == before
        assert site.lan("down") == f"{site.name} is not up\n"
        assert site.snapshot() == before
    finally:
        if remove is not None:
            run(*remove.format(**values).split())


def test_failure_in_the_middle_undoes_what_was_made(site: Site) -> None:
    text = site.file.read_text()
    site.file.write_text(text.replace("udp://127.0.0.1:9998?local=:9999", "packet://nowhere0"))
    before = site.snapshot()

    error = site.lan("up", expect=1)

    assert error == "vport lan: the cable of tap0 does not work: there is no device nowhere0 (see: ip link)\n"
    assert site.snapshot() == before


def test_missing_way_out_is_said_before_anything_is_touched(site: Site) -> None:
    site.file.write_text(site.file.read_text().replace("out0", "out7"))
    before = site.snapshot()

    assert "there is no device out7" in site.lan("up", expect=1)
    assert site.snapshot() == before


def test_another_description_of_a_lan_that_is_up_is_refused(site: Site) -> None:
    site.lan("up")
    site.file.write_text(site.file.read_text().replace("10.5.1.2", "10.5.1.3"))

    assert "is up as another file described it" in site.lan("up", expect=1)
    site.lan("down")


def test_forwarding_stays_while_another_lan_needs_it(site: Site) -> None:
    site.lan("up")
    other = site.directory / "other.toml"
    other.write_text(
        f'name = "{site.name}x"\nnetns = "{site.machine}"\n[nat]\noutside = "out0"\n'
        '[[bridge]]\nname = "br7"\naddress = ["10.7.0.1/24"]\n'
    )
    site.lan("up", str(other))

    site.lan("down")
    assert inside(site.machine, "cat", "/proc/sys/net/ipv4/ip_forward") == "1\n"
    site.lan("down", str(other))
    assert inside(site.machine, "cat", "/proc/sys/net/ipv4/ip_forward") == "0\n"


def test_without_root_it_says_what_to_do() -> None:
    require_root()
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        file = Path(directory) / "lan.toml"
        file.write_text('name = "x"\n[[bridge]]\nname = "br0"\n')
        done = run_command([*VPORT[:1], "-c", WITHOUT_ROOT, "up", str(file)])

    assert done.returncode == 1
    assert done.stderr == f"vport lan: building networks needs root: sudo vport lan up {file}\n"


WITHOUT_ROOT = """
import os, sys
from vport.lan.cli import main
os.setuid(65534)
sys.exit(main(sys.argv[1:]))
"""


def test_wrong_file_is_refused_with_its_line(site: Site) -> None:
    site.file.write_text(site.file.read_text().replace("mtu = 1400", "mtu = 14"))

    assert "lan.toml:7: bridge[0].mtu: must be a number from 68" in site.lan("up", expect=2)
