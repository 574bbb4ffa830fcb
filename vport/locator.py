"""Locators: the text that names a link or a listener, and its typed value.

    SCHEME://TARGET?OPTION=VALUE&OPTION=VALUE…

``SCHEMES`` is the one table of schemes: a class each, whose fields say which options there are, how they
are read and what they mean. ``parse`` reads a text by that table, ``str(locator)`` writes it back, help
texts and completion are made from it. Which module opens which scheme is said in ``vport.links``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from vport.device_locators import PacketLocator, TunLocator, VxlanLocator
from vport.errors import SettingsError
from vport.ethernet import MacAddress, format_mac
from vport.lan_locators import DhcpLocator, SlirpLocator
from vport.locator_fields import (
    DeviceLocator,
    InterfaceAddress,
    IpAddress,
    Locator,
    file_path,
    flag,
    host_and_port,
    integer,
    interface_address,
    interface_name,
    ip_address,
    namespace_name,
    option,
    seconds,
    station_address,
    write_host_and_port,
)
from vport.station_locators import RouterLocator
from vport.stream_locators import (
    CmdLocator,
    PcapLocator,
    StdioLocator,
    TcpLocator,
    UnixgramLocator,
    UnixLocator,
    VdeLocator,
)
from vport.wireguard_locator import WireguardLocator

__all__ = [
    "SCHEMES",
    "CmdLocator",
    "DhcpLocator",
    "HostLocator",
    "InterfaceAddress",
    "IpAddress",
    "Locator",
    "PacketLocator",
    "PcapLocator",
    "RouterLocator",
    "SlirpLocator",
    "StdioLocator",
    "TapLocator",
    "TcpLocator",
    "TunLocator",
    "UdpLocator",
    "UnixLocator",
    "UnixgramLocator",
    "VdeLocator",
    "VxlanLocator",
    "WireguardLocator",
    "explain",
    "file_path",
    "integer",
    "interface_address",
    "interface_name",
    "parse",
    "station_address",
]

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
    offload: bool = flag(True, "many frames with one system call; superframes whole to who knows them")
    local: tuple[str, int] | None = option(
        None,
        host_and_port,
        "calling: from this address, so that two ends can call each other",
        "[ADDRESS]:PORT",
        lambda value: write_host_and_port(*value),
    )

    @classmethod
    def read_target(cls, text: str) -> dict[str, Any]:
        """Read ``HOST:PORT``."""
        host, port = host_and_port(text)
        return {"host": host, "port": port}

    def write_target(self) -> str:
        """Write ``HOST:PORT``."""
        return write_host_and_port(self.host, self.port)


@dataclass(frozen=True, slots=True, kw_only=True)
class TapLocator(DeviceLocator):
    """A TAP device of this kernel. See ``vport.links.tap``."""

    scheme: ClassVar[str] = "tap"
    form: ClassVar[str] = "tap://NAME"
    summary: ClassVar[str] = "a TAP device: the machine itself joins the LAN"

    mtu: int | None = option(None, integer(68, 65521), "MTU of the device, bytes", "N")
    mac: MacAddress | None = option(None, station_address, "MAC address of the device", "MAC", format_mac)
    address: tuple[InterfaceAddress, ...] = option(
        (), interface_address, "IPv4 or IPv6 address; repeatable", "ADDRESS/PREFIX"
    )
    bridge: str | None = option(None, interface_name, "make it a member of this bridge", "NAME")
    netns: str | None = option(None, namespace_name, "network namespace to create it in", "NAME")
    up: bool = flag(True, "set the device up")
    offload: bool = flag(True, "let the kernel hand over superframes (TSO, USO, checksums)")


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
    gateway: tuple[IpAddress, ...] = option(
        (), ip_address, "who takes packets for other networks; one for IPv4, one for IPv6", "ADDRESS"
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
    locator.scheme: locator
    for locator in (
        UdpLocator,
        WireguardLocator,
        TapLocator,
        HostLocator,
        RouterLocator,
        VdeLocator,
        TcpLocator,
        UnixLocator,
        UnixgramLocator,
        StdioLocator,
        CmdLocator,
        SlirpLocator,
        DhcpLocator,
        PacketLocator,
        TunLocator,
        VxlanLocator,
        PcapLocator,
    )
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
            + ", ".join(locator.prefix() for locator in SCHEMES.values())
        )
    try:
        return SCHEMES[scheme].read_text(rest)
    except SettingsError as error:
        shown = text.partition("?")[0] if SCHEMES[scheme].may_hold_secrets else text
        raise SettingsError(f"{shown}: {error}") from None


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
