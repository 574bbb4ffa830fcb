"""The settings of a DHCP and name server: one frozen value, checked where it is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vport.errors import SettingsError
from vport.ethernet import format_mac

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv4Interface

    from vport.ethernet import MacAddress

MAX_POOL: Final = 65536  # addresses; a table of so many leases takes 30 MB


@dataclass(frozen=True, slots=True)
class FixedLease:
    """An address, and a name if wished, for the station with this MAC address."""

    mac: MacAddress
    address: IPv4Address
    name: str | None = None

    def __str__(self) -> str:
        return ",".join(filter(None, (format_mac(self.mac), str(self.address), self.name)))


@dataclass(frozen=True, slots=True)
class Pool:
    """The addresses that are handed out, ``first`` to ``last``."""

    first: IPv4Address
    last: IPv4Address

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DhcpSettings:
    """What a DHCP server hands out.

    Attributes:
        server: our own address with the network's prefix.
        pool: None for the upper half of the network.
        lease_time: seconds.
        router: the way out that stations are told, None for none.
        dns: the name servers that stations are told, none for ourselves.
        mtu: told to stations, None for nothing.
        domain: of the stations' names.
        fixed: addresses by MAC address.

    Raises:
        SettingsError: addresses that do not go together.
    """

    server: IPv4Interface
    pool: Pool | None = None
    lease_time: int = 3600
    router: IPv4Address | None = None
    dns: tuple[IPv4Address, ...] = ()
    mtu: int | None = None
    domain: str | None = None
    fixed: tuple[FixedLease, ...] = ()

    def __post_init__(self) -> None:
        first, last = self.range.first, self.range.last
        self._check_inside("pool", first)
        self._check_inside("pool", last)
        if not first <= last or int(last) - int(first) >= MAX_POOL:
            raise SettingsError(f"pool={self.range} has no address, or more than {MAX_POOL}")
        if self.router is not None:
            self._check_inside("router", self.router)
        for fixed in self.fixed:
            self._check_inside("fixed", fixed.address)
            if fixed.address == self.server.ip:
                raise SettingsError(f"fixed={fixed} is the server's own address")
        for what in ("mac", "address", "name"):
            given = [value for one in self.fixed if (value := getattr(one, what)) is not None]
            if len(set(given)) < len(given):
                raise SettingsError(f"two fixed leases have the same {what}")

    def _check_inside(self, name: str, address: IPv4Address) -> None:
        network = self.server.network
        if address not in network or address in {network.network_address, network.broadcast_address}:
            raise SettingsError(f"{name}: {address} is not the address of a host in {network}")

    @property
    def range(self) -> Pool:
        """The pool, also where none is given."""
        if self.pool is not None:
            return self.pool
        network = self.server.network
        half = min(network.num_addresses // 2, MAX_POOL)
        return Pool(network.broadcast_address - half + 1, network.broadcast_address - 1)

    @property
    def reserved(self) -> frozenset[IPv4Address]:
        """Addresses of the network that are somebody's and not the pool's."""
        ours = {self.server.ip, *(fixed.address for fixed in self.fixed)}
        return frozenset(ours if self.router is None else ours | {self.router})
