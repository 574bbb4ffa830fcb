"""One raw frame per datagram of a Unix socket: ``unixgram``.

Compatible with QEMU's ``-netdev dgram`` over Unix sockets and with what talks to vfkit's. There is no
connection: a far end is whoever sends from a socket with a name, until that name does not answer any more.
A far end that takes frames from anybody, as QEMU does, lets ten of them wait (net.unix.max_dgram_qlen), and
only a socket connected to it tells when there is room again: each has one. Far ends that are connected to our
socket take frames from no other, so all of these share its buffer.
"""

from __future__ import annotations

from vport.links.unixgram_client import UnixgramClient, open_unixgram_client
from vport.links.unixgram_listener import UnixgramListener, UnixgramPeer, open_unixgram_listener

__all__ = [
    "UnixgramClient",
    "UnixgramListener",
    "UnixgramPeer",
    "open_unixgram_client",
    "open_unixgram_listener",
]
