"""How long a packet may be: outside, inside, and with what is around it (wireguard.md section 10)."""

from __future__ import annotations

from typing import Final

from vport.ethernet import HEADER_SIZE, TAG_SIZE
from vport.wireguard.constants import TRANSPORT_OVERHEAD
from vport.wireguard.records import WORD_SIZE

_UDP_HEADER: Final = 8
_IP_HEADER: Final = {4: 20, 6: 40}

COMMON_MTU: Final = 1400
"""What every port of ours takes unless told otherwise: it fits IPv6 and a VLAN tag over Ethernet's 1500."""

IPV6_MINIMUM: Final = 1280  # RFC 8200 section 5
DEFAULT_UNDERLAY: Final = 1500  # until the path is known
LEAST_UNDERLAY: Final = 576  # RFC 791 section 3.1: what every network takes; a router that claims less lies


def plaintext_limit(underlay: int, version: int) -> int:
    """Give the longest plaintext whose message fits a packet of ``underlay`` bytes over IP ``version``."""
    return underlay - _IP_HEADER[version] - _UDP_HEADER - TRANSPORT_OVERHEAD


def frame_limit(underlay: int, version: int) -> int:
    """Give the longest Ethernet frame that fits."""
    return plaintext_limit(underlay, version) - WORD_SIZE


def lan_mtu(underlay: int, version: int) -> int:
    """Give the MTU for a device of the LAN: frames fit with a VLAN tag; not above the common one.

    Nor below what IPv6 asks of every link: over a narrower path the longest frames travel in fragments.
    """
    return max(IPV6_MINIMUM, min(COMMON_MTU, frame_limit(underlay, version) - HEADER_SIZE - TAG_SIZE))
