from __future__ import annotations

from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vport.errors import SettingsError
from vport.lan.description import Cable, Nat, read_lan
from vport.locator import parse
from vport.nat import PortForward

HOME = (Path(__file__).parent / "home.toml").read_text()


def test_every_key_is_read() -> None:
    lan = read_lan(HOME, "home.toml")

    assert (lan.name, lan.netns) == ("home", "machine")
    (bridge,) = lan.bridges
    assert (bridge.name, bridge.addresses, bridge.mtu) == ("br0", (ip_interface("10.5.0.1/16"),), 1400)
    web, db = lan.namespaces
    assert (web.device, web.veth, web.gateways) == ("eth0", "v-web", (ip_address("10.5.0.1"),))
    assert (db.device, db.veth, db.gateways) == ("lan0", "vdb", ())
    forward = PortForward(protocol="tcp", port=8080, address=ip_address("10.5.1.1"), address_port=80)
    assert lan.nat == Nat(outside="eth0", forwards=(forward,))
    remote = parse("udp://198.51.100.7:9999?local=:9999")
    assert lan.cables == (Cable(tap="tap0", bridge="br0", remote=remote),)
    assert lan.networks() == (ip_network("10.5.0.0/16"),)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('name = "home"', 'name = "../home"', "x.toml:1: name: '../home' is not the name of a LAN"),
        ('name = "home"', "", "x.toml: name is missing"),
        ("mtu = 1400", "mtu = 1", "x.toml:7: bridge[0].mtu: must be a number from 68 to 65521, not 1"),
        ("mtu = 1400", "colour = 1", "x.toml:7: bridge[0].colour: unknown key; known are name, address, mtu"),
        ('bridge = "br0"', 'bridge = "br1"', "namespace[0].bridge: there is no bridge 'br1' here: br0"),
        ('veth = "vdb"', 'veth = "v-web"', "namespace[1].veth: the name 'v-web' is there twice"),
        ('veth = "vdb"', 'veth = "br0"', "namespace[1].veth: the name 'br0' is there twice"),
        ('tap = "tap0"', 'tap = "eth0"', "cable[0].tap: the name 'eth0' is there twice"),
        ('name = "db"', 'name = "machine"', "namespace[1].name: the name 'machine' is there twice"),
        ("gateway = []", 'gateway = ["10.9.0.1"]', "10.9.0.1 is in none of the networks of db"),
        ('to = "10.5.1.1:80"', 'to = "10.9.1.1:80"', "nat.forward[0].to: 10.9.1.1 is in no network"),
        ('to = "10.5.1.1:80"', 'to = "web:80"', "'web:80' is not ADDRESS:PORT"),
        ("port = 8080", 'port = 8080\nprotocol = "sctp"', "must be tcp or udp, not 'sctp'"),
        ('remote = "udp:', 'remote = "upd:', "is not a locator: it must begin with one of"),
        ('remote = "udp:', 'remote = "tap:', "x.toml:30: cable[0].remote: tap:"),
        ('"10.5.0.1/16"', '"10.5.0.1"', "bridge[0].address[0]: '10.5.0.1' is not an address with a prefix"),
        ('address = ["10.5.0.1/16"]', "address = []", "nat: no bridge has an address"),
    ],
)
def test_what_is_wrong_is_said_with_line_and_key(old: str, new: str, complaint: str) -> None:
    assert old in HOME
    with pytest.raises(SettingsError) as caught:
        read_lan(HOME.replace(old, new, 1), "x.toml")

    assert complaint in str(caught.value)


def test_empty_lan_is_refused() -> None:
    with pytest.raises(SettingsError, match="there is nothing in it"):
        read_lan('name = "home"', "x.toml")


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    with pytest.raises(SettingsError):
        read_lan(f"oops = {text}", "x.toml")
