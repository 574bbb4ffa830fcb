from __future__ import annotations

import random
import traceback
from ipaddress import ip_interface, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vport.errors import SettingsError
from vport.wireguard.config import Config, HostPort, PeerSection
from vport.wireguard.config_file import format_config, parse
from vport.wireguard.config_values import parse_endpoint
from vport.wireguard.keys import PresharedKey, PrivateKey, PublicKey
from vport.wireguard.settings import Mode

PRIVATE = PrivateKey(random.Random(1).randbytes(32))
SECRET = PRIVATE.encode()
PRESHARED = PresharedKey(random.Random(2).randbytes(32))
ALICE = PrivateKey(random.Random(3).randbytes(32)).public
BOB = PrivateKey(random.Random(4).randbytes(32)).public

SERVER = f"""\
# a server, as wg-quick has it
[Interface]
PrivateKey = {SECRET}
Address = 192.168.50.1/24, fd50::1/64   # two of them
address=10.0.0.1/8
ListenPort = 51820
DNS = 192.0.2.53, example.net
MTU = 1400
PostUp = iptables -A FORWARD -i %i -j ACCEPT; echo = done
Table = off

[peer]
publickey = {ALICE.encode()}
PresharedKey = {PRESHARED.encode()}
AllowedIPs = 192.168.50.77/32
AllowedIPs = fd50::77, 10.1.2.3/16
PersistentKeepalive = 25

[Peer]
PublicKey={BOB.encode()}
Endpoint = [2001:db8::1]:51821
AllowedIPs =
PersistentKeepalive = off
Name = Bob's laptop
Mode = Ethernet
"""


def test_file_of_a_server_is_read() -> None:
    assert parse(SERVER) == Config(
        private_key=PRIVATE,
        listen_port=51820,
        addresses=(
            ip_interface("192.168.50.1/24"),
            ip_interface("fd50::1/64"),
            ip_interface("10.0.0.1/8"),
        ),
        dns=("192.0.2.53", "example.net"),
        mtu=1400,
        peers=(
            PeerSection(
                public_key=ALICE,
                preshared_key=PRESHARED,
                allowed_ips=(
                    ip_network("192.168.50.77/32"),
                    ip_network("fd50::77/128"),
                    ip_network("10.1.0.0/16"),
                ),
                persistent_keepalive=25,
            ),
            PeerSection(
                public_key=BOB,
                endpoint=HostPort(host="2001:db8::1", port=51821),
                name="Bob's laptop",
                mode=Mode.ETHERNET,
            ),
        ),
        ignored=((9, "PostUp"), (10, "Table")),
    )


@given(
    st.builds(
        Config,
        private_key=st.binary(min_size=32, max_size=32).map(PrivateKey),
        listen_port=st.none() | st.integers(0, 65535),
        addresses=st.lists(st.ip_addresses().map(ip_interface), max_size=3).map(tuple),
        dns=st.lists(st.ip_addresses().map(str), max_size=2).map(tuple),
        mtu=st.none() | st.integers(576, 9000),
        peers=st.lists(
            st.builds(
                PeerSection,
                public_key=st.binary(min_size=32, max_size=32).map(PublicKey),
                preshared_key=st.none() | st.binary(min_size=32, max_size=32).map(PresharedKey),
                allowed_ips=st.lists(st.ip_addresses().map(ip_network), max_size=3, unique=True).map(tuple),
                endpoint=st.none()
                | st.builds(
                    HostPort,
                    host=st.sampled_from(["example.net", "192.0.2.1", "fd00::1", "fe80::1%eth0"]),
                    port=st.integers(1, 65535),
                ),
                persistent_keepalive=st.integers(0, 65535),
                name=st.sampled_from(["", "Bob", "Bob's laptop"]),
                mode=st.none() | st.just(Mode.ETHERNET),
            ),
            max_size=3,
            unique_by=(lambda peer: peer.public_key, lambda peer: peer.allowed_ips or peer.public_key),
        ).map(tuple),
    )
)
def test_format_then_parse_is_identity(config: Config) -> None:
    try:
        parsed = parse(format_config(config))
    except SettingsError as error:
        assert "another peer's" in str(error)  # noqa: PT017 - two peers may have drawn one prefix
    else:
        assert parsed == config


