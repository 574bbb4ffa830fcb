"""A cable as a program: both ends opened, and what runs beside it, from the PID file to the shell."""

from __future__ import annotations

import logging
import random
import sys
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import trio

from vport.cable import Cable
from vport.cable_shell import BANNER, PROMPT, cable_catalog, transition_messages
from vport.errors import SettingsError
from vport.links import open_link
from vport.locator import TapLocator, UdpLocator, WireguardLocator
from vport.loop_probe import LoopProbe
from vport.pidfile import PidFile
from vport.progress import Progress, summary
from vport.shell.command import Session
from vport.shell.script import failures, run_script
from vport.shell.server import ManagementServer
from vport.shell.unix_socket import ManagementSocket

if TYPE_CHECKING:
    from vport.cable_settings import CableSettings
    from vport.daemon import Daemon
    from vport.impairment import Wire
    from vport.impairment.markov import Transition
    from vport.links.base import Link

logger = logging.getLogger(__name__)

PROGRESS_INTERVAL: Final = 1.0  # seconds
_CLEAR_LINE: Final = "\r\x1b[K"


async def run(settings: CableSettings, daemon: Daemon | None = None) -> None:
    """Open both ends and carry frames between them until one ends, or until cancelled.

    Args:
        settings: the cable.
        daemon: whoever waits for it to work, None in the foreground.

    Raises:
        SettingsError, LinkError: something that the settings name cannot be had; in an exception group.
    """
    wire = settings.make_wire()
    if settings.impairments or settings.rcfile is not None:
        logger.info("this run can be repeated with --seed %s", wire.seed)
    if str(settings.first) == str(settings.second):
        logger.warning("both ends are %s: if that is one LAN, this cable makes a loop in it", settings.first)
    with ExitStack() as stack:
        if settings.pidfile is not None:
            stack.enter_context(PidFile(settings.pidfile))
        links = await _open_places(settings, stack)
        for link in links:
            logger.info("%s is open", link.description)
        program = _CableProgram(settings, wire, daemon)
        program.cable = Cable(
            links[0],
            links[1],
            wire,
            probe=LoopProbe(random.SystemRandom()),
            report=program.report,
        )
        try:
            await program.run(program.cable, stack)
        finally:
            for line in summary(wire):
                logger.info("%s", line)


async def _open_places(settings: CableSettings, stack: ExitStack) -> tuple[Link, Link]:
    """Open both ends: the device first, for where that is not permitted nothing has been said yet.

    A TAP at one end of a tunnel, without an MTU of its own, gets the one that fits the network below.
    """
    first, second = settings.first, settings.second
    for tunnel, device in ((first, second), (second, first)):
        if isinstance(tunnel, WireguardLocator) and isinstance(device, TapLocator) and device.mtu is None:
            from vport.links.wireguard import open_wireguard_client

            client = stack.enter_context(await open_wireguard_client(tunnel))  # says nothing before it runs
            tap = stack.enter_context(await open_link(replace(device, mtu=await client.lan_mtu())))
            return (client, tap) if tunnel is first else (tap, client)
    if isinstance(first, UdpLocator | WireguardLocator):
        other = stack.enter_context(await open_link(second))
        return stack.enter_context(await open_link(first)), other
    one = stack.enter_context(await open_link(first))
    return one, stack.enter_context(await open_link(second))


class _CableProgram:
    """What runs beside a cable."""

    cable: Cable

    def __init__(self, settings: CableSettings, wire: Wire, daemon: Daemon | None) -> None:
        self._settings = settings
        self._daemon = daemon
        self._wire = wire
        self._server: ManagementServer | None = None

    def report(self, transitions: list[Transition]) -> None:
        """Tell the sessions that want to know of changes of state."""
        if self._server is not None:
            self._server.publish(transition_messages(self._wire, transitions))

    async def run(self, cable: Cable, stack: ExitStack) -> None:
        """Run the cable and what goes with it until it ends."""
        settings = self._settings
        if settings.rcfile is not None:
            await self._run_rcfile(cable, settings.rcfile)
        async with trio.open_nursery() as nursery:
            await nursery.start(self._run_cable, cable, nursery.cancel_scope)
            if settings.management is not None:
                opened = stack.enter_context(
                    ManagementSocket.open(settings.management, mode=settings.management_mode)
                )
                self._server = ManagementServer(cable, cable_catalog(), BANNER, prompt=PROMPT)
                await nursery.start(self._server.serve, opened.socket)
                logger.info("management shell on %s", opened.path)
            if settings.progress:
                nursery.start_soon(self._show_progress)
            if self._daemon is not None:
                self._daemon.ready()

    async def _run_cable(
        self, cable: Cable, everything: trio.CancelScope, *, task_status: trio.TaskStatus[None]
    ) -> None:
        """Run the cable; when it ends, what runs beside it ends."""
        await cable.run(task_status=task_status)
        everything.cancel()

    async def _run_rcfile(self, cable: Cable, path: str) -> None:
        """Run the script before the first frame; a line that fails is a wrong setting like any other."""
        steps = await run_script(cable, Session(cable_catalog(), None), path)
        if complaints := list(failures(steps)):
            raise SettingsError("; ".join(complaints))

    async def _show_progress(self) -> None:
        """Show rates, over one another on a terminal, as log lines elsewhere."""
        progress = Progress(self._wire, trio.current_time())
        try:
            while True:
                await trio.sleep(PROGRESS_INTERVAL)
                line = progress.line(trio.current_time())
                if sys.stderr.isatty():
                    sys.stderr.write(_CLEAR_LINE + line)
                    sys.stderr.flush()
                else:
                    logger.info("%s", line)
        finally:
            if sys.stderr.isatty():
                sys.stderr.write("\n")
