"""Readers of the values that stand in the files of WireGuard's users: text in, value or SettingsError out."""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_interface, ip_network
from typing import TYPE_CHECKING, Final

from vport.errors import SettingsError
from vport.ethernet import VID_MAX, MacAddress, Vid, format_mac, is_multicast, parse_mac
from vport.wireguard.config import HostPort
from vport.wireguard.settings import Mode

if TYPE_CHECKING:
    from vport.wireguard.allowed_ips import Network
    from vport.wireguard.config import Address, Interface

_MAX_NAME: Final = 64
_HOST_AND_PORT: Final = re.compile(r"(?:\[([^\[\]\s]+)\]|([^\[\]:\s]+)):(\d+)\Z")


def parse_endpoint(text: str) -> HostPort:
    """Read ``host:port`` or ``[IPv6 address]:port``.

    Raises:
        SettingsError: it is neither, or the port is not 1 to 65535.
    """
    match = _HOST_AND_PORT.match(text)
    if match is None or (match[1] and not _is_ipv6(match[1])):
        raise SettingsError(f"{text!r} is no endpoint: host:port, or [address]:port for IPv6")
    port = number(match[3], "the port of an endpoint", 1, 65535)
    return HostPort(host=match[1] or match[2], port=port)


def _is_ipv6(text: str) -> bool:
    try:
        return ip_address(text).version == 6
    except ValueError:
        return False


def number(text: str, what: str, lowest: int, highest: int) -> int:
    """Read a decimal number of a certain range; ``what`` it is, for the error."""
    if not (text.isascii() and text.isdigit() and len(text) < 8 and lowest <= int(text) <= highest):
        raise SettingsError(f"{text!r} for {what}: {lowest} to {highest}")
    return int(text)


def unix_time(text: str) -> int:
    """Read seconds since 1970."""
    if not re.fullmatch(r"[0-9]{1,12}", text):
        raise SettingsError(f"{text!r} is no time in seconds since 1970")
    return int(text)


def items(text: str) -> list[str]:
    """Cut a list at its commas."""
    return [item.strip() for item in text.split(",") if item.strip()]


def network(text: str) -> Network:
    """Read a prefix, or an address alone."""
    try:
        return ip_network(text, strict=False)
    except ValueError:
        raise SettingsError(f"{text!r} is no prefix: 192.0.2.0/24, 2001:db8::/32 or an address") from None


def networks(text: str) -> tuple[Network, ...]:
    """Read a list of prefixes."""
    return tuple(map(network, items(text)))


def _interface(text: str) -> Interface:
    try:
        return ip_interface(text)
    except ValueError:
        raise SettingsError(f"{text!r} is no address with a prefix length: 192.0.2.1/24") from None


def interfaces(text: str) -> tuple[Interface, ...]:
    """Read a list of addresses with prefix lengths."""
    return tuple(map(_interface, items(text)))


def keepalive(text: str) -> int:
    """Read a number of seconds; 0 for off."""
    return 0 if text.lower() == "off" else number(text, "a keepalive in seconds (or off)", 0, 65535)


def mode(text: str) -> Mode:
    """Read what a peer carries."""
    try:
        return Mode(text.lower())
    except ValueError:
        raise SettingsError(f"mode {text!r}: {' or '.join(Mode)}") from None


def vids(text: str) -> tuple[Vid, ...]:
    """Read a list of VLANs."""
    return tuple(Vid(number(item, "a VLAN", 1, VID_MAX)) for item in items(text))


def macs(text: str) -> tuple[MacAddress, ...]:
    """Read a list of stations."""
    found = tuple(parse_mac(item) for item in items(text))
    for mac in found:
        if is_multicast(mac) or not any(mac):
            raise SettingsError(f"{format_mac(mac)} is not the address of one station")
    return found


def addresses(text: str) -> tuple[Address, ...]:
    """Read a list of addresses."""
    try:
        return tuple(ip_address(item) for item in items(text))
    except ValueError:
        raise SettingsError(f"{text!r} is no list of addresses: 192.0.2.1, 2001:db8::1") from None


def switch(text: str) -> bool:
    """Read on or off."""
    if text.lower() not in {"on", "off", "true", "false"}:
        raise SettingsError(f"{text!r}: on or off")
    return text.lower() in {"on", "true"}


def name(text: str) -> str:
    """Read what people call a peer."""
    if not text.isprintable() or len(text) > _MAX_NAME:
        raise SettingsError(f"a name has at most {_MAX_NAME} printable characters")
    return text
