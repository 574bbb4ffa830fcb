from __future__ import annotations

from typing import Any

import pytest

from vport.errors import SettingsError
from vport.ethernet import MacAddress, Vid
from vport.profile import PortProfile
from vswitch.guards.mac_limit import LimitAction, LimitExceeded, MacLimit, MacLimitSettings, limit_of

VID = Vid(0)
MAC = MacAddress(bytes.fromhex("020000000001"))


def make(action: LimitAction, **changes: Any) -> MacLimit:
    return MacLimit(MacLimitSettings(limit=2, action=action, **changes))


@pytest.mark.parametrize("action", LimitAction)
def test_addresses_up_to_the_limit_are_learned(action: LimitAction) -> None:
    limit = make(action)

    assert [limit.admit(learned, VID, MAC, 1, 0.0) for learned in (0, 1)] == [(True, None)] * 2
    assert limit.admit(2, VID, MAC, 1, 0.0)[0] is False
    assert limit.discarded == 1


def test_protect_is_silent() -> None:
    limit = make(LimitAction.PROTECT)

    assert limit.admit(2, VID, MAC, 5, 0.0) == (False, None)

    assert (limit.discarded, limit.is_shut) == (5, False)


def test_restrict_reports_at_most_every_ten_seconds_and_adds_up() -> None:
    limit = make(LimitAction.RESTRICT)

    reports = [limit.admit(2, VID, MAC, 3, now)[1] for now in (0.0, 4.0, 9.9, 10.0)]

    assert reports == [
        LimitExceeded(vid=VID, mac=MAC, limit=2, discarded=3, is_shut=False, recover_at=None),
        None,
        None,
        LimitExceeded(vid=VID, mac=MAC, limit=2, discarded=9, is_shut=False, recover_at=None),
    ]


def test_room_that_ageing_made_is_used() -> None:
    limit = make(LimitAction.RESTRICT)
    limit.admit(2, VID, MAC, 1, 0.0)

    assert limit.admit(1, VID, MAC, 1, 1.0) == (True, None)


def test_shutdown_shuts_the_port_until_it_recovers() -> None:
    limit = make(LimitAction.SHUTDOWN, recovery=60.0)

    admitted, report = limit.admit(2, VID, MAC, 1, 5.0)
    assert (admitted, report) == (
        False,
        LimitExceeded(vid=VID, mac=MAC, limit=2, discarded=1, is_shut=True, recover_at=65.0),
    )

    assert limit.admit(0, VID, MAC, 1, 6.0) == (False, None)
    assert limit.handle_timer(64.9) is False
    assert limit.handle_timer(65.0) is True
    assert limit.is_shut is False
    assert limit.admit(0, VID, MAC, 1, 65.0) == (True, None)


def test_shutdown_without_recovery_waits_for_the_link() -> None:
    limit = make(LimitAction.SHUTDOWN, recovery=None)
    limit.admit(2, VID, MAC, 1, 0.0)
    assert limit.handle_timer(1e9) is False

    limit.link_returned()

    assert limit.admit(0, VID, MAC, 1, 1e9) == (True, None)


@pytest.mark.parametrize("changes", [{"limit": 0}, {"limit": 70_000}, {"limit": 1, "recovery": 0}])
def test_settings_name_what_is_wrong(changes: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="is not within"):
        MacLimitSettings(**changes)


def test_profile_limits_what_it_names() -> None:
    assert limit_of(PortProfile(number=3, pvid=Vid(10))) is None
    assert limit_of(PortProfile(max_macs=2)) == MacLimitSettings(limit=2)
    for profile in (PortProfile(macs=frozenset({MAC})), PortProfile(station=MAC)):
        limit = limit_of(profile)
        assert limit is not None
        assert MacLimit(limit).allows(MAC)
        assert not MacLimit(limit).allows(bytes(6))
