"""The forwarding database: which station is behind which port (802.1Q-2018 8.8).

An entry says that a MAC address in a VLAN was last seen as a source on a port. Dynamic entries age; the
three times are VDE's (spec vde-management 3): an entry goes when it has been silent for ``aging_time``,
looked for every ``collect_interval``, and does not move to another port while it was heard on its own
within ``min_persistence``, so that copies of its frames that come round a loop do not carry it along.

Two things prove a real move, and the entry then follows at once: a station's announcement of itself
(``vport.ethernet.loopback_test_frame``, which no bridge relays) and a frame to a station that we know,
which unlike a flooded one takes a single path.

The table is bounded, and fairly: when it is full, the port with more entries than its share gives one up.
A port that floods source addresses thus evicts its own. Static entries are never evicted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from vport.errors import SettingsError
from vswitch.events import EventQueue, FdbEntryAdded, FdbEntryRemoved, StationMoved, StationStrayed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vport.ethernet import MacAddress, Vid
    from vswitch.ports import Port

TIME_MAX: Final = 1_000_000  # seconds; the standard's upper bound of the ageing time (802.1Q-2018 table 8-7)
CAPACITY_MAX: Final = 1 << 20
_STRAY_INTERVAL: Final = 0.005  # seconds between two reports of strays: in a loop every frame is one
_SECOND_CHANCES: Final = 8  # entries looked at before one that was heard of lately is evicted all the same


@dataclass(frozen=True, slots=True, kw_only=True)
class FdbSettings:
    """How the table behaves; times in seconds.

    Attributes:
        aging_time: an entry that was silent for longer is removed.
        collect_interval: how often such entries are looked for; 0: never.
        min_persistence: how long an entry stays on its port against what may be a looped copy.
        capacity: the most entries.
        buckets: VDE's hash size, a power of two; it only orders ``hash/print``.

    Raises:
        SettingsError: a value is out of its range.
    """

    aging_time: int = 100
    collect_interval: int = 2
    min_persistence: int = 3
    capacity: int = 8192
    buckets: int = 128

    def __post_init__(self) -> None:
        for name, low, high in (
            ("aging_time", 1, TIME_MAX),
            ("collect_interval", 0, TIME_MAX),
            ("min_persistence", 0, TIME_MAX),
            ("capacity", 1, CAPACITY_MAX),
            ("buckets", 1, CAPACITY_MAX),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise SettingsError(f"{name.replace('_', ' ')} {value} is not from {low} to {high}")


class FdbEntry:
    """One filtering entry. ``last_seen`` is in the clock of the caller's ``now``, in seconds."""

    __slots__ = ("is_static", "last_seen", "mac", "port", "spared", "vid")

    def __init__(self, mac: MacAddress, vid: Vid, port: Port, last_seen: float, *, is_static: bool) -> None:
        self.mac = mac
        self.vid = vid
        self.port = port
        self.last_seen = last_seen
        self.is_static = is_static
        self.spared = last_seen  # last_seen when eviction last passed this entry over


