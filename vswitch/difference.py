"""What must be changed in a running switch to make it the one that settings describe. Pure.

The settings hold: what commands changed since, and nobody saved, is taken back. A switch that starts is
changed from one without anything, by the same rules.

Two things are nobody's to say here: what WireGuard peers that were added by command need (a port that is kept
for one belongs to it, and so do its VLANs), and which ports came into being with those who called.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING

from vswitch.changes import (
    AddStation,
    AdmitPeer,
    Attach,
    ChangeFdb,
    ChangeGuards,
    ChangeMode,
    ChangePort,
    ChangePortLimit,
    ChangeTreePort,
    ChangeTrees,
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
from vswitch.config import PortSettings, SwitchSettings, TreePort

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vport.ethernet import Vid
    from vport.locator import Locator
    from vport.wireguard.config import PeerSection
    from vport.wireguard.keys import PublicKey
    from vswitch.changes import Change


@dataclass(frozen=True, slots=True)
class KeptPort:
    """A port that is kept for a peer, and the VLANs that it is in."""

    number: int
    vids: frozenset[Vid]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenListener:
    """A listener of a running switch.

    Attributes:
        locator: what it was opened from.
        peers: those that the configuration named, as they are now.
        kept: what is kept for its peers, whoever named them.
    """

    locator: Locator
    peers: tuple[PeerSection, ...] = ()
    kept: Mapping[PublicKey, KeptPort] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A switch as it is.

    Attributes:
        settings: with all ports that exist, and of a port that is kept for a peer what is not the peer's.
        listeners: in place of those of the settings.
    """

    settings: SwitchSettings = field(default_factory=SwitchSettings)
    listeners: tuple[OpenListener, ...] = ()


def difference(running: Running, wanted: SwitchSettings) -> list[Change]:
    """Give the changes in the order in which they are to be carried out: what goes comes first."""
    before = running.settings
    opening, closing = _listeners(running.listeners, wanted)
    revoked, admitted = _peers(running.listeners, wanted)
    kept = _kept(running.listeners, closing, revoked)
    removed = _vlans_that_go(before, wanted, kept)
    unplugged, attached = _links(before, wanted)
    grows = wanted.port_limit > before.port_limit
    limit = [ChangePortLimit(wanted.port_limit)] if wanted.port_limit != before.port_limit else []
    return [
        *(UnloadPlugin(name) for name in before.plugins if name not in wanted.plugins),
        *unplugged,
        *(CloseListener(locator) for locator in closing),
        *revoked,
        *(RemoveStation(one) for one in before.stations if one not in wanted.stations),
        *(limit if grows else ()),
        *_changed_settings(before, wanted),
        *(CreateVlan(vid) for vid in wanted.vlans if vid not in before.vlans),
        *_ports(before, wanted, kept),
        *(RemoveVlan(vid) for vid in removed),
        *_tree_ports(before, wanted, removed),
        *_mode(before, wanted),
        *(AddStation(one) for one in wanted.stations if one not in before.stations),
        *(() if grows else limit),
        *(LoadPlugin(name) for name in wanted.plugins if name not in before.plugins),
        *(one for one in admitted if one.peer.port is not None),
        *opening,
        *(one for one in admitted if one.peer.port is None),
        *attached,
    ]


def needs_restart(running: SwitchSettings, wanted: SwitchSettings) -> list[str]:
    """Name the keys of what cannot be changed while the switch runs."""
    keys = ["mac"] if wanted.mac is not None and wanted.mac != running.mac else []
    return keys + (["management"] if wanted.management != running.management else [])


def _changed_settings(before: SwitchSettings, wanted: SwitchSettings) -> Iterator[Change]:
    if wanted.fdb != before.fdb:
        yield ChangeFdb(wanted.fdb)
    if wanted.guards != before.guards:
        yield ChangeGuards(wanted.guards)
    if (wanted.priority, wanted.times) != (before.priority, before.times):
        yield ChangeTrees(wanted.priority, wanted.times)


def _mode(before: SwitchSettings, wanted: SwitchSettings) -> Iterator[Change]:
    if (wanted.is_hub, wanted.is_fstp) != (before.is_hub, before.is_fstp):
        yield ChangeMode(wanted.is_hub, wanted.is_fstp)


# --- listeners and links ---


def _wanted_listeners(wanted: SwitchSettings) -> list[tuple[Locator, tuple[PeerSection, ...]]]:
    """Give those with peers first, since their peers are to have certain ports."""
    named: list[tuple[Locator, tuple[PeerSection, ...]]] = [
        (one.listen, one.peers) for one in wanted.wireguard
    ]
    return named + [(locator, ()) for locator in wanted.listen]


