"""What locators are made of: readers of values, options, and the class that every scheme derives from.

The schemes themselves and the one table of them are in ``vport.locator``.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, TypeVar
from urllib.parse import quote, unquote

from vport.errors import SettingsError
from vport.ethernet import MacAddress, is_multicast, parse_mac

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
InterfaceAddress = ipaddress.IPv4Interface | ipaddress.IPv6Interface
IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

IFNAMSIZ: Final = 16  # bytes of an interface name with its final NUL (linux/if.h)
SAFE: Final = "/:.,@[]+-_~"  # characters that need no escape in a name or an option's value


# --- readers of values: text in, value out, SettingsError when it does not fit ---


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
        can_listen: whether it names listeners too.
        may_hold_secrets: whether a wrong option may be one, so that no error repeats it.
    """

    scheme: ClassVar[str]
    form: ClassVar[str]
    summary: ClassVar[str]
    can_listen: ClassVar[bool] = False
    may_hold_secrets: ClassVar[bool] = False

    @classmethod
    def prefix(cls) -> str:
        """Give what its texts begin with."""
        return f"{cls.scheme}://"

    @classmethod
    def read_text(cls, rest: str) -> Self:
        """Make a locator from what stands behind ``scheme:``. Raises SettingsError."""
        if not rest.startswith("//"):
            raise SettingsError(f"expected {cls.form}")
        target, _, query = rest[2:].partition("?")
        return cls.read(target, query)

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
            f"{name}={quote(declared.write(one), safe=SAFE)}"
            for name, declared in self.options().items()
            for one in self._set_values(name)
        ]
        return f"{self.scheme}://{self.write_target()}" + ("?" + "&".join(items) if items else "")

    def _set_values(self, name: str) -> tuple[Any, ...]:
        """Give the values of an option that differ from its default, none when it is the default."""
        attribute = name.replace("-", "_")
        value = getattr(self, attribute)
        default = next(item.default for item in dataclasses.fields(self) if item.name == attribute)
        if value == default:
            return ()
        is_repeatable = isinstance(default, tuple)
        return value if is_repeatable else (value,)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceLocator(Locator):
    """A locator whose target is the name of a network device."""

    name: str

    @classmethod
    def read_target(cls, text: str) -> dict[str, Any]:
        """Read the name of the device."""
        return {"name": interface_name(unquote(text))}

    def write_target(self) -> str:
        """Write the name of the device."""
        return quote(self.name, safe=SAFE)


def _listed(names: dict[str, Any]) -> str:
    return ", ".join(sorted(names)) or "no options"


def write_host_and_port(host: str, port: int) -> str:
    """Write what ``host_and_port`` reads."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
