"""From TAP to TAP on one switch a superframe is never cut."""

from __future__ import annotations

import json
import sys
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING

import trio

from tests.system.exchange import CALL, ECHO, READY
from tests.system.namespaces import inside, network_namespace, until_ping
from tests.system.processes import VSWITCH, Process, run
from tests.system.requirements import require_tun
from vport.links.tap import TapLink, open_tap
from vport.locator import TapLocator, parse
from vswitch.bridge import Bridge
from vswitch.fabric import Fabric

if TYPE_CHECKING:
    from pathlib import Path

    from vport.train import Train

MTU = 1500
SIZE = 20_000_000


def locator(netns: str, number: int) -> str:
    return f"tap://tap0?netns={netns}&mtu={MTU}&address=10.1.1.{number}/24"


def exchange(one: str, other: str, log: Path) -> None:
    """Send ``SIZE`` bytes from one namespace to the other and back, over TCP."""
    with Process(["ip", "netns", "exec", other, sys.executable, "-c", ECHO], log) as echo:
        echo.wait_for(READY)
        command = [
            "ip",
            "netns",
            "exec",
            one,
            sys.executable,
            "-c",
            CALL,
            "10.1.1.2",
            str(SIZE),
            str(MTU - 28),
        ]
        done = run(command)
    assert done.returncode == 0, done.stderr


def mean_size(netns: str) -> float:
    """Give the bytes per packet that the TAP in a namespace has got; a superframe is one packet."""
    (link,) = json.loads(inside(netns, "ip", "-j", "-s", "link", "show", "tap0"))
    got = link["stats64"]["rx"]
    return float(got["bytes"] / got["packets"])


async def test_superframes_cross_the_switch_whole(tmp_path: Path) -> None:
    require_tun()
    command = [*VSWITCH, "--mgmt", str(tmp_path / "mgmt")]
    with ExitStack() as stack:
        one, other = stack.enter_context(network_namespace()), stack.enter_context(network_namespace())
        command += ["--attach", locator(one, 1), "--attach", locator(other, 2)]
        switch = stack.enter_context(Process(command, tmp_path / "log"))
        switch.wait_for("management shell")
        await until_ping(one, "10.1.1.2")

        exchange(one, other, tmp_path / "echo")

        # Acknowledgements pull the mean down: it says that superframes came, not how long they were.
        assert mean_size(one) > 3 * MTU
        assert mean_size(other) > 3 * MTU


class Watched(TapLink):
    """A TAP that notes what it is given to write."""

    seen: Counter[str]

    def transmit(self, train: Train) -> None:
        super().transmit(train)
        if train.offload is not None and train.offload.gso_type:
            self.seen["superframes" if train.cut is None else "cut"] += 1
        elif len(train.data) > train.frame_size > MTU // 2:  # acknowledgements come in trains too
            self.seen["trains"] += 1


async def watched(text: str) -> Watched:
    parsed = parse(text)
    assert isinstance(parsed, TapLocator)
    link = await open_tap(parsed)
    link.__class__ = Watched
    assert isinstance(link, Watched)
    link.seen = Counter()
    return link


async def test_superframe_is_given_to_the_other_tap_as_it_came(tmp_path: Path) -> None:
    require_tun()
    with network_namespace() as one, network_namespace() as other:
        fabric = Fabric(Bridge(), trio.current_time, lambda events: None)
        with await watched(locator(one, 1)) as first, await watched(locator(other, 2)) as second:
            async with trio.open_nursery() as nursery:
                for link in (first, second):
                    await nursery.start(link.run, fabric.attach(link))
                await until_ping(one, "10.1.1.2")

                await trio.to_thread.run_sync(exchange, one, other, tmp_path / "echo")

                nursery.cancel_scope.cancel()
            for link in (first, second):
                assert link.seen["superframes"] > SIZE / 65536 / 2
                assert not link.seen["cut"]
                assert not link.seen["trains"]
