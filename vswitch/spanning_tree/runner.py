"""Running all machines of an instance to rest, transmitting, and finding out when to come back.

Only ports whose variables may have changed are looked at: machines mark each other's ports as dirty where
they reach across, and a port that has run since the deadlines were computed is stale. An idle instance with
32 ports thus costs little more than its hellos.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

from vswitch.spanning_tree.bpdu import Bpdu, encode_frame
from vswitch.spanning_tree.bridge_detection import BRIDGE_DETECTION
from vswitch.spanning_tree.events import TransmitBpdu
from vswitch.spanning_tree.port_information import PORT_INFORMATION
from vswitch.spanning_tree.port_protocol_migration import PORT_PROTOCOL_MIGRATION, MigrationState
from vswitch.spanning_tree.port_receive import PORT_RECEIVE
from vswitch.spanning_tree.port_role_selection import select_roles
from vswitch.spanning_tree.port_role_transitions import PORT_ROLE_TRANSITIONS
from vswitch.spanning_tree.port_state_transition import PORT_STATE_TRANSITION
from vswitch.spanning_tree.port_transmit import PORT_TRANSMIT
from vswitch.spanning_tree.topology_change import TOPOLOGY_CHANGE
from vswitch.spanning_tree.variables import InfoIs, Port, Tree

if TYPE_CHECKING:
    from collections.abc import Iterator

PORT_MACHINES: Final = (
    PORT_RECEIVE,
    PORT_PROTOCOL_MIGRATION,
    BRIDGE_DETECTION,
    PORT_INFORMATION,
    PORT_ROLE_TRANSITIONS,
    PORT_STATE_TRANSITION,
    TOPOLOGY_CHANGE,
)
"""All machines of a port but the one that transmits, which runs when these are at rest."""

ROUND_LIMIT: Final = 1000  # rounds until all machines rest; real ones take a handful, a bug must not hang


def run_machines(tree: Tree) -> list[Port]:
    """Run the machines of all dirty ports until none moves, and give the ports that may have changed.

    Raises:
        RuntimeError: they do not come to rest, which is a bug in a table.
    """
    for _ in range(ROUND_LIMIT):
        for port in tree.ports.values():
            if port.is_dirty:
                port.is_dirty = False
                port.is_stale = True
                _run_port(port)
        if tree.reselect:
            select_roles(tree)
        elif not any(port.is_dirty for port in tree.ports.values()):
            return [port for port in tree.ports.values() if port.is_stale]
    raise RuntimeError("the spanning tree machines do not come to rest")


def _run_port(port: Port) -> None:
    for _ in range(ROUND_LIMIT):
        moves = [machine.run(port) for machine in PORT_MACHINES]
        if not any(moves):
            return
    raise RuntimeError(f"the machines of port {port.number} do not come to rest")


def transmit(tree: Tree) -> Iterator[TransmitBpdu]:
    """Run the transmit machines of ports with news or a hello to send, and give what they sent."""
    now = tree.now
    for port in tree.ports.values():
        if port.new_info or port.hello_when <= now:
            port.is_stale = True
            PORT_TRANSMIT.run(port)
            for bpdu in port.outbox:
                port.counters.transmitted += 1
                yield _transmission(port, bpdu)
            port.outbox.clear()


def _transmission(port: Port, bpdu: Bpdu) -> TransmitBpdu:
    """Give the event that sends a BPDU; the same one for the same BPDU."""
    if port.sent_event is None or port.sent_event[0] is not bpdu:
        tree = port.tree
        frame = encode_frame(bpdu, tree.mac, tree.vid if port.is_tagged else None)
        port.sent_event = (bpdu, TransmitBpdu(port=port.number, frame=frame))
    return port.sent_event[1]


def update_deadlines(tree: Tree) -> float | None:
    """Compute when each port must be looked at again, and give the earliest instant; ``None`` for never."""
    earliest = inf
    for port in tree.ports.values():
        if port.is_stale:
            port.is_stale = False
            port.timer_at = _timer_deadline(port)
            port.transmit_at = _transmit_deadline(port)
        if port.timer_at < earliest:
            earliest = port.timer_at
        if port.transmit_at < earliest:
            earliest = port.transmit_at
    return None if earliest == inf else earliest


def _timer_deadline(port: Port) -> float:
    """The next instant at which a timer of the port may move a machine; ``inf`` for none.

    Timers in the past have had their effect, as all machines are at rest.
    """
    if not port.port_enabled:
        return inf
    now = port.tree.now
    timers = [port.rr_while, port.rb_while]
    if port.info_is is InfoIs.RECEIVED:
        timers.append(port.rcvd_info_while)
    if not port.forward:
        timers.extend((port.fd_while, port.propose_again_at))
    if port.states[PORT_PROTOCOL_MIGRATION.name] != MigrationState.SENSING:
        timers.append(port.mdelay_while)
    if port.proposing and port.settings.auto_edge and not port.oper_edge:
        timers.append(port.edge_delay_while)
    if port.propagation_flush:
        timers.append(port.flush_after)
    return min([timer for timer in timers if timer > now], default=inf)


def _transmit_deadline(port: Port) -> float:
    """The next instant at which the port may have a BPDU to send."""
    if not port.port_enabled:
        return inf
    opens_at = port.transmit_opens_at
    if port.new_info and opens_at > port.tree.now:
        return min(port.hello_when, opens_at)
    return port.hello_when
