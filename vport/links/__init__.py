"""The kinds of link, a module each; ``base`` says what a link and a listener are.

``open_link`` and ``open_listener`` are the one place that knows which module opens which locator. They import
it when it is asked for: a program that only forwards UDP need not load what talks to the kernel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vport.errors import SettingsError
from vport.locator import (
    CmdLocator,
    DhcpLocator,
    HostLocator,
    Locator,
    PacketLocator,
    PcapLocator,
    RouterLocator,
    SlirpLocator,
    StdioLocator,
    TapLocator,
    TcpLocator,
    TunLocator,
    UdpLocator,
    UnixgramLocator,
    UnixLocator,
    VdeLocator,
    VxlanLocator,
    WireguardLocator,
    parse,
)

if TYPE_CHECKING:
    from vport.links.base import Link, Listener
    from vport.wireguard.config import PeerSection


async def open_link(locator: Locator | str) -> Link:
    """Open the link that ``locator`` names; the caller closes it.

    Cancelled, it leaves nothing open.

    Raises:
        SettingsError: the locator is malformed, or names no link.
        LinkError: it cannot be opened; the message says why.
    """
    if isinstance(locator, str):
        locator = parse(locator)
    match locator:
        case UdpLocator():
            from vport.links.udp import open_udp_client

            return await open_udp_client(locator)
        case WireguardLocator():
            from vport.links.wireguard import open_wireguard_client

            return await open_wireguard_client(locator)
        case TapLocator():
            from vport.links.tap import open_tap

            return await open_tap(locator)
        case HostLocator():
            from vport.links.host import open_host

            return await open_host(locator)
        case RouterLocator():
            from vport.links.router import open_router

            return await open_router(locator)
        case SlirpLocator():
            from vport.links.slirp import open_slirp

            return await open_slirp(locator)
        case DhcpLocator():
            from vport.links.dhcp import open_dhcp

            return await open_dhcp(locator)
        case VdeLocator():
            from vport.links.vde import open_vde_client

            return await open_vde_client(locator)
        case TcpLocator() | UnixLocator():
            from vport.links.stream import open_stream_client

            return await open_stream_client(locator)
        case UnixgramLocator():
            from vport.links.unixgram import open_unixgram_client

            return await open_unixgram_client(locator)
        case StdioLocator():
            from vport.links.pipes import open_stdio

            return await open_stdio(locator)
        case CmdLocator():
            from vport.links.pipes import open_command

            return await open_command(locator)
        case PacketLocator():
            from vport.links.packet import open_packet

            return await open_packet(locator)
        case TunLocator():
            from vport.links.tun import open_tun

            return await open_tun(locator)
        case VxlanLocator():
            from vport.links.vxlan import open_vxlan

            return await open_vxlan(locator)
        case PcapLocator():
            from vport.links.pcap import open_pcap

            return await open_pcap(locator)
        case _:
            raise SettingsError(f"{locator}: nothing can be plugged in there")


async def open_listener(locator: Locator | str, peers: tuple[PeerSection, ...] = ()) -> Listener:
    """Open the listener that ``locator`` names; the caller closes it.

    Cancelled, it leaves nothing open. ``peers`` are for WireGuard: they may call beside those in its files.

    Raises:
        SettingsError: the locator is malformed, or its scheme does not listen.
        LinkError: it cannot be opened, an address in use for example; the message says why.
    """
    if isinstance(locator, str):
        locator = parse(locator)
    match locator:
        case UdpLocator():
            from vport.links.udp import open_udp_listener

            return await open_udp_listener(locator)
        case WireguardLocator():
            from vport.links.wireguard import open_wireguard_listener

            return await open_wireguard_listener(locator, peers)
        case VdeLocator():
            from vport.links.vde import open_vde_listener

            return await open_vde_listener(locator)
        case TcpLocator() | UnixLocator():
            from vport.links.stream import open_stream_listener

            return await open_stream_listener(locator)
        case UnixgramLocator():
            from vport.links.unixgram import open_unixgram_listener

            return await open_unixgram_listener(locator)
        case _:
            raise SettingsError(f"{locator}: {locator.scheme} does not listen; attach it instead")
