"""Addresses that are looked at before they are offered: is somebody there without a lease?

"The allocating server SHOULD probe the reused address before allocating the address" (RFC 2131 section 2.2).
The probe is an ARP request, which any station answers, firewalls or not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ipaddress import IPv4Address

    from vport.dhcp.messages import Reply
    from vport.ethernet import MacAddress

PROBE_TIME: Final = 0.25  # seconds for an answer; a LAN that is slower than that has other problems
MAX_PROBES: Final = 256  # at a time; without room an address is offered unprobed


class Probes:
    """Offers that wait until nobody has answered for their address."""

    def __init__(self) -> None:
        self._waiting: dict[IPv4Address, tuple[float, Reply]] = {}  # in the order of their deadlines

    def begin(self, offer: Reply, now: float) -> bool:
        """Hold an offer back; whether there was room for it. A client that asks again waits no longer."""
        if offer.address in self._waiting:
            return True
        if len(self._waiting) >= MAX_PROBES:
            return False
        self._waiting[offer.address] = (now + PROBE_TIME, offer)
        return True

    def seen(self, address: IPv4Address, mac: MacAddress) -> Reply | None:
        """Note that the station at ``mac`` has ``address``; give the offer of it if that was for another."""
        waiting = self._waiting.get(address)
        if waiting is None or waiting[1].request.mac == mac:
            return None
        del self._waiting[address]
        return waiting[1]

    def next_deadline(self) -> float | None:
        """When the next offer can go out."""
        return next((deadline for deadline, _ in self._waiting.values()), None)

    def take_due(self, now: float) -> list[Reply]:
        """Give the offers whose addresses nobody has answered for."""
        due = [(address, offer) for address, (deadline, offer) in self._waiting.items() if deadline <= now]
        for address, _ in due:
            del self._waiting[address]
        return [offer for _, offer in due]
