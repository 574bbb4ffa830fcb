"""The DHCP and name server as a link: its file of leases, forwarded queries, bounds."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
import trio
from scapy.layers.dhcp import BOOTP
from scapy.layers.dns import DNS
from scapy.layers.l2 import ARP, Ether

from tests.vport.dhcp.clients import SERVER, frame, query_frame
from tests.vport.links.places import until
from tests.vport.links.wire import Wire
from vport.errors import LinkError
from vport.ethernet import format_mac
from vport.links import open_link
from vport.links.dhcp import MAX_QUEUED_BYTES, DhcpLink
from vport.train import Train, lone

if TYPE_CHECKING:
    from pathlib import Path

POOL = "dhcp://10.1.1.0/24?pool=10.1.1.100-10.1.1.103"


async def opened(text: str) -> DhcpLink:
    link = await open_link(text)
    assert isinstance(link, DhcpLink)
    return link


async def lease(link: DhcpLink, wire: Wire, number: int, **more: Any) -> str:
    """Go through the whole exchange; give the address."""
    link.transmit(lone(frame(number, "discover", **more)))
    offer = await wire.take(BOOTP)
    link.transmit(
        lone(frame(number, "request", requested_addr=offer[BOOTP].yiaddr, server_id=SERVER, **more))
    )
    address: str = (await wire.take(BOOTP))[BOOTP].yiaddr
    return address


async def test_server_announces_itself_and_hands_out_addresses(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    wire = Wire()
    with await opened(POOL) as link:
        await nursery.start(link.run, wire)
        assert (await wire.take(ARP))[ARP].psrc == SERVER

        assert await lease(link, wire, 1, hostname=b"alpha") == "10.1.1.100"

        assert "10.1.1.100 is given to 02:00:00:00:01:01 (alpha)" in caplog.text
        assert any("10.1.1.100" in line and "alpha" in line for line in link.describe())
        assert "1 sent ACK" in link.describe()


async def test_leases_are_written_within_a_second_and_read_again(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    file = tmp_path / "leases"
    wire = Wire()
    with await opened(f"{POOL}&file={file}") as link:
        await nursery.start(link.run, wire)
        await lease(link, wire, 1)
        await until(file.exists)
    assert [path.name for path in tmp_path.iterdir()] == ["leases"]
    assert json.loads(file.read_text())["leases"][0]["address"] == "10.1.1.100"

    with await opened(f"{POOL}&file={file}") as link:
        await nursery.start(link.run, wire)
        assert await lease(link, wire, 2) == "10.1.1.101"
        assert await lease(link, wire, 1) == "10.1.1.100"


async def test_last_change_is_written_when_the_link_ends(tmp_path: Path) -> None:
    file = tmp_path / "leases"
    wire = Wire()
    async with trio.open_nursery() as nursery:
        link = await opened(f"{POOL}&file={file}")
        await nursery.start(link.run, wire)
        await lease(link, wire, 1)
        nursery.cancel_scope.cancel()

    assert "10.1.1.100" in file.read_text()


async def test_file_that_cannot_be_written_is_told_and_the_server_goes_on(
    nursery: trio.Nursery, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory = tmp_path / "gone"
    directory.mkdir()
    wire = Wire()
    with await opened(f"{POOL}&file={directory}/leases") as link:
        await nursery.start(link.run, wire)
        directory.rmdir()
        await lease(link, wire, 1)
        await until(lambda: "cannot keep the leases" in caplog.text)
        assert await lease(link, wire, 2) == "10.1.1.101"


async def test_impossible_files_are_refused_at_start(tmp_path: Path) -> None:
    (tmp_path / "bad").write_bytes(b"\xff\xfe")
    for path, complaint in (
        (tmp_path / "bad", "cannot read the leases"),
        (tmp_path, "cannot read the leases"),
        (tmp_path / "none" / "leases", "no directory that may be written"),
    ):
        with pytest.raises(LinkError, match=complaint):
            await open_link(f"{POOL}&file={path}")


async def test_unreachable_name_server_is_a_server_failure(nursery: trio.Nursery) -> None:
    wire = Wire()
    with await opened(f"{POOL}&forward=127.254.254.254") as link:  # nobody listens there
        await nursery.start(link.run, wire)
        query = query_frame(9, "10.1.1.50", "www.example.org")
        link.transmit(lone(query.replace(bytes.fromhex("0200000000fe"), link.station or b"")))

        with trio.fail_after(8):
            answer = (await wire.take(DNS))[DNS]

    assert (answer.rcode, answer.ra) == (2, 1)


async def test_superframes_and_closed_links_are_counted(nursery: trio.Nursery) -> None:
    link = await opened(POOL)
    link.close()
    link.close()

    link.transmit(Train(bytes(120), 60))

    assert link.discards["closed"] == 2
    await link.run(Wire())


async def test_answers_nobody_takes_are_bounded() -> None:
    link = await opened(POOL)
    arp = bytes(
        Ether(src="02:00:00:00:00:01", dst=format_mac(link.station or b""))
        / ARP(hwsrc="02:00:00:00:00:01", psrc="10.1.1.1", pdst=SERVER)
    ).ljust(60, b"\0")

    link.transmit(Train(arp * 10000, len(arp)))

    assert link._queued_bytes <= MAX_QUEUED_BYTES
    assert link.discards["queue full"] > 0
