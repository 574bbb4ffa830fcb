"""Raw Ethernet frames over UDP, one per datagram: what the scheme ``udp`` opens.

Compatible with every program that puts one Ethernet frame into a UDP datagram: the original vport,
QEMU's ``-netdev dgram``. It authenticates nobody. A client (``udp_client``) speaks to one switch; a
listener (``udp_listener``) makes a link of each address that sends to it. Both receive through an
``inbox`` and send through an ``outbox``.
"""

from __future__ import annotations

from vport.links.udp_client import UdpClient, open_udp_client
from vport.links.udp_listener import UdpListener, UdpPeer, open_udp_listener

__all__ = ["UdpClient", "UdpListener", "UdpPeer", "open_udp_client", "open_udp_listener"]
