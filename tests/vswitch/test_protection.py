from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.vswitch.control_planes import Network, Switch
from vport.ethernet import BRIDGE_GROUP_ADDRESS, BROADCAST, MacAddress, Vid
from vport.train import Train
from vswitch.events import StationMoved
from vswitch.guards import (
    LimitAction,
    LoopSettings,
    MacFlapSettings,
    MacLimit,
    MacLimitSettings,
    StormSettings,
)
from vswitch.guards.loop_detection import PROBE_ADDRESS
from vswitch.guards.port_guards import ShutReason
from vswitch.ports import DiscardReason
from vswitch.spanning_tree import BridgeSettings, SpanningTree, TransmitBpdu
from vswitch.topology_events import (
    AddressLimitReached,
    BpdusRefused,
    LoopFound,
    OpenCause,
    PortOpened,
    PortShutDown,
    StationFlaps,
    StormBegan,
    StormEnded,
)
from vswitch.vlan import PortState

if TYPE_CHECKING:
    from vswitch.ports import Port

A, B, C = (MacAddress(bytes.fromhex(f"0200000000{number:02x}")) for number in (0xA, 0xB, 0xC))
PAYLOAD = b"\x08\x00" + bytes(46)
GROUP = MacAddress(bytes.fromhex("01005e000001"))


def bpdu() -> bytes:
    """Give a BPDU of some other switch."""
    tree = SpanningTree(C, Vid(0), BridgeSettings(priority=0), 0.0)
    return next(event.frame for event in tree.port_up(1, 0.0) if isinstance(event, TransmitBpdu))


def plain_switch(*modules: str) -> tuple[Network, Switch]:
    """Give a switch without spanning tree, with a port for each kind of link."""
    network = Network()
    switch = network.switch(fstp=False)
    for module in modules:
        switch.plug(module)
    switch.events.clear()
    return network, switch


def guard(switch: Switch, number: int, **changes: object) -> Port:
    port = switch.port(number)
    switch.plane.protection.set_guards(port, replace(port.guards, **changes), switch.network.now)  # type: ignore[arg-type]
    return port


# --- loops ---


@pytest.mark.parametrize("is_hub", [False, True], ids=["switch", "hub"])
def test_loop_is_cut_at_the_younger_port_with_both_named(is_hub: bool) -> None:
    network, switch = plain_switch("test")
    switch.bridge.is_hub = is_hub
    network.join(switch, switch)

    network.run(2)

    found = switch.events_of(LoopFound, PortShutDown)
    assert isinstance(found[0], LoopFound)
    assert {found[0].sent_on, found[0].received_on} == {2, 3}
    assert found[0].shut == 3
    assert isinstance(found[1], PortShutDown)
    shut = switch.port(3).shut
    assert shut == found[1].shut
    assert shut is not None
    assert (shut.reason, shut.detail) == (ShutReason.LOOP, "loop with port 2")
    assert switch.port(1).shut is switch.port(2).shut is None


def test_port_that_is_shut_discards_everything_both_ways() -> None:
    network, switch = plain_switch("test")
    network.join(switch, switch)
    switch.bridge.fdb.learn(Vid(0), B, switch.port(3), 0.0)
    switch.bridge.fdb.add_static(Vid(0), C, switch.port(3), 0.0)
    network.run(2)
    assert switch.bridge.fdb.lookup(Vid(0), B) is None
    shut = switch.port(3).endpoints[0].link
    before = len(shut.sent)  # type: ignore[attr-defined]

    switch.send(1, BROADCAST + A + PAYLOAD)
    switch.send(1, C + A + PAYLOAD)
    switch.send(3, BROADCAST + B + PAYLOAD)

    assert len(shut.sent) == before  # type: ignore[attr-defined]
    assert switch.port(3).counters.discards[DiscardReason.SHUT] >= 1
    assert switch.bridge.fdb.lookup(Vid(0), B) is None


def test_loop_that_stays_is_found_again_and_one_that_is_gone_is_not() -> None:
    network, switch = plain_switch("test")
    cable, _ = network.join(switch, switch)
    switch.plane.protection.set_loop_detection(LoopSettings(interval=1, recovery=10), 0.0)
    network.run(12.5)
    kinds = [type(event) for event in switch.events_of(LoopFound, PortOpened)]
    assert kinds == [LoopFound, PortOpened, LoopFound]  # it is opened, and shut for twice as long

    network.cut(cable)
    assert switch.port(3).shut is None
    opened = switch.events_of(PortOpened)[-1]
    assert opened == PortOpened(port=switch.port(3).number, reason=ShutReason.LOOP, cause=OpenCause.LINK_LEFT)
    network.run(60)
    assert not switch.events_of(LoopFound)


