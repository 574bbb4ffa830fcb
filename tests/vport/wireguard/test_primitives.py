from __future__ import annotations

from typing import Any

import pytest

from vport.errors import RemoteProtocolError
from vport.wireguard import primitives
from vport.wireguard.constants import CONSTRUCTION, IDENTIFIER


def unhex(section: dict[str, Any], *names: str) -> list[bytes]:
    return [bytes.fromhex(section[name]) for name in names]


def test_initial_values_follow_from_construction_and_identifier(vectors: dict[str, Any]) -> None:
    constants = vectors["constants"]

    assert constants["construction"].encode() == CONSTRUCTION
    assert constants["identifier"].encode() == IDENTIFIER
    chain = primitives.digest(CONSTRUCTION)
    assert chain.hex() == constants["initial_chaining_key"]
    assert primitives.digest(chain, IDENTIFIER).hex() == constants["initial_hash"]


def test_hash_keyed_mac_and_hmac_agree_with_the_vectors(vectors: dict[str, Any]) -> None:
    section = vectors["primitives"]

    data, expected = unhex(section["hash"], "input", "output")
    assert primitives.digest(data) == expected
    key, data, expected = unhex(section["keyed_mac16"], "key", "input", "output")
    assert primitives.mac(key, data) == expected
    key, data, expected = unhex(section["hmac"], "key", "input", "output")
    assert primitives.hmac(key, data) == expected


@pytest.mark.parametrize("name", ["kdf3", "kdf2_empty_input"])
def test_kdf_agrees_with_the_vectors(vectors: dict[str, Any], name: str) -> None:
    section = vectors["primitives"][name]
    key, data = unhex(section, "key", "input")
    outputs = tuple(bytes.fromhex(output) for output in section["outputs"])

    assert (primitives.kdf1(key, data),) == outputs[:1]
    assert primitives.kdf2(key, data) == outputs[:2]
    assert primitives.kdf3(key, data)[: len(outputs)] == outputs


def test_hchacha20_agrees_with_the_vector(vectors: dict[str, Any]) -> None:
    key, nonce, output = unhex(vectors["primitives"]["hchacha20"], "key", "nonce16", "output")

    assert primitives.hchacha20(key, nonce) == output


def test_xchacha20poly1305_seals_and_opens_the_vector(vectors: dict[str, Any]) -> None:
    section = vectors["primitives"]["xchacha20poly1305"]
    key, nonce, associated, plaintext, sealed = unhex(section, "key", "nonce24", "aad", "plaintext", "sealed")

    assert primitives.xseal(key, nonce, plaintext, associated) == sealed
    assert primitives.xopen(key, nonce, sealed, associated) == plaintext
    with pytest.raises(RemoteProtocolError):
        primitives.xopen(key, nonce, sealed, associated + b"x")


def test_open_refuses_what_was_sealed_for_another_place() -> None:
    sealed = primitives.seal(bytes(32), b"text", b"here")

    assert primitives.open_sealed(bytes(32), sealed, b"here") == b"text"
    with pytest.raises(RemoteProtocolError):
        primitives.open_sealed(bytes(32), sealed, b"there")
