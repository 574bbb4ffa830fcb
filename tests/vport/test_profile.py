"""What a link asks of its port."""

from __future__ import annotations

import pytest

from vport.errors import SettingsError
from vport.ethernet import MacAddress, Vid
from vport.profile import PortProfile, StationGuard

MACS = [MacAddress(bytes((2, 0, 0, 0, 0, number))) for number in range(6)]


def test_guard_with_fixed_addresses_admits_those_alone() -> None:
    guard = StationGuard(PortProfile(macs=frozenset(MACS[:2])))
    assert [guard.admits(mac) for mac in MACS[:3]] == [True, True, False]


def test_guard_with_a_limit_keeps_the_first_until_it_is_reset() -> None:
    guard = StationGuard(PortProfile(max_macs=2))
    assert [guard.admits(mac) for mac in MACS[:3]] == [True, True, False]
    assert guard.admits(MACS[0])
    guard.reset()
    assert guard.admits(MACS[2])


def test_guard_of_a_virtual_station_admits_it_alone() -> None:
    guard = StationGuard(PortProfile(station=MACS[0]))
    assert guard.admits(MACS[0])
    assert not guard.admits(MACS[1])


def test_profile_that_limits_nothing_needs_no_guard() -> None:
    assert not StationGuard.is_needed(PortProfile(number=3, pvid=Vid(10)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"pvid": Vid(4095)},
        {"tagged": (Vid(0),)},
        {"tagged": (Vid(4095),)},
        {"pvid": Vid(5), "tagged": (Vid(5),)},
        {"max_macs": -1},
    ],
)
def test_contradictory_profile_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(SettingsError):
        PortProfile(**wrong)  # type: ignore[arg-type]  # what is tested
