"""Spanning tree in rings with real bridges: one port blocks, and when a cable goes, a ping goes on."""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.system.namespaces import network_namespace
from tests.system.requirements import require_program, require_tun
from tests.system.ring import OpenVSwitch, Pinger, Ring, Switch
from tests.system.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future
    from pathlib import Path

OURS, THEIRS = "10.9.0.1", "10.9.0.2"
FIRST, LAST = 4096, 61440  # bridge priorities: sure to be the root, and sure not to be (others have 32768)
CABLES = ("--attach", "tap://ring1", "--attach", "tap://ring2")
HOST = ("--attach", f"host://{OURS}/24")
HELLO_TIME, MAX_AGE, FORWARD_DELAY = 1, 6, 4  # the shortest that the standard allows
TIMES = f"{HELLO_TIME} {MAX_AGE} {FORWARD_DELAY}"


@pytest.fixture
def ring(tmp_path: Path) -> Iterator[Ring]:
    """Give a namespace for a ring."""
    require_tun()
    with network_namespace() as namespace, Ring(namespace, tmp_path) as made:
        yield made


def blocked(switch: Switch) -> list[int]:
    """Give the ports that do not forward."""
    return [port for port, state in switch.states().items() if state != "forwarding"]


# --- Open vSwitch: rapid spanning tree ---


def ring_with_open_vswitch(ring: Ring, priority: int, *options: str) -> tuple[Switch, OpenVSwitch]:
    switch = ring.switch("ours", "-F", "--priority", str(priority), *CABLES, *HOST, *options)
    peer = OpenVSwitch(ring)
    peer.add_bridge("rstp_enable=true")
    for cable in ("ring1", "ring2"):
        peer.add_port(cable)
    ring.run("ip", "addr", "add", f"{THEIRS}/24", "dev", "ovs0")
    ring.run("ip", "link", "set", "ovs0", "up")
    return switch, peer


@pytest.mark.parametrize("priority", [FIRST, LAST], ids=["we are root", "Open vSwitch is root"])
def test_ring_with_open_vswitch_survives_a_cable(
    ring: Ring, priority: int, record_property: Callable[[str, object], None]
) -> None:
    switch, peer = ring_with_open_vswitch(ring, priority)
    ping = Pinger(ring, OURS)
    ping.wait_for_answer()

    def one_blocks() -> bool:
        return len(blocked(switch)) + peer.rstp().count("Alternate") == 1

    wait_until("one blocked port", one_blocks)
    assert switch.tree()["is_root"] is (priority == FIRST)
    assert all(port["protocol"] == "rstp" for port in switch.tree()["ports"])

    ring.run("ip", "link", "del", "ring1")  # the cable that is in use: of equal costs, the lower number's
    wait_until("no blocked port", lambda: not blocked(switch) and "Alternate" not in peer.rstp())
    ping.wait_for_answer()

    assert ping.longest_silence < 2.0, f"{ping.longest_silence:.2f} s without an answer"
    assert ping.duplicates == 0
    record_property("failover, s", round(ping.longest_silence, 3))


def test_cable_that_falls_silent_is_given_up_after_three_hellos(ring: Ring) -> None:
    switch, peer = ring_with_open_vswitch(ring, LAST)
    peer.set(
        "set", "bridge", "ovs0", "other_config:rstp-max-age=6", "other_config:rstp-forward-delay=4",
    )  # fmt: skip
    ping = Pinger(ring, OURS)
    ping.wait_for_answer()
    wait_until("one blocked port", lambda: blocked(switch) == [2])

    ring.run("ip", "link", "set", "ring1", "down")
    wait_until("the other cable", lambda: switch.tree()["root_port"] == 2)
    ping.wait_for_answer()

    assert ping.longest_silence < 3 * 2 + 1  # Open vSwitch sends its hello every 2 s (17.21.23)


def test_bpdus_are_decoded_by_tcpdump_and_tshark_without_complaint(ring: Ring) -> None:
    require_program("tcpdump")
    require_program("tshark")
    capture = str(ring.directory / "bpdus.pcap")
    switch = ring.switch("ours", "-F", "--attach", "tap://ring1", "--attach", "tap://ring2")
    switch.ask(f"fstp/settimes {TIMES}")
    switch.ask("vlan/create 10")
    switch.ask("vlan/addport 10 1")
    dump = ring.start("tcpdump", "-i", "ring1", "-U", "-w", capture, "-c", "8", "ether dst 01:80:c2:00:00:00")
    assert dump.wait(15) == 0

    lines = ring.run("tcpdump", "-n", "-e", "-v", "-r", capture).splitlines()
    decoded = ring.run(
        "tshark", "-r", capture, "-T", "fields", "-e", "stp.version", "-e", "stp.type", "-e", "vlan.id",
        "-e", "_ws.malformed", "-e", "_ws.expert.message",
    ).splitlines()  # fmt: skip

    assert any("802.1w, Rapid STP" in line and "vlan 10" in line for line in lines)
    assert not [line for line in lines if "invalid" in line or "[|" in line]
    assert {line.rstrip() for line in decoded} == {"2\t0x02", "2\t0x02\t10"}


# --- rings that mostly wait for timers: all at once, each with a test that waits for its end ---


Failover = float
"""How long a ping had no answer when a cable went, in seconds."""

PRIORITIES = pytest.mark.parametrize("priority", [FIRST, LAST], ids=["we are root", "the other is root"])


