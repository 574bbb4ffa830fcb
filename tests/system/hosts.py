"""Hosts for tests: network namespaces on one bridge, that end with their test.

    with Underlay("S", "A", "B") as hosts:
        hosts["A"].run(["ping", "-c1", hosts["S"].address])

Host number n has 10.200.0.n and fd20::n on its device ``u0``. Namespaces are named after this process, so
that two test runs do not meet.
"""

from __future__ import annotations

import itertools
import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from tests.system.processes import Process, run
from tests.system.requirements import require_program, require_root

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path
    from types import TracebackType


def ip(arguments: str) -> None:
    """Run iproute2's ``ip``, which must succeed."""
    done = run(["ip", *arguments.split()])
    assert done.returncode == 0, f"ip {arguments}: {done.stderr}"


_NUMBERS = itertools.count()


class Namespace:
    """A host: a network namespace with what runs in it."""

    def __init__(self, name: str, address: str, address6: str, logs: Path) -> None:
        self.name = name
        self.address = address
        self.address6 = address6
        self._logs = logs
        self._started = 0

    def inside(self, command: list[str]) -> list[str]:
        """Give ``command`` as it is run inside."""
        return ["ip", "netns", "exec", self.name, *command]

    def run(self, command: list[str], *, seconds: float = 30.0) -> subprocess.CompletedProcess[str]:
        """Run a command inside to its end."""
        return run(self.inside(command), seconds=seconds)

    def ip(self, arguments: str) -> None:
        """Run ``ip`` inside, which must succeed."""
        ip(f"-n {self.name} {arguments}")

    def start(self, command: list[str]) -> Process:
        """Start a process inside; the caller ends it."""
        self._started += 1
        return Process(self.inside(command), self._logs / f"{self.name}-{self._started}.log")

    def ping(self, address: str, *, count: int = 1, wait: float = 2.0, interval: float = 0.05) -> int:
        """Ping; give the number of replies."""
        done = self.run(["ping", "-n", "-c", str(count), "-i", str(interval), "-W", str(wait), address])
        return done.stdout.count("bytes from")

    def can_ping(self, address: str) -> bool:
        """Whether one echo request is answered within a second."""
        return self.ping(address, wait=1.0) == 1


class Underlay:
    """Namespaces joined by a bridge in the first of them."""

    def __init__(self, *names: str, logs: Path) -> None:
        require_root()
        require_program("ip")
        require_program("ping")
        self._cleanup = ExitStack()
        prefix = f"vst{os.getpid()}-{next(_NUMBERS)}"
        self.hosts = {
            name: Namespace(f"{prefix}{name}", f"10.200.0.{number}", f"fd20::{number}", logs)
            for number, name in enumerate(names, 1)
        }

    def __getitem__(self, name: str) -> Namespace:
        return self.hosts[name]

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            for host in self.hosts.values():
                ip(f"netns add {host.name}")
                undo.callback(run, ["ip", "netns", "del", host.name])
                host.ip("link set lo up")
                # Without this the kernel looks for a second or two for another owner of an IPv6 address.
                host.run(["sysctl", "-qw", "net.ipv6.conf.default.dad_transmits=0"])
            first, *others = self.hosts.values()
            first.ip("link add u0 type bridge")
            for number, host in enumerate(others):
                first.ip(f"link add v{number} type veth peer name u0 netns {host.name}")
                first.ip(f"link set v{number} master u0 up")
            for host in self.hosts.values():
                host.ip(f"addr add {host.address}/24 dev u0")
                host.ip(f"addr add {host.address6}/64 dev u0 nodad")
                host.ip("link set u0 up")
            self._cleanup = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._cleanup.close()
