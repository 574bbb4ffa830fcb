"""A project's own tests on a LAN that exists in memory only. The fixtures come with vswitch.

``virtual_time`` lets a minute pass in no time; ``virtual_switch`` is a switch, ``simulated_host`` plugs hosts
in.
"""

from __future__ import annotations

from ipaddress import ip_address

import pytest
import trio
from beacon import LIFETIME, BeaconLink

from vport.errors import LinkError


@pytest.fixture
def plug_in(virtual_switch):
    async def plug(name, **faults):
        link = await virtual_switch.attach(BeaconLink(name))
        if faults:
            virtual_switch.impair(link, seed=1, **faults)
        return link

    return plug


async def test_stations_find_one_another(virtual_time, plug_in):
    links = [await plug_in(name) for name in ("a", "b", "c")]

    await trio.sleep(2)

    assert [link.beacon.peers for link in links] == [{"b", "c"}, {"a", "c"}, {"a", "b"}]


async def test_station_that_has_gone_is_forgotten(virtual_time, plug_in):
    one, other = await plug_in("a"), await plug_in("b")
    await trio.sleep(2)

    other.close()
    await trio.sleep(LIFETIME - 1.5)
    assert one.beacon.peers == {"b"}
    await trio.sleep(3)

    assert one.beacon.peers == set()


async def test_lossy_cable_does_not_make_stations_forget(virtual_time, plug_in):
    one = await plug_in("a")
    await plug_in("b", loss="10%", delay="50ms+40ms")

    await trio.sleep(5)
    for _ in range(600):  # ten minutes
        await trio.sleep(1)
        assert one.beacon.peers == {"b"}


async def test_cut_cable_is_noticed_and_so_is_its_repair(virtual_time, virtual_switch, plug_in):
    one, other = await plug_in("a"), await plug_in("b")
    virtual_switch.impair(other, loss="100%")
    await trio.sleep(10)
    assert (one.beacon.peers, other.beacon.peers) == (set(), set())

    virtual_switch.clear(other)
    await trio.sleep(2)

    assert (one.beacon.peers, other.beacon.peers) == ({"b"}, {"a"})


async def test_beacons_do_not_disturb_a_network_with_a_router(
    virtual_time, virtual_switch, simulated_host, plug_in
):
    beacon = await plug_in("a")
    one = await simulated_host("10.1.0.2/24?gateway=10.1.0.1")
    await simulated_host("10.2.0.2/24?gateway=10.2.0.1")
    with pytest.raises(LinkError, match="nobody answers for the gateway"):
        await one.ping(ip_address("10.2.0.2"))

    await virtual_switch.attach("router://10.1.0.1/24,10.2.0.1/24")

    assert await one.ping(ip_address("10.2.0.2")) < 1
    assert beacon.beacon.peers == set()  # hosts and routers are no beacons
