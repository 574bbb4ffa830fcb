"""Ends of a UDP link that tell each other that they know slices, and ends that do not."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from tests.vport.flows import TIMESTAMPS, Flow
from tests.vport.links.udp_parts import Recorder, Switch, eventually, frame, serving
from vport.ethernet import MacAddress, loopback_test_frame
from vport.greeting import GREETING_SIZE, INTERVAL, LEASE, answer, greeting, greetings_in, without_answers
from vport.links.datagrams import SOL_UDP, UDP_GRO
from vport.links.udp import UdpClient
from vport.links.udp_listener import UdpPeer
from vport.locator import UdpLocator
from vport.offload import plain
from vport.train import SLICES, Train, lone

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

STATION = MacAddress(bytes.fromhex("020000000042"))
FLOW = Flow(tcp_options=TIMESTAMPS)


def superframe() -> Train:
    data, header = FLOW.superframe(bytes(range(256)) * 120, 1348)
    return Train(data, FLOW.size + 1348, header)


def frames_of(train: Train) -> list[bytes]:
    return list(map(bytes, plain(train).frames()))


@asynccontextmanager
async def running(client: UdpClient) -> AsyncIterator[Recorder]:
    sink = Recorder()
    client.station = STATION
    with client:
        async with trio.open_nursery() as nursery:
            await nursery.start(client.run, sink)
            yield sink
            nursery.cancel_scope.cancel()


def test_greeting_is_an_announcement_to_those_who_do_not_know_it() -> None:
    made = greeting(STATION)

    assert len(made) == GREETING_SIZE
    assert made[:20] == loopback_test_frame(STATION)[:20]
    assert greetings_in(made, GREETING_SIZE) == [made]
    assert greetings_in(loopback_test_frame(STATION), GREETING_SIZE) == []


def test_greeting_is_answered_once() -> None:
    reply = answer(greeting(STATION))

    assert reply is not None
    assert greetings_in(reply, GREETING_SIZE) == [reply]
    assert reply[:12] == STATION * 2
    assert answer(reply) is None


async def test_superframes_cross_as_slices_both_ways_once_both_ends_have_greeted() -> None:
    switch = Switch()
    with trio.fail_after(5):
        async with serving(switch) as listener:
            client = UdpClient(UdpLocator(host="127.0.0.1", port=listener.address[1]))
            async with running(client) as sink:
                await switch.until_links(1)
                place = switch.places[0]
                peer = switch.links[0]
                assert isinstance(peer, UdpPeer)
                await eventually(lambda: peer.destination.acquaintance.knows_slices)
                await eventually(lambda: client._session and client._session.acquaintance.knows_slices)

                client.transmit(superframe())
                client.flush()
                await place.until(lambda: len(place.trains) == 2)
                peer.transmit(superframe())
                peer.flush()
                await sink.until(lambda: sink.trains)

                for train in (place.trains[1], sink.trains[0]):
                    assert train.offload is SLICES
                    assert frames_of(train) == frames_of(superframe())
                assert place.frames[0] == greeting(STATION)


@pytest.mark.parametrize("ends", [(True, False), (False, True), (False, False)])
async def test_an_end_without_offload_is_sent_frames(ends: tuple[bool, bool]) -> None:
    switch = Switch()
    with trio.fail_after(5):
        async with serving(switch, offload=ends[0]) as listener:
            locator = UdpLocator(host="127.0.0.1", port=listener.address[1], offload=ends[1])
            client = UdpClient(locator, segmentation=ends[1], batches=ends[1])
            async with running(client) as sink:
                await switch.until_links(1)
                place, peer = switch.places[0], switch.links[0]
                await place.until_frames(1)
                peer.transmit(lone(frame(7)))  # behind an answer, if there were one
                peer.flush()
                assert await sink.until_frames(1) == [frame(7)]

                count = superframe().count
                client.transmit(superframe())
                client.flush()
                peer.transmit(superframe())
                peer.flush()

                assert (await place.until_frames(1 + count))[1:] == frames_of(superframe())
                assert (await sink.until_frames(1 + count))[1:] == frames_of(superframe())
                assert all(train.offload is None for train in place.trains + sink.trains)


async def test_far_end_that_does_not_answer_is_sent_frames() -> None:
    with trio.fail_after(5), trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        await server.bind(("127.0.0.1", 0))
        server.setsockopt(SOL_UDP, UDP_GRO, 0)
        client = UdpClient(UdpLocator(host="127.0.0.1", port=server.getsockname()[1]))
        async with running(client):
            assert await server.recv(65536) == greeting(STATION)
            client.transmit(superframe())
            client.flush()

            expected = frames_of(superframe())
            assert [await server.recv(65536) for _ in expected] == expected


def test_greetings_are_found_among_other_frames_and_answers_taken_out() -> None:
    reply = answer(greeting(STATION))
    assert reply is not None
    others = [loopback_test_frame(STATION), frame(1, 60), b"\0" * 14 + greeting(STATION)[14:]]
    train = b"".join([others[0], reply, others[1], greeting(STATION), others[2]])

    assert greetings_in(train, 60) == [reply, greeting(STATION)]
    assert without_answers(train, 60) == b"".join([others[0], others[1], greeting(STATION), others[2]])


def test_greetings_are_found_behind_longer_frames() -> None:
    reply = answer(greeting(STATION))
    assert reply is not None
    longer = frame(1, 66) + frame(2, 66)

    assert greetings_in(longer + reply, 66) == [reply]
    assert without_answers(longer + reply, 66) == longer
    assert without_answers(longer + greeting(STATION), 66) == longer + greeting(STATION)


async def test_plain_announcement_is_not_answered() -> None:
    switch = Switch()
    with trio.fail_after(5), trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        async with serving(switch) as listener:
            await stranger.connect(("127.0.0.1", listener.address[1]))
            await stranger.send(loopback_test_frame(STATION))
            await switch.until_links(1)
            switch.links[0].transmit(superframe())
            switch.links[0].flush()

            expected = frames_of(superframe())
            assert [await stranger.recv(65536) for _ in expected] == expected


async def test_slices_and_frames_that_arrive_as_one_train_are_told_apart() -> None:
    switch = Switch()
    with trio.fail_after(5), trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        async with serving(switch) as listener:
            await stranger.connect(("127.0.0.1", listener.address[1]))
            made = superframe()
            client = UdpClient(UdpLocator(host="127.0.0.1", port=listener.address[1]))
            async with running(client):
                await switch.until_links(1)
                await eventually(lambda: client._session and client._session.acquaintance.knows_slices)
                ordinary = frames_of(made)[0]
                client.transmit(Train(ordinary * 3, len(ordinary)))
                client.transmit(made)
                client.flush()

                place = switch.places[0]
                await place.until(lambda: sum(train.count for train in place.trains) == 4 + made.count)
                assert [one for train in place.trains[1:] for one in frames_of(train)] == [
                    *[ordinary] * 3,
                    *frames_of(made),
                ]


async def test_slices_end_when_the_far_end_greets_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("vport.greeting.LEASE", 0.3)
    switch = Switch()
    with trio.fail_after(5):
        async with serving(switch, idle=1.0) as listener:
            client = UdpClient(UdpLocator(host="127.0.0.1", port=listener.address[1], keepalive=60))
            async with running(client):
                await switch.until_links(1)
                peer = switch.links[0]
                assert isinstance(peer, UdpPeer)
                await eventually(lambda: peer.destination.acquaintance.knows_slices)
                await eventually(lambda: not peer.destination.acquaintance.knows_slices)
                await eventually(lambda: client._session and not client._session.acquaintance.knows_slices)


def test_a_lease_outlives_lost_greetings() -> None:
    assert LEASE > 3 * INTERVAL
