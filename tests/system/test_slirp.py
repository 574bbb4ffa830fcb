"""The user-mode network with real clients: a station whose only way out is libslirp in our switch."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.system.lan_parts import UDP_ECHO, Lab, Station, make_lab, require_slirp, until_has_ipv6
from tests.system.namespaces import network_namespace
from tests.system.processes import VPORT, Process
from tests.system.requirements import require_program
from tests.system.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GREETING = "hello from outside\n"
OUTSIDE = "10.200.0.2"
SWITCH = "10.200.0.1"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, Station]]:
    """Give a switch with a user-mode network in port 2, and a station with a lease in port 1."""
    require_slirp()
    path = tmp_path_factory.mktemp("slirp")
    (path / "tftp").mkdir()
    (path / "tftp" / "boot.img").write_text("over TFTP")
    options = (
        f"domain=lab.test&hostname=guest&tftp={path}/tftp"
        f"&hostfwd=tcp:{SWITCH}:2222-:22&hostfwd=udp:{SWITCH}:5353-10.0.2.15:53"
        f"&guestfwd=tcp:10.0.2.100:80-tcp:{OUTSIDE}:8000&guestfwd=tcp:10.0.2.100:81-cmd:/bin/cat"
    )
    with make_lab(path) as made:
        (station,) = made.switch(f"slirp://10.0.2.0/24?{options}")
        lease = station.udhcpc()
        assert lease["ip"] == "10.0.2.15"
        assert (lease["router"], lease["dns"], lease["domain"]) == ("10.0.2.2", "10.0.2.3", "lab.test")
        yield made, station


def test_station_fetches_a_page_through_nat(lab: tuple[Lab, Station]) -> None:
    assert lab[1].fetch(f"http://{OUTSIDE}:8000/") == GREETING


def test_station_resolves_names_with_the_machines_server(lab: tuple[Lab, Station]) -> None:
    assert lab[1].query("10.0.2.3", "www.example.test") == [OUTSIDE]
    assert lab[1].query("10.0.2.3", "none.example.test") == ["NXDOMAIN"]


def test_udp_goes_out_and_back(lab: tuple[Lab, Station]) -> None:
    assert lab[1].udp_echo(OUTSIDE) == "round trip"


def test_ipv6_is_announced_and_goes_out(lab: tuple[Lab, Station]) -> None:
    until_has_ipv6(lab[1], "fd00:")

    assert lab[1].fetch("http://[fd20::2]:8000/") == GREETING
    assert lab[1].udp_echo("fd20::2") == "round trip"


def test_isc_client_gets_the_same_lease(lab: tuple[Lab, Station]) -> None:
    text = lab[1].dhclient()

    assert "fixed-address 10.0.2.15;" in text
    assert "option routers 10.0.2.2;" in text


def test_tftp_serves_the_directory(lab: tuple[Lab, Station], tmp_path: Path) -> None:
    require_program("busybox")
    target = tmp_path / "got"

    done = lab[1].host.run(["busybox", "tftp", "-g", "-r", "boot.img", "-l", str(target), "10.0.2.2"])

    assert done.returncode == 0, done.stderr
    assert target.read_text() == "over TFTP"


def test_machines_loopback_is_out_of_reach(lab: tuple[Lab, Station]) -> None:
    made, station = lab
    with made.underlay["S"].start(["python3", "-m", "http.server", "--bind", "127.0.0.1", "8099"]) as server:
        server.wait_for("Serving")

        assert "Failed to connect" in station.fetch("http://10.0.2.2:8099/")


def test_forwarded_port_reaches_a_server_inside(lab: tuple[Lab, Station]) -> None:
    made, station = lab
    outside = Station(made.underlay["O"].name, made.logs)
    with station.serving("inside\n", 22):
        assert outside.fetch(f"telnet://{SWITCH}:2222") == "inside\n"


def test_forwarded_udp_port_reaches_a_server_inside(lab: tuple[Lab, Station]) -> None:
    made, station = lab
    with station.serving("inside got ", 53, "SOCK_DGRAM"):
        done = made.underlay["O"].run(["sh", "-c", f"echo hello | timeout 3 socat -t 1 - UDP:{SWITCH}:5353"])

    assert done.stdout == "inside got hello\n"


def test_forward_is_added_and_removed_at_run_time(lab: tuple[Lab, Station]) -> None:
    made, station = lab
    outside = Station(made.underlay["O"].name, made.logs)
    with station.serving("inside again\n", 8080):
        assert "1000 Success" in made.ask(f"slirp/hostfwd 2 tcp:{SWITCH}:8080-10.0.2.15:8080")
        assert f"hostfwd tcp:{SWITCH}:8080-10.0.2.15:8080" in made.ask("slirp/print")
        assert outside.fetch(f"telnet://{SWITCH}:8080") == "inside again\n"

        assert "1000 Success" in made.ask(f"slirp/hostfwd-del 2 tcp:{SWITCH}:8080")
        assert "Failed to connect" in outside.fetch(f"telnet://{SWITCH}:8080")
    assert "is not forwarded" in made.ask(f"slirp/hostfwd-del 2 tcp:{SWITCH}:8080")


def test_address_inside_leads_to_a_server_outside(lab: tuple[Lab, Station]) -> None:
    assert lab[1].fetch("http://10.0.2.100/") == GREETING


def test_address_inside_leads_to_a_command(lab: tuple[Lab, Station]) -> None:
    done = lab[1].host.run(["sh", "-c", "echo to cat and back | timeout 5 socat -t 2 - TCP:10.0.2.100:81"])

    assert done.stdout == "to cat and back\n"


def test_long_transfers_arrive_whole(lab: tuple[Lab, Station]) -> None:
    require_program("iperf3")
    made, station = lab
    with made.underlay["O"].start(["iperf3", "-s", "--forceflush"]) as server:
        server.wait_for("Server listening")
        for options in ([], ["-R"], ["-P", "4"]):
            done = station.host.run(["iperf3", "-c", OUTSIDE, "-t", "1", *options])
            assert done.returncode == 0, done.stdout + done.stderr


SLOW_READER = """
import socket, time
s = socket.create_server(("", 9), backlog=5)
print("reading", flush=True)
c, _ = s.accept()
total, start = 0, time.monotonic()
while data := c.recv(65536):
    total += len(data)
    time.sleep(0.01)
