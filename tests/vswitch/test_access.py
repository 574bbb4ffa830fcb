"""Who may plug into a port."""

from __future__ import annotations

import os
import pwd

import pytest

from tests.vswitch.links_in_memory import RecordingLink
from vport.errors import RefusedError
from vswitch.access import AccessRule, refusal
from vswitch.accounts import SystemAccounts
from vswitch.bridge import Bridge
from vswitch.events import AccessRefused, PortAdded
from vswitch.ports import PortNumber

GROUPS = {"alice": {"staff", "wheel"}, "bob": {"staff"}, "root": {"root"}}


@pytest.mark.parametrize(
    ("rule", "user", "allowed"),
    [
        (AccessRule(), None, True),
        (AccessRule(), "bob", True),
        (AccessRule(user="alice"), "alice", True),
        (AccessRule(user="alice"), "bob", False),
        (AccessRule(user="alice"), "root", True),
        (AccessRule(user="alice"), None, False),
        (AccessRule(group="staff"), "bob", True),
        (AccessRule(group="wheel"), "bob", False),
        (AccessRule(user="bob", group="wheel"), "bob", True),
        (AccessRule(user="bob", group="wheel"), "alice", True),
        (AccessRule(group="wheel"), None, False),
    ],
)
def test_rule_lets_in_its_user_its_group_and_root(rule: AccessRule, user: str | None, allowed: bool) -> None:
    assert rule.allows(user, GROUPS.get(user or "", ())) is allowed


@pytest.mark.parametrize(
    ("present", "user", "refused"),
    [
        ([], "bob", False),
        (["bob", "bob"], "bob", False),
        (["bob"], "alice", True),
        (["bob"], "root", True),
        ([None], "root", True),
        ([None], None, False),
        (["bob"], None, True),
    ],
)
def test_endpoints_of_a_port_belong_to_one_user(
    present: list[str | None], user: str | None, refused: bool
) -> None:
    assert (refusal(AccessRule(), present, user, ()) is not None) is refused


def make_bridge() -> Bridge:
    bridge = Bridge(groups_of=lambda user: GROUPS.get(user, ()))
    bridge.create_port(1).access = AccessRule(user="alice")
    bridge.create_port(2).access = AccessRule(group="wheel")
    bridge.events.drain()
    return bridge


def test_refused_link_is_told_why_and_leaves_an_event() -> None:
    bridge = make_bridge()

    with pytest.raises(RefusedError, match="port 1: user bob may not use it: it is kept for user alice"):
        bridge.plug(RecordingLink("a cable"), 1, user="bob")

    assert bridge.events.drain() == [
        AccessRefused(
            port=PortNumber(1),
            description="a cable",
            reason="user bob may not use it: it is kept for user alice",
        )
    ]
    assert not bridge.active_ports


def test_newcomer_gets_the_lowest_port_that_it_may_use() -> None:
    bridge = make_bridge()
    assert bridge.plug(RecordingLink(), user="bob").port.number == 3
    assert not any(isinstance(event, AccessRefused) for event in bridge.events.drain())
    assert bridge.plug(RecordingLink(), user="alice").port.number == 1
    assert bridge.plug(RecordingLink(), user="alice").port.number == 2
    assert bridge.plug(RecordingLink()).port.number == 4


def test_when_only_kept_ports_are_left_the_refusal_says_so() -> None:
    bridge = Bridge(port_limit=1)
    bridge.create_port(1).access = AccessRule(user="alice")
    with pytest.raises(RefusedError, match="no port is free that it may use; port 1: user bob"):
        bridge.plug(RecordingLink(), user="bob")
    assert [type(event) for event in bridge.events.drain()] == [PortAdded, AccessRefused]
    assert bridge.plug(RecordingLink(), user="alice").port.number == 1


def test_operator_is_not_asked() -> None:
    bridge = make_bridge()
    assert bridge.plug(RecordingLink(), 1, by_operator=True).port.number == 1
    assert bridge.plug(RecordingLink(), by_operator=True).port.number == 2


def test_users_and_groups_of_this_system_are_found_by_name_and_number() -> None:
    accounts = SystemAccounts()
    me = pwd.getpwuid(os.getuid())
    assert accounts.user(me.pw_name) == accounts.user(str(me.pw_uid)) == me.pw_name
    assert accounts.group("root") == accounts.group("0") == "root"
    assert "root" in accounts.groups_of("root")
    assert accounts.user("3999999999") == accounts.group("3999999999") == "3999999999"
    assert accounts.groups_of("3999999999") == ()
    for wrong in ("no such user", "4294967295", "99999999999", "-1", "", "\u0661", "a\0b"):
        assert accounts.user(wrong) is None
        assert accounts.group(wrong) is None
