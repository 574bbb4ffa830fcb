"""What a device tells its owner: what to send, what came in, what changed; and why things are discarded.

Events come in the order in which they happened. Bytes in ``Transmit`` are lent until the next call of
the device: send or copy them before.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from vport.ethernet import Buffer
    from vport.train import Train
    from vport.wireguard.endpoint import Endpoint
    from vport.wireguard.peer import Peer


class DiscardReason(StrEnum):
    """Why a message, a packet or a frame went no further; the word is what the operator sees."""

    MALFORMED_MESSAGE = "malformed message"  # no such type, or not that long
    BAD_MAC1 = "bad mac1"  # the sender does not know our public key
    OVERLOAD = "overload"  # no cookie, or too many handshakes from its source or in all
    UNKNOWN_INDEX = "unknown index"
    BAD_HANDSHAKE = "bad handshake"  # a sealed field does not verify, or a key is of low order
    UNKNOWN_PEER = "unknown peer"
    STALE_TIMESTAMP = "stale timestamp"  # a replayed initiation, or a clock that went back
    HASTY_INITIATION = "hasty initiation"  # less than 20 ms after the one before
    BAD_COOKIE = "bad cookie"
    EXPIRED_KEYPAIR = "expired keypair"
    FORGED = "forged"  # transport data that does not verify
    REPLAYED = "replayed"
    WRONG_MODE = "wrong mode"  # IP where Ethernet was agreed, or the reverse
    MALFORMED_PAYLOAD = "malformed payload"
    FOREIGN_SOURCE = "foreign source address"  # not in the peer's AllowedIPs
    NO_ENDPOINT = "no endpoint"  # nobody knows where the peer is
    QUEUE_FULL = "queue full"  # too much waits for the handshake
    UNANSWERED = "unanswered"  # waited for a handshake that never came about
    UNSENDABLE = "unsendable"  # no frame or packet that a record or message can carry


class Transmit(NamedTuple):
    """Send these datagrams: ``data`` in pieces of ``segment_size``, the last may be shorter (UDP_SEGMENT)."""

    endpoint: Endpoint
    data: Buffer
    segment_size: int


class FramesReceived(NamedTuple):
    """An Ethernet peer sent these frames, in order."""

    peer: Peer
    trains: list[Train]


class ControlReceived(NamedTuple):
    """An Ethernet peer sent a control record. To be read as the far end's word, not as truth."""

    peer: Peer
    body: bytes


class PacketsReceived(NamedTuple):
    """An IP peer sent these packets: padding cut off, source address checked against its prefixes."""

    peer: Peer
    packets: list[memoryview]


@dataclass(frozen=True, slots=True)
class SessionEstablished:
    """A handshake is complete and confirmed: the peer is there.

    Attributes:
        is_initiator: whether we started it.
        is_renewal: whether a live session existed already, so that nothing changes for anybody else.
    """

    peer: Peer
    is_initiator: bool
    is_renewal: bool


@dataclass(frozen=True, slots=True)
class EndpointMoved:
    """The peer's authenticated messages come from elsewhere now: ``before`` is where it was.

    No proof of presence: a recorded initiation may cause it once after a restart of ours.
    """

    peer: Peer
    before: Endpoint | None


@dataclass(frozen=True, slots=True)
class HandshakeAbandoned:
    """The peer answered none of 20 initiations; what waited for it is discarded."""

    peer: Peer


@dataclass(frozen=True, slots=True)
class SessionEnded:
    """All keys of the peer are erased: nothing was agreed for 540 s."""

    peer: Peer


Event = (
    Transmit
    | FramesReceived
    | ControlReceived
    | PacketsReceived
    | SessionEstablished
    | EndpointMoved
    | HandshakeAbandoned
    | SessionEnded
)
