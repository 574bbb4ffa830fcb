"""mac1, mac2 and cookies (WG 5.4.4, 5.4.7): proof of knowing our key, then proof of one's address.

``MacChecker`` is the receiver of handshake messages and issues cookies; ``MacStamper``, one per peer,
is the sender and keeps the cookie it was given.
"""

from __future__ import annotations

from hmac import compare_digest
from math import inf
from typing import TYPE_CHECKING, Final

from vport.wireguard.constants import COOKIE_LIFETIME, KEY_SIZE, MAC_SIZE
from vport.wireguard.messages import CookieReply, split_macs
from vport.wireguard.primitives import mac, xopen, xseal

if TYPE_CHECKING:
    from vport.wireguard.keys import Entropy, PublicKey

_NO_MAC: Final = bytes(MAC_SIZE)
_NONCE_SIZE: Final = 24


class MacChecker:
    """Checks the macs of handshake messages to us, and issues cookies.

    The secret behind the cookies is renewed when it is needed and older than 120 s, so that no timer
    runs while nobody asks. A cookie says nothing to anybody but us.
    """

    __slots__ = ("_entropy", "_public", "_renewed_at", "_secret")

    def __init__(self, public: PublicKey, entropy: Entropy) -> None:
        self._public = public
        self._entropy = entropy
        self._secret = b""
        self._renewed_at = -inf

    def _cookie(self, source: bytes) -> bytes:
        return mac(self._secret, source)

    def has_mac1(self, datagram: bytes) -> bool:
        """Whether the sender knows our public key."""
        covered, mac1, _ = split_macs(datagram)
        return compare_digest(mac(self._public.mac1_key, covered), mac1)

    def has_mac2(self, datagram: bytes, source: bytes, now: float) -> bool:
        """Whether the sender has had a cookie of ours at ``source``, of the secret in force."""
        if datagram[-MAC_SIZE:] == _NO_MAC or now - self._renewed_at > COOKIE_LIFETIME:
            return False
        expected = mac(self._cookie(source), datagram[:-MAC_SIZE])
        return compare_digest(expected, datagram[-MAC_SIZE:])

    def reply(self, datagram: bytes, source: bytes, now: float) -> CookieReply:
        """Make the cookie reply to a handshake message whose mac1 is right."""
        if now - self._renewed_at > COOKIE_LIFETIME:
            self._secret, self._renewed_at = self._entropy(KEY_SIZE), now
        _, mac1, _ = split_macs(datagram)
        nonce = self._entropy(_NONCE_SIZE)
        sealed = xseal(self._public.cookie_key, nonce, self._cookie(source), mac1)
        return CookieReply(int.from_bytes(datagram[4:8], "little"), nonce, sealed)


class MacStamper:
    """Puts the macs under handshake messages to one peer, and keeps the cookie it gave us."""

    __slots__ = ("_cookie", "_cookie_at", "_last_mac1", "_remote")

    def __init__(self, remote: PublicKey) -> None:
        self._remote = remote
        self._last_mac1: bytes | None = None
        self._cookie = b""
        self._cookie_at = -inf

    def stamp(self, message: bytes, now: float) -> bytes:
        """Append mac1, and mac2 while a cookie is at hand; remember mac1 for the cookie reply."""
        mac1 = mac(self._remote.mac1_key, message)
        self._last_mac1 = mac1
        message += mac1
        if now - self._cookie_at > COOKIE_LIFETIME:
            return message + _NO_MAC
        return message + mac(self._cookie, message)

    def receive(self, reply: CookieReply, now: float) -> None:
        """Take the cookie for the messages to come. One reply for one message: a repetition is refused.

        Raises:
            RemoteProtocolError: it does not answer the message that we sent last.
        """
        self._cookie = xopen(
            self._remote.cookie_key, reply.nonce, reply.sealed_cookie, self._last_mac1 or _NO_MAC
        )
        self._cookie_at = now
        self._last_mac1 = None
