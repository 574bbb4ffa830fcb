from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.vport.dhcp.clients import settings
from vport.dhcp.leases import Lease, LeaseTable
from vport.dhcp.messages import Kind, Request
from vport.dhcp.server import DhcpServer
from vport.dhcp.storage import read_leases, write_leases
from vport.errors import SettingsError
from vport.ethernet import MacAddress
from vport.locator import parse

FIRST = IPv4Address("10.1.1.100")
SERVER = IPv4Address("10.1.1.254")


def mac(number: int) -> MacAddress:
    return MacAddress(bytes((2, 0, 0, 0, 1, number)))


class ServerMachine(RuleBasedStateMachine):
    """Any clients saying anything in any order: what must never happen, never does."""

    def __init__(self) -> None:
        super().__init__()
        self.server = DhcpServer(settings("pool=10.1.1.100-10.1.1.102&static=02:00:00:00:01:03,10.1.1.102"))
        self.now = 0.0
        self.acknowledged: dict[IPv4Address, tuple[bytes, float]] = {}

    @rule(
        number=st.integers(0, 5),
        kind=st.integers(0, 9),
        last=st.none() | st.integers(98, 104),
        mine=st.booleans(),
        server=st.sampled_from([None, SERVER, IPv4Address("10.1.1.9")]),
        name=st.sampled_from([None, "a", "b"]),
    )
    def client_says(
        self,
        number: int,
        kind: int,
        last: int | None,
        mine: bool,
        server: IPv4Address | None,
        name: str | None,
    ) -> None:
        asked = None if last is None else IPv4Address(f"10.1.1.{last}")
        request = Request(
            kind=kind,
            transaction=1,
            mac=mac(number),
            requested=None if mine else asked,
            client_address=asked if mine and asked else IPv4Address(0),
            server=server,
            host_name=name,
        )
        held = self.server.leases.of_client(self.server.key(request))
        reply = self.server.receive(request, self.now)
        if kind == Kind.RELEASE and held is not None and held.address == request.client_address:
            self.acknowledged.pop(held.address, None)
        if (
            kind == Kind.DECLINE
            and held is not None
            and held.address == request.requested
            and server == SERVER
        ):
            self.acknowledged.pop(held.address, None)
        if reply is not None and reply.kind == Kind.ACK and kind == Kind.REQUEST:
            client = self.server.key(request)
            other, until = self.acknowledged.get(reply.address, (client, 0.0))
            assert other == client or until <= self.now, "an address was given to two clients"
            self.acknowledged[reply.address] = (client, self.now + 3600)
            assert reply.address != SERVER
            assert number == 3 or reply.address != IPv4Address("10.1.1.102")

    @rule(seconds=st.sampled_from([1.0, 59.0, 61.0, 601.0, 3601.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def table_is_bounded_and_consistent(self) -> None:
        leases = list(self.server.leases)
        assert len(leases) <= 3
        assert len({lease.client for lease in leases}) == len(leases)
        names = [lease.name for lease in leases if lease.name and lease.expires_at > self.now]
        assert len(set(names)) == len(names)


TestServer = ServerMachine.TestCase


def test_exhaustion_is_remembered_and_not_searched_for_again() -> None:
    table = LeaseTable(FIRST, FIRST + 3, frozenset())
    for number in range(4):
        address = table.choose(bytes((number,)), None, 0.0)
        assert address is not None
        table.give(
            Lease(client=bytes((number,)), mac=mac(number), address=address, expires_at=50.0 + number), 0.0
        )

    assert table.choose(b"new", None, 1.0) is None
    assert table._full_until == 50.0
    assert table.choose(b"new", None, 50.0) == FIRST


def test_leases_survive_the_disk_and_a_changed_clock() -> None:
    lease = Lease(client=b"\x01abc", mac=mac(1), address=FIRST, expires_at=1500.0, name="alpha")
    offer = replace(lease, client=b"x", address=FIRST + 1, is_offer=True)

    text = write_leases([lease, offer], now=1000.0, time_of_day=1_700_000_000.0)

    assert read_leases(text, now=7.0, time_of_day=1_700_000_100.0) == [replace(lease, expires_at=407.0)]


@given(st.text(max_size=40))
def test_any_file_gives_leases_or_settings_error(text: str) -> None:
    try:
        read_leases(text, 0.0, 0.0)
    except SettingsError:
        return


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"version": 2, "leases": []}',
        '{"version": 1, "leases": [{}]}',
        '{"version": 1, "leases": [{"address": "x", "mac": "", "client": "", "name": null, "expires": 1}]}',
        '{"version": 1, "leases": 5}',
        "[" * 100000,
    ],
)
def test_damaged_file_is_refused(text: str) -> None:
    with pytest.raises(SettingsError):
        read_leases(text, 0.0, 0.0)


def test_restored_lease_outside_the_pool_is_dropped() -> None:
    server = DhcpServer(settings("pool=10.1.1.100-10.1.1.103"))
    lease = Lease(client=b"x", mac=mac(1), address=IPv4Address("10.1.1.50"), expires_at=10.0)

    assert not server.restore(lease, 0.0)
    assert server.restore(replace(lease, address=FIRST), 0.0)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            "dhcp://10.1.1.0/24?pool=10.1.2.1-10.1.2.9",
            "pool: 10.1.2.1 is not the address of a host in 10.1.1.0/24",
        ),
        ("dhcp://10.1.1.0/24?pool=10.1.1.9-10.1.1.1", "has no address"),
        ("dhcp://10.0.0.0/8?pool=10.0.0.1-10.9.0.0", "more than 65536"),
        ("dhcp://10.1.1.0/24?pool=10.1.1.9", "not FIRST-LAST"),
        ("dhcp://10.1.1.0/24?pool=10.1.1.0-10.1.1.9", "pool: 10.1.1.0 is not the address of a host"),
        ("dhcp://10.1.1.0/24?router=10.1.2.1", "router: 10.1.2.1"),
        ("dhcp://10.1.1.0/24?static=02:00:00:00:00:01", "not MAC,ADDRESS"),
        ("dhcp://10.1.1.0/24?static=02:00:00:00:00:01,10.1.1.254", "server's own address"),
        ("dhcp://10.1.1.0/24?static=02:00:00:00:00:01,10.1.1.7,a.b", "'a.b' is not a host name"),
        (
            "dhcp://10.1.1.0/24?static=02:00:00:00:00:01,10.1.1.7&static=02:00:00:00:00:02,10.1.1.7",
            "two fixed leases have the same address",
        ),
        ("dhcp://10.1.1.0/31", "a prefix of 31 bits"),
        ("dhcp://10.1.1.255/24", "broadcast address"),
        ("dhcp://fd00::/64", "not an IPv4 network"),
        ("dhcp://", "not an IPv4 network"),
        ("dhcp://10.1.1.0/24?domain=a_b", "not a domain name"),
        ("dhcp://10.1.1.0/24?forward=nobody", "not an IP address"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(text: str, complaint: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse(text)

    assert complaint in str(caught.value)


def test_pool_is_the_upper_half_unless_said_otherwise() -> None:
    assert str(settings("").range) == "10.1.1.128-10.1.1.254"
