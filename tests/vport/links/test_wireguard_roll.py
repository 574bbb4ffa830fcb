"""The roll of a listener: changes that come together, a disk that is slow or full, who is let in at start."""

from __future__ import annotations

import errno
import logging
import os
import stat
import threading
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from vport.errors import LinkError, SettingsError
from vport.links.binding import bind_to_all
from vport.links.wireguard_listener import WireguardListener
from vport.links.wireguard_settings import ListenerSettings, load_peers, save_peers
from vport.wireguard.config import Config, PeerSection
from vport.wireguard.keys import PrivateKey

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from vport.links.wireguard_roll import Roll


def section(name: str, port: int | None = None) -> PeerSection:
    return PeerSection(public_key=PrivateKey.generate(os.urandom).public, name=name, port=port)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "peers"


@contextmanager
def opened(store: Path, *configured: PeerSection, filed: tuple[PeerSection, ...] = ()) -> Iterator[Roll]:
    settings = ListenerSettings(
        config=Config(private_key=PrivateKey.generate(os.urandom), peers=filed),
        host="",
        store=store,
        public=None,
        underlay_mtu=None,
        configured=configured,
    )
    with bind_to_all("test", 0) as sock:
        yield WireguardListener(sock, settings).roll


class Disk:
    """Lets nothing be finished before it is told to, or nothing at all."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go_on = threading.Event()
        self.writes = 0
        self.is_full = False
        monkeypatch.setattr(os, "fsync", self._sync)

    def _sync(self, descriptor: int) -> None:
        self.writes += 1
        self.go_on.wait(10)
        if self.is_full:
            self.is_full = False
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async def until_busy(self) -> None:
        with trio.fail_after(5):
            while not self.writes:  # noqa: ASYNC110 - what happens in a thread has no event
                await trio.sleep(0.001)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    one = Disk(monkeypatch)
    yield one
    one.go_on.set()


def names(store: Path) -> list[str]:
    return [peer.name for peer in load_peers(store)]


async def test_peers_that_are_added_at_once_are_all_kept_in_their_order(store: Path) -> None:
    wanted = [f"p{number}" for number in range(20)]
    with opened(store) as roll:
        async with trio.open_nursery() as nursery:
            for name in wanted:
                nursery.start_soon(roll.add, section(name))
    assert sorted(names(store)) == sorted(wanted)
    assert stat.S_IMODE(store.stat().st_mode) == 0o600
    assert [path.name for path in store.parent.glob(".*")] == []


async def test_slow_disk_keeps_nobody_in_who_is_revoked(store: Path, disk: Disk) -> None:
    with opened(store) as roll:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(roll.add, section("a"))
            await disk.until_busy()
            nursery.start_soon(roll.add, section("b"))
            await trio.testing.wait_all_tasks_blocked()
            member = roll.find("a")
            assert member is not None
            nursery.start_soon(roll.remove, member)
            await trio.testing.wait_all_tasks_blocked()
            assert roll.find("a") is None  # at once, though nothing is written yet
            assert not store.exists()
            disk.go_on.set()
    assert names(store) == ["b"]


async def test_what_a_full_disk_refuses_is_taken_back_before_the_next_is_written(
    store: Path, disk: Disk
) -> None:
    disk.is_full = True
    refused: list[LinkError] = []

    async def add_in_vain() -> None:
        with pytest.raises(LinkError, match="No space left") as caught:
            await roll.add(section("a"))
        refused.append(caught.value)

    with opened(store) as roll:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(add_in_vain)
            await disk.until_busy()
            nursery.start_soon(roll.add, section("b"))
            disk.go_on.set()
        assert [member.name for member in roll] == ["b"]
    assert len(refused) == 1
    assert names(store) == ["b"]


async def test_change_that_has_begun_is_not_cancelled(store: Path, disk: Disk) -> None:
    with opened(store) as roll:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(roll.add, section("a"))
            await disk.until_busy()
            nursery.cancel_scope.cancel()
            disk.go_on.set()
    assert names(store) == ["a"]


async def test_two_that_want_one_name_get_it_once(store: Path, disk: Disk) -> None:
    disk.go_on.set()
    with opened(store) as roll:
        await roll.add(section("a"))
        with pytest.raises(SettingsError, match="peer a already"):
            await roll.add(section("a"))
    assert disk.writes == 1


async def test_what_is_ended_in_passing_is_written_soon_and_at_the_latest_at_the_end(store: Path) -> None:
    with opened(store) as roll:
        for name in "ab":
            await roll.add(section(name))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(roll.run)
            await trio.testing.wait_all_tasks_blocked()
            member = roll.find("a")
            assert member is not None
            roll.end(member, "it has run out")
            nursery.cancel_scope.cancel()
    assert names(store) == ["b"]


# --- the operator's files and the store ---


async def test_peer_that_the_operator_names_leaves_the_store(
    store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    same, renamed, other = section("same", 1), section("renamed", 2), section("other", 3)
    save_peers(store, (replace(same, port=9), renamed, other))
    with opened(store, same, section("renamed", 7)) as roll:
        assert sorted(member.name for member in roll) == ["other", "renamed", "same"]
        found = roll.find("same")
        assert found is not None
        assert found.section.port == 1
        assert roll.find(renamed.public_key.encode()) is None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(roll.run)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    assert names(store) == ["other"]
    place = f"{store}: peer {{}} leaves this file: it stands in the configuration"
    assert place.format("same") + ", and that holds" in caplog.text
    assert place.format("renamed") + " with another key, and that holds" in caplog.text
    with opened(store) as roll:  # and whom the operator takes out is out
        assert [member.name for member in roll] == ["other"]


async def test_peer_of_the_configuration_is_out_until_a_restart_and_that_of_a_file_stays(
    store: Path,
) -> None:
    configured, filed = section("configured"), section("filed")
    with opened(store, configured, filed=(filed,)) as roll:
        member = roll.find("configured")
        assert member is not None
        await roll.remove(member)
        assert roll.find("configured") is None
        member = roll.find("filed")
        assert member is not None
        with pytest.raises(SettingsError, match="filed stands in a file"):
            await roll.remove(member)
    assert not store.exists()
