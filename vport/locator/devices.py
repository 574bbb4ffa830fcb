"""Locators of network devices of this kernel: tap, tun, packet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vport.errors import SettingsError
from vport.ethernet import MacAddress, format_mac
from vport.locator.base import DeviceLocator, flag, option
from vport.readers import (
    InterfaceAddress,
    IpAddress,
    integer,
    interface_address,
    interface_name,
    ip_address,
    namespace_name,
    station_address,
)


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
class PacketLocator(DeviceLocator):
    """An existing network device of this kernel. See ``vport.links.packet``."""

    scheme: ClassVar[str] = "packet"
    form: ClassVar[str] = "packet://NAME"
    summary: ClassVar[str] = "an existing device, such as eth0: its whole LAN joins"

    netns: str | None = option(None, namespace_name, "network namespace that it is in", "NAME")
    promiscuous: bool = flag(True, "hear frames for others too")


@dataclass(frozen=True, slots=True, kw_only=True)
class TunLocator(DeviceLocator):
    """A TUN device of this kernel. See ``vport.links.tun``."""

    scheme: ClassVar[str] = "tun"
    form: ClassVar[str] = "tun://NAME?address=ADDRESS/PREFIX"
    summary: ClassVar[str] = "a TUN device: the machine joins the LAN with IP only, no Ethernet"

    address: tuple[InterfaceAddress, ...] = option(
        (), interface_address, "IPv4 or IPv6 address on the LAN; repeatable, at least one", "ADDRESS/PREFIX"
    )
    gateway: tuple[IpAddress, ...] = option(
        (), ip_address, "who takes packets for other networks; one for IPv4, one for IPv6", "ADDRESS"
    )
    mtu: int | None = option(None, integer(68, 65521), "MTU of the device, bytes", "N")
    mac: MacAddress | None = option(
        None, station_address, "MAC address on the LAN (default: made from the address)", "MAC", format_mac
    )
    netns: str | None = option(None, namespace_name, "network namespace to create it in", "NAME")

    def __post_init__(self) -> None:
        if not self.address:
            raise SettingsError("which address has it on the LAN? Add ?address=ADDRESS/PREFIX")
