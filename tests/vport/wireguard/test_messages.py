from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vport.errors import FrameError
from vport.wireguard import messages
from vport.wireguard.constants import MessageType

SIZES = {1: 148, 2: 92, 3: 64}


@given(st.binary(max_size=200))
@example(b"\4\0\0\0" + bytes(28))
@example(b"\4\0\0\0" + bytes(27))
@example(b"\1\0\0\1" + bytes(144))
@example(b"\0\0\0\0" + bytes(144))
@example(b"\5\0\0\0" + bytes(144))
@example(b"\3")
def test_decode_type_accepts_or_raises_frame_error(datagram: bytes) -> None:
    kind = int.from_bytes(datagram[:4], "little")
    is_message = len(datagram) >= 32 if kind == 4 else SIZES.get(kind) == len(datagram)
    try:
        assert messages.decode_type(datagram) == kind
    except FrameError:
        assert not is_message
    else:
        assert is_message


@pytest.mark.parametrize("kind", [1, 2, 3])
@pytest.mark.parametrize("delta", [-1, 1])
def test_handshake_messages_have_exact_lengths(kind: int, delta: int) -> None:
    right = bytes((kind, 0, 0, 0)) + bytes(SIZES[kind] - 4)

    assert messages.decode_type(right) == kind
    with pytest.raises(FrameError):
        messages.decode_type(right + b"\0" if delta > 0 else right[:-1])


def test_decode_then_encode_gives_the_recorded_messages(vectors: dict[str, Any]) -> None:
    for section in ("handshake_with_psk", "recorded_go_as_initiator", "recorded_go_as_responder"):
        initiation = bytes.fromhex(vectors[section]["initiation"])
        response = bytes.fromhex(vectors[section]["response"])
        assert messages.decode_type(initiation) is MessageType.INITIATION
        assert messages.decode_type(response) is MessageType.RESPONSE
        assert messages.decode_initiation(initiation).encode() == initiation[:116]
        assert messages.decode_response(response).encode() == response[:60]
        assert messages.decode_response(response).receiver == messages.decode_initiation(initiation).sender
    for section in ("cookie", "recorded_go_cookie"):
        reply = bytes.fromhex(vectors[section]["reply_datagram"])
        assert messages.decode_type(reply) is MessageType.COOKIE_REPLY
        assert messages.decode_cookie_reply(reply).encode() == reply


def test_macs_are_the_last_32_bytes(vectors: dict[str, Any]) -> None:
    datagram = bytes.fromhex(vectors["cookie"]["initiation_with_mac2"])
    covered, mac1, mac2 = messages.split_macs(datagram)

    assert covered + mac1 + mac2 == datagram
    assert mac1.hex() == vectors["cookie"]["aad_mac1"]
    assert len(mac2) == 16
