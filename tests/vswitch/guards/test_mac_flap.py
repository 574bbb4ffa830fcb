from __future__ import annotations

import pytest

from vport.errors import SettingsError
from vport.ethernet import MacAddress, Vid
from vswitch.guards.mac_flap import (
    CAPACITY,
    REPORTS_PER_INTERVAL,
    MacFlapDetector,
    MacFlapping,
    MacFlapSettings,
)

VID = Vid(0)


def mac(number: int) -> MacAddress:
    return MacAddress(number.to_bytes(6, "big"))


def flap(detector: MacFlapDetector, number: int, now: float, moves: int = 5) -> list[MacFlapping]:
    reports = [detector.moved(VID, mac(number), 1 + i % 2, 2 - i % 2, now) for i in range(moves)]
    return [report for report in reports if report is not None]


def test_an_address_that_keeps_moving_is_reported_once_with_its_ports() -> None:
    detector = MacFlapDetector(MacFlapSettings())

    reports = [detector.moved(VID, mac(1), *ports, float(i)) for i, ports in enumerate([(7, 3), (3, 7)] * 4)]

    assert reports == [
        None,
        None,
        None,
        None,
        MacFlapping(vid=VID, mac=mac(1), ports=(3, 7), moves=5, suppressed=0),
        None,
        None,
        None,
    ]


def test_a_machine_that_roams_is_not_reported() -> None:
    detector = MacFlapDetector(MacFlapSettings(moves=3, window=10.0))

    assert [detector.moved(VID, mac(1), 1, 2, now) for now in (0.0, 6.0, 12.0, 18.0, 24.0)] == [None] * 5


def test_the_same_address_in_two_vlans_is_two() -> None:
    detector = MacFlapDetector(MacFlapSettings(moves=2))

    assert detector.moved(Vid(1), mac(1), 1, 2, 0.0) is None
    assert detector.moved(Vid(2), mac(1), 1, 2, 0.0) is None
    assert len(detector) == 2


def test_one_address_is_reported_again_after_a_minute() -> None:
    detector = MacFlapDetector(MacFlapSettings())
    assert len(flap(detector, 1, 0.0)) == 1

    assert flap(detector, 1, 59.9) == []
    assert len(flap(detector, 1, 61.0)) == 1


def test_a_loop_with_many_addresses_makes_ten_reports_a_minute_and_counts_the_others() -> None:
    detector = MacFlapDetector(MacFlapSettings())

    reports = [report for number in range(100) for report in flap(detector, number, 0.0, moves=8)]

    assert len(reports) == REPORTS_PER_INTERVAL
    (next_report,) = flap(detector, 500, 60.0)
    assert next_report.suppressed == 90


def test_the_table_is_bounded_and_forgets_what_moved_longest_ago() -> None:
    detector = MacFlapDetector(MacFlapSettings(moves=2))
    for number in range(CAPACITY + 100):
        detector.moved(VID, mac(number), 1, 2, 0.0)
    assert len(detector) == CAPACITY

    assert detector.moved(VID, mac(50), 2, 1, 0.0) is None, "forgotten, so this is its first move"
    assert detector.moved(VID, mac(CAPACITY + 50), 2, 1, 0.0) is not None


def test_the_ports_of_an_address_are_bounded() -> None:
    detector = MacFlapDetector(MacFlapSettings(moves=100))

    reports = [detector.moved(VID, mac(1), port, port + 1, 0.0) for port in range(100)]

    assert reports[-1] is not None
    assert reports[-1].ports == (0, 1, 2, 3, 4, 5, 6, 7)


@pytest.mark.parametrize("settings", [{"moves": 1}, {"moves": 1001}, {"window": 0.5}, {"window": 4000.0}])
def test_settings_name_what_is_wrong(settings: dict[str, float]) -> None:
    with pytest.raises(SettingsError, match="is not within"):
        MacFlapSettings(**settings)  # type: ignore[arg-type]
