"""What tests of a LAN's way out and addresses share: stations with a TAP of our switch, DHCP clients."""

from __future__ import annotations

import re
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.system.hosts import Namespace, Underlay
from tests.system.namespaces import network_namespace
from tests.system.processes import VSWITCH, Process
from tests.system.requirements import missing, require_program, require_tun
from tests.system.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

UDHCPC_SCRIPT = """#!/bin/sh
# Called by udhcpc with what it was given in the environment.
set -e
case "$1" in
bound|renew)
    ip addr replace "$ip/$mask" dev "$interface"
    [ -z "$router" ] || ip route replace default via "$router"
    [ -z "$mtu" ] || ip link set "$interface" mtu "$mtu"
    : > "$RESOLV"
    for server in $dns; do echo "nameserver $server" >> "$RESOLV"; done
    [ -z "$domain" ] || echo "search $domain" >> "$RESOLV"
    echo "$1 ip=$ip mask=$mask router=$router dns=$dns domain=$domain mtu=$mtu lease=$lease host=$hostname" ;;
nak) echo "nak $message" ;;
esac
"""

QUERY = """
import sys, dns.resolver
resolver = dns.resolver.Resolver(configure=False)
resolver.nameservers, resolver.lifetime = [sys.argv[1]], 4
try:
    for record in resolver.resolve(sys.argv[2], sys.argv[3]):
        print(record.to_text())
except dns.resolver.NXDOMAIN:
    print("NXDOMAIN")
except dns.resolver.NoNameservers:
    print("REFUSED")
except dns.resolver.NoAnswer:
    print("NODATA")
"""

UDP_ECHO = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
s = socket.socket(family, socket.SOCK_DGRAM)
s.settimeout(4)
s.sendto(b"round trip", (sys.argv[1], 7000))
print(s.recv(100).decode())
"""

ANSWER_ONCE = """
import socket, sys
family, kind, text, port = sys.argv[1:]
s = socket.socket(getattr(socket, family), getattr(socket, kind))
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("", int(port)))
if kind == "SOCK_STREAM":
    s.listen()
print("serving", flush=True)
while True:
    if kind == "SOCK_STREAM":
        c, _ = s.accept()
        c.sendall(text.encode())
        c.close()
    else:
        data, peer = s.recvfrom(100)
        s.sendto(text.encode() + data, peer)
"""


class Station:
    """A namespace whose one way to anywhere is the TAP ``lan0`` of our switch."""

    def __init__(self, name: str, logs: Path) -> None:
        self.host = Namespace(name, "", "", logs)
        self.resolv = logs / f"{name}.resolv"
        self._script = logs / "udhcpc.sh"
        self._script.write_text(UDHCPC_SCRIPT)
        self._script.chmod(0o755)
        self._leases = logs / f"{name}.leases"

    def udhcpc(self, *options: str) -> dict[str, str]:
        """Get a lease with busybox's client; give what the script was told, nothing without a lease."""
        require_program("busybox")
        command = ["env", f"RESOLV={self.resolv}", "busybox", "udhcpc", "-i", "lan0", "-f", "-q", "-n"]
        done = self.host.run(
            [*command, "-t", "3", "-T", "1", "-s", str(self._script), "-O", "mtu", *options], seconds=20
        )
        assert "Traceback" not in done.stderr
        told = re.findall(r"^bound (.*)$", done.stdout, re.MULTILINE)
        return dict(word.split("=", 1) for word in told[-1].split() if "=" in word) if told else {}

    def dhclient(self, *options: str) -> str:
        """Get a lease with ISC's client; give what it wrote into its file of leases."""
        require_program("dhclient", "isc-dhcp-client")
        config = self._leases.with_suffix(".conf")
        config.write_text("request subnet-mask, routers, domain-name-servers, interface-mtu, domain-name;\n")
        pid = self._leases.with_suffix(".pid")
        command = [
            "dhclient",
            "-1",
            "-d",
            "-v",
            "-lf",
            str(self._leases),
            "-pf",
            str(pid),
            "-sf",
            "/bin/true",
        ]
        with self.host.start([*command, "-cf", str(config), *options, "lan0"]) as client:
            client.wait_for("bound to", 20)
        return self._leases.read_text()

    def query(self, server: str, name: str, kind: str = "A") -> list[str]:
        """Ask a name server."""
        done = self.host.run([sys.executable, "-c", QUERY, server, name, kind])
        assert done.returncode == 0, done.stderr
        return sorted(done.stdout.split("\n")[:-1])

    def fetch(self, url: str, *options: str) -> str:
        """Fetch a page."""
        require_program("curl")
        done = self.host.run(["curl", "-s", "-S", "-m", "10", *options, url])
        return done.stdout if done.returncode == 0 else done.stderr

    def udp_echo(self, address: str) -> str:
        """Send a datagram to the outside's echo and give what comes back."""
        done = self.host.run([sys.executable, "-c", UDP_ECHO, address])
        return done.stdout.strip() or done.stderr

    @contextmanager
    def serving(
        self, text: str, port: int, kind: str = "SOCK_STREAM", family: str = "AF_INET"
    ) -> Iterator[None]:
        """Answer whoever connects, or sends a datagram, with a text."""
        with self.host.start([sys.executable, "-c", ANSWER_ONCE, family, kind, text, str(port)]) as process:
            process.wait_for("serving")
            yield


