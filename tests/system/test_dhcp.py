"""``dhcp://`` with real clients: busybox's udhcpc and ISC's dhclient on TAPs of our switch."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest

from tests.system.lan_parts import Lab, Station, make_lab
from tests.system.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SERVER = "10.1.1.254"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, list[Station]]]:
    """Give a LAN with two stations that have leases: alpha from the pool, beta a fixed one."""
    options = (
        "pool=10.1.1.100-10.1.1.110&router=10.1.1.1&domain=lan.test&mtu=1400&lease=600&forward=host"
        "&static=02:00:00:00:01:02,10.1.1.7,printer"
    )
    with make_lab(tmp_path_factory.mktemp("dhcp")) as made:
        alpha, beta = made.switch(f"dhcp://10.1.1.0/24?{options}", stations=2)
        assert alpha.udhcpc("-x", "hostname:alpha") == {
            "ip": "10.1.1.100",
            "mask": "24",
            "router": "10.1.1.1",
            "dns": SERVER,
            "domain": "lan.test",
            "mtu": "1400",
            "lease": "600",
            "host": "",
        }
        assert beta.udhcpc()["ip"] == "10.1.1.7"
        yield made, [alpha, beta]


def test_stations_reach_each_other(lab: tuple[Lab, list[Station]]) -> None:
    alpha, beta = lab[1]
    wait_until("ping", lambda: alpha.host.can_ping("10.1.1.7"))

    assert beta.host.can_ping("10.1.1.100")
    assert alpha.host.can_ping(SERVER)


def test_names_of_stations_are_answered(lab: tuple[Lab, list[Station]]) -> None:
    alpha, beta = lab[1]

    assert beta.query(SERVER, "alpha.lan.test") == ["10.1.1.100"]
    assert beta.query(SERVER, "ALPHA") == ["10.1.1.100"]
    assert alpha.query(SERVER, "printer.lan.test") == ["10.1.1.7"]
    assert alpha.query(SERVER, "100.1.1.10.in-addr.arpa", "PTR") == ["alpha.lan.test."]
    assert alpha.query(SERVER, "nobody.lan.test") == ["NXDOMAIN"]
    assert alpha.query(SERVER, "printer.lan.test", "AAAA") == ["NODATA"]


def test_other_names_are_forwarded(lab: tuple[Lab, list[Station]]) -> None:
    alpha, _ = lab[1]

    assert alpha.query(SERVER, "www.example.test") == ["10.200.0.2"]
    assert alpha.query(SERVER, "none.example.test") == ["NXDOMAIN"]


def test_isc_client_gets_a_lease_and_all_options(lab: tuple[Lab, list[Station]]) -> None:
    text = lab[1][0].dhclient()

    assert "fixed-address 10.1.1.100;" in text
    assert "option routers 10.1.1.1;" in text
    assert f"option domain-name-servers {SERVER};" in text
    assert "option interface-mtu 1400;" in text
    assert 'option domain-name "lan.test";' in text
    assert "option dhcp-lease-time 600;" in text


def test_leases_are_shown(lab: tuple[Lab, list[Station]]) -> None:
    shown = lab[0].ask("dhcp/print")

    assert "10.1.1.100" in shown
    assert "02:00:00:00:01:02" in shown
    assert "printer" in shown


def test_address_somebody_uses_without_a_lease_is_not_offered(tmp_path: Path) -> None:
    with make_lab(tmp_path) as made:
        squatter, newcomer = made.switch("dhcp://10.1.1.0/24?pool=10.1.1.100-10.1.1.101", stations=2)
        squatter.host.ip("addr add 10.1.1.100/24 dev lan0")

        assert newcomer.udhcpc()["ip"] == "10.1.1.101"
        made.process.wait_for("10.1.1.100 is used by a station without a lease")


def test_exhausted_pool_gives_silence_and_a_log_line(tmp_path: Path) -> None:
    with make_lab(tmp_path) as made:
        first, second = made.switch("dhcp://10.1.1.0/24?pool=10.1.1.100-10.1.1.100", stations=2)
        assert first.udhcpc()["ip"] == "10.1.1.100"

        assert second.udhcpc() == {}
        made.process.wait_for("no address is left for 02:00:00:00:01:02: the pool is exhausted")
        assert "pool exhausted" in made.ask("dhcp/print")

        # A release makes room: -R lets udhcpc release when it is told to end.
        with first.host.start(["busybox", "udhcpc", "-i", "lan0", "-f", "-R", "-s", "/bin/true"]) as client:
            client.wait_for("lease of 10.1.1.100 obtained")
            client.end(signal.SIGTERM)
        made.process.wait_for("10.1.1.100 is given back")
        first.host.ip("addr flush dev lan0")
        assert second.udhcpc()["ip"] == "10.1.1.100"


def test_leases_survive_a_killed_switch(tmp_path: Path) -> None:
    file = tmp_path / "leases.json"
    with make_lab(tmp_path) as made:
        locator = f"dhcp://10.1.1.0/24?pool=10.1.1.100-10.1.1.110&file={file}"
        first, second = made.switch(locator, stations=2)
        assert first.udhcpc("-x", "hostname:first")["ip"] == "10.1.1.100"
        assert second.udhcpc()["ip"] == "10.1.1.101"
        wait_until(
            "leases on disk", lambda: file.exists() and len(json.loads(file.read_text())["leases"]) == 2
        )
        made.process.end(signal.SIGKILL)

        taps = [
            f"tap://lan0?netns={one.host.name}&mac=02:00:00:00:01:0{number}"
            for number, one in ((9, first), (2, second))
        ]
        made.start_switch(*taps, locator)

        # The first has another MAC address now; what it had stays kept for the old one.
        assert first.udhcpc()["ip"] == "10.1.1.102"
        assert second.udhcpc()["ip"] == "10.1.1.101"
        assert second.query(SERVER, "first") == ["10.1.1.100"]


def test_unreadable_file_of_leases_is_said_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "leases.json"
    file.write_text("something else")
    with make_lab(tmp_path) as made:
        from tests.system.processes import VPORT

        done = made.underlay["S"].run([*VPORT, f"dhcp://10.1.1.0/24?file={file}", "host://10.1.1.9/24"])

    assert done.returncode == 1
    assert f"cannot read the leases in {file}" in done.stderr
    assert file.read_text() == "something else"
