"""A DHCP and name server as a link: ``dhcp://10.1.1.0/24?router=10.1.1.1&file=/var/lib/vport/leases``.

The server is ``vport.dhcp``, without I/O. This module gives it both clocks, keeps its leases on disk, asks
other name servers for what is not its own, and tells people what happens.
"""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import dns.asyncbackend
import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.resolver
import trio

from vport.dhcp.names import PAYLOAD, encode
from vport.dhcp.server import DhcpEvent, Exhausted, Granted, InUse, Released
from vport.dhcp.station import LanServer
from vport.dhcp.storage import read_leases, write_leases
from vport.errors import LinkError, SettingsError
from vport.ethernet import format_mac
from vport.files import read_text, write_text_in_thread
from vport.links.simulated import SimulatedLink
from vport.locator.services import THIS_MACHINE
from vport.rate_limit import RateLimit
from vport.station import derived_mac

if TYPE_CHECKING:
    from vport.dhcp.station import PendingQuery
    from vport.links.base import Sink
    from vport.locator import DhcpLocator
    from vport.train import Train

logger = logging.getLogger(__name__)

MAX_QUEUED_BYTES: Final = 1 << 19  # frames that wait for ``run``
MAX_FORWARDED: Final = 64  # queries under way
FORWARD_TIMEOUT: Final = 4.0  # seconds; resolvers ask again after five
SAVE_DELAY: Final = 0.5  # seconds in which changes of leases are gathered for one write
MAX_FILE: Final = 32 << 20  # bytes; twice what the leases of the largest pool take
GRACE: Final = 2.0  # seconds for the last write when everything ends


