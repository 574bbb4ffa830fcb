"""The messages to a supervisor, and what it passes on, over real sockets."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest
import trio

from vport.errors import SettingsError
from vswitch.systemd import Supervisor

if TYPE_CHECKING:
    from pathlib import Path


class NotifySocket:
    """What systemd listens on."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(5)

    def receive(self) -> list[str]:
        return self.socket.recv(4096).decode().split("\n")


@pytest.fixture(params=["file", "abstract"])
def notify_address(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """Give the address for ``bind`` and for the environment."""
    if request.param == "file":
        return str(tmp_path / "notify"), str(tmp_path / "notify")
    name = f"vswitch-test-{os.getpid()}"
    return f"\0{name}", f"@{name}"


def test_messages_arrive(notify_address: tuple[str, str]) -> None:
    bound, shown = notify_address
    notify = NotifySocket(bound)
    with notify.socket:
        supervisor = Supervisor.from_environment({"NOTIFY_SOCKET": shown}, os.getpid())

        supervisor.ready("switching")
        supervisor.reloading()
        supervisor.stopping()

        assert notify.receive() == ["READY=1", "STATUS=switching", f"MAINPID={os.getpid()}"]
        state, clock = notify.receive()
        assert state == "RELOADING=1"
        assert clock.removeprefix("MONOTONIC_USEC=").isdecimal()
        assert notify.receive() == ["STOPPING=1"]


def test_nobody_who_listens_is_no_error(tmp_path: Path) -> None:
    Supervisor().ready("x")
    Supervisor(notify_socket=str(tmp_path / "nobody")).ready("x")
    Supervisor(notify_socket="x" * 200).ready("x")


async def test_watchdog_is_fed_twice_in_each_period(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    notify = NotifySocket(str(tmp_path / "notify"))
    with notify.socket:
        supervisor = Supervisor(notify_socket=str(tmp_path / "notify"), watchdog_time=10.0)
        with trio.move_on_after(21):
            await supervisor.feed_watchdog()
        notify.socket.setblocking(False)
        assert [notify.receive() for _ in range(5)] == [["WATCHDOG=1"]] * 5
        with pytest.raises(BlockingIOError):
            notify.receive()


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "42"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "43"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_watchdog_time_is_read(environment: dict[str, str], expected: float | None) -> None:
    assert Supervisor.from_environment(environment, 42).watchdog_time == expected


def test_variables_are_not_left_for_children() -> None:
    environment = {
        "NOTIFY_SOCKET": "/x",
        "WATCHDOG_USEC": "1",
        "LISTEN_FDS": "1",
        "LISTEN_PID": "1",
        "HOME": "/",
    }
    Supervisor.from_environment(environment, 42)
    assert environment == {"HOME": "/"}


# --- sockets passed on ---


def passed(descriptor: int, count: str = "1", pid: int = 42) -> Supervisor:
    return Supervisor.from_environment({"LISTEN_FDS": count, "LISTEN_PID": str(pid)}, 42, descriptor)


def test_listening_socket_is_taken(tmp_path: Path) -> None:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(str(tmp_path / "mgmt"))
    listening.listen()
    descriptor = listening.detach()
    os.set_inheritable(descriptor, True)

    taken = passed(descriptor).management_socket

    assert taken is not None
    with taken:
        assert taken.getsockname() == str(tmp_path / "mgmt")
        assert not taken.get_inheritable()


def test_socket_for_another_process_is_left_alone() -> None:
    assert passed(999, pid=41).management_socket is None
    assert passed(999, count="0").management_socket is None


def test_more_than_one_socket_is_refused() -> None:
    with pytest.raises(SettingsError, match="only one is taken"):
        passed(999, count="2")


@pytest.mark.parametrize(
    ("family", "kind"),
    [
        (socket.AF_UNIX, socket.SOCK_DGRAM),
        (socket.AF_UNIX, socket.SOCK_STREAM),  # not listening
        (socket.AF_INET, socket.SOCK_STREAM),
    ],
)
def test_socket_of_another_kind_is_refused(family: int, kind: int) -> None:
    with pytest.raises(SettingsError, match="not a listening Unix stream socket"):
        passed(socket.socket(family, kind).detach())


def test_what_is_no_socket_is_refused() -> None:
    with (
        open(os.devnull) as null,
        pytest.raises(SettingsError, match="passed on as a socket, is none"),
    ):
        passed(null.fileno())
