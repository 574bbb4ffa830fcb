"""WireGuard peers in a configuration file: read, refused with table, key and what is right, and written."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from vport.errors import SettingsError
from vport.ethernet import MacAddress, Vid
from vport.wireguard.config import PeerSection
from vport.wireguard.config_values import parse_endpoint
from vport.wireguard.keys import PresharedKey, PublicKey
from vport.wireguard.settings import Mode
from vswitch.config_file import read_config, write_config

ONE, OTHER, SECRET = (PublicKey(bytes([number]) * 32).encode() for number in (1, 2, 3))
WHOLE = f"""\
numports = 64
listen = []

[[port]]
number = 3
descr = "whoever comes"

[[wireguard]]
listen = "wg://:51820?lan=10.1.1.1/24"

[[wireguard.peer]]
name = "laptop"
public-key = "{ONE}"
preshared-key = "{SECRET}"
mode = "ethernet"
allowed-ips = ["10.1.1.7"]
endpoint = "laptop.example.net:51820"
keepalive = 25
port = 7
vlan = 10
tagged = [20, 30]
macs = ["02:00:00:00:00:01"]
max-macs = 2

[[wireguard.peer]]
name = "phone"
public-key = "{OTHER}"
mode = "ip"
allowed-ips = ["10.1.1.8/32", "fd00::8/128"]
broadcasts = true
"""


def test_every_key_is_read() -> None:
    (listener,) = read_config(WHOLE, "lan.toml").wireguard

    assert str(listener.listen) == "wg://:51820?lan=10.1.1.1/24"
    assert listener.peers == (
        PeerSection(
            name="laptop",
            public_key=PublicKey.parse(ONE),
            preshared_key=PresharedKey.parse(SECRET),
            mode=Mode.ETHERNET,
            allowed_ips=(ip_network("10.1.1.7"),),
            endpoint=parse_endpoint("laptop.example.net:51820"),
            persistent_keepalive=25,
            port=7,
            vlan=Vid(10),
            tagged_vlans=(Vid(20), Vid(30)),
            macs=(MacAddress(bytes.fromhex("020000000001")),),
            max_macs=2,
        ),
        PeerSection(
            name="phone",
            public_key=PublicKey.parse(OTHER),
            mode=Mode.IP,
            allowed_ips=(ip_network("10.1.1.8"), ip_network("fd00::8")),
            broadcasts=True,
        ),
    )


def test_file_with_peers_has_no_other_listener_unless_it_says_so() -> None:
    assert read_config(WHOLE.replace("listen = []\n", ""), "f").listen == ()


def test_peer_with_addresses_is_a_stock_client_where_nothing_else_is_said() -> None:
    (listener,) = read_config(WHOLE.replace('mode = "ip"\n', ""), "f").wireguard
    assert [peer.carries for peer in listener.peers] == [Mode.ETHERNET, Mode.IP]


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        (ONE, "x", "f:13: wireguard[0].peer[0].public-key: a public key is 44 characters of base64, this"),
        (f'public-key = "{ONE}"\n', "", "f:11: wireguard[0].peer[0]: public-key is missing"),
        (OTHER, ONE, "f:27: wireguard[0].peer[1].public-key: is laptop (wireguard[0].peer[0])'s"),
        ('"phone"', '"laptop"', "f:26: wireguard[0].peer[1].name: is laptop (wireguard[0].peer[0])'s"),
        ('broadcasts = true', "port = 7", "f:30: wireguard[0].peer[1].port: is laptop (wireguard[0]"),
        ("port = 7", "port = 65", "f:19: wireguard[0].peer[0].port: port 65 is not from 1 to 64"),
        ("port = 7", "port = 0", "f:19: wireguard[0].peer[0].port: must be a number from 1 to 65535, not 0"),
        ("port = 7", "prot = 7", "f:19: wireguard[0].peer[0].prot: unknown key; known are name, public-key"),
        ("tagged = [20, 30]", "tagged = [10]", "f:21: wireguard[0].peer[0].tagged: VLAN 10 cannot be"),
        ("tagged = [20, 30]", "tagged = [0]", "f:21: wireguard[0].peer[0].tagged[0]: must be a number"),
        ("keepalive = 25", "keepalive = 70000", "wireguard[0].peer[0].keepalive: must be a number from 0 to"),
        ("laptop.example.net:51820", "laptop", "f:17: wireguard[0].peer[0].endpoint: 'laptop' is no"),
        ("10.1.1.7", "10.1.1", "f:16: wireguard[0].peer[0].allowed-ips[0]: '10.1.1' is no prefix"),
        ('"ethernet"', '"l2"', "f:15: wireguard[0].peer[0].mode: mode 'l2': ethernet or ip"),
        ('"ethernet"', '"ip"', "f:21: wireguard[0].peer[0].tagged: is not for a stock client"),
        ('mode = "ip"', 'mode = "ethernet"', "f:30: wireguard[0].peer[1].broadcasts: is for stock clients"),
        ("02:00:00:00:00:01", "ff:ff:ff:ff:ff:ff", "f:22: wireguard[0].peer[0].macs[0]: "),
        ("max-macs = 2", "max-macs = -1", "f:23: wireguard[0].peer[0].max-macs: must be a number from 0 to"),
        ("true", "1", "f:30: wireguard[0].peer[1].broadcasts: must be true or false, not 1"),
        ("wg://:51820", "udp://:51820", "f:9: wireguard[0].listen: udp://:51820"),
        ("listen = []", 'listen = ["wg://:51820?lan=10.1.1.1/24"]', "f:9: wireguard[0].listen: wg://:51820?"),
        ("number = 3", 'number = 7\nattach = ["tap://t"]', "f:6: port[0].attach: port 7 is kept for laptop"),
        ("[[wireguard.peer]]\nname = \"phone\"", "[[wireguard.peers]]", "wireguard[0].peers: unknown key"),
    ],
)  # fmt: skip
def test_wrong_table_is_refused_with_line_key_and_what_is_right(old: str, new: str, complaint: str) -> None:
    assert old in WHOLE
    with pytest.raises(SettingsError) as caught:
        read_config(WHOLE.replace(old, new), "f")
    assert complaint in str(caught.value)
    assert SECRET not in str(caught.value)


def test_preshared_key_that_is_none_is_not_repeated() -> None:
    with pytest.raises(SettingsError, match="preshared key is 44 characters") as caught:
        read_config(WHOLE.replace(SECRET, SECRET[1:]), "f")
    assert SECRET[1:] not in str(caught.value)


def test_hidden_key_is_shown_to_nobody_and_says_where_it_is() -> None:
    settings = read_config(WHOLE, "f")
    shown = write_config(settings, with_secrets=False)
    assert SECRET not in shown
    assert settings.has_secrets
    with pytest.raises(SettingsError, match="config/save writes it"):
        read_config(shown, "f")
