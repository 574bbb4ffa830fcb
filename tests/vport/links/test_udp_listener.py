from __future__ import annotations

import errno
import logging
import os
import socket

import pytest
import trio

from tests.vport.links.udp_parts import Peer, Switch, frame, serving
from vport.errors import LinkError
from vport.links.binding import advice
from vport.links.datagrams import resolve
from vport.links.udp import open_udp_listener
from vport.locator import UdpLocator
from vport.offload import GsoType, VirtioNetHeader, VnetFlag, plain
from vport.train import Train, lone

BOTH = pytest.mark.parametrize("batches", [True, False], ids=["batches", "plain"])
HOSTS = pytest.mark.parametrize(
    ("bound", "called", "family"),
    [
        ("127.0.0.1", "127.0.0.1", socket.AF_INET),
        ("0.0.0.0", "127.0.0.1", socket.AF_INET),
        ("::1", "::1", socket.AF_INET6),
        ("", "::1", socket.AF_INET6),
        ("", "127.0.0.1", socket.AF_INET),
    ],
    ids=["ipv4", "all-ipv4", "ipv6", "all-as-ipv6", "all-as-ipv4"],
)


@BOTH
@HOSTS
async def test_new_address_becomes_a_peer_and_gets_answers(
    bound: str, called: str, family: int, batches: bool
) -> None:
    switch = Switch()
    with trio.fail_after(5), Peer(family) as peer:
        async with serving(switch, bound, batches=batches) as listener:
            await peer.connect(called, listener)
            await peer.send(frame(1))
            await switch.until_links(1)
            assert await switch.places[0].until_frames(1) == [frame(1)]

            switch.links[0].transmit(lone(frame(2)))
            switch.links[0].flush()

            assert await peer.receive() == [frame(2)]
            host, port = peer.sock.getsockname()[:2]
            shown = f"[{host}]:{port}" if family == socket.AF_INET6 else f"{host}:{port}"
            assert switch.links[0].description == f"udp peer {shown}"


@BOTH
@HOSTS
async def test_trains_pass_whole_in_both_directions(
    bound: str, called: str, family: int, batches: bool
) -> None:
    frames = [frame(number, 1000) for number in range(20)] + [frame(20, 700)]
    switch = Switch()
    with trio.fail_after(5), Peer(family) as peer:
        async with serving(switch, bound, batches=batches) as listener:
            await peer.connect(called, listener)
            await peer.send_train(b"".join(frames), 1000)
            await switch.until_links(1)
            assert await switch.places[0].until_frames(21) == frames
            assert len(switch.places[0].trains) == 1

            switch.links[0].transmit(Train(b"".join(frames), 1000))
            switch.links[0].flush()

            assert await peer.receive(21) == frames


async def test_single_frames_of_interleaved_peers_are_joined_and_keep_their_order() -> None:
    switch = Switch()
    with trio.fail_after(5), Peer() as one, Peer() as two:
        async with serving(switch, "") as listener:
            await one.connect("127.0.0.1", listener)
            await two.connect("127.0.0.1", listener)
            for number in range(30):
                os.write(one.sock.fileno(), frame(number))
                os.write(two.sock.fileno(), frame(number, 64 if number % 10 else 99))
            await switch.until_links(2)

            assert await switch.places[0].until_frames(30) == [frame(number) for number in range(30)]
            assert await switch.places[1].until_frames(30) == [
                frame(number, 64 if number % 10 else 99) for number in range(30)
            ]
            assert len(switch.places[0].trains) < 30


@BOTH
async def test_many_frames_for_many_peers_arrive_complete_and_in_order(batches: bool) -> None:
    peers = [Peer() for _ in range(40)]
    sizes = [64, 64, 64, 1500, 64, 5000, 5000, 64, 64]
    switch = Switch()
    with trio.fail_after(10):
        async with serving(switch, "", batches=batches) as listener:
            for peer in peers:
                await (await peer.connect("127.0.0.1", listener)).send(frame(0))
            await switch.until_links(40)

            for number, size in enumerate(sizes):
                train = lone(frame(number, size))
                for link in switch.links:
                    link.transmit(train)
            train = Train(b"".join(frame(number, 700) for number in range(10)), 700)
            for link in switch.links:
                link.transmit(train)
                link.transmit(lone(frame(99)))
            for link in switch.links:
                link.flush()

            expected = [frame(number, size) for number, size in enumerate(sizes)]
            expected += [frame(number, 700) for number in range(10)] + [frame(99)]
            for peer in peers:
                assert await peer.receive(len(expected)) == expected
                peer.sock.close()
            assert not any(link.discards for link in switch.links)


