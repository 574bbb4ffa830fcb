"""Locators of what goes over UDP in the open: raw frames (``udp``), VXLAN (``vxlan``)."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from vport.errors import SettingsError
from vport.ethernet import MacAddress, format_mac
from vport.locator.base import HostPortLocator, flag, option
from vport.readers import (
    host_and_port,
    integer,
    interface_name,
    seconds,
    station_address,
    write_host_and_port,
)

VXLAN_PORT: Final = 4789  # RFC 7348 section 5
_VNI_MAX: Final = (1 << 24) - 1
_NO_VNI: Final = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class UdpLocator(HostPortLocator):
    """Raw Ethernet frames over UDP, one per datagram. See ``vport.links.udp``."""

    scheme: ClassVar[str] = "udp"
    form: ClassVar[str] = "udp://HOST:PORT, listening: udp://[ADDRESS]:PORT"
    summary: ClassVar[str] = "one raw Ethernet frame per UDP datagram (authenticates nobody)"
    can_listen: ClassVar[bool] = True

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


def remote(text: str) -> tuple[str, int]:
    """Read ``HOST`` or ``HOST:PORT``, the port of VXLAN where none is given."""
    if re.fullmatch(r"\[[^\[\]]*\]|[^\[\]:]+", text):
        text += f":{VXLAN_PORT}"
    elif text.count(":") > 1 and not text.startswith("["):
        text = f"[{text}]:{VXLAN_PORT}"
    return host_and_port(text, any_host=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class VxlanLocator(HostPortLocator):
    """A VXLAN segment (RFC 7348). See ``vport.links.vxlan``."""

    scheme: ClassVar[str] = "vxlan"
    form: ClassVar[str] = "vxlan://[ADDRESS][:PORT]?vni=N&remote=HOST"
    summary: ClassVar[str] = "VXLAN (RFC 7348): Linux, Open vSwitch, EVPN fabrics (authenticates nobody)"

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
        return HostPortLocator.read_target(text)


def is_group(address: str) -> bool:
    """Whether an address in text is a multicast group."""
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_multicast
    except ValueError:
        return False
