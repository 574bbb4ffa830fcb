from __future__ import annotations

import pytest

from tests.vswitch.control_planes import Cable, Network, Switch
from vport.errors import SettingsError
from vport.ethernet import BRIDGE_GROUP_ADDRESS, BROADCAST, MacAddress, Vid
from vswitch.ports import DiscardReason
from vswitch.spanning_tree import BridgeSettings, PortSettings, PortStateChanged, RootChanged, decode_frame
from vswitch.topology_events import NeighbourHeard, NeighbourLost, TreeChanged
from vswitch.vlan import PortState

STATION = MacAddress(bytes.fromhex("02000000000a"))
HELLO = BROADCAST + STATION + b"\x08\x00" + bytes(46)
FORWARDING, DISCARDING = PortState.FORWARDING, PortState.DISCARDING


def ring() -> tuple[Network, Switch, Switch, list[Cable]]:
    """Two switches, two cables, and a station on port 3 of each; the first one is root."""
    network = Network()
    one, other = network.switch(priority=4096), network.switch()
    cables = [network.join(one, other)[0] for _ in range(2)]
    for switch in (one, other):
        switch.plug("host")
    network.run(5)
    return network, one, other, cables


def station(switch: Switch) -> Cable:
    link = switch.port(3).endpoints[0].link
    assert isinstance(link, Cable)
    return link


def test_ring_has_one_blocked_port_and_carries_each_frame_once() -> None:
    network, one, other, _ = ring()
    states = [switch.state(port) for switch in (one, other) for port in (1, 2)]
    assert sorted(state is FORWARDING for state in states) == [False, True, True, True]
    assert other.state(2) is DISCARDING

    station(other).sent.clear()
    one.send(3, HELLO)
    network.deliver()
    assert station(other).sent.count(HELLO) == 1


def test_cut_cable_is_replaced_at_once_and_addresses_are_learned_anew() -> None:
    network, one, other, cables = ring()
    one.send(3, HELLO)
    network.deliver()
    assert other.bridge.fdb.lookup(Vid(0), STATION).port.number == 1  # type: ignore[union-attr]

    network.cut(cables[0])

    assert other.state(2) is FORWARDING
    assert other.bridge.fdb.lookup(Vid(0), STATION) is None
    station(other).sent.clear()
    one.send(3, HELLO)
    network.deliver()
    assert station(other).sent.count(HELLO) == 1


def test_topology_change_flushes_only_the_ports_and_the_vlan_of_its_tree() -> None:
    network, one, _, cables = ring()
    vlan = one.bridge.create_vlan(Vid(7))
    one.bridge.add_tagged(one.port(3), Vid(7))
    one.fabric.publish_events()
    network.run(5)
    behind = MacAddress(bytes.fromhex("02000000000b"))
    one.bridge.fdb.learn(Vid(7), behind, one.port(3), network.now)
    one.bridge.fdb.learn(Vid(0), STATION, one.port(3), network.now)
    one.bridge.fdb.learn(Vid(0), behind, one.port(1), network.now)

    network.cut(cables[0])

    assert vlan.table.keys() == {behind}
    assert one.bridge.vlans[Vid(0)].table.keys() == {STATION}  # an edge: nothing can have moved there


def test_port_forwards_nothing_before_its_tree_has_spoken() -> None:
    network = Network()
    switch = network.switch()
    switch.plug()
    switch.plug()
    assert switch.state(1) is switch.state(2) is DISCARDING
    switch.send(1, HELLO)
    assert switch.port(1).counters.discards == {DiscardReason.PORT_DISCARDING: 1}

    network.run(4)  # three seconds without a BPDU: an end station (802.1D-2004 17.25)
    assert switch.state(1) is FORWARDING


def test_membership_that_comes_is_shut_until_the_tree_has_been_told() -> None:
    network = Network()
    switch = network.switch()
    switch.plug()
    network.run(4)
    switch.bridge.create_vlan(Vid(5))
    switch.bridge.add_tagged(switch.port(1), Vid(5))
    assert switch.state(1, 5) is DISCARDING

    switch.fabric.publish_events()
    network.run(4)
    assert switch.state(1, 5) is FORWARDING
    assert switch.state(1) is FORWARDING


