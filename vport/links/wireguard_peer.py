"""The far ends of a WireGuard socket as links: our own ports, and stock clients as stations of the LAN."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from typing import TYPE_CHECKING

import trio

from vport import offload
from vport.errors import FrameError
from vport.greeting import Acquaintance, greetings_in, without_answers
from vport.links.base import Link
from vport.slices import tell_apart
from vport.train import SLICES, Train, lone
from vport.wireguard.fitting import SYN_LIMIT, Fitting
from vport.wireguard.mtu import DEFAULT_UNDERLAY, frame_limit

if TYPE_CHECKING:
    from collections.abc import Callable

    from vport.links.base import Attachment, Sink
    from vport.links.wireguard_socket import WireguardSocket
    from vport.profile import PortProfile
    from vport.wireguard.ip_station import IpStation
    from vport.wireguard.peer import Peer


class EthernetTunnel:
    """Frames into a tunnel and out of it, made to fit: what a listener's peers and a client have in common.

    Args:
        socket: sends.
        peer: to whom.
        discards: of the link, by reason.
        answer: takes a frame for whoever sent one that was too long.

    Attributes:
        acquaintance: what is known of the peer by its greetings.
        fitting: what is done with frames that are too long, and with TCP.
    """

    __slots__ = ("_answer", "_discards", "_gathered", "_peer", "_socket", "acquaintance", "fitting")

    def __init__(
        self, socket: WireguardSocket, peer: Peer, discards: Counter[str], answer: Callable[[bytes], None]
    ) -> None:
        self.acquaintance = Acquaintance()
        self.fitting = Fitting(frame_limit(DEFAULT_UNDERLAY, 6), discards)
        self._socket = socket
        self._peer = peer
        self._discards = discards
        self._answer = answer
        self._gathered: list[Train] = []

    def path_changed(self, mtu: int, version: int) -> None:
        """Take note of the longest packet on the way to the peer, and the version of IP there."""
        self.fitting.limit = frame_limit(mtu, version)

    def transmit(self, train: Train) -> None:
        """Gather ``train`` until ``flush``, unless it does not fit."""
        try:
            fitted = self._fitted(train) if self.fitting.concerns(train) else train
            if fitted is not None:
                self._gathered.append(self._sendable(fitted))
        except FrameError:
            self._discards["malformed"] += train.count

    def _fitted(self, train: Train) -> Train | None:
        """Make a train fit; None where its sender was told instead.

        Raises:
            FrameError: it has slices that are none.
        """
        fitted, answer = self.fitting.outgoing(_without_slices(train), self._socket.now())
        if fitted is None and answer is not None:
            self._answer(answer)
        return fitted

    def _sendable(self, train: Train) -> Train:
        """Give frames, or slices if the peer knows them.

        Raises:
            FrameError: the train is malformed.
        """
        if train.offload is None:
            return train
        self.acquaintance.expire(self._socket.now())
        return offload.sendable(train, slices=self.acquaintance.knows_slices)

    def flush(self) -> None:
        """Seal and send what was gathered; the newest wait a while for a session where there is none."""
        gathered = self._gathered
        if gathered:
            self._gathered = []
            self._socket.send_trains(self._peer, gathered)

    def received(self, train: Train) -> list[Train]:
        """Tell slices from frames from the tunnel, and look at short ones.

        What they say of segment sizes holds for the way back. A greeting is answered; answers end here.
        """
        if greetings_in(train.data, train.frame_size):
            reply = self.acquaintance.hear(train.data, train.frame_size, self._socket.now())
            if reply is not None:
                self._socket.send_trains(self._peer, [lone(reply)])
            rest = without_answers(train.data, train.frame_size)
            if not rest:
                return []
            train = Train(rest, train.frame_size)
        if train.frame_size > SYN_LIMIT:
            return tell_apart(train.data, train.frame_size)
        try:
            found = tell_apart(train.data, train.frame_size)
            return [self.fitting.clamp(_without_slices(part)) for part in found]
        except FrameError:
            self._discards["malformed"] += train.count
            return []


def _without_slices(train: Train) -> Train:
    """Make frames of slices, for whoever looks into frames; a superframe stays whole.

    Raises:
        FrameError: the slices are none.
    """
    return offload.plain(train) if train.offload is SLICES else train


class PeerLink(Link):
    """What the two kinds have in common.

    Attributes:
        peer: as the device knows it.
        profile: what its port is to be like.
        attachment: its place in a port, None while the peer is not there.
    """

    module = "wg"

    def __init__(self, socket: WireguardSocket, peer: Peer, profile: PortProfile) -> None:
        self.peer = peer
        self.profile = profile
        self.attachment: Attachment | None = None
        self.discards: Counter[str] = Counter()
        self._socket = socket

    @property
    def description(self) -> str:  # type: ignore[override]  # a peer moves, and its words with it
        """Who it is and where."""
        settings = self.peer.settings
        name = settings.name or settings.public_key.encode()
        return f"wg {settings.mode} peer {name} at {self.peer.endpoint or 'an unknown place'}"

    async def run(self, sink: Sink, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Not for a peer: its socket delivers what it sends."""
        raise NotImplementedError("the listener delivers what its peers send")

    def finish(self) -> None:
        """Flush what was delivered."""
        if self.attachment is not None:
            self.attachment.flush()

    @abstractmethod
    def receive_trains(self, trains: list[Train]) -> None:
        """Take frames that the peer sent."""

    @abstractmethod
    def receive_packets(self, packets: list[memoryview], now: float) -> None:
        """Take packets that the peer sent."""

    def close(self) -> None:
        """Give up the place; the peer has one again with its next session."""
        self.attachment = None
        self._socket.sinks.pop(self.peer, None)


