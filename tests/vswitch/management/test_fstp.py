"""The fstp menu: what it prints, what it sets, what it refuses."""

from __future__ import annotations

import errno
import json

import pytest

from tests.vswitch.management.small_switch import SmallSwitch
from tests.vswitch.management.test_menus import Operator
from vport.ethernet import BRIDGE_GROUP_ADDRESS, MacAddress, Vid
from vport.shell.message import Message
from vport.train import lone
from vswitch.management.messages import CATEGORIES, describe
from vswitch.management.topology_messages import GUARD_CATEGORIES, TREE_CATEGORIES
from vswitch.spanning_tree import (
    BridgeId,
    BridgeSettings,
    Change,
    PortRole,
    PortRoleChanged,
    PortStateChanged,
    RootChanged,
    SpanningTree,
    TopologyChanged,
    TransmitBpdu,
)
from vswitch.topology_events import (
    NeighbourHeard,
    NeighbourLost,
    TopologyEvent,
    TreeChanged,
)
from vswitch.topology_log import is_routine, is_warning, log_line
from vswitch.vlan import PortState

ROOT_MAC = MacAddress(bytes.fromhex("00ff0000000a"))


@pytest.fixture
def switch() -> SmallSwitch:
    return SmallSwitch()


@pytest.fixture
def ask(switch: SmallSwitch) -> Operator:
    return Operator(switch)


def hear_root(switch: SmallSwitch, *ports: int) -> None:
    """Let a better root be heard on ports, as through two cables to one switch."""
    tree = SpanningTree(ROOT_MAC, Vid(0), BridgeSettings(priority=4096), 0.0)
    for number in ports:
        frame = next(event.frame for event in tree.port_up(number, 0.0) if isinstance(event, TransmitBpdu))
        port = switch.bridge.ports.get(number)
        assert port is not None
        switch.bridge.receive(port, lone(frame), switch.clock)
    switch.publish_events()


def test_switch_that_is_off_prints_a_disabled_tree(switch: SmallSwitch, ask: Operator) -> None:
    switch.plug("a", 3)
    switch.clock = 12
    assert ask("fstp/print") == (
        0,
        [
            "FST DATA VLAN 0000 ROOTSWITCH FSTP IS DISABLED",
            " ++ root 80:00:00:ff:00:00:00:01",
            " ++ designated ff:ff:ff:ff:ff:ff:ff:ff",
            " ++ rootport 0000 cost 0 age 12 bonusport 0000 bonuscost 0",
            " -- Port 0003 tagged=0 portcost=20000000 role=Unknown",
        ],
    )
    assert ask("fstp/showinfo") == (0, ["MAC 00:ff:00:00:00:01 Priority 32768 (0x8000)", "FSTP=false"])


def test_loop_of_two_cables_is_printed_as_by_vde(switch: SmallSwitch, ask: Operator) -> None:
    for number in (1, 11, 12):
        switch.plug("cable", number)
    ask("fstp/setprio 36864")
    assert ask("fstp/setfstp 1") == (0, [])
    hear_root(switch, 11, 12)
    switch.clock += 1.5
    assert ask("fstp/print") == (
        0,
        [
            "FST DATA VLAN 0000  ",
            " ++ root 10:00:00:ff:00:00:00:0a",
            " ++ designated 10:00:00:ff:00:00:00:0a",
            " ++ rootport 0011 cost 20000000 age 1 bonusport 0000 bonuscost 0",
            " -- Port 0001 tagged=0 portcost=20000000 role=Designated",
            " -- Port 0011 tagged=0 portcost=20000000 role=Root",
            " -- Port 0012 tagged=0 portcost=20000000 role=Alternate/Backup",
        ],
    )
    assert ask("fstp/showinfo") == (0, ["MAC 00:ff:00:00:00:01 Priority 36864 (0x9000)", "FSTP=true"])
    _, lines = ask("port/print 12")
    assert lines is not None
    assert lines[-1] == " Not forwarding: redundant: another way is in use (VLAN 0)"
    assert not any("Not forwarding" in line for line in ask("port/print 11")[1] or ())


