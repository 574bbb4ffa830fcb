"""libslirp as a link: what its frames and sockets do, in this process; no namespaces."""

from __future__ import annotations

import gc
import os
import socket
import sys
from typing import TYPE_CHECKING, Any

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6ND_RA, ICMPv6ND_RS, IPv6
from scapy.layers.l2 import ARP, Ether

from tests.system.lan_parts import require_slirp
from tests.vport.links.wire import Wire
from vport.errors import LinkError, SettingsError
from vport.forwards import HostEnd, HostForward
from vport.libslirp import load, version
from vport.links import open_link
from vport.links.slirp import SlirpLink, _runs, begins_flow
from vport.locator import SlirpLocator, parse
from vport.offload import GsoType, VirtioNetHeader, VnetFlag
from vport.slirp_stack import MAX_QUEUED_BYTES
from vport.train import Train, lone

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STATION = "02:00:00:00:00:09"
ROUTER = "52:55:0a:00:02:02"
TO_ROUTER = Ether(src=STATION, dst=ROUTER)


@pytest.fixture(autouse=True)
def library() -> None:
    require_slirp()


def locator(query: str = "") -> SlirpLocator:
    made = parse(f"slirp://10.0.2.0/24?{query}")
    assert isinstance(made, SlirpLocator)
    return made


@pytest.fixture
def link() -> Iterator[SlirpLink]:
    """Give a network whose clock runs, outside of any task of its own."""

    async def make() -> SlirpLink:
        return SlirpLink(locator())

    made = trio.run(make)
    made._stack._clock = lambda: 1000.0
    yield made
    made._stack.close()
    made._relays.close()
    made._epoll.close()


def send(link: SlirpLink, *packets: Any) -> None:
    for packet in packets:
        link.transmit(lone(bytes(packet)))


async def test_dhcp_arp_and_ping_are_answered(nursery: trio.Nursery) -> None:
    wire = Wire()
    with await open_link("slirp://10.0.2.0/24?domain=lan.test") as link:
        await nursery.start(link.run, wire)
        discover = BOOTP(chaddr=bytes.fromhex(STATION.replace(":", "")), xid=7) / DHCP(
            options=[("message-type", "discover"), "end"]
        )
        everybody = Ether(src=STATION, dst="ff:ff:ff:ff:ff:ff")
        assert isinstance(link, SlirpLink)

        send(link, everybody / IP(src="0.0.0.0", dst="255.255.255.255") / UDP(sport=68, dport=67) / discover)
        assert (await wire.until(BOOTP))[BOOTP].yiaddr == "10.0.2.15"
        send(link, everybody / ARP(hwsrc=STATION, psrc="10.0.2.15", pdst="10.0.2.2"))
        assert (await wire.until(ARP)).src == ROUTER
        assert link.station == bytes.fromhex(ROUTER.replace(":", ""))
        send(link, TO_ROUTER / IP(src="10.0.2.15", dst="10.0.2.2") / ICMP(id=1))
        assert (await wire.until(ICMP))[ICMP].type == 0


async def test_router_is_advertised_to_who_asks(nursery: trio.Nursery) -> None:
    wire = Wire()
    with await open_link("slirp://10.0.2.0/24?ipv6=fd77::/64") as link:
        await nursery.start(link.run, wire)
        solicitation = IPv6(src="fe80::ff:fe00:9", dst="ff02::2", hlim=255) / ICMPv6ND_RS()
        send(link, Ether(src=STATION, dst="33:33:00:00:00:02") / solicitation)

        advertisement = await wire.until(ICMPv6ND_RA)

    assert advertisement.getlayer("ICMPv6NDOptPrefixInfo").prefix == "fd77::"
    assert advertisement.getlayer("ICMPv6NDOptPrefixInfo").prefixlen == 64


async def test_udp_of_a_station_reaches_a_socket_of_the_machine(nursery: trio.Nursery) -> None:
    wire = Wire()
    with (
        await open_link("slirp://10.0.2.0/24?loopback") as link,
        trio.socket.socket(type=trio.socket.SOCK_DGRAM) as sock,
    ):
        await sock.bind(("127.0.0.1", 0))
        await nursery.start(link.run, wire)
        assert isinstance(link, SlirpLink)
        everybody = Ether(src=STATION, dst="ff:ff:ff:ff:ff:ff")
        send(link, everybody / ARP(hwsrc=STATION, psrc="10.0.2.15", pdst="10.0.2.2"))
        port = sock.getsockname()[1]
        send(link, TO_ROUTER / IP(src="10.0.2.15", dst="10.0.2.2") / UDP(sport=4000, dport=port) / b"hello")
        with trio.fail_after(5):
            data, peer = await sock.recvfrom(100)
            await sock.sendto(b"back", peer)

        answer = await wire.until(UDP)

    assert data == b"hello"
    assert bytes(answer[UDP].payload).rstrip(b"\0") == b"back"
    assert (answer[IP].src, answer[UDP].dport) == ("10.0.2.2", 4000)


