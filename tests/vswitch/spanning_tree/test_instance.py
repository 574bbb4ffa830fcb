from __future__ import annotations

from typing import Any

import pytest

from tests.vswitch.spanning_tree.machines import MAC, TIMES, bridge, rst, vector
from vport.errors import SettingsError
from vport.ethernet import Vid
from vswitch.spanning_tree import (
    BlockReason,
    BridgeSettings,
    Event,
    FlushFdb,
    PortRole,
    PortRoleChanged,
    PortSettings,
    PortStateChanged,
    RootChanged,
    SpanningTree,
    TopologyChanged,
    TransmitBpdu,
    decode_frame,
)
from vswitch.spanning_tree.bpdu import Bpdu, ConfigBpdu, Dialect, RstBpdu, TcnBpdu
from vswitch.spanning_tree.instance import RECEIVE_BURST
from vswitch.vlan import PortState

COST = 20_000_000
DISCARDING, LEARNING, FORWARDING = PortState


def make(*ports: int, now: float = 0.0, **settings: Any) -> SpanningTree:
    """Give a tree of bridge 0x50 whose ports came up at ``now``."""
    tree = SpanningTree(MAC, Vid(0), BridgeSettings(**settings), now)
    for port in ports:
        tree.port_up(port, now)
    return tree


def sent(events: list[Event]) -> list[tuple[int, Bpdu]]:
    return [(event.port, decode_frame(event.frame)[1]) for event in events if isinstance(event, TransmitBpdu)]


def without_bpdus(events: list[Event]) -> list[Event]:
    return [event for event in events if not isinstance(event, TransmitBpdu)]


def run_until(tree: SpanningTree, end: float) -> list[tuple[float, Event]]:
    """Serve every deadline up to ``end``, and give what happened when."""
    log: list[tuple[float, Event]] = []
    while (deadline := tree.next_deadline()) is not None and deadline <= end:
        log += [(deadline, event) for event in tree.handle_timer(deadline)]
    return log


def hear_root(tree: SpanningTree, port: int, now: float, **fields: Any) -> list[Event]:
    """Let a better bridge speak on the port, as one that forwards already."""
    return tree.receive(port, rst(vector(1, 0, 1, port), learning=True, forwarding=True, **fields), now)


# --- ports that come and go ---


def test_a_new_port_proposes_at_once_and_forwards_as_an_edge_after_three_seconds() -> None:
    tree = make()

    events = tree.port_up(1, 100.5)

    assert without_bpdus(events) == [PortRoleChanged(port=1, role=PortRole.DESIGNATED)]
    assert sent(events) == [
        (1, rst(vector(0x50, 0, 0x50, 1), proposal=True)),
    ]
    assert tree.state(1) is DISCARDING
    assert tree.next_deadline() == 102.0

    log = run_until(tree, 103.5)

    assert [(now, type(event)) for now, event in log if isinstance(event, TransmitBpdu)] == [
        (102.0, TransmitBpdu)
    ]
    assert [entry for entry in log if not isinstance(entry[1], TransmitBpdu)] == [
        (103.5, PortStateChanged(port=1, state=FORWARDING))
    ]
    assert tree.state(1) is FORWARDING


def test_a_port_without_edge_detection_waits_max_age_and_a_hello() -> None:
    tree = make()
    tree.configure_port(1, PortSettings(auto_edge=False), 0.0)
    tree.port_up(1, 0.0)

    changes = [entry for entry in run_until(tree, 60.0) if isinstance(entry[1], PortStateChanged)]

    assert changes == [
        (20.0, PortStateChanged(port=1, state=LEARNING)),
        (22.0, PortStateChanged(port=1, state=FORWARDING)),
    ]


def test_an_edge_port_forwards_at_once_and_makes_no_topology_change() -> None:
    tree = make()
    tree.configure_port(1, PortSettings(admin_edge=True), 0.0)

    events = tree.port_up(1, 0.0)

    assert without_bpdus(events) == [
        PortStateChanged(port=1, state=FORWARDING),
        PortRoleChanged(port=1, role=PortRole.DESIGNATED),
    ]


def test_settings_survive_the_link() -> None:
    tree = make()
    tree.configure_port(1, PortSettings(admin_edge=True), 0.0)
    tree.port_up(1, 0.0)

    tree.port_down(1, 5.0)
    tree.port_up(1, 6.0)

    assert tree.state(1) is FORWARDING


