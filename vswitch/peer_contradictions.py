"""What cannot be true together of the WireGuard peers in a configuration file."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from vport.toml_fields import KeyPath
    from vport.wireguard.config import PeerSection
    from vswitch.config import SwitchSettings


def peer_contradictions(settings: SwitchSettings) -> Iterator[tuple[KeyPath, str]]:
    """Find what contradicts something said before, in terms of the file.

    Ports are one for the switch; names, keys and the prefixes of stock clients, for each listener.
    """
    seen: dict[tuple[str, Hashable], str] = {}
    places = set(settings.listen)
    for number, listener in enumerate(settings.wireguard):
        path: KeyPath = ("wireguard", number)
        if listener.listen in places:
            yield (*path, "listen"), f"{listener.listen} is listened on already: name it once"
        places.add(listener.listen)
        for index, peer in enumerate(listener.peers):
            who = f"{peer.name or 'a peer'} (wireguard[{number}].peer[{index}])"
            for key, kind, value in _claims(peer, number):
                holder = seen.setdefault((kind, value), who)
                if holder is not who:
                    yield (*path, "peer", index, key), f"is {holder}'s already"
            if peer.port is not None and peer.port > settings.port_limit:
                limit = settings.port_limit
                text = f"port {peer.port} is not from 1 to {limit}, the number of ports"
                yield (*path, "peer", index, "port"), text
    for index, port in enumerate(settings.ports):
        keeper = seen.get(("port", port.number))
        for key, is_said in (("pvid", port.pvid), ("tagged", port.tagged), ("attach", port.attach)):
            if keeper is not None and is_said:
                yield (
                    ("port", index, key),
                    f"port {port.number} is kept for {keeper}: say it there",
                )


def _claims(peer: PeerSection, listener: int) -> Iterator[tuple[str, str, Hashable]]:
    """Give what only one can have: its key in the file, what it is, and the value."""
    yield "public-key", f"key of {listener}", peer.public_key
    if peer.name:
        yield "name", f"name of {listener}", peer.name
    if peer.port is not None:
        yield "port", "port", peer.port
    if peer.carries == "ip":
        for network in dict.fromkeys(peer.allowed_ips):
            yield "allowed-ips", f"network of {listener}", network
