"""A WireGuard device: all the peers behind one UDP socket, without the socket.

Datagrams, trains and packets go in, events come out (``events``); `now` is an argument everywhere, in
seconds of a monotonic clock that goes on while the machine sleeps (CLOCK_BOOTTIME), or keys would
outlive their time. Whoever owns a device sends what ``Transmit`` says before calling again, and calls
``handle_timer`` when ``next_deadline`` has come. Nothing that the network sends raises an exception, and
nothing is sent to anybody who has not proven to know our public key.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from vport.errors import FrameError, LocalProtocolError, RemoteProtocolError, SettingsError
from vport.rate_limit import RateLimit
from vport.wireguard import messages, packets, records
from vport.wireguard.admission import LoadMeter, SourceLimiter
from vport.wireguard.agenda import Agenda
from vport.wireguard.allowed_ips import AllowedIps
from vport.wireguard.batch import Sealer, capacity
from vport.wireguard.constants import PEER_LIMIT, PROVEN_BURST, PROVEN_RATE, TRANSPORT_OVERHEAD, MessageType
from vport.wireguard.cookie import MacChecker
from vport.wireguard.events import DiscardReason, Transmit
from vport.wireguard.local import Local
from vport.wireguard.noise import Responder
from vport.wireguard.payload import Payload
from vport.wireguard.peer import Peer
from vport.wireguard.plaintext import PlaintextTrain, group
from vport.wireguard.reception import Reception, is_uniform
from vport.wireguard.sessions import IndexTable
from vport.wireguard.settings import Mode
from vport.wireguard.tai64n import WallClock

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vport.ethernet import Buffer
    from vport.train import Train
    from vport.wireguard.endpoint import Endpoint
    from vport.wireguard.events import Event
    from vport.wireguard.keys import Entropy, PrivateKey, PublicKey
    from vport.wireguard.settings import PeerSettings


class Device:
    """Peers by public key, and everything that arrives for any of them.

    Arguments:
        private_key: our identity.
        entropy: gives unpredictable bytes, such as ``os.urandom``.
        now: monotonic seconds.
        unix_ns: the wall clock at ``now``, in nanoseconds since 1970; used for timestamps only.
        latest_stamp: ``latest_stamp`` of the device that had this key before, from disk.

    Attributes:
        discards: what went no further, by reason; that of each peer is in ``Peer.discards`` as well.
    """

    def __init__(
        self, private_key: PrivateKey, *, entropy: Entropy, now: float, unix_ns: int, latest_stamp: int = 0
    ) -> None:
        self.discards: Counter[DiscardReason] = Counter()
        self._private_key = private_key
        self._clock = WallClock(now, unix_ns, latest_stamp)
        self._indexes: IndexTable[Peer] = IndexTable(entropy)
        self._sealer = Sealer()
        self._local = Local(private_key, self._clock, entropy, self._indexes, self._sealer, self.discards)
        self._peers: dict[bytes, Peer] = {}
        self._allowed_ips: AllowedIps[Peer] = AllowedIps()
        self._macs = MacChecker(private_key.public, entropy)
        self._load = LoadMeter()
        self._sources = SourceLimiter()
        self._proven = RateLimit(burst=PROVEN_BURST, interval=1 / PROVEN_RATE)
        self._agenda = Agenda()
        self._reception = Reception(self._local, Payload(self._allowed_ips), self._agenda)

    # --- peers ---

    @property
    def public_key(self) -> PublicKey:
        """Our identity, as peers know it."""
        return self._private_key.public

    @property
    def latest_stamp(self) -> int:
        """The greatest timestamp sent so far, in nanoseconds: to be kept on disk, see ``WallClock``."""
        return self._clock.latest

    def __iter__(self) -> Iterator[Peer]:
        return iter(self._peers.values())

    def __len__(self) -> int:
        return len(self._peers)

    def find(self, public_key: PublicKey) -> Peer | None:
        """Give the peer with this key."""
        return self._peers.get(public_key.raw)

    def route(self, address: bytes) -> Peer | None:
        """Give the IP peer whose prefixes hold an address of 4 or 16 bytes, longest match first."""
        return self._allowed_ips.find(address)

    def add_peer(self, settings: PeerSettings, now: float, endpoint: Endpoint | None = None) -> Peer:
        """Admit a peer. With a persistent keepalive it is called as soon as the timers run.

        Raises:
            SettingsError: its key is known, ours, or no key at all; or another peer has its prefixes.
        """
        if settings.public_key.raw in self._peers:
            raise SettingsError(f"two peers with the public key {settings.public_key.encode()}")
        if settings.public_key == self.public_key:
            raise SettingsError("a peer has our own public key")
        if len(self._peers) >= PEER_LIMIT:
            raise SettingsError(f"more than {PEER_LIMIT} peers")
        try:
            peer = Peer(settings, self._local, endpoint)
        except RemoteProtocolError:
            raise SettingsError(f"no usable public key: {settings.public_key.encode()}") from None
        if settings.mode is Mode.IP:
            self._allowed_ips.add(settings.allowed_ips, peer)
        self._peers[settings.public_key.raw] = peer
        peer.locate(endpoint, now)
        self._agenda.enter(peer)
        return peer

    def remove_peer(self, peer: Peer) -> None:
        """Revoke a peer: its session ends at once and nothing of it is answered any more."""
        if self._peers.pop(peer.settings.public_key.raw, None) is not peer:
            raise LocalProtocolError(f"{peer} is no peer of this device")
        peer.forget()
        peer.locate(None, 0.0)
        self._agenda.strike(peer)
        self._allowed_ips.remove(peer)

    def configure_peer(self, peer: Peer, settings: PeerSettings, now: float) -> None:
        """Give a peer other settings; its session goes on unless the preshared key or the mode changed.

        Raises:
            SettingsError: another peer has its prefixes; nothing was changed.
            LocalProtocolError: the public key differs: that is another peer.
        """
        if settings.public_key != peer.settings.public_key:
            raise LocalProtocolError("a peer cannot change its public key")
        self._allowed_ips.remove(peer)
        try:
            if settings.mode is Mode.IP:
                self._allowed_ips.add(settings.allowed_ips, peer)
        except SettingsError:
            if peer.settings.mode is Mode.IP:
                self._allowed_ips.add(peer.settings.allowed_ips, peer)
            raise
        peer.configure(settings, now)
        self._agenda.enter(peer)

    def locate_peer(self, peer: Peer, endpoint: Endpoint, now: float) -> None:
        """Say where a peer is, for lack of better knowledge: its own messages override it."""
        peer.locate(endpoint, now)
        self._agenda.enter(peer)

    # --- time ---

    def set_wall_clock(self, now: float, unix_ns: int) -> None:
        """Tell the wall clock again, now and then: it may have been set. Stamps never fall."""
        self._clock.set(now, unix_ns)

    def next_deadline(self) -> float | None:
        """Give the monotonic time at which ``handle_timer`` wants to be called; None for never."""
        return self._agenda.next_deadline()

    def handle_timer(self, now: float) -> list[Event]:
        """Do what is due."""
        out: list[Event] = []
        self._sealer.restart()
        while (peer := self._agenda.take_due(now)) is not None:
            peer.handle_timer(now, out)
            self._agenda.enter(peer)
        return out

    # --- sending ---

    def connect(self, peer: Peer, now: float) -> list[Event]:
        """Start a handshake without data to send, unless there is a session."""
        out: list[Event] = []
        if not peer.has_session(now):
            peer.initiate(now, out)
        self._agenda.enter(peer)
        return out

    def send(self, peer: Peer, trains: Iterable[Train], now: float) -> list[Event]:
        """Send frames to an Ethernet peer, in their order. Small frames share messages.

        Without a session the newest 128 messages wait for it. Trains are borrowed for the call.

        Raises:
            LocalProtocolError: the peer is no Ethernet peer, or a train is a whole superframe.
        """
        self._require(peer, Mode.ETHERNET)
        sendable = [train for train in trains if self._is_sendable(peer, train)]
        if len(sendable) == 1 and len(sendable[0].data) == sendable[0].frame_size:
            return self._send_lone(peer, records.encode_frame(sendable[0].data), now)
        return self._send(peer, records.encode(sendable, peer.settings.mtu), now)

    @staticmethod
    def _is_sendable(peer: Peer, train: Train) -> bool:
        if train.is_whole:
            raise LocalProtocolError("a superframe must be cut or sliced before it is sealed")
        last = len(train.data) % train.frame_size or train.frame_size
        if records.is_sendable(train.frame_size) and records.is_sendable(last):
            return True
        peer.discard(DiscardReason.UNSENDABLE, train.count)
        return False

    def send_control(self, peer: Peer, body: bytes, now: float) -> list[Event]:
        """Send a control record to an Ethernet peer.

        Raises:
            LocalProtocolError: the peer is no Ethernet peer.
            SettingsError: the body is longer than 16383 bytes.
        """
        self._require(peer, Mode.ETHERNET)
        return self._send_lone(peer, records.encode_control(body), now)

    def send_packets(self, peer: Peer, ip_packets: Iterable[Buffer], now: float) -> list[Event]:
        """Send IP packets to an IP peer. Whether their destination is the peer's was decided before.

        Raises:
            LocalProtocolError: the peer is no IP peer.
        """
        self._require(peer, Mode.IP)
        sendable: list[bytes] = []
        for packet in ip_packets:
            try:
                sendable.append(bytes(packet[: packets.size(packet)]))
            except FrameError:
                peer.discard(DiscardReason.UNSENDABLE)
        if len(sendable) == 1:
            return self._send_lone(peer, sendable[0], now)
        return self._send(peer, group(sendable, peer.settings.mtu), now)

    @staticmethod
    def _require(peer: Peer, mode: Mode) -> None:
        if peer.settings.mode is not mode:
            raise LocalProtocolError(f"{peer} carries {peer.settings.mode}, not {mode}")

    def _send(self, peer: Peer, trains: Iterable[PlaintextTrain], now: float) -> list[Event]:
        out: list[Event] = []
        self._sealer.restart()
        peer.send(trains, now, out)
        self._agenda.enter(peer)
        return out

    def _send_lone(self, peer: Peer, plaintext: bytes, now: float) -> list[Event]:
        out: list[Event] = []
        peer.send_lone(plaintext, now, out)
        self._agenda.enter(peer)
        return out

    # --- receiving ---

    def receive(self, data: Buffer, endpoint: Endpoint, now: float, segment_size: int = 0) -> list[Event]:
        """Take what arrived from ``endpoint``: a datagram, or several of ``segment_size`` bytes (UDP_GRO).

        ``data`` is not modified and not kept.
        """
        out: list[Event] = []
        self._sealer.restart()
        if 0 < segment_size < len(data):
            self._receive_train(memoryview(data), segment_size, endpoint, now, out)
        else:
            self._receive_datagram(data, endpoint, now, out)
        return out

    def _receive_datagram(self, datagram: Buffer, endpoint: Endpoint, now: float, out: list[Event]) -> None:
        try:
            kind = messages.decode_type(datagram)
        except FrameError:
            self.discards[DiscardReason.MALFORMED_MESSAGE] += 1
            return
        match kind:
            case MessageType.TRANSPORT:
                self._reception.receive(datagram, endpoint, now, out)
            case MessageType.INITIATION:
                self._receive_initiation(bytes(datagram), endpoint, now, out)
            case MessageType.RESPONSE:
                self._receive_response(bytes(datagram), endpoint, now, out)
            case MessageType.COOKIE_REPLY:
                self._receive_cookie_reply(datagram, now)

    def _admit(self, datagram: bytes, endpoint: Endpoint, now: float, out: list[Event]) -> bool:
        """Decide whether a handshake message whose mac1 is right is worth the work (WG 5.4.7)."""
        if not self._load.count(now):
            return True
        source = endpoint.source()
        if not self._macs.has_mac2(datagram, source, now):
            reply = self._macs.reply(datagram, source, now).encode()
            out.append(Transmit(endpoint, reply, len(reply)))
        elif self._sources.take(endpoint.network(), now) and self._proven.ask(now)[0]:
            return True
        self.discards[DiscardReason.OVERLOAD] += 1
        return False

    def _receive_initiation(self, datagram: bytes, endpoint: Endpoint, now: float, out: list[Event]) -> None:
        if not self._macs.has_mac1(datagram):
            self.discards[DiscardReason.BAD_MAC1] += 1
            return
        if not self._admit(datagram, endpoint, now, out):
            return
        try:
            responder = Responder(self._private_key, messages.decode_initiation(datagram))
            peer = self._peers.get(responder.remote_static)
            if peer is None:
                self.discards[DiscardReason.UNKNOWN_PEER] += 1
                return
            stamp = responder.read_timestamp(peer.static_shared)
            peer.received_bytes += len(datagram)
            peer.receive_initiation(responder, stamp, endpoint, now, out)
        except RemoteProtocolError:
            self.discards[DiscardReason.BAD_HANDSHAKE] += 1
            return
        self._agenda.enter(peer)

    def _receive_response(self, datagram: bytes, endpoint: Endpoint, now: float, out: list[Event]) -> None:
        if not self._macs.has_mac1(datagram):
            self.discards[DiscardReason.BAD_MAC1] += 1
            return
        response = messages.decode_response(datagram)
        entry = self._indexes.find(response.receiver)
        if entry is None or entry[1] is not None:
            self.discards[DiscardReason.UNKNOWN_INDEX] += 1
            return
        if not self._admit(datagram, endpoint, now, out):
            return
        peer = entry[0]
        try:
            peer.receive_response(response, endpoint, now, out)
        except RemoteProtocolError:
            peer.discard(DiscardReason.BAD_HANDSHAKE)
            return
        peer.received_bytes += len(datagram)
        self._agenda.enter(peer)

    def _receive_cookie_reply(self, datagram: Buffer, now: float) -> None:
        reply = messages.decode_cookie_reply(datagram)
        entry = self._indexes.find(reply.receiver)
        if entry is None:
            self.discards[DiscardReason.UNKNOWN_INDEX] += 1
            return
        try:
            entry[0].receive_cookie_reply(reply, now)
        except RemoteProtocolError:
            entry[0].discard(DiscardReason.BAD_COOKIE)

    def _receive_train(
        self, data: memoryview, size: int, endpoint: Endpoint, now: float, out: list[Event]
    ) -> None:
        """Open datagrams of equal size together where they are of one keypair, else one by one."""
        whole = len(data) // size
        if whole < 2 or size < TRANSPORT_OVERHEAD or not is_uniform(data, size, whole):
            for start in range(0, len(data), size):
                self._receive_datagram(data[start : start + size], endpoint, now, out)
            return
        limit = capacity(size)
        for start in range(0, whole, limit):
            end = min(whole, start + limit)
            tail = data[end * size :] if end == whole else data[:0]
            rows = data[start * size : end * size]
            if not self._reception.receive_rows(rows, tail, size, endpoint, now, out) and len(tail):
                self._receive_datagram(tail, endpoint, now, out)
