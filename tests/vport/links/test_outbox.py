"""What the outboxes do when the kernel does not take a datagram; sending as such is in the link tests."""

from __future__ import annotations

import errno
import os
import socket
from collections import Counter
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vport.links.udp_parts import frame
from vport.links.batch_outbox import FEW, BatchOutbox
from vport.links.datagrams import SOL_UDP, UDP_SEGMENT
from vport.links.mmsg import Calls
from vport.links.outbox import Destination, Outbox
from vport.train import Train, lone

if TYPE_CHECKING:
    from collections.abc import Iterator


class RefusingSocket(socket.socket):
    """A UDP socket with a kernel behind it that refuses what ``refusal`` says."""

    refusal: dict[str, int]

    def sendmsg(self, buffers, control=(), flags=0, address=None):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN201
        kind = "trains" if any(item[:2] == (SOL_UDP, UDP_SEGMENT) for item in control) else "frames"
        if kind in self.refusal:
            raise OSError(self.refusal[kind], os.strerror(self.refusal[kind]))
        return super().sendmsg(buffers, control, flags, address)


class RefusingCalls(Calls):
    """System calls of which the ``number``-th message fails."""

    def __init__(self, number: int, error: int) -> None:
        super().__init__()
        self.number = number
        self.error = error

    def send(self, descriptor: int, messages: int, count: int) -> int:
        if self.number == 0:
            self.number = -1
            raise OSError(self.error, os.strerror(self.error))
        if self.number > 0:
            count = min(count, self.number)
        sent = super().send(descriptor, messages, count)
        self.number -= sent
        return sent


@contextmanager
def refusing(**refusal: int) -> Iterator[tuple[RefusingSocket, socket.socket]]:
    with (
        RefusingSocket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
    ):
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(2)
        sender.refusal = refusal
        yield sender, receiver


def unexpected(destination: Destination, error: OSError) -> None:
    raise AssertionError from error


@pytest.mark.parametrize("number", [errno.EMSGSIZE, errno.EINVAL, errno.EIO, errno.ENOPROTOOPT])
def test_train_that_cannot_be_cut_goes_frame_by_frame_and_that_is_remembered(number: int) -> None:
    frames = [frame(index, 100) for index in range(5)]
    with refusing(trains=number) as (sender, receiver):
        outbox = Outbox(sender, unexpected)
        destination = outbox.destination(receiver.getsockname(), Counter(), b"")

        outbox.add(destination, Train(b"".join(frames), 100))
        outbox.flush()
        assert [receiver.recv(200) for _ in frames] == frames
        assert destination.segmentable == (99 if number in {errno.EMSGSIZE, errno.EINVAL} else 0)

        outbox.add(destination, Train(b"".join(frames), 100))
        assert len(outbox._waiting) == 5


def test_old_kernel_is_given_shorter_trains() -> None:
    frames = [frame(index, 64) for index in range(100)]
    with refusing(trains=errno.EINVAL) as (sender, receiver):
        outbox = Outbox(sender, unexpected)
        destination = outbox.destination(receiver.getsockname(), Counter(), b"")

        outbox.add(destination, Train(b"".join(frames), 64))
        sender.refusal = {}
        outbox._failed(*outbox._waiting.pop(), OSError(errno.EINVAL, ""))
        outbox.add(destination, Train(b"".join(frames), 64))
        assert [len(data) for _, data, _ in outbox._waiting] == [64 * 64, 36 * 64]
        outbox.flush()

        assert [receiver.recv(200) for _ in range(200)] == frames * 2


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOBUFS])
def test_full_queue_discards_and_counts(number: int) -> None:
    with refusing(frames=number, trains=number) as (sender, receiver):
        outbox = Outbox(sender, unexpected)
        destination = outbox.destination(receiver.getsockname(), Counter(), b"")

        outbox.add(destination, lone(frame(1)))
        outbox.add(destination, Train(frame(1) * 10, 64))
        outbox.flush()

        assert destination.discards == {"queue-full": 11}


def test_other_errors_are_counted_and_reported() -> None:
    reported = []
    with refusing(frames=errno.EHOSTUNREACH) as (sender, receiver):
        outbox = Outbox(sender, lambda destination, error: reported.append((destination, error.errno)))
        destination = outbox.destination(receiver.getsockname(), Counter(), b"")

        outbox.add(destination, lone(frame(1)))
        outbox.flush()

        assert destination.discards == {"unreachable": 1}
        assert reported == [(destination, errno.EHOSTUNREACH)]


