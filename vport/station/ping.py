"""Echo requests under way: who was asked when, who answered, and the statistics of a series.

Neither packets nor addresses of our own here; ``host`` sends what this says is to be sent.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from vport.errors import LocalProtocolError
from vport.station.events import (
    PingEvent,
    PingReply,
    PingStatistics,
    PingSummary,
    PingTimeout,
    Unreachable,
)

if TYPE_CHECKING:
    from vport.locator import IpAddress

DEFAULT_TIMEOUT: Final = 5.0  # seconds; longer than it takes to find that nobody has the address
DEFAULT_SIZE: Final = 56  # bytes of data, as ping(8) sends
SINGLE: Final = 0  # the identifier of pings that belong to no series
_NUMBERS: Final = 1 << 16  # identifiers and sequence numbers have 16 bits (RFC 792)
MAX_EVENTS: Final = 65536  # ours: as many as there can be single pings under way


class Request(NamedTuple):
    """An echo request to be sent, or under way."""

    address: IpAddress
    identifier: int
    sequence: int


class _Outstanding(NamedTuple):
    sent_at: float
    size: int
    order: int  # tells this request from an earlier one with the same numbers


@dataclass(slots=True)
class _Series:
    """Pings to one address at an interval. ``left`` is None when there is no end."""

    address: IpAddress
    interval: float
    left: int | None
    next_at: float
    outstanding: int = 0
    transmitted: int = 0
    received: int = 0
    minimum: float = float("inf")
    total: float = 0.0
    maximum: float = 0.0

    def count_reply(self, round_trip: float) -> None:
        self.received += 1
        self.total += round_trip
        self.minimum = min(self.minimum, round_trip)
        self.maximum = max(self.maximum, round_trip)

    def statistics(self) -> PingStatistics:
        if not self.received:
            return PingStatistics(transmitted=self.transmitted)
        return PingStatistics(
            transmitted=self.transmitted,
            received=self.received,
            minimum=self.minimum,
            average=self.total / self.received,
            maximum=self.maximum,
        )


class Pinger:
    """Keeps account of single pings and of series of them."""

    def __init__(self, *, timeout: float = DEFAULT_TIMEOUT) -> None:
        self._timeout = timeout
        self._outstanding: dict[Request, _Outstanding] = {}
        self._deadlines: list[tuple[float, int, Request]] = []  # a heap; answered ones fall out late
        self._order = 0  # breaks ties in the heap, since addresses of two versions do not compare
        self._series: dict[int, _Series] = {}
        self._last_identifier = SINGLE
        self._last_sequence = 0
        self._events: deque[PingEvent] = deque(maxlen=MAX_EVENTS)

    # --- asking ---

    def single(self, address: IpAddress, now: float, *, size: int, timeout: float | None = None) -> Request:
        """Begin one ping and give the request to send.

        Raises:
            LocalProtocolError: all 65535 sequence numbers are under way.
        """
        for _ in range(_NUMBERS):
            self._last_sequence = self._last_sequence % (_NUMBERS - 1) + 1
            request = Request(address, SINGLE, self._last_sequence)
            if request not in self._outstanding:
                return self._begin(request, now, size, timeout)
        raise LocalProtocolError(f"65535 pings to {address} are under way")

    def start_series(self, address: IpAddress, now: float, *, interval: float, count: int | None) -> int:
        """Begin a series of ``count`` pings (None: for ever), the first due at once; give its identifier.

        Raises:
            LocalProtocolError: all 65535 identifiers are in use.
        """
        if len(self._series) >= _NUMBERS - 1:
            raise LocalProtocolError("65535 series of pings are under way")
        identifier = self._last_identifier % (_NUMBERS - 1) + 1
        while identifier in self._series:
            identifier = identifier % (_NUMBERS - 1) + 1
        self._last_identifier = identifier
        self._series[identifier] = _Series(address, interval, count, now)
        return identifier

    def stop_series(self) -> None:
        """End all series now, with a summary of what there is."""
        for identifier, series in self._series.items():
            self._summarise(identifier, series)
        self._series.clear()

    def _begin(self, request: Request, now: float, size: int, timeout: float | None = None) -> Request:
        if request in self._outstanding:  # the numbers of a series have come round
            self._time_out(request)
        self._order += 1
        deadline = now + (self._timeout if timeout is None else timeout)
        heapq.heappush(self._deadlines, (deadline, self._order, request))
        self._outstanding[request] = _Outstanding(now, size, self._order)
        return request

    # --- what becomes of it ---

    def size_of(self, request: Request) -> int | None:
        """How many bytes of data a request under way carried, None when it is not under way."""
        outstanding = self._outstanding.get(request)
        return None if outstanding is None else outstanding.size

    def replied(self, request: Request, now: float, *, ttl: int, size: int) -> None:
        """Note that a request under way was answered."""
        outstanding = self._outstanding.pop(request)
        round_trip = now - outstanding.sent_at
        self._events.append(
            PingReply(
                address=request.address,
                identifier=request.identifier,
                sequence=request.sequence,
                round_trip=round_trip,
                ttl=ttl,
                size=size,
            )
        )
        if request.identifier in self._series:
            self._series[request.identifier].count_reply(round_trip)
        self._finish(request)

    def under_way(self) -> set[IpAddress]:
        """Give the addresses that have not answered yet."""
        return {request.address for request in self._outstanding}

    def failed(self, address: IpAddress, reason: str) -> None:
        """Note that nothing under way to ``address`` can arrive."""
        for request in [request for request in self._outstanding if request.address == address]:
            self.refused(request, reason)

    def refused(self, request: Request, reason: str) -> None:
        """Note that a request under way did not arrive."""
        del self._outstanding[request]
        self._events.append(
            Unreachable(
                address=request.address,
                identifier=request.identifier,
                sequence=request.sequence,
                reason=reason,
            )
        )
        self._finish(request)

    def _finish(self, request: Request) -> None:
        """End a series when the last of its requests has ended."""
        series = self._series.get(request.identifier)
        if series is None:
            return
        series.outstanding -= 1
        if series.left == 0 and not series.outstanding:
            del self._series[request.identifier]
            self._summarise(request.identifier, series)

    def _summarise(self, identifier: int, series: _Series) -> None:
        self._events.append(
            PingSummary(address=series.address, identifier=identifier, statistics=series.statistics())
        )

    # --- time ---

    def next_deadline(self) -> float | None:
        """When ``handle_timer`` has something to do, None for never."""
        while self._deadlines and not self._is_live(self._deadlines[0]):
            heapq.heappop(self._deadlines)
        deadlines = [series.next_at for series in self._series.values() if series.left != 0]
        if self._deadlines:
            deadlines.append(self._deadlines[0][0])
        return min(deadlines, default=None)

    def _is_live(self, item: tuple[float, int, Request]) -> bool:
        outstanding = self._outstanding.get(item[2])
        return outstanding is not None and outstanding.order == item[1]

    def handle_timer(self, now: float) -> list[Request]:
        """Report requests whose time is over, and give those of the series that are due."""
        while self._deadlines and self._deadlines[0][0] <= now:
            item = heapq.heappop(self._deadlines)
            if self._is_live(item):
                self._time_out(item[2])
        return [
            self._next_of(identifier, series, now)
            for identifier, series in self._series.items()
            if series.left != 0 and series.next_at <= now
        ]

    def _time_out(self, request: Request) -> None:
        del self._outstanding[request]
        self._events.append(
            PingTimeout(address=request.address, identifier=request.identifier, sequence=request.sequence)
        )
        self._finish(request)

    def _next_of(self, identifier: int, series: _Series, now: float) -> Request:
        series.transmitted += 1
        series.outstanding += 1
        if series.left is not None:
            series.left -= 1
        series.next_at += series.interval
        if series.next_at <= now:  # we were held up: do not make up for it with a burst
            series.next_at = now + series.interval
        request = Request(series.address, identifier, series.transmitted % _NUMBERS)
        return self._begin(request, now, DEFAULT_SIZE)

    def take_events(self) -> list[PingEvent]:
        """Give what happened since the last call, oldest first."""
        events = list(self._events)
        self._events.clear()
        return events
