"""A cable: two links joined, what one receives the other transmits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from vport.links.base import Link


class CableEnd:
    """Where one link of a cable delivers: the other link (``links.base.Sink``)."""

    __slots__ = ("deliver", "flush")

    def __init__(self, other: Link) -> None:
        self.deliver = other.transmit
        self.flush = other.flush


async def run_cable(
    one: Link, other: Link, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Carry trains between two open links until one of them ends; ``started`` once traffic can flow.

    A link that announces a station for its far end announces the one behind the other link. Cancellation
    leaves both links usable.

    Raises:
        LinkError: one of them broke.
    """
    for link, neighbour in ((one, other), (other, one)):
        if link.station is None:
            link.station = neighbour.station
    async with trio.open_nursery() as nursery:

        async def carry(link: Link, neighbour: Link, *, task_status: trio.TaskStatus[None]) -> None:
            await link.run(CableEnd(neighbour), task_status=task_status)
            nursery.cancel_scope.cancel()

        await nursery.start(carry, one, other)
        await nursery.start(carry, other, one)
        task_status.started()
