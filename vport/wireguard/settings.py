"""What the operator says about a peer, as one value, checked once."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from vport.errors import SettingsError
from vport.wireguard.constants import DEFAULT_MTU
from vport.wireguard.keys import NO_PRESHARED_KEY

if TYPE_CHECKING:
    from vport.wireguard.allowed_ips import Network
    from vport.wireguard.keys import PresharedKey, PublicKey

MINIMUM_MTU: Final = 576
MAXIMUM_MTU: Final = 65475  # what a datagram of 65507 bytes has room for


class Mode(StrEnum):
    """What the messages of a peer carry; fixed by its settings, never guessed."""

    ETHERNET = "ethernet"  # our own ports: records, see ``records``
    IP = "ip"  # stock WireGuard


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerSettings:
    """What the operator says about a peer.

    Attributes:
        public_key: its identity.
        name: what people call it; may be empty.
        preshared_key: a further secret of the two; all zeros where there is none.
        mode: what its messages carry.
        allowed_ips: the addresses of an IP peer; not looked at for an Ethernet peer.
        persistent_keepalive: seconds, 0 for off.
        mtu: greatest plaintext in bytes that padding makes; longer frames go as they are.

    Raises:
        SettingsError: a number is out of its range.
    """

    public_key: PublicKey
    name: str = ""
    preshared_key: PresharedKey = NO_PRESHARED_KEY
    mode: Mode = Mode.ETHERNET
    allowed_ips: tuple[Network, ...] = ()
    persistent_keepalive: int = 0
    mtu: int = DEFAULT_MTU

    def __post_init__(self) -> None:
        if not 0 <= self.persistent_keepalive <= 65535:
            raise SettingsError(f"persistent keepalive {self.persistent_keepalive}: 0 (off) to 65535 seconds")
        if not MINIMUM_MTU <= self.mtu <= MAXIMUM_MTU:
            raise SettingsError(f"tunnel MTU {self.mtu}: {MINIMUM_MTU} to {MAXIMUM_MTU} bytes")
