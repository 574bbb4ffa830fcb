"""Who has which address until when: the table behind a DHCP server, by ``now``.

An address belongs to one client at a time. When its time is up it stays that client's until somebody else
needs it: a client that comes back finds its address again (RFC 2131 section 4.3.1).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from ipaddress import IPv4Address

    from vport.ethernet import MacAddress

OFFER_TIME: Final = 60.0  # seconds an offered address waits for its client to request it
QUARANTINE: Final = 600.0  # seconds an address rests that somebody uses without a lease
FOREVER: Final = float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """An address given to a client.

    Attributes:
        client: what the client is known by.
        expires_at: on the clock of ``now``; infinity for one that never ends.
        is_offer: it was offered and not yet requested.
    """

    client: bytes
    mac: MacAddress
    address: IPv4Address
    expires_at: float
    name: str | None = None
    is_offer: bool = False


class LeaseTable:
    """Leases of the addresses from ``first`` to ``last``, and of fixed ones outside or inside of them.

    Args:
        first: of the pool.
        last: of the pool.
        reserved: addresses of the pool that are never handed out of it.
    """

    def __init__(self, first: IPv4Address, last: IPv4Address, reserved: frozenset[IPv4Address]) -> None:
        self.first = first
        self.last = last
        self.reserved = reserved
        self._by_client: dict[bytes, Lease] = {}
        self._by_address: dict[IPv4Address, Lease] = {}  # the one that was longest untouched comes first
        self._by_name: dict[str, Lease] = {}
        self._resting: dict[IPv4Address, float] = {}
        self._full_until = 0.0  # no address can be free before
        self._fresh = first  # every pool address from here on was never given

    def __iter__(self) -> Iterator[Lease]:
        """Give the leases by address, those that have ended too."""
        return iter(sorted(self._by_address.values(), key=lambda lease: lease.address))

    def __len__(self) -> int:
        return len(self._by_address)

    def of_client(self, client: bytes) -> Lease | None:
        """Give what the client has or last had."""
        return self._by_client.get(client)

    def of_address(self, address: IPv4Address, now: float) -> Lease | None:
        """Give the lease that covers an address now."""
        lease = self._by_address.get(address)
        return lease if lease is not None and lease.expires_at > now else None

    def of_name(self, name: str, now: float) -> Lease | None:
        """Give the lease of the station with that name now; offers have no names yet."""
        lease = self._by_name.get(name)
        return lease if lease is not None and lease.expires_at > now and not lease.is_offer else None

    def is_in_pool(self, address: IPv4Address) -> bool:
        """Whether the pool can give this address."""
        return self.first <= address <= self.last and address not in self.reserved

    def is_free_for(self, client: bytes, address: IPv4Address, now: float) -> bool:
        """Whether the pool can give this address to this client now."""
        if not self.is_in_pool(address) or self._resting.get(address, 0.0) > now:
            return False
        lease = self._by_address.get(address)
        return lease is None or lease.client == client or lease.expires_at <= now

    def choose(self, client: bytes, wanted: IPv4Address | None, now: float) -> IPv4Address | None:
        """Choose an address, in the order of RFC 2131 section 4.3.1; None when the pool is exhausted."""
        had = self._by_client.get(client)
        if had is not None and self.is_free_for(client, had.address, now):
            return had.address
        if wanted is not None and self.is_free_for(client, wanted, now):
            return wanted
        while self._fresh <= self.last:
            address = self._fresh
            if self.is_free_for(client, address, now) and address not in self._by_address:
                return address
            self._fresh += 1
        return self._ended(client, now)

    def _ended(self, client: bytes, now: float) -> IPv4Address | None:
        """Find an address that has rested, or whose time is up, the longest untouched first."""
        if now < self._full_until:
            return None
        for address in (*self._resting, *self._by_address):
            if self.is_free_for(client, address, now):
                return address
        in_pool = (lease.expires_at for lease in self._by_address.values() if self.is_in_pool(lease.address))
        self._full_until = min((*in_pool, *self._resting.values()), default=FOREVER)
        return None

    def give(self, lease: Lease, now: float) -> Lease:
        """Enter a lease in place of what client and address had; without its name when another has that."""
        self._remove(self._by_client.get(lease.client))
        self._remove(self._by_address.get(lease.address))
        holder = self._by_name.get(lease.name) if lease.name is not None else None
        if holder is not None and holder.expires_at > now:
            lease = replace(lease, name=None)
        self._resting.pop(lease.address, None)
        self._by_client[lease.client] = self._by_address[lease.address] = lease
        if lease.name is not None:
            self._by_name[lease.name] = lease
        return lease

    def end(self, lease: Lease, now: float) -> None:
        """End a lease now; the client may have the address again while nobody else does."""
        self.give(replace(lease, expires_at=now), now)

    def rest(self, address: IPv4Address, now: float) -> None:
        """Take an address out of use for a while: a station without a lease has it."""
        self._remove(self._by_address.get(address))
        if self.is_in_pool(address):
            self._resting[address] = now + QUARANTINE

    def _remove(self, lease: Lease | None) -> None:
        self._full_until = 0.0
        if lease is None:
            return
        del self._by_client[lease.client], self._by_address[lease.address]
        if lease.name is not None and self._by_name.get(lease.name) is lease:
            del self._by_name[lease.name]


def client_key(mac: MacAddress, client_id: bytes | None, fixed: Mapping[MacAddress, object]) -> bytes:
    """Give what a client is known by: its identifier, or its MAC address with the type that means Ethernet.

    A station with a fixed address is known by its MAC address alone, since the operator named it by that.
    """
    return bytes((1,)) + mac if client_id is None or mac in fixed else client_id
