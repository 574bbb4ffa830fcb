from __future__ import annotations

from ipaddress import ip_address

import pytest

from vport.errors import LocalProtocolError
from vport.station.events import PingReply, PingStatistics, PingSummary, PingTimeout, Unreachable
from vport.station.ping import SINGLE, Pinger, Request

A, B = ip_address("10.1.1.1"), ip_address("fd00::1")


def test_single_ping_is_answered_once() -> None:
    pinger = Pinger()
    request = pinger.single(A, 10.0, size=56)
    assert request == Request(A, SINGLE, 1)
    assert pinger.size_of(request) == 56
    assert pinger.next_deadline() == 15.0

    pinger.replied(request, 10.25, ttl=64, size=64)

    assert pinger.take_events() == [
        PingReply(address=A, identifier=SINGLE, sequence=1, round_trip=0.25, ttl=64, size=64)
    ]
    assert pinger.size_of(request) is None
    assert pinger.next_deadline() is None


def test_silence_is_reported_when_the_time_is_over() -> None:
    pinger = Pinger(timeout=2.0)
    pinger.single(A, 10.0, size=56)
    pinger.single(B, 10.0, size=56, timeout=1.0)
    assert pinger.next_deadline() == 11.0

    assert pinger.handle_timer(11.0) == []
    assert pinger.take_events() == [PingTimeout(address=B, identifier=SINGLE, sequence=2)]

    assert pinger.handle_timer(12.0) == []
    assert pinger.take_events() == [PingTimeout(address=A, identifier=SINGLE, sequence=1)]
    assert pinger.next_deadline() is None


def test_failure_concerns_all_pings_to_that_address() -> None:
    pinger = Pinger()
    pinger.single(A, 10.0, size=56)
    pinger.single(B, 10.0, size=56)
    pinger.single(A, 10.0, size=56)

    pinger.failed(A, "why")

    assert pinger.take_events() == [
        Unreachable(address=A, identifier=SINGLE, sequence=1, reason="why"),
        Unreachable(address=A, identifier=SINGLE, sequence=3, reason="why"),
    ]


def test_series_keeps_its_interval_and_sums_up() -> None:
    pinger = Pinger(timeout=2.0)
    identifier = pinger.start_series(A, 10.0, interval=1.0, count=3)
    assert pinger.next_deadline() == 10.0

    assert pinger.handle_timer(10.0) == [Request(A, identifier, 1)]
    pinger.replied(Request(A, identifier, 1), 10.5, ttl=64, size=64)
    assert pinger.next_deadline() == 11.0

    assert pinger.handle_timer(11.0) == [Request(A, identifier, 2)]
    assert pinger.next_deadline() == 12.0

    assert pinger.handle_timer(12.0) == [Request(A, identifier, 3)]
    pinger.replied(Request(A, identifier, 3), 12.25, ttl=64, size=64)
    assert pinger.next_deadline() == 13.0
    pinger.take_events()

    assert pinger.handle_timer(13.0) == []
    assert pinger.take_events() == [
        PingTimeout(address=A, identifier=identifier, sequence=2),
        PingSummary(
            address=A,
            identifier=identifier,
            statistics=PingStatistics(transmitted=3, received=2, minimum=0.25, average=0.375, maximum=0.5),
        ),
    ]
    assert pinger.next_deadline() is None


def test_series_held_up_does_not_burst() -> None:
    pinger = Pinger()
    identifier = pinger.start_series(A, 10.0, interval=1.0, count=None)
    pinger.handle_timer(10.0)

    assert pinger.handle_timer(14.5) == [Request(A, identifier, 2)]
    assert pinger.handle_timer(14.5) == []
    assert pinger.next_deadline() == 15.0  # of the first ping's time; the next ping is due at 15.5
    assert pinger.handle_timer(15.5) == [Request(A, identifier, 3)]


def test_series_to_an_unreachable_address_ends_too() -> None:
    pinger = Pinger()
    identifier = pinger.start_series(A, 10.0, interval=1.0, count=1)
    pinger.handle_timer(10.0)

    pinger.failed(A, "why")

    assert pinger.take_events()[1] == PingSummary(
        address=A, identifier=identifier, statistics=PingStatistics(transmitted=1)
    )


def test_stopped_series_sums_up_what_there_is() -> None:
    pinger = Pinger()
    identifier = pinger.start_series(A, 10.0, interval=1.0, count=None)
    pinger.handle_timer(10.0)
    pinger.replied(Request(A, identifier, 1), 10.5, ttl=64, size=64)
    pinger.take_events()

    pinger.stop_series()

    (summary,) = pinger.take_events()
    assert isinstance(summary, PingSummary)
    assert str(summary.statistics) == (
        "1 packets transmitted, 1 received, 0% loss, rtt min/avg/max = 500.000/500.000/500.000 ms"
    )


def test_two_series_have_identifiers_of_their_own() -> None:
    pinger = Pinger()

    first = pinger.start_series(A, 10.0, interval=1.0, count=None)
    second = pinger.start_series(A, 10.0, interval=1.0, count=None)

    assert pinger.handle_timer(10.0) == [Request(A, first, 1), Request(A, second, 1)]
    assert SINGLE not in {first, second}


def test_sequence_number_comes_round_past_those_under_way() -> None:
    pinger = Pinger()
    for _ in range(65535):
        request = pinger.single(A, 10.0, size=0)
    assert request.sequence == 65535
    with pytest.raises(LocalProtocolError):
        pinger.single(A, 10.0, size=0)

    pinger.replied(Request(A, SINGLE, 7), 10.1, ttl=64, size=8)

    assert pinger.single(A, 10.2, size=0) == Request(A, SINGLE, 7)


def test_reused_numbers_do_not_time_out_with_the_old_ones() -> None:
    pinger = Pinger(timeout=5.0)
    interval = 2**-14  # exact in binary; all numbers are used within 4 s
    identifier = pinger.start_series(A, 0.0, interval=interval, count=65537)
    for number in range(65536):
        (request,) = pinger.handle_timer(number * interval)
        pinger.replied(request, number * interval, ttl=64, size=64)
    pinger.take_events()

    assert pinger.handle_timer(4.0) == [Request(A, identifier, 1)]

    assert pinger.handle_timer(8.9) == []
    assert pinger.take_events() == []

    pinger.handle_timer(9.0)
    assert pinger.take_events()[0] == PingTimeout(address=A, identifier=identifier, sequence=1)


def test_numbers_still_under_way_when_reused_are_lost_pings() -> None:
    pinger = Pinger(timeout=1e9)
    identifier = pinger.start_series(A, 0.0, interval=1.0, count=65537)
    for number in range(65537):
        pinger.handle_timer(float(number))

    assert pinger.take_events() == [PingTimeout(address=A, identifier=identifier, sequence=1)]


@pytest.mark.parametrize(
    ("statistics", "text"),
    [
        (PingStatistics(), "0 packets transmitted, 0 received, 0% loss"),
        (PingStatistics(transmitted=2), "2 packets transmitted, 0 received, 100% loss"),
        (
            PingStatistics(transmitted=3, received=2, minimum=0.0001, average=0.0002, maximum=0.0003),
            "3 packets transmitted, 2 received, 33% loss, rtt min/avg/max = 0.100/0.200/0.300 ms",
        ),
    ],
)
def test_statistics_read_like_those_of_ping(statistics: PingStatistics, text: str) -> None:
    assert str(statistics) == text
