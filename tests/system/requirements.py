"""What system tests need of the machine: each helper skips with the reason, and fails under CI.

A continuous integration run must never pass because a tool was missing: with ``CI`` set in the
environment what is missing is a failure.
"""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest


def missing(what: str) -> NoReturn:
    """Skip this test because ``what`` is missing, or fail it under CI."""
    if os.environ.get("CI"):
        pytest.fail(f"CI must have all that the tests need: {what}", pytrace=False)
    pytest.skip(what)


def require_root() -> None:
    """Skip unless the tests run as root."""
    if os.geteuid() != 0:
        missing("needs root: network namespaces and devices (run the tests with sudo)")


def require_program(name: str, package: str | None = None) -> None:
    """Skip unless a program is installed; ``package`` is what brings it, where the name differs."""
    if shutil.which(name) is None:
        missing(f"needs the program {name} (apt install {package or name})")


def require_tun() -> None:
    """Skip unless TUN and TAP devices can be made."""
    require_root()
    if not os.path.exists("/dev/net/tun"):
        missing("needs /dev/net/tun (modprobe tun)")
