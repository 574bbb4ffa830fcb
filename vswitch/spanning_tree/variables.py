"""The variables of the bridge and its ports, and the conditions computed from them (802.1D-2004 17.17-17.20).

Names are the standard's in this project's spelling. Two things differ, without a visible effect:

- A timer is not a count of seconds but the instant at which it reaches zero: ``STOPPED`` is "zero",
  ``HELD`` is a timer that a state keeps reloading, which cannot expire until another state releases it. So
  timers are exact and an idle port costs nothing between its BPDUs.
- ``txCount`` is not a counter that falls once a second but the instant from which a further BPDU has its
  place; at most ``tx_hold_count`` go out at once and one a second after that, which is the same bound.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from math import inf
from typing import TYPE_CHECKING, Final

from vswitch.spanning_tree.bpdu import Bpdu, Dialect, PortRole, RstBpdu
from vswitch.spanning_tree.priority import (
    BridgeId,
    PortId,
    PriorityVector,
    make_bridge_id,
    make_port_id,
)
from vswitch.spanning_tree.settings import MIGRATE_TIME, BridgeSettings, PortSettings, Times
from vswitch.vlan import PortState

if TYPE_CHECKING:
    from vport.ethernet import MacAddress, Vid
    from vswitch.spanning_tree.events import TransmitBpdu

STOPPED: Final = -inf
HELD: Final = inf


class InfoIs(Enum):
    """Where the information in ``port_priority`` came from (802.1D-2004 17.19.10)."""

    DISABLED = "disabled"
    AGED = "aged"
    MINE = "mine"
    RECEIVED = "received"


@dataclass(slots=True, eq=False)
class Counters:
    """BPDUs of one port since it came up."""

    received: int = 0
    transmitted: int = 0
    discarded: int = 0  # filtered, faster than the limit, or too old
    topology_changes_received: int = 0


class Tree:
    """What belongs to the bridge as a whole (802.1D-2004 17.18), one per VLAN."""

    def __init__(self, mac: MacAddress, vid: Vid, settings: BridgeSettings, now: float) -> None:
        self.mac = mac
        self.vid = vid
        self.settings = settings
        self.now = now
        self.ports: dict[int, Port] = {}
        self.bridge_id: BridgeId = make_bridge_id(settings.priority, mac)
        self.bridge_times: Times = settings.times
        self.root_priority: PriorityVector = self.bridge_priority
        self.root_times: Times = settings.times
        self.root_port: Port | None = None
        self.reselect = False  # the standard has one per port and only ever asks for their disjunction
        self.bonus_port: int | None = None
        self.bonus_cost = 0

    @property
    def bridge_priority(self) -> PriorityVector:
        """The bridge's own priority vector, with itself as root (802.1D-2004 17.18.3)."""
        return PriorityVector(self.bridge_id, 0, self.bridge_id, PortId(0))

    @property
    def is_rapid(self) -> bool:
        """rstpVersion (802.1D-2004 17.20.11)."""
        return self.settings.protocol_version >= 2

    def touch_all(self) -> None:
        """Have every port's machines look at their conditions again."""
        for port in self.ports.values():
            port.is_dirty = True


