"""A program that floods a WireGuard port with initiations from invented sources; run by tests.

    python -m tests.system.wireguard_flood PUBLIC-KEY UDP-PORT RATE SECONDS

On loopback every address of 127.0.0.0/8 is ours, so that each datagram can have a source of its own. The
messages have a right mac1 and are junk otherwise: that is what costs most. Prints how many it sent.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import sys
import time
from contextlib import suppress
from hashlib import blake2s

from vport.wireguard.keys import PublicKey

_IP_PKTINFO = 8  # linux/in.h
_VARIANTS = 512
_TICK = 0.005


def junk_initiation(key: PublicKey) -> bytes:
    """Make an initiation that passes the first test, mac1, and no other."""
    body = b"\x01\0\0\0" + os.urandom(112)
    mac1 = blake2s(body, digest_size=16, key=key.mac1_key).digest()
    return body + mac1 + bytes(16)


def flood(key: PublicKey, port: int, rate: int, seconds: float) -> int:
    """Send; give the number of datagrams."""
    messages = [junk_initiation(key) for _ in range(_VARIANTS)]
    sent = 0
    # An interrupt ends it sooner.
    with suppress(KeyboardInterrupt), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
        start = time.monotonic()
        while (elapsed := time.monotonic() - start) < seconds:
            while sent < elapsed * rate:
                source = bytes((127, 1 + sent % 200, sent // 200 % 250, 1 + sent // 50000 % 250))
                info = struct.pack("@i4s4s", 0, source, bytes(4))
                control = [(socket.IPPROTO_IP, _IP_PKTINFO, info)]
                sock.sendmsg([messages[sent % _VARIANTS]], control, 0, ("127.0.0.1", port))
                sent += 1
            time.sleep(_TICK)
    return sent


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored so far if tests run in the background
    count = flood(PublicKey.parse(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
    sys.stdout.write(f"sent {count}\n")