def test_detail_and_document_tell_reasons_counters_and_timers(switch: SmallSwitch, ask: Operator) -> None:
    for number in (11, 12):
        switch.plug("cable", number)
    ask("fstp/setfstp 1")
    hear_root(switch, 11, 12)
    text = "\n".join(ask("fstp/detail 0")[1] or ())
    assert "root by port 0011 cost 20000000; hello 2 s max age 20 s forward delay 15 s" in text
    assert " -- Port 0012 alternate discarding rstp cost 20000000 id 800c" in text
    assert "not forwarding: another way is in use" in text
    assert "BPDUs received 1 sent" in text

    port = json.loads("\n".join(ask("port/print 12 -j")[1] or ()))[0]
    tree = port["spanning_tree"]["0"]
    assert port["not_forwarding"] == ["redundant: another way is in use (VLAN 0)"]
    assert (tree["role"], tree["state"], tree["reason"]) == ("alternate", "discarding", "redundant")
    assert tree["bpdus"]["received"] == 1
    assert tree["timers"]["rcvd_info_while"] == 6


def test_tagged_members_follow_with_their_roles(switch: SmallSwitch, ask: Operator) -> None:
    for number in (1, 2):
        switch.plug("x", number)
    ask("vlan/create 5")
    ask("vlan/addport 5 1")
    ask("port/setvlan 2 5")
    ask("fstp/setfstp 1")
    lines = ask("fstp/print 5")[1] or []
    assert lines[-2:] == [
        " -- Port 0002 tagged=0 portcost=20000000 role=Designated",
        " -- Port 0001 tagged=1 portcost=20000000 role=Designated",
    ]


def test_port_settings_are_taken_before_the_port_exists(switch: SmallSwitch, ask: Operator) -> None:
    assert ask("fstp/setedge 0 4 1") == (0, None)
    assert ask("fstp/setcost 0 4 200") == (0, None)
    assert ask("fstp/bonus 0 4 50") == (0, None)
    ask("fstp/setfstp 1")
    switch.plug("x", 4)
    lines = ask("fstp/print")[1] or []
    assert lines[3:] == [
        " ++ rootport 0000 cost 0 age 0 bonusport 0004 bonuscost 50",
        " -- Port 0004 tagged=0 portcost=150 role=Edge",
    ]
    ask("fstp/setedge 0 4 0")
    ask("fstp/bonus 0 4 0")
    assert (ask("fstp/print")[1] or [])[3:] == [
        " ++ rootport 0000 cost 0 age 0 bonusport 0000 bonuscost 0",
        " -- Port 0004 tagged=0 portcost=200 role=Designated",
    ]
    assert ask("fstp/setportprio 0 4 240") == (0, None)
    assert ask("fstp/mcheck 0 4") == (0, None)


@pytest.mark.parametrize(
    ("line", "number", "said"),
    [
        ("fstp/setedge 9 1 1", errno.ENXIO, "VLAN 9 does not exist"),
        ("fstp/setedge 0 33 1", errno.EINVAL, "PORT must be a number from 1 to 32"),
        ("fstp/setedge 0 1", errno.EINVAL, "0/1 is missing"),
        ("fstp/bonus 0 1 200000001", errno.EINVAL, "COST must be a number from 0 to 200000000"),
        ("fstp/setcost 0 1 0", errno.EINVAL, "COST must be a number from 1"),
        ("fstp/setportprio 0 1 100", errno.EINVAL, "steps of 16"),
        ("fstp/setprio 65536", errno.EINVAL, "N must be a number from 0 to 65535"),
        ("fstp/sethello 11", errno.EINVAL, "HELLO must be a number from 1 to 10"),
        ("fstp/sethello 10", errno.EINVAL, "max age 20 s is below 22 s"),
        ("fstp/setmaxage 40", errno.EINVAL, "max age 40 s is above 28 s"),
        ("fstp/setfwddelay 4", errno.EINVAL, "max age 20 s is above 6 s"),
        ("fstp/settimes 2 5 4", errno.EINVAL, "MAXAGE must be a number from 6 to 40"),
        ("fstp/settimes 3 6 4", errno.EINVAL, "max age 6 s is below 8 s"),
        ("fstp/print 7", errno.ENXIO, "VLAN 7 does not exist"),
        ("fstp/setfstp x", errno.EINVAL, "0 or 1"),
    ],
)
def test_what_cannot_be_is_refused_with_the_range(
    switch: SmallSwitch, ask: Operator, line: str, number: int, said: str
) -> None:
    before = switch.control_plane.topology.settings
    assert ask(line)[0] == number
    assert said in ask.detail(line)
    assert switch.control_plane.topology.settings == before


