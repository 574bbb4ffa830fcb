"""A switch as a program: what runs beside the service while it serves, from the PID file to the console."""

from __future__ import annotations

import logging
import shutil
import signal
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from vport.errors import SettingsError
from vport.pidfile import PidFile
from vswitch.service import SwitchService
from vswitch.systemd import Supervisor
from vswitch.terminal import run_console

if TYPE_CHECKING:
    from collections.abc import Callable

    from vport.daemon import Daemon
    from vswitch.config import SwitchSettings

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramSettings:
    """How a switch runs, apart from what it is.

    Attributes:
        reread: reads on SIGHUP what the switch is to be; None where no file says it.
        rcfile: absolute path of a script that is run at start and on SIGHUP, None for none.
        pidfile: absolute path of the PID file, None for none.
        has_console: read commands from standard input.
        supervisor: whoever started this as a service.
        daemon: whoever waits for us to be ready, None in the foreground.
    """

    reread: Callable[[], SwitchSettings] | None = None
    rcfile: str | None = None
    pidfile: str | None = None
    has_console: bool = False
    supervisor: Supervisor = field(default_factory=Supervisor)
    daemon: Daemon | None = None


async def serve(settings: SwitchSettings, program: ProgramSettings) -> None:
    """Run a switch until it is told to stop, or cancelled.

    Raises:
        SettingsError, LinkError: as ``SwitchService.run``, and for the PID file; in an exception group.
    """
    service = SwitchService(settings, program.supervisor.management_socket)
    with ExitStack() as stack:
        if program.pidfile is not None:
            stack.enter_context(PidFile(program.pidfile))
        async with trio.open_nursery() as nursery:
            await nursery.start(_run_service, service, nursery.cancel_scope)
            await nursery.start(_reload_on_hangup, service, program)
            if program.rcfile is not None:
                await service.run_rcfile(program.rcfile)
            _tell_ready(service, program)
            nursery.start_soon(program.supervisor.feed_watchdog)
            nursery.start_soon(_tell_end, program.supervisor)
            if program.has_console:
                logger.info("type commands here (try: help); shutdown or Ctrl-D ends the switch")
                nursery.start_soon(run_console, service.server, service.stop)


async def _run_service(
    service: SwitchService, everything: trio.CancelScope, *, task_status: trio.TaskStatus[None]
) -> None:
    """Run the service; when it ends, what runs beside it ends."""
    await service.run(task_status=task_status)
    everything.cancel()


async def _reload_on_hangup(
    service: SwitchService, program: ProgramSettings, *, task_status: trio.TaskStatus[None]
) -> None:
    """Read the configuration and run the script again on SIGHUP, which therefore does not end the switch."""
    with trio.open_signal_receiver(signal.SIGHUP) as signals:
        task_status.started()
        async for _ in signals:
            if program.reread is None and program.rcfile is None:
                logger.info("SIGHUP: there is neither a configuration file nor an rcfile")
                continue
            program.supervisor.reloading()
            await reload(service, program)
            program.supervisor.ready("switching")


async def reload(service: SwitchService, program: ProgramSettings) -> None:
    """Make the switch what the configuration file says, then run the script; a wrong file changes nothing."""
    if program.reread is not None:
        logger.info("SIGHUP: reading the configuration again")
        try:
            wanted = await trio.to_thread.run_sync(program.reread)
        except SettingsError as error:
            logger.error("%s; nothing was changed", error)  # noqa: TRY400 - the operator's mistake
            return
        try:
            await service.reload(wanted)
        except SettingsError as error:  # commands have made of it what no file could say
            logger.error("the switch as it is: %s; at most what has gone was changed", error)  # noqa: TRY400
            return
    if program.rcfile is not None:
        logger.info("SIGHUP: running %s again", program.rcfile)
        await service.run_rcfile(program.rcfile)


async def _tell_end(supervisor: Supervisor) -> None:
    """Tell the supervisor when the switch begins to end: that may take a moment."""
    try:
        await trio.sleep_forever()
    finally:
        supervisor.stopping()


def _tell_ready(service: SwitchService, program: ProgramSettings) -> None:
    """Tell everybody who waits for it that the switch works."""
    if service.management is not None:
        _tell_what_to_type(service.management.path)
    if program.daemon is not None:
        program.daemon.ready()
    program.supervisor.ready("switching")


def _tell_what_to_type(path: str) -> None:
    """Name the command that opens a console on this switch, as the reader of the log can type it."""
    beside = Path(sys.argv[0]).with_name("vswitchterm")
    command = "vswitchterm" if shutil.which("vswitchterm") or not beside.exists() else str(beside)
    logger.info("to look inside, type in another terminal: %s %s", command, path)