async def test_closing_wakes_the_task_and_gives_every_descriptor_back(nursery: trio.Nursery) -> None:
    gc.collect()
    before = set(os.listdir("/proc/self/fd"))
    link = await open_link(
        "slirp://10.0.2.0/24?hostfwd=tcp:127.0.0.1:0-:22".replace(":0-", f":{free_port()}-")
    )
    ended = trio.Event()

    async def run() -> None:
        await link.run(Wire())
        ended.set()

    nursery.start_soon(run)
    await trio.testing.wait_all_tasks_blocked()
    link.close()
    link.close()

    with trio.fail_after(5):
        await ended.wait()
    link.transmit(lone(bytes(60)))
    assert link.discards["closed"] == 1
    assert set(os.listdir("/proc/self/fd")) <= before


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def test_forwards_are_added_and_removed(nursery: trio.Nursery) -> None:
    link = SlirpLink(locator())
    with link:
        await nursery.start(link.run, Wire())
        port = free_port()
        forward = HostForward.read(f"tcp:127.0.0.1:{port}-:22")
        link.add_forward(forward)
        with pytest.raises(SettingsError, match="is forwarded already"):
            link.add_forward(forward)
        (await trio.open_tcp_stream("127.0.0.1", port)).socket.close()

        link.remove_forward(HostEnd.read(f"tcp:127.0.0.1:{port}"))

        with pytest.raises(OSError, match="all attempts to connect"):
            await trio.open_tcp_stream("127.0.0.1", port)
        with pytest.raises(SettingsError, match="is not forwarded"):
            link.remove_forward(forward.host)


async def test_taken_port_is_an_error_that_names_the_reason() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        with pytest.raises(LinkError, match=f"tcp:127.0.0.1:{port}-:22: Address already in use"):
            await open_link(f"slirp://?hostfwd=tcp:127.0.0.1:{port}-:22")


async def test_connections_at_forwarded_addresses_reach_a_unix_socket(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    path = tmp_path / "target.sock"
    listener = trio.socket.socket(trio.socket.AF_UNIX)
    with listener, SlirpLink(locator(f"guestfwd=tcp:10.0.2.100:80-unix:{path}")) as link:
        await listener.bind(str(path))
        listener.listen()
        wire = Wire()
        await nursery.start(link.run, wire)

        await connect(link, wire, 4000)

        with trio.fail_after(5):
            connection, _ = await listener.accept()
        connection.close()


async def connect(link: SlirpLink, wire: Wire, port: int) -> None:
    """Do the handshake of a TCP connection to 10.0.2.100, port 80."""
    announcement = ARP(hwsrc=STATION, psrc="10.0.2.15", pdst="10.0.2.2")
    send(link, Ether(src=STATION, dst="ff:ff:ff:ff:ff:ff") / announcement)
    ip = TO_ROUTER / IP(src="10.0.2.15", dst="10.0.2.100")
    send(link, ip / TCP(sport=port, dport=80, flags="S", seq=1))
    answer = (await wire.until(TCP))[TCP]
    wire.trains.clear()
    send(link, ip / TCP(sport=port, dport=80, flags="A", seq=2, ack=answer.seq + 1))


async def test_stuck_target_holds_nothing_up(nursery: trio.Nursery, tmp_path: Path) -> None:
    """The target listens and never accepts, with a queue of one; libslirp itself would wait for it."""
    path = tmp_path / "stuck.sock"
    with socket.socket(socket.AF_UNIX) as stuck:
        stuck.bind(str(path))
        stuck.listen(0)
        with SlirpLink(locator(f"guestfwd=tcp:10.0.2.100:80-unix:{path}")) as link:
            wire = Wire()
            await nursery.start(link.run, wire)

            with trio.fail_after(10):
                for port in range(1000, 1020):
                    await connect(link, wire, port)


async def test_half_open_connections_at_forwarded_addresses_are_bounded(tmp_path: Path) -> None:
    with SlirpLink(locator(f"guestfwd=tcp:10.0.2.100:80-unix:{tmp_path}/x")) as link:
        for port in range(1000, 2000):
            syn = TCP(sport=port, dport=80, flags="S")
            send(link, TO_ROUTER / IP(src="10.0.2.15", dst="10.0.2.100") / syn)

        assert link.discards["too many flows"] > 300


def test_missing_library_is_told_with_its_package() -> None:
    with pytest.raises(LinkError, match="apt install libslirp0"):
        load("libslirp-that-is-not-there.so.0")


def test_version_is_new_enough() -> None:
    assert version().startswith("4.")


def test_error_in_a_callback_is_a_bug_that_is_not_lost(
    link: SlirpLink, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken() -> float:
        raise ZeroDivisionError

    link._stack._clock = broken

    with pytest.raises(ZeroDivisionError):
        link._stack.wanted()
    assert capfd.readouterr().err == ""


def test_frames_nobody_takes_are_bounded_and_counted(link: SlirpLink) -> None:
    ping = bytes(TO_ROUTER / IP(src="10.0.2.15", dst="10.0.2.2") / ICMP() / bytes(1400))
    send(
        link,
        Ether(src=STATION, dst="ff:ff:ff:ff:ff:ff") / ARP(hwsrc=STATION, psrc="10.0.2.15", pdst="10.0.2.2"),
    )

    link.transmit(Train(ping * 900, len(ping)))

    frames, _ = link._stack.take_frames()
    assert len(frames) <= MAX_QUEUED_BYTES
    assert link.discards["queue full"] > 100


async def test_flows_beyond_the_bound_are_refused() -> None:
    with SlirpLink(locator("sockets=8")) as link:
        for port in range(2000, 2100):
            send(link, TO_ROUTER / IP(src="10.0.2.15", dst="192.0.2.1") / UDP(sport=port, dport=9) / b"x")

        assert link._stack.sockets == 8
        assert link.discards["too many flows"] == 92


def test_tcp_superframe_goes_in_whole(link: SlirpLink) -> None:
    segment = (
        TO_ROUTER / IP(src="10.0.2.15", dst="192.0.2.1") / TCP(sport=1, dport=2, flags="A") / bytes(4000)
    )
    seen: list[tuple[bytes, int]] = []
    link._stack.input = lambda data, size: seen.append((bytes(data), size))  # type: ignore[method-assign]
    finished = bytes(segment)
    unfinished = bytearray(finished)
    # What a kernel leaves in the field is the sum over the pseudo header alone.
    pseudo = bytes((10, 0, 2, 15, 192, 0, 2, 1)) + (6).to_bytes(2, "big") + (4020).to_bytes(2, "big")
    total = sum(int.from_bytes(pseudo[at : at + 2], "big") for at in range(0, 12, 2))
    unfinished[50:52] = (total % 0xFFFF).to_bytes(2, "big")
    header = VirtioNetHeader(VnetFlag.NEEDS_CSUM, GsoType.TCPV4, 54, 1000, 34, 16)

    link.transmit(Train(bytes(unfinished), 1054, header))

    assert seen == [(finished, len(finished))]


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        (IP(dst="192.0.2.1") / TCP(flags="S"), True),
        (IP(dst="192.0.2.1") / TCP(flags="SA"), False),
        (IP(dst="192.0.2.1") / TCP(flags="A"), False),
        (IP(dst="192.0.2.1") / UDP() / b"x", True),
        (IP(dst="192.0.2.1") / ICMP(), True),
        (IPv6(dst="2001:db8::1") / TCP(flags="S"), True),
        (IPv6(dst="2001:db8::1") / TCP(flags="A"), False),
        (ARP(), False),
    ],
)
def test_beginnings_of_flows_are_told_apart(packet: Any, expected: bool) -> None:
    assert begins_flow(bytes(Ether(src=STATION, dst=ROUTER) / packet).ljust(60, b"\0")) is expected