def test_times_are_set_one_by_one_or_together(switch: SmallSwitch, ask: Operator) -> None:
    assert ask("fstp/settimes 1 6 4") == (0, None)
    assert ask("fstp/setfwddelay 10")[0] == ask("fstp/setmaxage 18")[0] == ask("fstp/sethello 3")[0] == 0
    settings = switch.control_plane.topology.settings
    assert (settings.hello_time, settings.max_age, settings.forward_delay) == (3.0, 18.0, 10.0)


def test_hub_and_spanning_tree_exclude_each_other(switch: SmallSwitch, ask: Operator) -> None:
    ask("fstp/setfstp 1")
    ask("port/sethub 1")
    switch.publish_events()
    assert not switch.control_plane.topology.is_enabled
    assert ask("fstp/setfstp 1") == (errno.EINVAL, [])
    assert "port/sethub 0" in ask.detail("fstp/setfstp 1")
    ask("port/sethub 0")
    assert ask("fstp/setfstp 1") == (0, [])


PORT, VID = 12, Vid(0x105)
ROOT_ID = BridgeId(0x800000FF0000000A)


def in_tree(change: Change) -> TreeChanged:
    return TreeChanged(vid=VID, change=change)


@pytest.mark.parametrize(
    ("event", "tag", "text", "line"),
    [
        (
            in_tree(PortStateChanged(port=PORT, state=PortState.FORWARDING)), 0o044,
            "Port 0012 VLAN 01:05 learning+forwarding", "port 12 is forwarding in VLAN 261",
        ),
        (
            in_tree(PortStateChanged(port=PORT, state=PortState.DISCARDING)), 0o044,
            "Port 0012 VLAN 01:05 discarding", "port 12 is discarding in VLAN 261",
        ),
        (
            in_tree(RootChanged(root_id=ROOT_ID, root_port=None, root_path_cost=0)), 0o045,
            "Port 0000 VLAN 01:05 -> 80:00:00:ff:00:00:00:0a",
            "VLAN 261: this switch is the root of the spanning tree",
        ),
        (
            in_tree(RootChanged(root_id=ROOT_ID, root_port=PORT, root_path_cost=7)), 0o045,
            "Port 0012 VLAN 01:05 -> 80:00:00:ff:00:00:00:0a",
            "VLAN 261: 80:00:00:ff:00:00:00:0a is the root, through port 12, cost 7",
        ),
        (
            NeighbourHeard(port=PORT, vid=VID), 0o041,  # type: ignore[arg-type]
            "Port 0012 VLAN 01:05", "port 12: a bridge is there (VLAN 261)",
        ),
        (
            NeighbourLost(port=PORT, vid=VID), 0o042,  # type: ignore[arg-type]
            "Port 0012 VLAN 01:05", "port 12: its bridge is silent (VLAN 261)",
        ),
        (
            in_tree(PortRoleChanged(port=PORT, role=PortRole.ROOT)), 0o046,
            "Port 0012 VLAN 01:05 root", "port 12 has role root in VLAN 261",
        ),
        (
            in_tree(TopologyChanged(port=PORT, is_received=True)), 0o047,
            "Port 0012 VLAN 01:05 received", "VLAN 261: topology change at port 12, told by a neighbour",
        ),
    ],
)  # fmt: skip
def test_events_read_as_messages_and_in_the_log(event: TopologyEvent, tag: int, text: str, line: str) -> None:
    message = describe(event)[0]
    assert isinstance(message, Message)
    assert (message.category.tag, message.text) == (tag, text)
    assert log_line(event) == line
    is_of_port = isinstance(event, TreeChanged) and isinstance(
        event.change, PortStateChanged | PortRoleChanged
    )
    assert is_routine(event) is is_of_port
    assert not is_warning(event)


def test_categories_are_all_listed_with_tags_of_their_own() -> None:
    assert set(TREE_CATEGORIES) | set(GUARD_CATEGORIES) <= set(CATEGORIES)
    assert len({category.tag for category in CATEGORIES}) == len(CATEGORIES)
    assert all(category.tag < 0o100 for category in CATEGORIES)


def test_bpdus_to_a_switch_without_spanning_tree_are_relayed(switch: SmallSwitch) -> None:
    one, other = switch.plug("a"), switch.plug("b")
    frame = BRIDGE_GROUP_ADDRESS + ROOT_MAC + bytes(48)
    assert [port for port, _ in switch.bridge.receive(one.port, lone(frame), 0.0)] == [other.port]