def test_a_port_that_goes_down_is_flushed_and_gone() -> None:
    tree = make(1)
    run_until(tree, 4.0)

    assert tree.port_down(1, 4.0) == [  # and no topology change: a station went, not a bridge
        PortStateChanged(port=1, state=DISCARDING),
        PortRoleChanged(port=1, role=PortRole.DISABLED),
        FlushFdb(ports=(1,)),
    ]

    assert tree.state(1) is DISCARDING
    assert tree.port_view(1) is None
    assert tree.next_deadline() is None
    assert tree.port_down(1, 5.0) == []


def test_a_replaced_link_starts_from_discarding() -> None:
    tree = make(1)
    run_until(tree, 4.0)

    events = tree.port_up(1, 4.0)

    assert [event for event in events if isinstance(event, PortStateChanged)] == [
        PortStateChanged(port=1, state=DISCARDING)
    ]
    assert tree.state(1) is DISCARDING


def test_an_input_takes_along_what_a_late_timer_would_have_done() -> None:
    tree = make(1, 2)

    events = hear_root(tree, 2, 3.5)

    assert PortStateChanged(port=1, state=FORWARDING) in events


def test_news_that_waited_beside_a_late_timer_keep_the_root() -> None:
    tree = make(1)
    hear_root(tree, 1, 1.0)

    events = hear_root(tree, 1, 9.0)

    assert not any(isinstance(event, RootChanged) for event in events)


# --- proposal and agreement ---


def test_agreement_opens_a_designated_port_at_once() -> None:
    tree = make(1)

    events = tree.receive(1, rst(vector(0x50, COST, 0x60), PortRole.ROOT, agreement=True), 0.01)

    assert without_bpdus(events) == [
        PortStateChanged(port=1, state=FORWARDING),
        TopologyChanged(port=1, is_received=False),
    ]
    ((_, bpdu),) = sent(events)
    assert isinstance(bpdu, RstBpdu)
    assert (bpdu.topology_change, bpdu.forwarding) == (True, True)


def test_proposal_shuts_the_other_ports_before_the_agreement_leaves() -> None:
    tree = make(1, 2)
    for port in (1, 2):
        answer = rst(vector(0x50, COST, 0x60, port), PortRole.ROOT, agreement=True)
        tree.receive(port, answer, 0.01)
    assert [tree.state(port) for port in (1, 2)] == [FORWARDING, FORWARDING]
    worse = rst(vector(0x50, COST, 0x60, 2), PortRole.ROOT)
    tree.receive(2, worse, 0.02)

    events = hear_root(tree, 1, 1.5, proposal=True)

    assert events[0] == PortStateChanged(port=2, state=DISCARDING)
    assert RootChanged(root_id=bridge(1), root_port=1, root_path_cost=COST) in events
    bpdus = dict(sent(events))
    assert bpdus[1] == rst(
        vector(1, COST, 0x50, 1),
        PortRole.ROOT,
        agreement=True,
        learning=True,
        forwarding=True,
        topology_change=True,
        times=TIMES._replace(message_age=1.0),
    )
    assert isinstance(bpdus[2], RstBpdu)
    assert (bpdus[2].role, bpdus[2].proposal, bpdus[2].forwarding) == (PortRole.DESIGNATED, True, False)
    assert tree.state(1) is FORWARDING


def test_an_answer_to_an_older_proposal_opens_nothing_and_the_port_asks_again() -> None:
    """Found by the simulator (seed 8): two waves of news in a triangle of bridges, 10 ms apart."""
    tree = make(1, 2)
    hear_root(tree, 1, 0.1)
    answer = rst(vector(1, 2 * COST, 0x60, 1), PortRole.ROOT, agreement=True)
    tree.receive(1, rst(vector(1, 3 * COST, 1, 1)), 0.101)
    hear_root(tree, 1, 0.102)

    tree.receive(2, answer, 0.103)
    assert tree.state(2) is DISCARDING

    log = run_until(tree, 0.36)
    asked = [now for now, event in log if isinstance(event, TransmitBpdu) and event.port == 2]
    assert asked == [0.352], "a proposal that can be told from the older one"
    tree.receive(2, answer, 0.37)
    assert tree.state(2) is FORWARDING


