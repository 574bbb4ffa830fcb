"""Fixtures for tests that need a LAN: a switch, simulated hosts, faults, virtual time.

    async def test_two_hosts_see_each_other(virtual_time, simulated_host):
        one = await simulated_host("10.1.1.1/24")
        other = await simulated_host("10.1.1.2/24", delay="20ms", loss="LR10%")
        assert await one.ping(ip_address("10.1.1.2"), 5.0) == pytest.approx(0.04)

They are asynchronous, by pytest-trio; where that is not installed there are none. Nothing is imported and no
switch runs for tests that do not ask for one.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Protocol, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock

    from vport.impairment import Wire
    from vport.links.base import Link
    from vport.links.host import HostLink
    from vswitch.api import RunningSwitch

try:
    from pytest_trio import trio_fixture
except ImportError:  # an entry point is loaded in every run of pytest, wherever this package is installed
    trio_fixture = None

F = TypeVar("F")
SEED = 1  # of all that is left to chance, so that a test does the same each time


class SimulatedHost(Protocol):
    """What the fixture ``simulated_host`` gives."""

    async def __call__(self, address: str, *, port: int | None = None, **faults: str) -> HostLink:
        """Plug a host with this address (``10.1.1.1/24``) in, with faults on its port if wished."""


class ImpairedCable(Protocol):
    """What the fixture ``impaired_cable`` gives."""

    async def __call__(self, one: Link | str, other: Link | str, **faults: str) -> Wire:
        """Join two links, or what locators name, by a cable with faults until the test ends."""


@pytest.fixture
def virtual_time() -> MockClock:
    """A clock that leaps to the next deadline whenever nothing else is to be done."""
    from trio.testing import MockClock

    return MockClock(autojump_threshold=0)


def _fixture(function: F) -> F:
    """Make a fixture that runs under Trio, whatever mode the suite has set."""
    made: F = trio_fixture(function)
    return made


if trio_fixture is not None:

    @_fixture
    async def virtual_switch() -> AsyncIterator[RunningSwitch]:
        """A switch without anything plugged in; ``attach``, ``listen`` and ``impair`` change that."""
        from vswitch.api import open_switch

        async with open_switch() as switch:
            yield switch

    @_fixture
    def simulated_host(virtual_switch: RunningSwitch) -> SimulatedHost:
        """Plug simulated hosts into ``virtual_switch``."""
        from vport.links.host import HostLink

        async def plug_in(address: str, *, port: int | None = None, **faults: str) -> HostLink:
            link = await virtual_switch.attach(f"host://{address}", port=port)
            assert isinstance(link, HostLink)
            if faults:
                virtual_switch.impair(link, seed=SEED, **faults)
            return link

        return plug_in

    @_fixture
    async def impaired_cable() -> AsyncIterator[ImpairedCable]:
        """Join links by cables with faults."""
        import trio

        from vport.cable import run_cable
        from vport.impairment import Wire
        from vport.links import open_link

        async with AsyncExitStack() as opened, trio.open_nursery() as nursery:

            async def join(one: Link | str, other: Link | str, **faults: str) -> Wire:
                ends = [
                    opened.enter_context(await open_link(end)) if isinstance(end, str) else end
                    for end in (one, other)
                ]
                wire = Wire(SEED)
                for name, text in faults.items():
                    wire.read(name, text)
                await nursery.start(run_cable, ends[0], ends[1], wire)
                return wire

            yield join
            nursery.cancel_scope.cancel()