@BOTH
@pytest.mark.parametrize("count", [1, 60])
async def test_answers_come_from_the_address_that_the_peer_wrote_to(count: int, batches: bool) -> None:
    switch = Switch()
    with trio.fail_after(5), Peer() as peer:
        async with serving(switch, "", batches=batches) as listener:
            await peer.sock.bind(("127.0.0.1", 0))
            await peer.sock.sendto(frame(1), ("127.0.0.2", listener.address[1]))
            await switch.until_links(1)

            for number in range(count):
                switch.links[0].transmit(lone(frame(number, 64 + number)))
            switch.links[0].flush()
            for number in range(count):
                answer, sender = await peer.sock.recvfrom(65536)
                assert (answer, sender) == (
                    frame(number, 64 + number),
                    ("127.0.0.2", listener.address[1]),
                )


@BOTH
async def test_peer_that_writes_to_another_address_of_ours_stays_the_same_peer(batches: bool) -> None:
    switch = Switch()
    with trio.fail_after(5), Peer() as peer:
        async with serving(switch, "", batches=batches) as listener:
            await peer.sock.bind(("127.0.0.1", 0))
            for number, host in enumerate(("127.0.0.1", "127.0.0.2", "127.0.0.1", "127.0.0.3")):
                await peer.sock.sendto(frame(number), (host, listener.address[1]))
                await switch.until_links(1)
                await switch.places[0].until_frames(number + 1)

            switch.links[0].transmit(lone(frame(9)))
            switch.links[0].flush()

            _, sender = await peer.sock.recvfrom(65536)
            assert sender[0] == "127.0.0.3"
            assert len(switch.links) == 1


@BOTH
@pytest.mark.parametrize("gone", ["::ffff:192.0.2.77", "2001:db8::1"])
async def test_answers_from_an_address_that_is_gone_are_counted(gone: str, batches: bool) -> None:
    switch = Switch()
    with trio.fail_after(5), Peer() as peer:
        async with serving(switch, "", batches=batches) as listener:
            await (await peer.connect("127.0.0.1", listener)).send(frame(1))
            await switch.until_links(1)
            local = socket.inet_pton(socket.AF_INET6, gone)
            listener.outbox.set_source(listener.peers[0].destination, local)

            switch.links[0].transmit(Train(frame(1) + frame(2), 64))
            for number in range(30):
                switch.links[0].transmit(lone(frame(number)))
            switch.links[0].flush()

            assert switch.links[0].discards == {"unreachable": 32}


async def test_newcomers_are_refused_counted_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    switch = Switch(room=1)
    with trio.fail_after(5), Peer() as known, Peer() as stranger:
        async with serving(switch) as listener:
            await (await known.connect("127.0.0.1", listener)).send(frame(1))
            await switch.until_links(1)
            await stranger.connect("127.0.0.1", listener)
            for number in range(50):
                await stranger.send(frame(number, 64 + number))
            await known.send(frame(2))
            await switch.places[0].until_frames(2)

            assert listener.refused == 50
            assert len(listener.peers) == 1
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(lines) == 1
    assert "all 1 ports are taken" in lines[0]


@BOTH
async def test_short_and_empty_datagrams_make_no_peer_and_are_counted(batches: bool) -> None:
    switch = Switch()
    with trio.fail_after(5), Peer() as stranger, Peer() as known:
        async with serving(switch, batches=batches) as listener:
            await stranger.connect("127.0.0.1", listener)
            await known.connect("127.0.0.1", listener)
            await stranger.send(b"", b"x", bytes(13))
            await known.send(frame(1))
            await switch.until_links(1)
            assert listener.discards == {"short": 3}

            await known.send(b"", bytes(13), b"", frame(2))

            assert await switch.places[0].until_frames(2) == [frame(1), frame(2)]
            assert switch.links[0].discards == {"short": 3}
            assert len(switch.links) == 1


@BOTH
async def test_trains_of_short_frames_and_short_tails_are_cut_off_and_counted(batches: bool) -> None:
    switch = Switch()
    with trio.fail_after(5), Peer() as peer:
        async with serving(switch, batches=batches) as listener:
            await (await peer.connect("127.0.0.1", listener)).send(frame(0))
            await peer.send_train(bytes(25), 5)
            await peer.send_train(frame(1) + frame(2) + bytes(13), 64)
            await peer.send_train(frame(3) + frame(4) + bytes(14), 64)
            await switch.until_links(1)

            assert await switch.places[0].until_frames(6) == [
                *(frame(number) for number in range(5)),
                bytes(14),
            ]
            assert switch.links[0].discards == {"short": 6}


