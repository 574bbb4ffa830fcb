"""The protocol under test: who is there? Each station says so once a second, and forgets whom it misses.

A beacon is a broadcast frame with EtherType 0x88B6 (IEEE 802, for local experiments), a mark and a name. The
class has no clock and no socket: frames and the time go in, frames come out. So the same code runs on a
simulated LAN in a test and on a real one.
"""

from __future__ import annotations

from vport.errors import FrameError
from vport.ethernet import BROADCAST, MacAddress, decode_header, encode_frame
from vport.links.simulated import SimulatedLink

ETHERTYPE = 0x88B6
MARK = b"WHO?"  # others experiment with this EtherType too
INTERVAL = 1.0  # seconds between beacons
LIFETIME = 5.5  # seconds after which a silent peer is forgotten: five beacons may be lost
NAME_MAX = 32
PEERS_MAX = 100  # so that nobody fills our memory with invented names


class Beacon:
    """One station. ``peers`` are the others that were heard within LIFETIME."""

    def __init__(self, name: str, mac: MacAddress) -> None:
        self.name = name
        self.mac = mac
        self._next_at = float("-inf")
        self._heard: dict[str, float] = {}

    @property
    def peers(self) -> set[str]:
        return set(self._heard)

    def receive(self, frame: bytes, now: float) -> list[bytes]:
        try:
            header = decode_header(frame)
        except FrameError:
            return []
        payload = bytes(frame[header.size :])
        if header.ethertype != ETHERTYPE or not payload.startswith(MARK):
            return []
        name = payload[len(MARK) :][:NAME_MAX].rstrip(b"\0").decode("utf-8", "replace")
        if name in {"", self.name}:
            return []
        if name in self._heard or len(self._heard) < PEERS_MAX:
            self._heard[name] = now
        return []

    def announce(self) -> list[bytes]:
        return []

    def next_deadline(self) -> float:
        return self._next_at

    def handle_timer(self, now: float) -> list[bytes]:
        self._heard = {name: at for name, at in self._heard.items() if now - at < LIFETIME}
        if now < self._next_at:
            return []
        self._next_at = now + INTERVAL
        return [encode_frame(BROADCAST, self.mac, ETHERTYPE, MARK + self.name.encode()[:NAME_MAX])]


class BeaconLink(SimulatedLink):
    """The station as something to plug into a switch."""

    module = "beacon"

    def __init__(self, name: str) -> None:
        mac = MacAddress(b"\x02beac" + name.encode()[-1:])
        self.beacon = Beacon(name, mac)
        super().__init__(self.beacon)
        self.station = mac
        self.description = f"beacon {name}"

    def _handle_events(self) -> None:
        """Nothing to report: who wants to know looks at ``beacon.peers``."""
