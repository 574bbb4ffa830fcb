from __future__ import annotations

import logging
import socket
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from tests.vport.links.udp_parts import Recorder, Switch, eventually, frame, serving
from vport.errors import LinkError
from vport.ethernet import MacAddress
from vport.greeting import greeting
from vport.links.datagrams import SOL_UDP, UDP_GRO, SocketAddress
from vport.links.udp import UdpClient, open_udp_client
from vport.locator import UdpLocator
from vport.train import Train, lone

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

STATION = MacAddress(bytes.fromhex("020000000042"))
ANNOUNCEMENT = greeting(STATION)
BOTH = pytest.mark.parametrize("batches", [True, False], ids=["batches", "plain"])
HOSTS = pytest.mark.parametrize("host", ["127.0.0.1", "::1"], ids=["ipv4", "ipv6"])


class Names:
    """Looks names up in a table that a test changes; what is not in it does not resolve."""

    def __init__(self, *addresses: tuple[str, int]) -> None:
        self.addresses = list(addresses)
        self.lookups = 0

    async def __call__(self, host: str, port: int) -> list[tuple[int, SocketAddress]]:
        await trio.lowlevel.checkpoint()
        self.lookups += 1
        if not self.addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, address) for address in self.addresses]


@asynccontextmanager
async def running(client: UdpClient) -> AsyncIterator[Recorder]:
    """Run a client into a recorder."""
    sink = Recorder()
    client.station = client.station or STATION
    with client:
        async with trio.open_nursery() as nursery:
            await nursery.start(client.run, sink)
            yield sink
            nursery.cancel_scope.cancel()


def named(names: Names, **options: float) -> UdpClient:
    """Make a client of a server known by name."""
    return UdpClient(UdpLocator(host="lan.example", port=9999, **options), resolver=names)  # type: ignore[arg-type]


