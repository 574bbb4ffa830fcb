from __future__ import annotations

import os
import socket
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from tests.vport.links.places import FRAME, Desk, RecordingPlace, frame, until
from vport.errors import LinkError, SettingsError
from vport.links import open_link, open_listener
from vport.links.frame_batch import FrameInbox, FrameOutbox, find_calls
from vport.links.vde import VdeClient, VdeListener
from vport.links.vde_client import find_directory
from vport.links.vde_directory import directory_mode
from vport.locator import VdeLocator
from vport.train import Train, lone
from vport.vde_protocol import MAGIC, Request, decode_sockaddr, encode_request

if TYPE_CHECKING:
    from collections.abc import Iterator


class Plug:
    """A client, as libvdeplug is one: made of plain blocking sockets, with short patience."""

    def __init__(self, directory: Path, name: str = ".1-00000") -> None:
        self.stream = socket.socket(socket.AF_UNIX)
        self.stream.settimeout(5)
        self.stream.connect(str(directory / "ctl"))
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.setblocking(False)
        self.own = directory / name
        self.far = ""

    async def ask(self, request: bytes | None = None, **fields: object) -> bytes:
        """Send a request and give the reply, nothing if the switch hung up."""
        if request is None:
            self.sock.bind(str(self.own))
            request = encode_request(Request(path=os.fsencode(self.own), **fields))  # type: ignore[arg-type]
        self.stream.send(request)
        reply = await self.said()
        if reply:
            self.far = decode_sockaddr(reply).decode()
            self.sock.connect(self.far)
            self.own.unlink(missing_ok=True)
        return reply

    async def said(self) -> bytes:
        with trio.fail_after(6):
            try:
                return await trio.to_thread.run_sync(self.stream.recv, 110, abandon_on_cancel=True)
            except ConnectionResetError:
                return b""

    def close(self) -> None:
        self.stream.close()
        self.sock.close()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "vde.ctl"


@contextmanager
def plugged(directory: Path, *names: str) -> Iterator[list[Plug]]:
    plugs = [Plug(directory, name) for name in names or (".1-00000",)]
    try:
        yield plugs
    finally:
        for plug in plugs:
            plug.close()


async def serve(directory: Path, nursery: trio.Nursery, desk: Desk, **options: object) -> VdeListener:
    listener = await open_listener(VdeLocator(path=str(directory), **options))  # type: ignore[arg-type]
    assert isinstance(listener, VdeListener)
    await nursery.start(listener.serve, desk)
    return listener


async def test_client_is_plugged_in_and_frames_go_both_ways(directory: Path, nursery: trio.Nursery) -> None:
    desk = Desk()
    with await serve(directory, nursery, desk) as listener, plugged(directory) as (plug,):
        assert len(await plug.ask(port=5, description="tester: user=x")) == 110

        (client,) = listener.clients
        (place,) = desk.places
        assert plug.far == f"{directory}/005.1"
        assert (client.module, client.description) == ("unix prog", "tester: user=x")
        assert (place.port_number, place.user) == (5, "root" if os.getuid() == 0 else place.user)

        plug.sock.send(FRAME)
        await until(lambda: place.frames == [FRAME])
        client.transmit(lone(FRAME))
        client.flush()
        assert plug.sock.recv(2000) == FRAME

        plug.stream.close()
        await until(lambda: place.reason == "it has hung up")
        assert not Path(plug.far).exists()
        assert listener.clients == []
        nursery.cancel_scope.cancel()


async def test_frames_of_one_size_arrive_as_a_train(directory: Path, nursery: trio.Nursery) -> None:
    desk = Desk()
    with await serve(directory, nursery, desk), plugged(directory) as (plug,):
        await plug.ask()
        sent = [frame(1514, mark) for mark in range(20)] + [frame(60), frame(1514), b"short", b"", frame(90)]
        for one in sent:
            plug.sock.send(one)

        (place,) = desk.places
        await until(lambda: len(place.frames) == 23)
        assert place.frames == [one for one in sent if len(one) > 13]
        assert max(place.trains) == 21
        assert place.link.discards == {"short": 2}
        nursery.cancel_scope.cancel()


