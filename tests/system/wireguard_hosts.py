"""Stock WireGuard clients for tests: ``wireguard-go`` in a namespace, set up with ``wg`` and ``ip``."""

from __future__ import annotations

import itertools
import os
import subprocess
from typing import TYPE_CHECKING, Self

from tests.system.processes import Process
from tests.system.requirements import require_program
from tests.system.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from tests.system.hosts import Namespace

_NUMBERS = itertools.count()


def wg(*arguments: str, stdin: str = "") -> str:
    """Run ``wg`` outside any namespace: key tools."""
    done = subprocess.run(
        ["wg", *arguments], input=stdin, text=True, capture_output=True, check=True, timeout=10
    )
    return done.stdout.strip()


class Keys:
    """A key pair made by ``wg``."""

    def __init__(self) -> None:
        self.private = wg("genkey")
        self.public = wg("pubkey", stdin=self.private)


class StockClient:
    """wireguard-go in a namespace."""

    def __init__(self, host: Namespace, directory: Path) -> None:
        require_program("wireguard-go")
        require_program("wg", "wireguard-tools")
        # The control socket's directory is shared by all namespaces, so names must differ.
        self.device = f"wgt{os.getpid() % 100000}x{next(_NUMBERS)}"
        self.host = host
        self._directory = directory
        environment = ["env", "WG_PROCESS_FOREGROUND=1", "WG_I_PREFER_BUGGY_USERSPACE_TO_POLISHED_KMOD=1"]
        self._process = Process(
            host.inside([*environment, "wireguard-go", "-f", self.device]), directory / f"{self.device}.log"
        )
        wait_until("wireguard-go", lambda: os.path.exists(f"/var/run/wireguard/{self.device}.sock"))

    def configure(self, text: str, addresses: list[str], routes: list[str], mtu: int = 1400) -> None:
        """Set it up as ``wg-quick`` would: ``text`` is what ``wg setconf`` reads."""
        path = self._directory / f"{self.device}.conf"
        path.write_text(text)
        path.chmod(0o600)
        done = self.host.run(["wg", "setconf", self.device, str(path)])
        assert done.returncode == 0, done.stderr
        for address in addresses:
            self.host.ip(f"addr add {address} dev {self.device}" + (" nodad" if ":" in address else ""))
        self.host.ip(f"link set {self.device} mtu {mtu} up")
        for route in routes:
            self.host.ip(f"route add {route} dev {self.device}")

    def show(self, what: str) -> str:
        """Ask ``wg show``."""
        return self.host.run(["wg", "show", self.device, what]).stdout

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.end()
