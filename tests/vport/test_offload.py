"""Cutting and joining: against frame-at-a-time references, against scapy, and against each other."""

from __future__ import annotations

import contextlib
import functools
import struct
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from tests.vport.flows import ACK, CWR, FIN, PSH, RST, SYN, TIMESTAMPS, URG, Flow
from vport.errors import FrameError
from vport.offload import (
    NO_OFFLOAD,
    GsoType,
    TapOffload,
    VirtioNetHeader,
    cut,
    from_tap,
    join,
    plain,
)
from vport.train import Train

EVERYTHING = TapOffload(0x6F)
join_all = functools.partial(join, least=2)
quick = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])


TAGS = [b"", b"\x81\0\x20\5", b"\x88\xa8\0\1\x81\0\0\2"]
simple_flows = st.builds(
    Flow,
    version=st.sampled_from([4, 6]),
    protocol=st.sampled_from([6, 17]),
    tags=st.sampled_from(TAGS[:2]),
    tcp_options=st.sampled_from([b"", TIMESTAMPS]),
    addresses=st.binary(min_size=32, max_size=32),
    fragment=st.sampled_from([0, 0x4000]),
)
flows = simple_flows.flatmap(
    lambda flow: st.builds(
        replace,
        st.just(flow),
        tags=st.sampled_from(TAGS),
        ip_options=st.sampled_from(
            [b"", b"\1\1\1\1" * 3] if flow.version == 4 else [b"", bytes([flow.protocol]) + b"\0\1\4\0\0\0\0"]
        ),
        tcp_options=st.sampled_from([b"", TIMESTAMPS, b"\1" * 40]),
    )
)
payloads = st.builds(
    lambda seed, size: (seed * (size // len(seed) + 1))[:size],
    st.binary(min_size=1, max_size=30),
    st.one_of(st.integers(1, 300), st.integers(1, 60000)),
)
numbers = st.fixed_dictionaries(
    {
        "ident": st.sampled_from([0, 1, 0xFFFE, 0xFFFF]),
        "sequence": st.one_of(st.integers(0, 0xFFFFFFFF), st.integers(0xFFFFF000, 0xFFFFFFFF)),
        "flags": st.sampled_from([ACK, ACK | PSH, ACK | FIN | PSH, ACK | CWR, ACK | CWR | FIN, ACK | 64]),
    }
)


def gso_size_for(payload: bytes, wish: int) -> int:
    """Make not too many segments: they are built one by one here."""
    return max(wish, len(payload) // 60 + 1)


@quick
@given(flows, payloads, st.integers(1, 1500), numbers)
def test_cut_agrees_with_frame_by_frame(flow: Flow, payload: bytes, wish: int, said: dict[str, int]) -> None:
    size = gso_size_for(payload, wish)
    data, header = flow.superframe(payload, size, **said)
    expected = list(flow.frames(payload, size, **said))

    train = plain(Train(data, flow.size + size, header))

    assert list(map(bytes, train.frames())) == expected
    if len(payload) > size:
        whole = Train(data, flow.size + size, header)
        assert (whole.count, whole.wire_bytes) == (train.count, len(train.data))


@quick
@given(simple_flows, payloads, st.integers(1, 1500), numbers)
def test_cut_frames_are_right_for_scapy(flow: Flow, payload: bytes, wish: int, said: dict[str, int]) -> None:
    train = cut(*flow.superframe(payload, gso_size_for(payload, wish), **said))

    for frame in [*train.frames()][:2] + [*train.frames()][-1:]:
        packet = Ether(bytes(frame))
        for layer, fields in (
            (IP, ["len", "chksum"]),
            (IPv6, ["plen"]),
            (TCP, ["chksum"]),
            (UDP, ["len", "chksum"]),
        ):
            for field in fields if layer in packet else []:
                packet[layer].delfieldval(field)
        assert bytes(packet) == bytes(frame)


@quick
@given(simple_flows, payloads, st.integers(1, 1500), numbers)
def test_cut_then_join_is_identity(flow: Flow, payload: bytes, wish: int, said: dict[str, int]) -> None:
    size = gso_size_for(payload, wish)
    assume(len(payload) > size)
    data, header = flow.superframe(payload, size, **said)

    (superframe,) = join_all(cut(data, header), EVERYTHING)

    assert superframe.offload == header
    assert bytes(superframe.data) == data
    assert superframe.frame_size == flow.size + size


def test_superframe_of_one_segment_only_gets_its_checksum() -> None:
    flow = Flow()
    for payload in (b"", b"abc"):
        data, header = flow.superframe(payload, 3, flags=ACK | CWR | PSH)

        assert bytes(cut(data, header).data) == flow.frame(payload, flags=ACK | CWR | PSH)


def test_lone_frame_gets_its_checksum_and_the_train_remembers_it() -> None:
    flow = Flow(protocol=17)
    frame = flow.frame(b"hello", partial=True)
    train = Train(frame, len(frame), NO_OFFLOAD._replace(flags=1, csum_start=34, csum_offset=6))

    assert bytes(plain(train).data) == flow.frame(b"hello")
    assert plain(train) is plain(train)
    assert train.data == frame
    assert plain(plain(train)) is plain(train)
    assert plain(Train(frame, len(frame), NO_OFFLOAD._replace(flags=2))).data == frame


def test_partial_checksum_that_is_wrong_stays_wrong() -> None:
    data, header = Flow().superframe(bytes(100), 40)
    data = data[:50] + bytes([data[50], data[51] ^ 1]) + data[52:]

    for frame, right in zip(cut(data, header).frames(), Flow().frames(bytes(100), 40), strict=True):
        assert bytes(frame) != right
        assert bytes(frame[:50]) + bytes(frame[52:]) == right[:50] + right[52:]


# --- headers that lie ---


def test_from_tap_puts_the_header_length_right() -> None:
    flow = Flow(tcp_options=TIMESTAMPS)
    data, header = flow.superframe(bytes(4000), 1348)

    train = from_tap(header._replace(hdr_len=4066).encode() + data)

    assert (train.offload, train.frame_size, bytes(train.data)) == (header, 1414, data)
    assert (train.count, train.wire_bytes) == (3, 3 * 66 + 4000)


def test_from_tap_of_a_finished_frame_asks_for_nothing() -> None:
    for flags in (0, 2):
        train = from_tap(NO_OFFLOAD._replace(flags=flags).encode() + b"frame")

        assert (train.offload, bytes(train.data), train.count) == (None, b"frame", 1)


def test_from_tap_takes_a_superframe_of_one_segment_for_a_frame() -> None:
    data, header = Flow().superframe(bytes(40), 40)

    train = from_tap(header.encode() + data)

    assert train.offload == header._replace(gso_type=GsoType.NONE, gso_size=0)
    assert bytes(plain(train).data) == Flow().frame(bytes(40))


TCP4_DATA, TCP4_HEADER = Flow().superframe(bytes(200), 60)
UDP6_DATA, UDP6_HEADER = Flow(version=6, protocol=17).superframe(bytes(200), 60)
LIES = [
    (TCP4_DATA, TCP4_HEADER._replace(flags=0)),
    (TCP4_DATA, TCP4_HEADER._replace(gso_type=GsoType.TCPV6)),
    (TCP4_DATA, TCP4_HEADER._replace(gso_type=GsoType.UDP_L4, csum_offset=6)),
    (TCP4_DATA, TCP4_HEADER._replace(gso_type=GsoType.UDP)),
    (TCP4_DATA, TCP4_HEADER._replace(gso_type=77)),
    (TCP4_DATA, TCP4_HEADER._replace(gso_size=0)),
    (TCP4_DATA, TCP4_HEADER._replace(csum_start=0)),
    (TCP4_DATA, TCP4_HEADER._replace(csum_start=38)),
    (TCP4_DATA, TCP4_HEADER._replace(csum_start=65535)),
    (TCP4_DATA, TCP4_HEADER._replace(csum_offset=6)),
    (TCP4_DATA[:14], TCP4_HEADER),
    (TCP4_DATA[:53], TCP4_HEADER),
    (TCP4_DATA[:46] + b"\xf0" + TCP4_DATA[47:60], TCP4_HEADER),
    (TCP4_DATA[:46] + b"\x40" + TCP4_DATA[47:], TCP4_HEADER),
    (TCP4_DATA[:14] + b"\x65" + TCP4_DATA[15:], TCP4_HEADER),
    (TCP4_DATA[:12] + b"\x08\x06" + TCP4_DATA[14:], TCP4_HEADER),
    (UDP6_DATA, UDP6_HEADER._replace(gso_type=GsoType.TCPV6, csum_offset=16, csum_start=246)),
    (UDP6_DATA, UDP6_HEADER._replace(csum_start=20)),
    (UDP6_DATA[:13], UDP6_HEADER),
]


@pytest.mark.parametrize(("data", "header"), LIES)
def test_header_that_lies_is_a_frame_error(data: bytes, header: VirtioNetHeader) -> None:
    with pytest.raises(FrameError):
        from_tap(header.encode() + data)
    with pytest.raises(FrameError):
        plain(Train(data, 1414, header))


def test_superframe_of_absurdly_many_frames_is_refused() -> None:
    flow = Flow(tcp_options=b"\1" * 40)

    with pytest.raises(FrameError, match="bytes of a frame"):
        cut(*flow.superframe(bytes(60000), 1))


def test_segments_longer_than_ip_can_say_are_refused() -> None:
    frame, header = Flow(version=6).superframe(bytes(70000), 65530)

    with pytest.raises(FrameError, match="bytes of a frame"):
        cut(frame, header)


words = st.one_of(st.integers(0, 120), st.sampled_from([0, 14, 34, 54, 246, 65535]))
any_header = st.builds(
    VirtioNetHeader,
    st.integers(0, 3),
    st.sampled_from([0, 1, 3, 4, 5, 0x81, 200]),
    words,
    words,
    words,
    words,
)
near_header = st.builds(
    lambda header, field, value: header._replace(**{field: value}),
    st.sampled_from([TCP4_HEADER, UDP6_HEADER]),
    st.sampled_from(TCP4_HEADER._fields[2:]),
    words,
)


@settings(max_examples=200)
@given(
    st.one_of(any_header, near_header),
    st.sampled_from([TCP4_DATA, UDP6_DATA]),
    st.integers(0, 262),
    st.dictionaries(st.integers(0, 80), st.integers(0, 255), max_size=3),
)
def test_any_superframe_is_cut_or_refused(
    header: VirtioNetHeader, data: bytes, size: int, changes: dict[int, int]
) -> None:
    mutated = bytearray(data[:size])
    for at, value in changes.items():
        if at < size:
            mutated[at] = value

    with contextlib.suppress(FrameError):
        plain(Train(mutated, 1414, header))
    with contextlib.suppress(FrameError):
        plain(from_tap(header.encode() + mutated))
    with contextlib.suppress(FrameError):
        join_all(Train(mutated, 1414, header), TapOffload.CSUM)
    with contextlib.suppress(FrameError):
        join_all(Train(mutated, 1414, header), EVERYTHING)


# --- joining ---


def parsed(frame: bytes) -> tuple[Flow, dict[str, int], bytes] | None:
    """Read a frame as somebody would who makes it anew; None when making it anew gives other bytes."""
    with contextlib.suppress(struct.error, IndexError):
        tags = frame[12:16] if frame[12:14] == b"\x81\0" else b""
        at = 14 + len(tags)
        version = {b"\x08\0": 4, b"\x86\xdd": 6}.get(frame[at - 2 : at], 0)
        if version == 0:
            return None
        protocol = frame[at + 9] if version == 4 else frame[at + 6]
        start = at + (20 if version == 4 else 40)
        addresses = frame[at + 12 : at + 20] * 4 if version == 4 else frame[at + 8 : at + 40]
        fragment = int.from_bytes(frame[at + 6 : at + 8], "big") if version == 4 else 0
        flow = Flow(version, protocol, tags, b"", b"", addresses, frame[start : start + 4], fragment)
        flow = replace(flow, macs=frame[:12])
        if version == 6:
            flow = replace(
                flow, first_word=int.from_bytes(frame[at : at + 4], "big"), hop_limit=frame[at + 7]
            )
            if flow.first_word >> 28 != 6:
                return None
        said = {"ident": int.from_bytes(frame[at + 4 : at + 6], "big") if version == 4 else 0}
        if protocol == 6:
            sequence, ack, offset, flags, window = struct.unpack_from("!IIBBH", frame, start + 4)
            flow = replace(flow, ack=ack, window=window)
            flow = replace(flow, tcp_options=frame[start + 20 : start + offset // 16 * 4])
            said |= {"sequence": sequence, "flags": flags}
        payload = frame[flow.size :]
        if (
            protocol not in (6, 17)
            or not payload
            or fragment & ~0x4000
            or said.get("flags", 0) & (SYN | RST | URG)
        ):
            return None
        return (flow, said, payload) if flow.frame(payload, **said) == frame else None
    return None


def follows(earlier: bytes, later: bytes) -> bool:
    """Whether two frames may stand side by side in one superframe."""
    first, second = parsed(earlier), parsed(later)
    if first is None or second is None or first[0] != second[0]:
        return False
    before, after = first[1], second[1]
    if first[0].version == 4 and after["ident"] != (before["ident"] + 1) & 0xFFFF:
        return False
    if first[0].protocol == 17:
        return True
    if before["flags"] & (FIN | PSH) or after["flags"] & CWR:
        return False
    if (before["flags"] ^ after["flags"]) & ~(FIN | PSH | CWR):
        return False
    return after["sequence"] == (before["sequence"] + len(first[2])) & 0xFFFFFFFF


def groups(train: Train) -> list[list[bytes]]:
    """Say which frames belong together, frame by frame."""
    found: list[list[bytes]] = []
    for frame in map(bytes, train.frames()):
        if found and follows(found[-1][-1], frame) and len(found[-1]) < 64:
            found[-1].append(frame)
        else:
            found.append([frame])
    return found


def as_groups(trains: list[Train]) -> list[list[bytes]]:
    """Say which frames were joined."""
    found: list[list[bytes]] = []
    for train in trains:
        frames = list(map(bytes, plain(train).frames()))
        found += [[frame] for frame in frames] if train.offload is None else [frames]
    return found


@st.composite
def mixed_trains(draw: st.DrawFn) -> Train:
    """Draw a train of segments of a few flows, some of which do not continue or are broken."""
    kinds = draw(st.lists(simple_flows, min_size=1, max_size=2))
    size = max(flow.size for flow in kinds) + draw(st.integers(1, 40))
    frames: list[bytes] = []
    ident, sequence = 0xFFFD, 0xFFFFFF80
    flow = kinds[0]
    for number in range(draw(st.integers(1, 14))):
        event = draw(
            st.sampled_from(["", "", "", "", "", "other", "gap", "id", "corrupt", "flags", "window"])
        )
        flags = ACK
        if event == "other":
            flow = kinds[-1] if flow is kinds[0] else kinds[0]
        elif event == "gap":
            sequence += 1
        elif event == "id":
            ident += 1
        elif event == "flags":
            flags = draw(st.integers(0, 255))
        elif event == "window":
            flow = replace(flow, window=flow.window + 1)
        payload = bytes((number * 7 + at) % 256 for at in range(size - flow.size))
        frame = flow.frame(payload, ident=ident, sequence=sequence, flags=flags)
        if event == "corrupt":
            at = draw(st.integers(0, len(frame) - 1))
            frame = frame[:at] + bytes([frame[at] ^ draw(st.integers(1, 255))]) + frame[at + 1 :]
        frames.append(frame)
        ident, sequence = ident + 1, sequence + len(payload)
    if draw(st.booleans()):
        short = flow.frame(bytes(draw(st.integers(0, size - flow.size))), ident=ident, sequence=sequence)
        frames.append(short[: draw(st.sampled_from([len(short), len(short), 1, 13, 15, 40]))])
    return Train(draw(st.sampled_from([bytes, memoryview]))(b"".join(frames)), size)


@settings(max_examples=250, suppress_health_check=[HealthCheck.too_slow])
@given(mixed_trains())
def test_join_agrees_with_frame_by_frame_and_cut_undoes_it(train: Train) -> None:
    result = join_all(train, EVERYTHING)

    assert as_groups(result) == groups(train)


@quick
@given(simple_flows, st.integers(2, 30), st.data())
def test_corrupt_segment_stays_out_of_any_superframe(flow: Flow, count: int, draw: st.DataObject) -> None:
    frames = list(flow.frames(bytes(20 * count), 20))
    victim = draw.draw(st.integers(0, count - 1))
    at = draw.draw(st.integers(14 + len(flow.tags), flow.size + 19))
    broken = bytearray(frames[victim])
    broken[at] ^= 1 << draw.draw(st.integers(0, 7))
    frames[victim] = bytes(broken)

    found = as_groups(join_all(Train(b"".join(frames), flow.size + 20), EVERYTHING))

    assert [bytes(broken)] in found
    assert [frame for group in found for frame in group] == frames


def test_train_of_which_nothing_can_be_joined_is_given_as_it_is() -> None:
    acknowledgements = Train(b"".join(Flow().frame(b"", sequence=n) for n in range(9)), 54)
    lone = Train(Flow().frame(b"x"), 55)

    for train in (acknowledgements, lone, Train(bytes(300), 60), Train(b"", 60)):
        assert join_all(train, EVERYTHING) == [train]


@pytest.mark.parametrize(
    ("version", "protocol", "needed"),
    [(4, 6, TapOffload.TSO4), (6, 6, TapOffload.TSO6), (4, 17, TapOffload.USO4), (6, 17, TapOffload.USO6)],
)
def test_only_what_the_tap_takes_is_joined(version: int, protocol: int, needed: TapOffload) -> None:
    flow = Flow(version, protocol)
    data, header = flow.superframe(bytes(400), 100)
    superframe, train = Train(data, flow.size + 100, header), cut(data, header)

    for takes in (needed | TapOffload.CSUM, EVERYTHING):
        assert join_all(superframe, takes) == [superframe]
        assert [joined.offload for joined in join_all(train, takes)] == [header]
    for takes in (TapOffload(0), needed, EVERYTHING & ~needed):
        assert join_all(superframe, takes) == [superframe.cut]
        assert join_all(train, takes) == [train]


def test_congestion_mark_is_joined_only_where_the_tap_takes_it() -> None:
    train = cut(*Flow().superframe(bytes(400), 100, flags=ACK | CWR))

    assert [len(group) for group in as_groups(join_all(train, EVERYTHING))] == [4]
    assert [len(group) for group in as_groups(join_all(train, EVERYTHING & ~TapOffload.TSO_ECN))] == [1, 3]
    superframe = Train(*_with_size(Flow().superframe(bytes(400), 100, flags=ACK | CWR)))
    assert join_all(superframe, EVERYTHING & ~TapOffload.TSO_ECN) == [superframe.cut]


def _with_size(superframe: tuple[bytes, VirtioNetHeader]) -> tuple[bytes, int, VirtioNetHeader]:
    data, header = superframe
    return data, header.hdr_len + header.gso_size, header


def test_short_train_is_not_worth_the_look() -> None:
    seven, eight = (cut(*Flow().superframe(bytes(100 * count), 100)) for count in (7, 8))

    assert join(seven, EVERYTHING) == [seven]
    assert [train.count for train in join(eight, EVERYTHING)] == [8]
    assert join(eight, EVERYTHING, least=9) == [eight]


def test_superframes_are_no_longer_than_ip_can_say() -> None:
    frames = list(Flow().frames(bytes(200 * 1000), 1000))
    result = join_all(Train(b"".join(frames), 1054), EVERYTHING)

    assert [train.count for train in result] == [65, 65, 65, 5]
    assert [bytes(frame) for train in result for frame in plain(train).frames()] == frames


def test_superframes_have_no_more_datagrams_than_a_socket_expects() -> None:
    train = cut(*Flow(protocol=17).superframe(bytes(150 * 22), 22))

    assert [joined.count for joined in join_all(train, EVERYTHING)] == [64, 64, 22]


def test_fixed_ids_are_joined_on_request() -> None:
    flow = Flow(protocol=17)
    train = Train(b"".join(flow.frame(bytes([n] * 30)) for n in range(5)), flow.size + 30)
    may_fragment = Train(
        b"".join(replace(flow, fragment=0).frame(bytes(30)) for _ in range(5)), flow.size + 30
    )

    assert join_all(train, EVERYTHING) == [train]
    assert [joined.count for joined in join_all(train, EVERYTHING, fixed_ids=True)] == [5]
    assert join_all(may_fragment, EVERYTHING, fixed_ids=True) == [may_fragment]


@settings(max_examples=200)
@given(st.binary(max_size=400), st.integers(1, 120), st.sampled_from([b"", *LIES[0][:1], UDP6_DATA]))
def test_any_train_is_joined_without_loss(noise: bytes, size: int, start: bytes) -> None:
    data = start[:200] + noise

    result = join_all(Train(data, size), EVERYTHING, fixed_ids=True)

    assert b"".join(bytes(plain(train).data) for train in result) == data