class DhcpLink(SimulatedLink):
    """A DHCP and name server at the far end of a link.

    Attributes:
        server: the server; ask it, but give it frames only through the link.
    """

    module = "dhcp"
    queue_limit = MAX_QUEUED_BYTES

    def __init__(self, locator: DhcpLocator, upstream: tuple[str, ...]) -> None:
        mac = locator.mac or derived_mac(locator.server)
        self.server = LanServer(mac, locator.settings(), forwards=bool(upstream))
        super().__init__(self.server)
        self.station = mac
        self.description = f"dhcp {locator.server}"
        self.discards = self.server.discards
        self.locator = locator
        self._path = None if locator.file is None else Path(locator.file)
        self._upstream = upstream
        self._changed = trio.Event()
        self._forwarded = 0  # queries under way
        self._told = RateLimit(burst=20, interval=1.0)

    # --- towards the server ---

    def transmit(self, train: Train) -> None:
        """Give the frames to the server at once; ``run`` also looks for queries to pass on."""
        super().transmit(train)
        self._wake.set()

    # --- from the server ---

    async def run(self, sink: Sink, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Announce the server and deliver what it answers until closed; leases are kept on disk."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._keep_leases)
                task_status.started()
                self._enqueue(self.server.announce())
                while not self._is_closed:
                    await self._turn(sink, nursery)
                nursery.cancel_scope.cancel()
        finally:
            if self._changed.is_set():
                with trio.move_on_after(GRACE, shield=True):
                    await self._save()

    async def _turn(self, sink: Sink, nursery: trio.Nursery) -> None:
        self._enqueue(self.server.handle_timer(trio.current_time()))
        for pending in self.server.take_queries():
            self._forward(pending, nursery)
        if self._queue:
            self._deliver_batch(sink)
            await trio.lowlevel.checkpoint()
        else:
            await self._sleep()

    # --- names of others ---

    def _forward(self, pending: PendingQuery, nursery: trio.Nursery) -> None:
        if self._forwarded >= MAX_FORWARDED:
            self.discards["too many queries"] += 1
            return
        self._forwarded += 1
        nursery.start_soon(self._ask_upstream, pending)

    async def _ask_upstream(self, pending: PendingQuery) -> None:
        """Ask the servers in turn, with a number and a port of our own, and pass the answer on."""
        try:
            response = await self._first_answer(pending.query)
            self._enqueue([self.server.answer(pending, encode(response, pending.query))])
            self._wake.set()
        finally:
            self._forwarded -= 1

    async def _first_answer(self, query: dns.message.Message) -> dns.message.Message:
        response = dns.message.make_response(query, recursion_available=True)
        question = query.question[0]
        ours = dns.message.make_query(question.name, question.rdtype, question.rdclass, payload=PAYLOAD)
        for address in self._upstream:
            with trio.move_on_after(FORWARD_TIMEOUT / len(self._upstream)):
                try:
                    answer, _ = await dns.asyncquery.udp_with_fallback(
                        ours, address, backend=dns.asyncbackend.get_backend("trio")
                    )
                except (OSError, dns.exception.DNSException, EOFError, ValueError):
                    continue
                response.set_rcode(answer.rcode())
                response.answer, response.authority = answer.answer, answer.authority
                return response
        response.set_rcode(dns.rcode.SERVFAIL)
        return response

    # --- leases on disk ---

    def load(self) -> None:
        """Take over the leases of an earlier run.

        Raises:
            LinkError: there is a file, but it cannot be read or holds something else.
        """
        if self._path is None:
            return
        now = trio.current_time()
        try:
            text = read_text(str(self._path), MAX_FILE)
            leases = read_leases(text, now, time.time())
        except FileNotFoundError:
            self._check_directory(self._path)
            return
        except (OSError, SettingsError) as error:
            raise LinkError(f"cannot read the leases in {self._path}: {error}") from None
        dropped = sum(not self.server.dhcp.restore(lease, now) for lease in leases)
        if dropped:
            logger.warning("%d leases in %s do not go with the settings any more", dropped, self._path)

    @staticmethod
    def _check_directory(path: Path) -> None:
        if not os.access(path.parent, os.W_OK):
            raise LinkError(
                f"cannot keep leases in {path}: {path.parent} is no directory that may be written"
            )

    async def _keep_leases(self) -> None:
        while True:
            await self._changed.wait()
            await trio.sleep(SAVE_DELAY)
            await self._save()

    async def _save(self) -> None:
        """Write all leases; on failure they stay marked as changed, and the next change tries again."""
        if self._path is None:
            return
        self._changed = trio.Event()
        text = write_leases(self.server.dhcp.leases, trio.current_time(), time.time())
        try:
            await write_text_in_thread(str(self._path), text)
        except OSError as error:
            logger.warning("cannot keep the leases in %s: %s", self._path, error.strerror)

    # --- what the server reports ---

    def _handle_events(self) -> None:
        for event in self.server.dhcp.take_events():
            if not isinstance(event, Exhausted) and self._path is not None:
                self._changed.set()
            if isinstance(event, Granted) and not event.is_new:
                continue
            allowed, suppressed = self._told.ask(trio.current_time())
            if allowed:
                more = f" ({suppressed} lines before this one were not logged)" if suppressed else ""
                level = logging.INFO if isinstance(event, Granted | Released) else logging.WARNING
                logger.log(level, "%s: %s%s", self.description, describe(event), more)

    def describe(self) -> list[str]:
        """Give the leases and what was counted as lines for people."""
        now = trio.current_time()
        lines = []
        for lease in self.server.dhcp.leases:
            state = _state(lease.expires_at - now, lease.is_offer)
            lines.append(f"{lease.address!s:15} {format_mac(lease.mac)} {state:14} {lease.name or '-'}")
        for counted in (self.server.dhcp.counters, self.server.names.counters, self.discards):
            lines += [f"{count} {what}" for what, count in sorted(counted.items())]
        return lines

    def document(self) -> dict[str, Any]:
        """Give leases and counters for programs."""
        now = trio.current_time()
        leases = [
            {
                "address": str(lease.address),
                "mac": format_mac(lease.mac),
                "name": lease.name,
                "seconds": max(0, int(lease.expires_at - now)),
                "offered": lease.is_offer,
            }
            for lease in self.server.dhcp.leases
        ]
        return {
            "server": str(self.locator.server),
            "leases": leases,
            "messages": dict(self.server.dhcp.counters),
            "queries": dict(self.server.names.counters),
            "discards": dict(self.discards),
        }


def _state(remaining: float, is_offer: bool) -> str:
    if remaining <= 0:
        return "ended"
    return f"{'offered, ' if is_offer else ''}{int(remaining)} s"


def describe(event: DhcpEvent) -> str:
    """Say in a line what happened."""
    match event:
        case Granted():
            lease = event.lease
            return f"{lease.address} is given to {format_mac(lease.mac)} ({lease.name or 'no name'})"
        case Released():
            return f"{event.lease.address} is given back by {format_mac(event.lease.mac)}"
        case Exhausted():
            return f"no address is left for {format_mac(event.mac)}: the pool is exhausted"
        case InUse():
            return f"{event.address} is used by a station without a lease and not given to others for a while"


def _name_servers(locator: DhcpLocator) -> tuple[str, ...]:
    """Give the servers to ask for names that are not ours.

    Raises:
        LinkError: this machine has none.
    """
    if locator.forward is None:
        return ()
    if locator.forward != THIS_MACHINE:
        return (locator.forward,)
    try:
        return tuple(map(str, dns.resolver.Resolver().nameservers))
    except dns.exception.DNSException as error:
        raise LinkError(f"forward={THIS_MACHINE}: no name server in /etc/resolv.conf ({error})") from None


async def open_dhcp(locator: DhcpLocator) -> DhcpLink:
    """Open the DHCP and name server that ``locator`` describes, with the leases of an earlier run.

    Raises:
        LinkError: the file of leases is unreadable, or there is no name server to forward to.
    """
    await trio.lowlevel.checkpoint()
    link = DhcpLink(locator, _name_servers(locator))
    link.load()
    return link
