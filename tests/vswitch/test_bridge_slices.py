"""Slices cross a bridge as the frames that they stand for would."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.vport.flows import TIMESTAMPS, Flow
from tests.vswitch.links_in_memory import RecordingLink
from vport.ethernet import MacAddress, Vid
from vport.offload import plain
from vport.slices import slice_up
from vport.train import SLICES, Train
from vswitch.bridge import Bridge
from vswitch.ports import DiscardReason

if TYPE_CHECKING:
    from vswitch.ports import Port

FLOW = Flow(tcp_options=TIMESTAMPS)
DESTINATION, SOURCE = MacAddress(FLOW.macs[:6]), MacAddress(FLOW.macs[6:])


def slices() -> Train:
    data, header = FLOW.superframe(bytes(5000), 1348)
    made = slice_up(Train(data, FLOW.size + 1348, header))
    assert made is not None
    return made


@pytest.fixture
def bridge() -> Bridge:
    return Bridge()


@pytest.fixture
def ports(bridge: Bridge) -> list[Port]:
    return [bridge.plug(RecordingLink()).port for _ in range(3)]


def frames_of(train: Train) -> list[bytes]:
    return list(map(bytes, plain(train).frames()))


def test_slices_flood_as_slices_and_teach_the_address_without_the_group_bit(
    bridge: Bridge, ports: list[Port]
) -> None:
    out = bridge.receive(ports[0], slices(), 0.0)

    assert [port for port, _ in out] == ports[1:]
    assert all(train.offload is SLICES for _, train in out)
    assert bridge.vlans[Vid(0)].table[SOURCE].port is ports[0]
    assert ports[0].counters.frames_in == 4
    assert ports[0].counters.bytes_in == 5000 + 4 * FLOW.size


def test_slices_to_a_known_station_leave_on_its_port(bridge: Bridge, ports: list[Port]) -> None:
    answer = SOURCE + DESTINATION + b"\x08\0" + bytes(46)
    bridge.receive(ports[2], Train(answer, len(answer)), 0.0)

    ((port, train),) = bridge.receive(ports[0], slices(), 0.0)

    assert port is ports[2]
    assert frames_of(train) == frames_of(slices())


def test_slices_get_the_tag_of_a_trunk(bridge: Bridge, ports: list[Port]) -> None:
    bridge.create_vlan(Vid(7))
    bridge.set_pvid(ports[0], Vid(7))
    bridge.add_tagged(ports[1], Vid(7))

    ((_, train),) = bridge.receive(ports[0], slices(), 0.0)

    assert [frame[12:18] for frame in frames_of(train)] == [b"\x81\0\0\7\x08\0"] * 4
    assert [frame[:12] + frame[16:] for frame in frames_of(train)] == frames_of(slices())


def test_hub_repeats_slices_and_no_frame_that_looks_like_one(bridge: Bridge, ports: list[Port]) -> None:
    bridge.is_hub = True
    impossible = DESTINATION + bytes([SOURCE[0] | 1]) + SOURCE[1:] + bytes(50)

    assert [port for port, _ in bridge.receive(ports[0], slices(), 0.0)] == ports[1:]
    assert bridge.receive(ports[0], Train(impossible, len(impossible)), 0.0) == []
    assert ports[0].counters.discards == {DiscardReason.MULTICAST_SOURCE: 1}
