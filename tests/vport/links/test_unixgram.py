from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
import trio

from tests.vport.links.places import FRAME, Desk, RecordingPlace, frame, until
from vport.errors import SettingsError
from vport.links import open_link, open_listener
from vport.links.unixgram import UnixgramListener
from vport.train import Train, lone

if TYPE_CHECKING:
    from pathlib import Path


async def serve(path: Path, nursery: trio.Nursery, desk: Desk) -> UnixgramListener:
    listener = await open_listener(f"unixgram://{path}")
    assert isinstance(listener, UnixgramListener)
    await nursery.start(listener.serve, desk)
    return listener


def bound(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.settimeout(5)
    sock.bind(str(path))
    return sock


async def test_whoever_sends_from_a_named_socket_is_a_peer(tmp_path: Path, nursery: trio.Nursery) -> None:
    desk, path = Desk(), tmp_path / "switch"
    with await serve(path, nursery, desk) as listener, bound(tmp_path / "guest") as guest:
        guest.sendto(b"VFKT", str(path))
        for one in (FRAME, FRAME, frame(1514)):
            guest.sendto(one, str(path))
        await until(lambda: desk.places and len(desk.places[0].frames) == 3)
        assert listener.discards == {"short": 1}
        assert desk.places[0].link.description == f"unixgram peer {tmp_path}/guest"

        desk.places[0].link.transmit(Train(frame(90) * 3, 90))
        assert [guest.recv(2000) for _ in range(3)] == [frame(90)] * 3

        guest.close()
        desk.places[0].link.transmit(lone(FRAME))
        await until(lambda: desk.places[0].reason == "its socket is gone: connection refused")
        assert listener.peers == []
        nursery.cancel_scope.cancel()


async def test_more_than_the_kernel_lets_wait_arrives_nevertheless(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    desk, path = Desk(), tmp_path / "switch"
    with await serve(path, nursery, desk), bound(tmp_path / "guest") as guest:
        guest.sendto(FRAME, str(path))
        await until(lambda: desk.places)
        desk.places[0].link.transmit(Train(frame(100) * 300, 100))

        guest.setblocking(False)
        got = 0
        with trio.fail_after(5):
            while got < 300:
                await trio.lowlevel.wait_readable(guest)
                assert guest.recv(200) == frame(100)
                got += 1

        while not desk.places[0].link.discards["queue-full"]:
            desk.places[0].link.transmit(Train(frame(1000) * 60, 1000))
        nursery.cancel_scope.cancel()


async def test_far_end_that_is_connected_to_our_socket_is_answered_from_it(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    desk, path = Desk(), tmp_path / "switch"
    with await serve(path, nursery, desk), bound(tmp_path / "guest") as guest:
        guest.connect(str(path))
        guest.send(FRAME)
        await until(lambda: desk.places)

        desk.places[0].link.transmit(lone(FRAME))
        assert guest.recv(2000) == FRAME
        while not desk.places[0].link.discards["queue-full"]:
            desk.places[0].link.transmit(Train(frame(1000) * 60, 1000))
        nursery.cancel_scope.cancel()


async def test_nameless_sender_is_counted(tmp_path: Path, nursery: trio.Nursery) -> None:
    desk, path = Desk(), tmp_path / "switch"
    with await serve(path, nursery, desk) as listener:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as nobody:
            nobody.sendto(FRAME, str(path))
        await until(lambda: listener.discards == {"nameless": 1})
        assert desk.places == []
        nursery.cancel_scope.cancel()
    assert not path.exists()


async def test_client_and_listener_find_each_other_again(tmp_path: Path, nursery: trio.Nursery) -> None:
    path = tmp_path / "switch"
    link = await open_link(f"unixgram://{path}?local={tmp_path}/port")
    place = RecordingPlace(link)
    with link:
        await nursery.start(link.run, place)
        for round_ in range(2):
            async with trio.open_nursery() as inner:
                with await serve(path, inner, desk := Desk()):

                    def arrived() -> bool:
                        if not desk.places:
                            link.transmit(lone(FRAME))
                        return bool(desk.places)

                    await until(arrived)
                    desk.places[0].link.transmit(lone(FRAME))
                    await until(lambda: len(place.frames) == round_ + 1)  # noqa: B023
                    inner.cancel_scope.cancel()
        nursery.cancel_scope.cancel()
    assert not (tmp_path / "port").exists()


async def test_local_is_for_calling() -> None:
    with pytest.raises(SettingsError, match="for calling"):
        await open_listener("unixgram:///tmp/x?local=/tmp/y")
