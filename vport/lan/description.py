"""What a LAN of this machine consists of, and how its TOML file is read. Pure.

name = "home"                       # of the LAN: letters, digits, - and _
netns = "machine"                   # the network namespace that is "this machine" (default: ours)

[[bridge]]
name = "br0"
address = ["10.5.0.1/16"]           # of this machine on the LAN
mtu = 1400                          # of the bridge and all on it

[[namespace]]                       # a host of its own on the LAN
name = "web"
bridge = "br0"
address = ["10.5.1.1/16"]
gateway = ["10.5.0.1"]              # default: this machine, if it has an address there; [] for none
device = "eth0"                     # its device, inside
veth = "v-web"                      # the other end, on the bridge

[nat]                               # the LAN's way out
outside = "eth0"                    # all that leaves there gets its address
[[nat.forward]]                     # and the way in
port = 8080
to = "10.5.1.1:80"
protocol = "tcp"                    # or "udp"

[[cable]]                           # to another place: a TAP device on the bridge
tap = "tap0"
bridge = "br0"
remote = "udp://198.51.100.7:9999?local=:9999"    # any locator
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final, TypeVar

from vport.errors import SettingsError
from vport.locator import StdioLocator, TapLocator, parse
from vport.nat import PortForward
from vport.readers import host_and_port, interface_address, interface_name, namespace_name
from vport.readers import ip_address as read_address
from vport.toml_fields import PlacedError, Table, integer, list_of, read_toml, text, text_as

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vport.locator import InterfaceAddress, IpAddress, Locator
    from vport.readers import IpNetwork
    from vport.toml_fields import KeyPath

T = TypeVar("T")

NAME_MAX: Final = 32  # characters; it is part of a file name and of the name of a table of nftables
DEFAULT_DEVICE: Final = "eth0"
_VETH_PREFIX: Final = "v-"
_DEVICE_NAME_MAX: Final = 15
_MTU: Final = integer(68, 65521)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge:
    """A switch of the kernel, with this machine on it if it has ``addresses``."""

    name: str
    addresses: tuple[InterfaceAddress, ...] = ()
    mtu: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Namespace:
    """A host on a bridge: a network namespace with ``device`` inside, whose other end is ``veth``."""

    name: str
    bridge: str
    addresses: tuple[InterfaceAddress, ...]
    gateways: tuple[IpAddress, ...]
    device: str
    veth: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Nat:
    """The way out through the device ``outside``, and the ways in."""

    outside: str
    forwards: tuple[PortForward, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cable:
    """A TAP device on a bridge, tied to what ``remote`` names."""

    tap: str
    bridge: str
    remote: Locator


@dataclass(frozen=True, slots=True, kw_only=True)
class Lan:
    """All of it."""

    name: str
    netns: str | None = None
    bridges: tuple[Bridge, ...] = ()
    namespaces: tuple[Namespace, ...] = ()
    nat: Nat | None = None
    cables: tuple[Cable, ...] = field(default=())

    def __post_init__(self) -> None:
        for path, complaint in _contradictions(self):
            raise PlacedError(path, complaint)

    def networks(self) -> tuple[IpNetwork, ...]:
        """Give the networks that this machine is in through its bridges."""
        every = (address.network for bridge in self.bridges for address in bridge.addresses)
        return tuple(dict.fromkeys(every))


def read_lan(document: str, name: str) -> Lan:
    """Read the text of a file; ``name`` is the file's, for error messages.

    Raises:
        SettingsError: it is not TOML, has an unknown key, a value of the wrong type or out of its range, or
            values that contradict each other.
    """
    return read_toml(document, name, _read_lan)


# --- reading ---


def lan_name(found: str) -> str:
    """Read the name of a LAN."""
    if not re.fullmatch(rf"[A-Za-z0-9][A-Za-z0-9_-]{{0,{NAME_MAX - 1}}}", found):
        raise SettingsError(
            f"{found!r} is not the name of a LAN: letters, digits, - and _, at most {NAME_MAX} of them"
        )
    return found


def _read_lan(value: object) -> Lan:
    table = Table(value, ("name", "netns", "bridge", "namespace", "nat", "cable"))
    bridges = table.read("bridge", list_of(_read_bridge), ())
    namespaces = table.read("namespace", list_of(_read_namespace), ())
    return Lan(
        name=table.require("name", text_as(lan_name)),
        netns=table.read("netns", text_as(namespace_name), None),
        bridges=bridges,
        namespaces=tuple(_completed(values, bridges) for values in namespaces),
        nat=table.read("nat", _read_nat, None),
        cables=table.read("cable", list_of(_read_cable), ()),
    )


def _read_bridge(value: object) -> Bridge:
    table = Table(value, ("name", "address", "mtu"))
    return Bridge(
        name=table.require("name", text_as(interface_name)),
        addresses=table.read("address", list_of(text_as(interface_address)), ()),
        mtu=table.read("mtu", _MTU, None),
    )


def _read_namespace(value: object) -> dict[str, Any]:
    table = Table(value, ("name", "bridge", "address", "gateway", "device", "veth"))
    name = table.require("name", text_as(namespace_name))
    return {
        "name": name,
        "bridge": table.require("bridge", text),
        "addresses": table.read("address", list_of(text_as(interface_address)), ()),
        "gateways": table.read("gateway", list_of(text_as(read_address)), None),
        "device": table.read("device", text_as(interface_name), DEFAULT_DEVICE),
        "veth": table.read("veth", text_as(interface_name), f"{_VETH_PREFIX}{name}"[:_DEVICE_NAME_MAX]),
    }


def _completed(values: dict[str, Any], bridges: tuple[Bridge, ...]) -> Namespace:
    """Let this machine be the gateway where none is named, for each version of IP that it can be."""
    if values["gateways"] is None:
        bridge = next((one for one in bridges if one.name == values["bridge"]), None)
        ours: dict[int, IpAddress] = {}
        for one in bridge.addresses if bridge is not None else ():
            if any(one.ip in address.network for address in values["addresses"]):
                ours.setdefault(one.version, one.ip)
        values = {**values, "gateways": tuple(ours.values())}
    return Namespace(**values)


def _read_nat(value: object) -> Nat:
    table = Table(value, ("outside", "forward"))
    return Nat(
        outside=table.require("outside", text_as(interface_name)),
        forwards=table.read("forward", list_of(_read_forward), ()),
    )


def _read_forward(value: object) -> PortForward:
    table = Table(value, ("protocol", "port", "to"))
    address, port = table.require("to", text_as(_host_address))
    return PortForward(
        protocol=table.read("protocol", text_as(_protocol), "tcp"),
        port=table.require("port", integer(1, 65535)),
        address=address,
        address_port=port,
    )


def _host_address(found: str) -> tuple[IpAddress, int]:
    host, port = host_and_port(found)
    try:
        return ip_address(host), port
    except ValueError:
        raise SettingsError(f"{found!r} is not ADDRESS:PORT of a host on the LAN") from None


def _protocol(found: str) -> str:
    if found not in {"tcp", "udp"}:
        raise SettingsError(f"must be tcp or udp, not {found!r}")
    return found


def _read_cable(value: object) -> Cable:
    table = Table(value, ("tap", "bridge", "remote"))
    return Cable(
        tap=table.require("tap", text_as(interface_name)),
        bridge=table.require("bridge", text),
        remote=table.require("remote", text_as(_remote)),
    )


def _remote(found: str) -> Locator:
    locator = parse(found)
    if isinstance(locator, StdioLocator | TapLocator):
        raise SettingsError(f"{found}: a cable leads to another place, such as udp://HOST:PORT?local=:PORT")
    return locator


# --- contradictions ---


def _contradictions(lan: Lan) -> Iterator[tuple[KeyPath, str]]:
    """Find what is right alone and wrong together."""
    if not (lan.bridges or lan.namespaces or lan.cables):
        yield (), "there is nothing in it: name at least one [[bridge]]"
    yield from _repeated(
        [(("namespace", number, "name"), one.name) for number, one in enumerate(lan.namespaces)], lan.netns
    )
    yield from _repeated(
        [
            *((("bridge", number, "name"), one.name) for number, one in enumerate(lan.bridges)),
            *((("namespace", number, "veth"), one.veth) for number, one in enumerate(lan.namespaces)),
            *((("cable", number, "tap"), one.tap) for number, one in enumerate(lan.cables)),
        ],
        None if lan.nat is None else lan.nat.outside,
    )
    names = {bridge.name for bridge in lan.bridges}
    members = [(("namespace", number, "bridge"), one.bridge) for number, one in enumerate(lan.namespaces)]
    members += [(("cable", number, "bridge"), one.bridge) for number, one in enumerate(lan.cables)]
    for path, bridge in members:
        if bridge not in names:
            listed = ", ".join(sorted(names)) or "none"
            yield path, f"there is no bridge {bridge!r} here: {listed}"
    yield from _wrong_addresses(lan)


def _repeated(named: list[tuple[KeyPath, str]], taken: str | None) -> Iterator[tuple[KeyPath, str]]:
    seen = {taken}
    for path, name in named:
        if name in seen:
            yield path, f"the name {name!r} is there twice"
        seen.add(name)


def _wrong_addresses(lan: Lan) -> Iterator[tuple[KeyPath, str]]:
    for number, namespace in enumerate(lan.namespaces):
        for gateway in namespace.gateways:
            if not any(gateway in address.network for address in namespace.addresses):
                path = ("namespace", number, "gateway")
                yield path, f"the gateway {gateway} is in none of the networks of {namespace.name}"
    if lan.nat is None:
        return
    if not lan.networks():
        yield ("nat",), "no bridge has an address: this machine is in no network that could leave"
    for number, forward in enumerate(lan.nat.forwards):
        if not any(forward.address in network for network in lan.networks()):
            yield ("nat", "forward", number, "to"), f"{forward.address} is in no network of a bridge"
