"""The management server over real Unix sockets."""

from __future__ import annotations

import os
import re
import resource
import socket
import stat
from typing import TYPE_CHECKING

import pytest
import trio

from tests.vswitch.management.small_switch import SmallSwitch, running
from vport.errors import LinkError, SettingsError
from vport.shell.unix_socket import ManagementSocket
from vswitch.management.general import BANNER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

GREETING = "".join(f"{line}\n" for line in BANNER).encode() + b"\nvde$ "
PROMPT = b"\nvde$ "
PATIENCE = 10.0  # seconds; a test that needs them has failed


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mgmt"


async def read_until(stream: trio.SocketStream, end: bytes) -> bytes:
    data = b""
    with trio.fail_after(PATIENCE):
        while not data.endswith(end):
            more = await stream.receive_some()
            assert more, f"closed after {data!r}"
            data += more
    return data


async def read_to_eof(stream: trio.SocketStream) -> bytes:
    data = b""
    with trio.fail_after(PATIENCE):
        while more := await stream.receive_some():
            data += more
    return data


class Clients:
    """Opens connections to the server, and closes them when the test is over."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._streams: list[trio.SocketStream] = []

    async def connect(self) -> trio.SocketStream:
        self._streams.append(await trio.open_unix_socket(self._path))
        return self._streams[-1]

    async def greeted(self) -> trio.SocketStream:
        stream = await self.connect()
        assert await read_until(stream, PROMPT) == GREETING
        return stream

    def close(self) -> None:
        for stream in self._streams:
            stream.socket.close()


@pytest.fixture
async def clients(path: Path) -> AsyncIterator[Clients]:
    opened = Clients(path)
    yield opened
    opened.close()


async def ask(stream: trio.SocketStream, line: str) -> str:
    await stream.send_all(line.encode() + b"\n")
    return (await read_until(stream, PROMPT)).decode().removesuffix("\nvde$ ")


def test_greeting_is_what_clients_parse() -> None:
    first = GREETING.split(b"\n")[0]
    assert b" V." in first
    assert GREETING.count(b"$ ") == 1


async def test_pipelined_commands_are_answered_in_order(path: Path, clients: Clients) -> None:
    async with running(SmallSwitch(), path):
        stream = await clients.greeted()
        await stream.send_all(b"vlan/create 7\nvlan/print\n\nvlan/create 7\nlogout\nvlan/create 8\n")
        assert await read_to_eof(stream) == (
            b"1000 Success\n"
            b"\nvde$ 0000 DATA END WITH '.'\nVLAN 0000\nVLAN 0007\n.\n1000 Success\n"
            b"\nvde$ \nvde$ 1017 File exists: VLAN 7 exists\n"
            b"\nvde$ 9999 END OF SESSION"
        )


async def test_line_without_end_is_answered_after_quiet(path: Path, clients: Clients) -> None:
    async with running(SmallSwitch(), path):
        stream = await clients.greeted()
        await stream.send_all(b"port/showinfo")
        assert b"\nNumports=32\n" in await read_until(stream, PROMPT)


async def test_half_closed_client_gets_all_answers(path: Path, clients: Clients) -> None:
    async with running(SmallSwitch(), path):
        stream = await clients.greeted()
        await stream.send_all(b"help\nshowinfo")
        await stream.send_eof()
        output = await read_to_eof(stream)
        assert output.count(b"1000 Success\n") == 2


async def test_shutdown_says_goodbye_and_closes_the_others(path: Path, clients: Clients) -> None:
    switch = SmallSwitch()
    async with running(switch, path):
        other = await clients.greeted()
        stream = await clients.greeted()
        await stream.send_all(b"shutdown\n")
        assert await read_to_eof(stream) == b"9999 END OF SESSION"
        assert await read_to_eof(other) == b""


async def test_messages_come_between_replies_as_whole_lines(path: Path, clients: Clients) -> None:
    switch = SmallSwitch()
    async with running(switch, path):
        stream = await clients.greeted()
        other = await clients.greeted()
        assert await ask(stream, "debug/add") == "1000 Success\n"
        endpoint = switch.plug("alpha")
        switch.learn("02:00:00:00:00:0b", endpoint, vid=300)
        assert await read_until(stream, b"Port 1\n") == (
            b"3021 port/+ 01\n"
            b"3031 port/ep/+ Port 01 FD  1\n"
            b'3023 port/descr Port 01 FD  1 -> "alpha"\n'
            b"3011 hash/+ 02:00:00:00:00:0b VLAN 2c:01 Port 1\n"
        )
        assert await ask(stream, "hash/setsize 64") == (
            "3012 hash/- 02:00:00:00:00:0b VLAN 2c:01 Port 1\n1000 Success\n"
        )
        assert await ask(other, "showinfo") != ""


async def test_client_that_never_reads_delays_nobody_and_is_told_its_loss(
    path: Path, clients: Clients
) -> None:
    switch = SmallSwitch(port_limit=1024)
    async with running(switch, path):
        deaf = await clients.greeted()
        await ask(deaf, "debug/add port")
        lively = await clients.greeted()
        caused = 0
        while caused < 20_000:  # some 700 kB: several times what the socket and the queue can hold
            for _ in range(100):
                endpoint = switch.plug("x" * 100)
                switch.bridge.unplug(endpoint, "test")
                switch.publish_events()
                caused += 4 if caused else 5  # port/+ only once
            with trio.fail_after(1):
                await ask(lively, "port/showinfo")
        await deaf.send_all(b"help\n")

        heard = b""
        with trio.fail_after(PATIENCE):
            while not (b"debug/lost" in heard and PROMPT in heard and heard.endswith(b"\n")):
                heard += await deaf.receive_some()
        told = sum(map(int, re.findall(rb"3001 debug/lost (\d+) messages", heard)))
        messages = len(re.findall(rb"^(?:vde\$ )?30[23]\d port/", heard, re.MULTILINE))
        assert told + messages == caused


async def test_client_that_never_reads_its_replies_holds_a_bounded_amount(
    path: Path, clients: Clients
) -> None:
    async with running(SmallSwitch(), path):
        deaf = await clients.greeted()
        lively = await clients.greeted()
        with trio.move_on_after(0.5) as stuck:
            while True:
                await deaf.send_all(b"help\n" * 1000)
        assert stuck.cancelled_caught, "the server must stop reading from a client that does not read"
        assert "Numports" in await ask(lively, "port/showinfo")


async def test_ten_megabytes_without_a_line_end_are_one_error(path: Path, clients: Clients) -> None:
    async with running(SmallSwitch(), path):
        stream = await clients.greeted()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        chunk = b"x" * 100_000
        for _ in range(100):
            await stream.send_all(chunk)
        await stream.send_all(b"\nport/showinfo\n")
        reply = await read_until(stream, b"1000 Success\n\nvde$ ")
        assert reply.startswith(b"1022 Invalid argument: the line is longer than 4096 bytes\n\nvde$ 0000 ")
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 5000  # kB


async def test_a_thousand_sessions_are_bounded(path: Path, clients: Clients) -> None:
    async with running(SmallSwitch(), path, max_sessions=5):
        sessions = [await clients.greeted() for _ in range(5)]
        for _ in range(1000):
            stream = await clients.connect()
            assert await read_to_eof(stream) == (
                b"1011 Resource temporarily unavailable: 5 sessions are open, which is the most; "
                b"close one of them\n"
            )
            await stream.aclose()
        await sessions.pop().send_all(b"logout\n")
        with trio.fail_after(PATIENCE):
            while True:
                stream = await clients.connect()
                if (await stream.receive_some()).startswith(b"vswitch"):
                    break
        assert "Numports" in await ask(sessions[0], "port/showinfo")


async def test_client_that_vanishes_leaves_no_session(path: Path, clients: Clients) -> None:
    async with running(SmallSwitch(), path, max_sessions=1):
        for _ in range(20):
            with trio.fail_after(PATIENCE):
                while True:
                    stream = await clients.connect()
                    greeting = await stream.receive_some()
                    if greeting.startswith(b"vswitch"):
                        break
            await stream.send_all(b"help\nhelp\n")
            stream.socket.close()


async def test_bytes_that_are_no_text_are_answered(path: Path, clients: Clients) -> None:
    async with running(SmallSwitch(), path):
        stream = await clients.greeted()
        await stream.send_all(b"\xff\xfe\0\x1b[2J\nhash/find \xff\n")
        assert await read_until(
            stream,
            b".\n1022 Invalid argument: MAC must be six octets in hex, such as "
            b"02:00:00:00:00:01, not '\\\\xff'\n\nvde$ ",
        )


async def test_cancelling_the_server_ends_it_at_once(path: Path, clients: Clients) -> None:
    with trio.fail_after(1):
        async with running(SmallSwitch(), path):
            await clients.greeted()


# --- the socket's file ---


def test_socket_has_its_mode_and_is_removed(path: Path) -> None:
    old = os.umask(0o077)
    try:
        with ManagementSocket.open(path, mode=0o660):
            assert stat.S_IMODE(path.stat().st_mode) == 0o660
    finally:
        os.umask(old)
    assert not path.exists()
    with ManagementSocket.open(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_stale_socket_is_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    assert path.exists()
    with ManagementSocket.open(path), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_live_socket_is_refused(path: Path) -> None:
    with ManagementSocket.open(path):
        with pytest.raises(LinkError, match="in use by another switch"):
            ManagementSocket.open(path)
        assert path.exists()


def test_what_is_no_socket_is_not_overwritten(path: Path) -> None:
    path.write_text("precious")
    with pytest.raises(SettingsError, match="is no socket"):
        ManagementSocket.open(path)
    assert path.read_text() == "precious"


def test_path_of_107_bytes_is_the_longest(tmp_path: Path) -> None:
    longest = tmp_path / ("m" * (107 - len(os.fsencode(tmp_path)) - 1))
    with ManagementSocket.open(longest):
        assert longest.is_socket()
    with pytest.raises(SettingsError, match="has 108 bytes, 107 are allowed"):
        ManagementSocket.open(f"{longest}m")


def test_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(LinkError, match="nowhere"):
        ManagementSocket.open(tmp_path / "nowhere" / "mgmt")


def test_unknown_group_is_named(path: Path) -> None:
    with pytest.raises(SettingsError, match="there is no group 'no-such-group'"):
        ManagementSocket.open(path, group="no-such-group")
    assert not path.exists()


def test_file_of_a_successor_is_left_alone(path: Path) -> None:
    first = ManagementSocket.open(path)
    path.unlink()
    with ManagementSocket.open(path):
        first.close()
        assert path.exists()
