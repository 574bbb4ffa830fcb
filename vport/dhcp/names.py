"""Names of the stations of a LAN, answered as a DNS server would, with dnspython (RFC 1034, RFC 1035).

Authoritative are we for the domain of the LAN, for names of one label, and for the addresses of its network.
Everything else is somebody else's: forwarded when that is wished, refused otherwise.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Final

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.reversename
import dns.rrset

from vport.errors import FrameError

if TYPE_CHECKING:
    from vport.dhcp.leases import LeaseTable
    from vport.dhcp.settings import DhcpSettings

DNS_PORT: Final = 53
PAYLOAD: Final = 1232  # bytes of an answer that fit any path without fragments (DNS flag day 2020)
_CLASSIC: Final = 512  # bytes of an answer for who says nothing else (RFC 1035 section 4.2.1)
_LONGEST_TTL: Final = 60  # seconds; stations come and go
_AUTHORITY: Final = "{0} hostmaster.{0} 1 3600 600 86400 60"  # of the domain itself (RFC 1035 section 3.3.13)


@dataclass(frozen=True, slots=True)
class Answer:
    """The bytes of an answer."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Forward:
    """A query that somebody else has to answer."""

    query: dns.message.Message


class NameServer:
    """Answers for the stations in ``leases``.

    Attributes:
        counters: queries by what became of them.
    """

    def __init__(self, settings: DhcpSettings, leases: LeaseTable, *, forwards: bool) -> None:
        self.counters: Counter[str] = Counter()
        self._settings = settings
        self._leases = leases
        self._forwards = forwards
        self._domain = dns.name.from_text(settings.domain) if settings.domain else None
        self._fixed = {one.name: one.address for one in settings.fixed if one.name is not None}
        self._fixed_names = {address: name for name, address in self._fixed.items()}

    def receive(self, data: bytes, now: float) -> Answer | Forward:
        """Take a query.

        Raises:
            FrameError: it is no query.
        """
        query = _decode(data)
        if query.opcode() != dns.opcode.QUERY or len(query.question) != 1:
            self.counters["not implemented"] += 1
            return self._failure(query, dns.rcode.NOTIMP)
        name, kind = query.question[0].name, query.question[0].rdtype
        found = self._look_up(name, now)
        if found is None:
            return self._elsewhere(query)
        self.counters["answered"] += 1
        response = dns.message.make_response(query, recursion_available=self._forwards)
        response.flags |= dns.flags.AA
        if not found:
            response.set_rcode(dns.rcode.NXDOMAIN)
        response.answer = [rrset for rrset in found if kind in {rrset.rdtype, dns.rdatatype.ANY}]
        return Answer(encode(response, query))

    def _elsewhere(self, query: dns.message.Message) -> Answer | Forward:
        if self._forwards and query.flags & dns.flags.RD:
            self.counters["forwarded"] += 1
            return Forward(query)
        self.counters["refused"] += 1
        return self._failure(query, dns.rcode.REFUSED)

    @staticmethod
    def _failure(query: dns.message.Message, rcode: dns.rcode.Rcode) -> Answer:
        response = dns.message.make_response(query)
        response.set_rcode(rcode)
        return Answer(encode(response, query))

    def _look_up(self, name: dns.name.Name, now: float) -> list[dns.rrset.RRset] | None:
        """Give the records of a name: none if there is no such name, None if it is not ours to say."""
        if name.is_subdomain(dns.reversename.ipv4_reverse_domain):
            return self._look_up_address(name, now)
        label = self._label(name)
        if label is None:
            return None
        if label == "":
            return [_record(name, _LONGEST_TTL, dns.rdatatype.SOA, _AUTHORITY.format(name))]
        address, ttl = self._fixed.get(label), _LONGEST_TTL
        lease = self._leases.of_name(label, now)
        if address is None and lease is not None:
            address, ttl = lease.address, _ttl(lease.expires_at - now)
        return [] if address is None else [_record(name, ttl, dns.rdatatype.A, str(address))]

    def _label(self, name: dns.name.Name) -> str | None:
        """Give what a name of ours has in front of the domain; None when it is not ours."""
        if self._domain is not None and name.is_subdomain(self._domain):
            inner = name.labels[: -len(self._domain.labels)]
        elif len(name.labels) == 2:
            inner = name.labels[:1]
        else:
            return None
        return b".".join(inner).decode("ascii", errors="replace").lower()

    def _look_up_address(self, name: dns.name.Name, now: float) -> list[dns.rrset.RRset] | None:
        try:
            address = IPv4Address(dns.reversename.to_address(name))
        except (dns.exception.DNSException, ValueError):
            return None
        if address not in self._settings.server.network:
            return None
        label, ttl = self._fixed_names.get(address), _LONGEST_TTL
        lease = self._leases.of_address(address, now)
        if label is None and lease is not None and not lease.is_offer:
            label, ttl = lease.name, _ttl(lease.expires_at - now)
        if label is None:
            return []
        full = dns.name.from_text(label, self._domain or dns.name.root)
        return [_record(name, ttl, dns.rdatatype.PTR, full.to_text())]


def _decode(data: bytes) -> dns.message.Message:
    try:
        query = dns.message.from_wire(data)
    except (dns.exception.DNSException, ValueError) as error:
        raise FrameError(f"no DNS message: {error}") from None
    if query.flags & dns.flags.QR:
        raise FrameError("an answer where queries are expected")
    return query


def encode(response: dns.message.Message, query: dns.message.Message) -> bytes:
    """Give the bytes of a response, cut to what whoever asked can take, and marked so."""
    size = min(max(query.payload, _CLASSIC), PAYLOAD) if query.edns >= 0 else _CLASSIC
    try:
        return response.to_wire(max_size=size)
    except dns.exception.TooBig:
        short = dns.message.make_response(query)
        short.set_rcode(response.rcode())
        short.flags |= dns.flags.TC | (response.flags & (dns.flags.AA | dns.flags.RA))
        return short.to_wire(max_size=size)


def _ttl(remaining: float) -> int:
    return max(0, min(_LONGEST_TTL, int(remaining)))


def _record(name: dns.name.Name, ttl: int, kind: dns.rdatatype.RdataType, text: str) -> dns.rrset.RRset:
    return dns.rrset.from_text(name, ttl, dns.rdataclass.IN, kind, text)
