"""The peer menu on a listener that hears nobody."""

from __future__ import annotations

import json
import os
import socket
import stat
from ipaddress import ip_interface, ip_network
from typing import TYPE_CHECKING

import pytest

from tests.vswitch.management.small_switch import SmallSwitch
from tests.vswitch.management.test_bad_input import documented_keys, run
from vport.links.binding import bind_to_all
from vport.links.wireguard_listener import WireguardListener
from vport.links.wireguard_settings import ListenerSettings, load_peers, read_client
from vport.locator import WireguardLocator
from vport.locator import parse as parse_locator
from vport.wireguard.config import Config, HostPort, PeerSection
from vport.wireguard.config_file import parse
from vport.wireguard.invitation import decode_token
from vport.wireguard.keys import PresharedKey, PrivateKey
from vport.wireguard.settings import Mode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY = PrivateKey.generate(os.urandom)
FILED = PeerSection(public_key=PrivateKey.generate(os.urandom).public, name="filed", port=5)


def new_key() -> str:
    return PrivateKey.generate(os.urandom).public.encode()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "peers"


@pytest.fixture
def switch(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallSwitch]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    settings = ListenerSettings(
        config=Config(private_key=KEY, addresses=(ip_interface("10.1.1.1/24"),), peers=(FILED,)),
        host="",
        store=store,
        public=HostPort(host="vs.example.net", port=51820),
        underlay_mtu=None,
    )
    one = SmallSwitch()
    with bind_to_all("test", 0) as sock:
        listener = WireguardListener(sock, settings)
        listener.keep_ports(one.fabric)
        one.plugboard.open_listeners.append(listener)
        yield one


def lines(switch: SmallSwitch, command: str) -> list[str]:
    reply = run(switch, command)
    assert reply.errno == 0, reply.detail
    return list(reply.lines or ())


def test_added_peer_has_a_port_of_its_own_and_is_kept_on_disk(switch: SmallSwitch, store: Path) -> None:
    key = new_key()
    assert run(switch, f"peer/add alice {key} port=9 vlan=10 tagged=20,30 macs=2 address=10.1.1.9").errno == 0
    port = switch.bridge.ports.get(9)
    assert port is not None
    assert (port.pvid, port.tagged, port.allocatable) == (10, {20, 30}, False)
    (kept,) = load_peers(store)
    assert (kept.name, kept.port, kept.vlan, kept.max_macs) == ("alice", 9, 10, 2)
    assert kept.public_key.encode() == key
    assert stat.S_IMODE(store.stat().st_mode) == 0o600
    shown = lines(switch, "peer/print alice")
    assert f"peer: {key}" in shown
    assert "  mode: ethernet, port 9, VLAN 10, tagged 20,30, absent" in shown


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_peer_is_told_to_call_where_the_listener_listens(tmp_path: Path, host: str) -> None:
    settings = ListenerSettings(
        config=Config(private_key=KEY, addresses=(ip_interface("10.1.1.1/24"),)),
        host=host,
        store=tmp_path / "peers",
        public=None,
        underlay_mtu=None,
    )
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((host, 0))
        listener = WireguardListener(sock, settings)
        endpoint = listener.invitations.public_endpoint()

    assert endpoint == HostPort(host=host, port=listener.udp_port)


def test_peer_without_a_number_keeps_the_one_that_it_was_given(switch: SmallSwitch, store: Path) -> None:
    assert run(switch, f"peer/add alice {new_key()}").errno == 0
    (kept,) = load_peers(store)
    assert kept.port == 1


@pytest.mark.parametrize(
    ("command", "errno", "detail"),
    [
        ("peer/add filed KEY", 17, "there is a peer 'filed'"),
        ("peer/add new nokey", 22, "44 characters"),
        ("peer/add new KEY color=red", 22, "is no option"),
        ("peer/add new KEY vlan=5000", 22, "a VLAN"),
        ("peer/add new KEY vlan=5 tagged=5", 22, "tagged and untagged"),
        ("peer/add new KEY port=5", 5, "another's"),
        ("peer/add new KEY psk=secret", 22, "psk must be @FILE"),
        ("peer/add new nokey port=7", 22, "without it, keys are made"),
        ("peer/add new color=red", 22, "'color=red' is no option"),
        ("peer/add new port=5", 5, "another's"),
        ("peer/add new psk=secret", 22, "psk must be @FILE"),
        ("peer/add new address=10.9.9.9", 22, "no address of the LAN"),
        ("peer/add new ip tagged=5", 22, "tagged"),
        ("peer/add", 22, "NAME is missing"),
        ("peer/remove nobody", 2, "no peer 'nobody'"),
        ("peer/remove filed", 22, "stands in a file"),
        ("peer/print nobody", 2, "no peer"),
        ("peer/invite new ip address=10.9.9.9", 22, "no address of the LAN"),
        ("peer/invite new ip address=10.1.1.1", 22, "taken"),
    ],
)
def test_what_cannot_be_done_says_why_and_changes_nothing(
    switch: SmallSwitch, store: Path, command: str, errno: int, detail: str
) -> None:
    reply = run(switch, command.replace("KEY", new_key()) if "PUBKEY" not in command else command)
    assert reply.errno == errno
    assert detail in reply.detail
    assert "secret" not in reply.detail.replace("no place for secrets", "")
    assert not store.exists()
    assert len(switch.plugboard.open_listeners[0].roll.members) == 1  # type: ignore[attr-defined]  # a WireguardListener


