"""Guards without spanning tree: loops made on purpose, storms, bridges where none may be."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.system.namespaces import network_namespace
from tests.system.requirements import require_tun
from tests.system.ring import Pinger, Ring, Switch
from tests.system.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OURS, THEIRS = "10.9.0.1", "10.9.0.2"
UDP = "udp://127.0.0.1:9999"
HOST = ("--attach", f"host://{OURS}/24")
STATION = ("--attach", f"tap://station?address={THEIRS}/24")


@pytest.fixture
def ring(tmp_path: Path) -> Iterator[Ring]:
    """Give a namespace."""
    require_tun()
    with network_namespace() as namespace, Ring(namespace, tmp_path) as made:
        yield made


def shut_ports(*switches: Switch) -> list[tuple[int, str]]:
    """Give the ports that guards have shut, each with the reason."""
    ports = [port for switch in switches for port in switch.document("guard/print")]
    return [(port["port"], port["shut"]["reason"]) for port in ports if port["shut"] is not None]


def cpu_seconds(switch: Switch) -> float:
    """Give what a switch has used of the processor."""
    fields = Path(f"/proc/{switch.process.popen.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_loop_of_two_cables_is_cut_and_opens_when_it_is_gone(
    ring: Ring, record_property: Callable[[str, object], None]
) -> None:
    one = ring.switch("one", "--listen", UDP, *HOST, *STATION)
    other = ring.switch("other", "--listen", "udp://127.0.0.1:9998", "--attach", UDP)
    for switch in (one, other):
        switch.ask("guard/setloop 1 3")
    ping = Pinger(ring, OURS)
    ping.wait_for_answer()
    wait_until("the first cable", lambda: len(one.document("port/print")) == 3)

    began, used = time.monotonic(), cpu_seconds(one) + cpu_seconds(other)
    other.ask(f"port/attach {UDP}")
    broadcasts = ring.start("ping", "-b", "-q", "-i", "0.01", "10.9.0.255")
    slowest = slowest_answer_until_cut(one, other, began)
    cut_after = time.monotonic() - began
    used = cpu_seconds(one) + cpu_seconds(other) - used

    assert used < 1.5  # of the two cores for three seconds that a loop may have
    ping.wait_for_answer()
    record_property("cut after, s", round(cut_after, 2))
    record_property("CPU used meanwhile, s", used)
    record_property("slowest answer, s", round(slowest, 3))

    broadcasts.end()
    last = other.document("port/print")[-1]
    other.ask(f"port/detach {last['port']} {last['endpoints'][0]['id']}")
    wait_until("every port open", lambda: not shut_ports(one, other), 15)


def test_loop_through_the_kernel_is_cut_and_the_shell_answers(
    ring: Ring, record_property: Callable[[str, object], None]
) -> None:
    ring.run("ip", "link", "add", "br0", "type", "bridge")
    ring.run("ip", "link", "set", "br0", "up")
    switch = ring.switch("one", "--attach", "tap://ring1?bridge=br0", *HOST, *STATION)
    ping = Pinger(ring, OURS)
    ping.wait_for_answer()

    began, used = time.monotonic(), cpu_seconds(switch)
    switch.ask("port/attach tap://ring2?bridge=br0")
    ring.start("ping", "-b", "-q", "-i", "0.01", "10.9.0.255")
    slowest = slowest_answer_until_cut(switch, switch, began)
    cut_after, used = time.monotonic() - began, cpu_seconds(switch) - used

    assert shut_ports(switch) == [(4, "loop")]  # the younger one
    assert "what port 1 sends comes back on port 4" in switch.process.output or (
        "what port 4 sends comes back on port 1" in switch.process.output
    )
    ping.wait_for_answer()
    record_property("cut after, s", round(cut_after, 2))
    record_property("CPU used meanwhile, s", used)
    record_property("slowest answer, s", round(slowest, 3))


def slowest_answer_until_cut(one: Switch, other: Switch, began: float) -> float:
    """Ask a switch without pause until loop detection has shut a port; the longest time that it took."""
    slowest = 0.0
    while not (shut := shut_ports(one, other)):
        asked = time.monotonic()
        one.ask("showinfo")
        slowest = max(slowest, time.monotonic() - asked)
        assert time.monotonic() - began < 3.0, "the loop is not cut"
    assert {reason for _, reason in shut} == {"loop"}
    assert slowest < 0.5
    return slowest


STORM = """
import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect(("127.0.0.1", 9999))
frame = bytes.fromhex("ffffffffffff 02000000dead 88b5") + bytes(100)
until = time.monotonic() + float(sys.argv[1])
sent = 0
while time.monotonic() < until:
    for _ in range(64):
        s.send(frame)
    sent += 64
print(sent)
"""


def test_storm_from_one_port_leaves_a_ping_between_two_others(
    ring: Ring, record_property: Callable[[str, object], None]
) -> None:
    switch = ring.switch("one", "--listen", UDP, *HOST, *STATION)
    Pinger(ring, OURS).wait_for_answer()

    storm = ring.start("python3", "-c", STORM, "4")
    wait_until("storm control", lambda: "broadcast frames a second" in switch.process.output)
    ping = Pinger(ring, OURS)
    storm.wait(20)
    ping.end()
    sent = int(storm.output)

    assert ping.loss < 0.05
    assert ping.duplicates == 0
    discards = switch.document("port/print")[-1]["discards"]
    assert discards["storm control"] > sent * 0.1
    wait_until("the end of the storm", lambda: "storm is over" in switch.process.output)
    record_property("broadcasts a second", round(sent / 4))
    record_property("loss", ping.loss)


def test_bpdu_guard_shuts_the_port_of_a_real_bridge_and_recovers(ring: Ring) -> None:
    switch = ring.switch("one", "--attach", "tap://ring1", *HOST)
    switch.ask("guard/bpdu 1 1")
    switch.ask("guard/setrecovery 2")

    ring.run("ip", "link", "add", "br0", "type", "bridge", "stp_state", "1", "hello_time", "100")
    ring.run("ip", "link", "set", "ring1", "master", "br0")
    ring.run("ip", "link", "set", "br0", "up")
    wait_until("the guard", lambda: shut_ports(switch) == [(1, "bpdu-guard")])
    assert any("Not forwarding: bpdu-guard: a BPDU came in" in line for line in switch.ask("port/print 1"))

    ring.run("ip", "link", "set", "br0", "type", "bridge", "stp_state", "0")
    wait_until("recovery", lambda: shut_ports(switch) == [])
    assert "works again after bpdu-guard" in switch.process.output
