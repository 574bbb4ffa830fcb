"""What goes into transport messages: plaintexts of one size, back to back, and how they are padded."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from vport.wireguard.constants import PADDING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vport.ethernet import Buffer


def padded_size(size: int, mtu: int) -> int:
    """Round ``size`` up to a multiple of 16, but not beyond the tunnel's MTU (WG 5.4.6)."""
    return max(size, min(size + -size % PADDING, mtu))


def pad(plaintext: bytes, mtu: int) -> bytes:
    """Append the zeros that ``padded_size`` asks for."""
    return plaintext.ljust(padded_size(len(plaintext), mtu), b"\0")


class PlaintextTrain(NamedTuple):
    """Plaintexts for messages of one size: ``prefix`` and ``size`` bytes of ``data`` each.

    ``tail``, where it is not empty, is one more plaintext that is not longer than the others, its own
    prefix included. None of them is padded. ``data`` is borrowed.
    """

    prefix: bytes
    data: Buffer
    size: int
    tail: bytes = b""

    @property
    def messages(self) -> int:
        """How many messages it makes."""
        return len(self.data) // self.size + bool(self.tail)

    def plaintexts(self) -> Iterator[bytes]:
        """Give each plaintext, copied."""
        for start in range(0, len(self.data), self.size):
            yield self.prefix + self.data[start : start + self.size]
        if self.tail:
            yield self.tail


def group(plaintexts: Iterable[bytes], mtu: int) -> list[PlaintextTrain]:
    """Pad plaintexts and join neighbours of equal size, with one shorter at the end, in their order."""
    trains: list[PlaintextTrain] = []
    run: list[bytes] = []
    for plaintext in plaintexts:
        padded = pad(plaintext, mtu)
        if run and len(padded) == len(run[0]):
            run.append(padded)
        elif run and len(padded) < len(run[0]):
            trains.append(PlaintextTrain(b"", b"".join(run), len(run[0]), padded))
            run = []
        else:
            if run:
                trains.append(PlaintextTrain(b"", b"".join(run), len(run[0])))
            run = [padded]
    if run:
        trains.append(PlaintextTrain(b"", b"".join(run), len(run[0])))
    return trains
