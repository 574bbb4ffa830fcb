from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
import trio

from vport.links.readiness import notify_closing, serve_readable

if TYPE_CHECKING:
    from collections.abc import Iterator


class Receiver:
    """One end of a socket pair that is served, and the sender at the other."""

    def __init__(self) -> None:
        self.sender, self.sock = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.setblocking(False)
        self.received: list[bytes] = []
        self.arrived = trio.Event()

    def turn(self) -> bool:
        try:
            data = self.sock.recv(100)
        except BlockingIOError:
            return False
        if data == b"fail":
            raise ValueError("told to fail")
        self.received.append(data)
        self.arrived.set()
        return True

    async def get(self) -> list[bytes]:
        """Wait for something to arrive; give all there is."""
        with trio.fail_after(5):
            await self.arrived.wait()
        self.arrived = trio.Event()
        return self.received

    def close(self) -> None:
        self.sender.close()
        self.sock.close()


@pytest.fixture
def one() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture
def other() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


async def serve(receiver: Receiver) -> None:
    await serve_readable(receiver.sock.fileno(), receiver.turn)


async def test_every_datagram_is_received_once_and_in_order(nursery: trio.Nursery, one: Receiver) -> None:
    nursery.start_soon(serve, one)
    expected = [str(number).encode() for number in range(200)]
    for data in expected:
        one.sender.send(data)
        await trio.lowlevel.checkpoint()

    with trio.fail_after(5):
        while len(one.received) < len(expected):
            await one.get()
    assert one.received == expected
    nursery.cancel_scope.cancel()


async def test_descriptor_that_another_task_drained_is_still_served_later(
    nursery: trio.Nursery, one: Receiver, other: Receiver
) -> None:
    nursery.start_soon(serve, one)
    nursery.start_soon(serve, other)
    for number in range(20):
        for receiver in (one, other):
            receiver.sender.send(b"x")
            assert await receiver.get() == [b"x"] * (number + 1)
        await trio.sleep(0.003 * (number % 5))  # now while a task lingers, now after that
    nursery.cancel_scope.cancel()


async def test_other_tasks_have_their_turn_while_frames_keep_coming(
    nursery: trio.Nursery, one: Receiver
) -> None:
    """Each datagram that is received causes the next, so that it never ends by itself."""
    turns = 0

    def turn() -> bool:
        nonlocal turns
        turns += one.turn()
        one.sender.send(b"again")
        return True

    nursery.start_soon(serve_readable, one.sock.fileno(), turn)
    one.sender.send(b"first")

    with trio.fail_after(5):
        for _ in range(20):
            await trio.sleep(0.001)
    assert turns > 20
    nursery.cancel_scope.cancel()


async def test_task_that_waits_for_another_socket_goes_on_while_frames_keep_coming(
    nursery: trio.Nursery, one: Receiver, other: Receiver
) -> None:
    def turn() -> bool:
        one.sender.send(b"again")
        return one.turn()

    nursery.start_soon(serve_readable, one.sock.fileno(), turn)
    one.sender.send(b"first")
    await one.get()

    with trio.fail_after(5):
        for _ in range(20):
            so_far = len(one.received)
            other.sender.send(b"x")
            await trio.lowlevel.wait_readable(other.sock)
            assert other.turn()
            while len(one.received) == so_far:
                await trio.lowlevel.checkpoint()
    nursery.cancel_scope.cancel()


async def test_error_is_raised_in_the_task_it_belongs_to(one: Receiver, other: Receiver) -> None:
    async def serve_one_until_it_fails() -> None:
        with pytest.raises(ValueError, match="told to fail"):
            await serve(one)
        failed.set()

    failed = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_one_until_it_fails)
        nursery.start_soon(serve, other)
        other.sender.send(b"makes its task linger")
        await other.get()
        one.sender.send(b"fail")
        with trio.fail_after(5):
            await failed.wait()
        other.sender.send(b"goes on")
        assert len(await other.get()) == 2
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("is_hot", [False, True])
async def test_closing_ends_the_serving_task_and_frees_the_number(is_hot: bool) -> None:
    receiver = Receiver()
    if is_hot:
        receiver.sender.send(b"x")

    async def serve_until_closed() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await serve(receiver)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_until_closed)
        await trio.testing.wait_all_tasks_blocked()
        if is_hot:
            await receiver.get()
        number = receiver.sock.fileno()
        notify_closing(number)
        receiver.close()
        successor = Receiver()
        nursery.start_soon(serve, successor)
        successor.sender.send(b"y")
        assert await successor.get() == [b"y"]
        nursery.cancel_scope.cancel()
    successor.close()


async def test_cancellation_leaves_nothing_behind(one: Receiver) -> None:
    for _ in range(3):
        with trio.move_on_after(0.01):
            await serve(one)
    one.sender.send(b"x")
    with trio.move_on_after(0.05):
        await serve(one)
    assert one.received == [b"x"]


async def test_task_that_a_frame_woke_goes_on_before_the_next_wait(
    nursery: trio.Nursery, one: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vport.links.readiness.PATIENCE", 5.0)  # a wait in between would be noticed
    nursery.start_soon(serve, one)
    with trio.fail_after(4):
        for number in range(5):
            one.sender.send(b"x")
            while len(one.received) <= number:
                await one.get()
    nursery.cancel_scope.cancel()
    one.sender.send(b"ends the wait")
