from __future__ import annotations

import random
import traceback
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vport.errors import RemoteProtocolError, SettingsError
from vport.wireguard.keys import PresharedKey, PrivateKey, PublicKey
from vport.wireguard.noise import TransportKeys

LOW_ORDER = [bytes(32), b"\1" + bytes(31), bytes.fromhex("ecff" + "ff" * 29 + "7f")]


def test_exchange_and_public_key_agree_with_the_vectors(vectors: dict[str, Any]) -> None:
    section = vectors["primitives"]["x25519"]
    private = PrivateKey(bytes.fromhex(section["private"]))

    assert private.exchange(PublicKey(bytes.fromhex(section["public"]))).hex() == section["shared"]
    keys = vectors["keys"]
    for owner in ("initiator_static", "responder_static", "initiator_ephemeral", "responder_ephemeral"):
        public = PrivateKey(bytes.fromhex(keys[f"{owner}_private"])).public
        assert public.raw.hex() == keys[f"{owner}_public"]


def test_keys_of_the_macs_agree_with_the_vectors(vectors: dict[str, Any]) -> None:
    keys, macs = vectors["keys"], vectors["mac_keys"]
    for owner in ("responder", "initiator"):
        public = PublicKey(bytes.fromhex(keys[f"{owner}_static_public"]))
        assert public.mac1_key.hex() == macs[f"mac1_key_for_messages_to_{owner}"]
        assert public.cookie_key.hex() == macs[f"cookie_key_of_{owner}"]


@pytest.mark.parametrize("raw", LOW_ORDER)
def test_exchange_refuses_points_of_low_order(raw: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        PrivateKey(bytes(range(32))).exchange(PublicKey(raw))


@given(st.binary(min_size=32, max_size=32))
def test_encode_then_parse_is_identity(raw: bytes) -> None:
    assert PresharedKey.parse(PresharedKey(raw).encode()).raw == raw
    assert PublicKey.parse(f" {PublicKey(raw).encode()}\n") == PublicKey(raw)


@given(st.binary(min_size=32, max_size=32))
def test_private_key_is_clamped_once_and_for_all(raw: bytes) -> None:
    key = PrivateKey(raw)

    assert key.raw[0] & 7 == 0
    assert key.raw[31] & 0xC0 == 0x40
    assert PrivateKey.parse(key.encode()).raw == key.raw


@given(st.text(max_size=50))
@example("A" * 43 + "=")
@example("A" * 42 + "B=")  # spare bits set: a second spelling of the same key
@example("=" * 44)
@example("\u00e9" * 44)
def test_parse_accepts_the_canonical_form_or_raises_settings_error(text: str) -> None:
    try:
        key = PublicKey.parse(text)
    except SettingsError:
        assert text != "A" * 43 + "="
    else:
        assert key.encode() == text.strip()


def test_generated_keys_come_from_the_given_randomness() -> None:
    assert PrivateKey.generate(random.Random(7).randbytes) == PrivateKey(random.Random(7).randbytes(32))
    assert PresharedKey.generate(random.Random(7).randbytes).raw == random.Random(7).randbytes(32)


def test_keys_differ_by_kind_as_well_as_by_bytes() -> None:
    assert PublicKey(bytes(32)) == PublicKey(bytes(32))
    assert PublicKey(bytes(32)) != PublicKey(b"\1" + bytes(31))
    assert PublicKey(bytes(32)) != PresharedKey(bytes(32))
    assert len({PublicKey(bytes(32)), PublicKey(bytes(32)), PresharedKey(bytes(32))}) == 2


@pytest.mark.parametrize("kind", [PrivateKey, PresharedKey])
def test_secrets_show_in_no_repr(kind: type[PrivateKey | PresharedKey]) -> None:
    key = kind(random.Random(1).randbytes(32))

    for text in (repr(key), str(key), f"{key}", repr([key])):
        assert key.encode()[:8] not in text
        assert key.raw.hex()[:8] not in text
        assert repr(key.raw)[2:10] not in text
    assert "secret" not in repr(TransportKeys(b"secret", b"secret"))


@pytest.mark.parametrize("kind", [PrivateKey, PresharedKey, PublicKey])
@pytest.mark.parametrize("spoil", [lambda text: text[:-2], lambda text: text[:5] + "!" + text[6:]])
def test_errors_do_not_repeat_what_may_be_a_secret(kind: type[PublicKey], spoil: Any) -> None:
    text = spoil(PrivateKey(random.Random(2).randbytes(32)).encode())

    with pytest.raises(SettingsError) as caught:
        kind.parse(text)

    shown = "".join(traceback.format_exception(caught.value))
    assert text[:5] not in shown
    assert text[8:20] not in shown


@pytest.mark.parametrize("size", [0, 31, 33])
def test_key_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(SettingsError, match=f"not {size}"):
        PrivateKey(bytes(size))
