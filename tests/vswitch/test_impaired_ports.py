from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from tests.vswitch.links_in_memory import RecordingLink
from vport.shell.command import Session, execute
from vport.train import lone
from vswitch.bridge import Bridge
from vswitch.config import SwitchSettings
from vswitch.fabric import Fabric
from vswitch.impaired_ports import ImpairedPorts
from vswitch.management.menus import switch_catalog
from vswitch.service import SwitchService

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock

    from vport.train import Train
    from vswitch.fabric import Place

FRAME = bytes.fromhex("ffffffffffff" + "020000000001" + "0800") + bytes(46)
ANSWER = bytes.fromhex("020000000001" + "020000000002" + "0800") + bytes(46)


@asynccontextmanager
async def impaired_ports() -> AsyncIterator[tuple[Fabric, ImpairedPorts]]:
    fabric = Fabric(Bridge(), trio.current_time, lambda events: None)
    ports = ImpairedPorts(fabric)
    async with trio.open_nursery() as nursery:
        await nursery.start(ports.run)
        yield fabric, ports
        nursery.cancel_scope.cancel()


async def test_frames_out_of_an_impaired_port_are_late_and_others_are_not(autojump_clock: MockClock) -> None:
    async with impaired_ports() as (fabric, ports):
        links = [RecordingLink(), RecordingLink(), RecordingLink()]
        places = [fabric.attach(link) for link in links]
        wire = ports.impair(places[1].endpoint.port, seed=1)
        wire.wire.read("delay", "LR1s")
        wire.changed()
        places[0].deliver(lone(FRAME))
        places[0].flush()

        assert links[2].sent == [FRAME]
        assert links[1].sent == []
        await trio.sleep(1.01)
        assert links[1].sent == [FRAME]
        assert links[1].flushes >= 1


class Answering(RecordingLink):
    """A link that answers from inside ``transmit``, as that of a stock WireGuard client does."""

    place: Place

    def transmit(self, train: Train) -> None:
        super().transmit(train)
        self.place.deliver(lone(ANSWER))


class Gathering(RecordingLink):
    """A link that sends nothing before ``flush``, as a TAP does."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def flush(self) -> None:
        self.written += self.sent
        self.sent.clear()


@pytest.mark.parametrize("fault", [("delay", "LR1s"), ("loss", "LR0.0001"), None])
async def test_answer_to_what_a_wire_let_out_is_not_left_lying(
    autojump_clock: MockClock, fault: tuple[str, str] | None
) -> None:
    async with impaired_ports() as (fabric, ports):
        asking, answering = Gathering(), Answering()
        asks, answering.place = fabric.attach(asking), fabric.attach(answering)
        if fault is not None:
            wire = ports.impair(answering.place.endpoint.port, seed=1)
            wire.wire.read(*fault)
            wire.changed()
        asks.deliver(lone(FRAME))
        asks.flush()
        await trio.sleep(1.01)
        assert asking.written == [ANSWER]


async def test_frames_into_an_impaired_port_are_relayed_when_they_arrive(autojump_clock: MockClock) -> None:
    async with impaired_ports() as (fabric, ports):
        links = [RecordingLink(), RecordingLink()]
        places = [fabric.attach(link) for link in links]
        port = places[0].endpoint.port
        ports.impair(port, seed=1).wire.read("delay", "RL1s")
        places[0].deliver(lone(FRAME))
        places[0].flush()

        assert port.counters.frames_in == 0
        assert links[1].sent == []
        await trio.sleep(1.01)
        assert port.counters.frames_in == 1
        assert links[1].sent == [FRAME]
        assert links[1].flushes == 1


async def test_cleared_port_passes_everything_again(autojump_clock: MockClock) -> None:
    async with impaired_ports() as (fabric, ports):
        links = [RecordingLink(), RecordingLink()]
        places = [fabric.attach(link) for link in links]
        port = places[1].endpoint.port
        ports.impair(port).wire.read("loss", "100")
        places[0].deliver(lone(FRAME))
        assert ports.clear(port)
        assert not ports.clear(port)
        places[0].deliver(lone(FRAME))
        places[0].flush()
        assert links[1].sent == [FRAME]


async def test_wire_of_a_removed_port_is_taken_out() -> None:
    async with impaired_ports() as (fabric, ports):
        first = fabric.attach(RecordingLink(), port=1)
        ports.impair(first.endpoint.port)
        old = first.endpoint.port
        first.detach("gone")
        if old in list(fabric.bridge.ports):
            fabric.bridge.ports.remove(old)
        second = fabric.attach(RecordingLink(), port=1)
        ports.impair(second.endpoint.port)
        assert ports.get(old) is None
        assert old.incoming is None


# --- the command ---


@pytest.fixture
async def session(nursery: trio.Nursery) -> tuple[SwitchService, Session]:
    service = SwitchService(SwitchSettings())
    await nursery.start(service.run)
    service.fabric.attach(RecordingLink())
    return service, Session(switch_catalog())


async def test_port_is_impaired_shown_and_cleared_by_command(
    session: tuple[SwitchService, Session],
) -> None:
    service, given = session

    async def say(line: str) -> tuple[int, list[str]]:
        reply = await execute(service, given, line)
        return reply.errno, list(reply.lines or ())

    assert await say("port/impair 1") == (0, ["port 1 has no faults"])
    assert await say("port/impair 1 loss LR1%") == (0, [])
    assert await say("port/impair 1 delay 10ms+3ms") == (0, [])
    errno, lines = await say("port/impair 1")
    assert errno == 0
    assert "Loss   L->R 1+0U   R->L 0+0U" in lines
    assert "Delay  L->R 10+3U   R->L 10+3U" in lines
    assert lines[-1] == "R->L: received 0, delivered 0"
    assert await say("port/impair 1 off") == (0, [])
    assert (await say("port/impair 1 off"))[0] == 2
    assert await say("port/impair 1") == (0, ["port 1 has no faults"])


@pytest.mark.parametrize(
    ("line", "errno"),
    [
        ("port/impair", 22),
        ("port/impair 0", 22),
        ("port/impair 9 loss 1", 6),
        ("port/impair 1 loss -1", 22),
        ("port/impair 1 shutdown", 38),
        ("port/impair 1 nonsense", 38),
    ],
)
async def test_wrong_impairment_is_refused_and_leaves_the_port_clear(
    session: tuple[SwitchService, Session], line: str, errno: int
) -> None:
    service, given = session
    assert (await execute(service, given, line)).errno == errno
    port = service.bridge.ports.get(1)
    assert port is not None
    assert port.incoming is None
