"""Ends of a WireGuard link that tell each other that they know slices, and ends that do not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from tests.vport.flows import TIMESTAMPS, Flow
from tests.vport.links.test_wireguard import Lan, lan, state, until
from vport.ethernet import MacAddress, loopback_test_frame
from vport.greeting import answer, greeting, greetings_in
from vport.links.wireguard_peer import EthernetPeer
from vport.offload import plain
from vport.train import SLICES, Train, lone

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from vport.links.wireguard import WireguardClient

__all__ = ["state"]  # the fixture

STATION = MacAddress(bytes.fromhex("020000000042"))
FLOW = Flow(tcp_options=TIMESTAMPS)


def superframe(payload: int = 1348) -> Train:
    data, header = FLOW.superframe(bytes(range(256)) * 120, payload)
    return Train(data, FLOW.size + payload, header)


def frames_of(train: Train) -> list[bytes]:
    return list(map(bytes, plain(train).frames()))


class Recorder:
    """Keeps copies of the trains that an end of the link delivers."""

    def __init__(self) -> None:
        self.trains: list[Train] = []
        self.port_number = 1

    def deliver(self, train: Train) -> None:
        self.trains.append(train.copy())

    def flush(self) -> None:
        pass

    def detach(self, reason: str) -> None:
        pass

    @property
    def data_trains(self) -> list[Train]:
        return [train for train in self.trains if len(train.data) > 100]


def peer_of(net: Lan, name: str) -> tuple[EthernetPeer, Recorder]:
    """Give the listener's end, whose port we take the place of."""
    member = net.listener.roll.find(name)
    assert member is not None
    assert isinstance(member.link, EthernetPeer)
    recorder = Recorder()
    member.link.attachment = recorder
    return member.link, recorder


async def greeted(net: Lan) -> tuple[WireguardClient, Recorder, EthernetPeer, Recorder]:
    """Give the two ends and what each delivers, once both have greeted."""
    client, _ = await net.join("a")
    client._sink = heard = Recorder()
    await until(lambda: net.is_here("a") and client._tunnel.acquaintance.knows_slices)
    peer, place = peer_of(net, "a")
    assert peer._tunnel.acquaintance.knows_slices
    return client, heard, peer, place


async def test_superframes_cross_as_slices_both_ways_once_both_ends_have_greeted(tmp_path: Path) -> None:
    async with lan(tmp_path, "a") as net:
        client, heard, peer, place = await greeted(net)
        with client:
            client.transmit(superframe())
            client.flush()
            await until(lambda: place.data_trains)
            peer.transmit(superframe())
            peer.flush()
            await until(lambda: heard.trains)

            assert [train.offload for train in place.data_trains + heard.trains] == [SLICES, SLICES]
            assert frames_of(place.data_trains[0]) == frames_of(superframe())
            assert frames_of(heard.trains[0]) == frames_of(superframe())


async def test_greeting_goes_on_to_the_switch_and_its_answer_ends_at_the_port(tmp_path: Path) -> None:
    async with lan(tmp_path, "a") as net:
        client, heard, peer, place = await greeted(net)
        with client:
            client.station = STATION
            client._greet()
            await until(lambda: place.trains)
            peer.transmit(lone(loopback_test_frame(STATION)))  # behind the answer
            peer.flush()
            await until(lambda: heard.trains)

            assert bytes(place.trains[0].data) == greeting(STATION)
            assert [bytes(train.data) for train in heard.trains] == [loopback_test_frame(STATION)]


async def test_greeting_and_answer_joined_with_other_frames_are_found(tmp_path: Path) -> None:
    offer, other = greeting(STATION), loopback_test_frame(STATION)
    reply = answer(offer)
    assert reply is not None
    async with lan(tmp_path, "a") as net:
        client, _, peer, _ = await greeted(net)
        with client:
            tunnel = peer._tunnel
            for joined, rest in (
                (other + reply + other, [other * 2]),
                (reply + reply, []),
                (offer + other, [offer + other]),
            ):
                peer.forget_greetings()
                found = tunnel.received(Train(joined, len(other)))
                assert [bytes(train.data) for train in found] == rest
                assert tunnel.acquaintance.knows_slices

            peer.forget_greetings()
            found = tunnel.received(Train(bytes(90) + reply, 90))  # the shorter one at the end
            assert [bytes(train.data) for train in found] == [bytes(90)]
            assert tunnel.acquaintance.knows_slices


