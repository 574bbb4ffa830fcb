from __future__ import annotations

import pytest

from tests.vswitch.links_in_memory import RecordingLink
from vport.errors import RefusedError
from vport.ethernet import BROADCAST
from vport.train import lone
from vswitch.bridge import Bridge
from vswitch.events import EndpointAdded, EndpointRemoved, Event, FdbEntryAdded
from vswitch.fabric import Fabric

A = bytes.fromhex("02000000000a")
FRAME = BROADCAST + A + b"\x08\x00" + bytes(46)


class Recorder:
    """A fabric on a clock that stands still, and what it published."""

    def __init__(self, port_limit: int = 8) -> None:
        self.published: list[Event] = []
        self.fabric = Fabric(Bridge(port_limit=port_limit), lambda: 0.0, self.published.extend)


def test_what_one_link_delivers_the_others_transmit_and_flush_ends_the_loan() -> None:
    fabric = Recorder().fabric
    links = [RecordingLink() for _ in range(3)]
    places = [fabric.attach(link) for link in links]

    places[0].deliver(lone(FRAME))
    places[0].deliver(lone(FRAME))
    assert [link.sent for link in links] == [[], [FRAME] * 2, [FRAME] * 2]
    assert [link.flushes for link in links] == [0, 0, 0]

    places[0].flush()
    assert [link.flushes for link in links] == [0, 1, 1]


def test_events_are_published_with_the_flush_that_ends_a_batch() -> None:
    recorder = Recorder()
    place = recorder.fabric.attach(RecordingLink())
    recorder.published.clear()

    place.deliver(lone(FRAME))
    assert recorder.published == []

    place.flush()
    assert [type(event) for event in recorder.published] == [FdbEntryAdded]


def test_attach_and_detach_are_published_at_once_and_detach_only_once() -> None:
    recorder = Recorder()
    place = recorder.fabric.attach(RecordingLink("a link"), port=5)
    place.detach("gone")
    place.detach("gone again")

    kinds = [event for event in recorder.published if isinstance(event, EndpointAdded | EndpointRemoved)]
    assert [(type(event), event.port) for event in kinds] == [(EndpointAdded, 5), (EndpointRemoved, 5)]


def test_refused_link_leaves_no_trace() -> None:
    recorder = Recorder(port_limit=1)
    recorder.fabric.attach(RecordingLink())
    recorder.published.clear()

    with pytest.raises(RefusedError):
        recorder.fabric.attach(RecordingLink())
    assert recorder.published == []
    assert len(recorder.fabric.bridge.ports) == 1


def test_two_fabrics_in_one_process_do_not_meet() -> None:
    one, other = Recorder().fabric, Recorder().fabric
    stranger = RecordingLink()
    other.attach(stranger)
    one.attach(RecordingLink())
    place = one.attach(RecordingLink())

    place.deliver(lone(FRAME))
    place.flush()

    assert stranger.sent == []
    assert len(other.bridge.fdb) == 0