def test_a_shared_link_takes_no_agreement() -> None:
    tree = make()
    tree.configure_port(1, PortSettings(point_to_point=False), 0.0)
    tree.port_up(1, 0.0)

    tree.receive(1, rst(vector(0x50, COST, 0x60), PortRole.ROOT, agreement=True), 0.01)

    assert tree.state(1) is DISCARDING


def test_an_alternate_port_takes_over_in_the_same_instant() -> None:
    tree = make(1, 2)
    hear_root(tree, 1, 1.0)
    tree.receive(2, rst(vector(1, COST, 3), learning=True, forwarding=True), 1.0)
    assert (tree.state(1), tree.state(2)) == (FORWARDING, DISCARDING)
    assert tree.block_reason(2) is BlockReason.REDUNDANT

    events = tree.port_down(1, 2.0)

    assert events[:2] == [
        PortStateChanged(port=1, state=DISCARDING),
        PortStateChanged(port=2, state=FORWARDING),
    ]
    assert RootChanged(root_id=bridge(1), root_port=2, root_path_cost=2 * COST) in events


def test_information_dies_after_three_hellos_of_silence() -> None:
    tree = make(1)
    hear_root(tree, 1, 1.0)

    log = run_until(tree, 8.0)

    roots = [(now, event) for now, event in log if isinstance(event, RootChanged)]
    assert roots == [(7.0, RootChanged(root_id=tree.view(8.0).bridge_id, root_port=None, root_path_cost=0))]


# --- topology changes ---


def flooded_ports(tree: SpanningTree, port: int, now: float) -> list[Event]:
    message = rst(vector(0x50, COST, 0x60, port), PortRole.ROOT, topology_change=True, learning=True)
    return tree.receive(port, message, now)


def agreed_tree(*ports: int) -> SpanningTree:
    tree = make(*ports)
    for port in ports:
        tree.receive(port, rst(vector(0x50, COST, 0x60, port), PortRole.ROOT, agreement=True), 0.01)
    run_until(tree, 10.0)
    return tree


def test_a_change_told_on_one_port_flushes_the_others_only() -> None:
    tree = agreed_tree(1, 2, 3)

    events = flooded_ports(tree, 1, 10.5)

    assert without_bpdus(events) == [FlushFdb(ports=(2, 3)), TopologyChanged(port=1, is_received=True)]
    assert [port for port, _ in sent(events)] == [2, 3]


def test_a_storm_of_changes_makes_one_flush_a_second_and_the_last_is_not_lost() -> None:
    tree = agreed_tree(1, 2)
    flushes: list[float] = []
    transmitted = 0
    for step in range(1000):
        now = 10.5 + step / 1000
        events = flooded_ports(tree, 1, now)
        flushes += [now for event in events if isinstance(event, FlushFdb)]
        transmitted += len(sent(events))

    late = [now for now, event in run_until(tree, 13.0) if isinstance(event, FlushFdb)]

    assert flushes == [10.5]
    assert late == [11.5]
    assert transmitted <= 3


def test_a_change_heard_where_nothing_passes_goes_no_further() -> None:
    tree = agreed_tree(1, 2)
    tree.port_up(3, 10.0)
    hear_root(tree, 1, 10.1)
    tree.receive(3, rst(vector(1, 5, 3), learning=True, forwarding=True), 10.1)
    run_until(tree, 10.2)
    assert tree.state(3) is DISCARDING

    events = tree.receive(3, rst(vector(1, 5, 3), topology_change=True), 10.3)

    assert events == []


# --- classic STP ---

CONFIG = ConfigBpdu(vector=vector(0x60, 0, 0x60), times=TIMES)


def test_a_classic_bridge_is_answered_in_its_own_language() -> None:
    tree = make(1)
    run_until(tree, 3.4)

    events = tree.receive(1, CONFIG, 3.5)

    assert sent(events) == [(1, ConfigBpdu(vector=vector(0x50, 0, 0x50), times=TIMES, topology_change=True))]
    view = tree.port_view(1)
    assert view is not None
    assert view.protocol == "stp"


def test_rapid_spanning_tree_is_tried_again_when_it_is_heard_or_asked_for() -> None:
    tree = make(1)
    run_until(tree, 3.4)
    tree.receive(1, CONFIG, 3.5)
    run_until(tree, 7.0)

    tree.receive(1, rst(vector(0x60, 0, 0x60)), 7.0)
    view = tree.port_view(1)
    assert view is not None
    assert view.protocol == "rstp"

    run_until(tree, 11.0)
    tree.receive(1, CONFIG, 11.0)
    tree.check_migration(1, 11.1)
    view = tree.port_view(1)
    assert view is not None
    assert view.protocol == "rstp"
    assert tree.check_migration(9, 11.1) == []