@pytest.fixture(scope="module")
def slow_rings(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[tuple[str, int], Future[Failover]]]:
    """Give what becomes of each ring."""
    require_tun()

    def try_ring(name: str, priority: int) -> Failover:
        with network_namespace() as namespace, Ring(namespace, tmp_path_factory.mktemp(name)) as ring:
            return SLOW_RINGS[name](ring, priority)

    with ThreadPoolExecutor(2 * len(SLOW_RINGS)) as pool:
        yield {
            (name, priority): pool.submit(try_ring, name, priority)
            for name in SLOW_RINGS
            for priority in (FIRST, LAST)
        }


@PRIORITIES
def test_ring_with_the_linux_bridge_survives_a_cable_by_the_timers(
    slow_rings: dict[tuple[str, int], Future[Failover]],
    priority: int,
    record_property: Callable[[str, object], None],
) -> None:
    record_property("failover, s", round(slow_rings["linux", priority].result(), 3))


@PRIORITIES
def test_ring_with_vde_switch_is_cut_and_survives_a_cable(
    slow_rings: dict[tuple[str, int], Future[Failover]],
    priority: int,
    record_property: Callable[[str, object], None],
) -> None:
    record_property("failover, s", round(slow_rings["vde", priority].result(), 3))


# the Linux bridge: classic spanning tree


def ring_with_the_linux_bridge(ring: Ring, priority: int) -> Failover:
    switch = ring.switch("ours", "-F", "--priority", str(priority))
    switch.ask(f"fstp/settimes {TIMES}")  # before a port comes up: it listens for the max age of then
    for place in (*CABLES[1::2], HOST[1]):
        switch.ask(f"port/attach {place}")
    times = f"hello_time {HELLO_TIME}00 max_age {MAX_AGE}00 forward_delay {FORWARD_DELAY}00"
    ring.run(*f"ip link add br0 type bridge stp_state 1 {times}".split())
    for cable in ("ring1", "ring2"):
        ring.run("ip", "link", "set", cable, "master", "br0")
    ring.run("ip", "addr", "add", f"{THEIRS}/24", "dev", "br0")
    ring.run("ip", "link", "set", "br0", "up")
    ping = Pinger(ring, OURS)
    ping.wait_for_answer()

    def one_blocks() -> bool:
        return len(blocked(switch)) + linux_blocked(ring) == 1

    wait_until("one blocked port", one_blocks, 20)
    assert switch.tree()["is_root"] is (priority == FIRST)
    assert {port["protocol"] for port in switch.tree()["ports"] if port["port"] != 3} == {"stp"}

    ring.run("ip", "link", "del", "ring1")
    wait_until("no blocked port", lambda: not blocked(switch) and linux_blocked(ring) == 0, 20)
    ping.wait_for_answer()

    limit = 2 * FORWARD_DELAY + HELLO_TIME + 2  # listening and learning; the loss is noticed at once
    assert ping.longest_silence < limit, f"{ping.longest_silence:.2f} s without an answer"
    assert ping.duplicates == 0
    return ping.longest_silence


def linux_blocked(ring: Ring) -> int:
    """Count the ports of the kernel's bridge that do not forward."""
    shown = json.loads(ring.run("ip", "-d", "-j", "link", "show", "master", "br0"))
    return sum(port["linkinfo"]["info_slave_data"]["state"] != "forwarding" for port in shown)


# vde_switch: its own dialect


def ring_with_vde_switch(ring: Ring, priority: int) -> Failover:
    require_program("vde_switch", "vde2")
    switch = ring.switch("ours", "-F", "--priority", str(priority), *CABLES, *HOST)
    folder = ring.directory
    console = ("-M", f"{folder}/vde.mgmt", "-f", "/dev/null")
    devices = ("-t", "vde1", "-t", "vde2", "-t", "station")
    # It ends with its standard input.
    ring.start("vde_switch", "-F", "-s", f"{folder}/ctl", *console, *devices, stdin=subprocess.PIPE)
    for cable in ("1", "2"):
        wait_until("vde_switch's device", lambda: "station" in ring.run("ip", "-o", "link"))
        ring.run("ip", "link", "add", f"cable{cable}", "type", "bridge")
        for device in (f"ring{cable}", f"vde{cable}"):
            ring.run("ip", "link", "set", device, "master", f"cable{cable}", "up")
        ring.run("ip", "link", "set", f"cable{cable}", "up")
    ring.run("ip", "addr", "add", f"{THEIRS}/24", "dev", "station")
    ring.run("ip", "link", "set", "station", "up")
    ping = Pinger(ring, OURS)
    ping.wait_for_answer(40)

    wait_until("the dialect", lambda: "fstp" in {port["protocol"] for port in switch.tree()["ports"]})
    assert switch.tree()["is_root"] is (priority == FIRST)
    received = sum(port["bpdus"]["received"] for port in switch.tree()["ports"])
    assert received < 100, "a storm of BPDUs"

    ring.run("ip", "link", "set", "ring1", "nomaster")
    ring.run("ip", "link", "del", "ring1")
    ping.wait_for_answer(60)
    assert ping.longest_silence < 17, "it gives up old information after 11 to 15 s"
    assert ping.duplicates < 10, "it forwards at once on a new link, before it knows that there is a loop"
    return ping.longest_silence


SLOW_RINGS: dict[str, Callable[[Ring, int], Failover]] = {
    "linux": ring_with_the_linux_bridge,
    "vde": ring_with_vde_switch,
}
