from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vport.errors import RemoteProtocolError
from vport.wireguard.cookie import MacChecker, MacStamper
from vport.wireguard.endpoint import Endpoint
from vport.wireguard.keys import PublicKey
from vport.wireguard.messages import decode_cookie_reply

if TYPE_CHECKING:
    from collections.abc import Callable

HOME = Endpoint("10.99.0.1", 51820).source()


def scripted(*pieces: bytes) -> Callable[[int], bytes]:
    """Randomness that is known beforehand."""
    rest = list(pieces)

    def entropy(size: int) -> bytes:
        assert len(rest[0]) == size
        return rest.pop(0)

    return entropy


@pytest.fixture
def public(vectors: dict[str, Any]) -> PublicKey:
    return PublicKey(bytes.fromhex(vectors["keys"]["responder_static_public"]))


def test_macs_and_cookies_agree_with_the_vectors(vectors: dict[str, Any], public: PublicKey) -> None:
    section = vectors["cookie"]
    secret, nonce = bytes.fromhex(section["secret"]), bytes.fromhex(section["nonce24"])
    source = bytes.fromhex(section["source_bytes"])
    checker, stamper = MacChecker(public, scripted(secret, nonce)), MacStamper(public)

    first = stamper.stamp(bytes.fromhex(section["initiation_with_mac2"])[:116], 0.0)
    assert checker.has_mac1(first)
    assert not checker.has_mac2(first, source, 0.0)
    reply = checker.reply(first, source, 0.0)
    assert reply.encode().hex() == section["reply_datagram"]
    stamper.receive(reply, 0.0)

    assert stamper.stamp(first[:116], 1.0).hex() == section["initiation_with_mac2"]
    assert checker.has_mac2(bytes.fromhex(section["initiation_with_mac2"]), source, 1.0)


def test_mac1_of_both_messages_agrees_with_the_vectors(vectors: dict[str, Any], public: PublicKey) -> None:
    initiator = PublicKey(bytes.fromhex(vectors["keys"]["initiator_static_public"]))
    for section in ("handshake_with_psk", "handshake_zero_psk"):
        for message, receiver in (("initiation", public), ("response", initiator)):
            datagram = bytes.fromhex(vectors[section][message])
            assert MacStamper(receiver).stamp(datagram[:-32], 0.0) == datagram
            assert MacChecker(receiver, scripted()).has_mac1(datagram)


def test_cookie_of_wireguard_go_is_used_as_recorded(vectors: dict[str, Any], public: PublicKey) -> None:
    section = vectors["recorded_go_cookie"]
    stamper = MacStamper(public)
    initiation = bytes.fromhex(section["initiation"])
    assert stamper.stamp(initiation[:116], 0.0) == initiation

    stamper.receive(decode_cookie_reply(bytes.fromhex(section["reply_datagram"])), 0.0)

    assert stamper.stamp(initiation[:116], 0.0).hex() == section["initiation_with_mac2"]


@given(offset=st.integers(0, 131), flip=st.integers(1, 255))
def test_mac1_covers_every_byte_before_it(vectors: dict[str, Any], offset: int, flip: int) -> None:
    public = PublicKey(bytes.fromhex(vectors["keys"]["responder_static_public"]))
    datagram = bytearray.fromhex(vectors["handshake_with_psk"]["initiation"])
    datagram[offset] ^= flip

    assert not MacChecker(public, scripted()).has_mac1(bytes(datagram))


class Exchange:
    """A stamper with the cookie that a checker gave it at time 0."""

    def __init__(self, public: PublicKey) -> None:
        self.checker = MacChecker(public, lambda size: bytes(range(size)))
        self.stamper = MacStamper(public)
        first = self.stamper.stamp(bytes(116), 0.0)
        self.reply = self.checker.reply(first, HOME, 0.0)


def test_cookie_is_bound_to_its_source(public: PublicKey) -> None:
    exchange = Exchange(public)
    exchange.stamper.receive(exchange.reply, 0.0)
    second = exchange.stamper.stamp(bytes(116), 1.0)

    assert exchange.checker.has_mac2(second, HOME, 1.0)
    assert not exchange.checker.has_mac2(second, Endpoint("10.99.0.2", 51820).source(), 1.0)
    assert not exchange.checker.has_mac2(second, Endpoint("10.99.0.1", 51821).source(), 1.0)


def test_mac2_covers_mac1(public: PublicKey) -> None:
    exchange = Exchange(public)
    exchange.stamper.receive(exchange.reply, 0.0)
    second = bytearray(exchange.stamper.stamp(bytes(116), 1.0))
    second[120] ^= 1

    assert not exchange.checker.has_mac2(bytes(second), HOME, 1.0)


def test_cookie_lives_120_seconds_on_both_sides(public: PublicKey) -> None:
    exchange = Exchange(public)
    exchange.stamper.receive(exchange.reply, 0.0)

    fresh, stale = exchange.stamper.stamp(bytes(116), 120.0), exchange.stamper.stamp(bytes(116), 120.1)

    assert fresh[-16:] != bytes(16)
    assert stale[-16:] == bytes(16)
    assert exchange.checker.has_mac2(fresh, HOME, 120.0)
    assert not exchange.checker.has_mac2(fresh, HOME, 120.1)


def test_secret_is_renewed_only_when_it_is_old(public: PublicKey) -> None:
    drawn: list[int] = []

    def entropy(size: int) -> bytes:
        drawn.append(size)
        return bytes(size)

    checker = MacChecker(public, entropy)
    for now in (0.0, 60.0, 120.0, 120.1):
        checker.reply(bytes(148), HOME, now)

    assert drawn == [32, 24, 24, 24, 32, 24]


def test_reply_is_taken_once_and_only_for_the_last_message(public: PublicKey) -> None:
    exchange = Exchange(public)
    exchange.stamper.receive(exchange.reply, 0.0)
    with pytest.raises(RemoteProtocolError):
        exchange.stamper.receive(exchange.reply, 50.0)  # a repetition would make an old cookie young

    exchange = Exchange(public)
    exchange.stamper.stamp(b"\1" + bytes(115), 0.0)
    with pytest.raises(RemoteProtocolError):
        exchange.stamper.receive(exchange.reply, 0.0)


@given(offset=st.integers(8, 63), flip=st.integers(1, 255))
def test_mutated_reply_is_refused(vectors: dict[str, Any], offset: int, flip: int) -> None:
    public = PublicKey(bytes.fromhex(vectors["keys"]["responder_static_public"]))
    exchange = Exchange(public)
    datagram = bytearray(exchange.reply.encode())
    datagram[offset] ^= flip

    with pytest.raises(RemoteProtocolError):
        exchange.stamper.receive(decode_cookie_reply(datagram), 0.0)


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("192.0.2.7", "c0000207"),
        ("::ffff:192.0.2.7", "c0000207"),
        ("2001:db8:1:2:3:4:5:6", "20010db800010002"),
        ("fe80::1", "fe80000000000000"),
    ],
)
def test_handshakes_are_rationed_by_ipv4_address_or_ipv6_network(host: str, network: str) -> None:
    assert Endpoint(host, 1).network().hex() == network
    assert Endpoint(host, 1).source() != Endpoint(host, 2).source()


def test_endpoint_is_written_as_in_a_url() -> None:
    assert str(Endpoint("192.0.2.7", 51820)) == "192.0.2.7:51820"
    assert str(Endpoint("2001:db8::1", 51820)) == "[2001:db8::1]:51820"
