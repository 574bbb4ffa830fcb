from __future__ import annotations

import logging
from ipaddress import IPv4Address, ip_address
from typing import TYPE_CHECKING

import pytest
import trio
from scapy.layers.inet import ICMP, IP
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw
from trio.testing import MockClock, wait_all_tasks_blocked

from vport.errors import LinkError, SettingsError
from vport.ethernet import format_mac, parse_mac
from vport.links.host import HostLink, open_host
from vport.links.simulated import MAX_BATCH, MAX_QUEUED_BYTES
from vport.locator import HostLocator, parse
from vport.offload import GsoType, VirtioNetHeader
from vport.station import derived_mac
from vport.train import Train, lone

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

THEIRS = "02:00:00:00:00:09"


class Wire:
    """The sink of one host: gives all to another host, and watches for recursion."""

    def __init__(self, far: HostLink) -> None:
        self.far = far
        self.depth = 0
        self.trains: list[Train] = []
        self.unflushed = 0
        self.longest = 0

    def deliver(self, train: Train) -> None:
        assert self.depth == 0
        self.depth += 1
        self.trains.append(train.copy())
        self.unflushed += train.count
        self.far.transmit(train)
        self.depth -= 1

    def flush(self) -> None:
        self.longest = max(self.longest, self.unflushed)
        self.unflushed = 0
        self.far.flush()

    def frames(self) -> list[Ether]:
        return [Ether(bytes(frame)) for train in self.trains for frame in train.frames()]


class Record:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.trains: list[Train] = []
        self.flushed = 0

    def deliver(self, train: Train) -> None:
        self.trains.append(train.copy())

    def flush(self) -> None:
        self.flushed = len(self.trains)


def ignore(_: str) -> None:
    """Report to nobody."""


def host(text: str, report: Callable[[str], None] = ignore) -> HostLink:
    locator = parse(text)
    assert isinstance(locator, HostLocator)
    return HostLink(locator, report)


class Lan:
    """Two hosts joined back to back, and what they report."""

    def __init__(self, near: str, far: str) -> None:
        self.near_lines: list[str] = []
        self.far_lines: list[str] = []
        self.near = host(near, self.near_lines.append)
        self.far = host(far, self.far_lines.append)
        self.from_near = Wire(self.far)
        self.from_far = Wire(self.near)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(self.near.run, self.from_near)
            await nursery.start(self.far.run, self.from_far)
            task_status.started()


@pytest.fixture
async def lan(nursery: trio.Nursery) -> AsyncIterator[Lan]:
    made = Lan("host://10.1.1.1/24?address=fd00::1/64", "host://10.1.1.2/24?address=fd00::2/64")
    await nursery.start(made.run)
    yield made
    made.near.close()
    made.far.close()


def echo_requests(link: HostLink, count: int, size: int = 56) -> Train:
    request = (
        Ether(src=THEIRS, dst=format_mac(link.host.mac))
        / IP(src="10.1.1.9", dst="10.1.1.1")
        / ICMP(id=7)
        / Raw(bytes(size))
    ).build()
    return Train(request * count, len(request))


# --- pings ---


@pytest.mark.parametrize("target", ["10.1.1.2", "fd00::2"])
async def test_host_pings_another(lan: Lan, target: str) -> None:
    for size in (0, 56, 8900):
        assert 0 < await lan.near.ping(ip_address(target), 5.0, size=size) < 5


async def test_host_is_pinged_at_its_link_local_address(lan: Lan) -> None:
    address = lan.far.host.resolution.interfaces[-1].ip

    assert await lan.near.ping(address) > 0


async def test_many_pings_at_a_time_come_back_and_are_not_mixed_up(lan: Lan) -> None:
    results: list[float] = []

    async def ping(target: str) -> None:
        results.append(await lan.near.ping(ip_address(target)))

    async with trio.open_nursery() as nursery:
        for _ in range(30):
            nursery.start_soon(ping, "10.1.1.2")
            nursery.start_soon(ping, "fd00::2")

    assert len(results) == 60
    assert 1 < lan.from_near.longest <= MAX_BATCH


