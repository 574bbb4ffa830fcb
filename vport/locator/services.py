"""Locators of what a LAN has besides a switch: a way out (``slirp``), addresses and names (``dhcp``)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Network
from typing import Any, ClassVar, Final

from vport.dhcp.settings import DhcpSettings, FixedLease, Pool
from vport.errors import SettingsError
from vport.ethernet import MacAddress, format_mac
from vport.forwards import GuestForward, HostForward
from vport.locator.base import Locator, flag, option
from vport.readers import file_path, integer, ip_address, station_address

OFF: Final = "no"  # the value of an option that switches off what it otherwise sets
THIS_MACHINE: Final = "host"  # as a name server: those that this machine asks

SLIRP_NETWORK: Final = "10.0.2.0/24"  # as in slirpvde and QEMU
SLIRP_IPV6: Final = IPv6Network("fd00::/64")  # as in slirp4netns; fec0::/64 of QEMU is deprecated (RFC 3879)
_MAXIMUM_NAME: Final = 253  # characters of a domain name (RFC 1035 section 2.3.4)
_LABEL: Final = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"  # RFC 1123 section 2.1


def ipv4_address(text: str) -> IPv4Address:
    """Read an IPv4 address."""
    try:
        return IPv4Address(text)
    except ValueError:
        raise SettingsError(f"{text!r} is not an IPv4 address") from None


def domain_name(text: str) -> str:
    """Read a name of the DNS, of a host or a domain, without a dot at its end."""
    if len(text) > _MAXIMUM_NAME or not re.fullmatch(rf"{_LABEL}(\.{_LABEL})*", text):
        raise SettingsError(f"{text!r} is not a domain name: letters, digits and -, parts joined by dots")
    return text


def host_name(text: str) -> str:
    """Read the name of a host, without a domain."""
    if not re.fullmatch(_LABEL, text):
        raise SettingsError(f"{text!r} is not a host name: 1 to 63 letters, digits and -")
    return text


def ipv4_interface(text: str, default_host: int) -> IPv4Interface:
    """Read an IPv4 address with a prefix; with a host part of 0 it is host ``default_host`` of the network.

    A negative ``default_host`` counts from the broadcast address. Raises SettingsError.
    """
    try:
        given = IPv4Interface(text if "/" in text else "")
    except ValueError:
        raise SettingsError(f"{text!r} is not an IPv4 network such as 10.0.2.0/24") from None
    network = given.network
    if network.prefixlen > 29 or network.prefixlen < 8:
        raise SettingsError(f"{text!r} has a prefix of {network.prefixlen} bits; 8 to 29 are possible")
    if given.ip == network.broadcast_address:
        raise SettingsError(f"{text!r} is the broadcast address of its network")
    if given.ip != network.network_address:
        return given
    base = network.network_address if default_host >= 0 else network.broadcast_address
    return IPv4Interface((base + default_host, network.prefixlen))


def _off_or_ipv4(text: str) -> IPv4Address | str:
    return OFF if text == OFF else ipv4_address(text)


def _off_or_prefix(text: str) -> IPv6Network | str:
    if text == OFF:
        return OFF
    try:
        network = IPv6Network(text)
    except ValueError:
        raise SettingsError(f"{text!r} is neither an IPv6 prefix such as {SLIRP_IPV6} nor {OFF}") from None
    if network.prefixlen != 64 or network.is_multicast or network.is_link_local:
        raise SettingsError(f"{text!r} is no network of stations with a prefix of 64 bits")
    return network


@dataclass(frozen=True, slots=True, kw_only=True)
class SlirpLocator(Locator):
    """A user-mode network: NAT, DHCP, DNS, TFTP by libslirp. See ``vport.links.slirp``."""

    scheme: ClassVar[str] = "slirp"
    form: ClassVar[str] = "slirp://NETWORK/PREFIX"
    summary: ClassVar[str] = "user-mode network: NAT to the outside, DHCP, DNS, TFTP, without root (libslirp)"

    router: IPv4Interface
    dhcp: IPv4Address | str | None = option(
        None, _off_or_ipv4, "first of 16 addresses to hand out, or no (default: network + 15)", "ADDRESS"
    )
    dns: IPv4Address | str | None = option(
        None,
        _off_or_ipv4,
        "where stations ask for names; forwarded to this machine's server when inside; or no (network + 3)",
        "ADDRESS",
    )
    ipv6: IPv6Network | str = option(
        SLIRP_IPV6, _off_or_prefix, "IPv6 prefix to announce, or no", "PREFIX/64"
    )
    hostname: str | None = option(None, host_name, "host name that DHCP gives to stations", "NAME")
    domain: str | None = option(None, domain_name, "domain that DHCP gives to stations", "NAME")
    search: tuple[str, ...] = option((), domain_name, "domain to search names in; repeatable", "NAME")
    tftp: str | None = option(None, file_path, "directory whose files TFTP serves, read-only", "DIRECTORY")
    bootfile: str | None = option(None, file_path, "file that DHCP tells stations to boot", "NAME")
    hostfwd: tuple[HostForward, ...] = option(
        (),
        HostForward.read,
        "port of this machine that leads inside; repeatable",
        "tcp:ADDR:PORT-STATION:PORT",
    )
    guestfwd: tuple[GuestForward, ...] = option(
        (), GuestForward.read, "port inside that leads to this machine; repeatable", "tcp:ADDR:PORT-TARGET"
    )
    restrict: bool = flag(False, "let nothing out but what is forwarded")
    loopback: bool = flag(False, "let stations reach this machine's 127.0.0.1 at the router's address")
    mtu: int = option(1500, integer(576, 65521), "of the packets that stations are sent", "N")
    sockets: int = option(1024, integer(1, 65536), "connections and flows at a time, no more", "N")

    def __post_init__(self) -> None:
        inside = self.router.network
        start = self.dhcp_start
        if start is not None and (start not in inside or start == inside.broadcast_address):
            raise SettingsError(f"dhcp={start} is not the address of a host in {inside}")
        for forward in self.guestfwd:
            if forward.address not in inside or forward.address in {self.router.ip, self.dns_address}:
                raise SettingsError(f"guestfwd={forward} needs an address in {inside} that nobody else has")

    @property
    def dhcp_start(self) -> IPv4Address | None:
        """The first address that is handed out; None when none are."""
        if isinstance(self.dhcp, str):
            return None
        size = self.router.network.num_addresses
        return self.dhcp or self.router.network.network_address + min(15, size // 2)

    @property
    def dns_address(self) -> IPv4Address | None:
        """Where stations ask for names; None for nowhere."""
        return None if isinstance(self.dns, str) else self.dns or self.router.network.network_address + 3

    @property
    def ipv6_prefix(self) -> IPv6Network | None:
        """The IPv6 network; None without IPv6."""
        return None if isinstance(self.ipv6, str) else self.ipv6

    @classmethod
    def read_target(cls, text: str) -> dict[str, Any]:
        """Read the network or the router's address in it; nothing stands for the usual network."""
        return {"router": ipv4_interface(text or SLIRP_NETWORK, 2)}

    def write_target(self) -> str:
        """Write the router's address."""
        return str(self.router)


