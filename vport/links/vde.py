"""VDE 2: what the scheme ``vde`` opens.

Compatible with vde_plug, vde_plug2tap, slirpvde, wirefilter, QEMU's ``-netdev vde``, User-Mode Linux and
whatever else links libvdeplug 2 or 4, as well as with vde_switch. A client (``vde_client``) plugs into a
switch; a listener (``vde_listener``) is one. Frames go through ``frame_batch``.
"""

from __future__ import annotations

from vport.links.vde_client import VdeClient, open_vde_client
from vport.links.vde_listener import VdeClientLink, VdeListener, open_vde_listener

__all__ = ["VdeClient", "VdeClientLink", "VdeListener", "open_vde_client", "open_vde_listener"]