async def test_ping_of_nobody_says_so(lan: Lan, autojump_clock: MockClock) -> None:
    with pytest.raises(LinkError, match=r"10\.1\.1\.9 is unreachable: nobody answers"):
        await lan.near.ping(ip_address("10.1.1.9"))

    assert trio.current_time() == pytest.approx(3.0)


async def test_all_of_many_pings_of_nobody_hear_of_it(lan: Lan, autojump_clock: MockClock) -> None:
    async def ping() -> None:
        with pytest.raises(LinkError):
            await lan.near.ping(ip_address("10.1.1.9"))

    async with trio.open_nursery() as nursery:
        for _ in range(2000):
            nursery.start_soon(ping)

    assert trio.current_time() == pytest.approx(3.0)


async def test_ping_without_reply_is_too_slow(lan: Lan, autojump_clock: MockClock) -> None:
    await lan.near.ping(ip_address("10.1.1.2"))
    lan.far.close()

    with pytest.raises(trio.TooSlowError):
        await lan.near.ping(ip_address("10.1.1.2"), 2.0)

    assert trio.current_time() == pytest.approx(2.0)


async def test_ping_when_nothing_runs_is_too_slow(autojump_clock: MockClock) -> None:
    with pytest.raises(trio.TooSlowError):
        await host("host://10.1.1.1/24").ping(ip_address("10.1.1.2"), 1.0)


async def test_cancelled_ping_leaves_nothing_behind(lan: Lan, autojump_clock: MockClock) -> None:
    with trio.move_on_after(0.5):
        await lan.near.ping(ip_address("10.1.1.9"), 2.0)
    await trio.sleep(10)

    assert lan.near_lines == []
    assert lan.near.host.next_deadline() is None


async def test_ping_ends_when_the_link_is_closed(lan: Lan) -> None:
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def ping() -> None:
            with pytest.raises(LinkError, match="closed"):
                await lan.near.ping(ip_address("10.1.1.9"))

        await wait_all_tasks_blocked()
        lan.near.close()

    with pytest.raises(LinkError, match="closed"):
        await lan.near.ping(ip_address("10.1.1.2"))


# --- what the locator asks for ---


async def test_series_is_reported_line_by_line_and_summed_up(autojump_clock: MockClock) -> None:
    lan = Lan("host://10.1.1.1/24", "host://10.1.1.2/24?ping=10.1.1.1&ping=192.0.2.1&count=2")
    async with trio.open_nursery() as nursery:
        await nursery.start(lan.run)
        await trio.sleep(60)
        nursery.cancel_scope.cancel()

    off_link = "10.1.1.2: 192.0.2.1 is unreachable: seq={}, not on our network, and there is no gateway"
    assert lan.far_lines == [
        off_link.format(1),
        "10.1.1.2: reply from 10.1.1.1: seq=1 time=0.00 ms",
        off_link.format(2),
        "10.1.1.2: ping of 192.0.2.1: 2 packets transmitted, 0 received, 100% loss",
        "10.1.1.2: reply from 10.1.1.1: seq=2 time=0.00 ms",
        "10.1.1.2: ping of 10.1.1.1: 2 packets transmitted, 2 received, 0% loss, "
        "rtt min/avg/max = 0.000/0.000/0.000 ms",
    ]
    assert lan.near_lines == []


async def test_series_ends_with_its_summary_when_the_link_is_closed(autojump_clock: MockClock) -> None:
    lan = Lan("host://10.1.1.1/24", "host://10.1.1.2/24?ping=10.1.1.1&interval=0.5")
    async with trio.open_nursery() as nursery:
        await nursery.start(lan.run)
        await trio.sleep(10.25)
        lan.near.close()
        lan.far.close()

    assert len(lan.far_lines) == 22
    assert "21 packets transmitted, 21 received, 0% loss" in lan.far_lines[-1]