async def test_client_that_never_reads_loses_frames_and_harms_nobody(
    directory: Path, nursery: trio.Nursery
) -> None:
    desk = Desk()
    with await serve(directory, nursery, desk) as listener, plugged(directory, ".1", ".2") as (deaf, other):
        await deaf.ask()
        await other.ask()
        train = Train(frame(1514) * 40, 1514)
        while not listener.clients[0].discards["queue-full"]:
            listener.clients[0].transmit(train)
            listener.clients[0].flush()

        listener.clients[1].transmit(lone(FRAME))
        listener.clients[1].flush()
        assert other.sock.recv(2000) == FRAME
        nursery.cancel_scope.cancel()


async def test_request_of_version_1_and_abstract_name(directory: Path, nursery: trio.Nursery) -> None:
    desk = Desk()
    name = (b"\0" + b"uml" + os.urandom(4)).ljust(108, b"\0")
    with await serve(directory, nursery, desk), plugged(directory) as (plug,):
        plug.sock.bind(name)
        request = MAGIC.to_bytes(4, "little") + bytes(10) + b"\1\0" + name

        assert len(await plug.ask(request)) == 110

        plug.sock.send(FRAME)
        await until(lambda: desk.places[0].frames == [FRAME])
        nursery.cancel_scope.cancel()


async def test_request_in_pieces_is_put_together(directory: Path, nursery: trio.Nursery) -> None:
    desk = Desk()
    with await serve(directory, nursery, desk) as listener, plugged(directory) as (plug,):
        plug.sock.bind(str(plug.own))
        request = encode_request(Request(path=os.fsencode(plug.own), description="piecemeal"))
        for piece in (request[:3], request[3:60]):
            plug.stream.send(piece)
            await trio.testing.wait_all_tasks_blocked(0.01)

        assert len(await plug.ask(request[60:])) == 110
        assert listener.clients[0].description == "piecemeal"
        nursery.cancel_scope.cancel()


async def test_port_zero_is_given_any_port(directory: Path, nursery: trio.Nursery) -> None:
    desk = Desk()
    with await serve(directory, nursery, desk), plugged(directory) as (plug,):
        assert await plug.ask(port=0)
        assert desk.places[0].port_number == 1
        nursery.cancel_scope.cancel()


async def test_refused_client_sees_the_end_of_its_stream(directory: Path, nursery: trio.Nursery) -> None:
    desk = Desk(ports=4)
    with await serve(directory, nursery, desk) as listener, plugged(directory) as (plug,):
        assert await plug.ask(port=9) == b""
        assert listener.discards == {"refused": 1}
        assert listener.clients == []
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "request_",
    [
        b"\0" * 150,
        MAGIC.to_bytes(4, "little") + b"\7\0\0\0" + bytes(142),
        encode_request(Request(path=b"/dev/log")),
        encode_request(Request(path=b"relative/.1-0")),
        encode_request(Request(path=b"/no/such/place/.1-0")),
        encode_request(Request(path=b"/tmp/vde.no-such-socket")),
        encode_request(Request(path=b"\0nobody".ljust(108, b"\0"))),
        b"\xce\xfa\xed\xfe\3\0\0\0" + bytes(1000),
    ],
    ids=["magic", "version", "outside", "relative", "missing", "dead", "abstract", "long"],
)
async def test_bad_request_is_closed_and_counted(
    directory: Path, nursery: trio.Nursery, request_: bytes
) -> None:
    desk = Desk()
    with await serve(directory, nursery, desk) as listener, plugged(directory) as (plug,):
        assert await plug.ask(request_) == b""
        assert listener.discards == {"malformed": 1}
        assert desk.places == []
        nursery.cancel_scope.cancel()


