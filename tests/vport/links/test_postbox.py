"""Sockets on systems that lack some of what makes them fast."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from tests.vport.links.udp_parts import frame
from vport.links.batch_inbox import BatchInbox
from vport.links.batch_outbox import BatchOutbox
from vport.links.datagrams import SOL_UDP, UDP_GRO, open_socket
from vport.links.inbox import PlainInbox
from vport.links.mmsg import Calls
from vport.links.outbox import Outbox
from vport.links.postbox import open_postbox
from vport.train import Train

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def refusing(number: int) -> Callable[..., int]:
    """Make a system call that fails so."""

    def call(*_: object) -> int:
        ctypes.set_errno(number)
        return -1

    return call


def library(**calls: Callable[..., int]) -> SimpleNamespace:
    return SimpleNamespace(**calls)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with open_socket(socket.AF_INET) as one, open_socket(socket.AF_INET) as other:
        for sock in (one, other):
            sock.bind(("127.0.0.1", 0))
        one.connect(other.getsockname())
        other.connect(one.getsockname())
        yield one, other


def no_failure(*_: object) -> None:
    raise AssertionError("nothing may fail")


def test_this_system_has_the_batch_calls(pair: tuple[socket.socket, socket.socket]) -> None:
    inbox, outbox = open_postbox(pair[0], no_failure)

    assert isinstance(inbox, BatchInbox)
    assert isinstance(outbox, BatchOutbox)


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EPERM], ids=["old kernel", "sandbox"])
@pytest.mark.parametrize("missing", ["recvmmsg", "sendmmsg"])
def test_calls_that_the_kernel_refuses_are_not_had(number: int, missing: str) -> None:
    known = {name: refusing(errno.EBADF) for name in ("recvmmsg", "sendmmsg")}
    Calls(library(**known))

    with pytest.raises(OSError, match=os.strerror(number)):
        Calls(library(**known | {missing: refusing(number)}))


def test_calls_that_the_c_library_lacks_are_not_had() -> None:
    with pytest.raises(OSError, match="neither recvmmsg nor sendmmsg"):
        Calls(library())


def test_without_the_batch_calls_trains_pass_all_the_same(pair: tuple[socket.socket, socket.socket]) -> None:
    def system() -> Calls:
        return Calls(library(recvmmsg=refusing(errno.ENOSYS), sendmmsg=refusing(errno.ENOSYS)))

    _, outbox = open_postbox(pair[0], no_failure, system=system)
    inbox, _ = open_postbox(pair[1], no_failure, system=system)
    assert type(inbox) is PlainInbox
    assert type(outbox) is Outbox
    destination = outbox.destination(None, no_failure, b"")
    frames = [frame(number, 200) for number in range(20)]

    outbox.add(destination, Train(b"".join(frames), 200))
    outbox.flush()

    arrivals, more = inbox.receive()
    assert [bytes(one) for _, data, size in arrivals for one in Train(data, size).frames()] == frames
    assert not more


def test_turn_of_either_inbox_takes_no_more_than_its_limit(pair: tuple[socket.socket, socket.socket]) -> None:
    for batches in (True, False):
        inbox, _ = open_postbox(pair[1], no_failure, batches=batches)
        for number in range(5):
            pair[0].send(frame(number))

        arrivals, more = inbox.receive(2)
        assert b"".join(bytes(data) for _, data, _ in arrivals) == frame(0) + frame(1)
        assert more
        arrivals, more = inbox.receive(10)
        assert b"".join(bytes(data) for _, data, _ in arrivals) == b"".join(map(frame, range(2, 5)))
        assert not more


def test_socket_without_offload_joins_nothing() -> None:
    with open_socket(socket.AF_INET, offload=False) as sock:
        assert not sock.getsockopt(SOL_UDP, UDP_GRO)
