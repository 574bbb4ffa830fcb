"""Locators: the text that names a link or a listener, and its typed value.

    SCHEME://TARGET?OPTION=VALUE&OPTION=VALUE…

``SCHEMES`` is the one table of schemes: a class each, whose fields say which options there are, how they
are read and what they mean. ``parse`` reads a text by that table, ``str(locator)`` writes it back, help
texts and completion are made from it. Which module opens which scheme is said in ``vport.links``.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, TypeVar
from urllib.parse import quote, unquote

from vport.errors import SettingsError
from vport.ethernet import MacAddress, format_mac, is_multicast, parse_mac

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
InterfaceAddress = ipaddress.IPv4Interface | ipaddress.IPv6Interface
IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

IFNAMSIZ: Final = 16  # bytes of an interface name with its final NUL (linux/if.h)
_SAFE: Final = "/:.,@[]+-_~"  # characters that need no escape in a name or an option's value


# --- readers of values: text in, value out, SettingsError when it does not fit ---


def integer(low: int, high: int) -> Callable[[str], int]:
    """Make a reader of decimal numbers from ``low`` to ``high``."""

    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,20}", text) or not low <= int(text) <= high:
            raise SettingsError(f"{text!r} is not a number from {low} to {high}")
        return int(text)

    return read


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


def _check_ipv6(text: str) -> None:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        raise SettingsError(f"[{text}] is not an IPv6 address") from None


# --- what an option is ---


@dataclass(frozen=True, slots=True)
class Option:
    """How one option is read and written, and what it means.

    Attributes:
        read: text to value; raises SettingsError.
        write: value to text, the inverse of ``read``.
        help: a phrase for people.
        value: the placeholder shown for its value; empty for a yes/no option.
    """

    read: Callable[[str], Any]
    help: str
    value: str
    write: Callable[[Any], str] = str


def option(
    default: T, read: Callable[[str], Any], text: str, value: str, write: Callable[[Any], str] = str
) -> T:
    """Declare a field of a locator as an option; a tuple as default makes it repeatable."""
    return field(default=default, metadata={"option": Option(read, text, value, write)})


def flag(default: bool, text: str) -> bool:
    """Declare a yes/no option."""
    return option(default, boolean, text, "", lambda value: "yes" if value else "no")


@dataclass(frozen=True, slots=True, kw_only=True)
class Locator:
    """A named place to plug in. One subclass a scheme; its fields without ``option`` are the target.

    Attributes:
        scheme: the word in front of the colon.
        form: how the target is written, for help texts.
        summary: what it carries, in a phrase.
    """

    scheme: ClassVar[str]
    form: ClassVar[str]
    summary: ClassVar[str]
    can_listen: ClassVar[bool] = False

    @classmethod
    def read_target(cls, text: str) -> dict[str, Any]:
        """Read what stands between ``scheme://`` and ``?`` into fields. Raises SettingsError."""
        raise NotImplementedError

    def write_target(self) -> str:
        """Write the target so that ``read_target`` gives the same fields."""
        raise NotImplementedError

    @classmethod
    def options(cls) -> dict[str, Option]:
        """Give the options of this scheme by name."""
        return {
            item.name.replace("_", "-"): item.metadata["option"]
            for item in dataclasses.fields(cls)
            if "option" in item.metadata
        }

    @classmethod
    def read(cls, target: str, query: str) -> Self:
        """Make a locator from the two parts of its text. Raises SettingsError."""
        return cls(**cls.read_target(target), **cls._read_options(query))

    @classmethod
    def _read_options(cls, query: str) -> dict[str, Any]:
        known = cls.options()
        defaults = {item.name: item.default for item in dataclasses.fields(cls)}
        values: dict[str, Any] = {}
        for item in filter(None, query.split("&")):
            name, _, text = item.partition("=")
            if name not in known:
                raise SettingsError(f"unknown option {name!r}; {cls.scheme} has {_listed(known)}")
            try:
                value = known[name].read(unquote(text))
            except SettingsError as error:
                raise SettingsError(f"option {name}: {error}") from None
            attribute = name.replace("-", "_")
            if isinstance(defaults[attribute], tuple):
                values[attribute] = (*values.get(attribute, ()), value)
            elif attribute in values:
                raise SettingsError(f"option {name} is given twice")
            else:
                values[attribute] = value
        return values

    def __str__(self) -> str:
        items = [
            f"{name}={quote(declared.write(one), safe=_SAFE)}"
            for name, declared in self.options().items()
            for one in self._set_values(name)
        ]
        return f"{self.scheme}://{self.write_target()}" + ("?" + "&".join(items) if items else "")

    def _set_values(self, name: str) -> tuple[Any, ...]:
        """Give the values of an option that differ from its default, none when it is the default."""
        attribute = name.replace("-", "_")
        value = getattr(self, attribute)
        if value == next(item.default for item in dataclasses.fields(self) if item.name == attribute):
            return ()
        return value if isinstance(value, tuple) else (value,)


def _listed(names: dict[str, Any]) -> str:
    return ", ".join(sorted(names)) or "no options"


