"""Invitations: one line of text with which a machine joins, and the words exchanged when it does.

A token is good for one machine. It holds the private key of a peer that may do one thing only, to say which
key is to take its place: the machine makes its own key, calls with the invitation's, and sends the public
half in a control record (``encode_enrolment``). The switch enters that key and answers; from the first
session under the new key on, the invitation is void. So the key that counts never leaves its
machine, and a token that somebody finds in a shell's history opens nothing. Whoever uses a token first is in:
hand it over as you would a key.

A token in bytes, before base64url (RFC 4648 section 5, no padding): version 1, switch's public key (32),
invitation's private key (32), preshared key (32), MTU of the LAN (2, big-endian), UDP port (2), length of
the host name (1), host name, number of addresses (1), for each its size (1: 4 or 16), prefix length (1) and
bytes, and the first 4 bytes of BLAKE2s over all before.
"""

from __future__ import annotations

import base64
import binascii
import struct
from dataclasses import dataclass
from hashlib import blake2s
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_interface
from itertools import islice
from typing import TYPE_CHECKING, Final

from vport.errors import FrameError, SettingsError
from vport.wireguard.config import Config, HostPort, PeerSection
from vport.wireguard.constants import KEY_SIZE
from vport.wireguard.keys import PresharedKey, PrivateKey, PublicKey

if TYPE_CHECKING:
    from collections.abc import Collection

    from vport.wireguard.config import Address, Interface

Network = IPv4Network | IPv6Network

_VERSION: Final = 1
_CHECKSUM_SIZE: Final = 4
_HEAD: Final = struct.Struct("!B32s32s32sHHB")
_ENROL: Final = b"enrol 1 "
_ENROLLED: Final = b"enrolled 1 "
_SEARCHED: Final = 1 << 16  # addresses of a network that are looked at for a free one
KEEPALIVE: Final = 25  # seconds: NATs forget after 30, and the LAN wants to reach its stations


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """What a token holds. Its ``repr`` shows no secret, since keys do not.

    Attributes:
        server_key: the switch's identity.
        key: the invitation's own.
        preshared_key: stays with the peer when it has its own key.
        endpoint: where the switch is.
        addresses: what the machine is called on the LAN, with prefix lengths; may be empty.
        mtu: of the LAN, 0 for the usual one.
    """

    server_key: PublicKey
    key: PrivateKey
    preshared_key: PresharedKey
    endpoint: HostPort
    addresses: tuple[Interface, ...] = ()
    mtu: int = 0

    def encode(self) -> str:
        """Write the token, secrets and all."""
        host = self.endpoint.host.encode()
        if not 0 < len(host) < 256 or len(self.addresses) > 16:
            raise SettingsError("an invitation has a host name of at most 255 bytes and at most 16 addresses")
        body = _HEAD.pack(
            _VERSION,
            self.server_key.raw,
            self.key.raw,
            self.preshared_key.raw,
            self.mtu,
            self.endpoint.port,
            len(host),
        )
        body += host + bytes((len(self.addresses),))
        for address in self.addresses:
            packed = address.ip.packed
            body += bytes((len(packed), address.network.prefixlen)) + packed
        return base64.urlsafe_b64encode(body + _checksum(body)).rstrip(b"=").decode()


def _checksum(body: bytes) -> bytes:
    return blake2s(body).digest()[:_CHECKSUM_SIZE]


def decode_token(text: str) -> Invitation:
    """Read a token.

    Raises:
        SettingsError: it is cut off or mistyped, or of a later version; the message does not repeat it.
    """
    text = text.strip()
    if "+" in text or "/" in text:  # which Python's decoder takes for - and _
        raise SettingsError("this is no token: it has other characters than base64url")
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise SettingsError("this is no token: it has other characters than base64url") from None
    body, checksum = raw[:-_CHECKSUM_SIZE], raw[-_CHECKSUM_SIZE:]
    if len(body) <= _HEAD.size or _checksum(body) != checksum:
        raise SettingsError("this token is cut off or mistyped: its checksum is wrong")
    if body[0] != _VERSION:
        raise SettingsError(f"this token is of version {body[0]}; a later vport reads it")
    try:
        return _decode_body(body)
    except (IndexError, ValueError) as error:  # made by somebody who knows how to make a checksum
        raise SettingsError(f"this token is malformed: {type(error).__name__}") from None


