from __future__ import annotations

from math import inf

from vport.announcing import Announcer


def announced(keepalive: float, at: float) -> Announcer:
    announcer = Announcer(keepalive, at)
    announcer.announced(at)
    return announcer


def test_new_connection_is_announced_at_once() -> None:
    announcer = Announcer(20.0, 100.0)

    assert announcer.is_due(100.0)
    announcer.announced(100.0)
    assert not announcer.is_due(100.0)
    assert announcer.next_deadline() == 120.0


def test_quiet_port_announces_itself_after_each_keepalive() -> None:
    announcer = announced(20.0, 100.0)

    assert not announcer.is_due(119.9)
    assert announcer.is_due(120.0)
    announcer.announced(120.0)

    assert announcer.next_deadline() == 140.0


def test_sending_puts_the_keepalive_off() -> None:
    announcer = announced(20.0, 100.0)

    announcer.sent_at = 110.0

    assert announcer.next_deadline() == 130.0


def test_silence_after_traffic_is_answered_after_1_3_7_and_15_seconds_then_by_the_keepalive() -> None:
    announcer = announced(20.0, 100.0)
    announcer.heard_at = 200.0
    announcer.sent_at = 200.0

    times = []
    for _ in range(6):
        now = announcer.next_deadline()
        times.append(now)
        announcer.announced(now)

    assert times == [201.0, 203.0, 207.0, 215.0, 235.0, 255.0]


def test_each_silence_is_answered_anew() -> None:
    announcer = announced(20.0, 100.0)
    announcer.heard_at = 200.0
    announcer.announced(201.0)

    announcer.heard_at = 202.0

    assert announcer.next_deadline() == 203.0


def test_keepalive_while_frames_are_heard_counts_for_no_silence() -> None:
    announcer = announced(20.0, 100.0)
    announcer.heard_at = 119.5

    announcer.announced(120.0)

    assert announcer.next_deadline() == 120.5


def test_port_that_never_heard_anything_waits_for_the_keepalive() -> None:
    announcer = announced(20.0, 100.0)

    assert announcer.next_deadline() == 120.0
    assert not announcer.has_heard
    assert announcer.heard_at == -inf


def test_silence_counts_from_the_last_frame_or_from_the_connection() -> None:
    announcer = announced(20.0, 100.0)
    assert announcer.silence(110.0) == 10.0

    announcer.heard_at = 105.0

    assert announcer.silence(110.0) == 5.0
