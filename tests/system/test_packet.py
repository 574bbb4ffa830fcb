"""``packet://``: real veth devices, their offloads on, with the kernel's TCP at both ends."""

from __future__ import annotations

import json
import socket
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from tests.system.namespaces import inside, network_namespace, ping, run, until_ping
from tests.system.processes import VPORT, Process
from tests.system.requirements import require_program, require_root
from vport.errors import LinkError
from vport.links import open_link
from vport.netdev import in_namespace
from vport.train import Train, lone

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from vport.netdev import Kernel

TAGGED = bytes.fromhex("02000000000f" + "02000000000a" + "8100" + "a00a" + "88b5") + bytes(range(60))
SERVICE_TAGGED = bytes.fromhex("02000000000f" + "02000000000a" + "88a8" + "0014" + "88b5") + bytes(range(60))
PLAIN = bytes.fromhex("02000000000f" + "02000000000a" + "88b5") + bytes(range(60))


@contextmanager
def joined_by_veth(*names: str) -> Iterator[dict[str, str]]:
    """Make a namespace for each name, and one in the middle that has the other end of each one's veth."""
    require_root()
    require_program("ip", "iproute2")
    with ExitStack() as stack:
        spaces = {name: stack.enter_context(network_namespace()) for name in ("middle", *names)}
        for number, name in enumerate(names, 1):
            peer = f"to-{name}"
            run(
                "ip", "-n", spaces["middle"], "link", "add", peer, "type", "veth",
                "peer", "name", "eth0", "netns", spaces[name],
            )  # fmt: skip
            run("ip", "-n", spaces["middle"], "link", "set", peer, "up")
            run("ip", "-n", spaces[name], "addr", "add", f"10.9.0.{number}/24", "dev", "eth0")
            run("ip", "-n", spaces[name], "link", "set", "eth0", "up")
        yield spaces


class Collector:
    """A sink that keeps what it gets."""

    def __init__(self) -> None:
        self.trains: list[Train] = []
        self.came = trio.Event()

    def deliver(self, train: Train) -> None:
        self.trains.append(train.copy())

    def flush(self) -> None:
        self.came.set()
        self.came = trio.Event()

    async def frame(self, wanted: bytes) -> None:
        """Wait until ``wanted`` has been received."""
        with trio.fail_after(5):
            while not any(bytes(train.data) == wanted for train in self.trains):
                await self.came.wait()


async def raw_socket(namespace: str, device: str) -> socket.socket:
    def make(kernel: Kernel) -> socket.socket:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88B5))
        sock.bind((device, 3))
        sock.settimeout(5)
        return sock

    return await in_namespace(namespace, make)


async def test_tcp_between_two_devices_goes_in_superframes(tmp_path: Path) -> None:
    require_program("iperf3")
    with joined_by_veth("one", "two") as spaces:
        devices = inside(spaces["one"], "ip", "-d", "link", "show", "eth0")
        assert int(devices.split("gso_max_size ")[1].split()[0]) > 1514
        command = ["ip", "netns", "exec", spaces["middle"], *VPORT, "packet://to-one", "packet://to-two"]
        with Process(command, tmp_path / "vport") as vport:
            vport.wait_for("packet://to-two is open")
            await until_ping(spaces["one"], "10.9.0.2")
            assert await ping(spaces["two"], "10.9.0.1", "-s", "1472", "-M", "do")
            with Process(
                ["ip", "netns", "exec", spaces["two"], "iperf3", "-s", "-1", "--forceflush"],
                tmp_path / "iperf3",
            ) as server:
                server.wait_for("listening")
                report = json.loads(
                    inside(
                        spaces["one"],
                        "iperf3",
                        "-c",
                        "10.9.0.2",
                        "-t",
                        "2",
                        "-J",
                        "--connect-timeout",
                        "3000",
                    )
                )
                server.wait()
            rate = report["end"]["sum_received"]["bits_per_second"]
            vport.end()
        print(f"TCP through packet:// {rate / 1e9:.2f} Gbit/s")  # noqa: T201 - shown by pytest -rP
        received = int(vport.output.split("L->R: received ")[1].split(",")[0])
        size = int(vport.output.split("received bytes ")[1].split(",")[0])
        assert size / received > 1000
        assert rate > 100e6


async def test_own_frames_do_not_come_back_and_tags_are_put_back() -> None:
    with joined_by_veth("one") as spaces:
        collector = Collector()
        with await open_link(f"packet://to-one?netns={spaces['middle']}") as link:
            async with trio.open_nursery() as nursery:
                await nursery.start(link.run, collector)
                station = await raw_socket(spaces["one"], "eth0")
                with station:
                    for frame in (TAGGED, SERVICE_TAGGED, PLAIN):
                        station.send(frame)
                        await collector.frame(frame)
                    link.transmit(lone(PLAIN[::-1]))
                    link.transmit(lone(PLAIN))
                    link.flush()
                    received = await trio.to_thread.run_sync(station.recv, 2000)
                    while received != PLAIN:
                        received = await trio.to_thread.run_sync(station.recv, 2000)
                    station.send(TAGGED[:-1])
                    await collector.frame(TAGGED[:-1])
                nursery.cancel_scope.cancel()
        assert not any(bytes(train.data) == PLAIN[::-1] for train in collector.trains)


async def test_device_that_is_deleted_ends_the_link_and_one_that_is_down_does_not() -> None:
    with joined_by_veth("one") as spaces:
        collector = Collector()
        link = await open_link(f"packet://to-one?netns={spaces['middle']}")
        with link, pytest.RaisesGroup(LinkError, flatten_subgroups=True):
            async with trio.open_nursery() as nursery:
                await nursery.start(link.run, collector)
                run("ip", "-n", spaces["middle"], "link", "set", "to-one", "down")
                run("ip", "-n", spaces["middle"], "link", "set", "to-one", "up")
                with await raw_socket(spaces["one"], "eth0") as station:
                    with trio.fail_after(5):
                        while not any(bytes(train.data) == PLAIN for train in collector.trains):
                            station.send(PLAIN)
                            with trio.move_on_after(0.1):
                                await collector.came.wait()
                run("ip", "-n", spaces["middle"], "link", "del", "to-one")
                with trio.fail_after(5):
                    await trio.sleep_forever()


async def test_what_cannot_be_opened_is_named() -> None:
    require_root()
    with pytest.raises(LinkError, match="no-such-dev"):
        await open_link("packet://no-such-dev")


def test_without_permission_the_capability_is_named(tmp_path: Path) -> None:
    require_root()
    require_program("setpriv", "util-linux")
    command = ["setpriv", "--reuid", "65534", "--clear-groups", "--inh-caps=-all", *VPORT]
    with Process([*command, "packet://lo", "host://10.1.1.1/24"], tmp_path / "vport") as vport:
        assert vport.wait() == 1
        assert "no permission to open lo" in vport.output
        assert "cap_net_raw" in vport.output
        assert "Traceback" not in vport.output
