"""Cables with faults under the virtual clock: the model, its shell and real links together."""

from __future__ import annotations

from contextlib import asynccontextmanager
from ipaddress import ip_address
from random import Random
from typing import TYPE_CHECKING

import pytest
import trio

from vport.cable import Cable, run_cable
from vport.cable_shell import BANNER, PROMPT, cable_catalog, transition_messages
from vport.errors import LinkError
from vport.impairment import BOTH, ImpairmentSettings, Wire
from vport.links import open_link
from vport.links.base import Link, Sink
from vport.links.host import HostLink
from vport.loop_probe import LoopProbe
from vport.offload import VirtioNetHeader
from vport.shell.command import Reply, Session, execute
from vport.shell.protocol import ServerProtocol
from vport.train import Train, lone

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock

LR, RL = BOTH
TARGET = ip_address("10.1.1.2")


class TestLink(Link):
    """A link whose far end is the test."""

    __test__ = False
    module = "test"

    def __init__(self, name: str) -> None:
        self.description = name
        self.sink: Sink | None = None
        self.sent: list[tuple[float, Train]] = []
        self.flushes = 0

    def transmit(self, train: Train) -> None:
        self.sent.append((trio.current_time(), train.copy()))

    def flush(self) -> None:
        self.flushes += 1

    async def run(self, sink: Sink, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        self.sink = sink
        task_status.started()
        await trio.sleep_forever()

    def receive(self, *trains: Train) -> None:
        assert self.sink is not None
        for train in trains:
            self.sink.deliver(train)
        self.sink.flush()

    def close(self) -> None:
        pass


@asynccontextmanager
async def joined(
    wire: Wire, probe: LoopProbe | None = None
) -> AsyncIterator[tuple[Cable, TestLink, TestLink]]:
    left, right = TestLink("left"), TestLink("right")
    cable = Cable(left, right, wire, probe=probe)
    async with trio.open_nursery() as nursery:
        await nursery.start(cable.run)
        yield cable, left, right
        cable.stop()


async def open_host(locator: str) -> HostLink:
    link = await open_link(locator)
    assert isinstance(link, HostLink)
    return link


# --- frames ---


async def test_clear_cable_passes_trains_whole_and_counts_their_frames() -> None:
    async with joined(Wire(1)) as (cable, left, right):
        train = Train(bytes(300), 100)
        superframe = Train(bytes(54 + 3000), 1054, VirtioNetHeader(1, 1, 54, 1000, 34, 16))
        left.receive(train, superframe)

        assert [(one.data, one.offload) for _, one in right.sent] == [
            (train.data, None),
            (superframe.data, superframe.offload),
        ]
        assert cable.wire.channels[LR].statistics.received == 6
        assert cable.wire.channels[LR].statistics.delivered_bytes == 300 + 54 * 3 + 3000


async def test_delayed_frames_arrive_at_their_time_with_bytes_of_their_own(autojump_clock: MockClock) -> None:
    async with joined(Wire(1, ImpairmentSettings.read(delay="20ms"))) as (_, left, right):
        borrowed = bytearray(b"a" * 100 + b"b" * 100)
        start = trio.current_time()
        left.receive(Train(borrowed, 100))
        borrowed[:] = bytes(200)
        await trio.sleep(0.01)
        assert not right.sent
        await trio.sleep(0.02)

        [(at, train)] = right.sent
        assert at == pytest.approx(start + 0.02)
        assert bytes(train.data) == b"a" * 100 + b"b" * 100
        assert train.frame_size == 100
        assert right.flushes >= 1


async def test_frame_due_earlier_than_those_waiting_is_not_late(autojump_clock: MockClock) -> None:
    wire = Wire(1)
    wire.read("delay", "10s")
    async with joined(wire) as (cable, left, right):
        left.receive(lone(b"late" * 20))
        await trio.sleep(1)
        wire.read("delay", "1s")
        wire.set_fifo(False)
        cable.changed()
        left.receive(lone(b"soon" * 20))
        await trio.sleep(2)
        assert [(round(at, 6), bytes(train.data)) for at, train in right.sent] == [
            (pytest.approx(trio.current_time() - 1), b"soon" * 20)
        ]


async def test_superframe_is_cut_where_the_cable_has_faults() -> None:
    async with joined(Wire(1, ImpairmentSettings.read(mtu="1500"))) as (cable, left, right):
        headers = bytes.fromhex("02" * 12 + "0800" + "4500") + bytes(38)
        header = VirtioNetHeader(1, 1, 54, 1000, 34, 16)
        packet = bytearray(headers + bytes(3000))
        packet[14 + 9] = 6
        packet[14 + 20 + 12] = 0x50
        packet[16:18] = (3040).to_bytes(2, "big")
        left.receive(Train(bytes(packet), 1054, header))
        assert [train.count for _, train in right.sent] == [3]
        assert [train.frame_size for _, train in right.sent] == [1054]

        left.receive(Train(bytes(60), 1054, header))
        assert cable.wire.channels[LR].statistics.malformed == 1


async def test_pings_through_a_cable_see_its_delay_and_loss(autojump_clock: MockClock) -> None:
    faults = ImpairmentSettings.read(delay="20ms", loss="10%")
    with await open_host("host://10.1.1.1/24") as one, await open_host("host://10.1.1.2/24") as other:
        async with trio.open_nursery() as nursery:
            wire = Wire(1, faults, ImpairmentSettings.read(delay="20ms"))
            await nursery.start(run_cable, one, other, wire)
            times = []
            for _ in range(1000):
                try:
                    times.append(await one.ping(TARGET, 1.0))
                except trio.TooSlowError:
                    continue
            nursery.cancel_scope.cancel()

    assert 860 <= len(times) <= 940
    assert min(times[1:]) == pytest.approx(0.04, abs=1e-6)
    assert sorted(times)[len(times) // 2] == pytest.approx(0.04, abs=1e-6)


async def test_noise_that_damages_every_frame_leaves_the_cable_alive(autojump_clock: MockClock) -> None:
    with await open_host("host://10.1.1.1/24") as one, await open_host("host://10.1.1.2/24") as other:
        async with trio.open_nursery() as nursery:
            wire = Wire(1, ImpairmentSettings.read(noise="1M"), ImpairmentSettings.read(noise="1M"))
            await nursery.start(run_cable, one, other, wire)
            with pytest.raises((trio.TooSlowError, LinkError)):
                await one.ping(TARGET, 5.0)
            wire.read("noise", "0")
            assert await one.ping(TARGET, 5.0) < 5
            nursery.cancel_scope.cancel()


async def test_run_with_the_same_seed_is_the_same_run() -> None:
    async def play(seed: int) -> list[bytes]:
        async with joined(Wire(seed, ImpairmentSettings.read(loss="50%"))) as (_, left, right):
            for number in range(100):
                left.receive(lone(bytes([number]) * 60))
            return [bytes(train.data) for _, train in right.sent]

    assert await play(1) == await play(1)
    assert await play(1) != await play(2)


# --- loops ---


async def test_probe_that_comes_back_is_told_and_not_passed_on(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    probe = LoopProbe(Random(1))
    async with joined(Wire(1), probe) as (cable, left, right):
        await trio.sleep(1)
        assert [bytes(train.data) for _, train in left.sent] == [probe.frame]
        assert [bytes(train.data) for _, train in right.sent] == [probe.frame]
        assert not cable.has_loop
        right.receive(lone(LoopProbe(Random(2)).frame))
        assert not cable.has_loop
        right.receive(lone(probe.frame))

        assert cable.has_loop
        assert "left and right are on the same LAN: this cable makes a loop" in caplog.text
        assert len(left.sent) == 2  # only the other cable's probe was passed on


# --- the shell ---


class Shell:
    """A session with a cable that does not run."""

    def __init__(self) -> None:
        self.wire = Wire(1)
        self.session = Session(cable_catalog())
        self.stopped = False
        self.changes = 0

    def now(self) -> float:
        return 0.0

    def changed(self) -> None:
        self.changes += 1

    def publish_events(self) -> None:
        pass

    def stop(self) -> None:
        self.stopped = True

    async def reply(self, line: str) -> Reply:
        return await execute(self, self.session, line)

    async def lines(self, line: str) -> list[str]:
        reply = await self.reply(line)
        assert reply.errno == 0, reply.detail
        return list(reply.lines or ())


def test_banner_and_prompt_are_what_vdeterm_looks_for() -> None:
    protocol = ServerProtocol(BANNER, PROMPT)
    greeting = protocol.data_to_send().decode()
    assert " V." in greeting.splitlines()[0]
    assert greeting.endswith("\n\nVDEwf$ ")


async def test_showinfo_reads_as_wirefilter_has_it() -> None:
    """Transcripts 16 and 17."""
    shell = Shell()
    for line in (
        "loss LR20.5",
        "lostburst 2",
        "delay 100+50N",
        "dup 5",
        "band LR1M+1KN",
        "bandwidth RL131072",
        "speed 1M",
        "capacity 10K",
        "noise 3",
        "mtu LR900",
        "mtu RL1500",
        "fifo 0",
    ):
        assert (await shell.reply(line)).errno == 0, line
    assert await shell.lines("showinfo") == [
        "WireFilter: bidirectional",
        "Loss   L->R 20.5+0U   R->L 0+0U",
        "Lburst L->R 2+0U   R->L 2+0U",
        "Delay  L->R 100+50N   R->L 100+50N",
        "Dup    L->R 5+0U   R->L 5+0U",
        "Bandw  L->R 1.04858e+06+1024N   R->L 131072+0U",
        "Speed  L->R 1.04858e+06+0U   R->L 1.04858e+06+0U",
        "Noise  L->R 3+0U   R->L 3+0U",
        "MTU    L->R 900     R->L 1500   ",
        "Cap.   L->R 10240+0U   R->L 10240+0U",
        "Current Delay Queue size:   L->R 0      R->L 0   ",
        "Fifoness FALSE",
        "Waiting packets in delay queues 0",
    ]
    assert shell.changes == 11


@pytest.mark.parametrize("line", ["delay100", "delay\t100", "delay LR 100", "delay 100ms", "delay 0.1s"])
async def test_value_may_be_written_in_many_ways(line: str) -> None:
    shell = Shell()
    assert (await shell.reply(line)).errno == 0
    assert shell.wire.settings(0, LR).delay.mean == 100


@pytest.mark.parametrize(
    "line",
    [
        "loss",
        "loss -5",
        "loss abc",
        "loss 1[3]",
        "dup 100",
        "bandwidth 10KB/h",
        "fifo 5",
        "markov-numnodes 0",
        "markov-numnodes abc",
        "markov-numnodes 100000",
        "markov-setnode 9",
        "markov-name 7,x",
        "markov-time 0",
        "markov-time x",
        "setedge",
        "setedge 0,1",
        "setedge 9,0,1",
        "setedge 0,0,x",
        "setedge 0,0,nan",
        "showedges 9",
        "showinfo 9",
        "markov-debug -1",
    ],
)
async def test_what_cannot_be_done_is_an_error_that_changes_nothing(line: str) -> None:
    shell = Shell()
    before = await shell.lines("showinfo")
    reply = await shell.reply(line)
    assert reply.errno == 22
    assert reply.detail
    assert await shell.lines("showinfo") == before


async def test_markov_states_are_set_up_and_shown_as_in_wirefilter() -> None:
    """Transcripts 16 and 18."""
    shell = Shell()
    assert await shell.lines("showcurrent") == ['Current Markov Node 0 "" (0,..,0)']
    for line in (
        "markov-numnodes 3",
        "markov-name 0,good",
        "markov-name 1,bad link",
        "setedge 0,1,30",
        "setedge 0,2,5",
        "loss 50[1]",
        "markov-time 50",
    ):
        assert (await shell.reply(line)).errno == 0, line
    assert (await shell.lines("showinfo 1"))[:3] == [
        "WireFilter: bidirectional",
        'Node 1 "bad link" (0,..,2) Markov-time 50',
        "Loss   L->R 50+0U   R->L 50+0U",
    ]
    assert await shell.lines("showedges") == [
        'Edge 0 ->0  "good"->"good" weigth 65',
        'Edge 0 ->1  "good"->"bad link" weigth 30',
        'Edge 0 ->2  "good"->"" weigth 5',
    ]
    assert (await shell.reply("markov-debug 1")).errno == 0
    assert shell.session.subscriptions == {"markov"}
    assert (await shell.reply("markov-debug")).errno == 0
    assert shell.session.subscriptions == set()


def test_change_of_state_is_told_as_wirefilter_does() -> None:
    from vport.impairment.markov import Transition
    from vport.shell.protocol import encode_message
    from vswitch.management.client import ClientProtocol, Notice

    wire = Wire(1)
    wire.resize(2, 0.0)
    wire.chain.rename(0, "good")
    wire.chain.rename(1, "bad")
    [message] = transition_messages(wire, [Transition(0, 1)])
    data = encode_message(message)
    assert data == b'3801 Node 0 "good" -> 1 "bad"\n'
    client = ClientProtocol()
    client.receive(data)
    assert list(client.events()) == [Notice(-1, "Node", '0 "good" -> 1 "bad"')]


async def test_shutdown_and_logout_end_the_session() -> None:
    shell = Shell()
    assert (await shell.reply("logout")).ends_session
    assert not shell.stopped
    assert (await shell.reply("shutdown")).ends_session
    assert shell.stopped


async def test_statistics_are_told_by_cause() -> None:
    shell = Shell()
    shell.wire.read("mtu", "LR100")
    shell.wire.receive(LR, bytes(100), 0.0)
    shell.wire.receive(LR, bytes(200), 0.0)
    shell.wire.due(LR, 0.0)
    assert await shell.lines("showstats") == [
        "L->R: received 2, received bytes 300, delivered 1, delivered bytes 100, too long 1",
        "R->L: received 0, delivered 0",
    ]
