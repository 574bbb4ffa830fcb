from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from vport.errors import SettingsError
from vport.ethernet import MacAddress, Vid
from vswitch.events import EventQueue, FdbEntryAdded, FdbEntryRemoved
from vswitch.fdb import Fdb, FdbSettings
from vswitch.ports import Port, PortNumber


def mac(number: int) -> MacAddress:
    return MacAddress(b"\x02" + number.to_bytes(5, "big"))


def make(**values: int) -> Fdb:
    return Fdb(FdbSettings(**values), EventQueue())


ONE, TWO, THREE = (Port(PortNumber(number)) for number in (1, 2, 3))
V0, V7 = Vid(0), Vid(7)


def test_learned_station_is_found_in_its_vlan_only() -> None:
    fdb = make()
    fdb.learn(V7, mac(1), ONE, 5.0)

    entry = fdb.lookup(V7, mac(1))
    assert entry is not None
    assert (entry.port, entry.last_seen) == (ONE, 5.0)
    assert fdb.lookup(V0, mac(1)) is None


def test_port_that_floods_source_addresses_evicts_only_its_own() -> None:
    fdb = make(capacity=100)
    for number in range(20):
        fdb.learn(V0, mac(number), ONE, 0.0)
    for number in range(1000, 6000):
        fdb.learn(V0, mac(number), TWO, 1.0)

    assert len(fdb) == 100
    assert all(fdb.lookup(V0, mac(number)) for number in range(20))


def test_newcomer_on_a_quiet_port_finds_room_in_a_flooded_table() -> None:
    fdb = make(capacity=100)
    for number in range(1000, 6000):
        fdb.learn(V0, mac(number), TWO, 1.0)
    for number in range(30):
        fdb.learn(V0, mac(number), ONE, 2.0)

    assert all(fdb.lookup(V0, mac(number)) for number in range(30))
    assert len(fdb) == 100


def test_eviction_spares_the_stations_that_talk() -> None:
    fdb = make(capacity=10)
    for number in range(10):
        fdb.learn(V0, mac(number), ONE, 0.0)
    for number in range(5):
        fdb.learn(V0, mac(number), ONE, 1.0)
    for number in range(100, 105):
        fdb.learn(V0, mac(number), ONE, 2.0)

    assert {number for number in range(10) if fdb.lookup(V0, mac(number))} == set(range(5))


def test_static_entry_neither_ages_nor_moves_nor_is_flushed() -> None:
    fdb = make()
    fdb.add_static(V0, mac(1), ONE, 0.0)
    fdb.learn(V0, mac(1), TWO, 50.0, proven=True)
    fdb.collect(1e6)
    fdb.flush()

    entry = fdb.lookup(V0, mac(1))
    assert entry is not None
    assert entry.port is ONE
    fdb.forget_port(ONE)
    assert len(fdb) == 0


def test_flush_of_a_vlan_or_a_port_leaves_the_rest() -> None:
    fdb = make()
    for vid in (V0, V7):
        fdb.learn(vid, mac(1), ONE, 0.0)
        fdb.learn(vid, mac(2), TWO, 0.0)

    fdb.flush(vid=V7, port=ONE)
    assert {(entry.vid, entry.port) for entry in fdb} == {(V0, ONE), (V0, TWO), (V7, TWO)}
    fdb.flush(port=TWO)
    assert {(entry.vid, entry.port) for entry in fdb} == {(V0, ONE)}
    fdb.flush(vid=V0)
    assert len(fdb) == 0


def test_changing_the_capacity_evicts_down_to_it() -> None:
    fdb = make()
    for number in range(50):
        fdb.learn(V0, mac(number), ONE, 0.0)

    fdb.change(capacity=10)

    assert len(fdb) == 10