@BOTH
@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)])
async def test_longest_datagrams_pass_and_longer_ones_are_counted(
    host: str, family: int, batches: bool
) -> None:
    switch = Switch()
    with trio.fail_after(5), Peer(family) as peer:
        async with serving(switch, host, batches=batches) as listener:
            await (await peer.connect(host, listener)).send(frame(1, 65507))
            await switch.until_links(1)
            assert await switch.places[0].until_frames(1) == [frame(1, 65507)]

            for number in range(30):
                switch.links[0].transmit(lone(frame(number, 65535)))
            switch.links[0].transmit(lone(frame(2, 65507)))
            switch.links[0].flush()

            assert await peer.receive() == [frame(2, 65507)]
            assert switch.links[0].discards == {"oversized": 30}


@BOTH
async def test_trains_longer_than_one_send_are_sent_in_pieces(batches: bool) -> None:
    switch = Switch()
    frames = [frame(number) for number in range(300)] + [frame(300, 60)]
    large = [frame(number, 9000) for number in range(20)]
    with trio.fail_after(5), Peer() as peer:
        async with serving(switch, batches=batches) as listener:
            peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            await (await peer.connect("127.0.0.1", listener)).send(frame(1))
            await switch.until_links(1)

            switch.links[0].transmit(Train(b"".join(frames), 64))
            switch.links[0].transmit(Train(b"".join(large), 9000))
            switch.links[0].flush()

            assert await peer.receive(321) == frames + large


async def test_superframe_is_cut_before_it_is_sent() -> None:
    headers = bytes.fromhex(
        "ffffffffffff0200000000010800"
        "45000fc8000140004006000001010101020202021234567800000001000000025010ffff00000000"
    )
    offload = VirtioNetHeader(VnetFlag.NEEDS_CSUM, GsoType.TCPV4, 54, 1000, 34, 16)
    superframe = Train(headers + bytes(range(256)) * 16, 1054, offload)
    switch = Switch()
    with trio.fail_after(5), Peer() as peer:
        async with serving(switch) as listener:
            await (await peer.connect("127.0.0.1", listener)).send(frame(1))
            await switch.until_links(1)

            switch.links[0].transmit(superframe)
            switch.links[0].flush()

            frames = [bytes(one) for one in plain(superframe).frames()]
            assert len(frames) == superframe.count == 5
            assert await peer.receive(5) == frames


@BOTH
async def test_frames_go_one_by_one_where_the_kernel_refuses_to_cut(batches: bool) -> None:
    switch = Switch()
    frames = [frame(number, 500) for number in range(40)]
    with trio.fail_after(5), Peer() as peer:
        async with serving(switch, batches=batches) as listener:
            # A socket without checksums cannot segment: EINVAL (net/ipv4/udp.c, udp_send_skb).
            listener._sock.setsockopt(socket.SOL_SOCKET, 11, 1)  # SO_NO_CHECK
            peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            await (await peer.connect("127.0.0.1", listener)).send(frame(1))
            await switch.until_links(1)

            switch.links[0].transmit(Train(b"".join(frames), 500))
            switch.links[0].flush()
            assert await peer.receive(40) == frames
            assert listener.peers[0].destination.segmentable == 499

            for one in frames:
                switch.links[0].transmit(lone(one))
            for one in frames:
                switch.links[0].transmit(lone(one[:400]))
            switch.links[0].flush()

            assert await peer.receive(80) == frames + [one[:400] for one in frames]
            assert listener.peers[0].destination.segmentable == (399 if batches else 499)
            assert not switch.links[0].discards


async def test_silent_peer_leaves_and_is_a_newcomer_when_heard_again() -> None:
    switch = Switch()
    with trio.fail_after(5), Peer() as silent, Peer() as busy:
        async with serving(switch, idle=0.4) as listener:
            await (await silent.connect("127.0.0.1", listener)).send(frame(1))
            await busy.connect("127.0.0.1", listener)
            await switch.until_links(1)
            while switch.places[0].reason is None:
                await busy.send(frame(2))
                with trio.move_on_after(0.05):
                    await switch.places[0].until(lambda: switch.places[0].reason)

            assert switch.places[0].reason == "idle for 0.4 s"
            assert switch.places[1].reason is None
            assert [peer.address[1] for peer in listener.peers] == [busy.sock.getsockname()[1]]

            await silent.send(frame(3))
            await switch.until_links(3)


