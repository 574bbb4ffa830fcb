from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vport.errors import RemoteProtocolError
from vport.wireguard.keys import NO_PRESHARED_KEY, PresharedKey, PrivateKey, PublicKey
from vport.wireguard.messages import Initiation, decode_initiation, decode_response
from vport.wireguard.noise import Initiator, Responder, Transcript

HANDSHAKES = ["handshake_with_psk", "handshake_zero_psk"]
STAMP = bytes(range(12))


class Parties:
    """The keys of the vectors."""

    def __init__(self, vectors: dict[str, Any], section: str = "handshake_with_psk") -> None:
        keys = vectors["keys"]
        self.initiator = PrivateKey(bytes.fromhex(keys["initiator_static_private"]))
        self.responder = PrivateKey(bytes.fromhex(keys["responder_static_private"]))
        self.initiator_ephemeral = PrivateKey(bytes.fromhex(keys["initiator_ephemeral_private"]))
        self.responder_ephemeral = PrivateKey(bytes.fromhex(keys["responder_ephemeral_private"]))
        self.shared = bytes.fromhex(keys["static_static"])
        self.preshared = PresharedKey(bytes.fromhex(keys["preshared_key"]))
        if section == "handshake_zero_psk":
            self.preshared = NO_PRESHARED_KEY
        self.initiator_index = keys["initiator_index"]
        self.responder_index = keys["responder_index"]
        self.timestamp = bytes.fromhex(keys["timestamp"])

    def start(self) -> Initiator:
        return Initiator(
            self.initiator, self.responder.public, self.shared, self.preshared, self.initiator_ephemeral
        )


@pytest.mark.parametrize("section", HANDSHAKES)
def test_every_step_of_the_transcript_agrees_with_the_vectors(vectors: dict[str, Any], section: str) -> None:
    parties = Parties(vectors, section)
    steps = iter(vectors[section]["trace"])
    transcript = Transcript(parties.responder.public)

    def check(name: str, **values: bytes) -> None:
        step = next(steps)
        assert step["step"] == name
        state = {"h": transcript.h, "ck": transcript.ck} | values
        for field in step.keys() - {"step"}:
            assert state[field].hex() == step[field], (name, field)

    check("h after responder static")
    transcript.mix_ephemeral(parties.initiator_ephemeral.public.raw)
    check("after initiator ephemeral")
    key = transcript.mix_key(parties.initiator_ephemeral.exchange(parties.responder.public))
    check("es", key=key)
    check("sealed static", sealed=transcript.seal(key, parties.initiator.public.raw))
    key = transcript.mix_key(parties.shared)
    check("ss", key=key)
    check("sealed timestamp", sealed=transcript.seal(key, parties.timestamp))
    transcript.mix_ephemeral(parties.responder_ephemeral.public.raw)
    check("after responder ephemeral")
    transcript.mix_secret(parties.responder_ephemeral.exchange(parties.initiator_ephemeral.public))
    check("ee")
    transcript.mix_secret(parties.responder_ephemeral.exchange(parties.initiator.public))
    check("se")
    key = transcript.mix_preshared(parties.preshared.raw)
    tau = bytes.fromhex(vectors[section]["trace"][9]["tau"])  # internal to the step; h and key depend on it
    check("psk", key=key, tau=tau)
    check("sealed empty", sealed=transcript.seal(key, b""))
    assert next(steps, None) is None
    assert transcript.split()[0].hex() == vectors[section]["key_initiator_to_responder"]
    assert transcript.split()[1].hex() == vectors[section]["key_responder_to_initiator"]


@pytest.mark.parametrize("section", HANDSHAKES)
def test_both_ends_make_the_messages_and_keys_of_the_vectors(vectors: dict[str, Any], section: str) -> None:
    parties, expected = Parties(vectors, section), vectors[section]

    initiator = parties.start()
    initiation = initiator.write_initiation(parties.initiator_index, parties.timestamp)
    assert initiation.encode().hex() == expected["initiation"][: 2 * 116]

    responder = Responder(parties.responder, initiation)
    assert responder.remote_static == parties.initiator.public.raw
    assert responder.read_timestamp(parties.shared) == parties.timestamp
    response, ours = responder.write_response(
        parties.preshared, parties.responder_ephemeral, parties.responder_index
    )
    assert response.encode().hex() == expected["response"][: 2 * 60]

    theirs = initiator.read_response(response)
    assert theirs.send.hex() == ours.receive.hex() == expected["key_initiator_to_responder"]
    assert theirs.receive.hex() == ours.send.hex() == expected["key_responder_to_initiator"]


