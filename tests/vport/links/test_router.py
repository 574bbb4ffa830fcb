from __future__ import annotations

from ipaddress import ip_address

import pytest
import trio
from trio.testing import MockClock

from vport.errors import LinkError, SettingsError
from vport.ethernet import Vid
from vport.links.host import HostLink
from vport.locator import parse
from vswitch.api import open_switch
from vswitch.config import PortSettings, SwitchSettings

VLANS = SwitchSettings(
    listen=(),
    vlans=(Vid(10), Vid(20)),
    ports=(
        PortSettings(number=1, pvid=Vid(10)),
        PortSettings(number=2, pvid=Vid(20)),
        PortSettings(number=3, pvid=Vid(4095), tagged=(Vid(10), Vid(20))),
    ),
)


def test_router_on_a_stick_joins_two_vlans_of_a_switch() -> None:
    async def main() -> None:
        async with open_switch(VLANS) as switch:
            one = await switch.attach("host://10.1.1.2/24?gateway=10.1.1.1", port=1)
            await switch.attach("host://10.2.2.2/24?gateway=10.2.2.1", port=2)
            assert isinstance(one, HostLink)
            with pytest.raises(LinkError, match="nobody answers for the gateway"):
                await one.ping(ip_address("10.2.2.2"))
            await switch.attach("router://10.1.1.1/24,10.2.2.1/24?vlan=10,20", port=3)

            assert await one.ping(ip_address("10.2.2.2")) < 1
            with pytest.raises(LinkError, match=r"no route to its network, says 10\.1\.1\.1"):
                await one.ping(ip_address("192.0.2.1"))
            with pytest.raises(LinkError, match=r"the host does not answer, says 10\.1\.1\.1"):
                await one.ping(ip_address("10.2.2.9"))

    trio.run(main, clock=MockClock(autojump_threshold=0))


@pytest.mark.parametrize(
    "text",
    [
        "router://10.1.1.1/24,10.2.2.1/24?vlan=10,20",
        "router://10.1.1.1/24,fd00::1/64?vlan=0,0&gateway=10.1.1.9&mtu=1500",
        "router://10.1.1.1/24",
    ],
)
def test_locator_is_written_as_it_was_read(text: str) -> None:
    assert str(parse(text)) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("router://10.1.1.1/24,10.2.2.1/24?vlan=10", "1 VLANs for 2 addresses"),
        ("router://10.1.1.1/24?vlan=4095", "is not a number from 0 to 4094"),
        ("router://10.1.1.1/24?gateway=10.2.0.1", "in none of the router's networks"),
        ("router://10.1.1.1/24,10.1.1.2/24?vlan=1,2", "in VLAN 1 and in VLAN 2"),
        ("router://10.1.1.0/24", "address of its network"),
        ("router://", "not an address with a prefix length"),
    ],
)
def test_wrong_locator_is_refused(text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        parse(text)
