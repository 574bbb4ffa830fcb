from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vport.errors import SettingsError
from vswitch.guards.storm_control import (
    LIMIT_MAX,
    UNLIMITED,
    StormControl,
    StormKind,
    StormReport,
    StormSettings,
)

BROADCAST, MULTICAST, UNKNOWN = StormKind


def make(**limits: int | None) -> StormControl:
    return StormControl(StormSettings(**limits), 0.0)


def test_a_burst_of_a_second_passes_and_then_the_rate() -> None:
    storm = make(broadcast=100)

    assert storm.admit(BROADCAST, 100, 0.0) == 100
    assert storm.admit(BROADCAST, 1, 0.0) == 0
    assert storm.admit(BROADCAST, 10, 0.05) == 5
    assert storm.admit(BROADCAST, 1, 0.07) == 1


def test_part_of_a_train_passes_and_the_rest_is_counted() -> None:
    storm = make(broadcast=100)

    assert storm.admit(BROADCAST, 130, 0.0) == 100

    assert storm.discarded(BROADCAST) == 30


def test_silence_is_not_saved_up_beyond_a_second() -> None:
    storm = make(broadcast=100)

    assert storm.admit(BROADCAST, 1000, 3600.0) == 100


def test_each_kind_has_its_own_limit() -> None:
    storm = make(broadcast=1, multicast=2, unknown_unicast=None)

    admitted = [storm.admit(kind, 10, 0.0) for kind in StormKind]

    assert admitted == [1, 2, 10]
    assert [storm.discarded(kind) for kind in StormKind] == [9, 8, 0]


def test_fractions_are_not_lost_when_trains_are_small() -> None:
    storm = make(broadcast=10)
    storm.admit(BROADCAST, 10, 0.0)

    admitted = sum(storm.admit(BROADCAST, 1, step / 100) for step in range(1, 1001))

    assert admitted == pytest.approx(100, abs=1)


def test_reports_say_that_it_goes_on_and_that_it_has_ended() -> None:
    storm = make(broadcast=10)
    assert storm.reports() == []

    storm.admit(BROADCAST, 30, 0.0)
    assert storm.reports() == [StormReport(kind=BROADCAST, discarded=20)]

    storm.admit(BROADCAST, 30, 1.0)
    assert storm.reports() == [StormReport(kind=BROADCAST, discarded=20)]

    assert storm.reports() == [StormReport(kind=BROADCAST, discarded=0)]
    assert storm.reports() == []


def test_without_limits_everything_passes() -> None:
    storm = StormControl(UNLIMITED, 0.0)

    assert [storm.admit(kind, 10**6, 0.0) for kind in StormKind] == [10**6] * 3
    assert storm.reports() == []


@given(
    st.integers(1, 1000),
    st.lists(st.tuples(st.integers(1, 300), st.floats(0, 0.5)), max_size=50),
)
def test_never_more_than_a_second_and_the_time_that_passed(
    limit: int, trains: list[tuple[int, float]]
) -> None:
    storm = make(broadcast=limit)
    now, offered, admitted = 0.0, 0, 0
    for count, pause in trains:
        now += pause
        offered += count
        admitted += storm.admit(BROADCAST, count, now)

    assert admitted <= limit * (1 + now) + 1
    assert admitted + storm.discarded(BROADCAST) == offered


@pytest.mark.parametrize("limits", [{"broadcast": 0}, {"multicast": -1}, {"unknown_unicast": LIMIT_MAX + 1}])
def test_settings_name_what_is_wrong(limits: dict[str, int]) -> None:
    with pytest.raises(SettingsError, match=next(iter(limits))):
        StormSettings(**limits)