def test_response_of_wireguard_go_is_read(vectors: dict[str, Any]) -> None:
    parties, recorded = Parties(vectors), vectors["recorded_go_as_responder"]
    initiator = parties.start()
    initiation = initiator.write_initiation(parties.initiator_index, parties.timestamp)
    assert initiation.encode().hex() == recorded["initiation"][: 2 * 116]

    keys = initiator.read_response(decode_response(bytes.fromhex(recorded["response"])))

    assert keys.send.hex() == recorded["key_initiator_to_responder"]
    assert keys.receive.hex() == recorded["key_responder_to_initiator"]


def test_initiation_of_wireguard_go_is_answered_as_recorded(vectors: dict[str, Any]) -> None:
    parties, recorded = Parties(vectors), vectors["recorded_go_as_initiator"]
    initiation = decode_initiation(bytes.fromhex(recorded["initiation"]))

    responder = Responder(parties.responder, initiation)

    assert responder.remote_static == parties.initiator.public.raw
    assert responder.read_timestamp(parties.shared).hex() == recorded["timestamp"]
    assert initiation.sender == recorded["initiator_index"]
    response, keys = responder.write_response(
        parties.preshared, parties.responder_ephemeral, parties.responder_index
    )
    assert response.encode().hex() == recorded["response"][: 2 * 60]
    assert keys.receive.hex() == recorded["key_initiator_to_responder"]
    assert keys.send.hex() == recorded["key_responder_to_initiator"]


@given(offset=st.integers(8, 115), flip=st.integers(1, 255))
def test_mutated_initiation_is_refused(vectors: dict[str, Any], offset: int, flip: int) -> None:
    parties = Parties(vectors)
    message = bytearray(parties.start().write_initiation(1, STAMP).encode())
    message[offset] ^= flip
    if offset == 39 and flip == 0x80:  # X25519 ignores this bit, but the transcript does not
        assert message[39] >= 0x80

    def read() -> None:
        Responder(parties.responder, decode_initiation(message)).read_timestamp(parties.shared)

    with pytest.raises(RemoteProtocolError):
        read()


@given(offset=st.integers(12, 59), flip=st.integers(1, 255))
def test_mutated_response_is_refused_and_the_genuine_one_still_taken(
    vectors: dict[str, Any], offset: int, flip: int
) -> None:
    parties = Parties(vectors)
    initiator = parties.start()
    responder = Responder(parties.responder, initiator.write_initiation(1, STAMP))
    responder.read_timestamp(parties.shared)
    response, ours = responder.write_response(parties.preshared, parties.responder_ephemeral, 2)
    message = bytearray(response.encode())
    message[offset] ^= flip

    with pytest.raises(RemoteProtocolError):
        initiator.read_response(decode_response(message))

    assert initiator.read_response(response).send == ours.receive


def test_other_preshared_key_other_responder_and_other_initiator_are_refused(vectors: dict[str, Any]) -> None:
    parties = Parties(vectors)
    initiator = parties.start()
    initiation = initiator.write_initiation(1, STAMP)
    responder = Responder(parties.responder, initiation)
    responder.read_timestamp(parties.shared)
    response, _ = responder.write_response(NO_PRESHARED_KEY, parties.responder_ephemeral, 2)

    with pytest.raises(RemoteProtocolError):
        initiator.read_response(response)
    with pytest.raises(RemoteProtocolError):
        Responder(parties.initiator, initiation)
    with pytest.raises(RemoteProtocolError):
        Responder(parties.responder, initiation).read_timestamp(bytes(32))


def test_ephemeral_of_low_order_is_refused(vectors: dict[str, Any]) -> None:
    parties = Parties(vectors)

    with pytest.raises(RemoteProtocolError, match="low order"):
        Responder(parties.responder, Initiation(1, bytes(32), bytes(48), bytes(28)))


def test_transcript_copy_goes_its_own_way() -> None:
    transcript = Transcript(PublicKey(bytes(32)))
    twin = transcript.copy()
    twin.mix_ephemeral(bytes(32))

    assert (twin.ck, twin.h) != (transcript.ck, transcript.h)
    assert transcript.h == Transcript(PublicKey(bytes(32))).h
