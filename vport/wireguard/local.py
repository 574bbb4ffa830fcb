"""What all peers of a device share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections import Counter

    from vport.wireguard.batch import Sealer
    from vport.wireguard.events import DiscardReason
    from vport.wireguard.keys import Entropy, PrivateKey
    from vport.wireguard.peer import Peer
    from vport.wireguard.sessions import IndexTable
    from vport.wireguard.tai64n import WallClock


@dataclass(slots=True)
class Local:
    """Our key, our clock, randomness, the indexes of our handshakes and sessions, buffers, counters."""

    private_key: PrivateKey
    clock: WallClock
    entropy: Entropy
    indexes: IndexTable[Peer]
    sealer: Sealer
    discards: Counter[DiscardReason]
