"""The guard menu: what it prints, what it sets, what it refuses."""

from __future__ import annotations

import errno
import json

import pytest

from tests.vswitch.management.small_switch import SmallSwitch
from tests.vswitch.management.test_menus import Operator
from vport.ethernet import BROADCAST, MacAddress, Vid
from vport.profile import PortProfile
from vport.train import lone
from vswitch.guards import LimitAction, LimitExceeded, MacFlapping, StormKind
from vswitch.guards.mac_limit import LIMIT_MAX
from vswitch.guards.port_guards import Shut, ShutReason
from vswitch.management.messages import describe
from vswitch.topology_events import (
    AddressLimitReached,
    BpdusRefused,
    LoopFound,
    OpenCause,
    PortOpened,
    PortShutDown,
    StationFlaps,
    StormBegan,
    StormEnded,
    TopologyEvent,
)
from vswitch.topology_log import is_warning, log_line

A, B = (MacAddress(bytes.fromhex(f"0200000000{number:02x}")) for number in (0xA, 0xB))


@pytest.fixture
def switch() -> SmallSwitch:
    made = SmallSwitch()
    made.plug("far", 1, module="udp")
    made.plug("near", 2, module="tuntap")
    return made


@pytest.fixture
def ask(switch: SmallSwitch) -> Operator:
    return Operator(switch)


def loop(switch: SmallSwitch) -> None:
    """Let the probe of port 1 come in on port 2."""
    switch.pass_time(1.5)
    port = switch.bridge.ports.get(2)
    assert port is not None
    sent = switch.bridge.ports.get(1).endpoints[0].link.sent  # type: ignore[union-attr, attr-defined]
    probe = [frame for frame in sent if frame[6:12] == switch.mac][-1]
    switch.bridge.receive(port, lone(probe), switch.clock)
    switch.publish_events()


def test_settings_of_all_ports_are_shown_and_set(ask: Operator) -> None:
    assert ask("guard/showinfo") == (
        0,
        [
            "Loop detection: a probe every 1 s, recovery 300 s",
            "BPDU guard: recovery 300 s",
            "Flapping: 5 moves within 10 s",
        ],
    )
    for line in ("guard/setloop 2 60", "guard/setrecovery 0", "guard/setflap 9 20"):
        assert ask(line) == (0, None)
    assert ask("guard/showinfo") == (
        0,
        [
            "Loop detection: a probe every 2 s, recovery 60 s",
            "BPDU guard: recovery never",
            "Flapping: 9 moves within 20 s",
        ],
    )


def test_guards_of_ports_are_printed_with_the_defaults_of_their_links(ask: Operator) -> None:
    assert ask("guard/print") == (
        0,
        [
            "Port 0001 bpdu=0 root=0 topology=0 loop=1",
            " storm broadcast=500 multicast=2000 unknown=5000 frames/s (0: no limit)",
            "Port 0002 bpdu=0 root=0 topology=0 loop=1",
            " storm broadcast=0 multicast=0 unknown=0 frames/s (0: no limit)",
        ],
    )


def test_guards_of_a_port_are_set(switch: SmallSwitch, ask: Operator) -> None:
    for line in (
        "guard/bpdu 2 1", "guard/root 2 1", "guard/topology 2 1", "guard/loop 2 0",
        "guard/storm 2 10 0 30", "guard/maclimit 2 5 protect 0",
    ):  # fmt: skip
        assert ask(line) == (0, None)
    assert ask("guard/print 2") == (
        0,
        [
            "Port 0002 bpdu=1 root=1 topology=1 loop=0",
            " storm broadcast=10 multicast=0 unknown=30 frames/s (0: no limit)",
            " addresses limit=5 action=protect recovery=never",
        ],
    )
    document = json.loads("\n".join(ask("guard/print 2 -j")[1] or ()))[0]
    assert document["storm"]["broadcast"] == 10
    assert document["address_limit"]["action"] == LimitAction.PROTECT

    ask("guard/stormdefault 2")
    ask("guard/maclimit 2 0")
    port = switch.bridge.ports.get(2)
    assert port is not None
    assert port.storm is None
    assert port.mac_limit is None


@pytest.mark.parametrize(
    ("line", "number", "said"),
    [
        ("guard/bpdu 9 1", errno.ENXIO, "port 9 does not exist"),
        ("guard/storm 1 1 1", errno.EINVAL, "UNKNOWN is missing"),
        ("guard/storm 1 1 1 10000001", errno.EINVAL, "UNKNOWN must be a number from 0"),
        ("guard/maclimit 1 5 explode", errno.EINVAL, "protect, restrict or shutdown"),
        ("guard/maclimit 1 65536", errno.EINVAL, "N must be a number from 0 to 65535"),
        ("guard/recover 33", errno.EINVAL, "PORT must be a number from 1 to 32"),
        ("guard/setloop 61 5", errno.EINVAL, "INTERVAL must be a number from 0 to 60"),
        ("guard/setflap 1 5", errno.EINVAL, "MOVES must be a number from 2"),
    ],
)
def test_what_cannot_be_is_refused(ask: Operator, line: str, number: int, said: str) -> None:
    assert ask(line)[0] == number
    assert said in ask.detail(line)


def test_port_that_is_shut_says_why_and_until_when_and_can_be_opened(
    switch: SmallSwitch, ask: Operator
) -> None:
    loop(switch)
    switch.pass_time(10)
    _, lines = ask("port/print 2")
    assert lines is not None
    assert lines[-1] == " Not forwarding: loop: loop with port 1; opens in 290 s"
    assert not any("Not forwarding" in line for line in ask("port/print 1")[1] or ())
    assert any("shut by loop: loop with port 1" in line for line in ask("guard/print 2")[1] or ())
    document = json.loads("\n".join(ask("port/print 2 -j")[1] or ()))[0]
    assert document["guards"]["shut"]["reason"] == "loop"
    assert 289 < document["guards"]["shut"]["recovers_in"] < 291

    assert ask("guard/recover 2") == (0, None)
    assert not any("Not forwarding" in line for line in ask("port/print 2")[1] or ())


