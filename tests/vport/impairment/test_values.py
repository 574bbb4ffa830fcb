from __future__ import annotations

import statistics
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vport.errors import SettingsError
from vport.impairment import BOTH, PARAMETERS, Direction, Value
from vport.impairment.values import Setting

LR, RL = (Direction.LEFT_TO_RIGHT,), (Direction.RIGHT_TO_LEFT,)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        # wirefilter's forms, transcript 16
        ("loss", "10", Setting(Value(10))),
        ("loss", "LR20.5", Setting(Value(20.5), LR)),
        ("loss", "RL3+1", Setting(Value(3, 1), RL)),
        ("loss", "1+2N", Setting(Value(1, 2, is_normal=True))),
        ("delay", "100+50U", Setting(Value(100, 50))),
        ("delay", "LR10+5n", Setting(Value(10, 5, is_normal=True), LR)),
        ("delay", "LR 5", Setting(Value(5), LR)),
        ("delay", "1e2", Setting(Value(100))),
        ("bandwidth", "128K", Setting(Value(131072))),
        ("bandwidth", "1.5K", Setting(Value(1536))),
        ("speed", "64k", Setting(Value(65536))),
        ("speed", "RL1G", Setting(Value(2**30), RL)),
        ("chanbufsize", "128+64K", Setting(Value(131072, 65536))),
        ("loss", "50[1]", Setting(Value(50), BOTH, 1)),
        ("delay", "100+10N[2]", Setting(Value(100, 10, is_normal=True), BOTH, 2)),
        # where wirefilter errs without a word
        ("chanbufsize", "128K+64K", Setting(Value(131072, 65536))),
        ("bandwidth", "LR1M+1KN", Setting(Value(2**20, 1024, is_normal=True), LR)),
        ("bandwidth", "10KB", None),
        ("loss", "-5", None),
        ("loss", "abc", None),
        ("loss", "", None),
        ("delay", "lr5", None),
        ("delay", "LR5 RL6", None),
        ("delay", "LR1+RL2", None),
        ("delay", "+100", None),
        ("delay", "100+-5", None),
        ("loss", "1[x]", None),
        ("loss", "nan", None),
        ("loss", "inf", None),
        ("loss", "1e99", None),
        ("loss", "\u0661", None),
        ("dup", "100", None),
        ("noise", "8388609", None),
        # units
        ("loss", "1%", Setting(Value(1))),
        ("loss", "1%+0.5%", Setting(Value(1, 0.5))),
        ("delay", "10ms+3ms", Setting(Value(10, 3))),
        ("delay", "1s+100ms", Setting(Value(1000, 100))),
        ("delay", "250us", Setting(Value(0.25))),
        ("bandwidth", "10Mbit", Setting(Value(1.25e6))),
        ("bandwidth", "LR1MB/s", Setting(Value(1e6), LR)),
        ("bandwidth", "8kbit+800bit", Setting(Value(1000, 100))),
        ("chanbufsize", "64KiB", Setting(Value(65536))),
        ("chanbufsize", "64kB", Setting(Value(64000))),
        ("mtu", "1500B", Setting(Value(1500))),
        ("noise", "1e-6ber", Setting(Value(1e-6 * 8 * 2**20))),
        ("delay", "10Mbit", None),
        ("loss", "1ms", None),
    ],
)
def test_setting_is_read_or_refused(name: str, text: str, expected: Setting | None) -> None:
    if expected is None:
        with pytest.raises(SettingsError, match=name):
            PARAMETERS[name].parse(text)
        return
    setting = PARAMETERS[name].parse(text)
    assert setting.directions == expected.directions
    assert setting.node == expected.node
    assert setting.value.is_normal == expected.value.is_normal
    assert setting.value.mean == pytest.approx(expected.value.mean)
    assert setting.value.variation == pytest.approx(expected.value.variation)


@settings(deadline=None)  # it would measure how busy the machine is
@given(st.sampled_from(sorted(PARAMETERS)), st.text(max_size=30))
def test_any_text_is_read_or_raises_settings_error(name: str, text: str) -> None:
    try:
        setting = PARAMETERS[name].parse(text)
    except SettingsError:
        return
    assert 0 <= setting.value.mean <= PARAMETERS[name].limit
    assert 0 <= setting.value.variation <= PARAMETERS[name].limit


def test_unit_that_is_not_known_is_named_with_those_that_are() -> None:
    with pytest.raises(SettingsError, match="delay: 'KB' is not one of its units: ms, s, us, µs, K, M, G"):
        PARAMETERS["delay"].parse("10KB")


@pytest.mark.parametrize(
    ("value", "text"),
    [(Value(), "0+0U"), (Value(20.5), "20.5+0U"), (Value(100, 50, is_normal=True), "100+50N")],
)
def test_value_is_written_as_wirefilter_does(value: Value, text: str) -> None:
    assert str(value) == text


def test_large_value_is_written_as_wirefilter_does() -> None:
    assert str(Value(2**30)) == "1.07374e+09+0U"


def test_uniform_variation_fills_its_range_evenly() -> None:
    random = Random(1)
    draws = [Value(100, 50).draw(random) for _ in range(20_000)]

    assert 50 <= min(draws) < 50.1
    assert 149.9 < max(draws) <= 150
    assert statistics.mean(draws) == pytest.approx(100, abs=1)
    assert statistics.pstdev(draws) == pytest.approx(100 / 12**0.5, rel=0.03)


def test_normal_variation_has_a_third_of_it_as_deviation_and_is_not_clipped_above() -> None:
    random = Random(1)
    draws = [Value(100, 50, is_normal=True).draw(random) for _ in range(20_000)]

    assert statistics.mean(draws) == pytest.approx(100, abs=0.5)
    assert statistics.pstdev(draws) == pytest.approx(50 / 3, rel=0.03)
    assert max(draws) > 150


def test_value_is_never_negative() -> None:
    random = Random(1)
    assert min(Value(1, 100).draw(random) for _ in range(1000)) == 0
    assert min(Value(1, 100, is_normal=True).draw(random) for _ in range(1000)) == 0
