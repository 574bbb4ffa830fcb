"""The inbox and the outbox of a socket: the fastest that this system has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vport.links.batch_inbox import BatchInbox
from vport.links.batch_outbox import BatchOutbox
from vport.links.inbox import Inbox, PlainInbox
from vport.links.mmsg import Calls
from vport.links.outbox import Destination, Outbox

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable


def open_postbox(
    sock: socket.socket,
    report: Callable[[Destination, OSError], None],
    *,
    segmentation: bool = True,
    batches: bool = True,
    system: Callable[[], Calls] = Calls,
) -> tuple[Inbox, Outbox]:
    """Make the inbox and the outbox of ``sock``.

    Args:
        sock: a non-blocking UDP socket, bound or connected, with its options set.
        report: told of errors when sending that are neither a full queue nor a matter of size.
        segmentation: whether to let the kernel cut trains.
        batches: whether to use recvmmsg and sendmmsg.
        system: gives these two calls, or raises OSError where this system lacks them.
    """
    if batches:
        try:
            calls = system()
        except OSError:
            pass
        else:
            return BatchInbox(sock, calls), BatchOutbox(sock, report, calls, segmentation=segmentation)
    return PlainInbox(sock), Outbox(sock, report, segmentation=segmentation)
