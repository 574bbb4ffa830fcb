"""What an operator sets, checked once: the bridge's times and priority, the ports' costs and guards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from vport.errors import SettingsError
from vswitch.spanning_tree.priority import PATH_COST_MAX

# --- constants of the standards ---

HELLO_TIME_RANGE: Final = (
    1.0,
    10.0,
)  # RFC 4188 dot1dStpBridgeHelloTime; 802.1D-2004 itself only wants 1 to 2
MAX_AGE_RANGE: Final = (6.0, 40.0)  # 802.1D-2004 table 17-1
FORWARD_DELAY_RANGE: Final = (4.0, 30.0)  # 802.1D-2004 table 17-1
TX_HOLD_COUNT_RANGE: Final = (1, 10)  # 802.1D-2004 table 17-1
DEFAULT_PORT_PRIORITY: Final = 128  # 802.1D-2004 table 17-2
MIGRATE_TIME: Final = 3.0  # seconds; 802.1D-2004 table 17-1

# --- our own constants ---

DEFAULT_PATH_COST: Final = 20_000_000  # VDE's constant, so that a mixed ring counts every hop alike


class Times(NamedTuple):
    """The four times that a BPDU carries, in seconds (802.1D-2004 17.18.4)."""

    message_age: float
    max_age: float
    hello_time: float
    forward_delay: float

    def is_expired(self) -> bool:
        """Whether this message has crossed more bridges than its root allows (802.1D-2004 17.21.23)."""
        return self.aged().message_age > self.max_age

    def aged(self) -> Times:
        """One bridge further: a second older, rounded to whole seconds (802.1D-2004 17.21.25)."""
        return self._replace(message_age=float(int(self.message_age + 1.5)))

    def clamped(self) -> Times:
        """The same within the ranges that an operator could have set.

        The standard only raises the hello time (17.21.15); a forward delay of zero from a stranger would
        disarm our own protection against loops, and a hello of 255 s would keep dead information for minutes.
        """
        return Times(
            self.message_age,
            _clamp(self.max_age, MAX_AGE_RANGE),
            _clamp(self.hello_time, HELLO_TIME_RANGE),
            _clamp(self.forward_delay, FORWARD_DELAY_RANGE),
        )


def _clamp(value: float, limits: tuple[float, float]) -> float:
    low, high = limits
    return min(max(value, low), high)


def _check(name: str, value: float, limits: tuple[float, float], unit: str = "") -> None:
    low, high = limits
    if not low <= value <= high:
        raise SettingsError(f"{name} {value:g}{unit} is not within {low:g} to {high:g}{unit}")


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeSettings:
    """Settings of one spanning tree instance.

    Times are seconds. ``protocol_version`` is the standard's force protocol version: 2 for rapid spanning
    tree, 0 for a bridge that only ever speaks classic STP (802.1D-2004 17.13.4).

    Raises:
        SettingsError: a value is out of its range, or the times do not fit each other.
    """

    priority: int = 0x8000
    hello_time: float = 2.0
    max_age: float = 20.0
    forward_delay: float = 15.0
    tx_hold_count: int = 6
    protocol_version: int = 2

    def __post_init__(self) -> None:
        _check("bridge priority", self.priority, (0, 65535))
        _check("hello time", self.hello_time, HELLO_TIME_RANGE, " s")
        _check("max age", self.max_age, MAX_AGE_RANGE, " s")
        _check("forward delay", self.forward_delay, FORWARD_DELAY_RANGE, " s")
        _check("transmit hold count", self.tx_hold_count, TX_HOLD_COUNT_RANGE)
        if self.protocol_version not in (0, 2):
            raise SettingsError(f"protocol version {self.protocol_version} is neither 0 (STP) nor 2 (RSTP)")
        self._check_relations()

    def _check_relations(self) -> None:
        """Check 2 × (forward delay - 1) >= max age >= 2 × (hello time + 1) (802.1D-2004 17.14)."""
        highest = 2 * (self.forward_delay - 1)
        lowest = 2 * (self.hello_time + 1)
        if self.max_age > highest:
            rule = f"2 × (forward delay {self.forward_delay:g} s - 1 s)"
            raise SettingsError(f"max age {self.max_age:g} s is above {highest:g} s = {rule}")
        if self.max_age < lowest:
            rule = f"2 × (hello time {self.hello_time:g} s + 1 s)"
            raise SettingsError(f"max age {self.max_age:g} s is below {lowest:g} s = {rule}")

    @property
    def times(self) -> Times:
        """The bridge's own times, as it would send them as root (802.1D-2004 17.18.4)."""
        return Times(0.0, self.max_age, self.hello_time, self.forward_delay)


@dataclass(frozen=True, slots=True, kw_only=True)
class PortSettings:
    """Settings of one port in one instance; the defaults fit a tunnel or a virtual machine.

    ``point_to_point``: exactly one bridge can be behind the port; needed for proposal and agreement
    (6.4.3). ``admin_edge``: forward at once, until a BPDU proves that a bridge is there (17.13.1).
    ``auto_edge``: find out after three seconds without a BPDU (17.13.3). ``restricted_role`` is root
    guard: never look for the root behind this port (802.1Q-2018 13.27.64). ``restricted_tcn``: do not pass
    topology changes on from here (802.1Q-2018 13.27.65). ``bpdu_filter``: neither send nor accept BPDUs,
    what VDE does on an edge port; the port then cannot take part in breaking a loop. BPDU guard is not
    here: it shuts a port in all VLANs, see ``vswitch.protection``.

    Raises:
        SettingsError: path cost or priority is out of its range.
    """

    path_cost: int = DEFAULT_PATH_COST
    priority: int = DEFAULT_PORT_PRIORITY
    point_to_point: bool = True
    admin_edge: bool = False
    auto_edge: bool = True
    restricted_role: bool = False
    restricted_tcn: bool = False
    bpdu_filter: bool = False

    def __post_init__(self) -> None:
        _check("path cost", self.path_cost, (1, PATH_COST_MAX))
        check_port_priority(self.priority)


def check_port_priority(priority: int) -> int:
    """Give ``priority`` back if a port can have it.

    Raises:
        SettingsError: it cannot.
    """
    if not 0 <= priority <= 240 or priority % 16:
        raise SettingsError(f"port priority {priority} is not within 0 to 240 in steps of 16")
    return priority
