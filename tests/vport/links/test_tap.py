"""TAP devices in real namespaces."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import socket
import struct
import subprocess
import sys
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from tests.system.namespaces import inside, network_namespace, until_ping
from tests.system.requirements import require_program, require_tun
from vport.errors import LinkError
from vport.links.tap import TapLink, open_tap, superframe_limits
from vport.locator import TapLocator, parse
from vport.netns import namespace
from vport.offload import GsoType, TapOffload, plain
from vport.train import Train, lone

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from vport.links.base import Link

pytestmark = pytest.mark.system


@pytest.fixture(autouse=True)
def _requirements() -> None:
    require_tun()


@pytest.fixture
def left() -> Iterator[str]:
    with network_namespace() as name:
        yield name


@pytest.fixture
def right() -> Iterator[str]:
    with network_namespace() as name:
        yield name


async def tap(text: str, netns: str) -> TapLink:
    locator = parse(f"tap://{text}{'&' if '?' in text else '?'}netns={netns}")
    assert isinstance(locator, TapLocator)
    return await open_tap(locator)


class Collector:
    """A sink that keeps copies of what it gets and tells who waits."""

    def __init__(self) -> None:
        self.trains: list[Train] = []
        self.flushes = 0
        self._arrived = trio.Event()

    def deliver(self, train: Train) -> None:
        self.trains.append(train.copy())

    def flush(self) -> None:
        self.flushes += 1
        self._arrived.set()

    async def wait(self, predicate: object) -> list[Train]:
        """Wait until ``predicate(trains)`` holds."""
        assert callable(predicate)
        with trio.fail_after(5):
            while not predicate(self.trains):
                await self._arrived.wait()
                self._arrived = trio.Event()
        return self.trains


class Towards:
    """A sink that passes on to another link and counts the kinds of trains."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.superframes = 0
        self.counts: Counter[int] = Counter()

    def deliver(self, train: Train) -> None:
        self.superframes += train.offload is not None and train.offload.gso_type != GsoType.NONE
        self.counts[train.count] += 1
        self.link.transmit(train)

    def flush(self) -> None:
        self.link.flush()


@contextlib.asynccontextmanager
async def joined(one: TapLink, other: TapLink) -> AsyncIterator[tuple[Towards, Towards]]:
    """Run two links back to back."""
    ways = Towards(other), Towards(one)
    with one, other:
        async with trio.open_nursery() as nursery:
            await nursery.start(one.run, ways[0])
            await nursery.start(other.run, ways[1])
            yield ways
            nursery.cancel_scope.cancel()


def shown(netns: str, name: str) -> dict[str, object]:
    """Give what ``ip`` says about a device."""
    (device,) = json.loads(inside(netns, "ip", "-d", "-j", "address", "show", "dev", name))
    assert isinstance(device, dict)
    return device


def addresses(netns: str, name: str) -> set[str]:
    found = shown(netns, name)["addr_info"]
    assert isinstance(found, list)
    return {f"{one['local']}/{one['prefixlen']}" for one in found if one["scope"] == "global"}


def devices(netns: str) -> set[str]:
    return {device["ifname"] for device in json.loads(inside(netns, "ip", "-j", "link", "show"))}


# --- traffic ---


@pytest.mark.parametrize("offload", ["yes", "no"])
async def test_two_machines_ping_each_other_through_two_taps(left: str, right: str, offload: str) -> None:
    one = await tap(f"tap0?address=10.1.1.1/24&address=fd01::1/64&offload={offload}", left)
    other = await tap(f"tap0?address=10.1.1.2/24&address=fd01::2/64&offload={offload}&mtu=1400", right)

    async with joined(one, other):
        await until_ping(left, "10.1.1.2")
        await until_ping(left, "fd01::2")
        await until_ping(right, "10.1.1.1", "-s", "1300")

    assert (one.discards, other.discards) == (Counter(), Counter())


