from __future__ import annotations

import os
from dataclasses import replace

from vport.ethernet import MacAddress, Vid
from vport.impairment import WireSettings
from vport.locator import WireguardLocator, parse
from vport.wireguard.config import PeerSection
from vport.wireguard.keys import PrivateKey
from vswitch.changes import (
    AddStation,
    AdmitPeer,
    Attach,
    Change,
    ChangeFdb,
    ChangeMode,
    ChangePort,
    ChangePortLimit,
    ChangeTreePort,
    CloseListener,
    CreateVlan,
    Impair,
    LimitAddresses,
    Listen,
    LoadPlugin,
    RemoveStation,
    RemoveVlan,
    RevokePeer,
    UnloadPlugin,
    Unplug,
)
from vswitch.config import (
    ManagementSettings,
    PortSettings,
    StaticStation,
    SwitchSettings,
    TreePort,
    WireguardSettings,
)
from vswitch.difference import KeptPort, OpenListener, Running, difference, needs_restart
from vswitch.fdb import FdbSettings
from vswitch.guards import AddressLimit

MAC = MacAddress(bytes.fromhex("020000000001"))
UDP, OTHER_UDP, TAP, HOST = map(parse, ("udp://:9", "udp://:10", "tap://a", "host://10.1.1.1/24"))
_wg = parse("wg://:51820?lan=10.1.1.1/24")
assert isinstance(_wg, WireguardLocator)
WG = _wg
PEER = PeerSection(public_key=PrivateKey.generate(os.urandom).public, name="laptop", port=7, vlan=Vid(10))
OTHER_PEER = PeerSection(public_key=PrivateKey.generate(os.urandom).public, name="desk")


def changes(before: SwitchSettings, wanted: SwitchSettings, *listeners: OpenListener) -> list[Change]:
    return difference(Running(settings=before, listeners=listeners), wanted)


def test_vlans_come_before_the_ports_in_them_and_go_after() -> None:
    before = SwitchSettings(vlans=(Vid(10),), ports=(PortSettings(number=1, pvid=Vid(10)),))
    port = PortSettings(number=1, pvid=Vid(20))
    assert changes(before, SwitchSettings(vlans=(Vid(20),), ports=(port,))) == [
        CreateVlan(Vid(20)),
        ChangePort(port),
        RemoveVlan(Vid(10)),
    ]


def test_port_of_which_nothing_is_said_any_more_becomes_as_one_that_nobody_configured() -> None:
    guarded = PortSettings(
        number=3,
        description="x",
        addresses=AddressLimit(limit=1),
        impairment=WireSettings(fifo=False),
    )
    before = SwitchSettings(ports=(guarded, PortSettings(number=4)))
    assert changes(before, SwitchSettings()) == [
        ChangePort(PortSettings(number=3)),
        LimitAddresses(3, None),
        Impair(3, None),
    ]


def test_link_for_any_port_stays_in_the_one_it_has_and_is_not_opened_twice() -> None:
    before = SwitchSettings(ports=(PortSettings(number=2, attach=(HOST, TAP)),))
    assert changes(before, SwitchSettings(attach=(TAP, HOST))) == []
    assert changes(before, SwitchSettings(attach=(HOST, HOST))) == [Unplug(TAP, 2), Attach(HOST, None)]


def test_link_that_moves_is_unplugged_before_it_is_opened_again() -> None:
    before = SwitchSettings(ports=(PortSettings(number=2, attach=(TAP,)), PortSettings(number=3)))
    wanted = SwitchSettings(ports=(PortSettings(number=3, attach=(TAP,)),))
    assert changes(before, wanted) == [Unplug(TAP, 2), Attach(TAP, 3)]


def test_listeners_go_and_come() -> None:
    running = (OpenListener(locator=UDP), OpenListener(locator=WG, peers=(PEER,)))
    wanted = SwitchSettings(listen=(OTHER_UDP,), wireguard=(WireguardSettings(listen=WG, peers=(PEER,)),))
    assert changes(SwitchSettings(), wanted, *running) == [CloseListener(UDP), Listen(OTHER_UDP)]


