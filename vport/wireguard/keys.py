"""Keys as values: made from given randomness, read and written in base64 as ``wg`` does.

No ``repr`` and no error shows a secret, and no error repeats the text it complains about: what was
pasted into the wrong field may well be a private key.
"""

from __future__ import annotations

import binascii
import hmac
from functools import cached_property
from typing import TYPE_CHECKING, Final, Self

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from vport.errors import RemoteProtocolError, SettingsError
from vport.wireguard.constants import KEY_SIZE, LABEL_COOKIE, LABEL_MAC1
from vport.wireguard.primitives import digest

if TYPE_CHECKING:
    from collections.abc import Callable

    Entropy = Callable[[int], bytes]
    """Gives that many unpredictable bytes: ``os.urandom``, or a seeded generator in a test."""

_TEXT_SIZE: Final = 44  # 32 bytes in base64, the last character being the padding


def _decode(text: str, kind: str) -> bytes:
    if len(text) != _TEXT_SIZE:
        raise SettingsError(f"a {kind} is {_TEXT_SIZE} characters of base64, this text has {len(text)}")
    try:
        raw = binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError):
        raw = b""
    # Spare bits must be zero, or one key would have four spellings; ``wg`` refuses them too.
    if len(raw) != KEY_SIZE or binascii.b2a_base64(raw, newline=False) != text.encode():
        raise SettingsError(f"this {kind} is not base64 of 32 bytes (not shown: it may be secret)") from None
    return raw


class _Key:
    """32 bytes with a name. Compared in constant time, whatever they are."""

    kind = "key"

    def __init__(self, raw: bytes) -> None:
        if len(raw) != KEY_SIZE:
            raise SettingsError(f"a {self.kind} has {KEY_SIZE} bytes, not {len(raw)}")
        self.raw = bytes(raw)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read base64, 44 characters.

        Raises:
            SettingsError: the text is something else; the message does not repeat it.
        """
        return cls(_decode(text.strip(), cls.kind))

    def encode(self) -> str:
        """Write base64, as ``wg`` shows keys. This is the secret itself, but for a public key."""
        return binascii.b2a_base64(self.raw, newline=False).decode()

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and hmac.compare_digest(self.raw, other.raw)

    def __hash__(self) -> int:
        return hash((self.kind, self.raw))

    def __repr__(self) -> str:
        return f"<{self.kind}>"


class PublicKey(_Key):
    """A peer's identity, and the keys of the macs that messages to it carry."""

    kind = "public key"

    def __repr__(self) -> str:
        return f"<public key {self.encode()}>"

    @cached_property
    def point(self) -> X25519PublicKey:
        """The key as X25519 takes it."""
        return X25519PublicKey.from_public_bytes(self.raw)

    @cached_property
    def mac1_key(self) -> bytes:
        """Key of mac1 in messages *to* the owner (WG 5.4.4)."""
        return digest(LABEL_MAC1, self.raw)

    @cached_property
    def cookie_key(self) -> bytes:
        """Key of cookies *from* the owner (WG 5.4.7)."""
        return digest(LABEL_COOKIE, self.raw)


class PrivateKey(_Key):
    """An X25519 private key, clamped (RFC 7748 section 5)."""

    kind = "private key"

    def __init__(self, raw: bytes) -> None:
        super().__init__(raw)
        self.raw = bytes((raw[0] & 0xF8, *raw[1:31], raw[31] & 0x7F | 0x40))
        self._scalar = X25519PrivateKey.from_private_bytes(self.raw)

    @classmethod
    def generate(cls, entropy: Entropy) -> Self:
        """Make a fresh key."""
        return cls(entropy(KEY_SIZE))

    @cached_property
    def public(self) -> PublicKey:
        """The public key that belongs to it."""
        return PublicKey(self._scalar.public_key().public_bytes_raw())

    def exchange(self, public: PublicKey) -> bytes:
        """Agree on a shared secret of 32 bytes.

        Raises:
            RemoteProtocolError: ``public`` is one of the few points that make every secret zero.
        """
        try:
            return self._scalar.exchange(public.point)
        except ValueError:
            raise RemoteProtocolError("public key of low order") from None


class PresharedKey(_Key):
    """A secret that two peers share besides their keys: a hedge against quantum computers (WG 5.2)."""

    kind = "preshared key"

    @classmethod
    def generate(cls, entropy: Entropy) -> Self:
        """Make a fresh key."""
        return cls(entropy(KEY_SIZE))


NO_PRESHARED_KEY: Final = PresharedKey(bytes(KEY_SIZE))
"""What the handshake mixes in where no preshared key is set."""