async def test_verbose_host_tells_what_it_sees(autojump_clock: MockClock) -> None:
    lan = Lan("host://10.1.1.1/24?verbose&mac=02:00:00:00:00:01", "host://10.1.1.2/24?mac=02:00:00:00:00:02")
    async with trio.open_nursery() as nursery:
        await nursery.start(lan.run)
        await lan.far.ping(ip_address("10.1.1.1"))
        nursery.cancel_scope.cancel()

    assert lan.near_lines == [
        "10.1.1.1: ARP announcement of 10.1.1.2 (02:00:00:00:00:02)",
        "10.1.1.1: ND fe80::ff:fe00:2 is-at 02:00:00:00:00:02",
        "10.1.1.1: ARP who-has 10.1.1.1 from 10.1.1.2 (02:00:00:00:00:02)",
        "10.1.1.1: learned 10.1.1.2 is at 02:00:00:00:00:02",
        "10.1.1.1: ping from 10.1.1.2: seq=1 size=64",
    ]
    assert lan.far_lines == []


async def test_address_conflict_is_always_reported(autojump_clock: MockClock) -> None:
    lan = Lan("host://10.1.1.1/24?mac=02:00:00:00:00:01", "host://10.1.1.1/24?mac=02:00:00:00:00:02")
    with trio.move_on_after(5):
        await lan.run()

    assert lan.near_lines == ["10.1.1.1: conflict: 02:00:00:00:00:02 uses our address 10.1.1.1"]
    assert lan.far_lines == ["10.1.1.1: conflict: 02:00:00:00:00:01 uses our address 10.1.1.1"]


