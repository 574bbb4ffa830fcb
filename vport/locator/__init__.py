"""Locators: the text that names a link or a listener, and its typed value. Pure.

    SCHEME://TARGET?OPTION=VALUE&OPTION=VALUE…

``schemes`` has the one table of schemes: a class each, whose fields say which options there are, how they are
read and what they mean. ``parse`` reads a text by that table, ``str(locator)`` writes it back, help texts and
completion are made from it. ``base`` is what all schemes have, the other modules have the classes, by kind of
place. Which module opens which scheme is said in ``vport.links``.
"""

from vport.locator.base import Locator
from vport.locator.devices import PacketLocator, TapLocator, TunLocator
from vport.locator.schemes import SCHEMES, explain, parse
from vport.locator.services import DhcpLocator, SlirpLocator
from vport.locator.stations import HostLocator, RouterLocator
from vport.locator.streams import (
    CmdLocator,
    PcapLocator,
    StdioLocator,
    TcpLocator,
    UnixgramLocator,
    UnixLocator,
    VdeLocator,
)
from vport.locator.udp import UdpLocator, VxlanLocator
from vport.locator.wireguard import WireguardLocator
from vport.readers import InterfaceAddress, IpAddress

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
    "parse",
]
