"""One far end: its settings, its handshakes, its keypairs, its timers, and what waits for a session.

The device (``device``) finds out which peer a message belongs to and calls one of the ``receive_*``
methods; every method appends what is to be done to ``out``. What is inside the messages is not looked at
here.
"""

from __future__ import annotations

from collections import Counter, deque
from math import inf
from typing import TYPE_CHECKING, Final

from vport.wireguard import tai64n
from vport.wireguard.constants import (
    CROSSED_REKEY_DELAY,
    HANDSHAKE_RETRIES,
    INITIATION_INTERVAL,
    KEEPALIVE_TIMEOUT,
    QUEUE_LIMIT,
    REJECT_AFTER_TIME,
    REKEY_AFTER_MESSAGES,
    REKEY_TIMEOUT,
)
from vport.wireguard.cookie import MacStamper
from vport.wireguard.events import (
    DiscardReason,
    EndpointMoved,
    HandshakeAbandoned,
    SessionEnded,
    SessionEstablished,
    Transmit,
)
from vport.wireguard.keypair import Keypair
from vport.wireguard.keys import PrivateKey
from vport.wireguard.noise import Initiator
from vport.wireguard.plaintext import PlaintextTrain, group, pad
from vport.wireguard.sessions import Slots
from vport.wireguard.timers import Timer, Timers

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vport.wireguard.endpoint import Endpoint
    from vport.wireguard.events import Event
    from vport.wireguard.local import Local
    from vport.wireguard.messages import CookieReply, Response
    from vport.wireguard.noise import Responder, TransportKeys
    from vport.wireguard.settings import PeerSettings

_RENEW_ON_RECEIPT: Final = REJECT_AFTER_TIME - KEEPALIVE_TIMEOUT - REKEY_TIMEOUT  # WG 6.2


class _Pending:
    """An initiation of ours that waits for its response."""

    __slots__ = ("index", "noise")

    def __init__(self, index: int, noise: Initiator) -> None:
        self.index = index
        self.noise = noise


