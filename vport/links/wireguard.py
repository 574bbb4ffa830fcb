"""WireGuard: what the scheme ``wg`` opens. Encrypted, and nobody gets in without a key.

A listener (``wireguard_listener``) has all peers of its roll (``wireguard_roll``) on one socket, a client
(``wireguard_client``) calls one switch. Both stand on ``wireguard_socket``, which joins a socket to the
protocol in ``vport.wireguard``. Between our own ports go Ethernet frames; stock clients carry IP packets and
are shown to the LAN as stations (``wireguard_peer``).
"""

from __future__ import annotations

from vport.links.wireguard_client import WireguardClient, open_wireguard_client
from vport.links.wireguard_listener import WireguardListener, open_wireguard_listener

__all__ = ["WireguardClient", "WireguardListener", "open_wireguard_client", "open_wireguard_listener"]
