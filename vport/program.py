"""What the commands have in common as programs: exit statuses, log lines, signals, how errors are told.

Exit status: 0 ended as asked, 1 failed (one line on standard error says what and what to do), 2 wrong usage.
"""

from __future__ import annotations

import gc
import logging
import signal
from typing import TYPE_CHECKING, Final

import trio

from vport.errors import LinkError, RefusedError, SettingsError

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Awaitable, Callable, Iterator
    from typing import Never

logger = logging.getLogger(__name__)

ENDED_AS_ASKED: Final = 0
FAILED: Final = 1
WRONG_USAGE: Final = 2


class _LineFormatter(logging.Formatter):
    """Lines as operators know them: ``vswitch: text``, with the level in front of what is not routine."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def format(self, record: logging.LogRecord) -> str:
        level = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
        return f"{self._name}: {level}{super().format(record)}"


def set_up_logging(name: str, *, level: int = logging.INFO) -> None:
    """Let log lines go to standard error, ``name`` in front."""
    handler = logging.StreamHandler()
    handler.setFormatter(_LineFormatter(name))
    logging.basicConfig(level=level, handlers=[handler], force=True)


def run_program(program: Callable[[], Awaitable[None]]) -> int:
    """Run ``program`` under Trio until it ends, or SIGINT or SIGTERM end it; give the exit status.

    Errors that an operator can do something about become one log line; any other is a bug and propagates
    with its traceback.
    """
    status = ENDED_AS_ASKED
    gc.collect()
    gc.freeze()  # what was imported stays: a collection that walks through all of it takes milliseconds
    try:
        trio.run(_until_signal, program)
    except* (LinkError, RefusedError) as group:
        _tell(group)
        status = FAILED
    except* SettingsError as group:
        _tell(group)
        status = WRONG_USAGE
    except* KeyboardInterrupt:  # before the signal receiver was there
        status = FAILED
    return status


async def _until_signal(program: Callable[[], Awaitable[None]]) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:

            async def end_on_signal() -> None:
                async for _ in signals:
                    nursery.cancel_scope.cancel()

            nursery.start_soon(end_on_signal)
            await program()
            nursery.cancel_scope.cancel()


def _tell(group: BaseExceptionGroup[BaseException]) -> None:
    for error in _leaves(group):
        logger.error("%s", error)


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def refuse_usage(parser: ArgumentParser, error: SettingsError) -> Never:
    """End the program because of a wrong argument, with the line that says what is right."""
    parser.exit(WRONG_USAGE, f"{parser.prog}: {error}\n")
