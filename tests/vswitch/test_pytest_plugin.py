"""The fixtures in a test suite of somebody else, and the API below them."""

from __future__ import annotations

import sys
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

import vport
import vswitch
from vport.errors import LinkError, RefusedError, SettingsError
from vport.links.host import HostLink

if TYPE_CHECKING:
    from trio.testing import MockClock

pytest_plugins = ["pytester"]

SUITE = """
from ipaddress import ip_address

import pytest
import trio


async def test_a_lan_in_ten_lines(virtual_time, virtual_switch, simulated_host):
    one = await simulated_host("10.1.1.1/24")
    other = await simulated_host("10.1.1.2/24", port=7, delay="20ms")
    assert await one.ping(ip_address("10.1.1.2"), 5.0) > 0
    assert await one.ping(ip_address("10.1.1.2"), 5.0) == pytest.approx(0.04)
    assert [port.number for port in virtual_switch.ports] == [1, 7]
    assert len(virtual_switch.bridge.fdb) == 2


async def test_loss_is_the_same_in_every_run(virtual_time, simulated_host):
    one = await simulated_host("10.1.1.1/24")
    await simulated_host("10.1.1.2/24", loss="LR30%")
    answers = 0
    for _ in range(100):
        with trio.move_on_after(1) as patience:
            await one.ping(ip_address("10.1.1.2"), 2.0)
        answers += not patience.cancelled_caught
    assert answers == {answers}


async def test_cable_between_two_hosts(virtual_time, impaired_cable):
    from vport.links import open_link

    with await open_link("host://10.1.1.1/24") as one:
        wire = await impaired_cable(one, "host://10.1.1.2/24", delay="LR10ms", dup="50%")
        await one.ping(ip_address("10.1.1.2"), 5.0)
        assert await one.ping(ip_address("10.1.1.2"), 5.0) == pytest.approx(0.01)
        assert sum(channel.statistics.duplicated for channel in wire.channels.values()) > 0


def test_without_a_switch_nothing_is_loaded():
    pass
"""


def test_suite_of_somebody_else_uses_the_fixtures(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2]))
    pytester.makepyfile(SUITE.replace("{answers}", "answers"))
    pytester.makeini("[pytest]\ntrio_mode = true\n")
    done = pytester.runpytest_subprocess("-p", "no:vswitch", "-p", "vswitch.pytest_plugin", "-q")
    done.assert_outcomes(passed=4)


def test_plugin_alone_loads_neither_switch_nor_numpy(pytester: pytest.Pytester) -> None:
    code = "import sys, vswitch.pytest_plugin; print(sorted({'numpy', 'vswitch.service'} & set(sys.modules)))"
    root = str(Path(__file__).resolve().parents[2])
    done = pytester.run(sys.executable, "-c", f"import sys; sys.path.insert(0, {root!r}); {code}")
    assert done.stdout.lines == ["[]"]


# --- the API ---


async def test_switch_is_opened_used_and_closed(autojump_clock: MockClock, tmp_path: Path) -> None:
    path = str(tmp_path / "mgmt")
    async with vswitch.open_switch(attach=["host://10.1.1.1/24"], management=path) as switch:
        assert switch.management_path == path
        link = await switch.attach("host://10.1.1.2/24", port=5)
        assert isinstance(link, HostLink)
        assert switch.port_of(link).number == 5
        assert await link.ping(ip_address("10.1.1.1"), 5.0) < 1

        wire = switch.impair(link, delay="LR1s")
        assert await link.ping(ip_address("10.1.1.1"), 5.0) == pytest.approx(1.0)
        assert sum(channel.statistics.delivered for channel in wire.channels.values()) >= 2
        switch.clear(5)
        assert await link.ping(ip_address("10.1.1.1"), 5.0) < 1

        link.close()
        await trio.testing.wait_all_tasks_blocked()
        assert not switch.bridge.ports.get(5).is_active  # type: ignore[union-attr]
        with pytest.raises(SettingsError, match="not plugged into"):
            switch.port_of(link)
    assert not Path(path).exists()


async def test_what_the_block_raises_comes_out_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):  # noqa: PT012 - what comes out of the block is the matter
        async with vswitch.open_switch() as switch:
            await switch.attach("host://10.1.1.1/24")
            raise ZeroDivisionError


async def test_what_cannot_be_opened_is_raised_plainly() -> None:
    with pytest.raises(LinkError):
        async with vswitch.open_switch(attach=["tap://lo"]):
            pass
    async with vswitch.open_switch() as switch:
        with pytest.raises(SettingsError):
            await switch.attach("nonsense")
        with pytest.raises(RefusedError):
            await switch.attach("host://10.1.1.1/24", port=99999)
        with pytest.raises(SettingsError, match="'jitter' is not one of"):
            switch.impair(1, jitter="1ms")
        with pytest.raises(SettingsError, match="there is no port 1"):
            switch.impair(1, loss="1%")


async def test_link_is_open_for_the_length_of_a_block(nursery: trio.Nursery) -> None:
    async with vport.open_link("host://10.1.1.1/24") as one, vport.open_link("host://10.1.1.2/24") as other:
        await nursery.start(vport.run_cable, one, other)
        assert isinstance(one, HostLink)
        with trio.fail_after(5):
            assert await one.ping(ip_address("10.1.1.2"), 2.0) < 2
        nursery.cancel_scope.cancel()


async def test_udp_port_joins_a_switch_of_the_api() -> None:
    async with vswitch.open_switch() as switch:
        await switch.attach("host://10.1.1.1/24")
        listener = await switch.listen("udp://127.0.0.1:19981")
        assert "19981" in listener.description
        async with (
            trio.open_nursery() as nursery,
            vport.open_link("host://10.1.1.2/24") as host,
            vport.open_link("udp://127.0.0.1:19981") as client,
        ):
            assert isinstance(host, HostLink)
            await nursery.start(vport.run_cable, host, client)
            with trio.fail_after(5):
                assert await host.ping(ip_address("10.1.1.1"), 2.0) < 2
            nursery.cancel_scope.cancel()
