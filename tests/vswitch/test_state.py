from __future__ import annotations

from dataclasses import replace

from hypothesis import given

from tests.vswitch.any_settings import switch_settings
from tests.vswitch.links_in_memory import RecordingLink
from vport.ethernet import MacAddress, Vid
from vport.locator import parse
from vswitch.config import PortSettings, StaticStation, SwitchSettings
from vswitch.state import capture, make_bridge

MAC = MacAddress(bytes.fromhex("020000000001"))


@given(switch_settings())
def test_captured_state_of_a_fresh_bridge_is_its_settings(settings: SwitchSettings) -> None:
    bridge = make_bridge(settings, 0.0)

    listening = [(place, ()) for place in settings.listen]
    listening += [(one.listen, one.peers) for one in settings.wireguard]
    captured = capture(settings, bridge, MAC, listening, {})

    ports = sorted((replace(port, attach=()) for port in settings.ports), key=lambda port: port.number)
    assert captured == replace(
        settings,
        mac=MAC,
        attach=(),
        vlans=tuple(sorted(settings.vlans)),
        ports=tuple(
            replace(port, tagged=tuple(sorted(port.tagged)))
            for port in ports
            if port != PortSettings(number=port.number)
        ),
        stations=tuple(sorted(settings.stations, key=lambda station: (station.vid, station.mac))),
    )


def test_links_are_captured_with_the_port_they_are_in() -> None:
    settings = SwitchSettings(attach=(parse("tap://a"), parse("tap://b")))
    bridge = make_bridge(settings, 0.0)
    first, second = bridge.plug(RecordingLink("a"), 3), bridge.plug(RecordingLink("b"), 3)
    bridge.plug(RecordingLink("a caller"))

    captured = capture(settings, bridge, MAC, (), {first: parse("tap://a"), second: parse("tap://b")})

    assert captured.attach == ()
    assert captured.ports == (PortSettings(number=3, attach=(parse("tap://a"), parse("tap://b"))),)


def test_static_entry_makes_its_port() -> None:
    station = StaticStation(mac=MAC, port=5, vid=Vid(0))
    bridge = make_bridge(SwitchSettings(stations=(station,)), 0.0)

    entry = bridge.fdb.lookup(Vid(0), MAC)
    assert entry is not None
    assert entry.is_static
    assert entry.port is bridge.ports.get(5)
