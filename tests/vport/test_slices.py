"""Slices: what becomes of them is compared with the frames that they stand for, made one by one."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.vport.flows import ACK, TIMESTAMPS, Flow
from tests.vport.test_offload import gso_size_for, numbers, payloads, simple_flows
from vport.assembly import assemble
from vport.checksum import checksum
from vport.errors import FrameError
from vport.offload import TapOffload, join, plain
from vport.slices import slice_up, tell_apart
from vport.tagging import pop_tag, push_tag
from vport.train import SLICES, Train, lone, runs

EVERYTHING = TapOffload(0x6F)
quick = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])


def superframe(flow: Flow, payload: bytes, size: int, **said: int) -> Train:
    data, header = flow.superframe(payload, size, **said)
    return Train(data, flow.size + size, header)


def slices(flow: Flow, payload: bytes, size: int, **said: int) -> Train:
    made = slice_up(superframe(flow, payload, size, **said))
    assert made is not None
    return made


def frames_of(train: Train) -> list[bytes]:
    return list(map(bytes, plain(train).frames()))


@quick
@given(simple_flows, payloads, st.integers(1, 1500), numbers)
def test_slices_stand_for_the_frames_of_the_superframe(
    flow: Flow, payload: bytes, wish: int, said: dict[str, int]
) -> None:
    size = gso_size_for(payload, wish)
    assume(len(payload) > size)
    expected = list(flow.frames(payload, size, **said))

    made = slices(flow, payload, size, **said)

    assert made.offload is SLICES
    assert [len(one) for one in made.frames()] == [len(one) for one in expected]
    assert made.count == len(expected)
    assert made.wire_bytes == sum(map(len, expected))
    assert frames_of(made) == expected


@quick
@given(simple_flows, payloads, st.integers(1, 1500), numbers)
def test_assembling_gives_the_superframe_that_was_sliced(
    flow: Flow, payload: bytes, wish: int, said: dict[str, int]
) -> None:
    size = gso_size_for(payload, wish)
    assume(len(payload) > size)
    whole = superframe(flow, payload, size, **said)

    (again,) = assemble(slices(flow, payload, size, **said))

    assert bytes(again.data) == bytes(whole.data)
    assert (again.offload, again.frame_size) == (whole.offload, whole.frame_size)


@quick
@given(simple_flows, payloads, st.integers(1, 1500), numbers, st.data())
def test_each_slice_that_arrives_is_its_frame_whatever_became_of_the_others(
    flow: Flow, payload: bytes, wish: int, said: dict[str, int], data: st.DataObject
) -> None:
    size = gso_size_for(payload, wish)
    assume(len(payload) > size)
    expected = list(flow.frames(payload, size, **said))
    made = list(slices(flow, payload, size, **said).frames())
    order = data.draw(st.permutations(range(len(made))) | st.just(range(len(made))))
    arriving = [number for number in order if data.draw(st.booleans())]

    # As the network hands them over: of one size, but for the last of a train.
    trains: list[list[int]] = []
    for number in arriving:
        if trains and len(made[trains[-1][-1]]) == len(made[0]):
            trains[-1].append(number)
        else:
            trains.append([number])
    got: list[bytes] = []
    for train in trains:
        joined = b"".join(made[number] for number in train)
        got += frames_of(Train(joined, len(made[train[0]]), SLICES))

    assert got == [expected[number] for number in arriving]


@quick
@given(simple_flows, st.integers(2, 40), st.integers(1, 1400), st.data())
def test_slices_with_gaps_become_a_superframe_for_each_part(
    flow: Flow, count: int, size: int, data: st.DataObject
) -> None:
    made = list(slices(flow, b"x" * (count * size), size).frames())
    kept = sorted(data.draw(st.sets(st.integers(0, count - 1), min_size=1)))

    parts = assemble(Train(b"".join(made[number] for number in kept), flow.size + size, SLICES))

    assert len(parts) == 1 + sum(after - before > 1 for before, after in pairwise(kept))
    assert sum(part.count for part in parts) == len(kept)


def test_slices_of_two_superframes_in_one_train_are_told_apart() -> None:
    flow = Flow(tcp_options=TIMESTAMPS)
    first = slices(flow, b"a" * 3000, 1000, sequence=1)
    second = slices(flow, b"b" * 2500, 1000, sequence=3001, ident=3)

    parts = assemble(Train(bytes(first.data) + bytes(second.data), first.frame_size, SLICES))

    assert [len(part.data) - flow.size for part in parts] == [3000, 2500]


@pytest.mark.parametrize(
    "flow",
    [
        Flow(ip_options=b"\1\1\1\1"),
        Flow(fragment=0x2000),
        Flow(fragment=0x8000),
        Flow(fragment=5),
        Flow(version=6, ip_options=b"\6\0\1\4\0\0\0\0"),
        Flow(tags=b"\x88\xa8\0\1\x81\0\0\2"),
    ],
    ids=["IPv4 options", "more fragments", "reserved flag", "offset", "IPv6 extension header", "two tags"],
)
def test_extraordinary_headers_are_not_sliced(flow: Flow) -> None:
    assert slice_up(superframe(flow, b"x" * 3000, 1000)) is None


@pytest.mark.parametrize("back", [-16, 10], ids=["of TCP", "of IPv4"])
def test_superframe_with_a_wrong_checksum_is_not_sliced(back: int) -> None:
    flow = Flow()
    whole = superframe(flow, b"x" * 3000, 1000)
    damaged = bytearray(whole.data)
    damaged[flow.start - back] ^= 1

    assert slice_up(Train(damaged, whole.frame_size, whole.offload)) is None


@pytest.mark.parametrize(("value", "is_sliced"), [(0, True), (0xFFFF, False)])
def test_superframe_with_the_other_zero_in_its_header_checksum_is_not_sliced(
    value: int, is_sliced: bool
) -> None:
    whole = superframe(Flow(), b"x" * 3000, 1000)
    data = bytearray(whole.data)
    data[18:20] = data[24:26] = bytes(2)
    data[18:20] = checksum(data[14:34]).to_bytes(2, "big")  # the ID with which the checksum is 0
    data[24:26] = value.to_bytes(2, "big")  # either is right

    assert (slice_up(Train(data, whole.frame_size, whole.offload)) is not None) == is_sliced


@pytest.mark.parametrize("train", [lone(b"x" * 100), Train(b"x" * 300, 100)])
def test_what_is_no_superframe_is_not_sliced(train: Train) -> None:
    assert slice_up(train) is None


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(simple_flows, st.integers(2, 4000), st.integers(1, 1500), st.data())
def test_mutated_slices_are_frames_or_an_error(
    flow: Flow, length: int, wish: int, data: st.DataObject
) -> None:
    made = slices(flow, b"y" * length, min(gso_size_for(b"y" * length, wish), length - 1))
    mutated = bytearray(made.data)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, min(len(mutated), 3 * made.frame_size) - 1))
        mutated[at] = data.draw(st.integers(0, 255))
    size = data.draw(st.just(made.frame_size) | st.integers(14, made.frame_size))

    try:
        for part in assemble(Train(mutated, size, SLICES)):
            for frame in plain(part).frames():
                assert not frame[6] & 1
    except FrameError:
        pass


@settings(max_examples=200)
@given(st.binary(min_size=1, max_size=400), st.integers(1, 200))
def test_anything_at_all_is_frames_or_an_error(garbage: bytes, size: int) -> None:
    try:
        parts = assemble(Train(garbage, size, SLICES))
    except FrameError:
        return
    assert sum(part.count for part in parts) == -(-len(garbage) // size)


def test_slices_beyond_the_end_of_their_superframe_are_an_error() -> None:
    flow = Flow(protocol=17)
    made = bytearray(slices(flow, b"z" * 2000, 1000).data)
    made[16:18] = (1500).to_bytes(2, "big")  # IP length in the first, and in the second
    made[flow.size + 1000 + 16 : flow.size + 1000 + 18] = (1500).to_bytes(2, "big")

    with pytest.raises(FrameError, match="of a superframe with"):
        assemble(Train(made, flow.size + 1000, SLICES))


@quick
@given(simple_flows, st.integers(1501, 9000), st.integers(500, 1500), st.sampled_from([5, 0x2FFE]))
def test_tags_go_into_and_out_of_slices(flow: Flow, length: int, size: int, tci: int) -> None:
    assume(not flow.tags)
    made = slices(flow, bytes(length), size)

    tagged = push_tag(made, tci)
    bare = pop_tag(tagged)

    assert tagged.offload is SLICES
    assert frames_of(tagged) == frames_of(push_tag(plain(made), tci))
    assert bytes(bare.data) == bytes(made.data)


@pytest.mark.parametrize("takes", [EVERYTHING, TapOffload.CSUM, TapOffload(0)])
def test_tap_gets_superframes_or_what_else_it_takes(takes: TapOffload) -> None:
    flow = Flow(tcp_options=TIMESTAMPS)
    made = slices(flow, bytes(30_000), 1348)

    pieces = join(made, takes)

    assert [frame for piece in pieces for frame in frames_of(piece)] == frames_of(made)
    assert len(pieces) == 1
    assert (pieces[0].offload is not None) == (takes is EVERYTHING)


@given(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(14, 100), st.integers(14, 100))
def test_frames_and_slices_in_one_train_are_told_apart(kinds: list[bool], size: int, last: int) -> None:
    frames = [bytes(6) + bytes([2 + is_slice]) + bytes(size - 7) for is_slice in kinds]
    frames[-1] = frames[-1][: min(last, size)]

    trains = tell_apart(b"".join(frames), size)

    assert [bytes(one) for train in trains for one in train.frames()] == frames
    assert [train.offload is SLICES for train in trains for _ in train.frames()] == kinds
    assert all(before.offload is not after.offload for before, after in pairwise(trains))


@given(
    st.lists(st.tuples(st.sampled_from([2, 3, 4]), st.booleans()), min_size=1, max_size=30),
    st.integers(14, 40),
    st.integers(14, 40),
)
def test_only_frames_with_one_header_are_said_to_be_a_run(
    kinds: list[tuple[int, bool]], size: int, last: int
) -> None:
    frames = [
        (
            bytes(6)
            + bytes([source])
            + bytes(5)
            + (b"\x81\0\0" if is_tagged else b"\x08\0\0")
            + bytes([source])
        ).ljust(size, b"\0")[:size]
        for source, is_tagged in kinds
    ]
    frames[-1] = frames[-1][: min(last, size)]

    for train in tell_apart(b"".join(frames), size):
        found = runs(Train(train.data, train.frame_size, train.offload))
        assert not train.is_run or len(found) == 1


def test_runs_of_slices_are_slices() -> None:
    flow, other = Flow(), Flow(macs=b"\2\0\0\0\0\3\2\0\0\0\0\2")
    data = b"".join(slices(one, bytes(2000), 1000).data for one in (flow, other))

    found = runs(Train(data, 1054, SLICES))

    assert [train.offload for train in found] == [SLICES, SLICES]
    assert [train.count for train in found] == [2, 2]


def test_acknowledgement_is_no_slice() -> None:
    ack = Flow().frame(b"", flags=ACK)

    assert tell_apart(ack, len(ack))[0].offload is None
