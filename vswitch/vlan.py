"""VLANs: who is a member, in which form frames leave, and which ports take part in forwarding.

VLAN 0 is VDE's default: it exists from the start, every new port is in it untagged, and its frames carry
no tag. VLANs 1 to 4094 are those of 802.1Q.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

from vport.ethernet import EtherType, Vid
from vport.tagging import pop_tag, push_tag

if TYPE_CHECKING:
    from vport.train import Train
    from vswitch.fdb import FdbEntry
    from vswitch.ports import Port

DEFAULT_VID: Final = Vid(0)
_VID_MASK: Final = 0x0FFF
_TPID: Final = EtherType.VLAN.to_bytes(2, "big")
_PRIORITY_MASK: Final = 0xF000  # PCP and DEI


class PortState(Enum):
    """What the active topology lets a port do in a VLAN (802.1Q-2018 8.4)."""

    DISCARDING = "Discarding"
    LEARNING = "Learning"
    FORWARDING = "Forwarding"


class Member(NamedTuple):
    """A port of a VLAN, and whether the VLAN's frames leave it with a tag."""

    port: Port
    is_tagged: bool


Stale = set[tuple[Vid, "Port"]]
"""Ports in VLANs that spanning tree and guards must look at again."""


class EgressPorts(NamedTuple):
    """The ports that a VLAN's flooded frames leave through, by the form in which they do."""

    untagged: list[Port]
    tagged: list[Port]


class Vlan:
    """One VLAN.

    Attributes:
        vid: its identifier.
        table: its part of the address table, owned by ``Fdb``.
        states: what spanning tree says of its ports; a port that is not listed forwards, and discards where
            a tree governs the VLAN; None while spanning tree has nothing to say.
    """

    __slots__ = ("_egress", "_members", "_stale", "_unlisted", "states", "table", "vid")

    def __init__(self, vid: Vid, table: dict[bytes, FdbEntry], stale: Stale | None = None) -> None:
        self.vid = vid
        self.table = table
        self.states: dict[Port, PortState] | None = None
        self._unlisted = PortState.FORWARDING
        self._stale: Stale = set() if stale is None else stale
        self._members: dict[Port, Member] = {}
        self._egress: EgressPorts | None = None

    @property
    def members(self) -> list[Member]:
        """All members in order of their port numbers."""
        return [self._members[port] for port in sorted(self._members, key=lambda port: port.number)]

    def member(self, port: Port) -> Member | None:
        """Give the membership of ``port``, None if it has none."""
        return self._members.get(port)

    def add(self, port: Port, *, is_tagged: bool) -> None:
        """Make ``port`` a member, or change the form in which it is one."""
        self._members[port] = Member(port, is_tagged)
        self.invalidate(port)

    def remove(self, port: Port) -> None:
        """End the membership of ``port``, if there is one."""
        self._members.pop(port, None)
        if self.states is not None:
            self.states.pop(port, None)
        self.invalidate(port)

    def state(self, port: Port) -> PortState:
        """Tell what ``port`` does in this VLAN."""
        return self._unlisted if self.states is None else self.states.get(port, self._unlisted)

    def set_state(self, port: Port, state: PortState) -> None:
        """Let spanning tree say what ``port`` does."""
        if self.states is None:
            self.states = {}
        self.states[port] = state
        self._egress = None

    def govern(self, *, is_governed: bool) -> None:
        """Let a spanning tree decide from now on, ports without a word of it discarding; or none again."""
        self.states = {} if is_governed else None
        self._unlisted = PortState.DISCARDING if is_governed else PortState.FORWARDING
        self._egress = None

    def invalidate(self, port: Port) -> None:
        """Note that the membership of ``port``, or what is plugged into it, changed."""
        self._egress = None
        self._stale.add((self.vid, port))

    @property
    def egress(self) -> EgressPorts:
        """The ports that a flooded frame leaves through: active and forwarding. Not to be changed."""
        if self._egress is None:
            leaving = [
                member
                for port, member in self._members.items()
                if port.endpoints and port.shut is None and self.state(port) is PortState.FORWARDING
            ]
            self._egress = EgressPorts(
                [member.port for member in leaving if not member.is_tagged],
                [member.port for member in leaving if member.is_tagged],
            )
        return self._egress


def form(train: Train, vid: Vid, tci: int | None, *, is_tagged: bool) -> Train:
    """Give a train the form in which it leaves a VLAN; where that is the one it has, the train itself.

    Args:
        train: the train as it came in.
        vid: the VLAN that it was classified to.
        tci: its tag's control information, or None when it came without a tag (a tag that means nothing
            to this switch does not count).
        is_tagged: whether it leaves with the VLAN's tag, or without.
    """
    if not is_tagged:
        return train if tci is None else pop_tag(train)
    if tci is None:
        # In VLAN 0 a priority tag passed as it was, and is the VLAN's tag already.
        return train if vid == DEFAULT_VID and _is_priority_tagged(train) else push_tag(train, vid)
    if tci & _VID_MASK == vid:
        return train
    # a priority tag: its VID is 0, its priority stays (802.1Q-2018 6.9.1)
    return push_tag(pop_tag(train), tci & _PRIORITY_MASK | vid)


def _is_priority_tagged(train: Train) -> bool:
    """Whether the first frame has a tag with VID 0 (802.1Q-2018 6.9.1); all of a run are alike."""
    head = bytes(train.data[12:16])
    return head[:2] == _TPID and len(head) == 4 and not int.from_bytes(head[2:], "big") & _VID_MASK
