"""Network namespaces with names, as ``ip netns`` has them: entered, made, removed.

A thread is in one: what it opens (netlink, ``/dev/net/tun``, sockets) and whom it starts belong to that one.
All here blocks for microseconds.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from typing import TYPE_CHECKING, Final

from pyroute2 import NetlinkError, netns
from pyroute2.netns import setns

from vport.errors import LinkError

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMESPACES: Final = "/run/netns"  # where iproute2 keeps named namespaces
PRIVILEGE: Final = frozenset({errno.EPERM, errno.EACCES})


def error_number(error: BaseException | None) -> int:
    """Give the errno: pyroute2 raises its own type for some answers and OSError for others."""
    number = error.code if isinstance(error, NetlinkError) else getattr(error, "errno", None)
    return number or 0


@contextlib.contextmanager
def namespace(name: str | None) -> Iterator[None]:
    """Move this thread into a network namespace and back. For a worker thread; None changes nothing.

    Raises:
        LinkError: there is no such namespace, or entering it is not allowed.
    """
    if name is None:
        yield
        return
    ours = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _enter(name)
        try:
            yield
        finally:
            _set_namespace(ours)
    finally:
        os.close(ours)


def _enter(name: str) -> None:
    try:
        theirs = os.open(f"{NAMESPACES}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise LinkError(
            f"there is no network namespace {name} (see: ip netns list); "
            f"make it with: sudo ip netns add {name}"
        ) from None
    except OSError as error:
        raise LinkError(f"cannot open network namespace {name}: {error.strerror}") from error
    try:
        _set_namespace(theirs)
    except OSError as error:
        number = error_number(error)
        reason = "that needs privilege; run with sudo" if number in PRIVILEGE else os.strerror(number)
        raise LinkError(f"cannot enter network namespace {name}: {reason}") from error
    finally:
        os.close(theirs)


def _set_namespace(descriptor: int) -> None:
    """Move the calling thread; ``os.setns`` exists from Python 3.12 on only."""
    setns(descriptor, libc=ctypes.CDLL(None, use_errno=True))  # pyroute2 would start ldconfig to find it


def namespace_exists(name: str) -> bool:
    """Whether there is a namespace of this name, or something in its place."""
    return os.path.lexists(f"{NAMESPACES}/{name}")


def add_namespace(name: str) -> None:
    """Make a namespace; nothing happens when there is one. Raises LinkError."""
    if namespace_exists(name):
        return
    try:
        netns.create(name)
    except OSError as error:
        raise LinkError(f"cannot make network namespace {name}: {error.strerror or error}") from error


def remove_namespace(name: str) -> None:
    """Remove a namespace, or what a making that broke off has left; nothing happens when there is none.

    It lives on without its name while a process is in it. Raises LinkError.
    """
    if not namespace_exists(name):
        return
    try:
        netns.remove(name, libc=ctypes.CDLL(None, use_errno=True))
    except OSError as error:
        raise LinkError(f"cannot remove network namespace {name}: {error.strerror or error}") from error