async def test_closed_peer_is_a_newcomer_when_heard_again() -> None:
    switch = Switch()
    with trio.fail_after(5), Peer() as peer:
        async with serving(switch) as listener:
            await (await peer.connect("127.0.0.1", listener)).send(frame(1))
            await switch.until_links(1)

            switch.links[0].close()
            switch.links[0].close()
            assert listener.peers == []

            await peer.send(frame(2))
            await switch.until_links(2)
            assert await switch.places[1].until_frames(1) == [frame(2)]


async def test_frames_gathered_for_a_peer_that_is_then_closed_go_to_nobody_else() -> None:
    switch = Switch()
    with trio.fail_after(5), Peer() as old, Peer() as new:
        async with serving(switch) as listener:
            await (await old.connect("127.0.0.1", listener)).send(frame(1))
            await switch.until_links(1)
            for number in range(30):
                switch.links[0].transmit(lone(frame(number, 64 + number)))

            switch.links[0].close()
            await (await new.connect("127.0.0.1", listener)).send(frame(2))
            await switch.until_links(2)
            switch.links[1].transmit(lone(frame(99)))
            switch.links[1].flush()

            assert await new.receive() == [frame(99)]


async def test_closing_ends_serve_and_transmitting_afterwards_is_harmless() -> None:
    switch = Switch()
    listener = await open_udp_listener(UdpLocator(host="127.0.0.1", port=0))
    with trio.fail_after(5), Peer() as peer:
        async with trio.open_nursery() as nursery:
            await nursery.start(listener.serve, switch.accept)
            await (await peer.connect("127.0.0.1", listener)).send(frame(1))
            await switch.until_links(1)
            listener.close()
            listener.close()

        for _ in range(30):
            switch.links[0].transmit(lone(frame(1)))
        switch.links[0].flush()
        assert switch.links[0].discards == {"unreachable": 30}


@pytest.mark.parametrize("host", ["", "::1", "127.0.0.1"])
async def test_listener_says_where_it_listens(host: str) -> None:
    with await open_udp_listener(UdpLocator(host=host, port=0)) as listener:
        shown = f"[{host}]" if ":" in host else host
        assert listener.description == f"udp://{shown}:{listener.address[1]}"


async def test_port_in_use_is_said_with_what_to_do() -> None:
    with await open_udp_listener(UdpLocator(host="", port=0)) as first:
        port = first.address[1]
        for host in ("", "127.0.0.1"):
            with pytest.raises(LinkError, match=rf"UDP port {port} is in use by another program .*ss -lunp"):
                await open_udp_listener(UdpLocator(host=host, port=port))


async def test_ipv6_alone_leaves_the_port_free_for_ipv4() -> None:
    with (
        await open_udp_listener(UdpLocator(host="::", port=0)) as first,
        await open_udp_listener(UdpLocator(host="0.0.0.0", port=first.address[1])) as second,
    ):
        assert second.address == ("0.0.0.0", first.address[1])


async def test_address_of_another_machine_is_refused() -> None:
    with pytest.raises(LinkError, match=r"udp://192\.0\.2\.1:9999: 192\.0\.2\.1 is no address of this"):
        await open_udp_listener(UdpLocator(host="192.0.2.1", port=9999))


async def test_name_that_does_not_resolve_is_refused() -> None:
    async def resolver(host: str, port: int) -> list[tuple[int, tuple[str, int]]]:
        await trio.lowlevel.checkpoint()
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with pytest.raises(LinkError, match=r"cannot find the address of lan\.example: Name or service"):
        await open_udp_listener(UdpLocator(host="lan.example", port=9999), resolver=resolver)


async def test_name_is_bound_where_it_resolves_to() -> None:
    async def resolver(host: str, port: int) -> list[tuple[int, tuple[object, ...]]]:
        assert host == "lan.example"
        return await resolve("127.0.0.5", port)

    with await open_udp_listener(UdpLocator(host="lan.example", port=0), resolver=resolver) as listener:
        assert listener.address[0] == "127.0.0.5"


def test_low_port_without_permission_is_said_with_what_to_do() -> None:
    error = PermissionError(errno.EACCES, "Permission denied")

    text = advice("UDP", ("", 99), error)

    assert text == "no permission for UDP port 99: below 1024 it takes root; choose a higher one"