class Lab:
    """Namespace S runs the switch, O is the outside; stations hang on the switch by TAPs.

    S and O are 10.200.0.1 and 10.200.0.2, fd20::1 and fd20::2. S asks O for names.
    """

    def __init__(self, stack: ExitStack, logs: Path) -> None:
        require_tun()
        self.logs = logs
        self.stack = stack
        self.underlay = stack.enter_context(Underlay("S", "O", logs=logs))
        self.management = str(logs / "mgmt")
        self._name_servers()
        outside = self.underlay["O"].start([sys.executable, "-m", "tests.system.outside", "10.200.0.2"])
        stack.enter_context(outside).wait_for("outside is ready")

    def _name_servers(self) -> None:
        """Let S have a resolv.conf of its own, as ``ip netns exec`` mounts it."""
        directory = Path("/etc/netns") / self.underlay["S"].name
        directory.mkdir(parents=True)
        self.stack.callback(directory.rmdir)
        file = directory / "resolv.conf"
        file.write_text("nameserver 10.200.0.2\n")
        self.stack.callback(file.unlink)

    def switch(self, *attach: str, stations: int = 1) -> list[Station]:
        """Start the switch with links and give stations on it."""
        made = [Station(self.stack.enter_context(network_namespace()), self.logs) for _ in range(stations)]
        links = [
            f"tap://lan0?netns={station.host.name}&mac=02:00:00:00:01:{number:02x}"
            for number, station in enumerate(made, 1)
        ]
        self.process = self.start_switch(*links, *attach)
        return made

    def start_switch(self, *attach: str) -> Process:
        """Start the switch with links, the first on port 1."""
        options = [word for locator in attach for word in ("--attach", locator)]
        process = self.underlay["S"].start([*VSWITCH, *options, "--mgmt", self.management])
        self.stack.enter_context(process).wait_for("management shell")
        return process

    def ask(self, line: str) -> str:
        """Give the switch a command."""
        require_program("socat")
        done = self.underlay["S"].run(
            ["sh", "-c", f"printf '%s\\nlogout\\n' '{line}' | socat -t 3 - UNIX-CONNECT:{self.management}"]
        )
        return done.stdout.split("vde$ ", 1)[-1]


@contextmanager
def make_lab(logs: Path) -> Iterator[Lab]:
    with ExitStack() as stack:
        yield Lab(stack, logs)


def require_slirp() -> None:
    """Skip unless libslirp is installed."""
    from vport.errors import LinkError
    from vport.libslirp import load

    try:
        load()
    except LinkError as error:
        missing(str(error))


def until_has_ipv6(station: Station, prefix: str) -> str:
    """Wait for an address that was made from a router's advertisement and may be used; give it."""

    def address() -> str | None:
        shown = station.host.run(["ip", "-6", "-o", "addr", "show", "dev", "lan0", "scope", "global"]).stdout
        found = re.search(rf"inet6 ({prefix}\S+)/", shown)
        return found[1] if found and "tentative" not in shown else None

    return wait_until(f"an address of {prefix}", address, 15.0) or ""
