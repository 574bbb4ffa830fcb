"""Which prefix belongs to which peer: cryptokey routing (WG 2), longest match first."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING, Generic, TypeVar

from vport.errors import SettingsError
from vport.wireguard.constants import PREFIX_LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterable

Network = IPv4Network | IPv6Network
Owner = TypeVar("Owner")


class AllowedIps(Generic[Owner]):
    """A table of prefixes. A look-up tries the prefix lengths in use, the longest first."""

    def __init__(self, limit: int = PREFIX_LIMIT) -> None:
        self._limit = limit
        self._count = 0
        # by size of the address in bytes: (bits that are not prefix, prefix → owner), longest first
        self._tables: dict[int, list[tuple[int, dict[int, Owner]]]] = {4: [], 16: []}

    def __len__(self) -> int:
        return self._count

    def find(self, address: bytes) -> Owner | None:
        """Give the owner of the longest prefix around ``address``, 4 or 16 bytes; None: there is none."""
        number = int.from_bytes(address, "big")
        for shift, owners in self._tables[len(address)]:
            owner = owners.get(number >> shift)
            if owner is not None:
                return owner
        return None

    def _table(self, network: Network) -> dict[int, Owner]:
        tables = self._tables[network.max_prefixlen // 8]
        shift = network.max_prefixlen - network.prefixlen
        for known, owners in tables:
            if known == shift:
                return owners
        tables.append((shift, {}))
        tables.sort(key=lambda table: table[0])
        return self._table(network)

    @staticmethod
    def _prefix(network: Network) -> int:
        return int(network.network_address) >> (network.max_prefixlen - network.prefixlen)

    def add(self, networks: Iterable[Network], owner: Owner) -> None:
        """Give ``networks`` to ``owner``: all of them or, on an error, none.

        Raises:
            SettingsError: another owner has one of them, or the table is full.
        """
        fresh: dict[Network, None] = {}
        for network in networks:
            holder = self._table(network).get(self._prefix(network))
            if holder is not None and holder is not owner:
                raise SettingsError(f"AllowedIPs {network} belongs to another peer already: {holder}")
            if holder is None:
                fresh[network] = None
        if self._count + len(fresh) > self._limit:
            raise SettingsError(f"more than {self._limit} AllowedIPs")
        for network in fresh:
            self._table(network)[self._prefix(network)] = owner
        self._count += len(fresh)

    def remove(self, owner: Owner) -> None:
        """Take back all that belongs to ``owner``."""
        for tables in self._tables.values():
            for _, owners in tables:
                for prefix in [prefix for prefix, holder in owners.items() if holder is owner]:
                    del owners[prefix]
                    self._count -= 1
            tables[:] = [table for table in tables if table[1]]
