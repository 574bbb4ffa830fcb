"""The hash, the key derivation and the two AEADs that WireGuard is made of (WG 5.4).

X25519 is in ``keys``. Nothing here keeps state; nothing here puts a key into an exception.
"""

from __future__ import annotations

import struct
from hashlib import blake2s
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

from vport.errors import RemoteProtocolError
from vport.wireguard.constants import MAC_SIZE

if TYPE_CHECKING:
    from vport.ethernet import Buffer

_BLOCK: Final = 64  # BLAKE2s, as HMAC sees it (RFC 2104 section 2)
_INNER: Final = bytes(octet ^ 0x36 for octet in range(256))
_OUTER: Final = bytes(octet ^ 0x5C for octet in range(256))
_WORDS: Final = struct.Struct("<16I")
_SIGMA: Final = struct.unpack("<4I", b"expand 32-byte k")  # RFC 8439 section 2.3
_ZERO_NONCE: Final = bytes(12)


def digest(*parts: Buffer) -> bytes:
    """Hash the concatenation of ``parts`` with BLAKE2s; 32 bytes."""
    return blake2s(b"".join(parts)).digest()


def mac(key: bytes, data: Buffer) -> bytes:
    """BLAKE2s in its own keyed mode, 16 bytes: for mac1, mac2 and cookies, and nothing else."""
    return blake2s(data, key=key, digest_size=MAC_SIZE).digest()


def hmac(key: bytes, data: bytes) -> bytes:
    """HMAC over plain BLAKE2s; ``key`` is at most 64 bytes, as all of ours are.

    Written out because it takes half the time of ``hmac.digest`` and a handshake needs about thirty.
    """
    block = key.ljust(_BLOCK, b"\0")
    return blake2s(block.translate(_OUTER) + blake2s(block.translate(_INNER) + data).digest()).digest()


def kdf1(key: bytes, data: bytes) -> bytes:
    """Derive one key of 32 bytes from a chaining key and fresh input."""
    return hmac(hmac(key, data), b"\1")


def kdf2(key: bytes, data: bytes) -> tuple[bytes, bytes]:
    """Derive two keys."""
    secret = hmac(key, data)
    first = hmac(secret, b"\1")
    return first, hmac(secret, first + b"\2")


def kdf3(key: bytes, data: bytes) -> tuple[bytes, bytes, bytes]:
    """Derive three keys."""
    secret = hmac(key, data)
    first = hmac(secret, b"\1")
    second = hmac(secret, first + b"\2")
    return first, second, hmac(secret, second + b"\3")


def seal(key: bytes, plaintext: bytes, associated: bytes) -> bytes:
    """Seal under a key that is used once: the nonce is zero. The tag is the last 16 bytes."""
    return ChaCha20Poly1305(key).encrypt(_ZERO_NONCE, plaintext, associated)


def open_sealed(key: bytes, sealed: bytes, associated: bytes) -> bytes:
    """Open what ``seal`` made.

    Raises:
        RemoteProtocolError: it was not sealed with this key for this place.
    """
    try:
        return ChaCha20Poly1305(key).decrypt(_ZERO_NONCE, sealed, associated)
    except InvalidTag:
        raise RemoteProtocolError("sealed field does not verify") from None


def hchacha20(key: bytes, nonce: bytes) -> bytes:
    """Derive a key of 32 bytes from ``key`` and a nonce of 16 bytes (draft-irtf-cfrg-xchacha 2.2).

    ``cryptography`` has ChaCha20 only, which adds its initial state to what the rounds give: take
    that off again and the words HChaCha20 asks for remain.
    """
    block = Cipher(ChaCha20(key, nonce), None).encryptor().update(bytes(_BLOCK))
    words = _WORDS.unpack(block)
    start = (*_SIGMA, *struct.unpack("<4I", nonce))
    kept = words[:4] + words[12:]
    return struct.pack("<8I", *[word - add & 0xFFFFFFFF for word, add in zip(kept, start, strict=True)])


def xseal(key: bytes, nonce: bytes, plaintext: bytes, associated: bytes) -> bytes:
    """Seal with XChaCha20-Poly1305; ``nonce`` has 24 bytes and may be random."""
    cipher = ChaCha20Poly1305(hchacha20(key, nonce[:16]))
    return cipher.encrypt(bytes(4) + nonce[16:], plaintext, associated)


def xopen(key: bytes, nonce: bytes, sealed: bytes, associated: bytes) -> bytes:
    """Open what ``xseal`` made.

    Raises:
        RemoteProtocolError: it was not sealed with this key for this place.
    """
    cipher = ChaCha20Poly1305(hchacha20(key, nonce[:16]))
    try:
        return cipher.decrypt(bytes(4) + nonce[16:], sealed, associated)
    except InvalidTag:
        raise RemoteProtocolError("sealed cookie does not verify") from None
