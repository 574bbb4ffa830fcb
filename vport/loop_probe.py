"""Finds out whether the two ends of a cable are on the same LAN, which makes a loop.

A frame that only this cable knows goes out of each end, to a group address that nobody listens to, so that
switches flood it. When one comes in, the LAN at one end is that at the other: what one end sends reaches the
other, and every broadcast goes round for ever unless a switch runs spanning tree.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from vport.ethernet import HEADER_SIZE, EtherType, encode_frame, random_mac

if TYPE_CHECKING:
    from random import Random

    from vport.train import Train

INTERVAL: Final = 30.0  # seconds between probes
_GROUP: Final = bytes.fromhex("0b5afe000001")  # locally administered group address (802-2014 8.2)
# Ethernet configuration testing protocol: skip count 0, function 3 is no known one: nobody answers.
_HEADER: Final = struct.Struct("<HH")
_FUNCTION: Final = 3


class LoopProbe:
    """The probe of one cable.

    Attributes:
        frame: what is to be sent out of each end.
    """

    def __init__(self, random: Random) -> None:
        self._token = random.randbytes(16)
        payload = _HEADER.pack(0, _FUNCTION) + self._token
        self.frame = encode_frame(_GROUP, random_mac(random), EtherType.LOOPBACK, payload)

    def is_in(self, train: Train) -> bool:
        """Whether a frame of ``train`` is our probe; looks closely only at trains that begin like it."""
        data = train.data
        if data[:6] != _GROUP:
            return False
        start = HEADER_SIZE + _HEADER.size
        return bytes(data[start : start + len(self._token)]) == self._token
