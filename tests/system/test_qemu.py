"""Virtual machines on our switch: each of QEMU's ways to reach one, and a TAP device of the host."""

from __future__ import annotations

import os
from contextlib import ExitStack
from itertools import count
from typing import TYPE_CHECKING

import pytest

from tests.system.guest import build_initramfs, qemu_command, require_guest
from tests.system.hosts import Namespace, ip
from tests.system.processes import VSWITCH, Process, run
from tests.system.requirements import require_tun
from tests.system.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NUMBERS = count()
HOST = "10.4.4.100"


class Room:
    """A namespace with our switch, whose TAP device the host has, and the guests."""

    def __init__(self, stack: ExitStack, path: Path) -> None:
        name = f"vdewq{os.getpid()}-{next(_NUMBERS)}"
        ip(f"netns add {name}")
        stack.callback(run, ["ip", "netns", "del", name])
        self.host = Namespace(name, HOST, "", path)
        self.host.ip("link set lo up")
        self.path = path
        self.stack = stack
        self.initramfs = path / "initramfs.gz"
        build_initramfs(self.initramfs)

    def switch(self, *options: str) -> Process:
        command = [*VSWITCH, "--attach", f"tap://tap0?address={HOST}/24", "--mgmt", f"{self.path}/mgmt"]
        switch = self.stack.enter_context(self.host.start([*command, *options]))
        switch.wait_for("management shell on")
        return switch

    def guest(self, netdev: str, number: int, *peers: str) -> Process:
        command = qemu_command(self.initramfs, netdev, number, list(peers))
        return self.stack.enter_context(self.host.start(command))


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    require_tun()
    require_guest()
    with ExitStack() as stack:
        yield Room(stack, tmp_path)


def until_all_reached(room: Room, *guests: Process) -> None:
    """Wait until every guest has pinged its peers, and the host pings every guest."""
    for guest in guests:
        guest.wait_for("reached all", 35)
    for number in range(1, len(guests) + 1):
        wait_until(f"the host pings guest {number}", lambda: room.host.can_ping(f"10.4.4.{number}"))  # noqa: B023


def test_guests_on_a_stream_and_on_vde_ping_each_other_and_the_host(room: Room) -> None:
    directory, path = room.path / "vde.ctl", room.path / "stream"
    switch = room.switch("--sock", str(directory), "--listen", f"unix://{path}")
    one = room.guest(f"stream,id=n,server=off,addr.type=unix,addr.path={path}", 1, "10.4.4.2", HOST)
    two = room.guest(f"vde,id=n,sock={directory}", 2, "10.4.4.1", HOST)

    until_all_reached(room, one, two)

    assert "QEMU user=root" in switch.output


def test_guests_on_datagrams_ping_each_other_and_the_host(room: Room) -> None:
    path = room.path / "switch"
    room.switch("--listen", f"unixgram://{path}", "--listen", "udp://127.0.0.1:9999")
    one = room.guest(
        f"dgram,id=n,local.type=unix,local.path={room.path}/guest,remote.type=unix,remote.path={path}",
        1,
        "10.4.4.2",
        HOST,
    )
    two = room.guest(
        "dgram,id=n,local.type=inet,local.host=127.0.0.1,local.port=9998,"
        "remote.type=inet,remote.host=127.0.0.1,remote.port=9999",
        2,
        "10.4.4.1",
        HOST,
    )

    until_all_reached(room, one, two)
