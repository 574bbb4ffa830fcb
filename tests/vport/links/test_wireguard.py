"""WireGuard links on loopback: who gets in, who does not, and the files that say so."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from typing import TYPE_CHECKING

import pytest
import trio

from tests.vswitch.links_in_memory import RecordingLink
from vport.errors import LinkError, SettingsError
from vport.links.wireguard import WireguardClient, open_wireguard_client, open_wireguard_listener
from vport.links.wireguard_settings import read_client, read_listener
from vport.locator import WireguardLocator, parse
from vport.train import lone
from vport.wireguard.constants import INITIATION_INTERVAL
from vport.wireguard.keys import PrivateKey
from vswitch.bridge import Bridge
from vswitch.fabric import Fabric

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from vport.links.wireguard import WireguardListener

A, B = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def locator(text: str) -> WireguardLocator:
    parsed = parse(text)
    assert isinstance(parsed, WireguardLocator)
    return parsed


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.touch(mode=mode)
    path.chmod(mode)
    path.write_text(text)
    return path


class Lan:
    """A switch with a WireGuard listener on loopback, and clients with keys that it knows."""

    def __init__(self, nursery: trio.Nursery, directory: Path, *names: str) -> None:
        self.nursery = nursery
        self.directory = directory
        self.fabric = Fabric(Bridge(), trio.current_time, lambda events: None)
        self.keys = {name: PrivateKey.generate(os.urandom) for name in ("switch", *names)}
        self.listener: WireguardListener

    async def start(self) -> None:
        peers = "".join(
            f"[Peer]\nName = {name}\nPublicKey = {key.public.encode()}\n"
            for name, key in self.keys.items()
            if name != "switch"
        )
        text = f"[Interface]\nPrivateKey = {self.keys['switch'].encode()}\nListenPort = 0\n{peers}"
        self.listener = await open_wireguard_listener(
            locator(f"wg://{write(self.directory / 's.conf', text)}")
        )
        self.listener.keep_ports(self.fabric)
        await self.nursery.start(self.listener.serve, self.fabric.attach)

    async def join(self, name: str, key: PrivateKey | None = None) -> tuple[WireguardClient, RecordingLink]:
        file = write(self.directory / f"{name}.key", (key or self.keys[name]).encode())
        server = self.keys["switch"].public.encode()
        client = await open_wireguard_client(
            locator(f"wg://127.0.0.1:{self.listener.udp_port}?peer={server}&key=@{file}")
        )
        heard = RecordingLink(name)
        await self.nursery.start(client.run, Sink(heard))
        return client, heard

    def is_here(self, name: str) -> bool:
        member = self.listener.roll.find(name)
        return member is not None and member.link.attachment is not None


class Sink:
    """Lets a recording link keep what a client hears."""

    def __init__(self, link: RecordingLink) -> None:
        self.deliver = link.transmit
        self.flush = link.flush


async def until(condition: object, seconds: float = 15) -> None:
    assert callable(condition)
    with trio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110 - what happens elsewhere has no event
            await trio.sleep(0.01)


@contextlib.asynccontextmanager
async def lan(directory: Path, *names: str) -> AsyncIterator[Lan]:
    async with trio.open_nursery() as nursery:
        net = Lan(nursery, directory, *names)
        await net.start()
        clients: list[WireguardClient] = []
        try:
            yield net
        finally:
            net.listener.close()
            nursery.cancel_scope.cancel()
            for client in clients:
                client.close()


def frame(destination: bytes, source: bytes, text: bytes) -> bytes:
    return destination + source + b"\x88\xb5" + text.ljust(50, b".")


async def test_frames_cross_between_two_clients(tmp_path: Path) -> None:
    async with lan(tmp_path, "a", "b") as net:
        one, _ = await net.join("a")
        other, heard = await net.join("b")
        await until(lambda: net.is_here("a") and net.is_here("b"))
        one.transmit(lone(frame(B, A, b"hello")))
        one.flush()
        await until(lambda: frame(B, A, b"hello") in heard.sent)
        one.close()
        other.close()


async def test_unknown_key_gets_no_answer(tmp_path: Path) -> None:
    async with lan(tmp_path, "a") as net:
        stranger, _ = await net.join("stranger", PrivateKey.generate(os.urandom))
        known, _ = await net.join("a")
        await until(lambda: net.is_here("a"))
        await until(lambda: net.listener.discards["unknown peer"] > 0)
        assert stranger.peer.received_bytes == 0
        stranger.close()
        known.close()


async def test_same_key_from_two_places_the_latest_is_answered(tmp_path: Path) -> None:
    async with lan(tmp_path, "a", "b") as net:
        first, first_heard = await net.join("a")
        other, _ = await net.join("b")
        await until(lambda: net.is_here("a") and net.is_here("b"))
        await trio.sleep(INITIATION_INTERVAL)  # sooner it would be discarded, and tried again after 5 s
        twin, twin_heard = await net.join("a")
        await until(lambda: twin.peer.last_handshake_at is not None)

        other.transmit(lone(frame(b"\xff" * 6, B, b"who hears")))
        other.flush()
        await until(lambda: frame(b"\xff" * 6, B, b"who hears") in twin_heard.sent)
        assert frame(b"\xff" * 6, B, b"who hears") not in first_heard.sent
        member = net.listener.roll.find("a")
        assert member is not None
        assert len(net.fabric.bridge.ports.get(member.profile.number or 0).endpoints) == 1  # type: ignore[union-attr]  # it exists
        for client in (first, other, twin):
            client.close()


async def test_port_in_use_is_said_with_what_to_do(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as taken:
        taken.bind(("::", 0))
        port = taken.getsockname()[1]
        with pytest.raises(LinkError, match=f"UDP port {port} is in use"):
            await open_wireguard_listener(locator(f"wg://:{port}"))


# --- files ---


def test_listener_makes_its_key_once(tmp_path: Path) -> None:
    first = read_listener(locator("wg://:51820"))
    again = read_listener(locator("wg://:51820"))
    assert first.config.private_key == again.config.private_key
    made = tmp_path / "state/vswitch/wireguard-51820.key"
    assert made.stat().st_mode & 0o777 == 0o600


def test_key_file_that_others_can_read_is_complained_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key = PrivateKey.generate(os.urandom)
    path = write(tmp_path / "key", key.encode(), 0o644)
    with caplog.at_level(logging.WARNING):
        read_listener(locator(f"wg://:51820?key=@{path}"))
    assert "chmod 600" in caplog.text
    assert key.encode() not in caplog.text


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", r"s\.conf: line 1: there is no \[Interface\]"),
        ("[Interface]\nPrivateKey = short", r"s\.conf: line 2: a private key is 44 characters"),
        (
            "[Interface]\nPrivateKey = KEY\nColour = red",
            r"s\.conf: line 3: 'Colour' is no key of \[Interface\]",
        ),
        ("[Interface]\nPrivateKey = KEY\n[Peer]\nPort = 1", r"s\.conf: line 3: \[Peer\] has no PublicKey"),
        ("[Interface]\nPrivateKey = KEY\n[Peer]\nPublicKey = PUB\nVlan = 5000", r"line 5: '5000' for a VLAN"),
        (
            "[Interface]\nPrivateKey = KEY\n[Peer]\nPublicKey = PUB\nVlan = 5\nTaggedVlans = 5",
            r"line 3: VLAN 5 cannot be tagged and untagged",
        ),
        ("[Interface]\nPrivateKey = KEY\n[Peer]\nPublicKey = PUB\nMacs = 01:00:00:00:00:00", "line 5: "),
    ],
)
def test_malformed_file_is_refused_with_line_and_reason(tmp_path: Path, text: str, complaint: str) -> None:
    key = PrivateKey.generate(os.urandom)
    text = text.replace("KEY", key.encode()).replace("PUB", key.public.encode())
    path = write(tmp_path / "s.conf", text)
    with pytest.raises(SettingsError, match=complaint) as caught:
        read_listener(locator(f"wg://{path}"))
    assert key.encode() not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("wg://vs.example.net:51820", "calling takes a host, peer=PUBLIC-KEY and key=@FILE"),
        ("wg:///nowhere/lan.conf", "cannot read the WireGuard configuration"),
    ],
)
def test_client_without_a_key_or_a_file_says_what_it_takes(text: str, complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint):
        read_client(locator(text))


def test_client_of_a_file_calls_the_only_peer(tmp_path: Path) -> None:
    key = PrivateKey.generate(os.urandom)
    peer = f"[Peer]\nPublicKey = {PrivateKey.generate(os.urandom).public.encode()}\n"
    head = f"[Interface]\nPrivateKey = {key.encode()}\n"
    path = write(tmp_path / "c.conf", f"{head}{peer}Endpoint = vs.example.net:51820\n")
    assert str(read_client(locator(f"wg://{path}")).endpoint) == "vs.example.net:51820"
    path.write_text(head + peer)
    with pytest.raises(SettingsError, match="no Endpoint"):
        read_client(locator(f"wg://{path}"))
    path.write_text(head)
    with pytest.raises(SettingsError, match="0 peers"):
        read_client(locator(f"wg://{path}"))


def test_secret_on_the_command_line_is_refused_without_repeating_it() -> None:
    key = PrivateKey.generate(os.urandom).encode()
    with pytest.raises(SettingsError, match="keys do not belong on command lines") as caught:
        locator(f"wg://h:1?key={key}")
    assert key not in str(caught.value)