# --- addresses and names ---


def fixed_lease(text: str) -> FixedLease:
    """Read ``MAC,ADDRESS`` or ``MAC,ADDRESS,NAME``."""
    mac, *rest = text.split(",")
    if not 1 <= len(rest) <= 2:
        raise SettingsError(f"{text!r} is not MAC,ADDRESS[,NAME], such as 02:00:00:00:00:01,10.1.1.7,printer")
    name = host_name(rest[1]).lower() if len(rest) == 2 else None
    return FixedLease(station_address(mac), ipv4_address(rest[0]), name)


def address_pool(text: str) -> Pool:
    """Read ``FIRST-LAST``."""
    first, dash, last = text.partition("-")
    if not dash:
        raise SettingsError(f"{text!r} is not FIRST-LAST, such as 10.1.1.100-10.1.1.199")
    return Pool(ipv4_address(first), ipv4_address(last))


def _resolver(text: str) -> str:
    return text if text == THIS_MACHINE else str(ip_address(text))


@dataclass(frozen=True, slots=True, kw_only=True)
class DhcpLocator(Locator):
    """A station that hands out addresses and answers for names. See ``vport.links.dhcp``."""

    scheme: ClassVar[str] = "dhcp"
    form: ClassVar[str] = "dhcp://NETWORK/PREFIX"
    summary: ClassVar[str] = "addresses and names for a LAN: a DHCP and name server, without NAT"

    server: IPv4Interface
    pool: Pool | None = option(
        None, address_pool, "addresses to hand out (default: the network's upper half)", "FIRST-LAST"
    )
    lease: int = option(3600, integer(60, 31_536_000), "how long an address is given for", "SECONDS")
    router: IPv4Address | None = option(None, ipv4_address, "the way out that stations are told", "ADDRESS")
    dns: tuple[IPv4Address, ...] = option(
        (), ipv4_address, "name server that stations are told; repeatable (default: this one)", "ADDRESS"
    )
    mtu: int | None = option(None, integer(68, 65521), "MTU that stations are told", "N")
    domain: str | None = option(None, domain_name, "domain of the stations' names", "NAME")
    static: tuple[FixedLease, ...] = option(
        (), fixed_lease, "address, and name, of one station; repeatable", "MAC,ADDRESS[,NAME]"
    )
    file: str | None = option(None, file_path, "where leases are kept over a restart", "PATH")
    forward: str | None = option(
        None, _resolver, "ask this server for other names; host: those of /etc/resolv.conf", "ADDRESS|host"
    )
    mac: MacAddress | None = option(
        None, station_address, "MAC address (default: made from the address)", "MAC", format_mac
    )

    def __post_init__(self) -> None:
        self.settings()

    def settings(self) -> DhcpSettings:
        """Give the settings of the server. Raises SettingsError."""
        return DhcpSettings(
            server=self.server,
            pool=self.pool,
            lease_time=self.lease,
            router=self.router,
            dns=self.dns,
            mtu=self.mtu,
            domain=self.domain,
            fixed=self.static,
        )

    @classmethod
    def read_target(cls, text: str) -> dict[str, Any]:
        """Read the server's address, or its network: then it has the last address of it."""
        return {"server": ipv4_interface(text, -1)}

    def write_target(self) -> str:
        """Write the server's address."""
        return str(self.server)
