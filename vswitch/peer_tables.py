"""Tables of WireGuard peers in a configuration file: ``[[wireguard.peer]]`` to a peer and back.

    name = "laptop"
    public-key = "…"              # as vport pubkey or wg print them
    preshared-key = "…"           # a secret
    mode = "ethernet"             # or "ip": a stock client. Without it, a peer with allowed-ips is one
    allowed-ips = ["10.1.1.7"]    # of a stock client what it may send from, else what is kept free for it
    endpoint = "host:51820"       # where it is called, until it is heard of
    keepalive = 25                # seconds; 0 for none
    port = 7                      # of the switch; without it, a free one
    vlan = 10                     # of frames without a tag
    tagged = [20, 30]
    macs = ["02:00:00:00:00:01"]  # the only stations behind it
    max-macs = 2                  # how many there may be; 0 for any number
    broadcasts = true             # a stock client is sent what goes to all

VLANs come into being with it. Invitations have no table: they are used up, and stay where commands keep them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vport.errors import SettingsError
from vport.ethernet import VID_MAX, Vid, format_mac
from vport.profile import DEFAULT_PVID, MAX_STATIONS
from vport.readers import station_address
from vport.toml_fields import PlacedError, Table, boolean, integer, list_of, text_as
from vport.wireguard import config_values
from vport.wireguard.config import PeerSection
from vport.wireguard.keys import PresharedKey, PublicKey
from vport.wireguard.settings import Mode
from vswitch.ports import PORT_LIMIT_MAX

if TYPE_CHECKING:
    from collections.abc import Callable

HIDDEN: Final = "(hidden)"
"""What stands for a preshared key where others may be looking."""

_KEYS: Final = (
    "name", "public-key", "preshared-key", "mode", "allowed-ips", "endpoint", "keepalive", "port", "vlan",
    "tagged", "macs", "max-macs", "broadcasts",
)  # fmt: skip
_SECONDS_MAX: Final = 65535  # of a keepalive, as in wg(8)


def read_peer(value: object) -> PeerSection:
    """Read a table.

    Raises:
        SettingsError: a key is unknown or missing, a value wrong, or two contradict each other.
    """
    table = Table(value, _KEYS)
    peer = PeerSection(
        name=table.read("name", text_as(config_values.name), ""),
        public_key=table.require("public-key", text_as(PublicKey.parse)),
        preshared_key=table.read("preshared-key", text_as(_preshared_key), None),
        mode=table.read("mode", text_as(config_values.mode), None),
        allowed_ips=table.read("allowed-ips", list_of(text_as(config_values.network)), ()),
        endpoint=table.read("endpoint", text_as(config_values.parse_endpoint), None),
        persistent_keepalive=table.read("keepalive", integer(0, _SECONDS_MAX), 0),
        port=table.read("port", integer(1, PORT_LIMIT_MAX), None),
        vlan=table.read("vlan", _vid(0), DEFAULT_PVID),
        tagged_vlans=table.read("tagged", list_of(_vid(1)), ()),
        macs=table.read("macs", list_of(text_as(station_address)), ()),
        max_macs=table.read("max-macs", integer(0, MAX_STATIONS), 0),
        broadcasts=table.read("broadcasts", boolean, False),
    )
    _check(peer)
    return peer


def _check(peer: PeerSection) -> None:
    try:
        _ = peer.profile
    except SettingsError as error:
        raise PlacedError(("tagged",), str(error)) from None
    if peer.carries is Mode.IP:
        for key, found in (("tagged", peer.tagged_vlans), ("macs", peer.macs), ("max-macs", peer.max_macs)):
            if found:
                raise PlacedError(
                    (key,), "is not for a stock client (mode ip), which is one station, untagged"
                )
    elif peer.broadcasts:
        raise PlacedError(("broadcasts",), "is for stock clients (mode ip): others are sent them anyway")


def _preshared_key(text: str) -> PresharedKey:
    if text == HIDDEN:
        raise SettingsError("the key itself must stand here: config/show hides it, config/save writes it")
    return PresharedKey.parse(text)


def _vid(low: int) -> Callable[[object], Vid]:
    return lambda value: Vid(integer(low, VID_MAX)(value))


def write_peer(peer: PeerSection, *, with_secrets: bool) -> dict[str, object]:
    """Write a table; what is as where nothing is said is left out."""
    secret = None if peer.preshared_key is None else peer.preshared_key.encode() if with_secrets else HIDDEN
    values: dict[str, object] = {
        "name": peer.name,
        "public-key": peer.public_key.encode(),
        "preshared-key": secret,
        "mode": None if peer.mode is None else str(peer.mode),
        "allowed-ips": list(map(str, peer.allowed_ips)),
        "endpoint": None if peer.endpoint is None else str(peer.endpoint),
        "keepalive": peer.persistent_keepalive,
        "port": peer.port,
        "vlan": peer.vlan,
        "tagged": list(peer.tagged_vlans),
        "macs": list(map(format_mac, peer.macs)),
        "max-macs": peer.max_macs,
        "broadcasts": peer.broadcasts,
    }
    return {key: value for key, value in values.items() if value}