def test_operator_opens_a_port_and_the_loop_shuts_it_again() -> None:
    network, switch = plain_switch("test")
    network.join(switch, switch)
    network.run(2)
    switch.plane.protection.recover(switch.port(3))
    switch.fabric.publish_events()
    assert switch.port(3).shut is None

    network.run(2)
    assert switch.port(3).shut is not None


def test_own_probes_are_not_learned_and_those_of_others_pass() -> None:
    network = Network()
    one, through, other = (network.switch(fstp=False) for _ in range(3))
    network.join(one, through)
    network.join(through, other)
    network.run(3)
    assert through.bridge.fdb.lookup(Vid(0), one.mac) is not None
    assert one.bridge.fdb.lookup(Vid(0), one.mac) is None
    sent = other.port(1).endpoints[0].link.far.sent  # type: ignore[attr-defined]
    assert [frame for frame in sent if frame[:6] == PROBE_ADDRESS and frame[6:12] == one.mac]
    assert not any(switch.events_of(LoopFound) for switch in (one, through, other))


def test_port_without_loop_detection_and_blocked_port_send_no_probe() -> None:
    network = Network()
    one, other = network.switch(priority=0), network.switch()
    cables = [network.join(one, other) for _ in range(2)]
    lonely = other.plug()
    guard(other, 3, loop=False)
    network.run(6)
    for _, cable in cables:
        cable.sent.clear()
    network.run(3)
    probes = [sum(frame[:6] == PROBE_ADDRESS for frame in cable.sent) for _, cable in cables]
    assert probes[0] == 3
    assert probes[1] == 0  # blocked
    assert not [frame for frame in lonely.sent if frame[:12] == PROBE_ADDRESS + other.mac]


# --- BPDUs where none may be ---


@pytest.mark.parametrize("fstp", [False, True], ids=["without FSTP", "with FSTP"])
def test_bpdu_guard_shuts_the_port_in_all_vlans_until_its_pause_is_over(fstp: bool) -> None:
    network = Network()
    switch = network.switch(fstp=fstp)
    switch.plug("host")
    switch.bridge.create_vlan(Vid(4))
    switch.bridge.add_tagged(switch.port(1), Vid(4))
    guard(switch, 1, bpdu=True)
    switch.fabric.publish_events()
    switch.events.clear()

    switch.send(1, bpdu())
    port = switch.port(1)
    assert port.shut is not None
    assert port.shut.reason is ShutReason.BPDU_GUARD
    assert port.shut.recover_at == 300.0
    if fstp:
        assert switch.state(1) is switch.state(1, 4) is PortState.DISCARDING

    network.run(301)
    assert port.shut is None
    assert switch.events_of(PortOpened)[-1].cause is OpenCause.TIMER  # type: ignore[union-attr]
    assert switch.state(1) is PortState.FORWARDING


def test_root_guard_without_spanning_tree_discards_bpdus_and_says_so_once_a_minute() -> None:
    network, switch = plain_switch("test", "test")
    guard(switch, 1, root=True)
    for _ in range(5):
        switch.send(1, bpdu())
    assert not switch.port(2).endpoints[0].link.sent  # type: ignore[attr-defined]
    assert switch.port(1).counters.discards == {DiscardReason.UNWANTED_BPDU: 5}
    assert switch.events_of(BpdusRefused) == [BpdusRefused(port=switch.port(1).number, count=1)]

    network.run(61)
    switch.send(1, bpdu())
    assert switch.events_of(BpdusRefused) == [BpdusRefused(port=switch.port(1).number, count=5)]
    switch.send(2, bpdu())
    assert switch.port(1).counters.frames_out >= 1 or bpdu() in switch.port(1).endpoints[0].link.sent  # type: ignore[attr-defined]


def test_root_guard_with_spanning_tree_blocks_a_better_root() -> None:
    network = Network()
    one, other = network.switch(), network.switch(priority=0)
    network.join(one, other)
    guard(one, 1, root=True)
    network.run(5)
    tree = one.plane.topology.tree(one.bridge.vlans[Vid(0)], network.now)
    assert tree.view(network.now).is_root
    assert str(tree.block_reason(1)) == "root-guard"


# --- storms ---


def flood(switch: Switch, number: int, destination: bytes, count: int) -> None:
    frame = destination + A + PAYLOAD
    place = switch.port(number).endpoints[0].link.place  # type: ignore[attr-defined]
    place.deliver(Train(frame * count, len(frame)))
    place.flush()


@pytest.mark.parametrize(
    ("module", "passed"),
    [("udp", 500), ("wg", 500), ("tcp", 500), ("vxlan", 500), ("tuntap", 700), ("vde", 700)],
)
def test_broadcasts_of_remote_ports_are_limited_by_default(module: str, passed: int) -> None:
    _, switch = plain_switch(module, "test")
    flood(switch, 1, BROADCAST, 700)
    assert len(switch.port(2).endpoints[0].link.sent) == passed  # type: ignore[attr-defined]


