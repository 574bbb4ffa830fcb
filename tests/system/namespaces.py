"""Network namespaces for tests: made for one test, gone after it, with whatever was in them."""

from __future__ import annotations

import contextlib
import os
import subprocess
from itertools import count
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Iterator

_NUMBERS = count()


def run(*command: str) -> str:
    """Run a command to its end and give what it printed; its failure fails the test with its words."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr or done.stdout}"
    return done.stdout


def inside(namespace: str, *command: str) -> str:
    """Run a command inside a namespace and give what it printed."""
    return run("ip", "netns", "exec", namespace, *command)


@contextlib.contextmanager
def network_namespace() -> Iterator[str]:
    """Make a namespace with a name that nobody else uses, and give the name."""
    name = f"vst-{os.getpid()}-{next(_NUMBERS)}"
    run("ip", "netns", "add", name)
    try:
        inside(name, "ip", "link", "set", "lo", "up")
        # Without this the kernel looks for a second or two for another owner of an IPv6 address.
        inside(name, "sysctl", "-qw", "net.ipv6.conf.default.dad_transmits=0")
        yield name
    finally:
        run("ip", "netns", "del", name)


async def ping(namespace: str, address: str, *options: str) -> bool:
    """Ping once from a namespace; whether an answer came within a second."""
    command = ["ip", "netns", "exec", namespace, "ping", "-c", "1", "-W", "1", *options, address]
    done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
    return done.returncode == 0


async def until_ping(namespace: str, address: str, *options: str, seconds: float = 10) -> None:
    """Ping until an answer comes: IPv6 addresses need a while before they may be used."""
    with trio.fail_after(seconds):
        while not await ping(namespace, address, *options):
            await trio.lowlevel.checkpoint()
