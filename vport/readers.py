"""Readers of what people write as one word: text in, value out, ``SettingsError`` when it does not fit.

Locators, command lines and files of settings are made of such words. What a locator makes of them is in
``vport.locator.base``; readers that only one scheme has are beside it.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Final

from vport.errors import SettingsError
from vport.ethernet import MacAddress, is_multicast, parse_mac

if TYPE_CHECKING:
    from collections.abc import Callable

InterfaceAddress = ipaddress.IPv4Interface | ipaddress.IPv6Interface
IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

IFNAMSIZ: Final = 16  # bytes of an interface name with its final NUL (linux/if.h)


def integer(low: int, high: int) -> Callable[[str], int]:
    """Make a reader of decimal numbers from ``low`` to ``high``."""

    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,20}", text) or not low <= int(text) <= high:
            raise SettingsError(f"{text!r} is not a number from {low} to {high}")
        return int(text)

    return read


def byte_count(text: str) -> int:
    """Read a number of bytes; K, M and G behind it are powers of 1024."""
    match = re.fullmatch(r"([0-9]{1,15})([KMG]?)", text)
    if match is None:
        raise SettingsError(f"{text!r} is not a number of bytes, such as 500000, 64K, 100M or 2G")
    return int(match[1]) << 10 * " KMG".index(match[2] or " ")


def seconds(low: float, high: float) -> Callable[[str], float]:
    """Make a reader of times in seconds, decimals allowed."""

    def read(text: str) -> float:
        if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text) or not low <= float(text) <= high:
            raise SettingsError(f"{text!r} is not a time from {low:g} to {high:g} seconds")
        return float(text)

    return read


def boolean(text: str) -> bool:
    """Read yes or no; an option named without a value is a yes."""
    if text in {"", "yes", "true", "on", "1"}:
        return True
    if text in {"no", "false", "off", "0"}:
        return False
    raise SettingsError(f"{text!r} is neither yes nor no")


def station_address(text: str) -> MacAddress:
    """Read the MAC address of one station: not a group, not all zeros."""
    mac = parse_mac(text)
    if is_multicast(mac) or not any(mac):
        raise SettingsError(f"{text!r} is not the address of one station but a group or zero")
    return mac


def interface_address(text: str) -> InterfaceAddress:
    """Read an address with the length of its network's prefix, IPv4 or IPv6."""
    try:
        return ipaddress.ip_interface(text if "/" in text else "")
    except ValueError:
        raise SettingsError(
            f"{text!r} is not an address with a prefix length, such as 10.1.1.1/24 or fd00::1/64"
        ) from None


def ip_address(text: str) -> IpAddress:
    """Read an IPv4 or IPv6 address."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        raise SettingsError(f"{text!r} is not an IP address") from None


def interface_name(text: str) -> str:
    """Read the name of a network device, as the kernel would accept it."""
    if not 1 <= len(text.encode()) < IFNAMSIZ:
        raise SettingsError(
            f"{text!r} is not a device name: it has {len(text.encode())} bytes, 1 to 15 are allowed"
        )
    if text in {".", ".."} or re.search(r"[\s/:\0]", text):
        raise SettingsError(f"{text!r} is not a device name: blanks, / and : are not allowed")
    return text


def file_mode(text: str) -> int:
    """Read the permissions of a file, in octal."""
    if not re.fullmatch(r"[0-7]{1,4}", text) or int(text, 8) > 0o7777:
        raise SettingsError(f"{text!r} is not a file mode in octal, such as 0660")
    return int(text, 8)


def group_name(text: str) -> str:
    """Read the name or number of a group of users."""
    if not text or re.search(r"[\s:\0]", text):
        raise SettingsError(f"{text!r} is not the name of a group (see: getent group)")
    return text


def file_path(text: str) -> str:
    """Read the path of a file, absolute or relative."""
    if not text or "\0" in text:
        raise SettingsError(f"{text!r} is not the path of a file")
    return text


def namespace_name(text: str) -> str:
    """Read the name of a network namespace, as ``ip netns`` makes them."""
    if not text or "/" in text or text in {".", ".."}:
        raise SettingsError(f"{text!r} is not the name of a network namespace (see: ip netns list)")
    return text


def host_and_port(text: str, *, any_host: bool = True) -> tuple[str, int]:
    """Read ``HOST:PORT`` with an IPv6 address in brackets; an empty host means all addresses.

    Raises:
        SettingsError: there is no port, it is not 1 to 65535, or the host is malformed.
    """
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%\w-]*)\]|([^\[\]:/\s]*)):([^:]*)", text)
    if not match:
        raise SettingsError(f"{text!r} is not HOST:PORT (an IPv6 address goes in brackets: [fd00::1]:9999)")
    bracketed, plain, port_text = match.groups()
    if bracketed is not None:
        _check_ipv6(bracketed)
    host = bracketed if bracketed is not None else plain
    if not host and not any_host:
        raise SettingsError(f"{text!r} names no host")
    try:
        port = integer(1, 65535)(port_text)
    except SettingsError as error:
        raise SettingsError(f"UDP or TCP port {error}") from None
    return host, port


def write_host_and_port(host: str, port: int) -> str:
    """Write what ``host_and_port`` reads."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _check_ipv6(text: str) -> None:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        raise SettingsError(f"[{text}] is not an IPv6 address") from None
