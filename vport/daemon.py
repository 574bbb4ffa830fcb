"""Life in the background: detached from the terminal, logging to syslog, ready before the command returns.

``detach`` forks before anything is open. The command that was typed waits until its grandchild says that it
is ready or ends; it returns with the verdict, and errors have gone to standard error by then. Only when
everything is open does the daemon leave its directory and close its standard streams: until then relative
paths mean what they meant to whoever typed them.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from vport.errors import LinkError

if TYPE_CHECKING:
    from types import TracebackType

SYSLOG_SOCKET: Final = "/dev/log"
_FACILITY_DAEMON: Final = 3  # RFC 3164 table 1
_SEVERITIES: Final = (  # RFC 3164 table 2
    (logging.CRITICAL, 2),
    (logging.ERROR, 3),
    (logging.WARNING, 4),
    (logging.INFO, 6),
    (logging.NOTSET, 7),
)

_FAILED: Final = 1  # exit status

logger = logging.getLogger(__name__)


class Daemon:
    """The daemon's side of ``detach``."""

    def __init__(self, verdict: int) -> None:
        self._verdict: int | None = verdict  # write end of the pipe to the command that waits

    def ready(self) -> None:
        """Let the command return, with success; from here on nothing is written to its terminal."""
        os.chdir("/")
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in range(3):
            os.dup2(null, descriptor)
        os.close(null)
        stop_logging_to_stderr()
        self.end(0)

    def end(self, status: int) -> None:
        """Let the command return with ``status``, if it still waits.

        Raises:
            LinkError: it was interrupted before the switch was ready; nobody then wants the switch.
        """
        if self._verdict is None:
            return
        verdict, self._verdict = self._verdict, None
        try:
            os.write(verdict, bytes([status]))
        except BrokenPipeError:
            if status == 0:
                raise LinkError("whoever started the switch has not waited for it") from None
        finally:
            os.close(verdict)


def detach() -> Daemon:
    """Continue in a new session, in a process that is nobody's child; only that process returns.

    The one that called ends when the new one is ready or has ended, with the status that it gives. Call it
    before there are threads, and before Trio runs.
    """
    receiving, sending = os.pipe()
    if os.fork():
        os.close(sending)
        _wait_for_verdict(receiving)
    os.close(receiving)
    os.setsid()
    if os.fork():  # a session leader could get a terminal again by opening one
        os._exit(0)
    return Daemon(sending)


def _wait_for_verdict(receiving: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    answer = os.read(receiving, 1)  # nothing: it ended without a word
    sys.stderr.flush()
    os._exit(answer[0] if answer else _FAILED)


# --- logging ---


class SyslogHandler(logging.Handler):
    """Logs to syslog without ever waiting for it; a line that it does not take is lost.

    The standard library's handler waits when syslog is slow, and frames would wait with it.
    """

    def __init__(self, name: str, address: str = SYSLOG_SOCKET) -> None:
        super().__init__()
        self._tag = f"{name}[{os.getpid()}]: "
        self._address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)

    def emit(self, record: logging.LogRecord) -> None:
        """Send a line: ``<PRIORITY>NAME[PID]: TEXT``, as syslog(3) does (RFC 3164 section 4.1.1)."""
        severity = next(number for level, number in _SEVERITIES if record.levelno >= level)
        line = f"<{_FACILITY_DAEMON << 3 | severity}>{self._tag}{self.format(record)}"
        with suppress(OSError):
            self._socket.sendto(line.encode("utf-8", "backslashreplace"), self._address)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
        super().close()


def log_to_syslog(name: str) -> None:
    """Let log lines go to syslog too, and to standard error only what goes wrong.

    Where no syslog listens, as in most containers, they are lost once standard error is closed.
    """
    root = logging.getLogger()
    for handler in root.handlers:
        handler.setLevel(logging.WARNING)
    root.addHandler(SyslogHandler(name))
    sys.excepthook = _log_bug


def stop_logging_to_stderr() -> None:
    """Let log lines go to syslog only."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        if type(handler) is logging.StreamHandler:
            root.removeHandler(handler)


def _log_bug(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """Write a traceback where it can be found: standard error is closed."""
    logger.critical("ended because of a bug", exc_info=(kind, error, traceback))
    sys.__excepthook__(kind, error, traceback)
