from __future__ import annotations

import socket
import struct
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from tests.vport.links.places import FRAME, Desk, RecordingPlace, frame, until
from vport.errors import LinkError, SettingsError
from vport.framing import QEMU
from vport.links import open_link, open_listener
from vport.links.frame_stream import QUEUE_MAXIMUM, FrameStream
from vport.links.stream import StreamClient, StreamListener
from vport.locator import TcpLocator, UnixLocator
from vport.train import Train, lone

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from vport.locator import Locator


def framed(*frames: bytes) -> bytes:
    return b"".join(struct.pack("!I", len(one)) + one for one in frames)


async def serve(locator: Locator, nursery: trio.Nursery, desk: Desk) -> StreamListener:
    listener = await open_listener(locator)
    assert isinstance(listener, StreamListener)
    await nursery.start(listener.serve, desk)
    return listener


@contextmanager
def connected(listener: StreamListener) -> Iterator[socket.socket]:
    family = socket.AF_UNIX if isinstance(listener.address, str) else socket.AF_INET
    with socket.socket(family) as sock:
        sock.settimeout(5)
        sock.connect(listener.address)
        yield sock


@pytest.fixture(params=["tcp", "unix"])
def locator(request: pytest.FixtureRequest, tmp_path: Path) -> Locator:
    if request.param == "tcp":
        return TcpLocator(host="127.0.0.1", port=0)
    return UnixLocator(path=f"{tmp_path}/socket")


async def test_frames_go_both_ways_behind_their_length(locator: Locator, nursery: trio.Nursery) -> None:
    desk = Desk()
    with await serve(locator, nursery, desk) as listener, connected(listener) as sock:
        sock.sendall(framed(FRAME, *[frame(1514)] * 30, frame(90)))
        await until(lambda: desk.places and len(desk.places[0].frames) == 32)
        (place,) = desk.places
        assert place.frames == [FRAME, *[frame(1514)] * 30, frame(90)]
        assert max(place.trains) == 30

        place.link.transmit(Train(frame(100) * 9 + frame(60), 100))
        place.link.flush()
        expected = framed(*[frame(100)] * 9, frame(60))
        assert sock.recv(len(expected), socket.MSG_WAITALL) == expected

        sock.close()
        await until(lambda: place.reason == "the far end has closed")
        assert listener.connections == []
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("length", [65536, 0xFFFFFFFF])
async def test_length_above_the_limit_ends_that_connection_only(
    tmp_path: Path, nursery: trio.Nursery, length: int
) -> None:
    desk = Desk()
    with (
        await serve(UnixLocator(path=f"{tmp_path}/s"), nursery, desk) as listener,
        connected(listener) as bad,
        connected(listener) as good,
    ):
        bad.sendall(framed(FRAME) + struct.pack("!I", length) + FRAME)
        await closed(desk, 0)
        assert bad.recv(1) == b""
        good.sendall(framed(b"", FRAME))
        await until(lambda: desk.places[1].frames == [FRAME])

        assert desk.places[0].frames == [FRAME]
        assert f"{length} bytes" in (desk.places[0].reason or "")
        assert desk.places[1].link.discards == {"empty": 1}
        nursery.cancel_scope.cancel()


async def closed(desk: Desk, number: int) -> None:
    await until(lambda: len(desk.places) > number and desk.places[number].reason)


async def test_half_a_frame_waits_and_is_told_at_the_end(tmp_path: Path, nursery: trio.Nursery) -> None:
    desk = Desk()
    with (
        await serve(UnixLocator(path=f"{tmp_path}/s"), nursery, desk) as listener,
        connected(listener) as sock,
    ):
        sock.sendall(framed(FRAME)[:30])
        await until(lambda: desk.places)
        await trio.testing.wait_all_tasks_blocked(0.02)
        assert desk.places[0].frames == []
        sock.close()
        await closed(desk, 0)
        assert desk.places[0].reason == "the far end has closed in the middle of a frame"
        nursery.cancel_scope.cancel()


