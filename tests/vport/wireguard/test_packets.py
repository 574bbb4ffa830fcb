from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vport.errors import FrameError
from vport.wireguard import packets

V6 = bytes.fromhex("6000000000043a40") + bytes.fromhex("fd50" + "00" * 13 + "77") + bytes(16) + b"data"


@given(st.binary(max_size=60))
@example(b"")
@example(b"\x45\x00\x00\x14" + bytes(16))
@example(b"\x44\x00\x00\x14" + bytes(16))
@example(b"\x4f\x00\x00\x14" + bytes(16))
@example(V6)
@example(V6[:-1])
def test_size_accepts_or_raises_frame_error(packet: bytes) -> None:
    try:
        size = packets.size(packet)
    except FrameError:
        return
    assert 20 <= size <= len(packet)
    assert packets.version(packet) in (4, 6)
    width = 4 if packets.version(packet) == 4 else 16
    assert len(packets.source(packet)) == len(packets.destination(packet)) == width


def test_padding_is_cut_by_the_length_field(vectors: dict[str, Any]) -> None:
    case = vectors["handshake_with_psk"]["transport"][1]
    padded = bytes.fromhex(case["plaintext_padded"])

    assert padded[: packets.size(padded)].hex() == case["plaintext_unpadded"]
    assert packets.source(padded) == bytes((10, 77, 0, 2))
    assert packets.destination(padded) == bytes((10, 77, 0, 1))
    assert packets.size(V6 + bytes(100)) == 44
    assert packets.source(V6)[-1] == 0x77
    assert packets.destination(V6) == bytes(16)


@pytest.mark.parametrize("total", [19, 29])
def test_length_field_that_contradicts_the_packet_is_refused(total: int) -> None:
    with pytest.raises(FrameError):
        packets.size(b"\x45\x00" + total.to_bytes(2, "big") + bytes(24))
