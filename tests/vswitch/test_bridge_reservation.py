"""Ports that are kept for links with a profile: VLANs, stations, and who may plug in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vswitch.links_in_memory import RecordingLink
from vport.errors import RefusedError
from vport.ethernet import MacAddress, Vid
from vport.profile import PortProfile
from vport.train import lone
from vswitch.bridge import Bridge
from vswitch.guards import AddressLimit
from vswitch.ports import DiscardReason

X, Y, V = (MacAddress(bytes((2, 0, 0, 0, 0, number))) for number in (1, 2, 9))
ALL = b"\xff" * 6


def link(profile: PortProfile | None = None) -> RecordingLink:
    one = RecordingLink("a link")
    one.profile = profile
    return one


def frame(destination: bytes, source: bytes) -> bytes:
    return destination + source + b"\x08\x00" + bytes(46)


def test_reserved_port_has_the_vlans_of_its_profile_and_they_come_into_being() -> None:
    bridge = Bridge()
    port = bridge.reserve(PortProfile(number=7, pvid=Vid(10), tagged=(Vid(20), Vid(30))))
    assert port.number == 7
    assert port.pvid == 10
    assert port.tagged == {20, 30}
    assert {10, 20, 30} <= bridge.vlans.keys()


def test_reserved_port_is_nobody_elses() -> None:
    bridge = Bridge()
    keeper = bridge.reserve(PortProfile()).keeper
    assert keeper is not None
    assert keeper.number == 1
    with pytest.raises(RefusedError, match="kept"):
        bridge.plug(link(), 1)
    with pytest.raises(RefusedError, match="another"):
        bridge.reserve(PortProfile(number=1))
    assert bridge.plug(link()).port.number == 2  # a newcomer gets another one
    assert bridge.plug(link(keeper), 1).port.number == 1


def test_released_port_is_anybodys_again() -> None:
    bridge = Bridge()
    port = bridge.reserve(PortProfile(number=1, pvid=Vid(10), station=V))
    bridge.release(port)
    assert port.pvid == 0
    assert bridge.plug(link()).port is port


def test_virtual_station_is_static_while_it_is_there_and_cannot_be_stolen() -> None:
    bridge = Bridge()
    port = bridge.reserve(PortProfile(station=V))
    other = bridge.plug(link())
    endpoint = bridge.plug(link(port.keeper), port.number)
    bridge.present(port, 0.0)
    assert bridge.receive(other.port, lone(frame(V, X)), 1.0)[0][0] is port

    # Somebody else sends in its name: discarded, and the station stays where it is.
    assert bridge.receive(other.port, lone(frame(ALL, V)), 500.0) == []
    assert other.port.counters.discards == {DiscardReason.FOREIGN_SOURCE: 1}
    bridge.fdb.collect(10_000.0)
    assert bridge.receive(other.port, lone(frame(V, X)), 10_000.0)[0][0] is port

    bridge.unplug(endpoint, "gone")
    assert bridge.fdb.lookup(Vid(0), V) is None
    assert bridge.receive(other.port, lone(frame(ALL, V)), 10_001.0) == []  # nor while it is absent


def test_port_kept_for_one_station_counts_others_until_it_is_empty() -> None:
    bridge = Bridge()
    port = bridge.reserve(PortProfile(max_macs=1))
    endpoint = bridge.plug(link(port.keeper), port.number)
    other = bridge.plug(link())
    assert bridge.receive(port, lone(frame(ALL, X)), 0.0)[0][0] is other.port
    assert bridge.receive(port, lone(frame(ALL, Y)), 0.0) == []
    assert port.counters.discards == {DiscardReason.MAC_LIMIT: 1}
    bridge.unplug(endpoint, "gone")
    bridge.plug(link(port.keeper), port.number)
    assert bridge.receive(port, lone(frame(ALL, Y)), 1.0)[0][0] is other.port


def test_port_kept_for_certain_stations_lets_no_others_in() -> None:
    bridge = Bridge()
    port = bridge.reserve(PortProfile(macs=frozenset({X})))
    bridge.plug(link(port.keeper), port.number)
    other = bridge.plug(link())
    assert bridge.receive(port, lone(frame(ALL, Y)), 0.0) == []
    assert port.counters.discards == {DiscardReason.FOREIGN_SOURCE: 1}
    assert bridge.receive(port, lone(frame(ALL, X)), 0.0)[0][0] is other.port


def test_station_counts_once_however_many_vlans_it_is_in() -> None:
    bridge = Bridge()
    port = bridge.reserve(PortProfile(pvid=Vid(10), tagged=(Vid(20), Vid(30)), max_macs=1))
    bridge.plug(link(port.keeper), port.number)
    for tag in (b"", b"\x81\x00\x00\x14", b"\x81\x00\x00\x1e"):
        bridge.receive(port, lone(ALL + X + tag + b"\x08\x00" + bytes(46)), 0.0)
    assert not port.counters.discards
    bridge.receive(port, lone(ALL + Y + tag + b"\x08\x00" + bytes(46)), 0.0)
    assert port.counters.discards == {DiscardReason.MAC_LIMIT: 1}


def test_who_is_limited_does_not_send_in_the_name_of_stations_on_other_ports() -> None:
    bridge = Bridge()
    port = bridge.reserve(PortProfile(max_macs=1))
    bridge.plug(link(port.keeper), port.number)
    other = bridge.plug(link())
    bridge.receive(other.port, lone(frame(ALL, Y)), 0.0)
    assert bridge.receive(port, lone(frame(ALL, Y)), 0.5) == []
    assert port.counters.discards == {DiscardReason.FOREIGN_SOURCE: 1}

    # It has moved here when it is silent there.
    assert bridge.receive(port, lone(frame(ALL, Y)), 100.0)[0][0] is other.port


@pytest.mark.parametrize(
    ("said", "limits"),
    [(None, (2, None)), (AddressLimit(limit=5), (5, 5)), (AddressLimit(limit=0), (None, None))],
)
def test_what_the_operator_says_of_addresses_holds_whoever_comes_and_goes(
    said: AddressLimit | None, limits: tuple[int | None, int | None]
) -> None:
    bridge = Bridge()
    port = bridge.create_port(1)
    port.limit_addresses(said)

    def limit() -> int | None:
        return None if port.mac_limit is None else port.mac_limit.settings.limit

    bridge.reserve(PortProfile(number=1, max_macs=2))
    kept = limit()
    bridge.release(port)
    assert (kept, limit()) == limits


@given(st.lists(st.integers(1, 6), max_size=30))
def test_lowest_number_without_a_port_is_found_whatever_came_and_went(numbers: list[int]) -> None:
    bridge = Bridge(port_limit=5)
    for number in numbers:  # a port comes, or goes if it is there; 6 only asks
        port = bridge.ports.get(number)
        if port is not None:
            bridge.remove_port(port)
        elif number <= 5:
            bridge.create_port(number)
        unused = [one for one in range(1, 6) if one not in bridge.ports]
        if unused:
            assert bridge.ports.unused_number() == unused[0]
        else:
            with pytest.raises(RefusedError, match="all 5 ports exist"):
                bridge.ports.unused_number()


def test_profile_without_a_number_takes_no_port_that_somebody_made() -> None:
    bridge = Bridge(port_limit=3)
    bridge.create_vlan(Vid(20))
    for number in (1, 3):
        bridge.add_tagged(bridge.create_port(number), Vid(20))
    bridge.ports.change_limit(3)

    assert bridge.reserve(PortProfile(pvid=Vid(10))).number == 2
    port = bridge.reserve(PortProfile(pvid=Vid(10)))  # there is no other left
    assert (port.number, port.pvid, port.tagged) == (1, 10, set())
    assert port not in {member.port for member in bridge.vlans[Vid(20)].members}
