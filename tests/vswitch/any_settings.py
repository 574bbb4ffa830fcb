"""Settings of every kind, for Hypothesis."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

from hypothesis import strategies as st

from tests.vport.impairment.any_wires import wire_settings
from vport.ethernet import MacAddress, Vid
from vport.locator import Locator, WireguardLocator, parse
from vport.wireguard.config import PeerSection
from vport.wireguard.config_values import parse_endpoint
from vport.wireguard.keys import PresharedKey, PublicKey
from vport.wireguard.settings import Mode
from vswitch.config import (
    ManagementSettings,
    PortSettings,
    StaticStation,
    SwitchSettings,
    TreePort,
    TreeTimes,
    WireguardSettings,
)
from vswitch.fdb import FdbSettings
from vswitch.guards import (
    AddressLimit,
    GuardSettings,
    LimitAction,
    LoopSettings,
    MacFlapSettings,
    StormSettings,
)
from vswitch.guards.port_guards import PortGuards
from vswitch.ports import NO_VLAN

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20)
macs = st.binary(min_size=6, max_size=6).map(lambda data: MacAddress(bytes([data[0] & 0xFE | 2]) + data[1:]))
locators: st.SearchStrategy[tuple[Locator, ...]] = st.lists(
    st.sampled_from(
        [
            "udp://:9999",
            "udp://[fd00::1]:7?idle=5&mac=02:00:00:00:00:01",
            "tap://t%25p0?mtu=1400&address=10.1.1.1/24&address=fd00::1/64&offload=no",
            "host://10.1.1.1/24?ping=10.1.1.2",
        ]
    ).map(parse),
    max_size=3,
).map(tuple)


@st.composite
def switch_settings(draw: st.DrawFn) -> SwitchSettings:
    limit = draw(st.integers(1, 65535))
    vlans = draw(st.lists(st.integers(1, 4094).map(Vid), unique=True, max_size=6))
    vids = st.sampled_from([Vid(0), *vlans])
    numbers = draw(st.lists(st.integers(1, limit), unique=True, max_size=5))
    kept = draw(
        st.lists(st.integers(1, limit).filter(lambda number: number not in numbers), max_size=4, unique=True)
    )
    return SwitchSettings(
        listen=draw(locators),
        wireguard=draw(wireguard_settings(kept)),
        attach=draw(locators),
        management=draw(st.none() | management_settings),
        mac=draw(st.none() | macs),
        is_hub=draw(st.booleans()),
        is_fstp=draw(st.booleans()),
        priority=draw(st.integers(0, 0xFFFF)),
        times=draw(st.sampled_from([TreeTimes(), TreeTimes(hello_time=1, max_age=6, forward_delay=4.5)])),
        tree_ports=draw(tree_ports(vids, limit)),
        guards=draw(guard_settings),
        plugins=tuple(draw(st.lists(st.sampled_from(["dump", "iplog", "/x/mine.py"]), unique=True))),
        port_limit=limit,
        fdb=draw(fdb_settings),
        vlans=tuple(vlans),
        ports=tuple(draw(port_settings(number, vids)) for number in numbers),
        stations=tuple(
            StaticStation(mac=mac, port=draw(st.integers(1, limit)), vid=draw(vids))
            for mac in draw(st.lists(macs, unique=True, max_size=3))
        ),
    )


@st.composite
def wireguard_settings(draw: st.DrawFn, ports: list[int]) -> tuple[WireguardSettings, ...]:
    """Draw a listener whose peers have these ports, and one of another port."""
    peers = tuple(draw(peer_sections(index, port)) for index, port in enumerate([*ports, None]))
    if not draw(st.booleans()):
        return ()
    place, other = parse("wg://:51820?lan=10.1.1.1/24"), parse("wg:///etc/wireguard/lan.conf")
    assert isinstance(place, WireguardLocator)
    assert isinstance(other, WireguardLocator)
    return (
        WireguardSettings(listen=place, peers=peers),
        WireguardSettings(listen=other, peers=(draw(peer_sections(len(peers), None)),)),
    )


def peer_sections(index: int, port: int | None) -> st.SearchStrategy[PeerSection]:
    keys = st.binary(min_size=31, max_size=31).map(lambda raw: PublicKey(bytes([index]) + raw))
    vids = st.integers(1, 4094).map(Vid)
    common = {
        "public_key": keys,
        "preshared_key": st.none() | st.binary(min_size=32, max_size=32).map(PresharedKey),
        "endpoint": st.none() | st.sampled_from(["vs.example.net:1", "[fd00::1]:51820"]).map(parse_endpoint),
        "persistent_keepalive": st.integers(0, 65535),
        "name": st.sampled_from(["", f"peer {index}", f"péer-{index}"]),
        "port": st.just(port),
        "vlan": st.just(Vid(0)) | vids.filter(lambda vid: vid < 2000),
        "allowed_ips": st.just(())
        | st.just((ip_network(f"10.1.{index}.0/24"), ip_network(f"fd00::{index}/128"))),
    }
    return st.builds(
        PeerSection,
        mode=st.just(Mode.ETHERNET),
        tagged_vlans=st.lists(vids.filter(lambda vid: vid >= 2000), unique=True, max_size=2).map(tuple),
        macs=st.lists(macs, max_size=2).map(tuple),
        max_macs=st.integers(0, 65535),
        **common,
    ) | st.builds(PeerSection, mode=st.none() | st.just(Mode.IP), broadcasts=st.booleans(), **common).filter(
        lambda peer: peer.carries is Mode.IP or not peer.broadcasts
    )


@st.composite
def tree_ports(draw: st.DrawFn, vids: st.SearchStrategy[Vid], limit: int) -> tuple[TreePort, ...]:
    """Draw what is said of ports in spanning trees, in order, and nothing that says nothing."""
    places = draw(st.lists(st.tuples(vids, st.integers(1, limit)), unique=True, max_size=4))
    favoured = set()
    ports = []
    for vid, number in sorted(places):
        bonus = 0 if vid in favoured else draw(st.sampled_from([0, 1, 200_000_000]))
        favoured |= {vid} if bonus else set()
        port = TreePort(
            vid=vid,
            port=number,
            cost=draw(st.integers(1, 200_000_000)),
            priority=draw(st.integers(0, 15)) * 16,
            is_edge=draw(st.booleans()),
            bonus=bonus,
        )
        ports.append(port)
    return tuple(port for port in ports if port != TreePort(vid=port.vid, port=port.port))


seconds = st.integers(1, 60).map(float) | st.sampled_from([1.5, 50.25])
port_guards = st.builds(
    PortGuards,
    bpdu=st.booleans(),
    root=st.booleans(),
    topology=st.booleans(),
    loop=st.booleans(),
    storm=st.none()
    | st.builds(
        StormSettings,
        **{
            kind: st.none() | st.integers(1, 10_000_000)
            for kind in ("broadcast", "multicast", "unknown_unicast")
        },
    ),
)
address_limits = st.builds(
    AddressLimit,
    limit=st.integers(0, 65535),
    action=st.sampled_from(LimitAction),
    recovery=st.none() | seconds,
)
guard_settings = st.builds(
    GuardSettings,
    is_looking_for_loops=st.just(True),
    loop=st.builds(LoopSettings, interval=seconds | st.just(0.1), recovery=seconds),
    bpdu_recovery=st.none() | seconds,
    flap=st.builds(MacFlapSettings, moves=st.integers(2, 1000), window=seconds),
) | st.builds(
    GuardSettings, is_looking_for_loops=st.just(False), loop=st.builds(LoopSettings, recovery=seconds)
)


def port_settings(number: int, vids: st.SearchStrategy[Vid]) -> st.SearchStrategy[PortSettings]:
    def make(pvid: Vid, tagged: list[Vid], **values: Any) -> PortSettings:
        return PortSettings(
            number=number, pvid=pvid, tagged=tuple(vid for vid in tagged if vid != pvid), **values
        )

    return st.builds(
        make,
        vids | st.just(NO_VLAN),
        st.lists(vids, unique=True, max_size=3),
        description=texts,
        allocatable=st.booleans(),
        user=st.none() | words,
        group=st.none() | words,
        attach=locators,
        guards=port_guards,
        addresses=st.none() | address_limits,
        impairment=st.none() | wire_settings(),
    )


management_settings = st.builds(
    ManagementSettings, path=words, mode=st.integers(0, 0o777), group=st.none() | words
)
fdb_settings = st.builds(
    FdbSettings,
    aging_time=st.integers(1, 1_000_000),
    collect_interval=st.integers(0, 1_000_000),
    min_persistence=st.integers(0, 1_000_000),
    capacity=st.integers(10, 1 << 20),
    buckets=st.integers(1, 1 << 20),
)