@dataclass(slots=True, eq=False, kw_only=True)
class Port:
    """What belongs to one port of one instance (802.1D-2004 17.17, 17.19)."""

    tree: Tree
    number: int
    settings: PortSettings
    is_tagged: bool
    port_id: PortId
    port_priority: PriorityVector
    port_times: Times
    designated_priority: PriorityVector
    designated_times: Times

    # --- variables of the standard ---
    agree: bool = False
    agreed: bool = False
    disputed: bool = False
    fdb_flush: bool = False
    forward: bool = False
    forwarding: bool = False
    info_is: InfoIs = InfoIs.DISABLED
    learn: bool = False
    learning: bool = False
    mcheck: bool = False
    message: Bpdu | None = None
    new_info: bool = False
    oper_edge: bool = False
    port_enabled: bool = False
    proposed: bool = False
    proposing: bool = False
    rcvd_bpdu: bool = False
    rcvd_info: str = ""
    rcvd_msg: bool = False
    rcvd_rstp: bool = False
    rcvd_stp: bool = False
    rcvd_tc: bool = False
    rcvd_tc_ack: bool = False
    rcvd_tcn: bool = False
    re_root: bool = False
    role: PortRole = PortRole.DISABLED
    selected: bool = False
    selected_role: PortRole = PortRole.DISABLED
    send_rstp: bool = True
    sync: bool = False
    synced: bool = False
    tc_ack: bool = False
    tc_prop: bool = False
    updt_info: bool = False

    # --- timers: the instant of their end ---
    edge_delay_while: float = STOPPED
    fd_while: float = STOPPED
    hello_when: float = STOPPED
    mdelay_while: float = STOPPED
    rb_while: float = STOPPED
    rcvd_info_while: float = STOPPED
    rr_while: float = STOPPED
    tc_while: float = STOPPED
    tx_until: float = STOPPED  # every BPDU sent moves it a second on; see may_transmit

    # --- our own ---
    states: dict[str, str] = field(default_factory=dict)
    is_dirty: bool = True
    dialect: Dialect = Dialect.IEEE
    is_reflected: bool = False  # the last message was our own
    has_told_priority: bool = False  # the neighbour was sent what we claim now
    unanswered: dict[BridgeId, float] = field(
        default_factory=dict
    )  # root proposed in vain, and until when it counts
    propose_again_at: float = HELD
    has_told_change: bool = False  # VDE is told of a topology change once
    propagation_flush: bool = False  # a flush that may be put off, see topology_change
    flush_after: float = STOPPED
    heard_at: float = STOPPED  # when the information of a neighbour was last refreshed
    receive_until: float = STOPPED
    reported_state: PortState = PortState.DISCARDING
    reported_role: PortRole = PortRole.DISABLED
    topology_change_noticed: bool = False
    topology_change_received: bool = False
    outbox: list[Bpdu] = field(default_factory=list)
    sent: tuple[object, RstBpdu] | None = None  # what the last RST BPDU was made from, and itself
    sent_event: tuple[Bpdu, TransmitBpdu] | None = None  # the last BPDU and its frame
    is_stale: bool = True  # the two deadlines must be computed again
    timer_at: float = inf
    transmit_at: float = inf
    counters: Counters = field(default_factory=Counters)

    # --- conditions and parameters (802.1D-2004 17.20) ---

    @property
    def path_cost(self) -> int:
        """Cost of the port, less VDE's bonus; never below 1, as cost must grow with distance."""
        tree = self.tree
        cost = self.settings.path_cost
        return max(1, cost - tree.bonus_cost) if tree.bonus_port == self.number else cost

    @property
    def hello_time(self) -> float:
        """HelloTime, seconds (17.20.7)."""
        return self.designated_times.hello_time

    @property
    def fwd_delay(self) -> float:
        """FwdDelay, seconds (17.20.6)."""
        return self.designated_times.forward_delay

    @property
    def max_age(self) -> float:
        """MaxAge, seconds (17.20.8)."""
        return self.designated_times.max_age

    @property
    def forward_delay(self) -> float:
        """forwardDelay, seconds: short between rapid bridges, long beside classic ones (17.20.5)."""
        return self.hello_time if self.send_rstp else self.fwd_delay

    @property
    def edge_delay(self) -> float:
        """EdgeDelay, seconds (17.20.4)."""
        return MIGRATE_TIME if self.settings.point_to_point else self.max_age

    @property
    def is_settled(self) -> bool:
        """Qualifier of the role and transmit machines: selected and not updtInfo."""
        return self.selected and not self.updt_info

    @property
    def is_root_or_designated(self) -> bool:
        """Whether the port is part of the active topology."""
        return self.role is PortRole.DESIGNATED or self.role is PortRole.ROOT

    @property
    def state(self) -> PortState:
        """What the port state transition machine has reached."""
        if self.forwarding:
            return PortState.FORWARDING
        return PortState.LEARNING if self.learning else PortState.DISCARDING

    def is_over(self, timer: float) -> bool:
        """Whether a timer has reached zero."""
        return timer <= self.tree.now

    def all_synced(self) -> bool:
        """Whether every other port but the root port has been brought in line (17.20.3).

        As in later editions, roles that are still being computed do not count as in line.
        """
        return all(
            port.selected
            and port.role is port.selected_role
            and not port.updt_info
            and (port.synced or port is self or port.role is PortRole.ROOT)
            for port in self.tree.ports.values()
        )

    def re_rooted(self) -> bool:
        """Whether no other port was root port a moment ago (17.20.10)."""
        now = self.tree.now
        return all(port.rr_while <= now for port in self.tree.ports.values() if port is not self)

    def may_transmit(self) -> bool:
        """TxCount < TxHoldCount (17.20.12)."""
        return self.transmit_opens_at <= self.tree.now

    @property
    def transmit_opens_at(self) -> float:
        """The instant from which one more BPDU keeps the limit."""
        return self.tx_until - (self.tree.settings.tx_hold_count - 1)

    def count_transmission(self) -> None:
        """Take one BPDU's place, to be given back in a second (17.19.44)."""
        self.tx_until = max(self.tx_until, self.tree.now) + 1.0

    @property
    def is_beside_vde(self) -> bool:
        """Whether the last BPDU was in VDE's dialect."""
        return self.dialect is Dialect.VDE

    @property
    def rst_message(self) -> RstBpdu | None:
        """The message being processed, if it is of rapid spanning tree."""
        return self.message if isinstance(self.message, RstBpdu) else None


def make_port(tree: Tree, number: int, settings: PortSettings, *, is_tagged: bool) -> Port:
    """Create a port that is not enabled yet; the caller starts its machines.

    Raises:
        SettingsError: the number has no place in a port id.
    """
    port_id = make_port_id(settings.priority, number)
    own = PriorityVector(tree.bridge_id, 0, tree.bridge_id, port_id)
    times = tree.bridge_times
    return Port(
        tree=tree,
        number=number,
        settings=settings,
        is_tagged=is_tagged,
        port_id=port_id,
        port_priority=own,
        port_times=times,
        designated_priority=own,
        designated_times=times,
    )