async def send_by_tcp(left: str, right: str, address: str, size: int) -> None:
    """Send ``size`` bytes from a socket in ``left`` to one in ``right`` that listens on ``address``."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with namespace(left):
        caller = trio.socket.socket(family)
    with namespace(right):
        listener = trio.socket.socket(family)
    with caller, listener, trio.fail_after(10):
        await listener.bind((address, 5001))
        listener.listen()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_connect_and_send, caller, address, size)
            accepted, _ = await listener.accept()
            with accepted:
                got = 0
                while data := await accepted.recv(1 << 20):
                    got += len(data)
    assert got == size


async def _connect_and_send(caller: trio.socket.SocketType, address: str, size: int) -> None:
    await caller.connect((address, 5001))
    stream = trio.SocketStream(caller)
    await stream.send_all(bytes(size))
    await stream.send_eof()


@pytest.mark.parametrize("address", ["10.1.1.2", "fd01::2"])
async def test_superframes_pass_from_tap_to_tap_without_being_cut(
    left: str, right: str, address: str
) -> None:
    one = await tap("tap0?address=10.1.1.1/24&address=fd01::1/64&mtu=1400", left)
    other = await tap("tap0?address=10.1.1.2/24&address=fd01::2/64&mtu=1400", right)

    async with joined(one, other) as (there, _):
        await until_ping(left, address)
        there.counts.clear()
        await send_by_tcp(left, right, address, 8_000_000)
        received = json.loads(inside(right, "ip", "-s", "-j", "link", "show", "dev", "tap0"))

    assert there.superframes > 0
    assert max(there.counts) * (14 + 1400) <= 65507  # one UDP_SEGMENT send
    assert max(there.counts) >= 40
    packets = received[0]["stats64"]["rx"]["packets"]
    assert packets < 8_000_000 / 1400 / 4, "superframes arrived whole"
    assert (one.discards, other.discards) == (Counter(), Counter())


async def test_tcp_passes_without_offloads(left: str, right: str) -> None:
    one = await tap("tap0?address=10.1.1.1/24&offload=no", left)
    other = await tap("tap0?address=10.1.1.2/24&offload=no", right)

    async with joined(one, other) as (there, back):
        await until_ping(left, "10.1.1.2")
        await send_by_tcp(left, right, "10.1.1.2", 2_000_000)

    assert (there.superframes, back.superframes) == (0, 0)


@pytest.mark.parametrize(("here", "there"), [("yes", "no"), ("no", "yes")])
async def test_tcp_passes_between_a_tap_with_and_one_without_offloads(
    left: str, right: str, here: str, there: str
) -> None:
    one = await tap(f"tap0?address=10.1.1.1/24&offload={here}", left)
    other = await tap(f"tap0?address=10.1.1.2/24&offload={there}", right)

    async with joined(one, other):
        await until_ping(left, "10.1.1.2")
        await send_by_tcp(left, right, "10.1.1.2", 2_000_000)

    assert (one.discards, other.discards) == (Counter(), Counter())


async def test_iperf3_runs_through_two_taps(left: str, right: str) -> None:
    require_program("iperf3")
    one = await tap("tap0?address=10.1.1.1/24&mtu=1400", left)
    other = await tap("tap0?address=10.1.1.2/24&mtu=1400", right)

    async with joined(one, other), trio.open_nursery() as nursery:
        await until_ping(left, "10.1.1.2")
        serve = ["ip", "netns", "exec", right, "iperf3", "-s", "-1", "--forceflush"]
        server: trio.Process = await nursery.start(partial(trio.run_process, serve, stdout=subprocess.PIPE))
        assert server.stdout is not None
        async with server.stdout:
            while b"listening" not in await server.stdout.receive_some():
                pass
            call = ["ip", "netns", "exec", left, "iperf3", "-c", "10.1.1.2", "-t", "1", "-J"]
            with trio.fail_after(15):
                report = json.loads((await trio.run_process(call, capture_stdout=True)).stdout)
            while await server.stdout.receive_some():
                pass

    assert report["end"]["sum_received"]["bits_per_second"] > 100e6


# --- trains ---


@contextlib.contextmanager
def udp_socket(netns: str) -> Iterator[socket.socket]:
    with namespace(netns), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        yield sock


async def quiet_tap(netns: str, offload: str) -> TapLink:
    """Open a TAP that says nothing of its own accord, with a neighbour to send to."""
    inside(netns, "sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1")
    link = await tap(f"tap0?address=10.1.1.1/24&mac=02:00:00:00:00:01&offload={offload}", netns)
    neighbour = ("10.1.1.2", "lladdr", "02:00:00:00:00:02", "dev", "tap0")
    inside(netns, "ip", "neigh", "add", *neighbour)
    return link


@contextlib.asynccontextmanager
async def collecting(link: TapLink) -> AsyncIterator[Collector]:
    sink = Collector()
    async with trio.open_nursery() as nursery:
        await nursery.start(link.run, sink)
        yield sink
        nursery.cancel_scope.cancel()


def frames_of(train: Train) -> list[bytes]:
    return [bytes(frame) for frame in plain(train).frames()]


@pytest.mark.parametrize("offload", ["yes", "no"])
async def test_burst_of_equal_datagrams_is_one_train_with_good_checksums(left: str, offload: str) -> None:
    with await quiet_tap(left, offload) as link, udp_socket(left) as sock:
        payloads = [index.to_bytes(2, "big") * 32 for index in range(100)]
        for payload in payloads:
            sock.sendto(payload, ("10.1.1.2", 9))

        async with collecting(link) as sink:
            (train,) = await sink.wait(lambda trains: sum(one.count for one in trains) == 100)

    assert (train.count, train.frame_size, train.offload) == (100, 106, None)
    assert [frame[42:] for frame in frames_of(train)] == payloads
    assert_good_checksums(train)


@pytest.mark.parametrize("offload", ["yes", "no"])
async def test_frames_of_other_sizes_begin_new_trains_and_a_shorter_one_ends_its_train(
    left: str, offload: str
) -> None:
    sizes = [64, 64, 10, 64, 64, 64, 100, 100]
    with await quiet_tap(left, offload) as link, udp_socket(left) as sock:
        for size in sizes:
            sock.sendto(bytes(size), ("10.1.1.2", 9))

        async with collecting(link) as sink:
            trains = await sink.wait(lambda trains: sum(one.count for one in trains) == len(sizes))

    assert [train.count for train in trains] == [3, 3, 2]
    assert [len(frame) - 42 for train in trains for frame in frames_of(train)] == sizes
    for train in trains:
        assert_good_checksums(train)


async def test_lone_frame_keeps_its_unfinished_checksum_described(left: str) -> None:
    with await quiet_tap(left, "yes") as link, udp_socket(left) as sock:
        sock.sendto(bytes(64), ("10.1.1.2", 9))

        async with collecting(link) as sink:
            (train,) = await sink.wait(lambda trains: trains)

    assert train.offload is not None
    assert (train.offload.gso_type, train.offload.csum_start, train.offload.csum_offset) == (0, 34, 6)
    assert (train.count, train.wire_bytes) == (1, 106)
    assert_good_checksums(train)


async def test_turn_is_bounded_and_every_turn_is_flushed(left: str) -> None:
    with await quiet_tap(left, "no") as link, udp_socket(left) as sock:
        for _ in range(600):
            sock.sendto(bytes(64), ("10.1.1.2", 9))

        async with collecting(link) as sink:
            trains = await sink.wait(lambda trains: sum(one.count for one in trains) == 600)

    assert [train.count for train in trains] == [256, 256, 88]
    assert sink.flushes == 3


def assert_good_checksums(train: Train) -> None:
    """Let scapy compute the checksums of every frame anew."""
    for frame in frames_of(train):
        again = Ether(frame)
        del again[UDP].chksum
        del again[IP].chksum
        assert bytes(again) == frame


def datagrams(payloads: list[bytes]) -> bytes:
    """Give frames to 10.1.1.1 port 5002 back to back."""
    return b"".join(
        bytes(
            Ether(dst="02:00:00:00:00:01", src="02:00:00:00:00:02")
            / IP(src="10.1.1.2", dst="10.1.1.1", id=0, flags="DF")
            / UDP(sport=9, dport=5002)
            / payload
        )
        for payload in payloads
    )


@pytest.mark.parametrize("offload", ["yes", "no"])
@pytest.mark.parametrize("last", [64, 5])
async def test_train_to_the_device_arrives_as_its_datagrams(left: str, offload: str, last: int) -> None:
    payloads = [bytes([index]) * 64 for index in range(40)] + [bytes(last)]
    with await quiet_tap(left, offload) as link, udp_socket(left) as sock:
        sock.bind(("10.1.1.1", 5002))
        sock.settimeout(5)

        link.transmit(Train(datagrams(payloads), 106))
        link.flush()

        assert [sock.recv(2000) for _ in payloads] == payloads
    assert link.discards == Counter()


async def test_joined_train_reaches_the_device_in_few_writes(left: str) -> None:
    payloads = [bytes([index]) * 64 for index in range(40)]
    with await quiet_tap(left, "yes") as link:
        if not link.features & TapOffload.USO4:
            pytest.skip("this kernel has no UDP segmentation on TAP (Linux 6.2)")
        link.transmit(Train(datagrams(payloads), 106))
        link.flush()
        (device,) = json.loads(inside(left, "ip", "-s", "-j", "link", "show", "dev", "tap0"))

    assert device["stats64"]["rx"]["packets"] == 1


# --- what cannot be sent ---


async def test_frame_shorter_than_its_header_is_discarded(left: str) -> None:
    with await tap("tap0", left) as link:
        link.transmit(lone(bytes(13)))
        link.transmit(Train(bytes(2 * 60 + 3), 60))
        link.flush()

    assert link.discards == Counter({"undersized": 2})


async def test_device_set_down_discards_and_runs_on(left: str) -> None:
    with await quiet_tap(left, "yes") as link:
        async with collecting(link) as sink:
            inside(left, "ip", "link", "set", "tap0", "down")
            link.transmit(Train(datagrams([bytes(64)] * 3), 106))
            link.flush()
            assert link.discards == Counter({"device-down": 3})

            inside(left, "ip", "link", "set", "tap0", "up")
            inside(left, "ip", "neigh", "replace", "10.1.1.2", "lladdr", "02:00:00:00:00:02", "dev", "tap0")
            with udp_socket(left) as sock:
                sock.sendto(bytes(64), ("10.1.1.2", 9))
            await sink.wait(lambda trains: trains)


async def test_deleted_device_ends_the_run_with_its_name(left: str) -> None:
    link = await tap("tap0", left)
    with link, pytest.RaisesGroup(pytest.RaisesExc(LinkError, match="tap0 was deleted")):
        async with collecting(link):
            inside(left, "ip", "link", "delete", "tap0")
            with trio.fail_after(5):
                await trio.sleep_forever()

    link.transmit(lone(bytes(60)))
    link.flush()
    assert link.discards == Counter({"closed": 1})


async def test_close_ends_the_run_and_is_idempotent(left: str) -> None:
    link = await tap("tap0", left)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            await nursery.start(link.run, Collector())
            await trio.testing.wait_all_tasks_blocked()
            link.close()
    link.close()


# --- settings ---


async def test_options_set_up_the_device(left: str) -> None:
    inside(left, "ip", "link", "add", "br0", "type", "bridge")
    text = "tap0?mtu=1400&mac=02:00:00:00:00:07&address=10.1.1.1/24&address=fd01::1/64&bridge=br0"
    with await tap(text, left) as link:
        device = shown(left, "tap0")

        assert (link.description, link.module) == ("tap0 (mtu 1400)", "tuntap")
        assert link.station == bytes.fromhex("020000000007")
        assert (device["mtu"], device["address"], device["master"]) == (1400, "02:00:00:00:00:07", "br0")
        assert "UP" in device["flags"]  # type: ignore[operator]
        assert addresses(left, "tap0") == {"10.1.1.1/24", "fd01::1/64"}
        assert (device["gso_max_size"], device["gso_max_segs"]) == superframe_limits(1400)
    assert "tap0" not in devices(left)


async def test_up_no_leaves_the_device_down(left: str) -> None:
    with await tap("tap0?up=no", left):
        assert "UP" not in shown(left, "tap0")["flags"]  # type: ignore[operator]


async def test_name_may_be_a_pattern(left: str) -> None:
    with await tap("lan%25d", left) as one, await tap("lan%25d", left) as other:
        assert (one.name, other.name) == ("lan0", "lan1")
        assert one.description == "lan0 (mtu 1500)"


async def test_persistent_device_stays_and_loses_its_offloads(left: str) -> None:
    inside(left, "ip", "tuntap", "add", "dev", "tap0", "mode", "tap")
    with await tap("tap0?mtu=1400", left):
        assert segments_tcp(left, "tap0")

    assert "tap0" in devices(left)
    assert not segments_tcp(left, "tap0"), "its next user may not know superframes"


def segments_tcp(netns: str, name: str) -> bool:
    """Whether the device takes TCP superframes (ETHTOOL_GTSO, linux/ethtool.h)."""
    value = ctypes.create_string_buffer(struct.pack("II", 0x1E, 0))
    request = struct.pack("16sP16x", name.encode(), ctypes.addressof(value))
    with udp_socket(netns) as sock:
        fcntl.ioctl(sock, 0x8946, request)  # SIOCETHTOOL
    return bool(struct.unpack("II", value.raw[:8])[1])


async def test_persistent_device_that_other_programs_used_differently_is_opened(left: str) -> None:
    inside(left, "ip", "tuntap", "add", "dev", "tap0", "mode", "tap", "vnet_hdr", "multi_queue")

    with await tap("tap0", left) as link:
        assert link.features


# --- errors: each says what was wrong and what would be right ---


async def refusal(text: str, netns: str) -> str:
    """Open a TAP that cannot be had and give the message; whatever was there is as it was."""
    before = state(netns)
    with pytest.raises(LinkError) as caught:
        (await tap(text, netns)).close()
    assert state(netns) == before
    return str(caught.value)


def state(netns: str) -> str:
    """Give all devices and addresses; the header flag is set anew by every program that opens a TAP."""
    return inside(netns, "ip", "-d", "address", "show").replace("vnet_hdr on", "vnet_hdr off")


async def test_name_of_another_kind_of_device_is_refused(left: str) -> None:
    inside(left, "ip", "link", "add", "eth7", "type", "veth", "peer", "eth8")
    inside(left, "ip", "tuntap", "add", "dev", "tun7", "mode", "tun")

    assert "eth7 is in use: it is a veth device, not a TAP; choose another" in await refusal("eth7", left)
    assert "tun7 is in use: it is a TUN device, not a TAP; choose another" in await refusal("tun7", left)
    assert "lo is in use: it is a hardware device, not a TAP" in await refusal("lo", left)


async def test_device_open_elsewhere_is_refused_as_busy(left: str) -> None:
    with await tap("tap0", left):
        assert "tap0 is busy: another process has it open" in await refusal("tap0", left)


async def test_missing_bridge_is_refused_and_the_new_device_removed(left: str) -> None:
    message = await refusal("tap0?mtu=1400&bridge=br7", left)

    assert message == "there is no bridge br7; make it with: sudo ip link add br7 type bridge"


async def test_bridge_that_is_none_is_refused(left: str) -> None:
    inside(left, "ip", "link", "add", "eth7", "type", "veth", "peer", "eth8")

    assert await refusal("tap0?bridge=eth7", left) == "eth7 is not a bridge but veth (see: bridge link)"


async def test_missing_namespace_is_refused() -> None:
    with pytest.raises(LinkError, match=r"no network namespace tapw-none .*sudo ip netns add tapw-none"):
        await tap("tap0", "tapw-none")


async def test_refused_address_removes_the_new_device(left: str) -> None:
    message = await refusal("tap0?address=10.1.1.1/24&address=ff02::7/64", left)

    assert message.startswith("cannot add address ff02::7/64 on tap0: ")
    assert "ip address add ff02::7/64 dev tap0" in message


async def test_ipv6_address_on_a_device_with_a_small_mtu_is_explained(left: str) -> None:
    message = await refusal("tap0?mtu=1000&address=fd01::1/64", left)

    assert message == "tap0: address fd01::1/64 refused: IPv6 needs an MTU of at least 1280, tap0 has 1000"


async def test_ipv6_address_where_ipv6_is_disabled_is_explained(left: str) -> None:
    inside(left, "sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1")

    message = await refusal("tap0?address=fd01::1/64", left)

    assert "IPv6 is disabled on tap0" in message
    assert "sudo sysctl -w net.ipv6.conf.tap0.disable_ipv6=0" in message


async def test_failure_half_way_leaves_a_persistent_device_as_it_was(left: str) -> None:
    inside(left, "ip", "tuntap", "add", "dev", "tap0", "mode", "tap")

    text = "tap0?mtu=1400&mac=02:00:00:00:00:07&address=10.1.1.1/24&bridge=br7"

    assert "there is no bridge br7" in await refusal(text, left)


# --- without privilege ---

# Runs in a process of its own, which gives its privileges up once all modules are loaded.
_ATTEMPT = """
import os, sys, trio
from vport.errors import LinkError
from vport.links.tap import open_tap
from vport.locator import parse
from vport.netdev import in_namespace

