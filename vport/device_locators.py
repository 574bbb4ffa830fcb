"""Locators of what plugs in through this kernel or over an overlay: packet, tun, vxlan."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from vport.errors import SettingsError
from vport.ethernet import MacAddress, format_mac
from vport.locator_fields import (
    DeviceLocator,
    InterfaceAddress,
    IpAddress,
    Locator,
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

VXLAN_PORT: Final = 4789  # RFC 7348 section 5
_VNI_MAX: Final = (1 << 24) - 1
_NO_VNI: Final = -1


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


def remote(text: str) -> tuple[str, int]:
    """Read ``HOST`` or ``HOST:PORT``, the port of VXLAN where none is given."""
    if re.fullmatch(r"\[[^\[\]]*\]|[^\[\]:]+", text):
        text += f":{VXLAN_PORT}"
    elif text.count(":") > 1 and not text.startswith("["):
        text = f"[{text}]:{VXLAN_PORT}"
    return host_and_port(text, any_host=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class VxlanLocator(Locator):
    """A VXLAN segment (RFC 7348). See ``vport.links.vxlan``."""

    scheme: ClassVar[str] = "vxlan"
    form: ClassVar[str] = "vxlan://[ADDRESS][:PORT]?vni=N&remote=HOST"
    summary: ClassVar[str] = "VXLAN (RFC 7348): Linux, Open vSwitch, EVPN fabrics (authenticates nobody)"

    host: str
    port: int
    vni: int = option(_NO_VNI, integer(0, _VNI_MAX), "number of the segment, needed", "N")
    remote: tuple[tuple[str, int], ...] = option(
        (),
        remote,
        "another end, or a multicast group; repeatable",
        "HOST[:PORT]",
        lambda value: write_host_and_port(*value),
    )
    device: str | None = option(None, interface_name, "device for the multicast group", "NAME")
    ttl: int = option(1, integer(1, 255), "hops that multicast may take", "N")
    learn: bool = flag(True, "learn behind which end a station is; without, all ends get all frames")
    age: float = option(300.0, seconds(1, 1e6), "forget a silent station after", "SECONDS", "{:g}".format)

    def __post_init__(self) -> None:
        if self.vni == _NO_VNI:
            raise SettingsError("which segment? Add ?vni=N")

    @classmethod
    def read_target(cls, text: str) -> dict[str, Any]:
        """Read ``ADDRESS:PORT``; both may be missing."""
        if ":" not in re.sub(r"\[.*\]", "", text):
            text += f":{VXLAN_PORT}"
        host, port = host_and_port(text)
        return {"host": host, "port": port}

    def write_target(self) -> str:
        """Write ``ADDRESS:PORT``."""
        return write_host_and_port(self.host, self.port)


def is_group(address: str) -> bool:
    """Whether an address in text is a multicast group."""
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_multicast
    except ValueError:
        return False