def _listeners(open_: tuple[OpenListener, ...], wanted: SwitchSettings) -> tuple[list[Listen], list[Locator]]:
    """Find which are to be opened, and which go."""
    present, named = [one.locator for one in open_], _wanted_listeners(wanted)
    opening = [Listen(locator, peers) for locator, peers in named if locator not in present]
    places = [locator for locator, _ in named]
    return opening, [locator for locator in present if locator not in places]


def _peers(
    open_: tuple[OpenListener, ...], wanted: SwitchSettings
) -> tuple[list[RevokePeer], list[AdmitPeer]]:
    """Find the peers of listeners that stay which go and come; one that has changed does both."""
    revoked, admitted = [], []
    named = dict(_wanted_listeners(wanted))
    for one in open_:
        peers = named.get(one.locator)
        if peers is not None:
            before, after = set(one.peers), set(peers)
            revoked += [RevokePeer(one.locator, peer) for peer in one.peers if peer not in after]
            admitted += [AdmitPeer(one.locator, peer) for peer in peers if peer not in before]
    return revoked, admitted


def _kept(
    open_: tuple[OpenListener, ...], closing: list[Locator], revoked: list[RevokePeer]
) -> dict[int, frozenset[Vid]]:
    """Give the ports that stay kept for peers, and their VLANs."""
    gone = {(one.listener, one.peer.public_key) for one in revoked}
    return {
        port.number: port.vids
        for one in open_
        if one.locator not in closing
        for key, port in one.kept.items()
        if (one.locator, key) not in gone
    }


def _links(before: SwitchSettings, wanted: SwitchSettings) -> tuple[list[Unplug], list[Attach]]:
    """Find what is to be unplugged and what attached; a link for any port may be in any."""
    present, named = _places(before), _places(wanted)
    missing, surplus = named - present, present - named
    attached = [Attach(locator, port) for port, locator in missing.elements()]
    for locator in wanted.attach:
        place = next((place for place in surplus.elements() if place[1] == locator), None)
        if place is None:
            attached.append(Attach(locator, None))
        else:
            surplus -= Counter([place])
    return [Unplug(locator, port) for port, locator in surplus.elements()], attached


def _places(settings: SwitchSettings) -> Counter[tuple[int, Locator]]:
    return Counter((port.number, locator) for port in settings.ports for locator in port.attach)


# --- ports and VLANs ---


def _ports(
    before: SwitchSettings, wanted: SwitchSettings, kept: Mapping[int, frozenset[Vid]]
) -> Iterator[Change]:
    """Change the ports; those of which nothing is said become as those that nobody configured."""
    present = {port.number: port for port in before.ports}
    named = {port.number: port for port in wanted.ports}
    for number in sorted(present.keys() | named.keys()):
        usual = PortSettings(number=number)
        settings, known = named.get(number, usual), present.get(number, usual)
        core = _core_of(settings)
        if number in kept:
            core = replace(core, pvid=usual.pvid, tagged=usual.tagged, allocatable=usual.allocatable)
        if core != _core_of(known) or number not in present:
            yield ChangePort(core)
        if settings.addresses != known.addresses:
            yield LimitAddresses(number, settings.addresses)
        if settings.impairment != known.impairment:
            yield Impair(number, settings.impairment)


def _core_of(port: PortSettings) -> PortSettings:
    """Give what ``ChangePort`` is about."""
    return replace(port, tagged=tuple(sorted(port.tagged)), attach=(), addresses=None, impairment=None)


def _vlans_that_go(
    before: SwitchSettings, wanted: SwitchSettings, kept: Mapping[int, frozenset[Vid]]
) -> list[Vid]:
    needed = {*wanted.vlans, *chain.from_iterable(kept.values())}
    return [vid for vid in before.vlans if vid not in needed]


def _tree_ports(before: SwitchSettings, wanted: SwitchSettings, removed: list[Vid]) -> Iterator[Change]:
    """Change what is said of ports in trees; with a VLAN that goes, what was said in it is forgotten."""
    present = {(one.vid, one.port): one for one in before.tree_ports}
    named = {(one.vid, one.port): one for one in wanted.tree_ports}
    for vid, number in sorted(present.keys() | named.keys()):
        usual = TreePort(vid=vid, port=number)
        settings = named.get((vid, number), usual)
        if settings != present.get((vid, number), usual) and vid not in removed:
            yield ChangeTreePort(settings)