async def test_reports_go_to_the_log_by_default(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    locator = parse("host://10.1.1.1/24?ping=192.0.2.1&count=1")
    assert isinstance(locator, HostLocator)
    with caplog.at_level(logging.INFO, "vport.links.host"), trio.move_on_after(1):
        await (await open_host(locator)).run(Record())

    assert caplog.messages == [
        "10.1.1.1: 192.0.2.1 is unreachable: seq=1, not on our network, and there is no gateway",
        "10.1.1.1: ping of 192.0.2.1: 1 packets transmitted, 0 received, 100% loss",
    ]


# --- as a link ---


async def test_open_host_describes_itself() -> None:
    locator = parse("host://10.1.1.2/24?address=fd00::2/64")
    assert isinstance(locator, HostLocator)

    with await open_host(locator) as link:
        assert (link.module, link.description) == ("host", "host 10.1.1.2/24")
        assert link.station == link.host.mac == derived_mac(locator.interface)

    assert host("host://10.1.1.2/24?mac=02:00:00:00:00:07").station == parse_mac("02:00:00:00:00:07")


async def test_impossible_address_is_refused_on_opening() -> None:
    locator = parse("host://224.0.0.1/24")
    assert isinstance(locator, HostLocator)

    with pytest.raises(SettingsError, match=r"224\.0\.0\.1/24"):
        await open_host(locator)


async def test_announcement_is_the_first_that_a_host_sends(lan: Lan) -> None:
    await wait_all_tasks_blocked()

    frames = lan.from_near.frames()
    assert frames[0][ARP].psrc == frames[0][ARP].pdst == "10.1.1.1"
    assert {frame.src for frame in frames} == {format_mac(lan.near.host.mac)}


async def test_answers_wait_for_run_and_come_as_one_train() -> None:
    link, sink = host("host://10.1.1.1/24"), Record()

    link.transmit(echo_requests(link, 5))
    link.flush()
    assert sink.trains == []
    with trio.move_on_after(0.05):
        await link.run(sink)

    assert (sink.trains[0].count, sink.trains[0].frame_size) == (5, 98)
    assert Ether(bytes(sink.trains[0].data[:98]))[ICMP].type == 0
    assert sink.flushed == len(sink.trains)


async def test_answers_do_not_keep_the_bytes_of_the_train() -> None:
    link, sink = host("host://10.1.1.1/24"), Record()
    train = echo_requests(link, 1)
    buffer = bytearray(train.data)

    link.transmit(Train(buffer, train.frame_size))
    buffer[:] = bytes(len(buffer))
    with trio.move_on_after(0.05):
        await link.run(sink)

    assert Ether(bytes(sink.trains[0].data))[ICMP].id == 7


async def test_queue_of_answers_is_bounded_and_overflow_is_counted() -> None:
    link, sink = host("host://10.1.1.1/24"), Record()
    for _ in range(200):
        link.transmit(echo_requests(link, 1, size=8000))
    with trio.move_on_after(0.2):
        await link.run(sink)

    delivered = sum(train.wire_bytes for train in sink.trains)
    assert MAX_QUEUED_BYTES - 9000 < delivered <= MAX_QUEUED_BYTES
    assert link.discards["queue full"] == 200 - MAX_QUEUED_BYTES // 8042


async def test_unfinished_superframe_is_finished_first() -> None:
    link, sink = host("host://10.1.1.1/24"), Record()
    request = bytearray(echo_requests(link, 1).data)
    # The kernel leaves the checksum of what follows to us: here the ICMP message, at 34, field at 2.
    request[36:38] = bytes(2)
    header = VirtioNetHeader(1, GsoType.NONE, 0, 0, 34, 2)

    link.transmit(Train(bytes(request), len(request), header))
    with trio.move_on_after(0.05):
        await link.run(sink)

    assert Ether(bytes(sink.trains[0].data))[ICMP].type == 0


async def test_lying_superframe_is_counted() -> None:
    link = host("host://10.1.1.1/24")

    link.transmit(Train(bytes(60), 60, VirtioNetHeader(1, GsoType.TCPV4, 54, 1400, 34, 16)))

    assert link.discards == {"malformed": 1}


async def test_cancelled_run_can_be_started_again() -> None:
    lan = Lan("host://10.1.1.1/24", "host://10.1.1.2/24")

    for _ in range(2):
        async with trio.open_nursery() as nursery:
            await nursery.start(lan.run)
            assert await lan.near.ping(ip_address("10.1.1.2")) > 0
            nursery.cancel_scope.cancel()


async def test_close_ends_run_and_may_be_repeated(autojump_clock: MockClock) -> None:
    link = host("host://10.1.1.1/24?ping=10.1.1.2")
    async with trio.open_nursery() as nursery:
        await nursery.start(link.run, Record())
        await trio.sleep(1)
        link.close()
        link.close()

    link.transmit(echo_requests(link, 3))
    assert link.discards == {"closed": 3}


async def test_hundred_hosts_on_a_hub_ping_each_other(autojump_clock: MockClock) -> None:
    links = [host(f"host://10.1.1.{number}/24") for number in range(1, 101)]

    class Hub:
        def __init__(self, ingress: HostLink) -> None:
            self.others = [link for link in links if link is not ingress]

        def deliver(self, train: Train) -> None:
            for link in self.others:
                link.transmit(train)

        def flush(self) -> None:
            pass

    async with trio.open_nursery() as nursery:
        for link in links:
            await nursery.start(link.run, Hub(link))
        for number, link in enumerate(links[:-1]):
            await link.ping(IPv4Address("10.1.1.2") + number)
        nursery.cancel_scope.cancel()

    assert all(len(link.host.resolution.neighbours) <= 2 for link in links)


async def test_garbage_does_not_stop_a_host(lan: Lan) -> None:
    for frame in (b"", b"\0", bytes(13), bytes(14), b"\xff" * 65535):
        lan.far.transmit(lone(frame))
    lan.far.transmit(Train(bytes(1000), 7))

    assert await lan.near.ping(ip_address("10.1.1.2")) > 0