def test_changing_loop_detection_opens_what_it_had_shut(switch: SmallSwitch, ask: Operator) -> None:
    loop(switch)
    ask("guard/setloop 1 5")
    port = switch.bridge.ports.get(2)
    assert port is not None
    assert port.shut is None
    switch.publish_events()
    loop(switch)
    assert port.shut is not None
    assert port.shut.recover_at == pytest.approx(switch.clock + 5)


def test_no_probes_are_sent_while_loop_detection_is_off(switch: SmallSwitch, ask: Operator) -> None:
    ask("guard/setloop 0 300")
    assert (ask("guard/showinfo")[1] or [])[0] == "Loop detection: off, recovery 300 s"
    switch.plug("new", 3)
    switch.pass_time(10)
    ports = list(switch.bridge.ports)
    assert not any(port.endpoints[0].link.sent for port in ports)  # type: ignore[attr-defined]

    ask("guard/setloop 1 300")
    switch.pass_time(2)
    assert all(port.endpoints[0].link.sent for port in ports)  # type: ignore[attr-defined]


def test_guards_count_what_they_discard(switch: SmallSwitch, ask: Operator) -> None:
    ask("guard/maclimit 1 1 restrict")
    port = switch.bridge.ports.get(1)
    assert port is not None
    for source in (A, B):
        switch.bridge.receive(port, lone(BROADCAST + source + bytes(50)), switch.clock)
    assert (ask("guard/print 1")[1] or [])[-1] == "          1 too many addresses behind the port"


SHUT = Shut(reason=ShutReason.LOOP, detail="loop with port 3", since=10.0, recover_at=310.0)
EXCEEDED = LimitExceeded(vid=Vid(0), mac=A, limit=5, discarded=1, is_shut=False, recover_at=None)
FLAPPING = MacFlapping(vid=Vid(1), mac=A, ports=(2, 3), moves=5, suppressed=4)


@pytest.mark.parametrize(
    ("event", "tag", "text", "line", "warns"),
    [
        (
            PortShutDown(port=4, shut=SHUT), 0o051, "Port 0004 loop: loop with port 3",  # type: ignore[arg-type]
            "port 4 is shut by loop: loop with port 3; it is tried again in 300 s, or with guard/recover",
            True,
        ),
        (
            PortOpened(port=4, reason=ShutReason.LOOP, cause=OpenCause.TIMER), 0o052,  # type: ignore[arg-type]
            "Port 0004 loop: its pause is over", "port 4 works again after loop: its pause is over", False,
        ),
        (
            LoopFound(sent_on=3, received_on=4, vid=Vid(0), shut=4), 0o053,  # type: ignore[arg-type]
            "Port 0003 -> Port 0004 VLAN 00:00 shut Port 0004",
            "loop: what port 3 sends comes back on port 4 (VLAN 0); port 4 is the younger one and is shut",
            True,
        ),
        (
            StationFlaps(flapping=FLAPPING), 0o054, "02:00:00:00:00:0a VLAN 00:01 Ports 0002,0003 moves 5",
            "station 02:00:00:00:00:0a appears on ports 2, 3 in turn (VLAN 1); 4 other stations do, too",
            True,
        ),
        (
            StormBegan(port=4, kind=StormKind.UNKNOWN_UNICAST, limit=9), 0o055,  # type: ignore[arg-type]
            "Port 0004 unknown unicast begins, limit 9",
            "port 4 floods more than 9 unknown unicast frames a second", True,
        ),
        (
            StormEnded(port=4, kind=StormKind.BROADCAST, discarded=7), 0o055,  # type: ignore[arg-type]
            "Port 0004 broadcast ends, discarded 7",
            "port 4: the broadcast storm is over; 7 frames discarded", False,
        ),
        (
            AddressLimitReached(port=4, exceeded=EXCEEDED), 0o056,  # type: ignore[arg-type]
            "Port 0004 02:00:00:00:00:0a VLAN 00:00 limit 5",
            "port 4 has its 5 addresses already; 02:00:00:00:00:0a (VLAN 0) is kept out", True,
        ),
        (
            BpdusRefused(port=4, count=3), 0o057, "Port 0004 discarded 3",  # type: ignore[arg-type]
            "port 4 has root guard: 3 BPDUs were discarded", True,
        ),
    ],
)  # fmt: skip
def test_events_read_as_messages_and_in_the_log(
    event: TopologyEvent, tag: int, text: str, line: str, warns: bool
) -> None:
    message = describe(event)[0]
    assert (message.category.tag, message.text) == (tag, text)
    assert log_line(event) == line
    assert is_warning(event) is warns


def test_stations_that_alone_may_be_there_stay_the_only_ones() -> None:
    switch = SmallSwitch()
    mac = A
    port = switch.bridge.reserve(PortProfile(number=2, macs=frozenset({mac})))
    ask = Operator(switch)
    for command, limit in (("guard/maclimit 2 5", 5), ("guard/maclimit 2 0", LIMIT_MAX)):
        assert ask(command)[0] == 0
        assert port.mac_limit is not None
        assert port.mac_limit.settings.limit == limit
        assert port.mac_limit.settings.allowed == {mac}
    assert ask("guard/print 2")[1][-1].endswith(" only=02:00:00:00:00:0a")
