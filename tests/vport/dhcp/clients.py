"""DHCP clients and resolvers for tests, written with scapy: an encoder that is not ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.dns import DNS, DNSQR
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from vport.locator import DhcpLocator, parse

if TYPE_CHECKING:
    from vport.dhcp.settings import DhcpSettings

SERVER = "10.1.1.254"
SERVER_MAC = "02:00:00:00:00:fe"


def settings(query: str = "pool=10.1.1.100-10.1.1.103") -> DhcpSettings:
    locator = parse(f"dhcp://10.1.1.0/24?{query}")
    assert isinstance(locator, DhcpLocator)
    return locator.settings()


def mac_of(number: int) -> str:
    return f"02:00:00:00:01:{number:02x}"


def message(number: int, kind: str, *, ciaddr: str = "0.0.0.0", flags: int = 0, **options: Any) -> BOOTP:
    """Give a message of client ``number``."""
    extra = [(name, value) for name, value in options.items() if value is not None]
    return BOOTP(
        op=1, chaddr=bytes.fromhex(mac_of(number).replace(":", "")), xid=number, ciaddr=ciaddr, flags=flags
    ) / DHCP(options=[("message-type", kind), *extra, "end"])


def frame(number: int, kind: str, *, source: str = "0.0.0.0", **more: Any) -> bytes:
    """Give the broadcast frame with a message of client ``number``."""
    return bytes(
        Ether(src=mac_of(number), dst="ff:ff:ff:ff:ff:ff")
        / IP(src=source, dst="255.255.255.255")
        / UDP(sport=68, dport=67)
        / message(number, kind, **more)
    )


def options_of(packet: Any) -> dict[str, Any]:
    """Give the options of a reply by scapy's names."""
    return {option[0]: option[1] for option in packet[DHCP].options if isinstance(option, tuple)}


def query_frame(number: int, source: str, name: str, kind: str = "A", **more: Any) -> bytes:
    """Give the frame with a question of client ``number``."""
    return bytes(
        Ether(src=mac_of(number), dst=SERVER_MAC)
        / IP(src=source, dst=SERVER)
        / UDP(sport=40000, dport=53)
        / DNS(rd=1, qd=DNSQR(qname=name, qtype=kind), **more)
    )
