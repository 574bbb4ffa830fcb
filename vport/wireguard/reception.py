"""Transport messages that arrive: whose they are is found, they are opened, fresh ones are read.

Alone or in rows of equal size (UDP_GRO), which are opened together. What peers make of them, whatever is
inside, is in ``peer``; what is inside, in ``payload``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vport.errors import RemoteProtocolError
from vport.wireguard.batch import Opener, column
from vport.wireguard.constants import TRANSPORT_OVERHEAD, MessageType
from vport.wireguard.events import DiscardReason

if TYPE_CHECKING:
    from vport.ethernet import Buffer
    from vport.wireguard.agenda import Agenda
    from vport.wireguard.endpoint import Endpoint
    from vport.wireguard.events import Event
    from vport.wireguard.keypair import Keypair
    from vport.wireguard.local import Local
    from vport.wireguard.payload import Payload
    from vport.wireguard.peer import Peer

_TRANSPORT: Final = MessageType.TRANSPORT.to_bytes(4, "little")


class Reception:
    """Takes transport messages for all peers of a device.

    Args:
        local: has the sessions and counts what is for nobody.
        payload: reads what was inside.
        agenda: is told of peers whose timers have moved.
    """

    def __init__(self, local: Local, payload: Payload, agenda: Agenda) -> None:
        self._indexes = local.indexes
        self._discards = local.discards
        self._payload = payload
        self._agenda = agenda
        self._opener = Opener()

    def receive(self, datagram: Buffer, endpoint: Endpoint, now: float, out: list[Event]) -> None:
        """Take one message."""
        found = self._find_keypair(int.from_bytes(datagram[4:8], "little"), now, 1)
        if found is None:
            return
        peer, keypair = found
        plaintext = self._open(peer, keypair, datagram)
        if plaintext is None:
            return
        peer.receive_transport(keypair, endpoint, now, out, has_data=bool(plaintext))
        self._agenda.enter(peer)
        if plaintext:
            self._payload.read(peer, (memoryview(plaintext),), out)

    def receive_rows(
        self,
        data: memoryview,
        tail: memoryview,
        size: int,
        endpoint: Endpoint,
        now: float,
        out: list[Event],
    ) -> bool:
        """Take messages of ``size`` bytes and one keypair, and a shorter one behind if it is of that too.

        Tells whether it was.
        """
        found = self._find_keypair(int.from_bytes(data[4:8], "little"), now, len(data) // size)
        is_alike = len(tail) >= TRANSPORT_OVERHEAD and tail[:8] == data[:8]
        if found is not None:
            peer, keypair = found
            rows, forged, replayed = self._opener.open(keypair, data, size)
            peer.discard(DiscardReason.FORGED, forged)
            peer.discard(DiscardReason.REPLAYED, replayed)
            peer.received_bytes += len(rows) * size
            last = self._open(peer, keypair, tail) if is_alike else None
            if len(rows) or last is not None:
                has_data = rows.size > 0 or bool(last)
                peer.receive_transport(keypair, endpoint, now, out, has_data=has_data)
                self._agenda.enter(peer)
                self._payload.read_rows(peer, rows, last or b"", out)
        return found is not None and is_alike

    def _find_keypair(self, index: int, now: float, count: int) -> tuple[Peer, Keypair] | None:
        """Find whom ``count`` transport messages are for; count them where there is nobody."""
        peer, keypair = self._indexes.find(index) or (None, None)
        if peer is None or keypair is None:
            self._discards[DiscardReason.UNKNOWN_INDEX] += count
            return None
        if not keypair.can_receive(now):
            peer.discard(DiscardReason.EXPIRED_KEYPAIR, count)
            return None
        return peer, keypair

    def _open(self, peer: Peer, keypair: Keypair, datagram: Buffer) -> bytes | None:
        """Open one transport message and mark its counter; None, counted, where it is not fresh or forged."""
        try:
            counter, plaintext = keypair.open(datagram)
        except RemoteProtocolError:
            peer.discard(DiscardReason.FORGED)
            return None
        if not keypair.replay.accept(counter):
            peer.discard(DiscardReason.REPLAYED)
            return None
        peer.received_bytes += len(datagram)
        return plaintext


def is_uniform(data: memoryview, size: int, whole: int) -> bool:
    """Whether all of the ``whole`` datagrams are transport messages with the same receiver index."""
    head = bytes(data[:8])
    return head[:4] == _TRANSPORT and column(data, 0, 8, size, whole).tobytes() == head * whole