async def test_path_that_is_no_socket_or_a_way_out_is_refused(
    directory: Path, nursery: trio.Nursery, tmp_path: Path
) -> None:
    desk = Desk()
    outside = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    outside.bind(str(tmp_path / "victim"))
    with outside, await serve(directory, nursery, desk) as listener:
        (directory / "file").write_text("")
        (directory / "link").symlink_to(tmp_path / "victim")
        for path in (directory / "file", directory / "link", directory / ".." / "victim", directory / "."):
            with plugged(directory) as (plug,):
                assert await plug.ask(encode_request(Request(path=os.fsencode(path)))) == b""
        assert listener.discards == {"malformed": 4}
        nursery.cancel_scope.cancel()


async def test_second_request_ends_both(directory: Path, nursery: trio.Nursery) -> None:
    desk = Desk()
    with await serve(directory, nursery, desk), plugged(directory) as (plug,):
        await plug.ask()
        plug.stream.send(encode_request(Request(path=os.fsencode(plug.own))))

        assert await plug.said() == b""
        assert desk.places[0].reason == "it said something after its request"
        nursery.cancel_scope.cancel()


async def test_silent_client_is_turned_away_in_time(
    directory: Path, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vport.links.vde_listener.REQUEST_TIME", 0.05)
    with await serve(directory, nursery, Desk()) as listener, plugged(directory) as (plug,):
        plug.stream.send(b"\xce\xfa")
        assert await plug.said() == b""
        assert listener.discards == {"too slow": 1}
        nursery.cancel_scope.cancel()


async def test_client_unplugged_by_the_switch_sees_the_end(directory: Path, nursery: trio.Nursery) -> None:
    desk = Desk()
    with await serve(directory, nursery, desk) as listener, plugged(directory) as (plug,):
        await plug.ask()
        listener.clients[0].close()

        assert await plug.said() == b""
        await until(lambda: desk.places[0].reason == "unplugged")
        nursery.cancel_scope.cancel()


# --- the directory ---


@pytest.mark.parametrize(
    ("mode", "expected"), [(0o600, 0o2700), (0o660, 0o2770), (0o666, 0o2777), (0o640, 0o2750)]
)
def test_directory_mode_follows_the_sockets(mode: int, expected: int) -> None:
    assert directory_mode(mode) == expected


async def test_directory_is_made_with_its_modes_and_removed(directory: Path) -> None:
    with await open_listener(VdeLocator(path=str(directory), mode=0o660)):
        assert directory.stat().st_mode & 0o7777 == 0o2770
        assert (directory / "ctl").stat().st_mode & 0o777 == 0o660
    assert not directory.exists()

    with await open_listener(VdeLocator(path=str(directory), dirmode=0o755)):
        assert directory.stat().st_mode & 0o7777 == 0o755


async def test_directory_that_was_there_keeps_its_mode_and_what_is_in_it(directory: Path) -> None:
    directory.mkdir(mode=0o750)
    (directory / "mine").write_text("")

    with await open_listener(VdeLocator(path=str(directory))):
        assert directory.stat().st_mode & 0o777 == 0o750

    assert [entry.name for entry in directory.iterdir()] == ["mine"]


async def test_living_switch_is_refused_and_a_dead_one_replaced(directory: Path) -> None:
    with await open_listener(VdeLocator(path=str(directory))):
        with pytest.raises(LinkError, match="in use by another switch"):
            await open_listener(VdeLocator(path=str(directory)))
        assert (directory / "ctl").is_socket()
    directory.mkdir()
    for name, kind in (("ctl", socket.SOCK_STREAM), ("003.4", socket.SOCK_DGRAM)):
        with socket.socket(socket.AF_UNIX, kind) as dead:
            dead.bind(str(directory / name))

    with await open_listener(VdeLocator(path=str(directory))):
        assert [entry.name for entry in directory.iterdir()] == ["ctl"]
    assert not directory.exists()


@pytest.mark.parametrize(
    ("locator", "complaint"),
    [
        (VdeLocator(path="/tmp/" + "x" * 90), "has 95 bytes, 93 are allowed"),
        (VdeLocator(path="/etc/passwd"), "is no directory"),
        (VdeLocator(path="/tmp/vdew-x", group="no-such-group"), "no group 'no-such-group'"),
        (VdeLocator(path="/tmp/vdew-x", port=5), "for calling"),
    ],
)
async def test_directory_that_cannot_be_is_named(locator: VdeLocator, complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint):
        await open_listener(locator)
    assert not Path("/tmp/vdew-x").exists()


# --- the client ---


async def test_our_client_plugs_into_our_listener_and_again_when_it_comes_back(
    directory: Path, nursery: trio.Nursery
) -> None:
    desk = Desk()
    link = await open_link(f"vde://{directory}[3]?description=here")
    assert isinstance(link, VdeClient)
    place = RecordingPlace(link)
    with link:
        await nursery.start(link.run, place)
        link.transmit(lone(FRAME))
        assert link.discards == {"unreachable": 1}
        for round_ in range(2):
            async with trio.open_nursery() as inner:
                with await serve(directory, inner, desk) as listener:
                    await until(lambda: link.is_connected)
                    assert desk.places[round_].port_number == 3
                    assert listener.clients[0].description.startswith("here user=")
                    assert [name for name in os.listdir(directory) if name.startswith(".")] == []
                    link.transmit(Train(frame(100) * 9 + frame(50), 100))
                    link.flush()
                    await until(lambda: len(desk.places[round_].frames) == 10)  # noqa: B023
                    listener.clients[0].transmit(lone(FRAME))
                    listener.clients[0].flush()
                    await until(lambda: len(place.frames) == round_ + 1)  # noqa: B023
                    inner.cancel_scope.cancel()
            await until(lambda: not link.is_connected)
        nursery.cancel_scope.cancel()


def test_file_stands_for_the_locator_in_its_first_line(tmp_path: Path) -> None:
    (tmp_path / "one").write_text(f"vde://{tmp_path}/two\nrest")
    (tmp_path / "two").write_text(f"{tmp_path}/real[4]\n")
    (tmp_path / "loop").write_text(f"{tmp_path}/loop\n")
    (tmp_path / "other").write_text("udp://host:1\n")

    assert find_directory(VdeLocator(path=f"{tmp_path}/one")) == (f"{tmp_path}/real", 4)
    with pytest.raises(LinkError, match="too many files"):
        find_directory(VdeLocator(path=f"{tmp_path}/loop"))
    with pytest.raises(LinkError, match="names no VDE switch"):
        find_directory(VdeLocator(path=f"{tmp_path}/other"))


def test_empty_path_takes_what_the_user_chose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".vde2").mkdir()
    (tmp_path / "chosen").mkdir()
    (tmp_path / ".vde2/default.switch").symlink_to(tmp_path / "chosen")

    assert find_directory(VdeLocator(path="")) == (f"{tmp_path}/.vde2/default.switch", None)