async def test_peer_that_only_announces_itself_is_sent_frames(tmp_path: Path) -> None:
    async with lan(tmp_path, "a") as net:
        client, heard, peer, _ = await greeted(net)
        with client:
            peer.forget_greetings()
            client.transmit(lone(loopback_test_frame(STATION)))
            client.flush()
            peer.transmit(superframe())
            peer.flush()
            await until(lambda: heard.trains)

            assert heard.trains[0].offload is None
            assert frames_of(heard.trains[0]) == frames_of(superframe())


async def test_slices_and_frames_that_are_sent_together_are_told_apart(tmp_path: Path) -> None:
    ordinary = frames_of(superframe())[0]
    async with lan(tmp_path, "a") as net:
        client, _, _, place = await greeted(net)
        with client:
            client.transmit(Train(ordinary * 3, len(ordinary)))
            client.transmit(superframe())
            client.flush()
            count = 3 + superframe().count
            await until(lambda: sum(train.count for train in place.data_trains) == count)

            found = [one for train in place.data_trains for one in frames_of(train)]
            assert found == [*[ordinary] * 3, *frames_of(superframe())]


async def test_slices_that_fitting_is_concerned_with_are_made_frames(tmp_path: Path) -> None:
    async with lan(tmp_path, "a") as net:
        client, told, peer, place = await greeted(net)
        with client:
            client._tunnel.fitting.limit = 1000
            client.transmit(superframe())
            client.transmit(superframe(700))
            client.flush()
            await until(lambda: place.data_trains)

            assert frames_of(place.data_trains[0]) == frames_of(superframe(700))
            assert client.discards == {"too long for the tunnel": superframe().count}
            assert told.trains[0].data[:12] == superframe().data[6:12] + superframe().data[:6]

            sliced = place.data_trains[0]
            peer._tunnel.fitting.limit = 600
            peer.transmit(sliced)
            assert peer.discards == {"too long for the tunnel": sliced.count}


async def test_short_slices_arrive_as_frames(tmp_path: Path) -> None:
    async with lan(tmp_path, "a") as net:
        client, _, _, place = await greeted(net)
        with client:
            client.transmit(superframe(40))
            client.flush()
            expected = frames_of(superframe(40))
            await until(lambda: sum(train.count for train in place.data_trains) >= len(expected) - 1)

            assert all(train.offload is None for train in place.trains)
            assert [one for train in place.trains for one in frames_of(train)] == expected
            assert not client.discards


async def test_bytes_that_are_no_slices_are_discarded_and_counted(tmp_path: Path) -> None:
    async with lan(tmp_path, "a") as net:
        client, _, peer, place = await greeted(net)
        with client:
            client.transmit(lone(bytes(6) + b"\x01" + bytes(63)))
            client.flush()
            await until(lambda: peer.discards)

            assert peer.discards == {"malformed": 1}
            assert not place.trains


async def test_slices_end_when_the_far_end_greets_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with lan(tmp_path, "a") as net:
        client, heard, peer, _ = await greeted(net)
        with client:
            monkeypatch.setattr("vport.greeting.LEASE", 0.1)
            await trio.sleep(0.15)
            peer.transmit(superframe())
            peer.flush()
            await until(lambda: heard.trains)

            assert heard.trains[0].offload is None
            assert frames_of(heard.trains[0]) == frames_of(superframe())


async def test_only_a_link_in_use_greets_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vport.links.wireguard_client.INTERVAL", 0.2)
    monkeypatch.setattr("vport.greeting.INTERVAL", 0.2)
    async with lan(tmp_path, "a") as net:
        client, _, _, place = await greeted(net)
        with client:
            await until(lambda: not client._is_used)
            place.trains.clear()
            await trio.sleep(0.4)
            assert not place.trains

            client.transmit(lone(bytes(6) + STATION + bytes(60)))
            client.flush()
            await until(lambda: any(greetings_in(train.data, train.frame_size) for train in place.trains))


async def test_new_session_is_greeted(tmp_path: Path) -> None:
    async with lan(tmp_path, "a") as net:
        client, _, peer, place = await greeted(net)
        with client:
            peer.forget_greetings()
            client.peer.slots.clear()
            client._socket.call(client.peer)
            await until(lambda: peer._tunnel.acquaintance.knows_slices)
            await until(lambda: any(greetings_in(train.data, train.frame_size) for train in place.trains))