async def attempt():
    await in_namespace(None, lambda kernel: kernel.find("lo"))
    os.setgroups([]); os.setresgid(uid, uid, uid); os.setresuid(uid, uid, uid)
    try:
        with await open_tap(parse(sys.argv[1])) as link:
            print("opened", link.description)
    except LinkError as error:
        print(error)

uid = int(sys.argv[2])
trio.run(attempt)
"""


async def attempt(text: str, netns: str, *, uid: int = 65534, mode: str = "666") -> str:
    """Open a TAP as another user and give what came of it; ``mode`` is that of the device node."""
    return await with_device_node(f"mknod -m {mode} /dev/net/tun c 10 200", netns, f"tap://{text}", str(uid))


async def with_device_node(make: str, netns: str, *arguments: str) -> str:
    """Run the attempt where /dev/net is a folder of its own, with what ``make`` puts into it."""
    script = f'mount -t tmpfs none /dev/net && {make} && exec "$@"'
    isolated = ["ip", "netns", "exec", netns, "unshare", "--mount", "sh", "-c", script, "sh"]
    python = [sys.executable, "-W", "error", "-c", _ATTEMPT]
    with trio.fail_after(20):
        done = await trio.run_process([*isolated, *python, *arguments], capture_stdout=True)
    return done.stdout.decode().strip()


async def test_making_a_device_without_privilege_says_how_to_get_it(left: str) -> None:
    assert await attempt("tap0", left) == (
        "no permission to open tap0: run with sudo, or make it once for this user: "
        "sudo ip tuntap add dev tap0 mode tap user $USER"
    )


async def test_closed_device_node_is_explained(left: str) -> None:
    inside(left, "ip", "tuntap", "add", "dev", "tap0", "mode", "tap", "user", "65534")

    assert await attempt("tap0", left, mode="600") == (
        "no permission to open /dev/net/tun: run with sudo, or open it to all users, "
        "as most systems have it: sudo chmod 666 /dev/net/tun"
    )


async def test_device_of_another_user_is_refused_with_the_owner(left: str) -> None:
    inside(left, "ip", "tuntap", "add", "dev", "tap0", "mode", "tap", "user", "65533")

    assert "it belongs to user 65533; run with sudo" in await attempt("tap0", left)


async def test_own_persistent_device_that_is_right_needs_no_privilege(left: str) -> None:
    inside(left, "ip", "tuntap", "add", "dev", "tap0", "mode", "tap", "user", "65534")
    inside(left, "ip", "link", "set", "tap0", "mtu", "1400", "up")
    inside(left, "ip", "address", "add", "10.1.1.1/24", "dev", "tap0")

    assert await attempt("tap0?mtu=1400&address=10.1.1.1/24", left) == "opened tap0 (mtu 1400)"


async def test_own_persistent_device_that_is_not_right_says_the_command(left: str) -> None:
    inside(left, "ip", "tuntap", "add", "dev", "tap0", "mode", "tap", "user", "65534")

    assert await attempt("tap0?mtu=1400", left) == (
        "cannot set the MTU of tap0 to 1400: that needs privilege; "
        "run with sudo, or once: sudo ip link set dev tap0 mtu 1400"
    )
    assert "sudo ip address add 10.1.1.1/24 dev tap0" in await attempt("tap0?address=10.1.1.1/24", left)


async def test_entering_a_namespace_without_privilege_says_so(left: str, right: str) -> None:
    assert await attempt(f"tap0?netns={right}", left) == (
        f"cannot enter network namespace {right}: that needs privilege; run with sudo"
    )


async def test_missing_device_node_is_explained(left: str) -> None:
    assert await with_device_node("true", left, "tap://tap0", "0") == (
        "cannot open tap0: /dev/net/tun is not there; load its module (sudo modprobe tun), "
        "or give it to the container (--device /dev/net/tun --cap-add NET_ADMIN)"
    )


@pytest.mark.parametrize("mtu", [576, 1280, 1400, 1500, 9000, 65521])
def test_superframe_of_full_segments_fits_one_send(mtu: int) -> None:
    size, segments = superframe_limits(mtu)

    for reserve in (256, 320, 384):  # MAX_TCP_HEADER of different kernels
        for headers in (40, 52, 60, 72):  # of IP and TCP
            full = min(segments, max(1, (size - reserve - 1) // (mtu - headers)))
            assert full * (14 + mtu) <= 65487 or full == 1