def _decode_body(body: bytes) -> Invitation:
    _, server, private, psk, mtu, port, host_size = _HEAD.unpack_from(body)
    at = _HEAD.size + host_size
    host = body[_HEAD.size : at].decode()
    addresses: list[Interface] = []
    count, at = body[at], at + 1
    for _ in range(count):
        size, prefix, at = body[at], body[at + 1], at + 2
        addresses.append(ip_interface(f"{ip_address(body[at : at + size])}/{prefix}"))
        at += size
    if at != len(body) or not host or not port:
        raise ValueError("length")
    return Invitation(
        server_key=PublicKey(server),
        key=PrivateKey(private),
        preshared_key=PresharedKey(psk),
        endpoint=HostPort(host=host, port=port),
        addresses=tuple(addresses),
        mtu=mtu,
    )


# --- control records ---


def encode_enrolment(key: PublicKey) -> bytes:
    """Ask that ``key`` take the place of the invitation's."""
    return _ENROL + key.raw


def decode_enrolment(body: bytes) -> PublicKey:
    """Read the key that is to take the invitation's place.

    Raises:
        FrameError: the control record is something else.
    """
    return _keyed(body, _ENROL)


def encode_confirmation(key: PublicKey) -> bytes:
    """Say that ``key`` has taken the invitation's place."""
    return _ENROLLED + key.raw


def decode_confirmation(body: bytes) -> PublicKey:
    """Read which key has taken the invitation's place.

    Raises:
        FrameError: the control record is something else.
    """
    return _keyed(body, _ENROLLED)


def _keyed(body: bytes, head: bytes) -> PublicKey:
    if not body.startswith(head) or len(body) != len(head) + KEY_SIZE:
        raise FrameError(f"a control record of {len(body)} bytes is not about enrolment")
    return PublicKey(body[len(head) :])


# --- addresses and files ---


def free_address(network: Network, taken: Collection[Address]) -> Interface:
    """Give the lowest address of ``network`` that a host can have and nobody has.

    Raises:
        SettingsError: there is none among the first 65536.
    """
    for address in islice(network.hosts(), _SEARCHED):
        if address not in taken:
            return ip_interface(f"{address}/{network.prefixlen}")
    raise SettingsError(f"no address of {network} is free")


def config_of(invitation: Invitation, key: PrivateKey) -> Config:
    """Make the file that a port of ours keeps when it has joined."""
    return Config(
        private_key=key,
        addresses=invitation.addresses,
        mtu=invitation.mtu or None,
        peers=(
            PeerSection(
                public_key=invitation.server_key,
                preshared_key=invitation.preshared_key,
                endpoint=invitation.endpoint,
                persistent_keepalive=KEEPALIVE,
            ),
        ),
    )


def stock_config(
    key: PrivateKey,
    preshared_key: PresharedKey,
    addresses: tuple[Interface, ...],
    server: tuple[PublicKey, HostPort],
    networks: tuple[Network, ...],
    mtu: int,
) -> Config:
    """Make the file of a stock client: it has its own address, and sends to the LAN's through the tunnel."""
    server_key, endpoint = server
    return Config(
        private_key=key,
        addresses=tuple(ip_interface(address.ip) for address in addresses),
        mtu=mtu,
        peers=(
            PeerSection(
                public_key=server_key,
                preshared_key=preshared_key,
                allowed_ips=networks,
                endpoint=endpoint,
                persistent_keepalive=KEEPALIVE,
            ),
        ),
    )
