"""What systemd and a service say to each other: readiness, watchdog, sockets passed on.

The whole protocol is a few environment variables and datagrams of text to a Unix socket (sd_notify(3),
sd_watchdog_enabled(3), sd_listen_fds(3)); other supervisors speak it too. Without them nothing happens.
"""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio

from vport.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import MutableMapping

FIRST_DESCRIPTOR: Final = 3  # SD_LISTEN_FDS_START (sd_listen_fds(3))
_VARIABLES: Final = (
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
)


@dataclass(frozen=True, slots=True)
class Supervisor:
    """Whoever started this process as a service, if anybody did.

    Attributes:
        notify_socket: the address that takes our messages, None when nobody listens.
        watchdog_time: seconds within which we must give a sign of life, None for never.
        management_socket: a listening socket that was passed on to us.
    """

    notify_socket: str | None = None
    watchdog_time: float | None = None
    management_socket: socket.socket | None = None

    @classmethod
    def from_environment(
        cls, environment: MutableMapping[str, str], pid: int, descriptor: int = FIRST_DESCRIPTOR
    ) -> Supervisor:
        """Read the variables and remove them: they are not for the processes that we start.

        Args:
            environment: where they stand.
            pid: this process's.
            descriptor: on which a socket is passed on.

        Raises:
            SettingsError: something else than one listening Unix stream socket was passed on.
        """
        values = {name: environment.pop(name, "") for name in _VARIABLES}
        return cls(
            notify_socket=values["NOTIFY_SOCKET"] or None,
            watchdog_time=_watchdog_time(values["WATCHDOG_USEC"], values["WATCHDOG_PID"], pid),
            management_socket=(
                _passed_socket(values["LISTEN_FDS"], descriptor) if values["LISTEN_PID"] == str(pid) else None
            ),
        )

    def notify(self, *lines: str) -> None:
        """Send assignments such as ``READY=1``; a supervisor that does not listen is no error of ours."""
        if self.notify_socket is None:
            return
        address = self.notify_socket
        if address.startswith("@"):  # the abstract namespace (unix(7))
            address = "\0" + address[1:]
        message = "\n".join(lines).encode()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
            try:
                sender.sendto(message, address)
            except OSError:
                return

    def ready(self, status: str) -> None:
        """Tell that the service does its work, also after a reload."""
        self.notify("READY=1", f"STATUS={status}", f"MAINPID={os.getpid()}")

    def reloading(self) -> None:
        """Tell that the configuration is being read again; ``ready`` ends that."""
        self.notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Tell that the service is about to end."""
        self.notify("STOPPING=1")

    async def feed_watchdog(self) -> None:
        """Give a sign of life twice in each period, as sd_watchdog_enabled(3) recommends, until cancelled.

        It comes from Trio's loop: a switch that no longer gets round to its tasks falls silent.
        """
        if self.watchdog_time is None:
            return
        while True:
            self.notify("WATCHDOG=1")
            await trio.sleep(self.watchdog_time / 2)


def _watchdog_time(microseconds: str, for_pid: str, pid: int) -> float | None:
    if not microseconds.isdecimal() or int(microseconds) == 0:
        return None
    if for_pid and for_pid != str(pid):  # meant for another process of this service
        return None
    return int(microseconds) / 1e6


def _passed_socket(count: str, descriptor: int) -> socket.socket | None:
    if count in {"", "0"}:
        return None
    if count != "1":
        raise SettingsError(
            f"{count} sockets were passed on (LISTEN_FDS), but only one is taken: the management socket"
        )
    try:
        passed = socket.socket(fileno=descriptor)
    except OSError as error:
        raise SettingsError(f"descriptor {descriptor}, passed on as a socket, is none: {error}") from None
    is_stream = passed.family == socket.AF_UNIX and passed.type == socket.SOCK_STREAM
    if not is_stream or not passed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        passed.close()
        raise SettingsError(
            "the socket passed on is not a listening Unix stream socket (ListenStream=/path in its unit)"
        )
    passed.set_inheritable(False)
    return passed
