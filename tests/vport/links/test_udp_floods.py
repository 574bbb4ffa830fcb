"""A peer that floods gets a socket of its own, and everything else stays as it is."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import trio

from tests.vport.links.test_udp_listener import BOTH, HOSTS
from tests.vport.links.udp_parts import Peer, Switch, eventually, frame, serving
from vport.errors import LinkError
from vport.links.datagrams import open_socket
from vport.links.udp import open_udp_listener
from vport.links.udp_intake import APART_BUFFER, _bind_beside
from vport.locator import UdpLocator
from vport.train import lone

if TYPE_CHECKING:
    from vport.links.udp import UdpListener
    from vport.links.udp_listener import UdpPeer

TURN = 4000  # frames, more than the listener takes before it lets others have their turn


async def flood_until_apart(flooder: Peer, quiet: Peer, listener: UdpListener, switch: Switch) -> UdpPeer:
    """Have both peers join, and one flood until it has a socket of its own; then all is quiet."""
    await flooder.send(frame(0))
    await switch.until_links(1)
    await quiet.send(frame(0))
    await switch.until_links(2)
    noisy, calm = listener.peers
    while noisy.intake is None:
        flood(flooder)
        await trio.lowlevel.checkpoint()
    own = noisy.intake.sock
    await eventually(lambda: not waiting(own) and not waiting(listener._sock))
    assert calm.intake is None
    return noisy


def flood(flooder: Peer) -> None:
    for _ in range(TURN):
        with suppress(BlockingIOError):
            os.write(flooder.sock.fileno(), frame(1))


@BOTH
@HOSTS
async def test_flooding_peer_is_received_apart_and_answered_as_before(
    bound: str, called: str, family: int, batches: bool
) -> None:
    switch = Switch()
    with trio.fail_after(10), Peer(family) as flooder, Peer(family) as quiet:
        async with serving(switch, bound, batches=batches) as listener:
            await flooder.connect(called, listener)
            await quiet.connect(called, listener)
            noisy = await flood_until_apart(flooder, quiet, listener, switch)
            origin = noisy.origin

            await flooder.send(frame(1000))
            await quiet.send(frame(2000))
            await switch.places[0].until(lambda: switch.places[0].frames[-1] == frame(1000))
            await switch.places[1].until(lambda: switch.places[1].frames[-1] == frame(2000))
            for link, peer in zip(switch.links, (flooder, quiet), strict=True):
                link.transmit(lone(frame(7)))
                link.flush()
                assert await peer.receive() == [frame(7)]

            assert len(switch.links) == 2
            assert noisy.origin == origin


@BOTH
async def test_backlog_of_a_flood_is_discarded_and_counted(batches: bool) -> None:
    switch = Switch()
    with trio.fail_after(10), Peer() as flooder, Peer() as quiet:
        async with serving(switch, batches=batches) as listener:
            await flooder.connect("127.0.0.1", listener)
            await quiet.connect("127.0.0.1", listener)

            noisy = await flood_until_apart(flooder, quiet, listener, switch)

            assert noisy.discards["backlog"] > 0
            assert not listener._backlogs
            counted = noisy.discards["backlog"]
            await flooder.send(frame(8))
            await switch.places[0].until(lambda: switch.places[0].frames[-1] == frame(8))
            assert noisy.discards["backlog"] == counted


@HOSTS
async def test_flood_waits_in_a_queue_of_its_own(bound: str, called: str, family: int) -> None:
    switch = Switch()
    with trio.fail_after(10), Peer(family) as flooder, Peer(family) as quiet:
        async with serving(switch, bound) as listener:
            await flooder.connect(called, listener)
            await quiet.connect(called, listener)
            noisy = await flood_until_apart(flooder, quiet, listener, switch)

            flood(flooder)

            assert noisy.intake is not None
            assert waiting(noisy.intake.sock)
            assert not waiting(listener._sock)
            size = noisy.intake.sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
            assert size <= 2 * APART_BUFFER


def waiting(sock: socket.socket) -> bool:
    """Whether a datagram waits there."""
    try:
        sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    return True


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1", ""])
async def test_address_is_still_in_use_for_others(host: str) -> None:
    called, family = ("::1", socket.AF_INET6) if host == "::1" else ("127.0.0.1", socket.AF_INET)
    switch = Switch()
    with trio.fail_after(10), Peer(family) as flooder, Peer(family) as quiet:
        async with serving(switch, host) as listener:
            await flooder.connect(called, listener)
            await quiet.connect(called, listener)
            await flood_until_apart(flooder, quiet, listener, switch)

            with pytest.raises(LinkError, match="in use"):
                await open_udp_listener(UdpLocator(host=host, port=listener.address[1]))
            with socket.socket(family, socket.SOCK_DGRAM) as intruder:
                intruder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                with pytest.raises(OSError, match="in use") as caught:
                    intruder.bind((called, listener.address[1]))
            assert caught.value.errno == errno.EADDRINUSE


async def test_closing_the_peer_closes_its_socket_and_it_returns_as_a_newcomer() -> None:
    switch = Switch()
    with trio.fail_after(10), Peer() as flooder, Peer() as quiet:
        async with serving(switch) as listener:
            await flooder.connect("127.0.0.1", listener)
            await quiet.connect("127.0.0.1", listener)
            noisy = await flood_until_apart(flooder, quiet, listener, switch)
            assert noisy.intake is not None
            sock = noisy.intake.sock

            noisy.close()

            assert sock.fileno() < 0
            await flooder.send(frame(5))
            await switch.until_links(3)


async def test_idle_peer_leaves_with_its_socket() -> None:
    switch = Switch()
    with trio.fail_after(10), Peer() as flooder, Peer() as quiet:
        async with serving(switch, idle=1.0) as listener:
            await flooder.connect("127.0.0.1", listener)
            await quiet.connect("127.0.0.1", listener)
            noisy = await flood_until_apart(flooder, quiet, listener, switch)
            assert noisy.intake is not None
            sock = noisy.intake.sock

            await switch.places[0].until(lambda: switch.places[0].reason)

            assert switch.places[0].reason == "idle for 1 s"
            assert sock.fileno() < 0


@BOTH
async def test_peer_that_calmed_down_shares_the_socket_again(batches: bool) -> None:
    switch = Switch()
    with trio.fail_after(10), Peer() as flooder, Peer() as quiet:
        async with serving(switch, idle=2.0, calm=0.3, batches=batches) as listener:
            await flooder.connect("127.0.0.1", listener)
            await quiet.connect("127.0.0.1", listener)
            noisy = await flood_until_apart(flooder, quiet, listener, switch)

            with trio.move_on_after(8):
                while noisy.intake is not None:
                    await flooder.send(frame(3))
                    await trio.sleep(0.05)

            await flooder.send(frame(4))
            await switch.places[0].until(lambda: switch.places[0].frames[-1] == frame(4))
            assert switch.links[0] is noisy
            assert not listener._apart


async def test_refusals_by_the_far_end_do_not_matter_to_its_socket() -> None:
    switch = Switch()
    with trio.fail_after(10), Peer() as flooder, Peer() as quiet:
        async with serving(switch) as listener:
            await flooder.connect("127.0.0.1", listener)
            await quiet.connect("127.0.0.1", listener)
            noisy = await flood_until_apart(flooder, quiet, listener, switch)
            address = flooder.sock.getsockname()
            flooder.sock.close()

            for _ in range(5):
                noisy.transmit(lone(frame(1)))
                noisy.flush()
                await trio.sleep(0.01)
            with Peer() as again:
                await again.sock.bind(address)
                await again.connect("127.0.0.1", listener)
                await again.send(frame(6))
                await switch.places[0].until(lambda: switch.places[0].frames[-1] == frame(6))
            assert noisy.intake is not None


@BOTH
async def test_what_others_send_between_bind_and_connect_is_theirs(batches: bool) -> None:
    switch = Switch()
    with trio.fail_after(10), Peer() as flooder, Peer() as stranger:
        async with serving(switch, batches=batches) as listener, trio.open_nursery():
            await flooder.connect("127.0.0.1", listener)
            await stranger.connect("127.0.0.1", listener)
            with open_socket(socket.AF_INET) as sock:
                _bind_beside(sock, listener._sock, listener.address)
                await stranger.send(frame(1))
                sock.connect(flooder.sock.getsockname())
                await flooder.send(frame(2))
                inbox = listener._shared.inbox.beside(sock)
                await eventually(lambda: waiting(sock))

                arrivals, _ = inbox.receive()

                senders = [inbox.locate(origin).address for origin, _, _ in arrivals]
                assert senders == [stranger.sock.getsockname(), flooder.sock.getsockname()]
                assert [bytes(data) for _, data, _ in arrivals] == [frame(1), frame(2)]
                listener._deliver(arrivals, switch.accept)
                assert [place.frames for place in switch.places] == [[frame(1)], [frame(2)]]
