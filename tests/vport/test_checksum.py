"""Checksums: against a loop over words as in RFC 1071, and against scapy."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP, in4_chksum
from scapy.layers.inet6 import IPv6, in6_chksum
from scapy.packet import Raw
from scapy.utils import checksum as scapy_checksum

from vport.checksum import checksum, complete_checksums, ones_sum, pseudo_sum, row_sums
from vport.errors import FrameError
from vport.offload import NO_OFFLOAD


def word_by_word(data: bytes) -> int:
    """Add 16-bit words with end-around carry (RFC 1071 section 1)."""
    total = 0
    for at in range(0, len(data), 2):
        total += int.from_bytes(data[at : at + 2].ljust(2, b"\0"), "big")
        total = (total & 0xFFFF) + (total >> 16)
    return total


some_bytes = st.one_of(
    st.binary(max_size=80),
    st.builds(
        lambda seed, size: (seed * (size // len(seed) + 1))[:size],
        st.binary(min_size=1),
        st.integers(0, 3000),
    ),
    st.sampled_from([b"\xff\xff", b"\0\xff\xff\0", b"\xff" * 2000, bytes(2000), b"\xff" * 65535]),
)


def test_example_of_the_rfc() -> None:
    assert ones_sum(bytes.fromhex("0001f203f4f5f6f7")) == 0xDDF2


@given(some_bytes)
def test_sum_agrees_with_word_by_word(data: bytes) -> None:
    assert ones_sum(data) == ones_sum(memoryview(data)) == word_by_word(data)


@given(some_bytes)
def test_checksum_agrees_with_scapy(data: bytes) -> None:
    assert checksum(data) == scapy_checksum(data)


@given(some_bytes, st.integers(1, 1600), st.data())
def test_sums_of_rows_agree_with_row_by_row(data: bytes, stride: int, draw: st.DataObject) -> None:
    stride = min(stride, len(data))
    assume(stride)
    rows = len(data) // stride
    start = draw.draw(st.integers(0, stride - 1))
    length = draw.draw(st.integers(1, stride - start))

    sums = row_sums(data, start, rows, stride, length)

    parts = [data[row * stride + start :][:length] for row in range(rows)]
    assert [total % 0xFFFF for total in sums.tolist()] == [word_by_word(part) % 0xFFFF for part in parts]


@pytest.mark.parametrize("protocol", [6, 17])
def test_pseudo_header_agrees_with_scapy(protocol: int) -> None:
    payload = bytes(range(77))
    for ip, chksum, addresses in (
        (IP(src="10.1.1.1", dst="192.0.2.200"), in4_chksum, bytes.fromhex("0a010101c00002c8")),
        (
            IPv6(src="fe80::1", dst="ff02::2"),
            in6_chksum,
            bytes.fromhex("fe80" + "0" * 27 + "1ff02" + "0" * 27 + "2"),
        ),
    ):
        partial = pseudo_sum(addresses, protocol, len(payload))

        expected = chksum(protocol, ip, payload)
        assert checksum(partial.to_bytes(2, "big") + payload) == expected


@given(st.integers(1, 70), st.integers(0, 60), st.integers(0, 60), st.booleans())
def test_train_of_small_frames_is_completed_at_once(count: int, size: int, rest: int, is_udp: bool) -> None:
    network = IP(src="10.0.0.1", dst="10.0.0.2")
    transport = UDP(sport=1, dport=2) if is_udp else TCP(sport=1, dport=2)
    field = 6 if is_udp else 16
    finished, partial = bytearray(), bytearray()
    for number in range(count):
        length = min(rest, size) if number == count - 1 else size
        frame = bytes(14) + bytes(
            network / transport / Raw(bytes((number + at) % 256 for at in range(length)))
        )
        finished += frame
        sum_of_pseudo = pseudo_sum(frame[26:34], 17 if is_udp else 6, len(frame) - 34)
        partial += frame[: 34 + field] + sum_of_pseudo.to_bytes(2, "big") + frame[36 + field :]
    header = NO_OFFLOAD._replace(flags=1, csum_start=34, csum_offset=field)

    complete_checksums(partial, 14 + len(network / transport) + size, header)

    assert partial == finished


def test_result_of_zero_becomes_65535() -> None:
    header = NO_OFFLOAD._replace(flags=1, csum_start=2, csum_offset=6)
    data = bytearray(b"\1\2" + b"\xff\xff" * 5) * 3

    complete_checksums(data, 12, header)

    assert data == (b"\1\2" + b"\xff\xff" * 5) * 3


@pytest.mark.parametrize("size", [1, 40, 41, 82, 83, 120])
def test_field_outside_a_frame_is_refused(size: int) -> None:
    header = NO_OFFLOAD._replace(flags=1, csum_start=34, csum_offset=6)

    with pytest.raises(FrameError, match="outside"):
        complete_checksums(bytearray(size), 41, header)
