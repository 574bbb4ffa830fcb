from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vswitch.links_in_memory import RecordingLink
from vport.errors import RefusedError
from vport.ethernet import BROADCAST, MacAddress, Vid
from vport.train import Train, lone
from vswitch.bridge import Bridge
from vswitch.events import (
    EndpointAdded,
    EndpointRemoved,
    FdbEntryAdded,
    FdbEntryRemoved,
    PortAdded,
    PortRemoved,
    StationMoved,
)
from vswitch.ports import NO_VLAN, DiscardReason, Port
from vswitch.vlan import PortState

if TYPE_CHECKING:
    from vswitch.fdb import FdbSettings

A, B, C, D = (MacAddress(bytes.fromhex(f"0200000000{number:02x}")) for number in (0xA, 0xB, 0xC, 0xD))
PAYLOAD = b"\x08\x00" + bytes(range(46))


def frame(source: bytes, destination: bytes, payload: bytes = PAYLOAD) -> bytes:
    return destination + source + payload


def tagged(source: bytes, destination: bytes, tci: int) -> bytes:
    return destination + source + struct.pack("!HH", 0x8100, tci) + PAYLOAD


class Lan:
    """A bridge with ports 1, 2, 3 …, a recording link on each."""

    def __init__(self, ports: int = 3, fdb: FdbSettings | None = None, limit: int = 1024) -> None:
        self.bridge = Bridge(fdb, limit)
        self.ports: dict[int, Port] = {}
        for _ in range(ports):
            port = self.bridge.plug(RecordingLink()).port
            self.ports[port.number] = port
        self.bridge.events.drain()

    def send(self, port: int, *frames: bytes, now: float = 0.0) -> dict[int, list[bytes]]:
        """Let a train of equal frames in on a port; give what leaves, by port number."""
        train = Train(b"".join(frames), len(frames[0])) if frames[0] else lone(b"")
        left: dict[int, list[bytes]] = {}
        for egress, leaving in self.bridge.receive(self.ports[port], train, now):
            left.setdefault(egress.number, []).extend(bytes(one) for one in leaving.frames())
        return left

    def discards(self, port: int) -> dict[DiscardReason, int]:
        return dict(self.ports[port].counters.discards)

    def trunk(self, port: int, *vids: int) -> None:
        for vid in map(Vid, vids):
            self.bridge.vlans.get(vid) or self.bridge.create_vlan(vid)
            self.bridge.add_tagged(self.ports[port], vid)

    def access(self, port: int, vid: int) -> None:
        if vid != NO_VLAN and vid not in self.bridge.vlans:
            self.bridge.create_vlan(Vid(vid))
        self.bridge.set_pvid(self.ports[port], Vid(vid))


# --- transparent bridging ---


def test_unknown_unicast_floods_all_other_ports() -> None:
    lan = Lan()

    assert lan.send(1, frame(A, B)) == {2: [frame(A, B)], 3: [frame(A, B)]}


def test_known_unicast_leaves_on_one_port() -> None:
    lan = Lan()
    lan.send(2, frame(B, BROADCAST))

    assert lan.send(1, frame(A, B)) == {2: [frame(A, B)]}


@pytest.mark.parametrize("destination", ["ffffffffffff", "01005e0000fb", "333300000001", "01000ccccccc"])
def test_group_address_floods(destination: str) -> None:
    lan = Lan()

    assert set(lan.send(1, frame(A, bytes.fromhex(destination)))) == {2, 3}


def test_frame_to_station_on_its_own_port_goes_nowhere() -> None:
    lan = Lan()
    lan.send(1, frame(B, BROADCAST))

    assert lan.send(1, frame(A, B)) == {}
    assert lan.discards(1) == {DiscardReason.SAME_PORT: 1}


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"", DiscardReason.RUNT),
        (frame(A, B)[:13], DiscardReason.RUNT),
        (frame(BROADCAST, B), DiscardReason.MULTICAST_SOURCE),
        (frame(MacAddress(b"\x01\x00\x5e\x00\x00\x01"), B), DiscardReason.MULTICAST_SOURCE),
        (frame(MacAddress(bytes(6)), B), DiscardReason.ZERO_SOURCE),
        (frame(A, bytes.fromhex("0180c2000001")), DiscardReason.RESERVED_ADDRESS),
        (frame(A, bytes.fromhex("0180c200000e")), DiscardReason.RESERVED_ADDRESS),
        (frame(A, bytes.fromhex("0180c200000f")), DiscardReason.RESERVED_ADDRESS),
        (tagged(A, B, 4095), DiscardReason.RESERVED_VID),
    ],
)
def test_frame_that_no_bridge_relays_is_counted_and_teaches_nothing(
    bad: bytes, reason: DiscardReason
) -> None:
    lan = Lan()

    assert lan.send(1, bad) == {}
    assert lan.discards(1) == {reason: 1}
    assert len(lan.bridge.fdb) == 0


