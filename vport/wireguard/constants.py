"""The numbers of WireGuard, and our own bounds beside them.

"WG 5.4" and the like are sections of the WireGuard whitepaper (Donenfeld, "WireGuard: Next Generation
Kernel Network Tunnel"). Times are in seconds, sizes in bytes.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

# --- constants of the protocol ---

CONSTRUCTION: Final = b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s"  # WG 5.4
IDENTIFIER: Final = b"WireGuard v1 zx2c4 Jason@zx2c4.com"  # WG 5.4
LABEL_MAC1: Final = b"mac1----"  # WG 5.4
LABEL_COOKIE: Final = b"cookie--"  # WG 5.4

REKEY_AFTER_MESSAGES: Final = 1 << 60  # WG 6.1
REJECT_AFTER_MESSAGES: Final = (1 << 64) - (1 << 13) - 1  # WG 6.1
REKEY_AFTER_TIME: Final = 120.0  # WG 6.1
REJECT_AFTER_TIME: Final = 180.0  # WG 6.1
REKEY_TIMEOUT: Final = 5.0  # WG 6.1
REKEY_TIMEOUT_JITTER: Final = 0.333  # WG 6.1: "an additional amount of jitter"
KEEPALIVE_TIMEOUT: Final = 10.0  # WG 6.1
COOKIE_LIFETIME: Final = 120.0  # WG 5.4.7

KEY_SIZE: Final = 32
TAG_SIZE: Final = 16  # of the AEAD
MAC_SIZE: Final = 16  # of mac1, mac2 and a cookie
PADDING: Final = 16  # plaintexts are padded to a multiple of this (WG 5.4.6)
TRANSPORT_HEADER_SIZE: Final = 16  # type, receiver index, counter (WG 5.4.6)
TRANSPORT_OVERHEAD: Final = TRANSPORT_HEADER_SIZE + TAG_SIZE


class MessageType(IntEnum):
    """First byte of a message, the next three being zero: together one little-endian u32 (WG 5.4)."""

    INITIATION = 1
    RESPONSE = 2
    COOKIE_REPLY = 3
    TRANSPORT = 4


INITIATION_SIZE: Final = 148
RESPONSE_SIZE: Final = 92
COOKIE_REPLY_SIZE: Final = 64

# --- what every implementation does alike, though the whitepaper leaves it open ---

HANDSHAKE_RETRIES: Final = 19  # 20 initiations, then we give up after about 104 s
QUEUE_LIMIT: Final = 128  # messages held per peer while there is no session; the oldest goes
INITIATION_INTERVAL: Final = 0.020  # a responder ignores initiations of one peer that come faster
REPLAY_WINDOW: Final = 8128  # greatest lag behind the newest counter that is still accepted
TIMESTAMP_STEP: Final = 1 << 24  # nanoseconds; stamps are coarser than the clock on purpose

# --- our own ---

CROSSED_REKEY_DELAY: Final = 5.0
"""After a crossing of initiations the side with the smaller public key renews this much later, so that the
next renewal does not cross again. 5 s is far above any round trip and leaves 40 s before keys die."""

LOAD_RATE: Final = 1000.0  # handshake messages a second that we work on without asking for cookies
LOAD_BURST: Final = 128  # ... and at once: 128 × 136 µs is 17 ms of a core
LOAD_HOLD: Final = 1.0  # seconds that we stay under load after the last excess
SOURCE_RATE: Final = 20.0  # handshakes a second from one source address with a proven cookie
SOURCE_BURST: Final = 5
SOURCE_TABLE_LIMIT: Final = 4096  # sources remembered; 100 bytes each
PROVEN_RATE: Final = 2000.0  # handshakes a second from all proven sources: a quarter of a core
PROVEN_BURST: Final = 256
PEER_LIMIT: Final = 65536  # peers of a device
PREFIX_LIMIT: Final = 65536  # prefixes of all peers of a device

MAX_SEGMENTS: Final = 64  # UDP_MAX_SEGMENTS before Linux 6.10; later kernels take 128
MAX_DATAGRAMS_SIZE: Final = 65507  # what UDP over IPv4 takes in one send, GSO or not
DEFAULT_MTU: Final = 1420  # plaintext bytes: 1500 less 80 for IPv6, UDP and our overhead