def write_host_and_port(host: str, port: int) -> str:
    """Write what ``host_and_port`` reads."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


# --- the schemes ---


@dataclass(frozen=True, slots=True, kw_only=True)
class UdpLocator(Locator):
    """Raw Ethernet frames over UDP, one per datagram. See ``vport.links.udp``."""

    scheme: ClassVar[str] = "udp"
    form: ClassVar[str] = "udp://HOST:PORT, listening: udp://[ADDRESS]:PORT"
    summary: ClassVar[str] = "one raw Ethernet frame per UDP datagram (authenticates nobody)"
    can_listen: ClassVar[bool] = True

    host: str
    port: int
    mac: MacAddress | None = option(
        None,
        station_address,
        "station to announce when quiet (default: that of the other end)",
        "MAC",
        format_mac,
    )
    idle: float = option(
        300.0, seconds(1, 1e6), "listening: a peer leaves after so much silence", "SECONDS", "{:g}".format
    )
    keepalive: float = option(
        20.0, seconds(0.1, 1e6), "calling: announce oneself after so much silence", "SECONDS", "{:g}".format
    )
    offload: bool = flag(True, "send and receive many frames with one system call")

    @classmethod
    def read_target(cls, text: str) -> dict[str, Any]:
        """Read ``HOST:PORT``."""
        host, port = host_and_port(text)
        return {"host": host, "port": port}

    def write_target(self) -> str:
        """Write ``HOST:PORT``."""
        return write_host_and_port(self.host, self.port)


@dataclass(frozen=True, slots=True, kw_only=True)
class TapLocator(Locator):
    """A TAP device of this kernel. See ``vport.links.tap``."""

    scheme: ClassVar[str] = "tap"
    form: ClassVar[str] = "tap://NAME"
    summary: ClassVar[str] = "a TAP device: the machine itself joins the LAN"

    name: str
    mtu: int | None = option(None, integer(68, 65521), "MTU of the device, bytes", "N")
    mac: MacAddress | None = option(None, station_address, "MAC address of the device", "MAC", format_mac)
    address: tuple[InterfaceAddress, ...] = option(
        (), interface_address, "IPv4 or IPv6 address; repeatable", "ADDRESS/PREFIX"
    )
    bridge: str | None = option(None, interface_name, "make it a member of this bridge", "NAME")
    netns: str | None = option(None, namespace_name, "network namespace to create it in", "NAME")
    up: bool = flag(True, "set the device up")
    offload: bool = flag(True, "let the kernel hand over superframes (TSO, USO, checksums)")

    @classmethod
    def read_target(cls, text: str) -> dict[str, Any]:
        """Read the name of the device."""
        return {"name": interface_name(unquote(text))}

    def write_target(self) -> str:
        """Write the name of the device."""
        return quote(self.name, safe=_SAFE)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLocator(Locator):
    """A simulated station in this process. See ``vport.links.host``."""

    scheme: ClassVar[str] = "host"
    form: ClassVar[str] = "host://ADDRESS/PREFIX"
    summary: ClassVar[str] = "a simulated host: answers ARP, neighbour discovery and ping"

    interface: InterfaceAddress
    address: tuple[InterfaceAddress, ...] = option(
        (), interface_address, "a further address; repeatable", "ADDRESS/PREFIX"
    )
    mac: MacAddress | None = option(
        None, station_address, "MAC address (default: made from the address)", "MAC", format_mac
    )
    ping: tuple[IpAddress, ...] = option((), ip_address, "ping this address; repeatable", "ADDRESS")
    interval: float = option(1.0, seconds(0.001, 86400), "time between pings", "SECONDS", "{:g}".format)
    count: int | None = option(None, integer(1, 10**9), "stop after so many pings", "N")
    verbose: bool = flag(False, "print what the host sees and gets")

    @classmethod
    def read_target(cls, text: str) -> dict[str, Any]:
        """Read ``ADDRESS/PREFIX``; an IPv6 address may stand in brackets."""
        return {"interface": interface_address(re.sub(r"^\[(.*)\]", r"\1", text))}

    def write_target(self) -> str:
        """Write ``ADDRESS/PREFIX``."""
        return str(self.interface)


SCHEMES: Final[dict[str, type[Locator]]] = {
    locator.scheme: locator for locator in (UdpLocator, TapLocator, HostLocator)
}


def parse(text: str) -> Locator:
    """Read a locator.

    Raises:
        SettingsError: unknown scheme, malformed target, unknown or malformed option; the message begins
            with the locator and says what is right.
    """
    scheme, colon, rest = text.partition(":")
    if not colon or scheme not in SCHEMES:
        raise SettingsError(
            f"{text!r} is not a locator: it must begin with one of "
            + ", ".join(f"{name}://" for name in SCHEMES)
        )
    if not rest.startswith("//"):
        raise SettingsError(f"{text!r}: expected {SCHEMES[scheme].form}")
    target, _, query = rest[2:].partition("?")
    try:
        return SCHEMES[scheme].read(target, query)
    except SettingsError as error:
        raise SettingsError(f"{text}: {error}") from None


def explain() -> str:
    """Describe every scheme and its options, for ``--list`` and the manual."""
    lines = []
    for locator in SCHEMES.values():
        lines += [locator.form, f"    {locator.summary}"]
        for name, declared in locator.options().items():
            shown = f"{name}={declared.value or 'yes|no'}"
            lines.append(f"      {shown:<24}{declared.help}")
        lines.append("")
    return "\n".join(lines)