def batch(sender: RefusingSocket, receiver: socket.socket, calls: Calls) -> tuple[list[Destination], int]:
    """Send a batch of a frame for each of some destinations; give them, and how many frames arrived."""
    outbox = BatchOutbox(sender, lambda destination, error: None, calls)
    destinations = [outbox.destination(receiver.getsockname(), Counter(), b"") for _ in range(FEW + 10)]
    for destination in destinations:
        outbox.add(destination, lone(frame(1)))
    outbox.flush()
    receiver.setblocking(False)
    arrived = 0
    try:
        while receiver.recv(2000):
            arrived += 1
    except BlockingIOError:
        return destinations, arrived


def test_full_queue_discards_the_rest_of_a_batch() -> None:
    with refusing() as (sender, receiver):
        destinations, arrived = batch(sender, receiver, RefusingCalls(10, errno.EAGAIN))

    assert arrived == 10
    assert [dict(one.discards) for one in destinations[:10]] == [{}] * 10
    assert all(one.discards == {"queue-full": 1} for one in destinations[10:])


@pytest.mark.parametrize(
    ("number", "reason"), [(errno.ENOBUFS, "queue-full"), (errno.EHOSTUNREACH, "unreachable")]
)
def test_one_message_refused_leaves_the_others_of_a_batch_alone(number: int, reason: str) -> None:
    with refusing() as (sender, receiver):
        destinations, arrived = batch(sender, receiver, RefusingCalls(10, number))

    assert arrived == len(destinations) - 1
    assert [index for index, one in enumerate(destinations) if one.discards] == [10]
    assert destinations[10].discards == {reason: 1}


def test_joined_frames_that_cannot_be_cut_go_one_by_one() -> None:
    frames = [frame(index, 100) for index in range(FEW + 10)]
    with refusing() as (sender, receiver):
        outbox = BatchOutbox(sender, unexpected, RefusingCalls(0, errno.EIO))
        destination = outbox.destination(receiver.getsockname(), Counter(), b"")
        for one in frames:
            outbox.add(destination, lone(one))
        outbox.flush()

        assert [receiver.recv(200) for _ in frames] == frames
        assert destination.segmentable == 0
        assert outbox._segmentable[destination.row] == 0


def test_batches_of_thousands_of_messages_are_sent_whole() -> None:
    with refusing() as (sender, receiver):
        receiver.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)  # SO_RCVBUFFORCE, or as much as there is
        outbox = BatchOutbox(sender, unexpected, Calls())
        destinations = [outbox.destination(receiver.getsockname(), Counter(), b"") for _ in range(2500)]
        train = lone(frame(1))
        for destination in destinations:
            outbox.add(destination, train)
        outbox.flush()

        assert {receiver.recv(2000) for _ in destinations} == {frame(1)}


def test_error_left_by_an_earlier_frame_costs_no_frame() -> None:
    with refusing() as (sender, receiver):
        outbox = BatchOutbox(sender, unexpected, RefusingCalls(3, errno.EMSGSIZE))
        destinations = [outbox.destination(receiver.getsockname(), Counter(), b"") for _ in range(FEW + 10)]
        for index, destination in enumerate(destinations):
            outbox.add(destination, lone(frame(index)))
        outbox.flush()

        received = [receiver.recv(200) for _ in destinations]
        assert sorted(received) == sorted(frame(index) for index in range(len(destinations)))
        assert not any(destination.discards for destination in destinations)


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(1, 6), st.sampled_from([60, 61, 64, 1514, 5000])),
        min_size=FEW + 1,
        max_size=3 * FEW,
    )
)
@settings(deadline=None)
def test_batch_carries_what_frame_by_frame_would(trains: list[tuple[int, int, int]]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender, ExitStack() as stack:
        receivers = [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(3)]
        outbox = BatchOutbox(sender, unexpected, Calls())
        destinations = []
        for receiver in receivers:
            receiver.bind(("127.0.0.1", 0))
            receiver.settimeout(2)
            receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            destinations.append(outbox.destination(receiver.getsockname(), Counter(), b""))
        expected: list[list[bytes]] = [[], [], []]
        for index, (place, count, size) in enumerate(trains):
            frames = [frame(10 * index + number, size) for number in range(count)]
            frames[-1] = frames[-1][: size - index % 2]
            outbox.add(destinations[place], Train(b"".join(frames), size if count > 1 else len(frames[0])))
            expected[place] += frames
        outbox.flush()

        for receiver, frames in zip(receivers, expected, strict=True):
            assert [receiver.recv(65536) for _ in frames] == frames
