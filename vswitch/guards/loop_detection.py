"""Loop detection by probes: a frame of ours that comes back has found a loop, whoever else is in it.

Every port sends a probe each second to a group address that any bridge floods, vde_switch and unmanaged
switches included. A probe names the switch (64 random bits of this run), the port and the VLAN. When it
comes in again, the two ports are joined outside, and the younger of them is shut: the older one has
probably been there for a reason. It opens again by itself; if the loop is still there, the next pause is
twice as long.

Two of our switches in one loop would both shut a port, and perhaps both cables with it; each therefore
sends at a random phase of the second, and whoever hears its probe first has cut the loop before the other
sends.

The payload, behind EtherType 0x88B5 (local experimental, 802-2014 9.2.4), big-endian: ``VSLP``, switch (8),
port (4), VLAN (2), nonce (4). The nonce changes with every round, so only who hears a probe can send it
back.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vport.errors import SettingsError
from vport.ethernet import MINIMUM_FRAME_SIZE, TAG_SIZE, Buffer, EtherType, MacAddress, Vid
from vswitch.guards.recovery import check_recovery

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

# --- constants of the standard ---

LOCAL_EXPERIMENTAL: Final = 0x88B5  # 802-2014 9.2.4

# --- our own constants ---

PROBE_ADDRESS: Final = MacAddress(bytes.fromhex("037673776c70"))  # locally administered group: "vswlp"
MAGIC: Final = b"VSLP"
LONGEST_PAUSE: Final = (
    16  # times the recovery time; by default a loop that stays is tried every eighty minutes
)
ROUNDS_REMEMBERED: Final = 2  # a probe may be on its way for up to two rounds

_PROBE = struct.Struct("!4sQIHI")
_TAGGED_OFFSET: Final = 18
_UNTAGGED_OFFSET: Final = 14


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopSettings:
    """``interval``: seconds between probes of a port. ``recovery``: seconds until a shut port is tried again.

    Raises:
        SettingsError: interval or recovery is out of its range.
    """

    interval: float = 1.0
    recovery: float = 300.0

    def __post_init__(self) -> None:
        if not 0.1 <= self.interval <= 60:
            raise SettingsError(f"probe interval {self.interval:g} s is not within 0.1 to 60 s")
        check_recovery("loop", self.recovery)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeToSend:
    """Send this frame on this port; it is complete, with its tag if the VLAN is tagged there."""

    port: int
    frame: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopDetected:
    """What left ``sent_on`` came back on ``received_on``; ``shut`` must be shut until ``recover_at``."""

    sent_on: int
    received_on: int
    vid: Vid
    shut: int
    recover_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopPortRecovered:
    """Open the port again and see."""

    port: int


LoopEvent = ProbeToSend | LoopDetected | LoopPortRecovered


@dataclass(slots=True, eq=False)
class _Port:
    age: int  # the lower, the older
    vids: tuple[tuple[Vid, bool], ...]  # VLAN and whether it is tagged
    turn: int = 0
    shut_until: float | None = None
    strikes: int = 0


class LoopDetector:
    """Sends probes and recognises them.

    Args:
        mac: source address of the probes.
        random: identity of this run, nonces, and the phase at which probes are sent.
        settings: interval and recovery time.
        now: monotonic seconds.
    """

    def __init__(self, mac: MacAddress, random: Random, settings: LoopSettings, now: float) -> None:
        self._mac = mac
        self._random = random
        self._settings = settings
        self._switch = random.getrandbits(64)
        self._nonces = [random.getrandbits(32)]
        self._ports: dict[int, _Port] = {}
        self._count = 0
        self._probe_at = now + random.random() * settings.interval

    # --- inputs ---

    def port_up(self, port: int, vids: Sequence[tuple[Vid, bool]]) -> None:
        """A port takes part: its VLANs, each with whether it is tagged. The first is probed every round.

        Of the others one is probed per round, in turn, so that the number of probes does not grow with VLANs.
        A port that is already up keeps its age and its pause; only its VLANs change.
        """
        known = self._ports.get(port)
        if known is not None:
            known.vids = tuple(vids)
            return
        self._count += 1
        self._ports[port] = _Port(self._count, tuple(vids))

    def port_down(self, port: int) -> None:
        """The port's link ended: forget its age and its pause."""
        self._ports.pop(port, None)

    def receive(self, port: int, frame: Buffer, now: float) -> list[LoopDetected] | None:
        """Look at a frame to `PROBE_ADDRESS`: ``None`` when it is no probe of ours and should be forwarded.

        A list means that it must not be forwarded; it is empty when one of the two ports is shut already.
        """
        probe = self._decode(frame)
        if probe is None:
            return None
        sent_on, vid = probe
        sender, receiver = self._ports.get(sent_on), self._ports.get(port)
        if sender is None or receiver is None:
            return []
        if sender.shut_until is not None or receiver.shut_until is not None:
            return []
        younger, shut = (sender, sent_on) if sender.age > receiver.age else (receiver, port)
        pause = self._settings.recovery * min(2**younger.strikes, LONGEST_PAUSE)
        younger.strikes = min(younger.strikes + 1, LONGEST_PAUSE)
        younger.shut_until = now + pause
        return [LoopDetected(sent_on=sent_on, received_on=port, vid=vid, shut=shut, recover_at=now + pause)]

    def reopen(self, port: int) -> None:
        """The port was opened before its pause was over; its next pause is as long as if it had waited."""
        if (found := self._ports.get(port)) is not None:
            found.shut_until = None

    def handle_timer(self, now: float) -> list[LoopEvent]:
        """Open what has paused long enough, and send probes when it is time."""
        events: list[LoopEvent] = []
        for number, port in self._ports.items():
            if port.shut_until is not None and port.shut_until <= now:
                port.shut_until = None
                events.append(LoopPortRecovered(port=number))
        if self._probe_at <= now:
            events += self._probe()
            rounds = (now - self._probe_at) // self._settings.interval + 1
            self._probe_at += rounds * self._settings.interval
        return events

    # --- questions ---

    def is_own(self, frame: Buffer) -> bool:
        """Whether this is a probe of ours, sent not long ago."""
        return self._decode(frame) is not None

    def next_deadline(self) -> float | None:
        """The instant at which `handle_timer` has something to do; ``None`` without ports."""
        pauses = [port.shut_until for port in self._ports.values() if port.shut_until is not None]
        return min(pauses + ([self._probe_at] if self._ports else []), default=None)

    def shut_until(self, port: int) -> float | None:
        """The instant at which a shut port opens again; ``None`` when it is not shut."""
        found = self._ports.get(port)
        return None if found is None else found.shut_until

    # --- probes ---

    def _probe(self) -> list[ProbeToSend]:
        self._nonces = [self._random.getrandbits(32), *self._nonces][:ROUNDS_REMEMBERED]
        probes = []
        for number, port in self._ports.items():
            if port.shut_until is None:
                for vid, is_tagged in _next_vids(port):
                    probes.append(ProbeToSend(port=number, frame=self._encode(number, vid, is_tagged)))
        return probes

    def _encode(self, port: int, vid: Vid, is_tagged: bool) -> bytes:
        tag = struct.pack("!HH", EtherType.VLAN, vid) if is_tagged else b""
        payload = _PROBE.pack(MAGIC, self._switch, port, vid, self._nonces[0])
        parts = (PROBE_ADDRESS, self._mac, tag, LOCAL_EXPERIMENTAL.to_bytes(2, "big"), payload)
        # Four more with a tag, so that the frame is whole when the tag is taken off.
        return b"".join(parts).ljust(MINIMUM_FRAME_SIZE + (TAG_SIZE if is_tagged else 0), b"\0")

    def _decode(self, frame: Buffer) -> tuple[int, Vid] | None:
        """Give the port and the VLAN that a probe of ours was sent on; ``None`` for anything else."""
        is_tagged = frame[12:14] == b"\x81\x00"
        offset = _TAGGED_OFFSET if is_tagged else _UNTAGGED_OFFSET
        if frame[:6] != PROBE_ADDRESS or len(frame) < offset + _PROBE.size:
            return None
        if frame[offset - 2 : offset] != LOCAL_EXPERIMENTAL.to_bytes(2, "big"):
            return None
        magic, switch, port, vid, nonce = _PROBE.unpack_from(frame, offset)
        if magic != MAGIC or switch != self._switch or nonce not in self._nonces:
            return None
        return port, Vid(vid)


def _next_vids(port: _Port) -> tuple[tuple[Vid, bool], ...]:
    if len(port.vids) < 2:
        return port.vids
    port.turn = port.turn % (len(port.vids) - 1) + 1
    return port.vids[0], port.vids[port.turn]