def free_port(host: str = "127.0.0.1") -> int:
    """Find a UDP port that nobody listens on."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((host, 0))
        port: int = sock.getsockname()[1]
        return port


def lines(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == level]


@HOSTS
async def test_two_clients_that_call_each_other_meet_whoever_is_first(host: str) -> None:
    ports = free_port(host), free_port(host)
    first = UdpClient(UdpLocator(host=host, port=ports[1], local=(host, ports[0])))
    second = UdpClient(UdpLocator(host=host, port=ports[0], local=("", ports[1])))
    with trio.fail_after(10):
        async with running(first) as heard_by_first:
            first.transmit(lone(frame(1, 100)))
            first.flush()  # refused: nobody is there yet
            await trio.testing.wait_all_tasks_blocked(0.1)  # it has been refused by now
            async with running(second) as heard_by_second:
                await eventually(lambda: ANNOUNCEMENT in heard_by_first.frames)
                first.transmit(lone(frame(2, 100)))
                first.flush()
                await eventually(lambda: frame(2, 100) in heard_by_second.frames)


@HOSTS
async def test_client_announces_itself_at_once_and_carries_trains_both_ways(host: str) -> None:
    frames = [frame(number, 1000) for number in range(30)]
    switch = Switch()
    with trio.fail_after(5):
        async with serving(switch, host) as listener:
            client = await open_udp_client(UdpLocator(host=host, port=listener.address[1]))
            async with running(client) as sink:
                await switch.until_links(1)
                assert await switch.places[0].until_frames(1) == [ANNOUNCEMENT]

                client.transmit(Train(b"".join(frames), 1000))
                client.transmit(lone(frame(99)))
                client.flush()
                assert await switch.places[0].until_frames(32) == [ANNOUNCEMENT, *frames, frame(99)]

                switch.links[0].transmit(Train(b"".join(frames), 1000))
                switch.links[0].flush()
                assert await sink.until_frames(30) == frames
                assert len(sink.trains) == 1


@BOTH
@HOSTS
async def test_client_sends_many_frames_in_order(host: str, batches: bool) -> None:
    frames = [frame(number, 64 + number % 3) for number in range(100)]
    switch = Switch()
    with trio.fail_after(5):
        async with serving(switch, host) as listener:
            client = UdpClient(UdpLocator(host=host, port=listener.address[1]), batches=batches)
            async with running(client):
                for one in frames:
                    client.transmit(lone(one))
                client.flush()
                await switch.until_links(1)
                assert (await switch.places[0].until_frames(101))[1:] == frames
                assert not client.discards


async def test_client_without_segmentation_sends_frame_by_frame() -> None:
    frames = [frame(number, 1000) for number in range(30)]
    with trio.fail_after(5), trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        await server.bind(("127.0.0.1", 0))
        server.setsockopt(SOL_UDP, UDP_GRO, 1)
        locator = UdpLocator(host="127.0.0.1", port=server.getsockname()[1])
        client = UdpClient(locator, segmentation=False)
        async with running(client):
            client.transmit(Train(b"".join(frames), 1000))
            client.flush()

            assert [await server.recv(65536) for _ in range(31)] == [ANNOUNCEMENT, *frames]


async def test_locator_says_whom_to_announce() -> None:
    other = MacAddress(bytes.fromhex("020000000077"))
    switch = Switch()
    with trio.fail_after(5):
        async with serving(switch) as listener:
            locator = UdpLocator(host="127.0.0.1", port=listener.address[1], mac=other)
            async with running(await open_udp_client(locator)):
                await switch.until_links(1)
                assert await switch.places[0].until_frames(1) == [greeting(other)]


def test_client_without_station_announces_one_of_its_own() -> None:
    one, two = (UdpClient(UdpLocator(host="127.0.0.1", port=9999)) for _ in range(2))

    assert one.announced_station != two.announced_station
    assert one.announced_station[0] & 3 == 2  # locally administered, not a group
    one.station = STATION
    assert one.announced_station == STATION


async def test_quiet_client_announces_itself_again_and_again() -> None:
    switch = Switch()
    with trio.fail_after(5):
        async with serving(switch) as listener:
            locator = UdpLocator(host="127.0.0.1", port=listener.address[1], keepalive=0.1)
            async with running(await open_udp_client(locator)):
                await switch.until_links(1)
                started = time.monotonic()
                assert await switch.places[0].until_frames(4) == [ANNOUNCEMENT] * 4
                assert time.monotonic() - started > 0.25


async def test_client_that_hears_no_more_announces_itself_within_two_seconds() -> None:
    switch = Switch()
    with trio.fail_after(5):
        async with serving(switch) as listener:
            client = await open_udp_client(UdpLocator(host="127.0.0.1", port=listener.address[1]))
            async with running(client) as sink:
                await switch.until_links(1)
                switch.links[0].transmit(lone(frame(1)))
                switch.links[0].flush()
                await sink.until_frames(1)

                started = time.monotonic()
                assert await switch.places[0].until_frames(2) == [ANNOUNCEMENT] * 2
                assert 0.9 < time.monotonic() - started < 2


@HOSTS
async def test_client_finds_a_restarted_server_again(host: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    port = free_port(host)
    client = await open_udp_client(UdpLocator(host=host, port=port))
    with trio.fail_after(10):
        async with running(client) as sink:
            for restarts in range(2):
                await eventually(lambda count=restarts: len(lines(caplog, logging.WARNING)) == count + 1)
                switch = Switch()
                async with serving(switch, host, port=port):
                    await switch.until_links(1)
                    assert ANNOUNCEMENT in await switch.places[0].until_frames(1)
                    switch.links[0].transmit(lone(frame(restarts)))
                    switch.links[0].flush()
                    await sink.until_frames(restarts + 1)
                    await eventually(lambda count=restarts: len(lines(caplog, logging.INFO)) == count + 1)
                client.transmit(lone(frame(99)))
                client.flush()

    for line in lines(caplog, logging.WARNING):
        assert line.endswith(f":{port}: connection refused; trying again until it works")
    for line in lines(caplog, logging.INFO):
        assert ": connected to " in line


async def test_attempts_slow_down_while_the_server_refuses() -> None:
    names = Names(("127.0.0.1", free_port()))
    with trio.fail_after(5):
        async with running(named(names)):
            await trio.sleep(1.6)  # attempts at 0, 0.2, 0.6 and 1.4 s

            assert 3 <= names.lookups <= 4


async def test_name_that_does_not_resolve_yet_is_tried_again_and_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    names = Names()
    switch = Switch()
    with trio.fail_after(5):
        async with serving(switch) as listener, running(named(names)) as sink:
            await eventually(lambda: names.lookups >= 3)
            names.addresses = [("127.0.0.1", listener.address[1])]

            await switch.until_links(1)
            switch.links[0].transmit(lone(frame(1)))
            switch.links[0].flush()
            await sink.until_frames(1)

    (line,) = lines(caplog, logging.WARNING)
    assert "cannot find the address of lan.example: Name or service not known; trying again" in line


async def test_frames_sent_without_a_connection_are_counted() -> None:
    client = named(Names())
    with trio.fail_after(5):
        async with running(client):
            client.transmit(Train(frame(1) + frame(2), 64))
            client.flush()

            assert client.discards == {"unreachable": 2}


async def test_server_that_moved_to_another_address_is_found_by_its_name() -> None:
    old, new = Switch(), Switch()
    names = Names(("127.0.0.2", free_port("127.0.0.2")))
    client = named(names)
    with trio.fail_after(10):
        async with serving(new, "127.0.0.3") as there, running(client):
            async with serving(old, "127.0.0.2", port=names.addresses[0][1]):
                await old.until_links(1)
                names.addresses = [("127.0.0.3", there.address[1])]
            client.transmit(lone(frame(1)))
            client.flush()

            await new.until_links(1)


async def test_silent_server_whose_name_has_another_address_is_left() -> None:
    old, new = Switch(), Switch()
    with trio.fail_after(5):
        async with serving(old, "127.0.0.2") as here, serving(new, "127.0.0.3") as there:
            names = Names(("127.0.0.2", here.address[1]))
            client = named(names, keepalive=0.1)
            client._patience = 0.3
            async with running(client):
                await old.until_links(1)
                names.addresses = [("127.0.0.3", there.address[1])]

                await new.until_links(1)


async def test_silent_server_is_tried_at_its_other_addresses_with_growing_patience() -> None:
    one, two = Switch(), Switch()
    with trio.fail_after(5):
        async with serving(one, "127.0.0.2") as here, serving(two, "127.0.0.3") as there:
            names = Names(("127.0.0.2", here.address[1]), ("127.0.0.3", there.address[1]))
            client = named(names, keepalive=0.1)
            client._patience = 0.2
            async with running(client):
                await one.until_links(1)
                await two.until_links(1)
                assert client._patience == 0.4
                await one.until_links(2)


async def test_address_that_refuses_is_followed_by_the_next() -> None:
    switch = Switch()
    with trio.fail_after(5):
        async with serving(switch) as listener:
            names = Names(("127.0.0.1", free_port()), ("127.0.0.1", listener.address[1]))
            async with running(named(names)):
                await switch.until_links(1)
                assert names.lookups == 1


async def test_short_datagrams_from_the_server_are_counted() -> None:
    with trio.fail_after(5), trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        await server.bind(("127.0.0.1", 0))
        client = await open_udp_client(UdpLocator(host="127.0.0.1", port=server.getsockname()[1]))
        async with running(client) as sink:
            _, address = await server.recvfrom(2000)
            for datagram in (b"", bytes(13), frame(1), frame(2, 65507)):
                await server.sendto(datagram, address)

            assert await sink.until_frames(2) == [frame(1), frame(2, 65507)]
            assert client.discards == {"short": 2}


async def test_closing_ends_run() -> None:
    client = await open_udp_client(UdpLocator(host="127.0.0.1", port=free_port()))
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            await nursery.start(client.run, Recorder())
            client.close()
            client.close()


async def test_call_to_no_host_is_refused() -> None:
    with pytest.raises(LinkError, match=r"udp://:9999: names no host to call; write udp://HOST:9999"):
        await open_udp_client(UdpLocator(host="", port=9999))