@pytest.mark.parametrize("destination", ["0180c2000000", "0180c2000010", "0180c2000021"])
def test_bpdu_and_groups_beside_the_reserved_block_pass(destination: str) -> None:
    lan = Lan()

    assert set(lan.send(1, frame(A, bytes.fromhex(destination)))) == {2, 3}


def test_counters_count_frames_and_bytes_both_ways() -> None:
    lan = Lan(ports=2)
    one = frame(A, B)
    lan.bridge.ports.get(1)

    for port, leaving in lan.bridge.receive(lan.ports[1], Train(one * 3, len(one)), 0.0):
        port.transmit(leaving, {})

    assert (lan.ports[1].counters.frames_in, lan.ports[1].counters.bytes_in) == (3, 3 * len(one))
    assert (lan.ports[2].counters.frames_out, lan.ports[2].counters.bytes_out) == (3, 3 * len(one))


def test_train_of_mixed_frames_goes_where_each_frame_belongs() -> None:
    lan = Lan()
    lan.send(2, frame(B, BROADCAST))
    lan.send(3, frame(C, BROADCAST))

    left = lan.send(1, frame(A, B), frame(A, B), frame(A, C), frame(A, B), frame(BROADCAST, B))

    assert left == {2: [frame(A, B)] * 3, 3: [frame(A, C)]}
    assert lan.discards(1) == {DiscardReason.MULTICAST_SOURCE: 1}


def test_train_with_a_runt_at_its_end_loses_only_the_runt() -> None:
    lan = Lan(ports=2)
    one = frame(A, B)
    train = Train(one + one + one[:9], len(one))

    left = lan.bridge.receive(lan.ports[1], train, 0.0)

    assert [bytes(f) for _, leaving in left for f in leaving.frames()] == [one, one]
    assert lan.discards(1) == {DiscardReason.RUNT: 1}


# --- learning ---


def test_station_that_was_silent_long_enough_moves_with_any_frame() -> None:
    lan = Lan()
    lan.send(1, frame(A, BROADCAST), now=0)

    lan.send(2, frame(A, BROADCAST), now=3)
    assert lan.send(3, frame(C, A), now=3) == {1: [frame(C, A)]}

    lan.send(2, frame(A, BROADCAST), now=3.1)
    assert lan.send(3, frame(C, A), now=3.1) == {2: [frame(C, A)]}


def test_looped_broadcast_does_not_carry_a_talking_station_along() -> None:
    lan = Lan()
    for now in range(10):
        lan.send(1, frame(A, BROADCAST), now=now)
        lan.send(2, frame(A, BROADCAST), now=now + 0.01)

    assert lan.send(3, frame(C, A), now=10) == {1: [frame(C, A)]}


def test_frame_to_a_known_station_proves_a_move_at_once() -> None:
    lan = Lan()
    lan.send(3, frame(C, BROADCAST), now=0)
    lan.send(1, frame(A, C), now=0)
    lan.bridge.events.drain()

    lan.send(2, frame(A, C), now=0.1)

    assert lan.send(3, frame(C, A), now=0.1) == {2: [frame(C, A)]}
    assert lan.bridge.events.drain() == [
        StationMoved(mac=A, vid=Vid(0), old=lan.ports[1].number, new=lan.ports[2].number)
    ]


def test_announcement_moves_its_station_at_once_and_is_not_relayed() -> None:
    lan = Lan()
    lan.send(1, frame(A, BROADCAST), now=0)

    assert lan.send(2, frame(A, A), now=0.1) == {}
    assert lan.send(3, frame(C, A), now=0.1) == {2: [frame(C, A)]}


def test_first_announcement_is_learned_and_not_flooded() -> None:
    lan = Lan()

    assert lan.send(2, frame(A, A)) == {}
    assert lan.send(1, frame(B, A)) == {2: [frame(B, A)]}


def test_silent_station_is_forgotten_after_the_ageing_time() -> None:
    lan = Lan()
    lan.send(1, frame(A, BROADCAST), now=0)

    lan.bridge.fdb.collect(now=100)
    assert set(lan.send(2, frame(B, A), now=100)) == {1}

    lan.bridge.fdb.collect(now=100.1)
    assert set(lan.send(2, frame(B, A), now=100.1)) == {1, 3}


# --- hub ---


def test_hub_repeats_everything_unseen_and_learns_nothing() -> None:
    lan = Lan()
    lan.bridge.is_hub = True
    lan.bridge.fdb.flush()

    assert set(lan.send(2, frame(B, BROADCAST))) == {1, 3}
    assert set(lan.send(1, frame(A, B))) == {2, 3}
    assert set(lan.send(1, frame(A, bytes.fromhex("0180c2000001")))) == {2, 3}
    assert lan.send(1, b"short") == {}
    assert len(lan.bridge.fdb) == 0


