"""The kernel's side of devices, in namespaces of their own."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, TypeVar

import pytest
import trio

from tests.system.namespaces import inside, network_namespace
from tests.system.requirements import require_root
from vport.errors import LinkError
from vport.ethernet import BROADCAST, parse_mac
from vport.netdev import Kernel, in_namespace
from vport.netns import namespace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

pytestmark = pytest.mark.system

V4 = ipaddress.ip_interface("10.1.1.1/24")
V6 = ipaddress.ip_interface("fd01::1/64")


@pytest.fixture
def netns() -> Iterator[str]:
    """A namespace with a pair of devices, ``one`` and ``two``."""
    require_root()
    with network_namespace() as name:
        inside(name, "ip", "link", "add", "one", "type", "veth", "peer", "two")
        yield name


async def do(netns: str, function: Callable[[Kernel], T]) -> T:
    return await in_namespace(netns, function)


async def test_device_is_described(netns: str) -> None:
    inside(netns, "ip", "link", "set", "one", "address", "02:00:00:00:00:01", "mtu", "1400", "up")

    device = await do(netns, lambda kernel: kernel.get("one"))

    assert (device.name, device.kind, device.mtu, device.is_up) == ("one", "veth", 1400, True)
    assert (device.mac, device.master, device.owner) == (parse_mac("02:00:00:00:00:01"), 0, None)
    assert device.mtu_range == (68, 65535)


async def test_owner_of_a_persistent_tap_is_described(netns: str) -> None:
    inside(netns, "ip", "tuntap", "add", "dev", "tap0", "mode", "tap", "user", "1000")

    device = await do(netns, lambda kernel: kernel.get("tap0"))

    assert (device.kind, device.owner, device.multi_queue) == ("tap", 1000, False)


async def test_missing_device_is_found_as_none_and_refused_by_name(netns: str) -> None:
    assert await do(netns, lambda kernel: kernel.find("eth7")) is None
    with pytest.raises(LinkError, match=r"there is no device eth7 \(see: ip link\)"):
        await do(netns, lambda kernel: kernel.set_mtu("eth7", 1400))


@pytest.mark.parametrize("times", [1, 2])
async def test_settings_are_made_and_made_again(netns: str, times: int) -> None:
    mac = parse_mac("02:00:00:00:00:07")

    def settle(kernel: Kernel) -> None:
        kernel.set_mtu("one", 1400)
        kernel.set_mac("one", mac)
        kernel.add_address("one", V4)
        kernel.add_address("one", V6)
        kernel.limit_superframes("one", size=60000, segments=50)
        kernel.set_up("one")

    for _ in range(times):
        await do(netns, settle)

    device = await do(netns, lambda kernel: kernel.get("one"))
    assert (device.mtu, device.mac, device.is_up) == (1400, mac, True)
    assert (device.gso_max_size, device.gso_max_segs) == (60000, 50)
    assert {V4, V6} <= set(await do(netns, lambda kernel: kernel.addresses(device)))


async def test_ipv4_address_gets_its_broadcast_address(netns: str) -> None:
    await do(netns, lambda kernel: kernel.add_address("one", V4))

    assert "brd 10.1.1.255" in inside(netns, "ip", "address", "show", "one")


async def test_address_is_removed_once_and_again(netns: str) -> None:
    def add_and_remove(kernel: Kernel) -> list[object]:
        kernel.add_address("one", V4)
        kernel.remove_address("one", V4)
        kernel.remove_address("one", V4)
        return list(kernel.addresses(kernel.get("one")))

    assert await do(netns, add_and_remove) == []


async def test_bridge_is_joined_and_left(netns: str) -> None:
    inside(netns, "ip", "link", "add", "br0", "type", "bridge")

    def join(kernel: Kernel) -> bool:
        kernel.join_bridge("one", "br0")
        kernel.join_bridge("one", "br0")
        return kernel.get("one").master == kernel.get("br0").index

    def leave(kernel: Kernel) -> int:
        kernel.leave_bridge("one")
        kernel.leave_bridge("one")
        return kernel.get("one").master

    assert await do(netns, join)
    assert await do(netns, leave) == 0


async def test_restore_brings_a_device_back(netns: str) -> None:
    inside(netns, "ip", "link", "add", "br0", "address", "02:00:00:00:00:0b", "type", "bridge")
    inside(netns, "ip", "address", "add", "10.9.9.9/24", "dev", "one")

    def change_and_restore(kernel: Kernel) -> tuple[object, object]:
        snapshot = kernel.snapshot("one")
        assert snapshot is not None
        kernel.set_mtu("one", 1400)
        kernel.set_mac("one", parse_mac("02:00:00:00:00:07"))
        kernel.add_address("one", V4)
        kernel.limit_superframes("one", size=60000, segments=50)
        kernel.join_bridge("one", "br0")
        kernel.set_up("one")
        kernel.restore(snapshot)
        return snapshot, kernel.snapshot("one")

    before, after = await do(netns, change_and_restore)

    assert after == before


# --- refusals ---


async def test_mtu_outside_of_what_the_device_allows_names_the_range(netns: str) -> None:
    with pytest.raises(LinkError, match="one: MTU 67 is not allowed by this device: 68 to 65535"):
        await do(netns, lambda kernel: kernel.set_mtu("one", 67))


async def test_refusal_of_the_kernel_names_the_command(netns: str) -> None:
    with pytest.raises(LinkError) as caught:
        await do(netns, lambda kernel: kernel.set_mac("one", BROADCAST))

    assert str(caught.value) == (
        "cannot set the MAC of one to ff:ff:ff:ff:ff:ff: Cannot assign requested address "
        "(as from: ip link set dev one address ff:ff:ff:ff:ff:ff)"
    )


# --- namespaces ---


async def test_work_happens_inside_the_namespace_and_the_thread_comes_back(netns: str) -> None:
    def in_worker(name: str | None) -> bool:
        with namespace(name), Kernel() as kernel:
            return kernel.find("one") is not None

    one_thread = trio.CapacityLimiter(1)

    for name, expected in [(netns, True), (None, False), (netns, True)]:
        assert await trio.to_thread.run_sync(in_worker, name, limiter=one_thread) is expected


async def test_thread_comes_back_when_the_work_fails(netns: str) -> None:
    def fail(kernel: Kernel) -> None:
        raise LinkError("no")

    with pytest.raises(LinkError, match="no"):
        await do(netns, fail)

    assert await in_namespace(None, lambda kernel: kernel.find("one")) is None


async def test_missing_namespace_is_refused_with_what_makes_it() -> None:
    with pytest.raises(LinkError, match="make it with: sudo ip netns add tapw-none"):
        await in_namespace("tapw-none", lambda kernel: kernel.find("lo"))
