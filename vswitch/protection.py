"""The guards of a switch, carried out on its bridge; they work with and without spanning tree.

``Protection`` owns what is one for the switch (loop detection, the watch over flapping stations, the pauses
of shut ports) and gives every port its storm control. What must be decided for each frame is decided in
``Bridge``: whether a port is shut, how much it may flood, how many addresses it may have. Pure, like
``topology``: probes wait in the outbox, what happened goes to the bridge's events.

Defaults: loop detection on every port; storm control on ports of remote members, which reach us through a
network and send what they like; the other guards off. A port that is shut opens when its pause is over, by
command, or when its link has gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, assert_never

from vport.ethernet import EtherType, Vid
from vswitch.events import StationMoved, StationStrayed
from vswitch.guards import (
    LoopDetected,
    LoopDetector,
    LoopPortRecovered,
    LoopSettings,
    MacFlapDetector,
    MacFlapSettings,
    ProbeToSend,
    StormControl,
    StormKind,
    StormSettings,
)
from vswitch.guards.port_guards import PortGuards, Shut, ShutReason
from vswitch.guards.settings import BPDU_GUARD_RECOVERY, GuardSettings
from vswitch.guards.storm_control import UNLIMITED
from vswitch.ports import NO_VLAN, DiscardReason, PortNumber
from vswitch.topology_events import (
    BpdusRefused,
    LoopFound,
    OpenCause,
    StationFlaps,
    StormBegan,
    StormEnded,
)
from vswitch.vlan import PortState

if TYPE_CHECKING:
    from random import Random

    from vport.ethernet import MacAddress
    from vswitch.bridge import Bridge
    from vswitch.events import Event
    from vswitch.guards.loop_detection import LoopEvent
    from vswitch.outbox import Outbox
    from vswitch.ports import Port
    from vswitch.vlan import Stale

# --- our own constants ---

REMOTE_MODULES: Final = frozenset({"udp", "wg", "tcp", "vxlan"})
"""Kinds of links whose far end is reached through a network."""

STORM_INTERVAL: Final = 1.0  # seconds between two looks at ports that storm control takes from
REFUSAL_INTERVAL: Final = 60.0  # seconds between two reports of BPDUs refused on a port


class Protection:
    """All guards of a switch.

    Args:
        bridge: what they act on.
        outbox: takes the probes.
        mac: the switch's address, source of its probes.
        random: gives the probes an identity and a phase.
        now: monotonic seconds.
    """

    def __init__(self, bridge: Bridge, outbox: Outbox, mac: MacAddress, random: Random, now: float) -> None:
        self._bridge = bridge
        self._outbox = outbox
        self._mac = mac
        self._random = random
        self._shut: dict[PortNumber, Port] = {}
        self._watched: dict[PortNumber, tuple[Port, list[tuple[Vid, bool]]]] = {}
        self._storms: dict[tuple[Port, StormKind], int] = {}  # frames discarded since each began
        self._storms_at: float | None = None
        self._refusals: dict[Port, tuple[float, int]] = {}  # when they are told next, and how many wait
        self.bpdu_recovery: float | None = BPDU_GUARD_RECOVERY
        self.flap_settings = MacFlapSettings()
        self._flaps = MacFlapDetector(self.flap_settings)
        self.is_looking_for_loops = True
        self.loop_settings = LoopSettings()
        self._loops = bridge.loops = LoopDetector(mac, random, self.loop_settings, now)

    # --- settings ---

    @property
    def settings(self) -> GuardSettings:
        """What is set for the whole switch."""
        return GuardSettings(
            is_looking_for_loops=self.is_looking_for_loops,
            loop=self.loop_settings,
            bpdu_recovery=self.bpdu_recovery,
            flap=self.flap_settings,
        )

    def configure(self, settings: GuardSettings, now: float) -> None:
        """Change what is set for the whole switch; what is as before is left alone."""
        is_on = settings.is_looking_for_loops
        if (is_on, settings.loop) != (self.is_looking_for_loops, self.loop_settings):
            self.set_loop_detection(settings.loop, now, is_on=is_on)
        self.bpdu_recovery = settings.bpdu_recovery
        if settings.flap != self.flap_settings:
            self.set_flap_detection(settings.flap)

    def set_loop_detection(self, settings: LoopSettings, now: float, *, is_on: bool = True) -> None:
        """Change how often probes are sent and how long a pause is; ports that pause for a loop open."""
        self.is_looking_for_loops = is_on
        for port in [
            port for port in self._shut.values() if port.shut and port.shut.reason is ShutReason.LOOP
        ]:
            self._bridge.open_port(port, OpenCause.OPERATOR)
        self.loop_settings = settings
        self._loops = self._bridge.loops = LoopDetector(self._mac, self._random, settings, now)
        self._watched.clear()
        for port in self._bridge.ports:
            self._watch(port)

    def set_flap_detection(self, settings: MacFlapSettings) -> None:
        """Change when a station counts as flapping."""
        self.flap_settings = settings
        self._flaps = MacFlapDetector(settings)

    def set_guards(self, port: Port, guards: PortGuards, now: float) -> None:
        """Change what a port is guarded against."""
        self._bridge.set_guards(port, guards)
        self._set_storm_control(port, now, is_changed=True)
        self._watch(port)

    def storm_settings(self, port: Port) -> StormSettings:
        """Give the limits in force: those set for the port, or those of its kind of link."""
        if port.guards.storm is not None:
            return port.guards.storm
        is_remote = any(endpoint.link.module in REMOTE_MODULES for endpoint in port.endpoints)
        return StormSettings() if is_remote else UNLIMITED

    # --- questions ---

    def next_deadline(self) -> float | None:
        """The instant at which ``handle_timer`` has something to do; None for never."""
        pauses = [
            port.shut.recover_at
            for port in self._shut.values()
            if port.shut is not None and port.shut.recover_at
        ]
        deadlines = (*pauses, self._loops.next_deadline(), self._storms_at)
        return min([deadline for deadline in deadlines if deadline is not None], default=None)

    # --- inputs ---

    def sync(self, stale: Stale, now: float) -> None:
        """Look at these ports again: VLANs, what is plugged in, or whether they are shut has changed."""
        for port in {port for _, port in stale}:
            if not self._is_present(port):
                self._refusals.pop(port, None)
            if port.shut is not None and self._is_present(port):
                self._shut[port.number] = port
            elif self._shut.get(port.number) is port:
                self._opened(port)
            self._set_storm_control(port, now)
            self._watch(port)

    def receive_bpdu(self, port: Port, now: float) -> bool:
        """Take note of a BPDU; tell whether the port's guards let it in."""
        if port.guards.bpdu:
            recover_at = None if self.bpdu_recovery is None else now + self.bpdu_recovery
            detail = "a BPDU came in: a bridge is there"
            self._shut_port(
                port, Shut(reason=ShutReason.BPDU_GUARD, detail=detail, since=now, recover_at=recover_at)
            )
            return False
        if port.guards.root and not self._bridge.has_spanning_tree:
            port.counters.discards[DiscardReason.UNWANTED_BPDU] += 1
            self._refuse(port, now)
            return False
        return True

    def receive_probe(self, port: Port, frame: bytes, now: float) -> None:
        """Take a probe of ours that came back: there is a loop, unless spanning tree blocks the port."""
        if not port.guards.loop or not self._forwards(port, _vid_of(port, frame)):
            return
        for found in self._loops.receive(port.number, frame, now) or []:
            self._cut(found, now)

    def observe(self, events: list[Event], now: float) -> None:
        """Look for flapping stations in what the bridge tells."""
        for event in events:
            match event:
                case StationMoved():
                    flapping = self._flaps.moved(event.vid, event.mac, event.old, event.new, now)
                case StationStrayed():
                    flapping = self._flaps.moved(event.vid, event.mac, event.port, event.seen, now)
                case _:
                    continue
            if flapping is not None:
                self._bridge.events.put(StationFlaps(flapping=flapping))

    def recover(self, port: Port) -> None:
        """Open a port that a guard shut; no effect on any other."""
        self._bridge.open_port(port, OpenCause.OPERATOR)

    def handle_timer(self, now: float) -> None:
        """Open what has paused long enough, send probes, report storms: whatever is due."""
        for event in self._loops.handle_timer(now):
            self._carry_out(event)
        for port in list(self._shut.values()):
            if port.shut is not None and port.shut.recover_at is not None and port.shut.recover_at <= now:
                self._bridge.open_port(port, OpenCause.TIMER)
        if self._storms_at is not None and self._storms_at <= now:
            self._report_storms(now)

    def look_for_storms(self, now: float) -> None:
        """Note whether storm control has taken frames from a port; the bridge says so in passing."""
        if self._bridge.storms and self._storms_at is None:
            self._report_storms(now)

    # --- loops ---

    def _watch(self, port: Port) -> None:
        """Let probes be sent on a port that can carry them, tagged or not as its VLANs are."""
        is_wanted = self.is_looking_for_loops and port.guards.loop
        if not (is_wanted and port.is_active and self._is_present(port)):
            known = self._watched.get(port.number)
            if known is not None and known[0] is port:
                del self._watched[port.number]
                self._loops.port_down(port.number)
            return
        vids = [(port.pvid, False)] if port.pvid != NO_VLAN else []
        vids += [(vid, True) for vid in sorted(port.tagged)]
        if self._watched.get(port.number) != (port, vids):
            self._watched[port.number] = (port, vids)
            self._loops.port_up(port.number, vids)

    def _carry_out(self, event: LoopEvent) -> None:
        match event:
            case ProbeToSend():
                port = self._watched[PortNumber(event.port)][0]
                if port.shut is None and self._forwards(port, _vid_of(port, event.frame)):
                    self._outbox.put(port, event.frame)
            case LoopPortRecovered():
                pass  # the port opens by the same clock, with all others that guards have shut
            case LoopDetected():
                pass  # only comes with a probe that has come back
            case _:
                assert_never(event)

    def _cut(self, found: LoopDetected, now: float) -> None:
        port = self._bridge.ports.get(found.shut)
        assert port is not None
        sent_on, received_on = PortNumber(found.sent_on), PortNumber(found.received_on)
        tell = LoopFound(sent_on=sent_on, received_on=received_on, vid=found.vid, shut=port.number)
        self._bridge.events.put(tell)
        other = sent_on if received_on == port.number else received_on
        detail = f"loop with port {other}" if other != port.number else "loop: it sends back what it gets"
        shut = Shut(reason=ShutReason.LOOP, detail=detail, since=now, recover_at=found.recover_at)
        self._shut_port(port, shut)

    def _forwards(self, port: Port, vid: Vid) -> bool:
        """Whether a port forwards in a VLAN; a hub has none."""
        if self._bridge.is_hub:
            return True
        vlan = self._bridge.vlans.get(vid)
        is_member = vlan is not None and vlan.member(port) is not None
        return is_member and vlan is not None and vlan.state(port) is PortState.FORWARDING

    # --- ports that are shut ---

    def _shut_port(self, port: Port, shut: Shut) -> None:
        if port.shut is None:
            self._bridge.shut_port(port, shut)

    def _opened(self, port: Port) -> None:
        del self._shut[port.number]
        self._loops.reopen(port.number)

    def _is_present(self, port: Port) -> bool:
        return self._bridge.ports.get(port.number) is port

    # --- storms, and BPDUs that are refused ---

    def _set_storm_control(self, port: Port, now: float, *, is_changed: bool = False) -> None:
        """Give a port the limits in force; what its buckets hold stays where nothing has changed."""
        settings = self.storm_settings(port)
        if settings == UNLIMITED:
            port.storm = None
        elif is_changed or port.storm is None or port.storm.settings != settings:
            port.storm = StormControl(settings, now)

    def _report_storms(self, now: float) -> None:
        """Tell which storms began and which ended; look again in a second while there is any."""
        tell = self._bridge.events.put
        looked_at = self._bridge.storms | {port for port, _ in self._storms}
        self._bridge.storms.clear()
        still = set()
        for port in sorted(looked_at, key=lambda port: port.number):
            for report in port.storm.reports() if port.storm is not None and self._is_present(port) else ():
                key = (port, report.kind)
                if report.discarded and key not in self._storms:
                    limit = _limit(self.storm_settings(port), report.kind)
                    tell(StormBegan(port=port.number, kind=report.kind, limit=limit))
                if report.discarded:
                    still.add(key)
                    self._storms[key] = self._storms.get(key, 0) + report.discarded
        for port, kind in [key for key in self._storms if key not in still]:
            discarded = self._storms.pop((port, kind))
            tell(StormEnded(port=port.number, kind=kind, discarded=discarded))
        self._storms_at = now + STORM_INTERVAL if self._storms else None

    def _refuse(self, port: Port, now: float) -> None:
        tell_at, count = self._refusals.get(port, (now, 0))
        count += 1
        if now >= tell_at:
            self._bridge.events.put(BpdusRefused(port=port.number, count=count))
            tell_at, count = now + REFUSAL_INTERVAL, 0
        self._refusals[port] = (tell_at, count)


def _limit(settings: StormSettings, kind: StormKind) -> int:
    limits = (settings.broadcast, settings.multicast, settings.unknown_unicast)
    return limits[kind] or 0


def _vid_of(port: Port, frame: bytes) -> Vid:
    """Give the VLAN of a probe: that of its tag, or the port's for frames without."""
    is_tagged = frame[12:14] == EtherType.VLAN.to_bytes(2, "big")
    vid = int.from_bytes(frame[14:16], "big") & 0x0FFF if is_tagged else 0
    return Vid(vid) if vid else port.pvid
