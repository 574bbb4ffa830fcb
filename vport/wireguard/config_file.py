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
from typing import TYPE_CHECKING, Final

from vport.errors import SettingsError
from vport.ethernet import VID_MAX, Vid, format_mac
from vport.profile import MAX_STATIONS
from vport.wireguard import config_values as read
from vport.wireguard.config import Config, PeerSection
from vport.wireguard.keys import PresharedKey, PrivateKey, PublicKey
from vport.wireguard.settings import MAXIMUM_MTU, MINIMUM_MTU, Mode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_IGNORED: Final = ("Table", "PreUp", "PostUp", "PreDown", "PostDown", "SaveConfig", "FwMark")
_WORD: Final = re.compile(r"[A-Za-z]{1,24}\Z")
_INTERFACE_KEYS: Final[dict[str, tuple[str, Callable[[str], object]]]] = {
    "PrivateKey": ("private_key", PrivateKey.parse),
    "ListenPort": ("listen_port", lambda text: read.number(text, "a UDP port", 0, 65535)),
    "Address": ("addresses", read.interfaces),
    "DNS": ("dns", lambda text: tuple(read.items(text))),
    "MTU": ("mtu", lambda text: read.number(text, "an MTU in bytes", MINIMUM_MTU, MAXIMUM_MTU)),
    "Gateway": ("gateways", read.addresses),
}
_PEER_KEYS: Final[dict[str, tuple[str, Callable[[str], object]]]] = {
    "PublicKey": ("public_key", PublicKey.parse),
    "PresharedKey": ("preshared_key", PresharedKey.parse),
    "AllowedIPs": ("allowed_ips", read.networks),
    "Endpoint": ("endpoint", read.parse_endpoint),
    "PersistentKeepalive": ("persistent_keepalive", read.keepalive),
    "Name": ("name", read.name),
    "Mode": ("mode", read.mode),
    "Port": ("port", lambda text: read.number(text, "a port of the switch", 1, 65535)),
    "Vlan": ("vlan", lambda text: Vid(read.number(text, "a VLAN", 0, VID_MAX))),
    "TaggedVlans": ("tagged_vlans", read.vids),
    "Macs": ("macs", read.macs),
    "MaxMacs": ("max_macs", lambda text: read.number(text, "a number of stations", 0, MAX_STATIONS)),
    "Broadcasts": ("broadcasts", read.switch),
    "Expires": ("expires", read.unix_time),
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