class Fdb:
    """The table. Ports are told apart by identity; what happens is put into ``events``."""

    def __init__(self, settings: FdbSettings, events: EventQueue) -> None:
        self._settings = settings
        self._events = events
        self._tables: dict[Vid, dict[bytes, FdbEntry]] = {}
        self._by_port: dict[Port, dict[FdbEntry, None]] = {}  # dynamic entries, oldest first
        self._static: dict[FdbEntry, None] = {}
        self._size = 0
        self._next_stray = 0.0

    @property
    def settings(self) -> FdbSettings:
        """The settings in force; see ``change``."""
        return self._settings

    def change(self, **values: int) -> None:
        """Change settings by name, as fields of ``FdbSettings``; a smaller capacity evicts at once.

        Raises:
            SettingsError: a value is out of its range, or the capacity less than the static entries need;
                nothing was changed.
        """
        settings = replace(self._settings, **values)
        if settings.capacity < len(self._static):
            raise SettingsError(
                f"capacity {settings.capacity} is less than the {len(self._static)} static entries"
            )
        self._settings = settings
        while self._size > self._settings.capacity:
            self._evict_for(None)

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[FdbEntry]:
        for table in list(self._tables.values()):
            yield from list(table.values())

    def count(self, port: Port) -> int:
        """Count the entries of a port, in all VLANs."""
        return len(self._by_port.get(port, ()))

    def count_stations(self, port: Port, *, besides: MacAddress) -> int:
        """Count the stations of a port but for one, each once however many VLANs it is in."""
        return len({entry.mac for entry in self._by_port.get(port, ())} - {besides})

    def table(self, vid: Vid) -> dict[bytes, FdbEntry]:
        """Give the entries of a VLAN by MAC address: for the relay to look up in, not to change."""
        return self._tables.setdefault(vid, {})

    def lookup(self, vid: Vid, mac: bytes) -> FdbEntry | None:
        """Find the entry of a station, however old."""
        table = self._tables.get(vid)
        return None if table is None else table.get(mac)

    def learn(self, vid: Vid, mac: MacAddress, port: Port, now: float, *, proven: bool = False) -> None:
        """Note that ``mac`` sent a frame on ``port``; ``proven`` says that it was no looped copy."""
        entry = self.table(vid).get(mac)
        if entry is None:
            self._insert(FdbEntry(mac, vid, port, now, is_static=False))
        elif entry.is_static:
            return
        elif entry.port is port:
            entry.last_seen = now
        elif proven or now - entry.last_seen > self._settings.min_persistence:
            self._move(entry, port, now)
        elif now >= self._next_stray:
            self._next_stray = now + _STRAY_INTERVAL
            self._events.put(StationStrayed(mac=mac, vid=vid, port=entry.port.number, seen=port.number))

    def add_static(self, vid: Vid, mac: MacAddress, port: Port, now: float) -> None:
        """Configure an entry that neither ages nor moves; it replaces what was learned or configured.

        Raises:
            SettingsError: static entries fill the table.
        """
        existing = self.lookup(vid, mac)
        if existing is not None:
            self._remove(existing)
        elif len(self._static) >= self._settings.capacity:
            raise SettingsError(f"all {self._settings.capacity} entries of the table are static ones")
        self._insert(FdbEntry(mac, vid, port, now, is_static=True))

    def delete(self, vid: Vid, mac: bytes) -> bool:
        """Remove the entry of a station; tell whether there was one."""
        entry = self.lookup(vid, mac)
        if entry is None:
            return False
        self._remove(entry)
        return True

    def collect(self, now: float) -> None:
        """Remove every dynamic entry that has been silent for longer than the ageing time."""
        oldest = now - self._settings.aging_time
        self._remove_all(entry for entry in self if entry.last_seen < oldest and not entry.is_static)

    def flush(self, *, vid: Vid | None = None, port: Port | None = None) -> None:
        """Remove the dynamic entries of a VLAN, of a port, of both together, or all."""
        entries = self if port is None else list(self._by_port.get(port, ()))
        self._remove_all(entry for entry in entries if vid in {None, entry.vid} and not entry.is_static)

    def forget_port(self, port: Port) -> None:
        """Remove all entries of a port that is about to be deleted, static ones too."""
        self._remove_all([entry for entry in self if entry.port is port])

    def forget_vlan(self, vid: Vid) -> None:
        """Remove all entries of a VLAN that is about to be deleted, static ones too."""
        self._remove_all(list(self.table(vid).values()))
        del self._tables[vid]

    def _remove_all(self, entries: Iterable[FdbEntry]) -> None:
        for entry in entries:
            self._remove(entry)

    def _insert(self, entry: FdbEntry) -> None:
        if self._size >= self._settings.capacity and not self._evict_for(entry.port):
            return
        self.table(entry.vid)[entry.mac] = entry
        if entry.is_static:
            self._static[entry] = None
        else:
            self._by_port.setdefault(entry.port, {})[entry] = None
        self._size += 1
        self._events.put(FdbEntryAdded(mac=entry.mac, vid=entry.vid, port=entry.port.number))

    def _remove(self, entry: FdbEntry) -> None:
        del self._tables[entry.vid][entry.mac]
        if entry.is_static:
            del self._static[entry]
        else:
            self._unlist(entry)
        self._size -= 1
        self._events.put(FdbEntryRemoved(mac=entry.mac, vid=entry.vid, port=entry.port.number))

    def _unlist(self, entry: FdbEntry) -> None:
        entries = self._by_port[entry.port]
        del entries[entry]
        if not entries:
            del self._by_port[entry.port]

    def _move(self, entry: FdbEntry, port: Port, now: float) -> None:
        self._events.put(StationMoved(mac=entry.mac, vid=entry.vid, old=entry.port.number, new=port.number))
        self._unlist(entry)
        entry.port = port
        entry.last_seen = now
        self._by_port.setdefault(port, {})[entry] = None

    def _evict_for(self, port: Port | None) -> bool:
        """Remove one dynamic entry; tell whether there was one.

        It is of ``port`` if that holds its share, else of the port that holds the most.
        """
        if not self._by_port:
            return False
        share = self._settings.capacity // max(1, len(self._by_port))
        entries = self._by_port.get(port, {}) if port is not None else {}
        if len(entries) < max(1, share):
            entries = max(self._by_port.values(), key=len)
        self._remove(self._oldest(entries))
        return True

    @staticmethod
    def _oldest(entries: dict[FdbEntry, None]) -> FdbEntry:
        """Pick the entry to evict: the first learned that was not heard of since it was last passed over.

        Keeping entries in order of use would cost a dictionary update for every frame.
        """
        for _ in range(_SECOND_CHANCES):
            entry = next(iter(entries))
            if entry.last_seen <= entry.spared:
                return entry
            entry.spared = entry.last_seen
            del entries[entry]
            entries[entry] = None
        return next(iter(entries))
