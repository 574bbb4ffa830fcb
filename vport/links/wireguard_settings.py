"""What a ``wg://`` locator stands for, once its files are read; and what is kept on disk between runs.

======================  ============================================  ==============================
file                    what it holds                                 by default
======================  ============================================  ==============================
``wg:///FILE``          everything, as ``wg-quick`` has it; not ours  given
``key=@FILE``           a private key, as ``vport genkey`` prints it  ``STATE/wireguard-PORT.key``, made
``peers=FILE``          the peers added by command; rewritten         ``STATE/wireguard-PORT.peers``
``STATE/stamp-…``       the latest timestamp sent under a key         see ``vport.wireguard.tai64n``
======================  ============================================  ==============================

``STATE`` is ``vport.private_files.state_directory()``.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from hashlib import blake2s
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vport.errors import LinkError, SettingsError
from vport.private_files import read_secret, state_directory, write_secret
from vport.wireguard.config import Config, HostPort, PeerSection
from vport.wireguard.config_file import format_peers, parse, parse_peers
from vport.wireguard.config_values import parse_endpoint
from vport.wireguard.keys import PresharedKey, PrivateKey, PublicKey

if TYPE_CHECKING:
    from vport.locator import WireguardLocator
    from vport.wireguard.allowed_ips import Network

logger = logging.getLogger(__name__)

DEFAULT_PORT: Final = 51820  # what WireGuard's users expect


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerSettings:
    """A listener, ready to be opened.

    Attributes:
        config: our key, port, LAN, and the peers that stand in the file that the locator names.
        host: local address to listen on; empty for all.
        store: the file of the peers added by command.
        public: under which host and port others reach us, if that was said.
        underlay_mtu: longest packet of the network below; None for what its device says.
        configured: the peers that stand in the switch's configuration.
    """

    config: Config
    host: str
    store: Path
    public: HostPort | None
    underlay_mtu: int | None
    configured: tuple[PeerSection, ...] = ()

    @property
    def networks(self) -> tuple[Network, ...]:
        """The networks of the LAN, for clients that have IP only."""
        return tuple(interface.network for interface in self.config.addresses)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """A client, ready to be opened: our key, and the one far end that it calls."""

    private_key: PrivateKey
    peer: PeerSection
    endpoint: HostPort
    listen_port: int
    underlay_mtu: int | None


def _read_config(path: str) -> Config:
    try:
        config = parse(read_secret(path, "WireGuard configuration"))
    except SettingsError as error:
        raise SettingsError(error if str(path) in str(error) else f"{path}: {error}") from None
    for line, key in config.ignored:
        logger.info("%s: line %d: %s is not obeyed: it is for wg-quick", path, line, key)
    return config


def read_private_key(path: str | Path) -> PrivateKey:
    """Read a file with a private key.

    Raises:
        SettingsError: it cannot be read, or holds no key.
    """
    try:
        return PrivateKey.parse(read_secret(path, "private key"))
    except SettingsError as error:
        raise SettingsError(error if str(path) in str(error) else f"{path}: {error}") from None


def _own_key(path: Path) -> PrivateKey:
    """Read our key, or make it the first time."""
    if not path.exists():
        key = PrivateKey.generate(os.urandom)
        try:
            write_secret(path, key.encode() + "\n", exclusive=True)
        except FileExistsError:
            return read_private_key(path)
        logger.info("made a private key: %s", path)
        return key
    return read_private_key(path)


def read_listener(locator: WireguardLocator, peers: tuple[PeerSection, ...] = ()) -> ListenerSettings:
    """Read what a listening locator names; ``peers`` stand in the switch's configuration.

    Raises:
        SettingsError: a file or an option is wrong.
        LinkError: a key cannot be kept.
    """
    for name in ("peer", "psk"):
        if getattr(locator, name) is not None:
            raise SettingsError(f"{locator}: {name} is for calling: a listener's peers stand in a file")
    if locator.file:
        if locator.key is not None:
            raise SettingsError(f"{locator}: the key stands in {locator.file}")
        config = _read_config(locator.file)
        name = Path(locator.file).stem
    else:
        name = f"wireguard-{locator.port}"
        key = (
            read_private_key(locator.key)
            if locator.key is not None
            else _own_key(state_directory() / f"{name}.key")
        )
        config = Config(
            private_key=key, listen_port=locator.port, addresses=locator.lan, gateways=locator.gateway
        )
    return ListenerSettings(
        config=config,
        host=locator.host,
        store=Path(locator.peers) if locator.peers is not None else state_directory() / f"{name}.peers",
        public=None if locator.public is None else parse_endpoint(locator.public),
        underlay_mtu=locator.mtu,
        configured=peers,
    )


def read_client(locator: WireguardLocator) -> ClientSettings:
    """Read what a calling locator names.

    Raises:
        SettingsError: a file or an option is wrong, or it does not say whom to call.
    """
    if locator.file:
        return _client_of_file(locator)
    if not locator.host or locator.peer is None or locator.key is None:
        raise SettingsError(
            f"{locator}: calling takes a host, peer=PUBLIC-KEY and key=@FILE (or a file: wg:///etc/…/lan.conf)"
        )
    psk = None
    if locator.psk is not None:
        psk = PresharedKey.parse(read_secret(locator.psk, "preshared key"))
    endpoint = HostPort(host=locator.host, port=locator.port)
    return ClientSettings(
        private_key=read_private_key(locator.key),
        peer=PeerSection(
            public_key=PublicKey.parse(locator.peer),
            preshared_key=psk,
            endpoint=endpoint,
            persistent_keepalive=locator.keepalive,
        ),
        endpoint=endpoint,
        listen_port=0,
        underlay_mtu=locator.mtu,
    )


def _client_of_file(locator: WireguardLocator) -> ClientSettings:
    config = _read_config(locator.file)
    if len(config.peers) != 1:
        raise SettingsError(f"{locator.file}: {len(config.peers)} peers; whoever calls has one, the switch")
    (peer,) = config.peers
    if peer.endpoint is None:
        raise SettingsError(f"{locator.file}: the peer has no Endpoint to call")
    return ClientSettings(
        private_key=config.private_key,
        peer=peer,
        endpoint=peer.endpoint,
        listen_port=config.listen_port or 0,
        underlay_mtu=locator.mtu,
    )


# --- kept on disk ---


def load_peers(path: Path) -> tuple[PeerSection, ...]:
    """Read the file of the peers added by command; none where there is no file yet.

    Raises:
        SettingsError: it cannot be read or is malformed: line and reason.
    """
    if not path.exists():
        return ()
    try:
        return parse_peers(read_secret(path, "file of peers"))
    except SettingsError as error:
        raise SettingsError(error if str(path) in str(error) else f"{path}: {error}") from None


def save_peers(path: Path, peers: tuple[PeerSection, ...]) -> None:
    """Write that file.

    Raises:
        LinkError: it cannot be written; the old one is as it was.
    """
    head = "# Peers of vswitch, added with peer/add and peer/invite. Rewritten by each such command.\n\n"
    write_secret(path, head + format_peers(peers))


class StampFile:
    """Keeps the greatest timestamp that was sent under a key (``Device.latest_stamp``).

    Without it a clock that was set back before a restart would lock us out of every peer, for peers remember
    the greatest. A stamp that cannot be kept is no reason not to work.
    """

    def __init__(self, public_key: PublicKey) -> None:
        name = blake2s(public_key.raw, digest_size=8).hexdigest()
        self._path = state_directory() / f"stamp-{name}"
        self._kept = 0
        self._is_broken = False

    def load(self) -> int:
        """Give the stamp, 0 where none was kept."""
        try:
            text = self._path.read_text()
        except OSError:
            return 0
        self._kept = int(text) if text.strip().isdecimal() and len(text) < 24 else 0
        return self._kept

    def save(self, stamp: int) -> None:
        """Keep ``stamp`` if it is greater than the one that is kept."""
        if stamp <= self._kept or self._is_broken:
            return
        try:
            write_secret(self._path, f"{stamp}\n")
        except LinkError as error:
            self._is_broken = True
            logger.info("%s; if the clock is set back, peers may refuse us until it has caught up", error)
            return
        self._kept = stamp