def test_kinds_of_flooded_frames_have_limits_of_their_own() -> None:
    _, switch = plain_switch("test", "test")
    guard(switch, 1, storm=StormSettings(broadcast=10, multicast=20, unknown_unicast=30))
    sent = switch.port(2).endpoints[0].link.sent  # type: ignore[attr-defined]
    for destination, limit in ((BROADCAST, 10), (GROUP, 20), (B, 30)):
        sent.clear()
        flood(switch, 1, destination, 50)
        assert len(sent) == limit
    assert switch.port(1).counters.discards == {DiscardReason.STORM: 40 + 30 + 20}

    switch.send(2, A + B + PAYLOAD)
    sent.clear()
    flood(switch, 1, B, 50)
    assert len(sent) == 50  # known by now: nothing is flooded


def test_storm_is_told_when_it_begins_and_when_it_ends() -> None:
    network, switch = plain_switch("udp", "test")
    flood(switch, 1, BROADCAST, 700)
    assert [type(event) for event in switch.events_of(StormBegan, StormEnded)] == [StormBegan]
    network.run(0.9)
    flood(switch, 1, BROADCAST, 700)
    network.run(3)
    ended = switch.events_of(StormBegan, StormEnded)
    assert len(ended) == 1
    assert isinstance(ended[0], StormEnded)
    assert ended[0].discarded == 200 + 250
    assert switch.plane.protection.next_deadline() <= network.now + 1  # type: ignore[operator]


def test_hub_limits_groups_too() -> None:
    _, switch = plain_switch("udp", "test")
    switch.bridge.is_hub = True
    flood(switch, 1, BROADCAST, 700)
    assert len(switch.port(2).endpoints[0].link.sent) == 500  # type: ignore[attr-defined]


# --- addresses ---


@pytest.mark.parametrize("action", list(LimitAction))
def test_addresses_beyond_the_limit_are_kept_out(action: LimitAction) -> None:
    network, switch = plain_switch("test", "test")
    port = switch.port(1)
    port.mac_limit = MacLimit(MacLimitSettings(limit=2, action=action, recovery=30))
    for source in (A, B, A, C):
        switch.send(1, BROADCAST + source + PAYLOAD)

    assert switch.bridge.fdb.lookup(Vid(0), C) is None
    assert port.counters.discards == {DiscardReason.MAC_LIMIT: 1}
    events = switch.events_of(AddressLimitReached, PortShutDown)
    assert len(events) == {"protect": 0, "restrict": 1, "shutdown": 2}[action]
    assert (port.shut is not None) is (action is LimitAction.SHUTDOWN)
    if port.shut is not None:
        network.run(31)
        assert port.shut is None
        switch.send(1, BROADCAST + C + PAYLOAD)
        assert switch.bridge.fdb.lookup(Vid(0), C) is not None


# --- flapping ---


def test_station_heard_on_two_ports_is_reported_once_with_both() -> None:
    network, switch = plain_switch("test", "test", "test")
    switch.plane.protection.set_flap_detection(MacFlapSettings(moves=5, window=10))
    for turn in range(20):
        switch.send(1 + turn % 2, BROADCAST + A + PAYLOAD)
        network.run(0.1)
    flaps = switch.events_of(StationFlaps)
    assert len(flaps) == 1
    assert isinstance(flaps[0], StationFlaps)
    assert (flaps[0].mac, flaps[0].flapping.ports) == (A, (1, 2))


def test_station_that_roams_is_no_flapping_one() -> None:
    network, switch = plain_switch("test", "test")
    for turn in range(4):
        switch.send(1 + turn % 2, A + A + PAYLOAD)
        network.run(5)
    assert len([event for event in switch.events if isinstance(event, StationMoved)]) == 3
    assert not switch.events_of(StationFlaps)


# --- ports that go ---


def test_removed_port_leaves_nothing_behind() -> None:
    network, switch = plain_switch("test")
    cable, _ = network.join(switch, switch)
    network.run(2)
    port = switch.port(3)
    network.cut(cable)
    switch.bridge.remove_port(port)
    switch.fabric.publish_events()
    protection = switch.plane.protection
    assert (protection._shut, set(protection._watched)) == ({}, {1})


def test_bpdus_of_one_port_do_not_take_the_room_of_another() -> None:
    _, switch = plain_switch("test", "test")
    guard(switch, 1, root=True)
    guard(switch, 2, bpdu=True)
    frame = bpdu()
    place = switch.port(1).endpoints[0].link.place  # type: ignore[attr-defined]
    place.deliver(Train(frame * 5000, len(frame)))
    switch.send(2, frame)
    assert switch.port(2).shut is not None
    discards = switch.port(1).counters.discards
    assert discards == {DiscardReason.UNWANTED_BPDU: 32, DiscardReason.OVERRUN: 5000 - 32}
    assert frame[:6] == BRIDGE_GROUP_ADDRESS