class EthernetPeer(PeerLink):
    """One of our own ports."""

    def __init__(self, socket: WireguardSocket, peer: Peer, profile: PortProfile) -> None:
        super().__init__(socket, peer, profile)
        self._tunnel = EthernetTunnel(socket, peer, self.discards, self._answer)

    def transmit(self, train: Train) -> None:
        """Gather ``train`` until ``flush``; what is too long is answered or goes in pieces."""
        self._tunnel.transmit(train)

    def flush(self) -> None:
        """Seal and send what was gathered."""
        self._tunnel.flush()

    def path_changed(self, mtu: int, version: int) -> None:
        """Take note of the longest packet on the way to the peer, and the version of IP there."""
        self._tunnel.path_changed(mtu, version)

    def forget_greetings(self) -> None:
        """Send frames until the peer greets again: after a handshake it may be another program."""
        self._tunnel.acquaintance.forget()

    def _answer(self, frame: bytes) -> None:
        if self.attachment is not None:
            self.attachment.deliver(lone(frame))

    def receive_trains(self, trains: list[Train]) -> None:
        """Take frames that the peer sent."""
        attachment = self.attachment
        if attachment is not None:
            for train in trains:
                for part in self._tunnel.received(train):
                    attachment.deliver(part)

    def receive_packets(self, packets: list[memoryview], now: float) -> None:
        """Not for an Ethernet peer: the device discards what is no frame."""
        raise AssertionError("an Ethernet peer sends no packets")


class IpPeer(PeerLink):
    """A stock client: its station stands between the LAN and the device."""

    def __init__(self, socket: WireguardSocket, peer: Peer, profile: PortProfile, station: IpStation) -> None:
        super().__init__(socket, peer, profile)
        self.station = station.mac
        self.host = station
        self._packets: list[bytes] = []
        self._now = 0.0

    # --- from the LAN ---

    def transmit(self, train: Train) -> None:
        """Let the station have the frames: it answers some, and gives packets for the client."""
        frames = offload.plain_or_discard(train, self.discards)
        if frames is None:
            return
        now = self._socket.now()
        for frame in frames.frames():
            answers, packets = self.host.receive_frame(frame, now)
            self._packets += packets
            self._deliver(answers)

    def flush(self) -> None:
        """Seal and send what is for the client."""
        packets = self._packets
        if packets:
            self._packets = []
            self._socket.send_packets(self.peer, packets)
        self._rearm()

    # --- to the LAN ---

    def receive_packets(self, packets: list[memoryview], now: float) -> None:
        """Take packets of the client."""
        for packet in packets:
            self._deliver(self.host.receive_packet(packet, now))
        self._rearm()

    def receive_trains(self, trains: list[Train]) -> None:
        """Not for a stock client: the device discards what is no packet."""
        raise AssertionError("an IP peer sends no frames")

    def announce(self) -> None:
        """Tell the LAN that the client has come."""
        self._deliver(self.host.announce())
        self.finish()

    def handle_timer(self, now: float) -> None:
        """Ask again for stations that have not answered."""
        self._deliver(self.host.handle_timer(now))
        self.finish()

    def _deliver(self, frames: list[bytes]) -> None:
        if self.attachment is not None:
            for frame in frames:
                self.attachment.deliver(lone(frame))

    def _rearm(self) -> None:
        deadline = self.host.next_deadline()
        if deadline is not None:
            self._socket.set_alarm_at(deadline)
