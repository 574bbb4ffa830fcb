from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given

from tests.vswitch.any_settings import switch_settings
from tests.vswitch.links_in_memory import RecordingLink
from vport.errors import SettingsError
from vport.ethernet import MacAddress, Vid
from vport.impairment import WireSettings
from vport.locator import Locator, parse
from vswitch.bridge import Bridge
from vswitch.changes import (
    AdmitPeer,
    Attach,
    CloseListener,
    Impair,
    Listen,
    LoadPlugin,
    OuterChange,
    RevokePeer,
    UnloadPlugin,
    Unplug,
)
from vswitch.config import PortSettings, StaticStation, SwitchSettings, TreePort
from vswitch.control_plane import ControlPlane
from vswitch.difference import OpenListener, Running, difference
from vswitch.spanning_tree import BridgeSettings
from vswitch.state import Opened, capture, change_core, without_plain_ports

if TYPE_CHECKING:
    from vswitch.ports import Endpoint, Port

MAC = MacAddress(bytes.fromhex("020000000001"))


class Core:
    """The core of a switch, changed as a real one; of what is around it, notes are taken."""

    def __init__(self, settings: SwitchSettings | None = None) -> None:
        self.bridge = Bridge()
        self.plane = ControlPlane(self.bridge, MAC, Random(1), BridgeSettings(), 0.0)
        self.listening: dict[Locator, Listen] = {}
        self.attached: dict[Endpoint, Locator] = {}
        self.impaired: dict[Port, WireSettings] = {}
        self.plugins: list[str] = []
        self.settings = SwitchSettings()
        if settings is not None:
            self.become(settings)

    def running(self) -> Running:
        listeners = [OpenListener(locator=one.locator, peers=one.peers) for one in self.listening.values()]
        return Running(settings=self.captured(), listeners=tuple(listeners))

    def become(self, wanted: SwitchSettings) -> None:
        for change in difference(self.running(), wanted):
            if isinstance(change, OuterChange):
                self._note(change)
            else:
                change_core(change, self.bridge, self.plane, 0.0)
        self.settings = wanted

    def _note(self, change: OuterChange) -> None:
        match change:
            case Listen(locator):
                self.listening[locator] = change
            case CloseListener(locator):
                del self.listening[locator]
            case AdmitPeer(locator, peer):
                self.listening[locator] = Listen(locator, (*self.listening[locator].peers, peer))
            case RevokePeer(locator, peer):
                others = tuple(one for one in self.listening[locator].peers if one != peer)
                self.listening[locator] = Listen(locator, others)
            case Impair(number, settings):
                port = self.port(number)
                self.impaired.pop(port, None)
                if settings not in {None, WireSettings()}:
                    assert settings is not None
                    self.impaired[port] = settings
            case LoadPlugin(name):
                self.plugins.append(name)
            case UnloadPlugin(name):
                self.plugins.remove(name)
            case Attach() | Unplug():
                pass

    def port(self, number: int) -> Port:
        found = self.bridge.ports.get(number)
        assert found is not None
        return found

    def captured(self) -> SwitchSettings:
        opened = Opened(
            listening=[(one.locator, one.peers) for one in self.listening.values()],
            attached=self.attached,
            impaired=self.impaired,
            plugins=tuple(self.plugins),
        )
        return capture(self.settings, self.bridge, self.plane, opened)


def as_captured(settings: SwitchSettings) -> SwitchSettings:
    """Give what is captured of a switch with these settings and without links: the same, in order."""
    ports = [
        replace(
            port,
            attach=(),
            tagged=tuple(sorted(port.tagged)),
            impairment=None if port.impairment == WireSettings() else port.impairment,
        )
        for port in sorted(settings.ports, key=lambda port: port.number)
    ]
    return replace(
        settings,
        mac=MAC,
        attach=(),
        listen=tuple(dict.fromkeys(settings.listen)),
        vlans=tuple(sorted(settings.vlans)),
        ports=tuple(port for port in ports if port != PortSettings(number=port.number)),
        stations=tuple(sorted(settings.stations, key=lambda station: (station.vid, station.mac))),
    )


def comparable(settings: SwitchSettings) -> SwitchSettings:
    """Leave out the order in which listeners were opened, peers admitted and plugins loaded."""
    wireguard = [
        replace(one, peers=tuple(sorted(one.peers, key=lambda peer: peer.public_key.raw)))
        for one in settings.wireguard
    ]
    return replace(
        settings,
        listen=tuple(sorted(settings.listen, key=str)),
        wireguard=tuple(sorted(wireguard, key=lambda one: str(one.listen))),
        plugins=tuple(sorted(settings.plugins)),
    )


@given(switch_settings())
def test_captured_state_of_a_fresh_switch_is_its_settings(settings: SwitchSettings) -> None:
    core = Core(settings)
    assert comparable(without_plain_ports(core.captured())) == comparable(as_captured(settings))


@given(switch_settings(), switch_settings())
def test_switch_that_is_changed_has_the_settings_and_then_nothing_is_left_to_change(
    before: SwitchSettings, wanted: SwitchSettings
) -> None:
    core = Core(before)

    core.become(wanted)

    assert comparable(without_plain_ports(core.captured())) == comparable(as_captured(wanted))
    left = difference(core.running(), replace(wanted, listen=tuple(dict.fromkeys(wanted.listen))))
    assert [change for change in left if not isinstance(change, Attach)] == []


def test_links_are_captured_with_the_port_they_are_in() -> None:
    core = Core(SwitchSettings(attach=(parse("tap://a"), parse("tap://b"))))
    first, second = core.bridge.plug(RecordingLink("a"), 3), core.bridge.plug(RecordingLink("b"), 3)
    core.bridge.plug(RecordingLink("a caller"))
    core.attached = {first: parse("tap://a"), second: parse("tap://b")}

    captured = without_plain_ports(core.captured())

    assert captured.attach == ()
    assert captured.ports == (PortSettings(number=3, attach=(parse("tap://a"), parse("tap://b"))),)


def test_static_entry_makes_its_port() -> None:
    station = StaticStation(mac=MAC, port=5, vid=Vid(0))
    bridge = Core(SwitchSettings(stations=(station,))).bridge

    entry = bridge.fdb.lookup(Vid(0), MAC)
    assert entry is not None
    assert entry.is_static
    assert entry.port is bridge.ports.get(5)


def test_what_is_said_of_trees_on_ports_that_there_cannot_be_is_not_captured() -> None:
    core = Core(SwitchSettings(tree_ports=(TreePort(vid=Vid(0), port=500, cost=7),)))
    core.bridge.ports.change_limit(100)
    assert core.captured().tree_ports == ()


def test_no_port_goes_where_one_that_is_in_use_keeps_the_limit_up() -> None:
    core = Core(SwitchSettings(ports=(PortSettings(number=11), PortSettings(number=12))))
    core.bridge.plug(RecordingLink("a caller"), 12)
    with pytest.raises(SettingsError, match="port 12 exists"):
        core.become(SwitchSettings(port_limit=10))
    assert [port.number for port in core.bridge.ports] == [11, 12]
