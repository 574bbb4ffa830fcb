"""The four messages on the wire (WG 5.4): bytes to values and back. No keys, no state.

A message starts with its type as a little-endian u32; all integers are little-endian. Decoding is total:
any bytes give a value or ``FrameError``. Transport data has no value here: it is handled in place by
``keypair`` and ``batch``.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from vport.errors import FrameError
from vport.wireguard.constants import (
    COOKIE_REPLY_SIZE,
    INITIATION_SIZE,
    MAC_SIZE,
    RESPONSE_SIZE,
    TRANSPORT_OVERHEAD,
    MessageType,
)

if TYPE_CHECKING:
    from vport.ethernet import Buffer

_INITIATION: Final = struct.Struct("<II32s48s28s")
_RESPONSE: Final = struct.Struct("<III32s16s")
_COOKIE_REPLY: Final = struct.Struct("<II24s32s")
TRANSPORT_HEADER: Final = struct.Struct("<IIQ")
"""Type, receiver index, counter; then the sealed payload (WG 5.4.6)."""


class Initiation(NamedTuple):
    """Message 1, without its macs: sender index, ephemeral, sealed static key, sealed timestamp."""

    sender: int
    ephemeral: bytes
    sealed_static: bytes
    sealed_timestamp: bytes

    def encode(self) -> bytes:
        """Give the 116 bytes in front of mac1."""
        return _INITIATION.pack(MessageType.INITIATION, *self)


class Response(NamedTuple):
    """Message 2, without its macs: sender and receiver index, ephemeral, sealed nothing."""

    sender: int
    receiver: int
    ephemeral: bytes
    sealed_nothing: bytes

    def encode(self) -> bytes:
        """Give the 60 bytes in front of mac1."""
        return _RESPONSE.pack(MessageType.RESPONSE, *self)


class CookieReply(NamedTuple):
    """Message 3: the index of the message it answers, nonce, sealed cookie."""

    receiver: int
    nonce: bytes
    sealed_cookie: bytes

    def encode(self) -> bytes:
        """Give the 64 bytes."""
        return _COOKIE_REPLY.pack(MessageType.COOKIE_REPLY, *self)


def decode_type(datagram: Buffer) -> MessageType:
    """Say what ``datagram`` is by its type and its length.

    Raises:
        FrameError: no message has this type, or none of this type has this length.
    """
    kind, size = int.from_bytes(datagram[:4], "little"), len(datagram)
    if kind == MessageType.TRANSPORT and size >= TRANSPORT_OVERHEAD:
        return MessageType.TRANSPORT
    if kind == MessageType.INITIATION and size == INITIATION_SIZE:
        return MessageType.INITIATION
    if kind == MessageType.RESPONSE and size == RESPONSE_SIZE:
        return MessageType.RESPONSE
    if kind == MessageType.COOKIE_REPLY and size == COOKIE_REPLY_SIZE:
        return MessageType.COOKIE_REPLY
    raise FrameError(f"no WireGuard message: type word {kind:#x}, {size} bytes")


def decode_initiation(datagram: Buffer) -> Initiation:
    """Take message 1 apart; ``decode_type`` has looked at it already."""
    return Initiation(*_INITIATION.unpack_from(datagram)[1:])


def decode_response(datagram: Buffer) -> Response:
    """Take message 2 apart; ``decode_type`` has looked at it already."""
    return Response(*_RESPONSE.unpack_from(datagram)[1:])


def decode_cookie_reply(datagram: Buffer) -> CookieReply:
    """Take message 3 apart; ``decode_type`` has looked at it already."""
    return CookieReply(*_COOKIE_REPLY.unpack_from(datagram)[1:])


def split_macs(datagram: bytes) -> tuple[bytes, bytes, bytes]:
    """Split message 1 or 2 into what mac1 covers, mac1, and mac2; mac2 covers the first two."""
    return datagram[: -2 * MAC_SIZE], datagram[-2 * MAC_SIZE : -MAC_SIZE], datagram[-MAC_SIZE:]
