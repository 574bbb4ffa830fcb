"""From opened messages to events: records become trains, IP packets are cut and their source is checked.

What is wrong inside an authenticated message is discarded and counted with its peer; it had its effect on
timers and endpoint all the same, as in every WireGuard.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vport.errors import FrameError
from vport.wireguard import packets, records
from vport.wireguard.events import ControlReceived, DiscardReason, FramesReceived, PacketsReceived
from vport.wireguard.settings import Mode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vport.wireguard.allowed_ips import AllowedIps
    from vport.wireguard.batch import Rows
    from vport.wireguard.events import Event
    from vport.wireguard.peer import Peer


class Payload:
    """Reads what peers sent, each in its mode."""

    __slots__ = ("_allowed_ips",)

    def __init__(self, allowed_ips: AllowedIps[Peer]) -> None:
        self._allowed_ips = allowed_ips

    def read(self, peer: Peer, plaintexts: Iterable[memoryview], out: list[Event]) -> None:
        """Read plaintexts, none of them empty."""
        if peer.settings.mode is Mode.IP:
            self._read_packets(peer, plaintexts, out)
        else:
            self._read_records(peer, plaintexts, out)

    def read_rows(self, peer: Peer, rows: Rows, tail: bytes, out: list[Event]) -> None:
        """Read plaintexts of one size and, unless it is empty, one more that came behind them."""
        size = records.uniform_size(rows) if peer.settings.mode is Mode.ETHERNET else 0
        if not size:
            whole = np.ascontiguousarray(rows).reshape(-1).data
            width = rows.shape[1]
            plaintexts = [whole[at : at + width] for at in range(0, len(whole), width)] if width else []
            self.read(peer, (*plaintexts, memoryview(tail)) if tail else plaintexts, out)
            return
        last = self._single_frame(tail) if tail else None
        if last is not None and len(last) > size:
            last = None
        out.append(FramesReceived(peer, [records.train_of(rows, size, last)]))
        if tail and last is None:
            self.read(peer, [memoryview(tail)], out)

    @staticmethod
    def _single_frame(tail: bytes) -> memoryview | None:
        try:
            frames, controls = records.decode(memoryview(tail))
        except FrameError:
            return None
        return frames[0] if len(frames) == 1 and not controls else None

    @staticmethod
    def _read_records(peer: Peer, plaintexts: Iterable[memoryview], out: list[Event]) -> None:
        frames: list[memoryview] = []
        controls: list[bytes] = []
        for plaintext in plaintexts:
            try:
                more_frames, more_controls = records.decode(plaintext)
            except records.ModeError:
                peer.discard(DiscardReason.WRONG_MODE)
            except FrameError:
                peer.discard(DiscardReason.MALFORMED_PAYLOAD)
            else:
                frames += more_frames
                controls += more_controls
        if frames:
            out.append(FramesReceived(peer, records.join(frames)))
        out += [ControlReceived(peer, body) for body in controls]

    def _read_packets(self, peer: Peer, plaintexts: Iterable[memoryview], out: list[Event]) -> None:
        accepted: list[memoryview] = []
        for plaintext in plaintexts:
            if packets.version(plaintext) not in (4, 6):
                peer.discard(DiscardReason.WRONG_MODE)
                continue
            try:
                packet = plaintext[: packets.size(plaintext)]
            except FrameError:
                peer.discard(DiscardReason.MALFORMED_PAYLOAD)
                continue
            if self._allowed_ips.find(packets.source(packet)) is peer:
                accepted.append(packet)
            else:
                peer.discard(DiscardReason.FOREIGN_SOURCE)
        if accepted:
            out.append(PacketsReceived(peer, accepted))