def test_peer_that_changes_goes_and_comes_and_what_is_said_of_its_port_stays() -> None:
    limited = PortSettings(number=7, addresses=AddressLimit(limit=5))
    before = SwitchSettings(vlans=(Vid(10), Vid(11)), ports=(limited, PortSettings(number=8)))
    desk = replace(OTHER_PEER, port=8, vlan=Vid(11))
    listener = OpenListener(
        locator=WG,
        peers=(PEER, desk),
        kept={
            PEER.public_key: KeptPort(7, frozenset({Vid(10)})),
            desk.public_key: KeptPort(8, frozenset({Vid(11)})),
        },
    )
    changed = replace(PEER, vlan=Vid(20))
    wanted = SwitchSettings(
        ports=(limited,), wireguard=(WireguardSettings(listen=WG, peers=(changed, desk)),)
    )
    assert changes(before, wanted, listener) == [
        RevokePeer(WG, PEER),
        RemoveVlan(Vid(10)),
        AdmitPeer(WG, changed),
    ]


def test_peers_that_are_to_have_certain_ports_come_before_those_that_take_any() -> None:
    fixed, free = replace(PEER, port=1), OTHER_PEER
    wanted = SwitchSettings(
        wireguard=(WireguardSettings(listen=WG, peers=(free, fixed)),), listen=(OTHER_UDP,)
    )
    assert changes(SwitchSettings(), wanted, OpenListener(locator=WG)) == [
        AdmitPeer(WG, fixed),
        Listen(OTHER_UDP),
        AdmitPeer(WG, free),
    ]


def test_ports_and_vlans_of_peers_that_were_added_by_command_are_theirs() -> None:
    before = SwitchSettings(vlans=(Vid(10), Vid(20)), ports=(PortSettings(number=7),))
    listener = OpenListener(locator=WG, kept={PEER.public_key: KeptPort(7, frozenset({Vid(10)}))})
    wanted = SwitchSettings(
        listen=(WG,), vlans=(Vid(30),), ports=(PortSettings(number=7, pvid=Vid(30), description="desk"),)
    )
    assert changes(before, wanted, listener) == [
        CreateVlan(Vid(30)),
        ChangePort(PortSettings(number=7, description="desk")),
        RemoveVlan(Vid(20)),
    ]


def test_more_ports_come_before_what_needs_them_and_fewer_after_what_had_them() -> None:
    one, other = StaticStation(mac=MAC, port=2), StaticStation(mac=MAC, port=90)
    few = SwitchSettings(port_limit=10, stations=(one,), ports=(PortSettings(number=2),))
    many = SwitchSettings(port_limit=100, stations=(other,), ports=(PortSettings(number=90),))
    assert changes(few, many) == [
        RemoveStation(one),
        ChangePortLimit(100),
        ChangePort(PortSettings(number=90)),
        AddStation(other),
    ]
    assert changes(many, few) == [
        RemoveStation(other),
        ChangePort(PortSettings(number=2)),
        AddStation(one),
        ChangePortLimit(10),
    ]


def test_settings_of_the_whole_switch() -> None:
    fdb = FdbSettings(aging_time=7)
    wanted = SwitchSettings(is_fstp=True, fdb=fdb, plugins=("dump",))
    assert changes(SwitchSettings(plugins=("iplog",)), wanted) == [
        UnloadPlugin("iplog"),
        ChangeFdb(fdb),
        ChangeMode(is_hub=False, is_fstp=True),
        LoadPlugin("dump"),
    ]


def test_what_was_said_in_a_vlans_tree_is_taken_back_unless_the_vlan_goes() -> None:
    said = TreePort(vid=Vid(10), port=3, cost=7)
    before = SwitchSettings(vlans=(Vid(10),), tree_ports=(said,))
    assert changes(before, SwitchSettings(vlans=(Vid(10),))) == [
        ChangeTreePort(TreePort(vid=Vid(10), port=3))
    ]
    assert changes(before, SwitchSettings()) == [RemoveVlan(Vid(10))]


def test_address_and_management_need_a_restart() -> None:
    running = SwitchSettings(mac=MAC, management=ManagementSettings(path="/m"))
    assert needs_restart(running, replace(running, mac=None)) == []
    assert needs_restart(running, SwitchSettings(mac=MacAddress(bytes(6)))) == ["mac", "management"]


def test_changes_name_what_they_change() -> None:
    station = StaticStation(mac=MAC, port=2)
    said = (
        CreateVlan(Vid(10)),
        ChangeMode(is_hub=True, is_fstp=False),
        AddStation(station),
        Attach(TAP, None),
    )
    assert [str(change) for change in said] == [
        "VLAN 10 is new",
        "hub, spanning tree off",
        "station 02:00:00:00:00:01 in VLAN 0 is on port 2",
        "tap://a into a free port",
    ]