def test_a_notification_is_acknowledged() -> None:
    tree = make(1)
    run_until(tree, 3.4)
    tree.receive(1, CONFIG, 3.5)
    run_until(tree, 60.0)
    assert tree.state(1) is FORWARDING
    tree.receive(1, CONFIG, 60.0)

    tree.receive(1, TcnBpdu(), 60.5)
    bpdus = [bpdu for _, bpdu in sent([event for _, event in run_until(tree, 63.0)])]

    assert any(isinstance(bpdu, ConfigBpdu) and bpdu.topology_change_ack for bpdu in bpdus)


def test_an_old_configuration_is_discarded() -> None:
    tree = make(1)

    events = tree.receive(1, ConfigBpdu(vector=vector(1, 0, 1), times=TIMES._replace(message_age=20.0)), 0.1)

    assert events == []
    assert tree.port_view(1).discarded == 1  # type: ignore[union-attr]


# --- guards ---


def test_root_guard_blocks_while_better_information_comes_and_opens_when_it_ends() -> None:
    tree = make()
    tree.configure_port(1, PortSettings(restricted_role=True, auto_edge=False), 0.0)
    tree.port_up(1, 0.0)

    hear_root(tree, 1, 1.0)

    assert tree.view(1.0).is_root
    assert tree.block_reason(1) is BlockReason.ROOT_GUARD

    run_until(tree, 30.0)
    assert tree.state(1) is FORWARDING


def test_a_link_that_reflects_our_bpdus_never_opens() -> None:
    tree = make(1)
    states = []
    pending = [event.frame for event in tree.port_up(1, 0.0) if isinstance(event, TransmitBpdu)]
    now = 0.0
    while now < 60.0:
        for frame in pending:
            tree.receive(1, decode_frame(frame)[1], now + 0.001)
        deadline = tree.next_deadline()
        assert deadline is not None
        now = deadline
        pending = [event.frame for event in tree.handle_timer(now) if isinstance(event, TransmitBpdu)]
        states.append(tree.state(1))

    assert set(states) == {DISCARDING}
    assert tree.block_reason(1) is BlockReason.REFLECTED


def test_a_filtered_port_forwards_and_neither_speaks_nor_listens() -> None:
    tree = make()
    tree.configure_port(1, PortSettings(admin_edge=True, bpdu_filter=True), 0.0)

    events = tree.port_up(1, 0.0)
    events += hear_root(tree, 1, 1.0)
    events += [event for _, event in run_until(tree, 20.0)]

    assert sent(events) == []
    assert tree.state(1) is FORWARDING
    assert tree.view(20.0).is_root


def test_a_flood_of_bpdus_is_bounded_and_counted() -> None:
    tree = make(1)

    for _ in range(1000):
        hear_root(tree, 1, 1.0)

    view = tree.port_view(1)
    assert view is not None
    assert (view.received, view.discarded) == (1000, 1000 - RECEIVE_BURST)


def test_bpdus_on_a_port_that_is_not_up_are_nothing() -> None:
    assert hear_root(make(), 7, 1.0) == []


# --- settings ---


def test_a_better_priority_makes_us_root() -> None:
    tree = make(1)
    hear_root(tree, 1, 1.0)
    assert not tree.view(1.0).is_root

    events = tree.configure(BridgeSettings(priority=0x1000), 2.0)

    assert tree.view(2.0).root_id == bridge(0x50, 0x1000)
    assert any(isinstance(event, RootChanged) and event.root_port is None for event in events)
    assert any(isinstance(bpdu, RstBpdu) for _, bpdu in sent(events))


def test_new_times_are_sent() -> None:
    tree = make(1)

    events = tree.configure(BridgeSettings(hello_time=1.0, max_age=10.0, forward_delay=8.0), 1.0)

    ((_, bpdu),) = sent(events)
    assert isinstance(bpdu, RstBpdu)
    assert bpdu.times == (0.0, 10.0, 1.0, 8.0)


def test_forced_to_classic_we_send_configuration_bpdus() -> None:
    tree = make(1)
    run_until(tree, 3.0)
    tree.configure(BridgeSettings(protocol_version=0), 3.0)

    bpdus = [bpdu for _, bpdu in sent([event for _, event in run_until(tree, 10.0)])]

    assert {type(bpdu) for bpdu in bpdus} == {ConfigBpdu}


