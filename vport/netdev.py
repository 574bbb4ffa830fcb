"""The kernel's side of a device: names, MTU, MAC, addresses, bridge membership, namespaces.

``Kernel`` wraps one netlink socket. Its calls block (microseconds) and are idempotent: what is already
right is not set again, so that a device which somebody prepared for this user needs no privilege. A
call that fails raises LinkError with what was wanted, what the kernel said, and the ``ip`` command that
would do it.

``in_namespace`` runs a function in a worker thread inside a network namespace (``vport.netns``); everything
here and ``/dev/net/tun`` belong to the namespace of the thread that opens them. NAT is in ``vport.nat``.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import trio
from pyroute2 import IPRoute, NetlinkError

from vport.errors import LinkError
from vport.ethernet import MacAddress, format_mac, parse_mac
from vport.netns import PRIVILEGE, error_number, namespace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Self

    from vport.locator import InterfaceAddress, IpAddress

T = TypeVar("T")

IFF_UP: Final = 1  # linux/if.h
_TUN_TYPES: Final = {1: "tun", 2: "tap"}  # IFF_TUN, IFF_TAP (linux/if_tun.h)
_NOT_THERE: Final = frozenset({errno.ENODEV, errno.ENXIO})
_IPV6_MINIMUM_MTU: Final = 1280  # RFC 8200 section 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """What the kernel says about one device.

    Attributes:
        kind: ``tap``, ``tun``, ``bridge``, ``veth`` …; empty for a device without a kind (a real NIC).
        master: index of the bridge that it is a member of, 0 for none.
        owner: user id who may open it without privilege (persistent TUN and TAP only), else None.
        mtu_range: lowest and highest MTU; highest 0 when the kernel sets no bound.
        multi_queue: whether several openers share it (TUN and TAP only).
        gso_max_size: bytes of the largest superframe, 0 when the kernel does not say.
    """

    index: int
    name: str
    kind: str
    mac: MacAddress
    mtu: int
    is_up: bool
    master: int
    owner: int | None
    mtu_range: tuple[int, int]
    multi_queue: bool
    gso_max_size: int
    gso_max_segs: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """How a device was: what ``Kernel.restore`` brings back."""

    device: Device
    addresses: tuple[InterfaceAddress, ...]


def _read_device(message: Any) -> Device:  # noqa: ANN401 - pyroute2 has no types
    info = message.get_attr("IFLA_LINKINFO")
    kind = (info and info.get_attr("IFLA_INFO_KIND")) or ""
    data = info and info.get_attr("IFLA_INFO_DATA")
    tun: dict[str, int] = dict(data["attrs"]) if kind == "tun" and data else {}
    address = message.get_attr("IFLA_ADDRESS") or ""
    return Device(
        index=message["index"],
        name=message.get_attr("IFLA_IFNAME"),
        kind=_TUN_TYPES.get(tun.get("IFLA_TUN_TYPE", 0), kind),
        mac=parse_mac(address) if len(address) == len("02:00:00:00:00:01") else MacAddress(bytes(6)),
        mtu=message.get_attr("IFLA_MTU"),
        is_up=bool(message["flags"] & IFF_UP),
        master=message.get_attr("IFLA_MASTER") or 0,
        owner=tun.get("IFLA_TUN_OWNER"),
        mtu_range=(message.get_attr("IFLA_MIN_MTU") or 0, message.get_attr("IFLA_MAX_MTU") or 0),
        multi_queue=bool(tun.get("IFLA_TUN_MULTI_QUEUE")),
        gso_max_size=message.get_attr("IFLA_GSO_MAX_SIZE") or 0,
        gso_max_segs=message.get_attr("IFLA_GSO_MAX_SEGS") or 0,
    )


@contextlib.contextmanager
def _explained(wanted: str, command: str) -> Iterator[None]:
    """Turn a refusal of the kernel into LinkError: what was wanted, why not, what would do it."""
    try:
        yield
    except (NetlinkError, OSError) as error:
        number = error_number(error)
        if number in PRIVILEGE:
            raise LinkError(
                f"cannot {wanted}: that needs privilege; run with sudo, or once: sudo {command}"
            ) from error
        reason = os.strerror(number) if number else str(error)
        raise LinkError(f"cannot {wanted}: {reason} (as from: {command})") from error


class Kernel:
    """The devices of the namespace that the calling thread is in. A context manager.

    Blocking, for a worker thread: see ``in_namespace``.
    """

    def __init__(self) -> None:
        self._netlink = IPRoute()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._netlink.close()

    # --- looking ---

    def find(self, name: str) -> Device | None:
        """Give the device of this name, None when there is none."""
        try:
            (message,) = self._netlink.link("get", ifname=name)
        except NetlinkError as error:
            if error_number(error) in _NOT_THERE:
                return None
            raise LinkError(f"cannot look at {name}: {os.strerror(error_number(error))}") from error
        return _read_device(message)

    def get(self, name: str) -> Device:
        """Give the device of this name. Raises LinkError when there is none."""
        device = self.find(name)
        if device is None:
            raise LinkError(f"there is no device {name} (see: ip link)")
        return device

    def addresses(self, device: Device) -> list[InterfaceAddress]:
        """Give the addresses of a device, IPv4 and IPv6, link-local ones included."""
        found = []
        for message in self._netlink.get_addr(index=device.index):
            address = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
            found.append(ipaddress.ip_interface(f"{address}/{message['prefixlen']}"))
        return found

    def snapshot(self, name: str) -> Snapshot | None:
        """Give what ``restore`` needs, None when there is no such device."""
        device = self.find(name)
        return None if device is None else Snapshot(device, tuple(self.addresses(device)))

    # --- making and removing ---

    def add_bridge(self, name: str) -> None:
        """Make a bridge; nothing happens when there is one of this name."""
        found = self.find(name)
        if found is None:
            with _explained(f"make the bridge {name}", f"ip link add {name} type bridge"):
                self._netlink.link("add", ifname=name, kind="bridge")
        elif found.kind != "bridge":
            raise LinkError(f"{name} exists and is not a bridge but {found.kind or 'a plain device'}")

    def add_veth(self, name: str, peer: str, namespace: str) -> None:
        """Make a pair: ``name`` here, ``peer`` in another namespace; nothing happens when it is there."""
        found = self.find(name)
        if found is None:
            command = f"ip link add {name} type veth peer name {peer} netns {namespace}"
            with _explained(f"make the pair {name} and {peer} in {namespace}", command):
                self._netlink.link(
                    "add", ifname=name, kind="veth", peer={"ifname": peer, "net_ns_fd": namespace}
                )
        elif found.kind != "veth":
            raise LinkError(f"{name} exists and is not a veth but {found.kind or 'a plain device'}")

    def delete(self, name: str) -> None:
        """Delete a device, and with a veth its peer; nothing happens when there is none."""
        device = self.find(name)
        if device is not None:
            with _explained(f"delete {name}", f"ip link delete {name}"):
                self._netlink.link("del", index=device.index)

    # --- setting ---

    def restore(self, before: Snapshot) -> None:
        """Bring a device back to how it was, as far as this user may and the kernel lets."""
        device = before.device
        name = device.name
        steps: list[Callable[[], None]] = [
            *(partial(self.remove_address, name, one) for one in self._added_since(before)),
            partial(self.set_mtu, name, device.mtu),
            partial(self.set_mac, name, device.mac),
            partial(self._set_master, name, device.master),
            partial(self.limit_superframes, name, size=device.gso_max_size, segments=device.gso_max_segs),
            partial(self.set_up, name, device.is_up),
        ]
        for step in steps:
            with contextlib.suppress(LinkError):
                step()

    def _added_since(self, before: Snapshot) -> list[InterfaceAddress]:
        return [one for one in self.addresses(before.device) if one not in before.addresses]

    def set_mtu(self, name: str, mtu: int) -> None:
        """Set the MTU: bytes of the largest packet, Ethernet header not counted."""
        device = self.get(name)
        if device.mtu == mtu:
            return
        low, high = device.mtu_range
        if mtu < low or (high and mtu > high):
            raise LinkError(f"{name}: MTU {mtu} is not allowed by this device: {low} to {high or 'any'}")
        self._set_link(device, f"set the MTU of {name} to {mtu}", f"mtu {mtu}", mtu=mtu)

    def set_mac(self, name: str, mac: MacAddress) -> None:
        """Set the MAC address."""
        device = self.get(name)
        text = format_mac(mac)
        if device.mac != mac:
            self._set_link(device, f"set the MAC of {name} to {text}", f"address {text}", address=text)

    def set_up(self, name: str, up: bool = True) -> None:
        """Set the device up or down."""
        device, word = self.get(name), "up" if up else "down"
        if device.is_up != up:
            self._set_link(device, f"set {name} {word}", word, state=word)

    def join_bridge(self, name: str, bridge: str) -> None:
        """Make the device a member of an existing bridge."""
        device, master = self.get(name), self.find(bridge)
        if master is None:
            raise LinkError(
                f"there is no bridge {bridge}; make it with: sudo ip link add {bridge} type bridge"
            )
        if master.kind != "bridge":
            raise LinkError(
                f"{bridge} is not a bridge but {master.kind or 'a plain device'} (see: bridge link)"
            )
        if device.master != master.index:
            self._set_link(
                device, f"make {name} a member of {bridge}", f"master {bridge}", master=master.index
            )

    def leave_bridge(self, name: str) -> None:
        """Take the device out of the bridge that it is a member of."""
        self._set_master(name, 0)

    def _set_master(self, name: str, master: int) -> None:
        device = self.get(name)
        if device.master != master:
            words = f"master {master}" if master else "nomaster"
            self._set_link(device, f"change the bridge of {name}", words, master=master)

    def limit_superframes(self, name: str, *, size: int, segments: int) -> None:
        """Bound what the device hands over in one piece: bytes, and frames that it is cut into."""
        device = self.get(name)
        if (device.gso_max_size, device.gso_max_segs) != (size, segments):
            self._set_link(
                device,
                f"bound the superframes of {name}",
                f"gso_max_size {size} gso_max_segs {segments}",
                gso_max_size=size,
                gso_max_segs=segments,
            )

    def add_address(self, name: str, address: InterfaceAddress) -> None:
        """Give the device an address; nothing happens when it has it."""
        device = self.get(name)
        if address.version == 6 and device.mtu < _IPV6_MINIMUM_MTU:
            raise LinkError(
                f"{name}: address {address} refused: IPv6 needs an MTU of at least "
                f"{_IPV6_MINIMUM_MTU}, {name} has {device.mtu}"
            )
        if address in self.addresses(device):
            return
        try:
            self._set_address("add", device, address)
        except LinkError as error:
            if address.version == 6 and error_number(error.__cause__) == errno.EACCES:
                raise LinkError(
                    f"{name}: address {address} refused: IPv6 is disabled on {name}; enable it with: "
                    f"sudo sysctl -w net.ipv6.conf.{name}.disable_ipv6=0"
                ) from error
            raise

    def remove_address(self, name: str, address: InterfaceAddress) -> None:
        """Take an address from the device; nothing happens when it does not have it."""
        device = self.get(name)
        if address in self.addresses(device):
            self._set_address("del", device, address)

    def set_default_route(self, gateway: IpAddress) -> None:
        """Let packets for other networks go to ``gateway``; nothing happens when they do."""
        family = socket.AF_INET if gateway.version == 4 else socket.AF_INET6
        for route in self._netlink.get_default_routes(family=family):
            if route.get_attr("RTA_GATEWAY") == str(gateway):
                return
        with _explained(f"set the default route to {gateway}", f"ip route replace default via {gateway}"):
            self._netlink.route("replace", family=family, dst="default", gateway=str(gateway))

    def _set_link(self, device: Device, wanted: str, words: str, **attributes: int | str) -> None:
        with _explained(wanted, f"ip link set dev {device.name} {words}"):
            self._netlink.link("set", index=device.index, **attributes)

    def _set_address(self, verb: str, device: Device, address: InterfaceAddress) -> None:
        wanted = f"{'add address' if verb == 'add' else 'remove address'} {address} on {device.name}"
        with _explained(wanted, f"ip address {verb} {address} dev {device.name}"):
            self._netlink.addr(
                verb,
                index=device.index,
                family=socket.AF_INET if address.version == 4 else socket.AF_INET6,
                address=str(address.ip),
                prefixlen=address.network.prefixlen,
                **_broadcast(address),
            )


def _broadcast(address: InterfaceAddress) -> dict[str, str]:
    """Give the directed broadcast address where a network has one, as ``ip address add … brd +`` does."""
    if address.version == 6 or address.network.prefixlen > 30:
        return {}
    return {"broadcast": str(address.network.broadcast_address)}


async def in_namespace(name: str | None, function: Callable[[Kernel], T]) -> T:
    """Run ``function`` with a ``Kernel`` in a worker thread inside a namespace (None: ours).

    Cancellation takes effect before it starts or not at all, so what it returns is never lost.
    """

    def work() -> T:
        with namespace(name), Kernel() as kernel:
            return function(kernel)

    return await trio.to_thread.run_sync(work)
