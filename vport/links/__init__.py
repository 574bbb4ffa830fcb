"""The kinds of link, a module each; ``base`` says what a link and a listener are.

``open_link`` and ``open_listener`` are the one place that knows which module opens which locator. They import
it when it is asked for: a program that only forwards UDP need not load what talks to the kernel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vport.errors import SettingsError
from vport.locator import HostLocator, Locator, TapLocator, UdpLocator, WireguardLocator, parse

if TYPE_CHECKING:
    from vport.links.base import Link, Listener


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
        case _:
            raise SettingsError(f"{locator}: nothing can be plugged in there")


async def open_listener(locator: Locator | str) -> Listener:
    """Open the listener that ``locator`` names; the caller closes it.

    Cancelled, it leaves nothing open.

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

            return await open_wireguard_listener(locator)
        case _:
            raise SettingsError(f"{locator}: {locator.scheme} does not listen; attach it instead")