@pytest.mark.parametrize("module", ["host", "slirp", "pcap"])
def test_port_without_bridges_behind_it_forwards_at_once(module: str) -> None:
    switch = Network().switch()
    switch.plug(module)
    assert switch.state(1) is FORWARDING


def test_each_vlan_has_a_tree_and_tagged_members_get_tagged_bpdus() -> None:
    network = Network()
    switch = network.switch()
    cable = switch.plug()
    switch.bridge.create_vlan(Vid(10))
    switch.bridge.add_tagged(switch.port(1), Vid(10))
    switch.fabric.publish_events()
    network.run(2.5)

    bpdus = [frame for frame in cable.sent if frame[:6] == BRIDGE_GROUP_ADDRESS]
    assert {decode_frame(frame)[0] for frame in bpdus} == {None, Vid(10)}


def test_bpdu_is_routed_to_the_vlan_of_its_tag_or_of_its_port() -> None:
    network = Network()
    one, other = network.switch(priority=4096), network.switch()
    for switch in (one, other):
        switch.bridge.create_vlan(Vid(5))
        switch.bridge.create_vlan(Vid(6))
    network.join(one, other)
    for switch in (one, other):
        switch.bridge.set_pvid(switch.port(1), Vid(5))
        switch.bridge.add_tagged(switch.port(1), Vid(6))
        switch.fabric.publish_events()
    network.run(3)

    now = network.now
    roots = {
        vid: other.plane.topology.tree(vlan, now).view(now).root_port
        for vid, vlan in other.bridge.vlans.items()
    }
    assert roots == {0: None, 5: 1, 6: 1}


def test_hellos_of_all_vlans_leave_a_port_as_one_train() -> None:
    network = Network()
    switch = network.switch()
    switch.plug()
    for vid in range(1, 51):
        switch.bridge.create_vlan(Vid(vid))
        switch.bridge.add_tagged(switch.port(1), Vid(vid))
    switch.fabric.publish_events()
    network.run(10)
    deadline = switch.plane.topology.next_deadline()
    assert deadline is not None

    network.now = deadline
    egress = [train for _, train in switch.plane.handle_timer(deadline)]
    assert [train.count for train in egress if train.count > 1] == [51]


def test_without_spanning_tree_bpdus_pass_and_with_it_they_do_not() -> None:
    network = Network()
    one, through, other = network.switch(), network.switch(fstp=False), network.switch()
    network.join(one, through)
    network.join(through, other)
    network.run(3)
    assert one.events_of(NeighbourHeard) == [NeighbourHeard(port=one.port(1).number, vid=Vid(0))]

    through.plane.topology.enable(network.now)
    network.run(20)
    root = one.plane.topology.tree(one.bridge.vlans[Vid(0)], network.now).view(network.now)
    assert root.is_root
    last = other.plane.topology.tree(other.bridge.vlans[Vid(0)], network.now).view(network.now)
    assert last.root_path_cost == 40_000_000  # through two switches now


def test_disabling_lets_every_port_forward_and_keeps_the_settings() -> None:
    network, one, other, _ = ring()
    vlan = other.bridge.vlans[Vid(0)]
    other.plane.topology.configure_port(vlan, 2, PortSettings(path_cost=77), network.now)

    other.plane.topology.disable(network.now)
    assert other.state(1) is other.state(2) is FORWARDING
    assert vlan.states is None
    assert other.plane.topology.next_deadline() is None
    assert other.plane.topology.tree(vlan, network.now).port_settings(2).path_cost == 77

    network.cut(one.port(1).endpoints[0].link)  # type: ignore[arg-type]
    other.plane.topology.enable(network.now)
    assert other.plane.topology.tree(vlan, network.now).port_view(2).path_cost == 77  # type: ignore[union-attr]


def test_hub_refuses_spanning_tree_and_becoming_one_ends_it() -> None:
    network = Network()
    switch = network.switch()
    switch.bridge.is_hub = True
    switch.fabric.publish_events()
    assert not switch.plane.topology.is_enabled
    assert not switch.bridge.has_spanning_tree
    with pytest.raises(SettingsError, match="a hub has no spanning tree"):
        switch.plane.topology.enable(network.now)