# --- ports and endpoints ---


def test_plug_takes_the_lowest_free_port_and_tells() -> None:
    bridge = Bridge()

    first, second = bridge.plug(RecordingLink("one")), bridge.plug(RecordingLink("two"))

    assert (first.port.number, second.port.number) == (1, 2)
    assert bridge.events.drain() == [
        PortAdded(port=first.port.number),
        EndpointAdded(port=first.port.number, endpoint=first.id, description="one"),
        PortAdded(port=second.port.number),
        EndpointAdded(port=second.port.number, endpoint=second.id, description="two"),
    ]


def test_unplugging_the_last_endpoint_forgets_its_stations_and_frees_the_number() -> None:
    lan = Lan()
    lan.send(1, frame(A, BROADCAST))
    endpoint = lan.ports[1].endpoints[0]
    lan.bridge.events.drain()

    lan.bridge.unplug(endpoint, "gone")

    port = lan.ports[1].number
    assert lan.bridge.events.drain() == [
        EndpointRemoved(port=port, endpoint=endpoint.id, description="recorder", reason="gone"),
        PortRemoved(port=port),
        FdbEntryRemoved(mac=A, vid=Vid(0), port=port),
    ]
    assert set(lan.send(2, frame(B, A))) == {3}
    assert lan.bridge.plug(RecordingLink()).port.number == 1


def test_endpoints_of_one_port_both_get_what_leaves_it_and_do_not_hear_each_other() -> None:
    lan = Lan(ports=2)
    second = RecordingLink("second on port 1")
    lan.bridge.plug(second, 1)

    assert set(lan.send(1, frame(A, BROADCAST))) == {2}
    lan.ports[1].transmit(lone(frame(B, A)), {})
    assert second.sent == [frame(B, A)]
    assert lan.ports[1].counters.frames_out == 1


def test_port_numbers_are_bounded() -> None:
    lan = Lan(ports=2, limit=2)

    with pytest.raises(RefusedError, match="all 2 ports are in use"):
        lan.bridge.plug(RecordingLink())
    with pytest.raises(RefusedError, match="no port 3: ports are numbered 1 to 2"):
        lan.bridge.plug(RecordingLink(), 3)


def test_connecting_again_and_again_to_a_numbered_port_costs_no_memory() -> None:
    bridge = Bridge()
    for _ in range(100):
        bridge.unplug(bridge.plug(RecordingLink(), 5), "gone")
        bridge.unplug(bridge.plug(RecordingLink()), "gone")

    assert len(bridge.ports) == 2
    assert [bridge.plug(RecordingLink()).port.number for _ in range(6)] == [1, 2, 3, 4, 5, 6]


@given(st.lists(st.tuples(st.sampled_from(["plug", "unplug"]), st.integers(0, 7)), max_size=60))
def test_newcomer_always_gets_the_lowest_free_number(steps: list[tuple[str, int]]) -> None:
    bridge = Bridge(port_limit=6)
    plugged = {}
    for what, which in steps:
        if what == "plug":
            free = [number for number in range(1, 7) if number not in plugged]
            if free:
                endpoint = bridge.plug(RecordingLink())
                assert endpoint.port.number == free[0]
                plugged[endpoint.port.number] = endpoint
            else:
                with pytest.raises(RefusedError):
                    bridge.plug(RecordingLink())
        elif which in plugged:
            bridge.unplug(plugged.pop(which), "test")


# --- VLANs ---


def test_switch_without_vlans_is_transparent_to_tags() -> None:
    lan = Lan()
    for tci in (0, 0xE000, 7, 0x6064):
        assert lan.send(1, tagged(A, BROADCAST, tci)) == {
            2: [tagged(A, BROADCAST, tci)],
            3: [tagged(A, BROADCAST, tci)],
        }


def test_two_vlans_do_not_hear_each_other() -> None:
    lan = Lan(ports=4)
    for port, vid in ((1, 10), (2, 10), (3, 20), (4, 20)):
        lan.access(port, vid)

    assert set(lan.send(1, frame(A, BROADCAST))) == {2}
    assert set(lan.send(3, frame(C, BROADCAST))) == {4}
    assert set(lan.send(3, frame(C, A))) == {4}


def test_frame_gets_a_tag_towards_a_trunk_and_loses_it_towards_a_station() -> None:
    lan = Lan(ports=2)
    lan.access(1, 10)
    lan.trunk(2, 10)

    assert lan.send(1, frame(A, BROADCAST)) == {2: [tagged(A, BROADCAST, 10)]}
    assert lan.send(2, tagged(B, A, 0x6000 | 10)) == {1: [frame(B, A)]}