def test_peer_that_brings_no_key_is_given_a_file_that_a_port_of_ours_reads(
    switch: SmallSwitch, store: Path, tmp_path: Path
) -> None:
    shown = lines(switch, "peer/add desk port=9 vlan=10 tagged=20")
    (kept,) = load_peers(store)
    config = parse("\n".join(shown))
    assert config.private_key.public == kept.public_key
    assert (kept.name, kept.port, kept.vlan, kept.carries) == ("desk", 9, 10, Mode.ETHERNET)
    (server,) = config.peers
    assert server.public_key == KEY.public
    assert server.preshared_key == kept.preshared_key
    assert server.endpoint == HostPort(host="vs.example.net", port=51820)
    assert config.addresses == (ip_interface("10.1.1.2/24"),)
    assert kept.allowed_ips == (ip_network("10.1.1.2"),)
    assert config.private_key.encode() not in store.read_text()
    assert shown[1].endswith("sudo vport wg:///etc/wireguard/desk.conf 'tap://tapyuan?address=10.1.1.2/24'")
    path = tmp_path / "desk.conf"
    path.write_text("\n".join(shown))
    path.chmod(0o600)
    place = parse_locator(f"wg://{path}")
    assert isinstance(place, WireguardLocator)
    assert read_client(place).endpoint == server.endpoint


def test_stock_client_without_a_key_is_given_its_file_as_by_an_invitation(switch: SmallSwitch) -> None:
    shown = lines(switch, "peer/add phone ip address=10.1.1.7 broadcasts=on")
    assert any("▄" in line for line in shown)
    config = parse("\n".join(line for line in shown if line.isascii()))
    assert config.addresses == (ip_interface("10.1.1.7/32"),)
    assert "  mode: ip, port 1, VLAN 0, absent" in lines(switch, "peer/print phone")


def test_preshared_key_of_a_file_is_the_one_that_is_given_out(switch: SmallSwitch, tmp_path: Path) -> None:
    psk, path = PresharedKey.generate(os.urandom), tmp_path / "psk"
    path.write_text(psk.encode())
    path.chmod(0o600)
    shown = lines(switch, f"peer/add desk psk=@{path}")
    assert f"PresharedKey = {psk.encode()}" in shown
    assert run(switch, f"peer/invite visitor psk=@{path}").errno == 0
    assert decode_token(lines(switch, "peer/invite b psk=@" + str(path))[2].split()[-1]).preshared_key == psk


def test_peer_with_a_key_is_added_without_a_word(switch: SmallSwitch) -> None:
    reply = run(switch, f"peer/add alice {new_key()} vlan=10")
    assert (reply.errno, reply.lines, reply.detail) == (0, None, "")


def test_removed_peer_gives_back_its_port(switch: SmallSwitch, store: Path) -> None:
    run(switch, f"peer/add alice {new_key()} port=9")
    assert run(switch, "peer/remove alice").errno == 0
    assert load_peers(store) == ()
    port = switch.bridge.ports.get(9)
    assert port is not None
    assert port.keeper is None
    assert run(switch, f"peer/add bob {new_key()} port=9").errno == 0


def test_invitation_prints_one_line_that_says_everything(switch: SmallSwitch) -> None:
    shown = lines(switch, "peer/invite laptop vlan=10")
    (command,) = [line for line in shown if line.startswith("sudo vport join ")]
    token = decode_token(command.split()[-1])
    assert token.server_key == KEY.public
    assert token.endpoint == HostPort(host="vs.example.net", port=51820)
    assert token.addresses == (ip_interface("10.1.1.2/24"),)
    assert "  invitation: not used yet" in lines(switch, "peer/print laptop")


def test_invited_phone_gets_a_file_and_the_next_address(switch: SmallSwitch) -> None:
    run(switch, "peer/invite laptop")
    shown = lines(switch, "peer/invite phone ip")
    text = "\n".join(line for line in shown if line == "" or line.isascii())
    config = parse(text)
    assert config.addresses == (ip_interface("10.1.1.3/32"),)
    assert config.peers[0].public_key == KEY.public
    assert any("▄" in line for line in shown)  # the QR code


def test_documents_are_those_of_the_readme(switch: SmallSwitch) -> None:
    documented = documented_keys()
    commands = ("peer/invite a", "peer/invite b ip", "peer/add c", f"peer/add d {new_key()}", "peer/print")
    for command in commands:
        document = json.loads("\n".join(lines(switch, f"{command} -j")))
        for one in document if isinstance(document, list) else [document]:
            assert set(one) == documented[command.split()[0]]


def test_no_secret_is_printed_but_those_that_are_asked_for(switch: SmallSwitch) -> None:
    run(switch, "peer/invite laptop")
    shown = "\n".join(lines(switch, "peer/print"))
    assert KEY.encode() not in shown
    assert "preshared key: (hidden)" in shown