async def test_peer_that_never_reads_fills_a_bounded_queue_and_harms_nobody(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    desk = Desk()
    with (
        await serve(UnixLocator(path=f"{tmp_path}/s"), nursery, desk) as listener,
        connected(listener) as deaf,
        connected(listener) as other,
    ):
        await until(lambda: len(desk.places) == 2)
        first, second = (place.link for place in desk.places)
        train = Train(frame(1000) * 60, 1000)
        sent = 0
        while not first.discards["queue-full"]:
            first.transmit(train)
            first.flush()
            sent += 1
            assert sent < 1000

        second.transmit(lone(FRAME))
        second.flush()
        assert other.recv(100) == framed(FRAME)

        # What was queued arrives whole once it reads.
        expected = framed(*[frame(1000)] * 60) * (sent - 1)
        deaf.setblocking(False)
        got = bytearray()
        with trio.fail_after(5):
            while len(got) < len(expected):
                await trio.lowlevel.wait_readable(deaf)
                got += deaf.recv(1 << 20)
        assert got == expected
        nursery.cancel_scope.cancel()


async def test_queue_is_bounded_in_bytes() -> None:
    left, right = socket.socketpair()
    discards: Counter[str] = Counter()
    with right:
        left.setblocking(False)
        descriptor = left.detach()
        stream = FrameStream(descriptor, descriptor, QEMU, discards)
        for _ in range(100):
            stream.transmit(Train(frame(1000) * 60, 1000))
            stream.flush()
        assert stream._queued <= QUEUE_MAXIMUM + 60 * 4
        assert discards["queue-full"] > 0
        stream.close()
        stream.close()


async def test_refused_connection_is_closed(tmp_path: Path, nursery: trio.Nursery) -> None:
    def refuse(link: object, **fields: object) -> RecordingPlace:
        from vport.errors import RefusedError

        raise RefusedError("no")

    with await open_listener(UnixLocator(path=f"{tmp_path}/s")) as listener:
        assert isinstance(listener, StreamListener)
        await nursery.start(listener.serve, refuse)
        with connected(listener) as sock:
            await until(lambda: listener.refused == 1)
            assert sock.recv(1) == b""
        nursery.cancel_scope.cancel()


async def test_client_connects_again_when_the_far_end_comes_back(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    path = f"{tmp_path}/s"
    link = await open_link(f"unix://{path}")
    assert isinstance(link, StreamClient)
    place = RecordingPlace(link)
    with link:
        await nursery.start(link.run, place)
        for round_ in range(2):
            async with trio.open_nursery() as inner:
                with await serve(UnixLocator(path=path), inner, desk := Desk()):
                    await until(lambda: link.is_connected and desk.places)
                    link.transmit(lone(FRAME))
                    link.flush()
                    await until(lambda: desk.places[0].frames == [FRAME])
                    desk.places[0].link.transmit(lone(FRAME))
                    desk.places[0].link.flush()
                    await until(lambda: len(place.frames) == round_ + 1)  # noqa: B023
                    inner.cancel_scope.cancel()
            await until(lambda: not link.is_connected)
        nursery.cancel_scope.cancel()


async def test_tcp_client_reaches_a_listener_on_all_addresses(nursery: trio.Nursery) -> None:
    desk = Desk()
    with await serve(TcpLocator(host="", port=0), nursery, desk) as listener:
        port = listener.address[1]
        with await open_link(f"tcp://127.0.0.1:{port}") as link:
            await nursery.start(link.run, RecordingPlace(link))
            await until(lambda: desk.places)
            assert desk.places[0].link.description.startswith("tcp client 127.0.0.1:")
            nursery.cancel_scope.cancel()


async def test_address_in_use_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(LinkError, match=f"TCP port {port} is in use"):
            await open_listener(f"tcp://127.0.0.1:{port}")
    with (
        await open_listener(f"unix://{tmp_path}/s"),
        pytest.raises(LinkError, match="in use by another switch"),
    ):
        await open_listener(f"unix://{tmp_path}/s")
    assert not (tmp_path / "s").exists()
    with pytest.raises(LinkError, match="names no host"):
        await open_link("tcp://:9999")
    with pytest.raises(SettingsError, match="is no socket"):
        await open_listener("unix:///etc/passwd")