def test_file_for_a_stock_client_has_only_keys_that_it_knows() -> None:
    text = format_config(parse(SERVER), for_stock=True)

    assert "# Bob's laptop" in text
    assert "Name" not in text
    assert "Mode" not in text
    assert [peer.public_key for peer in parse(text).peers] == [ALICE, BOB]


def replaced(old: str, new: str) -> str:
    assert old in SERVER
    return SERVER.replace(old, new)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: there is no"),
        ("\n\nPrivateKey = x\n", "line 3: before any section"),
        ("[Interface]\nListenPort = 1\n", r"line 1: \[Interface\] has no PrivateKey"),
        (SERVER + "[Peer]\n", r"line 26: \[Peer\] has no PublicKey"),
        (SERVER + f"[Interface]\nPrivateKey={SECRET}", r"line 26: \[Interface\] stands in line 2 already"),
        (SERVER + "[Pear]\n", r"line 26: a section is \[Interface\] or \[Peer\]"),
        (SERVER + "[Peer\n", "line 26: a section is"),
        (replaced("ListenPort = 51820", "ListenPort = 65536"), "line 6: '65536' for a UDP port: 0 to 65535"),
        (replaced("ListenPort = 51820", "ListenPort = -1"), "line 6: '-1'"),
        (replaced("ListenPort = 51820", "ListenPort = ٣"), "line 6"),
        (replaced("MTU = 1400", "MTU = 100"), "line 8: '100' for an MTU in bytes: 576 to"),
        (replaced("MTU = 1400", "MTU 1400"), "line 8: text without a value"),
        (replaced("MTU = 1400", "Mtoo = 1400"), r"line 8: 'Mtoo' is no key of \[Interface\]: PrivateKey, "),
        (replaced("10.0.0.1/8", "10.0.0.1/33"), "line 5: '10.0.0.1/33' is no address"),
        (replaced("10.1.2.3/16", "10.1.2/16"), "line 16: '10.1.2/16' is no prefix"),
        (replaced("Keepalive = 25", "Keepalive = 65536"), "line 17: '65536' for a keepalive"),
        (replaced("[2001:db8::1]:51821", "2001:db8::1:51821"), "line 21: .* is no endpoint"),
        (replaced("[2001:db8::1]:51821", "[2001:db8::1]:0"), "line 21: '0' for the port of an endpoint"),
        (replaced("Mode = Ethernet", "Mode = token ring"), "line 25: mode 'token ring': ethernet or ip"),
        (replaced("Bob's laptop", "Bob\x07"), "line 24: a name has at most 64 printable"),
        (replaced("MTU = 1400", "ListenPort = 1"), "line 8: ListenPort stands in line 6 already"),
        (replaced(BOB.encode(), ALICE.encode()), "line 20: this public key is another peer's .* line 13"),
        (
            replaced("Mode = Ethernet", "AllowedIPs = fd50::77"),
            "line 25: fd50::77/128 is another peer's already, see line 16",
        ),
        (replaced("PostUp", "DNS = 1\n[Peer]\nPostUp"), r"line 10: \[Peer\] has no|line 11: 'PostUp'"),
    ],
)
def test_mistake_is_told_with_its_line_and_reason(text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        parse(text)


@pytest.mark.parametrize(
    "text",
    [
        replaced(SECRET, SECRET[:-2]),
        replaced(SECRET, SECRET[:5] + "*" + SECRET[6:]),
        replaced("PrivateKey = ", ""),
        replaced("PrivateKey = ", "PrivateKey"),
        replaced("PrivateKey", "PublicKey"),
        replaced(PRESHARED.encode(), SECRET[:-1]),
        replaced(BOB.encode(), SECRET + "="),
    ],
)
def test_secret_in_the_wrong_place_is_not_repeated(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse(text)
    shown = "".join(traceback.format_exception(caught.value))
    assert "line" in shown
    assert SECRET[7:20] not in shown


@given(st.text(alphabet="[]=#\nInterfacPeer PrivateKey:/0123456789,.", max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse(text)
    except SettingsError as error:
        assert str(error).startswith("line ")  # noqa: PT017 - either outcome is right


@pytest.mark.parametrize(
    "text", ["", "host", ":1", "host:", "a b:1", "[::1]", "::1:1", "[x]:1", "host:99999"]
)
def test_bad_endpoint_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="endpoint"):
        parse_endpoint(text)


def test_config_shows_no_secret() -> None:
    shown = repr(parse(SERVER))

    assert SECRET[:10] not in shown
    assert PRESHARED.encode()[:10] not in shown
