from __future__ import annotations

from typing import Any

import pytest

from vport.errors import SettingsError
from vswitch.spanning_tree.settings import BridgeSettings, PortSettings, Times


def test_defaults_are_those_of_the_standard() -> None:
    settings = BridgeSettings()

    assert settings.times == Times(0.0, 20.0, 2.0, 15.0)
    assert (settings.priority, settings.tx_hold_count) == (0x8000, 6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hello_time": 0.5}, "hello time 0.5 s is not within 1 to 10 s"),
        ({"hello_time": 11}, "hello time 11 s is not within 1 to 10 s"),
        ({"max_age": 5}, "max age 5 s is not within 6 to 40 s"),
        ({"max_age": 41}, "max age 41 s is not within 6 to 40 s"),
        ({"forward_delay": 3}, "forward delay 3 s is not within 4 to 30 s"),
        ({"forward_delay": 31}, "forward delay 31 s is not within 4 to 30 s"),
        ({"tx_hold_count": 0}, "transmit hold count 0 is not within 1 to 10"),
        ({"priority": 65536}, "bridge priority 65536 is not within 0 to 65535"),
        ({"protocol_version": 1}, "protocol version 1 is neither"),
        ({"max_age": 29}, "max age 29 s is above 28 s = 2 × \\(forward delay 15 s - 1 s\\)"),
        ({"hello_time": 9.5}, "max age 20 s is below 21 s = 2 × \\(hello time 9.5 s \\+ 1 s\\)"),
        ({"hello_time": float("nan")}, "hello time nan"),
    ],
)
def test_bridge_settings_name_what_is_wrong_and_what_is_allowed(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        BridgeSettings(**changes)


@pytest.mark.parametrize(
    "changes",
    [{"max_age": 28}, {"max_age": 6}, {"hello_time": 9}, {"max_age": 40, "forward_delay": 21}],
)
def test_bridge_settings_take_the_limits_of_the_relations(changes: dict[str, Any]) -> None:
    BridgeSettings(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"path_cost": 0}, "path cost 0 is not within 1 to 2e\\+08"),
        ({"path_cost": 200_000_001}, "path cost"),
        ({"priority": 100}, "port priority 100 is not within 0 to 240 in steps of 16"),
        ({"priority": 256}, "port priority 256"),
    ],
)
def test_port_settings_name_what_is_wrong(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        PortSettings(**changes)


def test_message_age_grows_by_a_second_and_is_rounded() -> None:
    assert Times(0.0, 20.0, 2.0, 15.0).aged().message_age == 1.0
    assert Times(1.4, 20.0, 2.0, 15.0).aged().message_age == 2.0
    assert Times(1.5, 20.0, 2.0, 15.0).aged().message_age == 3.0


def test_information_expires_beyond_max_age() -> None:
    assert not Times(19.0, 20.0, 2.0, 15.0).is_expired()
    assert Times(20.0, 20.0, 2.0, 15.0).is_expired()


def test_times_of_a_stranger_are_brought_into_range() -> None:
    assert Times(3.0, 255.0, 255.0, 0.0).clamped() == Times(3.0, 40.0, 10.0, 4.0)
    assert Times(3.0, 1.0, 0.0, 99.0).clamped() == Times(3.0, 6.0, 1.0, 30.0)
