"""A whole switch as the tests of its settings run it, and commands given to it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from vport.shell.command import Session, execute
from vswitch.service import SwitchService

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from vport.shell.command import Reply
    from vswitch.config import SwitchSettings


@asynccontextmanager
async def running(settings: SwitchSettings) -> AsyncIterator[SwitchService]:
    """Run a switch until the end of the test, ten seconds at most."""
    service = SwitchService(settings)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            await nursery.start(service.run)
            yield service
            service.stop()


async def ask(service: SwitchService, line: str) -> Reply:
    """Give a command, which must succeed."""
    reply = await execute(service, Session(service.server.catalog), line)
    assert reply.errno == 0, f"{line}: {reply.detail}"
    return reply


async def lines_of(service: SwitchService, line: str) -> list[str]:
    """Give a command, which must succeed; give what it prints."""
    reply = await ask(service, line)
    return list(reply.lines or ())
