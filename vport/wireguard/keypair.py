"""A keypair: what one handshake yields, and sealing and opening one message with it (WG 5.4.6).

``batch`` does the same for many messages at once.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from vport.errors import LocalProtocolError, RemoteProtocolError
from vport.wireguard.constants import REJECT_AFTER_MESSAGES, REJECT_AFTER_TIME, REKEY_AFTER_TIME, MessageType
from vport.wireguard.messages import TRANSPORT_HEADER
from vport.wireguard.replay import ReplayWindow

if TYPE_CHECKING:
    from vport.ethernet import Buffer
    from vport.wireguard.noise import TransportKeys

_NONCE: Final = struct.Struct("<4xQ")
_COUNTER: Final = struct.Struct("<8xQ")


class Keypair:
    """The transport keys of one handshake, both ways, and the counters that go with them.

    Attributes:
        local_index: names this keypair in what we receive.
        remote_index: names it in what we send.
        created_at: when the handshake was done here.
        is_initiator: whether we started it.
        renew_after: age in seconds at which we, as initiator, start the next one.
        counter: of the next message we send; rises by one for each and is never used twice.
        replay: which counters we received.
        heard_at: when the peer last used it, None before.
    """

    __slots__ = (
        "counter",
        "created_at",
        "heard_at",
        "is_initiator",
        "local_index",
        "receiver",
        "remote_index",
        "renew_after",
        "replay",
        "sender",
    )

    def __init__(
        self, keys: TransportKeys, local_index: int, remote_index: int, now: float, *, is_initiator: bool
    ) -> None:
        self.sender = ChaCha20Poly1305(keys.send)
        self.receiver = ChaCha20Poly1305(keys.receive)
        self.local_index = local_index
        self.remote_index = remote_index
        self.created_at = now
        self.is_initiator = is_initiator
        self.renew_after = REKEY_AFTER_TIME
        self.counter = 0
        self.replay = ReplayWindow()
        self.heard_at: float | None = None

    def can_send(self, count: int, now: float) -> bool:
        """Whether ``count`` more messages may be sent with it now (WG 6.2)."""
        return now - self.created_at < REJECT_AFTER_TIME and self.counter + count <= REJECT_AFTER_MESSAGES

    def can_receive(self, now: float) -> bool:
        """Whether its age still allows to receive with it (WG 6.2)."""
        return now - self.created_at <= REJECT_AFTER_TIME

    def take(self, count: int) -> int:
        """Take ``count`` counters, for good, and give the first.

        Raises:
            LocalProtocolError: there are not that many left; ``can_send`` would have told.
        """
        first = self.counter
        if first + count > REJECT_AFTER_MESSAGES:
            raise LocalProtocolError("the keypair is used up")
        self.counter = first + count
        return first

    def seal(self, plaintext: Buffer) -> bytes:
        """Make the next transport message; ``plaintext`` is padded already."""
        counter = self.take(1)
        header = TRANSPORT_HEADER.pack(MessageType.TRANSPORT, self.remote_index, counter)
        return header + self.sender.encrypt(_NONCE.pack(counter), plaintext, None)

    def open(self, datagram: Buffer) -> tuple[int, bytes]:
        """Open a transport message of at least 32 bytes: its counter, not yet marked, and the plaintext.

        Raises:
            RemoteProtocolError: it was not made by the peer.
        """
        counter: int = _COUNTER.unpack_from(datagram)[0]
        try:
            return counter, self.receiver.decrypt(_NONCE.pack(counter), datagram[16:], None)
        except InvalidTag:
            raise RemoteProtocolError("transport message does not verify") from None
