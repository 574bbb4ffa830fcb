from __future__ import annotations

from ipaddress import ip_address

import pytest
import trio

from vport.cable import run_cable
from vport.errors import LinkError
from vport.links import open_link, open_listener
from vport.links.base import Link, Sink
from vport.links.host import HostLink


async def open_host(locator: str) -> HostLink:
    link = await open_link(locator)
    assert isinstance(link, HostLink)
    return link


async def test_two_hosts_ping_each_other_over_a_cable(nursery: trio.Nursery) -> None:
    with await open_host("host://10.1.1.1/24") as one, await open_host("host://10.1.1.2/24") as other:
        await nursery.start(run_cable, one, other)

        with trio.fail_after(5):
            assert await one.ping(ip_address("10.1.1.2"), 2.0) < 2
            assert await other.ping(ip_address("10.1.1.1"), 2.0) < 2
        nursery.cancel_scope.cancel()


async def test_cable_ends_when_one_link_ends(nursery: trio.Nursery) -> None:
    with await open_host("host://10.1.1.1/24") as one, await open_host("host://10.1.1.2/24") as other:
        with trio.fail_after(5):
            async with trio.open_nursery() as inner:
                await inner.start(run_cable, one, other)
                one.close()


class BrokenLink(Link):
    """Breaks as soon as it runs."""

    description = "broken"
    module = "test"

    def transmit(self, train: object) -> None:
        pass

    async def run(self, sink: Sink, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        await trio.lowlevel.checkpoint()
        raise LinkError("it broke")

    def close(self) -> None:
        pass


async def test_link_that_breaks_breaks_the_cable() -> None:
    one = await open_host("host://10.1.1.1/24")
    with one, pytest.RaisesGroup(LinkError, flatten_subgroups=True):
        await run_cable(BrokenLink(), one)


async def test_udp_client_announces_the_station_at_the_other_end_of_its_cable() -> None:
    with await open_host("host://10.1.1.1/24") as one, await open_link("udp://127.0.0.1:9") as client:
        client.station = None
        with trio.move_on_after(0.05):
            await run_cable(client, one)
        assert client.station == one.station


@pytest.mark.parametrize("text", ["tap://tap0", "host://10.1.1.1/24"])
async def test_what_does_not_listen_says_so(text: str) -> None:
    from vport.errors import SettingsError

    with pytest.raises(SettingsError, match="does not listen; attach it instead"):
        await open_listener(text)