# --- batches ---


@pytest.mark.parametrize("batches", [True, False])
def test_frames_survive_the_batch_whatever_their_sizes(batches: bool) -> None:
    calls = find_calls() if batches else None
    discards: Counter[str] = Counter()
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with left, right:
        left.setblocking(False)
        right.setblocking(False)
        frames = [frame(size) for size in (60, 60, 60, 1514, 1514, 700, 1514, 14, 9000)]
        trains = [Train(b"".join(frames[:3]), 60), Train(b"".join(frames[3:6]), 1514), *map(lone, frames[6:])]
        assert FrameOutbox(calls).send(left, trains, discards) is None

        inbox, got = FrameInbox(calls), []
        more = True
        while more:
            received, more = inbox.receive(right, discards)
            got += [bytes(one) for train in received for one in train.frames()]

    assert got == frames
    assert not discards


@pytest.mark.parametrize("batches", [True, False])
def test_full_queue_and_gone_peer_are_counted(batches: bool) -> None:
    discards: Counter[str] = Counter()
    outbox = FrameOutbox(find_calls() if batches else None)
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with left, right:
        left.setblocking(False)
        assert outbox.send(left, [Train(frame(1000) * 2000, 1000)], discards) is None
        assert 0 < discards["queue-full"] < 2000
        right.close()
        assert outbox.send(left, [Train(frame(1000) * 5, 1000)], discards) is not None
        assert discards["unreachable"] == 5
