"""Storm control at work: how much of a run of frames may be flooded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vport.errors import FrameError
from vport.ethernet import BROADCAST
from vport.offload import plain
from vport.train import Train
from vswitch.guards.storm_control import StormKind
from vswitch.ports import DiscardReason

if TYPE_CHECKING:
    from vswitch.ports import Port


def calm(port: Port, destination: bytes, train: Train, now: float, storms: set[Port]) -> Train | None:
    """Let as many frames of a run be flooded as the port's storm control allows.

    Args:
        port: where they came in; it has storm control.
        destination: of all of them.
        train: the run.
        now: in seconds.
        storms: gets the port when it loses frames.

    Returns:
        the run, the beginning of it, or None for nothing.
    """
    assert port.storm is not None
    if not destination[0] & 1:
        kind = StormKind.UNKNOWN_UNICAST
    else:
        kind = StormKind.BROADCAST if destination == BROADCAST else StormKind.MULTICAST
    count = train.count
    admitted = port.storm.admit(kind, count, now)
    if admitted == count:
        return train
    port.counters.discards[DiscardReason.STORM] += count - admitted
    storms.add(port)
    try:
        cut = plain(train)
    except FrameError:
        return None
    size = admitted * cut.frame_size
    return Train(memoryview(cut.data)[:size], cut.frame_size) if admitted else None
