from __future__ import annotations

from math import inf

from vport.wireguard.timers import Timer, Timers


def timers(interval: float = 0.0) -> Timers:
    """With a jitter of half its range: 0.1665 s."""
    return Timers(lambda size: b"\x00\x80"[:size], interval)


JITTER = 0.333 / 2


def test_all_timers_are_disarmed_at_first() -> None:
    assert timers(25.0).next_deadline() == inf
    assert timers().due(1e9) is None


def test_retransmit_comes_5_seconds_and_jitter_after_an_initiation() -> None:
    fresh = timers()
    fresh.initiation_due(100.0)
    assert fresh.next_deadline() == 105.0 + JITTER

    assert fresh.due(105.1) is None
    assert fresh.due(105.2) is Timer.RETRANSMIT
    assert fresh.next_deadline() == inf

    fresh.initiation_due(200.0)
    fresh.handshake_complete()
    assert fresh.next_deadline() == inf


def test_jitter_stays_below_a_third_of_a_second() -> None:
    lowest, highest = Timers(bytes, 0.0), Timers(lambda size: b"\xff" * size, 0.0)
    lowest.initiation_due(0.0)
    highest.initiation_due(0.0)

    assert lowest.next_deadline() == 5.0
    assert 5.33 < highest.next_deadline() < 5.333


def test_passive_keepalive_comes_10_seconds_after_data_unless_anything_is_sent() -> None:
    fresh = timers()
    fresh.data_received(100.0)
    assert fresh.next_deadline() == 110.0

    fresh.message_sent(105.0)
    assert fresh.next_deadline() == inf

    fresh.data_received(106.0)
    assert fresh.due(116.0) is Timer.KEEPALIVE
    fresh.keepalive_sent(116.0, again=fresh.again)
    assert fresh.next_deadline() == inf


def test_passive_keepalive_is_not_pushed_back_by_more_data_but_repeated() -> None:
    fresh = timers()
    fresh.data_received(100.0)
    fresh.data_received(108.0)
    assert fresh.next_deadline() == 110.0

    assert fresh.due(110.0) is Timer.KEEPALIVE
    fresh.keepalive_sent(110.0, again=fresh.again)
    assert fresh.next_deadline() == 120.0


def test_sending_forgets_the_repetition_too() -> None:
    fresh = timers()
    fresh.data_received(100.0)
    fresh.data_received(101.0)
    fresh.message_sent(102.0)
    assert not fresh.again


def test_new_handshake_comes_15_seconds_and_jitter_after_data_without_answer() -> None:
    fresh = timers()
    fresh.data_sent(100.0)
    fresh.data_sent(110.0)  # does not push it back
    assert fresh.next_deadline() == 115.0 + JITTER

    fresh.message_received(112.0)
    assert fresh.next_deadline() == inf

    fresh.data_sent(113.0)
    assert fresh.due(129.0) is Timer.NEW_HANDSHAKE


def test_keys_are_erased_540_seconds_after_the_last_session() -> None:
    fresh = timers()
    fresh.session_derived(100.0)
    fresh.session_derived(220.0)
    assert fresh.next_deadline() == 760.0

    assert fresh.due(760.0) is Timer.ZERO_KEYS
    assert fresh.next_deadline() == inf


def test_giving_up_cancels_the_keepalive_and_arms_the_erasure_only_if_unarmed() -> None:
    fresh = timers()
    fresh.data_received(99.0)
    fresh.given_up(100.0)
    assert fresh.keepalive == inf
    assert fresh.next_deadline() == 640.0

    fresh.given_up(200.0)
    assert fresh.next_deadline() == 640.0


def test_persistent_keepalive_follows_traffic_either_way() -> None:
    fresh = timers(25.0)
    fresh.message_sent(100.0)
    assert fresh.next_deadline() == 125.0

    fresh.message_received(110.0)
    assert fresh.next_deadline() == 135.0

    assert fresh.due(135.0) is Timer.PERSISTENT
    assert fresh.next_deadline() == inf


def test_timers_due_together_fire_once_each_in_a_fixed_order() -> None:
    fresh = timers(1.0)
    fresh.session_derived(0.0)
    fresh.message_sent(0.0)
    fresh.data_received(0.0)
    fresh.data_sent(0.0)
    fresh.initiation_due(0.0)

    assert [fresh.due(1000.0) for _ in range(6)] == [*Timer, None]