print("got", total, flush=True)
"""

SEND_MUCH = """
import socket, sys
c = socket.create_connection((sys.argv[1], 9), 5)
c.sendall(bytes(8_000_000))
c.close()
"""


def test_upload_to_a_slow_reader_goes_on_whenever_it_reads(lab: tuple[Lab, Station]) -> None:
    made, station = lab
    with made.underlay["O"].start(["python3", "-c", SLOW_READER]) as reader:
        reader.wait_for("reading")
        assert station.host.run(["python3", "-c", SEND_MUCH, OUTSIDE], seconds=20).returncode == 0
        # 1.5 s at the reader's pace; each window that opens unnoticed would cost 0.2 s and more.
        reader.wait_for("got 8000000", 10)


def test_large_datagrams_come_in_fragments(lab: tuple[Lab, Station]) -> None:
    code = UDP_ECHO.replace('b"round trip"', "bytes(8000)").replace(
        "s.recv(100).decode()", "len(s.recv(9000))"
    )
    done = lab[1].host.run([sys.executable, "-c", code, OUTSIDE])

    assert done.stdout == "8000\n", done.stderr


def test_station_with_a_small_mtu_gets_segments_that_fit(tmp_path: Path) -> None:
    require_slirp()
    require_program("iperf3")
    with make_lab(tmp_path) as made:
        (station,) = made.switch("slirp://10.0.2.0/24")
        station.host.ip("link set lan0 mtu 900")
        station.udhcpc()
        with made.underlay["O"].start(["iperf3", "-s", "--forceflush"]) as server:
            server.wait_for("Server listening")
            done = station.host.run(["iperf3", "-c", OUTSIDE, "-t", "1", "-R", "-J"])
        assert json.loads(done.stdout)["end"]["sum_received"]["bits_per_second"] > 1e7


def test_restricted_network_lets_nothing_out(tmp_path: Path) -> None:
    require_slirp()
    with make_lab(tmp_path) as made:
        forward = f"guestfwd=tcp:10.0.2.100:80-tcp:{OUTSIDE}:8000"
        (station,) = made.switch(f"slirp://10.0.2.0/24?restrict&{forward}")
        assert station.udhcpc()["ip"] == "10.0.2.15"

        assert station.fetch("http://10.0.2.100/") == GREETING
        assert station.fetch(f"http://{OUTSIDE}:8000/", "-m", "2") != GREETING


def test_flows_are_bounded(tmp_path: Path) -> None:
    require_slirp()
    with make_lab(tmp_path) as made:
        (station,) = made.switch("slirp://10.0.2.0/24?sockets=16")
        station.udhcpc()
        many = "import socket\nfor n in range(100): socket.socket(2, 2).sendto(b'x', ('10.200.0.2', 9))"
        station.host.run(["python3", "-c", many])

        wait_until("refusals", lambda: "too many flows" in made.ask("slirp/print"))
        assert "flows 16/16" in made.ask("slirp/print")
        made.process.wait_for("all 16 connections and flows are in use")
        assert made.process.output.count("are in use") == 1


def test_vport_gives_a_foreign_lan_a_way_out(tmp_path: Path) -> None:
    require_slirp()
    with make_lab(tmp_path) as made:
        (station,) = made.switch()
        made.process.end()
        host = station.host.name
        command = [*VPORT, "slirp", f"tap://lan0?netns={host}"]
        with made.underlay["S"].start(command) as port:
            port.wait_for("slirp 10.0.2.2/24 is open")
            assert station.udhcpc()["ip"] == "10.0.2.15"
            assert station.fetch(f"http://{OUTSIDE}:8000/") == GREETING
            assert port.end() == 0


def test_vport_takes_the_place_of_slirpvde_on_a_vde_switch(tmp_path: Path) -> None:
    require_slirp()
    require_program("vde_switch", "vde2")
    with make_lab(tmp_path) as made, network_namespace() as namespace:
        inside, control = made.underlay["S"], tmp_path / "ctl"
        command = inside.inside(["vde_switch", "-s", str(control), "-t", "lan0"])
        switch = Process(command, tmp_path / "vde.log", stdin=subprocess.PIPE)
        assert switch.popen.stdin is not None
        with switch, switch.popen.stdin:  # its console: the end of its input would end the switch
            wait_until("its TAP", lambda: "lan0" in inside.run(["ip", "link"]).stdout)
            inside.ip(f"link set lan0 netns {namespace}")
            station = Station(namespace, tmp_path)
            station.host.ip("link set lan0 up")
            with inside.start([*VPORT, "slirp", f"vde://{control}"]) as port:
                port.wait_for("slirp 10.0.2.2/24 is open")

                assert station.udhcpc()["ip"] == "10.0.2.15"
                assert station.fetch(f"http://{OUTSIDE}:8000/") == GREETING


def test_taken_port_is_said_at_start(tmp_path: Path) -> None:
    require_slirp()
    with make_lab(tmp_path) as made:
        done = made.underlay["O"].run([*VPORT, "slirp://?hostfwd=tcp::8000-:80", "host://10.0.2.9/24"])

    assert done.returncode == 1
    assert "cannot forward tcp:0.0.0.0:8000-:80: Address already in use" in done.stderr
