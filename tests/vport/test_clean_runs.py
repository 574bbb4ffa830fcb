"""The short way of joining gives what the long way gives, for clean runs and for what is nearly one."""

from __future__ import annotations

from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.vport.flows import ACK, CWR, FIN, PSH, TIMESTAMPS, Flow, rfc1071
from vport.clean_runs import is_clean_run
from vport.coalescing import joined
from vport.offload import TapOffload, VirtioNetHeader, cut
from vport.train import Train

if TYPE_CHECKING:
    from vport.ethernet import Buffer
    from vport.segments import Layout

EVERYTHING = TapOffload(0x6F)
Found = list[tuple[bytes, int, VirtioNetHeader | None]]

flows = st.builds(
    Flow,
    version=st.sampled_from([4, 6]),
    protocol=st.sampled_from([6, 17]),
    tags=st.sampled_from([b"", b"\x81\0\x20\5"]),
    tcp_options=st.sampled_from([b"", TIMESTAMPS]),
    addresses=st.binary(min_size=32, max_size=32),
    fragment=st.sampled_from([0, 0x4000]),
)


@st.composite
def trains(draw: st.DrawFn) -> tuple[Flow, bytearray, int]:
    """Draw what one superframe is cut into."""
    flow, size = draw(flows), draw(st.integers(1, 60))
    payload = draw(st.binary(min_size=1, max_size=20)) * draw(st.integers(20, 60))
    size = max(size, len(payload) // 100 + 1)
    frames = flow.frames(
        payload,
        size,
        ident=draw(st.sampled_from([0, 0xFF, 0xFFD0, 0xFFFF])),
        sequence=draw(st.sampled_from([0, 0xFFFFFFF0])),
        flags=draw(st.sampled_from([ACK, ACK | PSH, ACK | FIN | PSH, ACK | CWR])),
    )
    return flow, bytearray(b"".join(frames)), flow.size + size


def result(train: Train, fixed_ids: bool) -> Found:
    found = joined(train, EVERYTHING, fixed_ids=fixed_ids, least=2)
    return [(bytes(one.data), one.frame_size, one.offload) for one in found]


def assert_both_ways_agree(train: Train, fixed_ids: bool = False) -> None:
    short = result(train, fixed_ids)
    with patch("vport.coalescing.is_clean_run", lambda *_: False):
        assert short == result(train, fixed_ids)


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(trains(), st.booleans())
def test_both_ways_agree_on_clean_runs(drawn: tuple[Flow, bytearray, int], fixed_ids: bool) -> None:
    _, data, stride = drawn

    assert_both_ways_agree(Train(data, stride), fixed_ids)


def with_right_checksums(frame: bytearray, flow: Flow) -> None:
    """Put the checksums right of a frame that was changed, without a look at anything else in it."""
    if flow.version == 4:
        start = 14 + len(flow.tags)
        frame[start + 10 : start + 12] = b"\0\0"
        frame[start + 10 : start + 12] = rfc1071(bytes(frame[start : start + 20])).to_bytes(2, "big")
    field = flow.start + (16 if flow.protocol == 6 else 6)
    frame[field : field + 2] = b"\0\0"
    length = len(frame) - flow.start
    addresses = frame[flow.start - (8 if flow.version == 4 else 32) : flow.start]
    pseudo = bytes(addresses) + flow.protocol.to_bytes(2, "big") + length.to_bytes(2, "big")
    frame[field : field + 2] = rfc1071(pseudo + bytes(frame[flow.start :])).to_bytes(2, "big")


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(trains(), st.data(), st.booleans())
def test_both_ways_agree_when_a_header_is_changed(
    drawn: tuple[Flow, bytearray, int], draw: st.DataObject, repaired: bool
) -> None:
    flow, data, stride = drawn
    last = (len(data) - 1) // stride
    number = draw.draw(st.one_of(st.sampled_from([0, last]), st.integers(0, last)))
    start, end = number * stride, min((number + 1) * stride, len(data))
    for _ in range(draw.draw(st.integers(1, 2))):
        at = start + draw.draw(st.integers(0, flow.size))
        if at < end:
            data[at] = draw.draw(st.one_of(st.integers(0, 255), st.sampled_from([0, 255])))
    if repaired:
        frame = data[start:end]
        with_right_checksums(frame, flow)
        data[start:end] = frame

    assert_both_ways_agree(Train(data, stride))


@pytest.mark.parametrize("replacement", [b"\xff\xff", b"\0\0"])
@pytest.mark.parametrize("number", [0, 3, 9])
def test_both_ways_agree_on_checksums_that_nobody_computes(number: int, replacement: bytes) -> None:
    for version in (4, 6):
        for protocol, at in ((6, 16), (17, 6)):
            flow = Flow(version, protocol)
            data = bytearray(cut(*flow.superframe(bytes(1000), 100)).data)
            stride, field = flow.size + 100, flow.start + at
            frame = data[number * stride : (number + 1) * stride]
            # With the checksum itself in the payload, the field has nothing left to make up for.
            with_right_checksums(frame, flow)
            frame[-2:] = frame[field : field + 2]
            frame[field : field + 2] = replacement
            data[number * stride : (number + 1) * stride] = frame

            assert_both_ways_agree(Train(data, stride))


@pytest.mark.parametrize("payload", [1000, 901])
@pytest.mark.parametrize(("version", "protocol"), [(4, 6), (6, 6), (4, 17), (6, 17)])
def test_short_way_is_taken_for_what_is_cut(version: int, protocol: int, payload: int) -> None:
    flow = Flow(version, protocol)
    train = cut(*flow.superframe(bytes(payload), 100, ident=5, flags=ACK | PSH))
    answers: list[bool] = []

    def ask(data: Buffer, stride: int, layout: Layout) -> bool:
        answers.append(is_clean_run(data, stride, layout))
        return answers[-1]

    with patch("vport.coalescing.is_clean_run", ask):
        (superframe,) = joined(train, EVERYTHING)

    assert answers == [True]
    assert superframe.count == 10


def test_header_checksum_that_runs_over_hides_no_other_protocol() -> None:
    flow = Flow()
    ident = next(n for n in range(1 << 16) if flow.frame(b"x" * 100, ident=n)[24:26] == b"\0\3")
    data = bytearray(cut(*flow.superframe(bytes(1000), 100, ident=ident)).data)
    number = 5  # its header checksum is two below zero: 65533, or 65534 with a protocol less by one
    frame = data[number * 154 : (number + 1) * 154]
    frame[23] -= 1
    frame[24:26] = b"\0\0"
    frame[24:26] = rfc1071(bytes(frame[14:34])).to_bytes(2, "big")
    assert frame[24:26] == b"\xff\xfe"
    data[number * 154 : (number + 1) * 154] = frame

    assert [train.count for train in joined(Train(data, 154), EVERYTHING, least=2)] == [5, 1, 4]
    assert_both_ways_agree(Train(data, 154))
