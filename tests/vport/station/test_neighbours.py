from __future__ import annotations

from ipaddress import IPv4Address

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from vport.ethernet import MacAddress
from vport.station.neighbours import (
    MAX_PENDING,
    MAX_WAITING,
    GaveUp,
    Learned,
    NeighbourTable,
    Solicit,
)

A, B, C = IPv4Address("10.1.1.1"), IPv4Address("10.1.1.2"), IPv4Address("10.1.1.3")
MAC_A = MacAddress(bytes.fromhex("020000000001"))
MAC_B = MacAddress(bytes.fromhex("020000000002"))


def test_unknown_neighbour_is_asked_for_three_times_and_given_up() -> None:
    table = NeighbourTable()

    assert table.use(A, 10.0) is None
    assert table.wait(A, b"one", 10.0)
    assert table.next_deadline() == 10.0

    assert table.handle_timer(10.0) == [Solicit(A, None)]
    assert table.next_deadline() == 11.0

    assert table.handle_timer(10.9) == []
    assert table.handle_timer(11.0) == [Solicit(A, None)]
    assert table.handle_timer(12.0) == [Solicit(A, None)]
    assert table.is_resolving(A)

    assert table.handle_timer(13.0) == [GaveUp(A, (b"one",))]
    assert table.next_deadline() is None
    assert not table.is_resolving(A)


def test_answer_releases_waiting_packets_in_order() -> None:
    table = NeighbourTable()
    table.wait(A, b"one", 10.0)
    table.handle_timer(10.0)
    table.wait(A, b"two", 10.5)
    assert table.handle_timer(10.5) == []

    assert table.learn(A, MAC_A, 10.6, is_confirmed=True) == Learned(True, (b"one", b"two"))

    assert table.next_deadline() is None
    assert table.use(A, 10.7) == MAC_A
    assert table.entries() == {A: MAC_A}


def test_too_many_waiting_packets_cost_the_oldest() -> None:
    table = NeighbourTable()
    for number in range(MAX_WAITING + 2):
        assert table.wait(A, b"%d" % number, 10.0)

    _, released = table.learn(A, MAC_A, 10.1, is_confirmed=True)

    assert (len(released), released[0]) == (MAX_WAITING, b"2")
    assert table.overflows == 2


def test_too_many_resolutions_are_refused() -> None:
    table = NeighbourTable()
    for number in range(MAX_PENDING):
        assert table.wait(IPv4Address(number), b"", 10.0)

    assert not table.wait(A, b"", 10.0)
    assert not table.is_resolving(A)
    assert table.overflows == 1


def test_stale_neighbour_is_used_then_probed_then_forgotten() -> None:
    table = NeighbourTable()
    table.learn(A, MAC_A, 10.0, is_confirmed=True)

    assert table.use(A, 40.0) == MAC_A  # reachable for 30 s
    assert table.next_deadline() is None

    assert table.use(A, 40.1) == MAC_A
    assert table.next_deadline() == 45.1

    for now in (45.1, 46.1, 47.1):
        assert table.handle_timer(now) == [Solicit(A, MAC_A)]
        assert table.use(A, now) == MAC_A

    assert table.handle_timer(48.1) == [GaveUp(A)]
    assert table.use(A, 48.1) is None


def test_reply_from_a_stale_neighbour_saves_the_probe() -> None:
    table = NeighbourTable()
    table.learn(A, MAC_A, 10.0, is_confirmed=False)
    table.use(A, 10.0)
    assert table.next_deadline() == 15.0

    table.confirm(A, 11.0)

    assert table.next_deadline() is None
    assert table.use(A, 41.0) == MAC_A
    assert table.next_deadline() is None


def test_confirming_a_stranger_means_nothing() -> None:
    table = NeighbourTable()

    table.confirm(A, 10.0)

    assert len(table) == 0


def test_answer_to_a_probe_ends_it_but_an_announcement_does_not() -> None:
    table = NeighbourTable()
    table.learn(A, MAC_A, 10.0, is_confirmed=False)
    table.use(A, 10.0)

    assert table.learn(A, MAC_A, 11.0, is_confirmed=False) == Learned(False, ())
    assert table.next_deadline() == 15.0

    assert table.learn(A, MAC_A, 12.0, is_confirmed=True) == Learned(False, ())
    assert table.next_deadline() is None


def test_moved_neighbour_is_news_and_unconfirmed() -> None:
    table = NeighbourTable()
    table.learn(A, MAC_A, 10.0, is_confirmed=True)

    assert table.learn(A, MAC_B, 11.0, is_confirmed=False) == Learned(True, ())

    assert table.use(A, 11.0) == MAC_B
    assert table.next_deadline() == 16.0


def test_least_recently_used_neighbour_makes_room() -> None:
    table = NeighbourTable(capacity=2)
    table.learn(A, MAC_A, 10.0, is_confirmed=True)
    table.learn(B, MAC_B, 10.0, is_confirmed=True)
    table.use(A, 10.0)

    table.learn(C, MAC_B, 10.0, is_confirmed=True)

    assert table.entries() == {A: MAC_A, C: MAC_B}


def test_probe_of_a_neighbour_that_had_to_make_room_asks_everybody() -> None:
    table = NeighbourTable(capacity=1)
    table.learn(A, MAC_A, 10.0, is_confirmed=False)
    table.use(A, 10.0)

    table.learn(B, MAC_B, 10.0, is_confirmed=True)

    assert table.handle_timer(15.0) == [Solicit(A, None)]


addresses = st.integers(1, 600).map(IPv4Address)


class TableMachine(RuleBasedStateMachine):
    """Whatever happens: bounds hold, deadlines move, and known MACs are those last learned."""

    def __init__(self) -> None:
        super().__init__()
        self.table = NeighbourTable(capacity=8)
        self.now = 0.0
        self.last: dict[IPv4Address, MacAddress] = {}

    @rule(address=addresses, mac=st.sampled_from([MAC_A, MAC_B]), is_confirmed=st.booleans())
    def learn(self, address: IPv4Address, mac: MacAddress, is_confirmed: bool) -> None:
        self.table.learn(address, mac, self.now, is_confirmed=is_confirmed)
        self.last[address] = mac

    @rule(address=addresses)
    def send(self, address: IPv4Address) -> None:
        mac = self.table.use(address, self.now)
        if mac is None:
            self.table.wait(address, b"", self.now)
        else:
            assert mac == self.last[address]

    @rule(first=st.integers(1, 300))
    def scan(self, first: int) -> None:
        for number in range(first, first + MAX_PENDING):
            self.send(IPv4Address(number))

    @rule(address=addresses)
    def confirm(self, address: IPv4Address) -> None:
        self.table.confirm(address, self.now)

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.0, 5.0, 31.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.table.handle_timer(self.now)
        deadline = self.table.next_deadline()
        assert deadline is None or deadline > self.now

    @invariant()
    def bounds_hold(self) -> None:
        assert len(self.table) <= 8
        assert len(self.table._pending) <= MAX_PENDING


TestTable = TableMachine.TestCase
TestTable.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
