from __future__ import annotations

from vport.wireguard.admission import LoadMeter, SourceLimiter


def test_a_thousand_messages_a_second_are_no_load() -> None:
    meter = LoadMeter()

    assert not any(meter.count(number / 1000) for number in range(5000))


def test_more_are_load_until_a_second_after_the_excess() -> None:
    meter = LoadMeter()
    verdicts = [meter.count(number / 2000) for number in range(4000)]
    first = verdicts.index(True)

    assert 128 < first < 400  # the burst is allowed, and no more
    assert all(verdicts[first:])
    assert meter.count(2.9)
    assert not meter.count(4.5)


def test_sweep_of_129_messages_at_one_instant_is_load() -> None:
    meter = LoadMeter()

    assert [meter.count(7.0) for _ in range(129)] == [False] * 128 + [True]


def test_source_gets_its_burst_and_then_twenty_a_second() -> None:
    limiter = SourceLimiter()

    assert [limiter.take(b"mine", 0.0) for _ in range(7)] == [True] * 5 + [False] * 2
    assert [limiter.take(b"mine", 10.0 + number / 20) for number in range(50)] == [True] * 50
    assert sum(limiter.take(b"mine", 20.0 + number / 1000) for number in range(1000)) == 5 + 19


def test_sources_do_not_disturb_each_other() -> None:
    limiter = SourceLimiter()
    while limiter.take(b"greedy", 0.0):
        pass

    assert limiter.take(b"modest", 0.0)
    assert not limiter.take(b"greedy", 0.0)


def test_source_table_is_bounded_and_forgets_the_quietest() -> None:
    limiter = SourceLimiter(limit=3)
    for name in (b"a", b"b", b"c"):
        for _ in range(5):
            assert limiter.take(name, 0.0)
    limiter.take(b"a", 0.0)

    limiter.take(b"d", 0.0)

    assert len(limiter) == 3
    assert not limiter.take(b"a", 0.0)  # still known, still empty
    assert not limiter.take(b"c", 0.0)
    assert limiter.take(b"b", 0.0)  # was forgotten: a full bucket