@pytest.mark.parametrize(
    ("sizes", "runs"),
    [
        ([], []),
        ([100], [(100, 100)]),
        ([100, 100, 60], [(100, 260)]),
        ([100, 60, 60], [(100, 160), (60, 220)]),
        ([60, 100, 100], [(60, 60), (100, 260)]),
        ([100, 60, 100], [(100, 160), (100, 260)]),
    ],
)
def test_frames_of_one_size_are_one_train(sizes: list[int], runs: list[tuple[int, int]]) -> None:
    assert _runs(sizes) == runs


@given(st.lists(st.sampled_from([60, 100, 1514]), max_size=20))
def test_runs_cover_every_frame_once(sizes: list[int]) -> None:
    start, found = 0, []
    for size, end in _runs(sizes):
        while start < end:
            found.append(min(size, end - start))
            start += size
        start = end
    assert found == sizes


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=200),
            st.binary(max_size=100).map(lambda tail: bytes(TO_ROUTER)[:12] + b"\x08\x00" + tail),
            st.binary(max_size=100).map(lambda tail: bytes(TO_ROUTER)[:12] + b"\x86\xdd" + tail),
            st.tuples(st.integers(0, 90), st.binary(min_size=1, max_size=4)).map(
                lambda change: mangled(change[0], change[1])
            ),
        ),
        max_size=10,
    )
)
def test_any_frames_are_survived(link: SlirpLink, frames: list[bytes]) -> None:
    for frame in frames:
        link._stack.input(frame, max(1, len(frame))) if frame else None
    link._stack.wanted()
    link._stack.ready({})
    link._stack.take_frames()


def mangled(at: int, what: bytes) -> bytes:
    data = bytearray(
        bytes(
            TO_ROUTER
            / IP(src="10.0.2.15", dst="10.0.2.2")
            / UDP(sport=68, dport=67)
            / BOOTP()
            / DHCP(options=[("message-type", 1)])
        )
    )
    data[at : at + len(what)] = what
    return bytes(data)


def test_importing_the_links_does_not_load_cffi() -> None:
    import subprocess

    code = (
        "import sys, vport.links.slirp, vswitch.management.menus; print({'cffi', 'dns'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