def test_edge_set_by_the_operator_outlives_the_link_and_neither_sends_nor_takes_bpdus() -> None:
    network, _, other, cables = ring()
    vlan = other.bridge.vlans[Vid(0)]
    settings = PortSettings(admin_edge=True, bpdu_filter=True)
    other.plane.topology.configure_port(vlan, 4, settings, network.now)
    cable = other.plug(port=4)
    other.events.clear()
    network.run(3)
    assert other.state(4) is FORWARDING
    assert not [frame for frame in cable.sent if frame[:6] == BRIDGE_GROUP_ADDRESS]

    bpdu = next(frame for frame in cables[0].sent if frame[:6] == BRIDGE_GROUP_ADDRESS)
    other.send(4, bpdu)
    assert other.state(4) is FORWARDING
    assert not other.events_of(NeighbourHeard)


def test_malformed_bpdu_and_one_of_another_vlan_are_counted() -> None:
    network = Network()
    switch = network.switch()
    switch.plug()
    switch.send(1, BRIDGE_GROUP_ADDRESS + STATION + b"\x00\x03ABC" + bytes(40))
    tagged = BRIDGE_GROUP_ADDRESS + STATION + b"\x81\x00\x00\x09\x00\x07\x42\x42\x03\x00\x00\x00\x80"
    switch.send(1, tagged + bytes(40))
    discards = switch.port(1).counters.discards
    assert discards == {DiscardReason.BAD_BPDU: 1, DiscardReason.NOT_MEMBER: 1}


def test_events_tell_of_neighbours_states_and_the_root() -> None:
    network, _, other, cables = ring()
    events = other.events_of(NeighbourHeard, NeighbourLost, TreeChanged)
    assert NeighbourHeard(port=other.port(1).number, vid=Vid(0)) in events
    changes = [event.change for event in events if isinstance(event, TreeChanged)]
    root = next(change for change in changes if isinstance(change, RootChanged))
    assert root.root_port == 1
    assert TreeChanged(vid=Vid(0), change=PortStateChanged(port=1, state=FORWARDING)) in events
    assert PortStateChanged(port=2, state=DISCARDING) not in changes  # it began so

    for cable in cables:
        network.cut(cable)
    events = other.events_of(NeighbourLost, TreeChanged)
    assert NeighbourLost(port=other.port(1).number, vid=Vid(0)) in events
    roots = [
        event.change
        for event in events
        if isinstance(event, TreeChanged) and isinstance(event.change, RootChanged)
    ]
    assert roots[-1].root_port is None


def test_silent_neighbour_is_told_as_lost() -> None:
    network = Network()
    one, other = network.switch(priority=4096), network.switch()
    near, far = network.join(one, other)
    network.run(3)
    other.events.clear()
    near.far = far.far = None  # the cable carries nothing any more
    network.run(20)
    assert other.events_of(NeighbourLost) == [NeighbourLost(port=other.port(1).number, vid=Vid(0))]


def test_priority_of_the_switch_decides_who_is_root_in_every_vlan() -> None:
    network, one, other, _ = ring()
    other.plane.topology.configure(BridgeSettings(priority=0), network.now)
    other.fabric.publish_events()
    network.run(5)
    vlan = one.bridge.vlans[Vid(0)]
    assert one.plane.topology.tree(vlan, network.now).view(network.now).root_port == 1


def test_removed_and_recreated_vlan_has_a_fresh_tree() -> None:
    network = Network()
    switch = network.switch()
    vlan = switch.bridge.create_vlan(Vid(9))
    switch.plane.topology.configure_port(vlan, 1, PortSettings(path_cost=5), 0.0)
    switch.bridge.remove_vlan(Vid(9))
    again = switch.bridge.create_vlan(Vid(9))
    assert switch.plane.topology.tree(again, 0.0).port_settings(1).path_cost != 5


def test_port_with_several_endpoints_is_a_shared_segment() -> None:
    network = Network()
    switch = network.switch()
    switch.plug(port=1)
    tree = switch.plane.topology.tree(switch.bridge.vlans[Vid(0)], 0.0)
    assert tree.port_settings(1).point_to_point
    second = switch.plug(port=1)
    assert not tree.port_settings(1).point_to_point
    network.cut(second)
    switch.fabric.publish_events()
    assert tree.port_settings(1).point_to_point


def test_port_whose_number_has_no_place_in_a_port_id_never_forwards() -> None:
    network = Network()
    switch = network.switch()
    switch.bridge.ports.change_limit(5000)
    switch.plug(port=4096)
    network.run(10)
    assert switch.state(4096) is DISCARDING
