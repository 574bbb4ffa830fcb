"""VXLAN without I/O: the header around trains of frames, and behind which end a station is (RFC 7348).

A VXLAN packet is a UDP datagram of this header and an Ethernet frame without FCS (section 5)::

    0   flags: 0x08 says that the VNI is valid, the other bits are reserved
    1   reserved, 24 bits
    4   VNI, 24 bits
    7   reserved, 8 bits

Reserved bits are sent as zero and ignored on receipt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, TypeVar

import numpy as np

from vport.ethernet import HEADER_SIZE, MacAddress, is_multicast
from vport.train import Train, runs

if TYPE_CHECKING:
    from collections import Counter

    from vport.ethernet import Buffer

T = TypeVar("T")

# --- constants of the standard ---

VXLAN_HEADER: Final = 8
FLAG_VNI: Final = 0x08

# --- our own constants ---

STATIONS_MAX: Final = 16384  # what is learned; the excess is flooded
_FEW: Final = 4  # frames: up to here joining slices beats NumPy


def encode_header(vni: int) -> bytes:
    """Give the header of every packet of a segment."""
    return bytes((FLAG_VNI, 0, 0, 0)) + vni.to_bytes(3, "big") + b"\0"


def encapsulate(train: Train, header: bytes) -> Train:
    """Put ``header`` in front of every frame of a plain train; the result has bytes of its own."""
    data, size = train.data, train.frame_size
    total = len(data)
    if total <= size:
        return Train(b"".join((header, data)), size + VXLAN_HEADER)
    if total <= size * _FEW:
        pieces: list[Buffer] = []
        for start in range(0, total, size):
            pieces += (header, data[start : start + size])
        return Train(b"".join(pieces), size + VXLAN_HEADER)
    full, rest = divmod(total, size)
    new = size + VXLAN_HEADER
    given = np.frombuffer(data, np.uint8)
    out = np.empty(total + VXLAN_HEADER * (full + bool(rest)), np.uint8)
    rows = out[: full * new].reshape(full, new)
    rows[:, :VXLAN_HEADER] = np.frombuffer(header, np.uint8)
    rows[:, VXLAN_HEADER:] = given[: full * size].reshape(full, size)
    if rest:
        out[full * new : full * new + VXLAN_HEADER] = np.frombuffer(header, np.uint8)
        out[full * new + VXLAN_HEADER :] = given[full * size :]
    return Train(out.data, new)


def decapsulate(data: Buffer, size: int, vni: int, discards: Counter[str]) -> list[Train]:
    """Take the frames out of datagrams of ``size`` bytes, the last may be shorter.

    Gives trains; what is not of segment ``vni`` or malformed is counted in ``discards`` by reason.
    """
    total = len(data)
    if not 0 < size <= total or size < VXLAN_HEADER + HEADER_SIZE:
        discards["short"] += -(-total // size) if size else 1
        return []
    if total <= size * _FEW:
        frames = []
        for start in range(0, total, size):
            one = data[start : start + size]
            if (reason := _fault(one, vni)) is not None:
                discards[reason] += 1
            else:
                frames.append(one[VXLAN_HEADER:])
        return [Train(frame, len(frame)) for frame in frames] if len(frames) < 2 else _joined(frames)
    return _taken_at_once(data, size, vni, discards)


def _fault(datagram: Buffer, vni: int) -> str | None:
    if len(datagram) < VXLAN_HEADER + HEADER_SIZE:
        return "short"
    if not datagram[0] & FLAG_VNI:
        return "bad flags"
    if int.from_bytes(datagram[4:7], "big") != vni:
        return "wrong VNI"
    return None


def _joined(frames: list[Buffer]) -> list[Train]:
    """Make trains of frames that came in one: all but the last have one size, unless some are missing."""
    size = len(frames[0])
    if all(len(frame) == size for frame in frames[:-1]) and len(frames[-1]) <= size:
        return [Train(b"".join(frames), size)]
    return [Train(frame, len(frame)) for frame in frames]


def _taken_at_once(data: Buffer, size: int, vni: int, discards: Counter[str]) -> list[Train]:
    """Do what ``decapsulate`` does, for a long train: one comparison for all headers, one copy."""
    total = len(data)
    full, rest = divmod(total, size)
    given = np.frombuffer(data, np.uint8)
    rows = given[: full * size].reshape(full, size)
    flagged = (rows[:, 0] & FLAG_VNI) != 0
    right = (rows[:, 4:7] == np.frombuffer(vni.to_bytes(3, "big"), np.uint8)).all(axis=1)
    discards["bad flags"] += int(full - flagged.sum())
    discards["wrong VNI"] += int((flagged & ~right).sum())
    good = flagged & right
    inner = rows[:, VXLAN_HEADER:] if good.all() else rows[good, VXLAN_HEADER:]
    trains = [Train(np.ascontiguousarray(inner).reshape(-1).data, size - VXLAN_HEADER)] if len(inner) else []
    if rest:
        trains += decapsulate(data[full * size :], rest, vni, discards)
    discards += type(discards)()  # forget the zeros
    return trains


class StationTable(Generic[T]):
    """Behind which far end each station is, as learned from what came from there; bounded and aged.

    Args:
        age: seconds of silence after which a station is forgotten.
        capacity: how many are remembered; beyond that none is learned until some are forgotten.
    """

    def __init__(self, age: float, capacity: int = STATIONS_MAX) -> None:
        self._age = age
        self._capacity = capacity
        self._stations: dict[MacAddress, tuple[T, float]] = {}

    def __len__(self) -> int:
        return len(self._stations)

    def learn(self, mac: bytes, place: T, now: float) -> None:
        """Note that ``mac`` was heard from ``place``."""
        if is_multicast(mac):
            return
        if len(self._stations) < self._capacity or mac in self._stations:
            self._stations[MacAddress(mac)] = place, now

    def find(self, mac: bytes, now: float) -> T | None:
        """Tell where ``mac`` is, None when nobody knows."""
        found = self._stations.get(MacAddress(mac))
        return None if found is None or now - found[1] > self._age else found[0]

    def collect(self, now: float) -> None:
        """Forget the stations that have been silent too long."""
        old = [mac for mac, (_, seen) in self._stations.items() if now - seen > self._age]
        for mac in old:
            del self._stations[mac]

    def places(self) -> set[T]:
        """Give the far ends that any station is behind."""
        return {place for place, _ in self._stations.values()}


def learn_all(table: StationTable[T], train: Train, place: T, now: float) -> None:
    """Learn the sources of all frames of a plain train."""
    for run in runs(train):
        if len(run.data) >= HEADER_SIZE:
            table.learn(bytes(run.data[6:12]), place, now)
