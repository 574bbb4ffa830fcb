from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vport.errors import SettingsError
from vport.ethernet import MacAddress, Vid
from vswitch.guards.loop_detection import (
    PROBE_ADDRESS,
    LoopDetected,
    LoopDetector,
    LoopPortRecovered,
    LoopSettings,
    ProbeToSend,
)

MAC = MacAddress(bytes.fromhex("020000000001"))
VLAN_0 = [(Vid(0), False)]


def make(seed: int = 1, ports: tuple[int, ...] = (3, 1, 2)) -> LoopDetector:
    """Give a detector whose ports came up in this order, as seen at the instant 0."""
    detector = LoopDetector(MAC, Random(seed), LoopSettings(recovery=30.0), 0.0)
    for port in ports:
        detector.port_up(port, VLAN_0)
    return detector


def probes(detector: LoopDetector) -> dict[int, bytes]:
    """Let the next round be sent, and give the untagged probe of each port."""
    deadline = detector.next_deadline()
    assert deadline is not None
    events = detector.handle_timer(deadline)
    return {event.port: event.frame for event in events if isinstance(event, ProbeToSend)}


def test_every_port_probes_once_a_second() -> None:
    detector = make()
    first = detector.next_deadline()
    assert first is not None
    assert 0.0 <= first < 1.0

    assert set(probes(detector)) == {1, 2, 3}

    assert detector.next_deadline() == pytest.approx(first + 1.0)
    assert detector.handle_timer(first + 0.9) == []


def test_a_late_timer_sends_one_round_and_keeps_its_phase() -> None:
    detector = make()
    first = detector.next_deadline()
    assert first is not None

    assert len(detector.handle_timer(first + 5.5)) == 3

    assert detector.next_deadline() == pytest.approx(first + 6.0)


def test_two_detectors_do_not_probe_at_the_same_instant() -> None:
    assert make(1).next_deadline() != make(2).next_deadline()


def test_probe_that_comes_back_shuts_the_younger_port_and_names_both() -> None:
    detector = make()
    frame = probes(detector)[1]

    assert detector.receive(3, frame, 10.0) == [
        LoopDetected(sent_on=1, received_on=3, vid=Vid(0), shut=1, recover_at=40.0)
    ]

    assert detector.shut_until(1) == 40.0
    assert detector.shut_until(3) is None


def test_the_younger_port_is_shut_also_when_it_is_the_one_that_hears() -> None:
    detector = make()

    (found,) = detector.receive(2, probes(detector)[3], 10.0) or []

    assert (found.sent_on, found.received_on, found.shut) == (3, 2, 2)


def test_a_link_that_reflects_is_shut() -> None:
    detector = make()

    (found,) = detector.receive(1, probes(detector)[1], 10.0) or []

    assert found.shut == 1


def test_a_loop_that_is_cut_is_not_cut_again() -> None:
    detector = make()
    frames = probes(detector)
    detector.receive(3, frames[1], 10.0)

    assert detector.receive(1, frames[3], 10.0) == []
    assert detector.receive(3, frames[1], 10.1) == []


def test_a_shut_port_is_silent_and_opens_again() -> None:
    detector = make()
    detector.receive(3, probes(detector)[1], 10.0)
    assert set(probes(detector)) == {2, 3}

    events = detector.handle_timer(40.0)

    assert events[0] == LoopPortRecovered(port=1)
    assert detector.shut_until(1) is None
    assert {event.port for event in events if isinstance(event, ProbeToSend)} == {1, 2, 3}


def test_each_pause_is_longer_than_the_last_up_to_a_bound() -> None:
    detector = make()
    pauses, now = [], 10.0
    for _ in range(7):
        (found,) = detector.receive(3, probes(detector)[1], now) or []
        pauses.append(found.recover_at - now)
        now = found.recover_at
        detector.handle_timer(now)

    assert pauses == [30.0, 60.0, 120.0, 240.0, 480.0, 480.0, 480.0]


def test_a_replaced_link_starts_with_a_short_pause_and_as_the_youngest() -> None:
    detector = make()
    detector.receive(3, probes(detector)[1], 10.0)
    detector.port_down(3)
    detector.port_down(1)
    detector.port_up(1, VLAN_0)
    detector.port_up(3, VLAN_0)

    (found,) = detector.receive(1, probes(detector)[3], 50.0) or []

    assert (found.shut, found.recover_at) == (3, 80.0)


def test_changed_vlans_leave_age_and_pause_alone() -> None:
    detector = make()
    detector.receive(3, probes(detector)[1], 10.0)

    detector.port_up(1, [(Vid(5), False)])

    assert detector.shut_until(1) == 40.0


def test_tagged_vlans_are_probed_in_turn_with_their_tags() -> None:
    detector = LoopDetector(MAC, Random(1), LoopSettings(), 0.0)
    detector.port_up(1, [(Vid(0), False), (Vid(5), True), (Vid(291), True)])
    detector.port_up(2, VLAN_0)
    rounds = []
    for _ in range(3):
        deadline = detector.next_deadline()
        assert deadline is not None
        sent = [event for event in detector.handle_timer(deadline) if isinstance(event, ProbeToSend)]
        rounds.append([event.frame[12:16].hex() for event in sent if event.port == 1])

    assert rounds == [["88b55653", "81000005"], ["88b55653", "81000123"], ["88b55653", "81000005"]]


def test_a_tagged_probe_names_its_vlan_with_and_without_its_tag() -> None:
    detector = LoopDetector(MAC, Random(1), LoopSettings(), 0.0)
    detector.port_up(1, [(Vid(5), True)])
    detector.port_up(2, VLAN_0)
    frame = probes(detector)[1]
    assert len(frame) == 64

    (found,) = detector.receive(2, frame[:12] + frame[16:], 1.0) or []

    assert (found.vid, found.sent_on, found.shut) == (5, 1, 2)


def test_probes_of_others_and_old_ones_are_forwarded() -> None:
    detector, other = make(1), make(2)
    old = probes(detector)[1]
    assert detector.receive(3, probes(other)[1], 1.0) is None

    probes(detector)
    probes(detector)

    assert detector.receive(3, old, 3.0) is None


def test_probe_of_a_port_that_has_gone_is_dropped() -> None:
    detector = make()
    frame = probes(detector)[1]
    detector.port_down(1)

    assert detector.receive(3, frame, 1.0) == []


@given(st.binary(max_size=80), st.integers(0, 59))
def test_other_frames_are_never_taken_for_ours(data: bytes, position: int) -> None:
    detector = make()
    frame = probes(detector)[1]

    assert detector.receive(3, data, 1.0) is None
    assert detector.receive(3, PROBE_ADDRESS + data, 1.0) is None
    assert detector.receive(3, frame[:position], 1.0) is None or position >= 36


@pytest.mark.parametrize(
    "changes", [{"interval": 0.05}, {"interval": 61}, {"recovery": 0}, {"recovery": 1e6}]
)
def test_settings_name_what_is_wrong(changes: dict[str, float]) -> None:
    with pytest.raises(SettingsError, match="is not within"):
        LoopSettings(**changes)


def test_without_ports_there_is_nothing_to_do() -> None:
    assert make(ports=()).next_deadline() is None