def test_bonus_moves_the_root_port_and_back() -> None:
    tree = make(1, 2)
    hear_root(tree, 1, 1.0)
    hear_root(tree, 2, 1.0)
    assert tree.view(1.0).root_port == 1

    tree.set_bonus(2, 1000, 1.5)
    view = tree.view(1.5)
    assert (view.root_port, view.root_path_cost) == (2, COST - 1000)
    assert (view.bonus_port, view.bonus_cost) == (2, 1000)

    tree.set_bonus(None, 0, 2.0)
    assert tree.view(2.0).root_port == 1
    with pytest.raises(SettingsError, match="bonus -1 is negative"):
        tree.set_bonus(1, -1, 2.0)


def test_path_cost_and_port_priority_take_effect_at_once() -> None:
    tree = make(1, 2)
    hear_root(tree, 1, 1.0)
    hear_root(tree, 2, 1.0)

    tree.configure_port(2, PortSettings(path_cost=5), 1.5)
    assert tree.view(1.5).root_path_cost == 5

    tree.configure_port(1, PortSettings(priority=16), 2.0)
    view = tree.port_view(1)
    assert view is not None
    assert view.port_id == 0x1001


def test_an_edge_port_can_be_declared_while_it_is_up() -> None:
    tree = make(1)
    assert tree.state(1) is DISCARDING

    tree.configure_port(1, PortSettings(admin_edge=True), 0.5)

    assert tree.state(1) is FORWARDING


def test_a_port_number_without_a_place_is_refused_and_nothing_changes() -> None:
    tree = make(1)

    with pytest.raises(SettingsError, match="port number 5000"):
        tree.port_up(5000, 1.0)

    assert [view.port for view in tree.view(1.0).ports] == [1]


# --- what the operator sees ---


def test_view_of_the_root_and_of_another_bridge() -> None:
    tree = make(2, 1, now=100.0)
    view = tree.view(150.0)
    assert (view.is_root, view.age, view.designated_bridge_id) == (True, 50.0, None)
    assert [port.port for port in view.ports] == [1, 2]

    hear_root(tree, 1, 160.0)
    view = tree.view(163.0)

    assert (view.root_port, view.root_path_cost, view.age) == (1, COST, 3.0)
    assert (view.root_id, view.designated_bridge_id) == (bridge(1), bridge(1))


def test_view_of_a_port() -> None:
    tree = make(1)
    hear_root(tree, 1, 1.5)

    view = tree.port_view(1)

    assert view is not None
    assert (view.role, view.state, view.path_cost) == (PortRole.ROOT, FORWARDING, COST)
    assert (view.block_reason, view.is_edge) == (None, False)
    assert view.designated == vector(1, 0, 1)
    assert (view.received, view.transmitted, view.discarded) == (1, 2, 0)
    assert view.timers["rcvd_info_while"] == 7.5
    assert set(view.timers) >= {"hello_when", "tc_while"}


def test_tagged_ports_get_tagged_bpdus() -> None:
    tree = SpanningTree(MAC, Vid(291), BridgeSettings(), 0.0)
    events = tree.port_up(1, 0.0, is_tagged=True) + tree.port_up(2, 0.0)

    vids = [decode_frame(event.frame)[0] for event in events if isinstance(event, TransmitBpdu)]

    assert vids == [291, None]


def test_a_vde_neighbour_is_answered_at_once_in_its_dialect() -> None:
    tree = make(1)
    message = rst(vector(1, 0, 1), dialect=Dialect.VDE, learning=True, forwarding=True)

    events = tree.receive(1, message, 1.0)

    ((_, bpdu),) = sent(events)
    assert isinstance(bpdu, RstBpdu)
    assert (bpdu.dialect, bpdu.role, bpdu.agreement) == (Dialect.VDE, PortRole.ROOT, True)


def test_two_instances_share_nothing() -> None:
    one, other = make(1), make(1)

    hear_root(one, 1, 1.0)

    assert other.view(1.0).is_root


def test_hellos_of_all_instances_fall_on_one_instant() -> None:
    trees = [make(1, now=start) for start in (0.1, 0.4, 0.7)]
    for tree in trees:
        run_until(tree, 10.0)

    assert {tree.next_deadline() for tree in trees} <= {11.0, 12.0}
