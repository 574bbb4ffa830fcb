"""Locators of what is simulated in this process: host, router."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from vport.errors import SettingsError
from vport.ethernet import VID_MAX, MacAddress, Vid, format_mac
from vport.locator.base import Locator, flag, option
from vport.readers import (
    InterfaceAddress,
    IpAddress,
    integer,
    interface_address,
    ip_address,
    seconds,
    station_address,
)

if TYPE_CHECKING:
    from vport.routes import RouterInterface

_ANY_MAC: Final = MacAddress(b"\x02" + bytes(5))


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


def vids(text: str) -> tuple[Vid, ...]:
    """Read the numbers of VLANs, with commas between them; 0 stands for no tag."""
    return tuple(Vid(integer(0, VID_MAX)(one)) for one in text.split(","))


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterLocator(Locator):
    """A router between networks that reach one port. See ``vport.router``."""

    scheme: ClassVar[str] = "router"
    form: ClassVar[str] = "router://ADDRESS/PREFIX,ADDRESS/PREFIX,…"
    summary: ClassVar[str] = "a router between several networks, on one LAN or on tagged VLANs (vlan=10,20)"

    addresses: tuple[InterfaceAddress, ...]
    vlan: tuple[Vid, ...] | None = option(
        None,
        vids,
        "the VLAN of each address, in their order; 0 is untagged (default: all untagged)",
        "VID,VID,…",
        lambda value: ",".join(map(str, value)),
    )
    gateway: tuple[IpAddress, ...] = option(
        (), ip_address, "who takes packets for all other networks; one for IPv4, one for IPv6", "ADDRESS"
    )
    mac: MacAddress | None = option(
        None, station_address, "MAC address (default: made from the first address)", "MAC", format_mac
    )
    mtu: int | None = option(None, integer(68, 65521), "longest packet that it takes (default 9000)", "N")

    def __post_init__(self) -> None:
        count = len(self.addresses) if self.vlan is None else len(self.vlan)
        if count != len(self.addresses):
            raise SettingsError(
                f"option vlan: {count} VLANs for {len(self.addresses)} addresses; name one for each"
            )
        from vport.routes import Routes  # loads NumPy, which other locators do without

        Routes(_ANY_MAC, self.interfaces(), self.gateway)  # what they refuse is refused now

    def interfaces(self) -> list[RouterInterface]:
        """Give each address with its VLAN."""
        from vport.routes import UNTAGGED, RouterInterface

        vlans = (UNTAGGED,) * len(self.addresses) if self.vlan is None else self.vlan
        return [RouterInterface(*one) for one in zip(self.addresses, vlans, strict=True)]

    @classmethod
    def read_target(cls, text: str) -> dict[str, Any]:
        """Read the addresses, with commas between them."""
        return {"addresses": tuple(interface_address(one) for one in text.split(","))}

    def write_target(self) -> str:
        """Write the addresses."""
        return ",".join(map(str, self.addresses))