def test_whole_train_gets_its_tags() -> None:
    lan = Lan(ports=2)
    lan.access(1, 10)
    lan.trunk(2, 10)

    assert lan.send(1, *[frame(A, B)] * 9) == {2: [tagged(A, B, 10)] * 9}


def test_priority_tag_belongs_to_the_pvid_and_keeps_its_priority_on_a_trunk() -> None:
    lan = Lan()
    lan.access(1, 10)
    lan.trunk(2, 10)
    lan.access(3, 10)

    assert lan.send(1, tagged(A, BROADCAST, 0xE000)) == {
        2: [tagged(A, BROADCAST, 0xE000 | 10)],
        3: [frame(A, BROADCAST)],
    }


def test_frame_of_a_vlan_that_the_port_is_not_in_is_discarded_at_ingress() -> None:
    lan = Lan()
    lan.access(1, 10)
    lan.trunk(2, 20)

    assert lan.send(1, tagged(A, BROADCAST, 20)) == {}
    assert lan.send(1, tagged(A, BROADCAST, 99)) == {}
    assert lan.send(3, tagged(C, BROADCAST, 20)) == {}
    assert lan.discards(1) == {DiscardReason.NOT_MEMBER: 2}
    assert lan.discards(3) == {DiscardReason.NOT_MEMBER: 1}


def test_port_without_untagged_vlan_takes_only_tagged_frames() -> None:
    lan = Lan(ports=2)
    lan.trunk(1, 10)
    lan.access(1, NO_VLAN)
    lan.trunk(2, 10)

    assert lan.send(1, frame(A, BROADCAST)) == {}
    assert lan.discards(1) == {DiscardReason.NO_VLAN: 1}
    assert set(lan.send(1, tagged(A, BROADCAST, 10))) == {2}


def test_same_station_in_two_vlans_has_two_entries() -> None:
    lan = Lan(ports=2)
    lan.trunk(1, 10, 20)
    lan.trunk(2, 10, 20)
    lan.send(1, tagged(A, BROADCAST, 10))
    lan.send(2, tagged(A, BROADCAST, 20))

    assert {(entry.vid, entry.port.number) for entry in lan.bridge.fdb} == {(10, 1), (20, 2)}


# --- active topology ---


def test_discarding_port_neither_learns_nor_forwards() -> None:
    lan = Lan()
    lan.bridge.vlans[Vid(0)].set_state(lan.ports[1], PortState.DISCARDING)

    assert lan.send(1, frame(A, BROADCAST)) == {}
    assert set(lan.send(2, frame(B, BROADCAST))) == {3}
    assert lan.send(2, frame(B, A)) == {3: [frame(B, A)]}
    assert lan.discards(1) == {DiscardReason.PORT_DISCARDING: 1}


def test_learning_port_learns_and_does_not_forward() -> None:
    lan = Lan()
    lan.bridge.vlans[Vid(0)].set_state(lan.ports[1], PortState.LEARNING)

    assert lan.send(1, frame(A, BROADCAST)) == {}
    assert lan.send(2, frame(B, A)) == {}
    assert lan.bridge.events.drain()[0] == FdbEntryAdded(mac=A, vid=Vid(0), port=lan.ports[1].number)


# --- laws ---

stations = st.sampled_from([A, B, C, D, BROADCAST, MacAddress(bytes.fromhex("0180c2000002"))])
frames = st.builds(
    lambda source, destination, tci: (
        frame(source, destination) if tci is None else tagged(source, destination, tci)
    ),
    stations,
    stations,
    st.none() | st.sampled_from([0, 10, 20, 30, 4095]),
)


@given(st.lists(st.tuples(st.integers(1, 4), frames | st.binary(max_size=40)), max_size=30), st.booleans())
def test_frame_never_leaves_through_its_ingress_port_nor_outside_its_vlan(
    sent: list[tuple[int, bytes]], hub: bool
) -> None:
    lan = Lan(ports=4)
    lan.access(1, 10)
    lan.access(2, 20)
    lan.trunk(3, 10)
    lan.bridge.is_hub = hub
    for port, one in sent:
        left = lan.send(port, one)
        assert port not in left
        if not hub:
            allowed = {1: {3}, 2: set(), 3: {1, 4}, 4: {3}}[port]
            assert set(left) <= allowed


@given(st.lists(st.tuples(st.integers(1, 3), frames), min_size=1, max_size=25))
def test_train_is_relayed_as_its_frames_would_be_one_by_one(sent: list[tuple[int, bytes]]) -> None:
    whole, single = Lan(), Lan()
    size = min(len(one) for _, one in sent)
    port = sent[0][0]
    cut = [one[:size] for _, one in sent]

    together = whole.send(port, *cut)
    apart: dict[int, list[bytes]] = {}
    for one in cut:
        for number, left in single.send(port, one).items():
            apart.setdefault(number, []).extend(left)

    assert together == apart
    assert whole.discards(port) == single.discards(port)
