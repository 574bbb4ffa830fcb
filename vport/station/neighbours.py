"""Neighbour table: IP address to MAC address, with the timers of RFC 4861 for both versions of IP.

It knows nothing of ARP or neighbour discovery messages; ``resolution`` decides what is to be believed.
The states of RFC 4861 section 7.3.2 are two dictionaries here::

    INCOMPLETE          in ``_pending`` only: packets wait, solicitations go to the group
    REACHABLE, STALE    in ``_known`` only: the difference is the time of the last confirmation
    DELAY, PROBE        in both: packets are sent, solicitations go to the known MAC

Both are bounded, so that no station can make the table grow by inventing addresses.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from vport.ethernet import MacAddress
    from vport.locator import IpAddress

# --- constants of the standard (RFC 4861 section 10) ---

MAX_SOLICITATIONS: Final = 3  # MAX_MULTICAST_SOLICIT and MAX_UNICAST_SOLICIT
RETRANSMIT_TIME: Final = 1.0  # RETRANS_TIMER
REACHABLE_TIME: Final = 30.0
DELAY_FIRST_PROBE_TIME: Final = 5.0

# --- our own constants ---

DEFAULT_CAPACITY: Final = 1024  # what Linux keeps (gc_thresh3)
MAX_PENDING: Final = 256  # resolutions at a time; also bounds the search for the next deadline
MAX_WAITING: Final = 64  # packets for one neighbour; RFC 4861 section 7.2.2 wants at least one
MAX_WAITING_BYTES: Final = 1 << 16  # of them together; a longer packet waits alone. 16 MiB for all neighbours

_NEVER: Final = float("-inf")


class Solicit(NamedTuple):
    """Ask for ``address`` now: its last known ``mac`` alone, or everybody when that is None."""

    address: IpAddress
    mac: MacAddress | None


class GaveUp(NamedTuple):
    """Nobody answered for ``address``; ``packets`` are those that waited for it."""

    address: IpAddress
    packets: tuple[bytes, ...] = ()


class Learned(NamedTuple):
    """What learning changed: whether the MAC is new or another one, and the packets to send now."""

    is_news: bool
    released: tuple[bytes, ...]


@dataclass(slots=True)
class _Known:
    mac: MacAddress
    confirmed_at: float


@dataclass(slots=True)
class _Pending:
    deadline: float
    solicitations_left: int
    waiting: deque[bytes]


class NeighbourTable:
    """Who is where. ``capacity`` bounds the known neighbours; the least recently used one makes room.

    Attributes:
        overflows: packets discarded because too many waited already.
    """

    def __init__(self, *, capacity: int = DEFAULT_CAPACITY) -> None:
        self._capacity = capacity
        self._known: dict[IpAddress, _Known] = {}  # the least recently used first
        self._pending: dict[IpAddress, _Pending] = {}
        self.overflows = 0

    def __len__(self) -> int:
        return len(self._known)

    def mac_of(self, address: IpAddress) -> MacAddress | None:
        """Give the MAC address known for ``address``, fresh or not, without using it."""
        known = self._known.get(address)
        return None if known is None else known.mac

    def is_resolving(self, address: IpAddress) -> bool:
        """Whether packets wait until somebody answers for ``address``."""
        return address in self._pending and address not in self._known

    def entries(self) -> dict[IpAddress, MacAddress]:
        """Give all known neighbours."""
        return {address: known.mac for address, known in self._known.items()}

    def use(self, address: IpAddress, now: float) -> MacAddress | None:
        """Give the MAC address to send to, None when it must be resolved first.

        When it has not been confirmed for long, it is used and checked: by what comes back from there
        (``confirm``) within DELAY_FIRST_PROBE_TIME, else by solicitations.
        """
        known = self._known.pop(address, None)
        if known is None:
            return None
        self._known[address] = known
        is_stale = now - known.confirmed_at > REACHABLE_TIME
        if is_stale and address not in self._pending and len(self._pending) < MAX_PENDING:
            self._pending[address] = _Pending(
                now + DELAY_FIRST_PROBE_TIME, MAX_SOLICITATIONS, deque(maxlen=MAX_WAITING)
            )
        return known.mac

    def wait(self, address: IpAddress, packet: bytes, now: float) -> bool:
        """Keep ``packet`` until ``address`` is resolved; a solicitation may be due at once.

        When too many packets wait for it, the oldest goes. False, with nothing kept, when too many
        addresses are being resolved.
        """
        pending = self._pending.get(address)
        if pending is None:
            if len(self._pending) >= MAX_PENDING:
                self.overflows += 1
                return False
            pending = self._pending[address] = _Pending(now, MAX_SOLICITATIONS, deque(maxlen=MAX_WAITING))
        waiting = pending.waiting
        room = MAX_WAITING_BYTES - len(packet)
        while waiting and (len(waiting) == MAX_WAITING or sum(map(len, waiting)) > room):
            waiting.popleft()
            self.overflows += 1
        waiting.append(packet)
        return True

    def learn(self, address: IpAddress, mac: MacAddress, now: float, *, is_confirmed: bool) -> Learned:
        """Enter or change a neighbour.

        ``is_confirmed`` tells that packets to it arrive: it answered us. Otherwise it only spoke.
        """
        known = self._known.pop(address, None)
        is_news = known is None or known.mac != mac
        if known is None or is_news:
            known = _Known(mac, _NEVER)
        if is_confirmed:
            known.confirmed_at = now
        if len(self._known) >= self._capacity:
            del self._known[next(iter(self._known))]
        self._known[address] = known
        if not (is_confirmed or is_news or self.is_resolving(address)):
            return Learned(is_news, ())  # a check under way goes on
        pending = self._pending.pop(address, None)
        return Learned(is_news, tuple(pending.waiting) if pending else ())

    def confirm(self, address: IpAddress, now: float) -> None:
        """Note that packets to a known neighbour arrive: it answered one (RFC 4861 section 7.3.1)."""
        known = self._known.get(address)
        if known is not None:
            known.confirmed_at = now
            self._pending.pop(address, None)

    def next_deadline(self) -> float | None:
        """When ``handle_timer`` has something to do, None for never."""
        return min((pending.deadline for pending in self._pending.values()), default=None)

    def handle_timer(self, now: float) -> list[Solicit | GaveUp]:
        """Give the solicitations that are due, and the neighbours that answered none."""
        due: list[Solicit | GaveUp] = []
        for address, pending in list(self._pending.items()):
            if pending.deadline > now:
                continue
            if pending.solicitations_left:
                pending.solicitations_left -= 1
                pending.deadline = now + RETRANSMIT_TIME
                due.append(Solicit(address, self.mac_of(address)))
            else:
                del self._pending[address]
                self._known.pop(address, None)
                due.append(GaveUp(address, tuple(pending.waiting)))
        return due
