"""Bridge and port identifiers, and the vectors that order everything (802.1D-2004 17.4-17.6).

All of them are integers or tuples of integers in the order of significance, so that Python's own comparison
is the standard's: the lower, the better.
"""

from __future__ import annotations

from typing import Final, NamedTuple, NewType

from vport.errors import SettingsError
from vport.ethernet import MacAddress

BridgeId = NewType("BridgeId", int)
"""64 bits: 16 of priority, 48 of MAC address (802.1D-2004 9.2.5)."""

PortId = NewType("PortId", int)
"""16 bits: 4 of priority, 12 of port number (802.1D-2004 9.2.7)."""

# --- constants of the standard ---

PORT_NUMBER_MAX: Final = 4095  # 12 bits (802.1D-2004 9.2.7)
PATH_COST_MAX: Final = 200_000_000  # 802.1D-2004 table 17-3
ROOT_PATH_COST_MAX: Final = 0xFFFF_FFFF  # the field has 4 octets (802.1D-2004 9.2.6)

_ADDRESS_MASK: Final = (1 << 48) - 1
_NUMBER_MASK: Final = 0x0FFF


def make_bridge_id(priority: int, mac: bytes) -> BridgeId:
    """Join a priority (0 to 65535) and a MAC address.

    The standard wants the priority in steps of 4096; VDE takes any number, and so do we, since the order
    is that of the whole 64 bits either way.

    Raises:
        SettingsError: the priority does not fit.
    """
    if not 0 <= priority <= 0xFFFF:
        raise SettingsError(f"bridge priority {priority} is not within 0 to 65535")
    return BridgeId(priority << 48 | int.from_bytes(mac, "big"))


def bridge_priority(bridge_id: BridgeId) -> int:
    """Give the upper 16 bits."""
    return bridge_id >> 48


def bridge_address(bridge_id: BridgeId) -> MacAddress:
    """Give the lower 48 bits as a MAC address."""
    return MacAddress((bridge_id & _ADDRESS_MASK).to_bytes(6, "big"))


def is_same_bridge(one: BridgeId, other: BridgeId) -> bool:
    """Whether the address components are equal, whatever the priorities are (802.1D-2004 17.6)."""
    return (one ^ other) & _ADDRESS_MASK == 0


def format_bridge_id(bridge_id: BridgeId) -> str:
    """Write eight octets in hex joined by colons, as ``fstp/print`` does."""
    return bridge_id.to_bytes(8, "big").hex(":")


def make_port_id(priority: int, number: int) -> PortId:
    """Join a port priority (0 to 240 in steps of 16) and a port number (0 to 4095).

    Raises:
        SettingsError: one of them does not fit.
    """
    if not 0 <= priority <= 240 or priority % 16:
        raise SettingsError(f"port priority {priority} is not within 0 to 240 in steps of 16")
    if not 0 <= number <= PORT_NUMBER_MAX:
        raise SettingsError(f"port number {number} has no place in a port id: 0 to {PORT_NUMBER_MAX}")
    return PortId(priority << 8 | number)


class PriorityVector(NamedTuple):
    """Who is root, how far it is, and who says so; compared component by component (802.1D-2004 17.5)."""

    root_id: BridgeId
    root_path_cost: int
    designated_bridge_id: BridgeId
    designated_port_id: PortId

    def is_from_same_port(self, other: PriorityVector) -> bool:
        """Whether both were sent by one port of one bridge, priorities left aside (802.1D-2004 17.6)."""
        return (
            self.designated_port_id & _NUMBER_MASK == other.designated_port_id & _NUMBER_MASK
            and is_same_bridge(self.designated_bridge_id, other.designated_bridge_id)
        )

    def is_superior_to(self, other: PriorityVector) -> bool:
        """Whether a port holding ``other`` must take this message (802.1D-2004 17.6).

        Better information, or news of any kind from the port that ``other`` came from.
        """
        return self < other or (self != other and self.is_from_same_port(other))

    def through(self, path_cost: int) -> PriorityVector | None:
        """Give the root path priority vector across a port of this cost (802.1D-2004 17.6).

        ``None`` when the cost leaves the 32 bits of its field: such information has gone round in circles.
        """
        cost = self.root_path_cost + path_cost
        return None if cost > ROOT_PATH_COST_MAX else self._replace(root_path_cost=cost)
