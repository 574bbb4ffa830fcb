from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from vport.wireguard.tai64n import WallClock, encode, following, whiten

NANOSECONDS = st.integers(0, 1 << 62)


def test_stamps_agree_with_the_vectors(vectors: dict[str, Any]) -> None:
    for case in vectors["tai64n"]:
        assert encode(case["unix_ns"]).hex() == case["exact"]
        assert encode(whiten(case["unix_ns"])).hex() == case["whitened"]


@given(NANOSECONDS, NANOSECONDS)
def test_stamps_compare_as_bytes_as_the_times_do(first: int, second: int) -> None:
    assert (encode(first) < encode(second)) == (first < second)


@given(NANOSECONDS, NANOSECONDS)
def test_following_stamp_is_greater_even_after_whitening(last: int, unix_ns: int) -> None:
    stamp = following(whiten(last), unix_ns)

    assert encode(stamp) > encode(whiten(last))
    assert stamp == whiten(stamp)


@given(st.lists(NANOSECONDS, min_size=2, max_size=20))
def test_stamps_rise_however_the_wall_clock_is_set(settings: list[int]) -> None:
    clock = WallClock(0.0, settings[0])
    stamp = 0
    for now, unix_ns in enumerate(settings):
        clock.set(float(now), unix_ns)
        following_stamp = clock.stamp(stamp, float(now))
        assert following_stamp > stamp
        stamp = following_stamp
    assert clock.latest == stamp


def test_wall_clock_is_carried_on_by_the_monotonic_one() -> None:
    clock = WallClock(100.0, 1_700_000_000_000_000_000)

    assert clock.stamp(0, 103.5) == whiten(1_700_000_003_500_000_000)
