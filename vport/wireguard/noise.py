"""The handshake, from both ends (WG 5.4.1 to 5.4.5): Noise IKpsk2, as steps over a transcript.

Here are neither indexes nor clocks nor tables. Whatever the far end sends wrongly raises
``RemoteProtocolError`` and leaves the handshake as it was, so that a forgery cannot spoil it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vport.wireguard.constants import CONSTRUCTION, IDENTIFIER
from vport.wireguard.keys import PublicKey
from vport.wireguard.messages import Initiation, Response
from vport.wireguard.primitives import digest, kdf1, kdf2, kdf3, open_sealed, seal

if TYPE_CHECKING:
    from vport.wireguard.keys import PresharedKey, PrivateKey

_INITIAL_CHAIN: Final = digest(CONSTRUCTION)
_INITIAL_HASH: Final = digest(_INITIAL_CHAIN, IDENTIFIER)


class TransportKeys:
    """What a handshake yields: one key each way. No dataclass: its ``repr`` would show them."""

    __slots__ = ("receive", "send")

    def __init__(self, send: bytes, receive: bytes) -> None:
        self.send = send
        self.receive = receive


class Transcript:
    """The chaining key ``ck`` and the hash ``h`` of everything said so far (WG 5.4)."""

    __slots__ = ("ck", "h")

    def __init__(self, responder: PublicKey) -> None:
        self.ck = _INITIAL_CHAIN
        self.h = digest(_INITIAL_HASH, responder.raw)

    def copy(self) -> Transcript:
        """Give a second one that goes its own way."""
        twin = object.__new__(Transcript)
        twin.ck, twin.h = self.ck, self.h
        return twin

    def mix_ephemeral(self, public: bytes) -> None:
        """Take in an ephemeral key: into the hash, and into the chain as well (the PSK variant of Noise)."""
        self.h = digest(self.h, public)
        self.ck = kdf1(self.ck, public)

    def mix_secret(self, secret: bytes) -> None:
        """Take in a shared secret that no field is sealed with."""
        self.ck = kdf1(self.ck, secret)

    def mix_key(self, secret: bytes) -> bytes:
        """Take in a shared secret and give the key for the next sealed field."""
        self.ck, key = kdf2(self.ck, secret)
        return key

    def mix_preshared(self, preshared: bytes) -> bytes:
        """Take in the preshared key and give the key for the next sealed field."""
        self.ck, tau, key = kdf3(self.ck, preshared)
        self.h = digest(self.h, tau)
        return key

    def seal(self, key: bytes, plaintext: bytes) -> bytes:
        """Seal a field, bound to everything said so far, and take it in."""
        sealed = seal(key, plaintext, self.h)
        self.h = digest(self.h, sealed)
        return sealed

    def open(self, key: bytes, sealed: bytes) -> bytes:
        """Open a field and take it in.

        Raises:
            RemoteProtocolError: it does not verify; nothing was taken in.
        """
        plaintext = open_sealed(key, sealed, self.h)
        self.h = digest(self.h, sealed)
        return plaintext

    def split(self) -> tuple[bytes, bytes]:
        """Derive the transport keys: initiator to responder, responder to initiator (WG 5.4.5)."""
        return kdf2(self.ck, b"")


class Initiator:
    """Our end of a handshake that we start.

    ``static_shared`` is the secret between the two static keys: it never changes, so that whoever
    makes many handshakes keeps it.
    """

    __slots__ = ("_ephemeral", "_local", "_preshared", "_remote", "_static_shared", "_transcript")

    def __init__(
        self,
        local: PrivateKey,
        remote: PublicKey,
        static_shared: bytes,
        preshared: PresharedKey,
        ephemeral: PrivateKey,
    ) -> None:
        self._local = local
        self._remote = remote
        self._static_shared = static_shared
        self._preshared = preshared
        self._ephemeral = ephemeral
        self._transcript = Transcript(remote)

    def write_initiation(self, index: int, timestamp: bytes) -> Initiation:
        """Make message 1, once; ``index`` is what the answer will name us by."""
        transcript = self._transcript
        transcript.mix_ephemeral(self._ephemeral.public.raw)
        key = transcript.mix_key(self._ephemeral.exchange(self._remote))
        sealed_static = transcript.seal(key, self._local.public.raw)
        key = transcript.mix_key(self._static_shared)
        sealed_timestamp = transcript.seal(key, timestamp)
        return Initiation(index, self._ephemeral.public.raw, sealed_static, sealed_timestamp)

    def read_response(self, response: Response) -> TransportKeys:
        """Check message 2 and derive the transport keys.

        Raises:
            RemoteProtocolError: it does not come from the peer; the handshake can still be answered.
        """
        transcript = self._transcript.copy()
        ephemeral = PublicKey(response.ephemeral)
        transcript.mix_ephemeral(response.ephemeral)
        transcript.mix_secret(self._ephemeral.exchange(ephemeral))
        transcript.mix_secret(self._local.exchange(ephemeral))
        transcript.open(transcript.mix_preshared(self._preshared.raw), response.sealed_nothing)
        send, receive = transcript.split()
        return TransportKeys(send, receive)


class Responder:
    """Our end of a handshake that a peer starts. Made from message 1, and discarded if a step fails.

    Attributes:
        remote_static: the public key that the initiator claims; proven by ``read_timestamp``.

    Raises:
        RemoteProtocolError: message 1 was not made for our key.
    """

    __slots__ = ("_initiation", "_transcript", "remote_static")

    def __init__(self, local: PrivateKey, initiation: Initiation) -> None:
        self._initiation = initiation
        self._transcript = Transcript(local.public)
        self._transcript.mix_ephemeral(initiation.ephemeral)
        key = self._transcript.mix_key(local.exchange(PublicKey(initiation.ephemeral)))
        self.remote_static = self._transcript.open(key, initiation.sealed_static)

    def read_timestamp(self, static_shared: bytes) -> bytes:
        """Prove that the initiator holds the private key; give its timestamp, 12 bytes (WG 5.1).

        Raises:
            RemoteProtocolError: it does not.
        """
        key = self._transcript.mix_key(static_shared)
        return self._transcript.open(key, self._initiation.sealed_timestamp)

    def write_response(
        self, preshared: PresharedKey, ephemeral: PrivateKey, index: int
    ) -> tuple[Response, TransportKeys]:
        """Make message 2 and derive the transport keys; after ``read_timestamp``.

        Raises:
            RemoteProtocolError: the initiator's keys are of low order.
        """
        transcript = self._transcript
        transcript.mix_ephemeral(ephemeral.public.raw)
        transcript.mix_secret(ephemeral.exchange(PublicKey(self._initiation.ephemeral)))
        transcript.mix_secret(ephemeral.exchange(PublicKey(self.remote_static)))
        sealed = transcript.seal(transcript.mix_preshared(preshared.raw), b"")
        receive, send = transcript.split()
        response = Response(index, self._initiation.sender, ephemeral.public.raw, sealed)
        return response, TransportKeys(send, receive)
