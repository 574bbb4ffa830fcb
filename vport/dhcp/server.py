"""A DHCP server without I/O: a request and the time in, a reply out (RFC 2131 section 4.3).

It is the only server for its network that it knows of, but not the only one that there may be: of clients
that it has no record of it refuses only what cannot be right.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from vport.dhcp.leases import OFFER_TIME, Lease, LeaseTable, client_key
from vport.dhcp.messages import NO_ADDRESS, Kind, Reply, Request

if TYPE_CHECKING:
    from ipaddress import IPv4Address

    from vport.dhcp.settings import DhcpSettings, FixedLease
    from vport.ethernet import MacAddress

MAX_EVENTS: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """A station got or kept an address."""

    lease: Lease
    is_new: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """A station gave its address back."""

    lease: Lease


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhausted:
    """There was no address for a station."""

    mac: MacAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class InUse:
    """A station without a lease uses an address of the pool."""

    address: IPv4Address


DhcpEvent = Granted | Released | Exhausted | InUse


class DhcpServer:
    """Hands out the addresses of ``settings``.

    Attributes:
        leases: who has what.
        counters: messages by what became of them.
    """

    def __init__(self, settings: DhcpSettings) -> None:
        self.settings = settings
        self.leases = LeaseTable(settings.range.first, settings.range.last, settings.reserved)
        self.counters: Counter[str] = Counter()
        self._address = settings.server.ip
        self._fixed: dict[MacAddress, FixedLease] = {one.mac: one for one in settings.fixed}
        self._fixed_names = {one.name for one in settings.fixed}
        self._events: deque[DhcpEvent] = deque(maxlen=MAX_EVENTS)

    def receive(self, request: Request, now: float) -> Reply | None:
        """Take a message of a client and give the answer, if it gets one."""
        if request.relay != NO_ADDRESS:
            self.counters["from a relay agent"] += 1  # of another network than the one that we are on
            return None
        reply: Reply | None = None
        match request.kind:
            case Kind.DISCOVER:
                reply = self._discover(request, now)
            case Kind.REQUEST:
                reply = self._request(request, now)
            case Kind.DECLINE:
                self._decline(request, now)
            case Kind.RELEASE:
                self._release(request, now)
            case Kind.INFORM:
                reply = self._reply(Kind.ACK, request, NO_ADDRESS)
            case _:
                self.counters["unknown type"] += 1
                return None
        self.counters[
            f"sent {reply.kind.name}" if reply else f"{Kind(request.kind).name} without answer"
        ] += 1
        return reply

    def key(self, request: Request) -> bytes:
        """Give what the client is known by."""
        return client_key(request.mac, request.client_id, self._fixed)

    def _address_for(self, request: Request, now: float) -> IPv4Address | None:
        fixed = self._fixed.get(request.mac)
        if fixed is not None:
            return fixed.address
        return self.leases.choose(self.key(request), request.requested, now)

    def _discover(self, request: Request, now: float) -> Reply | None:
        """Offer an address; a client that cannot get one hears nothing (RFC 2131 section 4.3.1)."""
        address = self._address_for(request, now)
        if address is None:
            self.counters["pool exhausted"] += 1
            self._events.append(Exhausted(mac=request.mac))
            return None
        held = self.leases.of_client(self.key(request))
        if held is None or held.address != address or held.is_offer or held.expires_at <= now:
            self._give(request, address, now, OFFER_TIME, is_offer=True)
        return self._reply(Kind.OFFER, request, address)

    def _request(self, request: Request, now: float) -> Reply | None:
        held = self.leases.of_client(self.key(request))
        if request.server is not None:  # SELECTING
            if request.server != self._address:
                if held is not None and held.is_offer:
                    self.leases.end(held, now)
                return None
            return self._grant(request, request.requested, now)
        address = request.client_address if request.requested is None else request.requested
        if address == NO_ADDRESS:
            return None
        if address in self.settings.server.network and held is None and not self._is_of_another(request, now):
            return None  # "MUST remain silent" (RFC 2131 section 4.3.2)
        return self._grant(request, address, now)

    def _is_of_another(self, request: Request, now: float) -> bool:
        """Whether what a client without a record uses is somebody else's."""
        address = request.client_address if request.requested is None else request.requested
        if request.mac in self._fixed:
            return True  # the operator's word is a record; whether it is kept to, ``_grant`` sees
        other = self.leases.of_address(address, now)
        return other is not None and other.client != self.key(request)

    def _grant(self, request: Request, address: IPv4Address | None, now: float) -> Reply:
        """Confirm an address that is this client's, refuse any other (RFC 2131 section 4.3.2)."""
        key = self.key(request)
        held = self.leases.of_client(key)
        fixed = self._fixed.get(request.mac)
        if fixed is not None:
            is_allowed = fixed.address == address
        else:
            is_allowed = (
                held is not None and held.address == address and self.leases.is_free_for(key, address, now)
            )
        if address is None or not is_allowed:
            return Reply(
                kind=Kind.NAK,
                request=request,
                server=self._address,
                options={"message": f"{address} is not yours"},
            )
        lease = self._give(request, address, now, self.settings.lease_time, is_offer=False)
        is_new = held is None or held.is_offer or held.address != address or held.expires_at <= now
        self._events.append(Granted(lease=lease, is_new=is_new))
        return self._reply(Kind.ACK, request, address)

    def _give(
        self, request: Request, address: IPv4Address, now: float, seconds: float, *, is_offer: bool
    ) -> Lease:
        fixed = self._fixed.get(request.mac)
        name = request.host_name if request.host_name not in self._fixed_names else None
        if fixed is not None:
            name = fixed.name or name
        lease = Lease(
            client=self.key(request),
            mac=request.mac,
            address=address,
            expires_at=now + seconds,
            name=name,
            is_offer=is_offer,
        )
        return self.leases.give(lease, now)

    def _decline(self, request: Request, now: float) -> None:
        """The client found somebody else at the address that it was given (RFC 2131 section 4.3.3)."""
        held = self.leases.of_client(self.key(request))
        if held is not None and held.address == request.requested and request.server == self._address:
            self.found_in_use(held.address, now)

    def _release(self, request: Request, now: float) -> None:
        """The client goes (RFC 2131 section 4.3.4)."""
        held = self.leases.of_client(self.key(request))
        if held is not None and held.address == request.client_address and held.expires_at > now:
            self.leases.end(held, now)
            self._events.append(Released(lease=held))

    def found_in_use(self, address: IPv4Address, now: float) -> None:
        """Note that somebody without a lease has this address; it rests for a while."""
        self.counters["address in use"] += 1
        self.leases.rest(address, now)
        self._events.append(InUse(address=address))

    def restore(self, lease: Lease, now: float) -> bool:
        """Enter a lease from before a restart; whether it still goes with the settings."""
        fixed = self._fixed.get(lease.mac)
        if fixed is not None:
            lease = replace(lease, name=fixed.name or lease.name)
        elif lease.name in self._fixed_names:
            lease = replace(lease, name=None)
        fits = fixed.address == lease.address if fixed is not None else self.leases.is_in_pool(lease.address)
        if fits:
            self.leases.give(lease, now)
        return fits

    def take_events(self) -> list[DhcpEvent]:
        """Give what happened since the last call, oldest first."""
        events = list(self._events)
        self._events.clear()
        return events

    # --- replies ---

    def _reply(self, kind: Kind, request: Request, address: IPv4Address) -> Reply:
        options = self._network_options()
        if request.kind != Kind.INFORM:  # RFC 2131 section 4.3.5: no times for who has its address otherwise
            options["lease_time"] = self.settings.lease_time
            options["renewal_time"] = self.settings.lease_time // 2  # T1 and T2: RFC 2131 section 4.4.5
            options["rebinding_time"] = self.settings.lease_time * 7 // 8
        return Reply(kind=kind, request=request, server=self._address, address=address, options=options)

    def _network_options(self) -> dict[str, Any]:
        settings = self.settings
        network = settings.server.network
        options: dict[str, Any] = {
            "subnet_mask": str(network.netmask),
            "broadcast_address": str(network.broadcast_address),
            "name_server": [str(address) for address in settings.dns or (self._address,)],
        }
        if settings.router is not None:
            options["router"] = [str(settings.router)]
        if settings.domain is not None:
            options["domain_name"] = settings.domain
        if settings.mtu is not None:
            options["interface_mtu"] = settings.mtu
        return options