class Peer:
    """A peer of a device. Made by ``Device.add_peer``; its attributes are for reading.

    Attributes:
        settings: what the operator said.
        endpoint: where its last authenticated message came from, or where it was configured to be;
            None while nobody knows.
        slots: its keypairs.
        timers: its deadlines.
        scheduled: the deadline under which the device has it in its queue.
        static_shared: X25519 of our key and its key.
        sent_bytes: of UDP payload to it, handshakes included.
        received_bytes: of authenticated UDP payload from it.
        last_handshake_at: monotonic time of the last completed handshake; None before the first.
        discards: what was discarded once it was known to concern this peer, by reason.
    """

    def __init__(self, settings: PeerSettings, local: Local, endpoint: Endpoint | None) -> None:
        self.settings = settings
        self.endpoint = endpoint
        self.static_shared = local.private_key.exchange(settings.public_key)
        self.slots: Slots[Peer] = Slots(self, local.indexes)
        self.timers = Timers(local.entropy, settings.persistent_keepalive)
        self.scheduled = inf
        self.sent_bytes = 0
        self.received_bytes = 0
        self.last_handshake_at: float | None = None
        self.discards: Counter[DiscardReason] = Counter()
        self._local = local
        self._stamper = MacStamper(settings.public_key)
        self._pending: _Pending | None = None
        self._queue: deque[bytes] = deque()
        self._retries = 0
        self._last_stamp = local.clock.latest  # of our initiations; the peer may remember any of them
        self._handshake_sent_at = -inf  # initiation or response
        self._greatest_stamp = b""  # of the peer's initiations
        self._initiation_at = -inf
        self._renewal_asked = False  # on receipt, once per keypair

    def __repr__(self) -> str:
        return f"<peer {self.settings.name or self.settings.public_key.encode()}>"

    def discard(self, reason: DiscardReason, count: int = 1) -> None:
        """Count what goes no further, for the peer and for the device."""
        if count:
            self.discards[reason] += count
            self._local.discards[reason] += count

    def has_session(self, now: float) -> bool:
        """Whether data can be sent now without a handshake before."""
        return self.slots.current is not None and self.slots.current.can_send(1, now)

    @property
    def unanswered(self) -> int:
        """How many initiations in a row were not answered, the one that is out included."""
        return 0 if self._pending is None else self._retries + 1

    # --- handshake ---

    def initiate(self, now: float, out: list[Event], *, is_retry: bool = False) -> None:
        """Start a handshake, unless a handshake message went out less than 5 s ago: then after that time.

        Stock implementations do nothing in the latter case and may wait for ever; arming the
        retransmit timer costs nothing and cannot be seen on the wire (wireguard.md section 6, (b)).
        """
        if not is_retry:
            self._retries = 0
        if self.endpoint is None:
            return
        if now - self._handshake_sent_at < REKEY_TIMEOUT:
            if self.timers.retransmit == inf:
                self.timers.initiation_due(self._handshake_sent_at)
            return
        self._retries += is_retry
        local = self._local
        self._last_stamp = local.clock.stamp(self._last_stamp, now)
        self._drop_pending()
        pending = _Pending(local.indexes.allocate(self), self._initiator())
        self._pending = pending
        message = pending.noise.write_initiation(pending.index, tai64n.encode(self._last_stamp))
        self._send_handshake(message.encode(), now, out)
        self.timers.initiation_due(now)

    def _initiator(self) -> Initiator:
        return Initiator(
            self._local.private_key,
            self.settings.public_key,
            self.static_shared,
            self.settings.preshared_key,
            PrivateKey.generate(self._local.entropy),
        )

    def _send_handshake(self, message: bytes, now: float, out: list[Event]) -> None:
        self._handshake_sent_at = now
        self.timers.message_sent(now)
        datagram = self._stamper.stamp(message, now)
        self._transmit(datagram, len(datagram), out)

    def _drop_pending(self) -> None:
        if self._pending is not None:
            self._local.indexes.free(self._pending.index)
            self._pending = None

    def receive_initiation(
        self, responder: Responder, stamp: bytes, endpoint: Endpoint, now: float, out: list[Event]
    ) -> None:
        """Answer a genuine initiation, if it is fresh and not too soon after the last one (WG 5.1, 5.4.2).

        A pending initiation of our own stays: when both start at once both can be answered, and
        nobody has to wait for a retransmit (wireguard.md section 6, (a)).
        """
        if stamp <= self._greatest_stamp:
            self.discard(DiscardReason.STALE_TIMESTAMP)
            return
        if now - self._initiation_at < INITIATION_INTERVAL:
            self.discard(DiscardReason.HASTY_INITIATION)
            return
        self._greatest_stamp = stamp
        self._initiation_at = now
        local = self._local
        index = local.indexes.allocate(self)
        ephemeral = PrivateKey.generate(local.entropy)
        response, keys = responder.write_response(self.settings.preshared_key, ephemeral, index)
        self._heard(endpoint, now, out)
        self.slots.responded(self._derive(keys, index, response.receiver, now, is_initiator=False))
        self._send_handshake(response.encode(), now, out)

    def receive_response(self, response: Response, endpoint: Endpoint, now: float, out: list[Event]) -> None:
        """Complete a handshake that we started.

        Raises:
            RemoteProtocolError: the peer did not make this response for the initiation that is pending.
        """
        pending = self._pending
        if pending is None or pending.index != response.receiver:
            self.discard(DiscardReason.UNKNOWN_INDEX)
            return
        keys = pending.noise.read_response(response)
        self._pending = None  # its index goes on to name the keypair
        is_renewal = self.has_session(now)
        self._heard(endpoint, now, out)
        keypair = self._derive(keys, pending.index, response.sender, now, is_initiator=True)
        if (
            self.slots.initiated(keypair)
            and self._local.private_key.public.raw < self.settings.public_key.raw
        ):
            keypair.renew_after += CROSSED_REKEY_DELAY
        self._complete(now, SessionEstablished(self, is_initiator=True, is_renewal=is_renewal), out)
        if not self._flush(now, out):
            self.keepalive(now, out)  # the peer may not send before it has heard us

    def receive_cookie_reply(self, reply: CookieReply, now: float) -> None:
        """Keep the cookie for the next handshake message, which the retransmit timer sends.

        Raises:
            RemoteProtocolError: the reply is not an answer to our last handshake message.
        """
        self._stamper.receive(reply, now)

    def _derive(
        self, keys: TransportKeys, index: int, remote_index: int, now: float, *, is_initiator: bool
    ) -> Keypair:
        self.timers.session_derived(now)
        return Keypair(keys, index, remote_index, now, is_initiator=is_initiator)

    def _complete(self, now: float, event: SessionEstablished, out: list[Event]) -> None:
        self.timers.handshake_complete()
        self._retries = 0
        self._renewal_asked = False
        self.last_handshake_at = now
        out.append(event)

    # --- transport ---

    def send_lone(self, plaintext: bytes, now: float, out: list[Event]) -> None:
        """Do what ``send`` does for one message, in half the time (6 µs instead of 11)."""
        keypair = self.slots.current
        if self.endpoint is None or keypair is None or not keypair.can_send(1, now):
            self.send([PlaintextTrain(b"", plaintext, len(plaintext))], now, out)
            return
        datagram = keypair.seal(pad(plaintext, self.settings.mtu))
        self._transmit(datagram, len(datagram), out)
        self._data_sent(now, out)

    def _data_sent(self, now: float, out: list[Event]) -> None:
        self.timers.message_sent(now)
        self.timers.data_sent(now)
        self._renew_on_sending(now, out)

    def send(self, trains: Iterable[PlaintextTrain], now: float, out: list[Event]) -> None:
        """Seal and send data, or hold it for the session that a handshake is to bring."""
        is_sent = is_held = False
        for train in trains:
            keypair = self.slots.current
            if self.endpoint is None:
                self.discard(DiscardReason.NO_ENDPOINT, train.messages)
            elif keypair is None or not keypair.can_send(train.messages, now):
                self._hold(train)
                is_held = True
            else:
                for data, size in self._local.sealer.seal(keypair, train, self.settings.mtu):
                    self._transmit(data, size, out)
                is_sent = True
        if is_sent:
            self._data_sent(now, out)
        if is_held:
            self.initiate(now, out)

    def keepalive(self, now: float, out: list[Event]) -> None:
        """Send an empty message, or start a handshake where there is no session."""
        keypair = self.slots.current
        if keypair is None or not keypair.can_send(1, now):
            self.initiate(now, out)
            return
        datagram = keypair.seal(b"")
        self._transmit(datagram, len(datagram), out)
        self.timers.message_sent(now)
        self._renew_on_sending(now, out)

    def receive_transport(
        self, keypair: Keypair, endpoint: Endpoint, now: float, out: list[Event], *, has_data: bool
    ) -> None:
        """Do what genuine and fresh messages of ``keypair`` bring about, whatever is in them."""
        keypair.heard_at = now
        self._heard(endpoint, now, out)
        if keypair is self.slots.next:
            is_renewal = self.has_session(now)
            self.slots.confirmed()
            self._complete(now, SessionEstablished(self, is_initiator=False, is_renewal=is_renewal), out)
            self._flush(now, out)
        if has_data:
            self.timers.data_received(now)
        current = self.slots.current
        if (
            current is not None
            and current.is_initiator
            and not self._renewal_asked
            and now - current.created_at > _RENEW_ON_RECEIPT
        ):
            self._renewal_asked = True
            self.initiate(now, out)

    def _transmit(self, data: bytes | bytearray | memoryview, size: int, out: list[Event]) -> None:
        if self.endpoint is not None:
            self.sent_bytes += len(data)
            out.append(Transmit(self.endpoint, data, size))

    def _heard(self, endpoint: Endpoint, now: float, out: list[Event]) -> None:
        """An authenticated message came from ``endpoint``: that is where the peer is."""
        self.timers.message_received(now)
        if endpoint != self.endpoint:
            before, self.endpoint = self.endpoint, endpoint
            if before is None or before[:3] != endpoint[:3]:
                out.append(EndpointMoved(self, before))

    def _renew_on_sending(self, now: float, out: list[Event]) -> None:
        keypair = self.slots.current
        if keypair is None:
            return
        is_old = keypair.is_initiator and now - keypair.created_at > keypair.renew_after
        if is_old or keypair.counter >= REKEY_AFTER_MESSAGES:
            self.initiate(now, out)

    def _hold(self, train: PlaintextTrain) -> None:
        self._queue.extend(train.plaintexts())
        self.discard(DiscardReason.QUEUE_FULL, max(0, len(self._queue) - QUEUE_LIMIT))
        while len(self._queue) > QUEUE_LIMIT:
            self._queue.popleft()

    def _flush(self, now: float, out: list[Event]) -> bool:
        """Send what waits; False where nothing does."""
        if not self._queue:
            return False
        trains = group(self._queue, self.settings.mtu)
        self._queue.clear()
        self.send(trains, now, out)
        return True

    def _drop_queue(self) -> None:
        self.discard(DiscardReason.UNANSWERED, len(self._queue))
        self._queue.clear()

    # --- time and settings ---

    def handle_timer(self, now: float, out: list[Event]) -> None:
        """Do all that is due at ``now``."""
        again = self.timers.again
        while (timer := self.timers.due(now)) is not None:
            match timer:
                case Timer.ZERO_KEYS:
                    self._zero_keys(out)
                case Timer.RETRANSMIT:
                    self._retransmit(now, out)
                case Timer.NEW_HANDSHAKE:
                    self.initiate(now, out)
                case Timer.KEEPALIVE:
                    self.keepalive(now, out)
                    self.timers.keepalive_sent(now, again=again)
                case Timer.PERSISTENT:
                    self.keepalive(now, out)

    def _retransmit(self, now: float, out: list[Event]) -> None:
        if self._retries >= HANDSHAKE_RETRIES:
            self._drop_pending()
            self._drop_queue()
            self.timers.given_up(now)
            out.append(HandshakeAbandoned(self))
            return
        if self.endpoint is not None:  # our own address may have gone: let the kernel choose again
            self.endpoint = self.endpoint._replace(local="")
        self.initiate(now, out, is_retry=True)

    def _zero_keys(self, out: list[Event]) -> None:
        had_session = self.slots.current is not None
        self.forget()
        if had_session:
            out.append(SessionEnded(self))

    def forget(self) -> None:
        """Erase keypairs, the pending handshake and what waits."""
        self.slots.clear()
        self._drop_pending()
        self._drop_queue()

    def configure(self, settings: PeerSettings, now: float) -> None:
        """Take new settings; a session that they contradict is forgotten at once."""
        old, self.settings = self.settings, settings
        if (old.preshared_key, old.mode) != (settings.preshared_key, settings.mode):
            self.forget()
        self.timers.interval = settings.persistent_keepalive
        self.timers.persistent = now if settings.persistent_keepalive else inf

    def locate(self, endpoint: Endpoint | None, now: float) -> None:
        """Take an endpoint from the configuration or from a host name resolved again."""
        self.endpoint = endpoint
        if endpoint is not None and self.timers.interval:
            self.timers.persistent = now
