"""The files that WireGuard users know (wg(8), wg-quick(8)): read with line and reason, and written.

Read are all keys of ``wg-quick``. Those that make the machine do something besides carrying packets
(PostUp and the like) are not obeyed but listed in ``ignored``, for the shell to say so. Some keys are ours
and are left out where a stock client is to read the file: ``Gateway`` of the interface, and of a peer
``Name``, ``Mode`` (ethernet or ip), what its port is like (``Port``, ``Vlan``, ``TaggedVlans``, ``Macs``,
``MaxMacs``), ``Broadcasts`` of an IP peer, and ``Expires`` of an invitation.

No error repeats a value that may be a secret.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv6Address,
    IPv6Interface,
    ip_address,
    ip_interface,
    ip_network,
)
from typing import TYPE_CHECKING, Final

from vport.errors import SettingsError
from vport.ethernet import VID_MAX, MacAddress, Vid, format_mac, is_multicast, parse_mac
from vport.profile import DEFAULT_PVID, MAX_STATIONS, PortProfile
from vport.wireguard.keys import PresharedKey, PrivateKey, PublicKey
from vport.wireguard.settings import MAXIMUM_MTU, MINIMUM_MTU, Mode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from vport.wireguard.allowed_ips import Network

Interface = IPv4Interface | IPv6Interface
Address = IPv4Address | IPv6Address

_IGNORED: Final = ("Table", "PreUp", "PostUp", "PreDown", "PostDown", "SaveConfig", "FwMark")
_WORD: Final = re.compile(r"[A-Za-z]{1,24}\Z")
_MAX_NAME: Final = 64
_HOST_AND_PORT: Final = re.compile(r"(?:\[([^\[\]\s]+)\]|([^\[\]:\s]+)):(\d+)\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPort:
    """An endpoint as it stands in a file: a name or an address, still to be resolved, and a UDP port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerSection:
    """A ``[Peer]``. ``mode`` is None where the file does not say: stock files never do.

    Attributes:
        port: number of its port on the switch; None for a free one.
        vlan: VLAN of its frames without a tag.
        tagged_vlans: VLANs of its frames with a tag.
        macs: the only addresses of stations behind it; empty for any.
        max_macs: how many stations may be behind it, 0 for any number.
        broadcasts: whether an IP peer is sent what the LAN sends to all.
        expires: an invitation ends then, in seconds since 1970; 0 for a peer that is no invitation.
    """

    public_key: PublicKey
    preshared_key: PresharedKey | None = None
    allowed_ips: tuple[Network, ...] = ()
    endpoint: HostPort | None = None
    persistent_keepalive: int = 0
    name: str = ""
    mode: Mode | None = None
    port: int | None = None
    vlan: Vid = DEFAULT_PVID
    tagged_vlans: tuple[Vid, ...] = ()
    macs: tuple[MacAddress, ...] = ()
    max_macs: int = 0
    broadcasts: bool = False
    expires: int = 0

    @property
    def profile(self) -> PortProfile:
        """What its port is to be like; of an IP peer without the virtual station."""
        return PortProfile(
            number=self.port,
            pvid=self.vlan,
            tagged=self.tagged_vlans,
            macs=frozenset(self.macs),
            max_macs=self.max_macs,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A whole file: the ``[Interface]`` and its peers.

    Attributes:
        ignored: line and key of what we know but do not obey.
    """

    private_key: PrivateKey
    listen_port: int | None = None
    addresses: tuple[Interface, ...] = ()
    dns: tuple[str, ...] = ()
    mtu: int | None = None
    gateways: tuple[Address, ...] = ()
    peers: tuple[PeerSection, ...] = ()
    ignored: tuple[tuple[int, str], ...] = ()


# --- values ---


def parse_endpoint(text: str) -> HostPort:
    """Read ``host:port`` or ``[IPv6 address]:port``.

    Raises:
        SettingsError: it is neither, or the port is not 1 to 65535.
    """
    match = _HOST_AND_PORT.match(text)
    if match is None or (match[1] and not _is_ipv6(match[1])):
        raise SettingsError(f"{text!r} is no endpoint: host:port, or [address]:port for IPv6")
    port = _number(match[3], "the port of an endpoint", 1, 65535)
    return HostPort(host=match[1] or match[2], port=port)


def _is_ipv6(text: str) -> bool:
    try:
        return ip_address(text).version == 6
    except ValueError:
        return False


def _number(text: str, what: str, lowest: int, highest: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 8 and lowest <= int(text) <= highest):
        raise SettingsError(f"{text!r} for {what}: {lowest} to {highest}")
    return int(text)


def _time(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,12}", text):
        raise SettingsError(f"{text!r} is no time in seconds since 1970")
    return int(text)


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def _networks(text: str) -> tuple[Network, ...]:
    networks: list[Network] = []
    for item in _items(text):
        try:
            networks.append(ip_network(item, strict=False))
        except ValueError:
            raise SettingsError(f"{item!r} is no prefix: 192.0.2.0/24, 2001:db8::/32 or an address") from None
    return tuple(networks)


def _interfaces(text: str) -> tuple[Interface, ...]:
    interfaces: list[Interface] = []
    for item in _items(text):
        try:
            interfaces.append(ip_interface(item))
        except ValueError:
            raise SettingsError(f"{item!r} is no address with a prefix length: 192.0.2.1/24") from None
    return tuple(interfaces)


def _keepalive(text: str) -> int:
    return 0 if text.lower() == "off" else _number(text, "a keepalive in seconds (or off)", 0, 65535)


def _mode(text: str) -> Mode:
    try:
        return Mode(text.lower())
    except ValueError:
        raise SettingsError(f"mode {text!r}: {' or '.join(Mode)}") from None


def _vids(text: str) -> tuple[Vid, ...]:
    return tuple(Vid(_number(item, "a VLAN", 1, VID_MAX)) for item in _items(text))


def _macs(text: str) -> tuple[MacAddress, ...]:
    macs = tuple(parse_mac(item) for item in _items(text))
    for mac in macs:
        if is_multicast(mac) or not any(mac):
            raise SettingsError(f"{format_mac(mac)} is not the address of one station")
    return macs


def _gateways(text: str) -> tuple[Address, ...]:
    try:
        return tuple(ip_address(item) for item in _items(text))
    except ValueError:
        raise SettingsError(f"{text!r} is no list of addresses: 192.0.2.1, 2001:db8::1") from None


def _switch(text: str) -> bool:
    if text.lower() not in {"on", "off", "true", "false"}:
        raise SettingsError(f"{text!r}: on or off")
    return text.lower() in {"on", "true"}


def _name(text: str) -> str:
    if not text.isprintable() or len(text) > _MAX_NAME:
        raise SettingsError(f"a name has at most {_MAX_NAME} printable characters")
    return text


_INTERFACE_KEYS: Final[dict[str, tuple[str, Callable[[str], object]]]] = {
    "PrivateKey": ("private_key", PrivateKey.parse),
    "ListenPort": ("listen_port", lambda text: _number(text, "a UDP port", 0, 65535)),
    "Address": ("addresses", _interfaces),
    "DNS": ("dns", lambda text: tuple(_items(text))),
    "MTU": ("mtu", lambda text: _number(text, "an MTU in bytes", MINIMUM_MTU, MAXIMUM_MTU)),
    "Gateway": ("gateways", _gateways),
}
_PEER_KEYS: Final[dict[str, tuple[str, Callable[[str], object]]]] = {
    "PublicKey": ("public_key", PublicKey.parse),
    "PresharedKey": ("preshared_key", PresharedKey.parse),
    "AllowedIPs": ("allowed_ips", _networks),
    "Endpoint": ("endpoint", parse_endpoint),
    "PersistentKeepalive": ("persistent_keepalive", _keepalive),
    "Name": ("name", _name),
    "Mode": ("mode", _mode),
    "Port": ("port", lambda text: _number(text, "a port of the switch", 1, 65535)),
    "Vlan": ("vlan", lambda text: Vid(_number(text, "a VLAN", 0, VID_MAX))),
    "TaggedVlans": ("tagged_vlans", _vids),
    "Macs": ("macs", _macs),
    "MaxMacs": ("max_macs", lambda text: _number(text, "a number of stations", 0, MAX_STATIONS)),
    "Broadcasts": ("broadcasts", _switch),
    "Expires": ("expires", _time),
}
_SECTIONS: Final = {"interface": _INTERFACE_KEYS, "peer": _PEER_KEYS}
_REQUIRED: Final = {"interface": "PrivateKey", "peer": "PublicKey"}


# --- reading ---


@dataclass(slots=True)
class _Section:
    """A section as it is read: the values by field, and in which line each key stood."""

    kind: str
    line: int
    values: dict[str, object] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)


def _known(name: str, names: tuple[str, ...]) -> str | None:
    return next((known for known in names if known.lower() == name.lower()), None)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        content = line.partition("#")[0].strip()
        if content:
            yield number, content


def _shown(name: str) -> str:
    """Quote what stands where a key should, unless it may be a secret that lost its key."""
    return repr(name) if _WORD.match(name) else "text"


def _read_line(section: _Section, number: int, content: str, ignored: list[tuple[int, str]]) -> None:
    name, equals, value = (part.strip() for part in content.partition("="))
    if not equals:
        raise SettingsError(f"{_shown(name)} without a value: a line is 'Key = value' or '[Section]'")
    keys = _SECTIONS[section.kind]
    if section.kind == "interface" and (known := _known(name, _IGNORED)):
        ignored.append((number, known))
        return
    key = _known(name, tuple(keys))
    if key is None:
        raise SettingsError(f"{_shown(name)} is no key of [{section.kind.title()}]: {', '.join(keys)}")
    attribute, parse = keys[key]
    parsed = parse(value)
    before = section.values.get(attribute)
    if isinstance(parsed, tuple) and isinstance(before, tuple):
        parsed = before + parsed
    elif before is not None:
        raise SettingsError(f"{key} stands in line {section.lines[attribute]} already")
    section.values[attribute] = parsed
    section.lines[attribute] = number


def _open_section(number: int, content: str) -> _Section:
    kind = content.strip("[]").strip().lower()
    if kind not in _SECTIONS or not content.endswith("]"):
        raise SettingsError("a section is [Interface] or [Peer]")
    return _Section(kind, number)


@contextmanager
def _at_line(number: int) -> Iterator[None]:
    try:
        yield
    except SettingsError as error:
        raise SettingsError(f"line {number}: {error}") from None


def _read_sections(text: str, ignored: list[tuple[int, str]]) -> list[_Section]:
    sections: list[_Section] = []
    for number, content in _lines(text):
        with _at_line(number):
            if content.startswith("["):
                sections.append(_open_section(number, content))
            elif sections:
                _read_line(sections[-1], number, content, ignored)
            else:
                raise SettingsError("before any section: the file starts with [Interface] or [Peer]")
    return sections


def parse(text: str) -> Config:
    """Read a file.

    Raises:
        SettingsError: "line N: reason"; keys and whatever may be one are not repeated.
    """
    ignored: list[tuple[int, str]] = []
    interface, peers = _sorted_sections(text, ignored)
    if interface is None:
        raise SettingsError("line 1: there is no [Interface]")
    return Config(**interface.values, peers=peers, ignored=tuple(ignored))  # type: ignore[arg-type]  # checked by the table


def parse_peers(text: str) -> tuple[PeerSection, ...]:
    """Read a file that has peers only.

    Raises:
        SettingsError: as ``parse``; there is an [Interface].
    """
    interface, peers = _sorted_sections(text, [])
    if interface is not None:
        raise SettingsError(f"line {interface.line}: [Interface] has no place in a file of peers")
    return peers


def _sorted_sections(
    text: str, ignored: list[tuple[int, str]]
) -> tuple[_Section | None, tuple[PeerSection, ...]]:
    interface: _Section | None = None
    peers: list[_Section] = []
    for section in _read_sections(text, ignored):
        required = _REQUIRED[section.kind]
        if _SECTIONS[section.kind][required][0] not in section.values:
            raise SettingsError(f"line {section.line}: [{section.kind.title()}] has no {required}")
        if section.kind == "peer":
            peers.append(section)
        elif interface is not None:
            raise SettingsError(f"line {section.line}: [Interface] stands in line {interface.line} already")
        else:
            interface = section
    _check_duplicates(peers)
    return interface, tuple(map(_peer, peers))


def _peer(section: _Section) -> PeerSection:
    peer = PeerSection(**section.values)  # type: ignore[arg-type]  # checked by the table
    with _at_line(section.line):
        _ = peer.profile  # raises where VLANs contradict each other
    return peer


def _check_duplicates(peers: list[_Section]) -> None:
    """A key and a prefix can belong to one peer only."""
    seen: dict[object, int] = {}
    for peer in peers:
        is_ethernet = peer.values.get("mode") is Mode.ETHERNET
        networks = () if is_ethernet else dict.fromkeys(peer.values.get("allowed_ips", ()))  # type: ignore[call-overload]  # a tuple
        for attribute, value in (
            ("public_key", peer.values["public_key"]),
            *(("allowed_ips", network) for network in networks),
        ):
            line = peer.lines[attribute]
            if value in seen:
                what = value if attribute == "allowed_ips" else "this public key"
                raise SettingsError(f"line {line}: {what} is another peer's already, see line {seen[value]}")
            seen[value] = line


# --- writing ---


def format_config(config: Config, *, for_stock: bool = False) -> str:
    """Write a file, secrets and all. ``for_stock``: without the keys that only we know."""
    lines = ["[Interface]", f"PrivateKey = {config.private_key.encode()}"]
    if config.listen_port is not None:
        lines.append(f"ListenPort = {config.listen_port}")
    if config.addresses:
        lines.append(f"Address = {', '.join(map(str, config.addresses))}")
    if config.dns:
        lines.append(f"DNS = {', '.join(config.dns)}")
    if config.mtu is not None:
        lines.append(f"MTU = {config.mtu}")
    if config.gateways and not for_stock:
        lines.append(f"Gateway = {', '.join(map(str, config.gateways))}")
    for peer in config.peers:
        lines += ["", *_format_peer(peer, for_stock=for_stock)]
    return "\n".join(lines) + "\n"


def format_peers(peers: Iterable[PeerSection]) -> str:
    """Write a file that ``parse_peers`` reads."""
    return "\n".join("\n".join((*_format_peer(peer, for_stock=False), "")) for peer in peers)


def _format_peer(peer: PeerSection, *, for_stock: bool) -> Iterator[str]:
    yield "[Peer]"
    if peer.name:
        yield f"# {peer.name}" if for_stock else f"Name = {peer.name}"
    yield f"PublicKey = {peer.public_key.encode()}"
    if peer.preshared_key is not None:
        yield f"PresharedKey = {peer.preshared_key.encode()}"
    if peer.mode is not None and not for_stock:
        yield f"Mode = {peer.mode}"
    if peer.allowed_ips:
        yield f"AllowedIPs = {', '.join(map(str, peer.allowed_ips))}"
    if peer.endpoint is not None:
        yield f"Endpoint = {peer.endpoint}"
    if peer.persistent_keepalive:
        yield f"PersistentKeepalive = {peer.persistent_keepalive}"
    if not for_stock:
        yield from _format_port(peer)


def _format_port(peer: PeerSection) -> Iterator[str]:
    """Write the keys that only we know."""
    if peer.port is not None:
        yield f"Port = {peer.port}"
    if peer.vlan:
        yield f"Vlan = {peer.vlan}"
    if peer.tagged_vlans:
        yield f"TaggedVlans = {', '.join(map(str, peer.tagged_vlans))}"
    if peer.macs:
        yield f"Macs = {', '.join(map(format_mac, peer.macs))}"
    if peer.max_macs:
        yield f"MaxMacs = {peer.max_macs}"
    if peer.broadcasts:
        yield "Broadcasts = on"
    if peer.expires:
        yield f"Expires = {peer.expires}"
