"""Waiting for a condition of the outside world, with a deadline."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def wait_until(what: str | Callable[[], str], condition: Callable[[], T], seconds: float = 10.0) -> T:
    """Give the first true value of ``condition``; fail, naming ``what``, when it stays false too long.

    Args:
        what: a function is called when it has failed, to tell what there is by then.
        condition: is looked at every 20 ms.
        seconds: how long it may take.
    """
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            name = what if isinstance(what, str) else what()
            pytest.fail(f"{name}: not within {seconds:g} s")
        time.sleep(0.02)
    return value
