"""MAC flapping: one address seen again and again on different ports, the mark of a loop or of a copy.

The bridge tells of every move of an address between ports; this says when it is worth a line in the log.
The table is bounded (the address moved longest ago is forgotten), and so are the reports: one per address
and minute, and ten addresses a minute; what was left out is counted in the next one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from vport.errors import SettingsError

if TYPE_CHECKING:
    from vport.ethernet import MacAddress, Vid

# --- our own constants ---

CAPACITY: Final = 1024  # addresses watched at once; a loop shows with a few already
PORTS_NAMED: Final = 8  # ports named per address; more say nothing new
REPORT_INTERVAL: Final = 60.0  # seconds between reports about one address
REPORTS_PER_INTERVAL: Final = 10  # addresses named per minute; a loop moves all of them


@dataclass(frozen=True, slots=True, kw_only=True)
class MacFlapSettings:
    """An address flaps when it moves ``moves`` times within ``window`` seconds.

    A roaming machine moves once or twice.

    Raises:
        SettingsError: a value is out of its range.
    """

    moves: int = 5
    window: float = 10.0

    def __post_init__(self) -> None:
        if not 2 <= self.moves <= 1000:
            raise SettingsError(f"{self.moves} moves is not within 2 to 1000")
        if not 1 <= self.window <= 3600:
            raise SettingsError(f"flap window {self.window:g} s is not within 1 to 3600 s")


@dataclass(frozen=True, slots=True, kw_only=True)
class MacFlapping:
    """The address moves between these ports; ``suppressed`` others were not reported since the last."""

    vid: Vid
    mac: MacAddress
    ports: tuple[int, ...]
    moves: int
    suppressed: int


@dataclass(slots=True)
class _Entry:
    since: float
    moves: int = 0
    ports: dict[int, None] = field(default_factory=dict)
    reported_at: float | None = None
    is_suppressed: bool = False


class MacFlapDetector:
    """Counts moves per address and VLAN."""

    def __init__(self, settings: MacFlapSettings) -> None:
        self._settings = settings
        self._entries: dict[tuple[Vid, MacAddress], _Entry] = {}
        self._suppressed = 0
        self._interval_start: float | None = None
        self._reports = 0

    def __len__(self) -> int:
        return len(self._entries)

    def moved(
        self, vid: Vid, mac: MacAddress, old_port: int, new_port: int, now: float
    ) -> MacFlapping | None:
        """An address was learned on another port than before; say if that must be reported."""
        key = (vid, mac)
        entry = self._entries.pop(key, None) or _Entry(now)
        self._entries[key] = entry  # last in order: moved most recently
        if len(self._entries) > CAPACITY:
            del self._entries[next(iter(self._entries))]
        if now - entry.since > self._settings.window:
            entry.since, entry.moves = now, 0
            entry.ports.clear()
        entry.moves += 1
        for port in (old_port, new_port):
            if len(entry.ports) < PORTS_NAMED:
                entry.ports[port] = None
        if entry.moves < self._settings.moves:
            return None
        return self._report(key, entry, now)

    def _report(self, key: tuple[Vid, MacAddress], entry: _Entry, now: float) -> MacFlapping | None:
        if entry.reported_at is not None and now - entry.reported_at < REPORT_INTERVAL:
            return None
        if not self._may_report(now):
            self._suppressed += not entry.is_suppressed
            entry.is_suppressed = True
            return None
        entry.reported_at, entry.is_suppressed = now, False
        suppressed, self._suppressed = self._suppressed, 0
        vid, mac = key
        return MacFlapping(
            vid=vid, mac=mac, ports=tuple(sorted(entry.ports)), moves=entry.moves, suppressed=suppressed
        )

    def _may_report(self, now: float) -> bool:
        if self._interval_start is None or now - self._interval_start >= REPORT_INTERVAL:
            self._interval_start, self._reports = now, 0
        self._reports += 1
        return self._reports <= REPORTS_PER_INTERVAL
