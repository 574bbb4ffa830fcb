from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vport.errors import LocalProtocolError, RemoteProtocolError
from vport.wireguard.constants import REJECT_AFTER_MESSAGES
from vport.wireguard.keypair import Keypair
from vport.wireguard.noise import TransportKeys
from vport.wireguard.plaintext import pad


def keypairs(vectors: dict[str, Any], section: str) -> dict[str, Keypair]:
    """Both ends of a session of the vectors, by who they are."""
    handshake = vectors[section]
    forth = bytes.fromhex(handshake["key_initiator_to_responder"])
    back = bytes.fromhex(handshake["key_responder_to_initiator"])
    indexes = vectors["keys"]["initiator_index"], vectors["keys"]["responder_index"]
    return {
        "initiator": Keypair(TransportKeys(forth, back), *indexes, now=0.0, is_initiator=True),
        "responder": Keypair(TransportKeys(back, forth), *indexes[::-1], now=0.0, is_initiator=False),
    }


@pytest.mark.parametrize("section", ["handshake_with_psk", "handshake_zero_psk"])
def test_transport_messages_agree_with_the_vectors(vectors: dict[str, Any], section: str) -> None:
    ends = keypairs(vectors, section)
    for case in vectors[section]["transport"]:
        sender = ends[case["from"]]
        receiver = ends["responder" if case["from"] == "initiator" else "initiator"]
        sender.counter = case["counter"]
        plaintext = pad(bytes.fromhex(case["plaintext_unpadded"]), 1420)

        datagram = sender.seal(plaintext)

        assert datagram.hex() == case["datagram"], case["note"]
        assert sender.counter == case["counter"] + 1
        assert receiver.open(datagram) == (case["counter"], bytes.fromhex(case["plaintext_padded"]))


def test_recorded_transport_of_wireguard_go_is_opened_and_ours_made(vectors: dict[str, Any]) -> None:
    recorded = vectors["recorded_go_as_responder"]
    initiator = keypairs(vectors, "recorded_go_as_responder")["initiator"]
    initiator.remote_index = int.from_bytes(bytes.fromhex(recorded["response"])[4:8], "little")
    ping = bytes.fromhex(vectors["handshake_with_psk"]["transport"][1]["plaintext_padded"])

    assert initiator.seal(b"").hex() == recorded["our_keepalive"]
    assert initiator.seal(ping).hex() == recorded["our_ping"]
    reply = initiator.open(bytes.fromhex(recorded["its_echo_reply"]))
    assert reply == (0, bytes.fromhex(recorded["its_echo_reply_plaintext"]))

    recorded = vectors["recorded_go_as_initiator"]
    responder = keypairs(vectors, "recorded_go_as_initiator")["responder"]
    responder.remote_index = recorded["initiator_index"]
    first = responder.open(bytes.fromhex(recorded["its_first_data"]))
    assert first == (0, bytes.fromhex(recorded["its_first_data_plaintext"]))
    answer = keypairs(vectors, "recorded_go_as_initiator")["initiator"]
    assert answer.open(bytes.fromhex(recorded["our_echo_reply"]))[0] == 0


@given(offset=st.integers(8, 79), flip=st.integers(1, 255))
def test_mutated_transport_message_is_refused(vectors: dict[str, Any], offset: int, flip: int) -> None:
    ends = keypairs(vectors, "handshake_with_psk")
    datagram = bytearray(ends["initiator"].seal(bytes(48)))
    datagram[offset] ^= flip

    with pytest.raises(RemoteProtocolError):
        ends["responder"].open(datagram)


def test_keypair_sends_under_180_seconds_and_receives_up_to_180(vectors: dict[str, Any]) -> None:
    keypair = keypairs(vectors, "handshake_with_psk")["initiator"]

    assert keypair.can_send(1, 179.9)
    assert not keypair.can_send(1, 180.0)
    assert keypair.can_receive(180.0)
    assert not keypair.can_receive(180.1)


def test_counter_is_never_used_twice_nor_beyond_its_end(vectors: dict[str, Any]) -> None:
    keypair = keypairs(vectors, "handshake_with_psk")["initiator"]
    keypair.counter = REJECT_AFTER_MESSAGES - 3

    assert keypair.can_send(3, 0.0)
    assert not keypair.can_send(4, 0.0)
    with pytest.raises(LocalProtocolError):
        keypair.take(4)
    assert keypair.take(2) == REJECT_AFTER_MESSAGES - 3
    keypair.seal(b"")
    with pytest.raises(LocalProtocolError):
        keypair.seal(b"")


def test_keypair_shows_no_key(vectors: dict[str, Any]) -> None:
    keypair = keypairs(vectors, "handshake_with_psk")["initiator"]

    assert "8441" not in repr(keypair)
    assert not hasattr(keypair, "__dict__")
