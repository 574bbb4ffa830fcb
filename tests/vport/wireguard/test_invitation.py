"""Tokens, the words of enrolment, addresses of a pool."""

from __future__ import annotations

import base64
import contextlib
import os
from hashlib import blake2s
from ipaddress import ip_address, ip_interface, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vport.errors import FrameError, SettingsError
from vport.wireguard.config import HostPort
from vport.wireguard.config_file import format_config, parse
from vport.wireguard.invitation import (
    Invitation,
    config_of,
    decode_confirmation,
    decode_enrolment,
    decode_token,
    encode_confirmation,
    encode_enrolment,
    free_address,
    stock_config,
)
from vport.wireguard.keys import PresharedKey, PrivateKey


def invitation(host: str = "vs.example.net", port: int = 51820) -> Invitation:
    return Invitation(
        server_key=PrivateKey.generate(os.urandom).public,
        key=PrivateKey.generate(os.urandom),
        preshared_key=PresharedKey.generate(os.urandom),
        endpoint=HostPort(host=host, port=port),
        addresses=(ip_interface("10.1.1.5/24"), ip_interface("fd00::5/64")),
        mtu=1400,
    )


def test_token_says_what_was_put_into_it() -> None:
    one = invitation()
    token = one.encode()
    assert decode_token(f"  {token}\n") == one
    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def test_repr_of_an_invitation_shows_no_secret() -> None:
    one = invitation()
    assert one.key.encode() not in repr(one)
    assert one.preshared_key.encode() not in repr(one)


@given(st.data())
def test_mistyped_token_is_refused_without_repeating_it(data: st.DataObject) -> None:
    token = invitation().encode()
    at = data.draw(st.integers(0, len(token) - 2))  # the last character has spare bits
    wrong = data.draw(st.sampled_from("Aq_- +=é").filter(lambda character: character != token[at]))
    with pytest.raises(SettingsError) as caught:
        decode_token(token[:at] + wrong + token[at + 1 :])
    assert token[:20] not in str(caught.value)


@given(
    st.text(max_size=300) | st.binary(max_size=300).map(lambda raw: base64.urlsafe_b64encode(raw).decode())
)
def test_decode_token_accepts_or_raises_settings_error(text: str) -> None:
    with pytest.raises(SettingsError):
        decode_token(text)


@given(st.binary(min_size=100, max_size=300))
def test_body_with_a_right_checksum_is_accepted_or_refused(body: bytes) -> None:
    body = b"\x01" + body
    raw = body + blake2s(body).digest()[:4]
    with contextlib.suppress(SettingsError):
        decode_token(base64.urlsafe_b64encode(raw).decode())


def test_token_of_a_later_version_says_so() -> None:
    body = b"\x02" + bytes(150)
    token = base64.urlsafe_b64encode(body + blake2s(body).digest()[:4]).decode()
    with pytest.raises(SettingsError, match="version 2"):
        decode_token(token)


def test_words_of_enrolment_are_not_mistaken_for_each_other() -> None:
    key = PrivateKey.generate(os.urandom).public
    assert decode_enrolment(encode_enrolment(key)) == key
    assert decode_confirmation(encode_confirmation(key)) == key
    for decode, wrong in (
        (decode_enrolment, encode_confirmation(key)),
        (decode_confirmation, encode_enrolment(key)),
        (decode_enrolment, encode_enrolment(key) + b"x"),
        (decode_enrolment, b""),
    ):
        with pytest.raises(FrameError):
            decode(wrong)


def test_file_of_a_joined_port_can_be_read_back() -> None:
    one = invitation()
    key = PrivateKey.generate(os.urandom)
    read = parse(format_config(config_of(one, key)))
    assert read.private_key == key
    assert read.addresses == one.addresses
    assert read.peers[0].public_key == one.server_key
    assert read.peers[0].endpoint == one.endpoint


def test_file_of_a_stock_client_has_its_own_address_and_the_lan_behind_the_tunnel() -> None:
    one = invitation()
    config = stock_config(
        one.key,
        one.preshared_key,
        one.addresses,
        (one.server_key, one.endpoint),
        (ip_network("10.1.1.0/24"), ip_network("fd00::/64")),
        1400,
    )
    text = format_config(config, for_stock=True)
    assert "Address = 10.1.1.5/32, fd00::5/128" in text
    assert "AllowedIPs = 10.1.1.0/24, fd00::/64" in text
    assert "MTU = 1400" in text
    assert "Mode" not in text


def test_free_address_is_the_lowest_that_nobody_has() -> None:
    network = ip_network("10.1.1.0/29")
    taken = {ip_address(f"10.1.1.{number}") for number in (1, 2, 4)}
    assert free_address(network, taken) == ip_interface("10.1.1.3/29")
    with pytest.raises(SettingsError, match="no address"):
        free_address(network, {ip_address(f"10.1.1.{number}") for number in range(8)})
