"""Processes known by an argument of theirs: found in ``/proc``, ended and waited for.

A PID file tells less: its process may not have written it yet, or may be another by now.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from typing import Final

from vport.errors import LinkError

GRACE: Final = 10.0  # seconds to end after SIGTERM


def with_argument(argument: str) -> list[int]:
    """Find the processes that have ``argument`` on their command line; a zombie has none."""
    wanted = os.fsencode(argument)
    found = []
    for name in os.listdir("/proc"):
        if not name.isdecimal():
            continue
        with contextlib.suppress(OSError), open(f"/proc/{name}/cmdline", "rb") as file:
            if wanted in file.read().split(b"\0"):
                found.append(int(name))
    return [pid for pid in found if pid != os.getpid()]


def end_all(argument: str) -> None:
    """End the processes that have ``argument`` on their command line. Raises LinkError."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for _ in range(3):  # one that starts another meanwhile is found in the next round
            pids = with_argument(argument)
            if not pids:
                return
            for pid in pids:
                _end(pid, number)
    if pids := with_argument(argument):
        raise LinkError(f"process {pids[0]} does not end (see: ps {pids[0]})")


def _end(pid: int, number: signal.Signals) -> None:
    """Send a signal and wait for the end; the process is held meanwhile, so that no other gets its number."""
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(descriptor, number)
            select.select([descriptor], [], [], GRACE)
        finally:
            os.close(descriptor)