def test_events_tell_of_entries_that_come_and_go() -> None:
    events = EventQueue()
    fdb = Fdb(FdbSettings(capacity=1), events)
    fdb.learn(V0, mac(1), ONE, 0.0)
    fdb.learn(V7, mac(2), TWO, 0.0)

    assert events.drain() == [
        FdbEntryAdded(mac=mac(1), vid=V0, port=ONE.number),
        FdbEntryRemoved(mac=mac(1), vid=V0, port=ONE.number),
        FdbEntryAdded(mac=mac(2), vid=V7, port=TWO.number),
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [("aging_time", 0), ("min_persistence", -1), ("capacity", 0), ("capacity", 1 << 21), ("buckets", 0)],
)
def test_setting_out_of_range_is_refused_and_changes_nothing(name: str, value: int) -> None:
    fdb = make()
    with pytest.raises(SettingsError, match=f"{name.replace('_', ' ')} {value} is not from"):
        fdb.change(**{name: value})
    assert fdb.settings == FdbSettings()


class FdbAgainstDictionary(RuleBasedStateMachine):
    """The table against a plain dictionary, with a capacity that is never reached."""

    def __init__(self) -> None:
        super().__init__()
        self.fdb = make()
        self.model: dict[tuple[int, bytes], tuple[Port, float]] = {}
        self.now = 0.0

    @rule(
        number=st.integers(0, 9),
        vid=st.sampled_from([V0, V7]),
        port=st.sampled_from([ONE, TWO, THREE]),
        proven=st.booleans(),
    )
    def learn(self, number: int, vid: Vid, port: Port, proven: bool) -> None:
        old = self.model.get((vid, mac(number)))
        if old is None or old[0] is port or proven or self.now - old[1] > 3:
            self.model[vid, mac(number)] = (port, self.now)
        self.fdb.learn(vid, mac(number), port, self.now, proven=proven)

    @rule(seconds=st.sampled_from([0.5, 2.0, 40.0, 99.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def collect(self) -> None:
        self.fdb.collect(self.now)
        self.model = {key: value for key, value in self.model.items() if value[1] >= self.now - 100}

    @rule(port=st.sampled_from([ONE, TWO, THREE]))
    def flush_port(self, port: Port) -> None:
        self.fdb.flush(port=port)
        self.model = {key: value for key, value in self.model.items() if value[0] is not port}

    @rule(number=st.integers(0, 9))
    def delete(self, number: int) -> None:
        assert self.fdb.delete(V0, mac(number)) == (self.model.pop((V0, mac(number)), None) is not None)

    @invariant()
    def agree(self) -> None:
        assert {(e.vid, e.mac): (e.port, e.last_seen) for e in self.fdb} == self.model
        assert len(self.fdb) == len(self.model)


class FdbUnderPressure(RuleBasedStateMachine):
    """With a small capacity: the bound holds and the counts stay right, whatever happens."""

    def __init__(self) -> None:
        super().__init__()
        self.fdb = make(capacity=8)
        self.static: dict[bytes, Port] = {}

    @rule(number=st.integers(0, 40), port=st.sampled_from([ONE, TWO, THREE]), now=st.integers(0, 50))
    def learn(self, number: int, port: Port, now: int) -> None:
        self.fdb.learn(V0, mac(number), port, now)

    @rule(number=st.integers(0, 40), port=st.sampled_from([ONE, TWO]))
    def configure(self, number: int, port: Port) -> None:
        if mac(number) in self.static or len(self.static) < self.fdb.settings.capacity:
            self.fdb.add_static(V0, mac(number), port, 0.0)
            self.static[mac(number)] = port
        else:
            with pytest.raises(SettingsError, match="static"):
                self.fdb.add_static(V0, mac(number), port, 0.0)

    @rule(capacity=st.integers(1, 12))
    def resize(self, capacity: int) -> None:
        if capacity < len(self.static):
            with pytest.raises(SettingsError, match="static"):
                self.fdb.change(capacity=capacity)
        else:
            self.fdb.change(capacity=capacity)

    @invariant()
    def bounded(self) -> None:
        assert len(self.fdb) == len(list(self.fdb)) <= self.fdb.settings.capacity
        assert {entry.mac: entry.port for entry in self.fdb if entry.is_static} == self.static


TestFdbAgainstDictionary = FdbAgainstDictionary.TestCase
TestFdbUnderPressure = FdbUnderPressure.TestCase
TestFdbAgainstDictionary.settings = settings(max_examples=60, stateful_step_count=30)
TestFdbUnderPressure.settings = settings(max_examples=60, stateful_step_count=40)
