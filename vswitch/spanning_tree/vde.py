"""What a ``vde_switch`` neighbour means and needs to hear, where it differs from the standard.

Its rules, as observed on the wire, and what follows for us:

- It forwards on a new link at once and never proposes. So news from it count as a proposal: our other ports
  are brought in line before our root port forwards.
- A port of it that hears any designated port with the same root discards, even when its own information is
  the better one, and says "alternate". So a better offer is taken from a port in that role too; waiting for
  "designated" would leave both ends silent for ever.
- It forwards again only when it hears the root role. So on root *and* alternate ports we say "root", at
  every hello: its end then forwards as a designated port should, ours decides. It never stops listening to
  hellos on its own ports.
- It changes its mind about who is nearer the root by saying "root" to us: what it offered before is void.
- Its message age is the age of its news, not a distance, and max age is never enforced. Each of its hops
  costs 20000000, so the cost tells the distance, and information that runs in a circle dies like any other.
- It sends one BPDU per topology change and relays each it hears, through blocked ports as well. We tell it
  once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vswitch.spanning_tree.bpdu import ConfigBpdu, Dialect, PortRole, RstBpdu
from vswitch.spanning_tree.settings import Times
from vswitch.spanning_tree.variables import InfoIs

if TYPE_CHECKING:
    from vswitch.spanning_tree.variables import Port

HOP_COST: Final = 20_000_000  # cost of every port of a vde_switch
MAX_AGE: Final = 40.0  # seconds; what it sends
LEAST_FORWARD_DELAY: Final = 21.0  # seconds; the least that fits a max age of 40 (802.1D-2004 17.14)


def _message(port: Port) -> RstBpdu | None:
    message = port.rst_message
    return message if message is not None and message.dialect is Dialect.VDE else None


def translate_times(port: Port, message: ConfigBpdu | RstBpdu) -> Times:
    """Give the times that a rapid spanning tree bridge in the neighbour's place would send."""
    hops = message.vector.root_path_cost // HOP_COST
    delay = max(port.tree.bridge_times.forward_delay, LEAST_FORWARD_DELAY)
    return Times(float(min(hops, 255)), MAX_AGE, message.times.hello_time, delay)


def offers_root(port: Port, message: RstBpdu) -> bool:
    """Whether a blocked port of the neighbour offers a way to the root that we must take."""
    if message.dialect is not Dialect.VDE or message.role is not PortRole.ALTERNATE:
        return False
    is_known = port.info_is is InfoIs.RECEIVED and message.vector == port.port_priority
    return is_known or message.vector.is_superior_to(port.port_priority)


def is_news(port: Port, message: RstBpdu) -> bool:
    """Whether the message tells more than the port already holds."""
    is_known = port.info_is is InfoIs.RECEIVED and message.vector == port.port_priority
    return message.dialect is Dialect.VDE and not is_known


def withdraw_if_child(port: Port) -> None:
    """Let the neighbour's offer end now if it has just said that we are its way to the root."""
    message = _message(port)
    if (
        message is not None
        and message.role is PortRole.ROOT
        and port.info_is is InfoIs.RECEIVED
        and message.vector.is_from_same_port(port.port_priority)
    ):
        port.rcvd_info_while = port.tree.now


def announce_role(port: Port) -> None:
    """Tell the neighbour at once that our part has changed; its port waits for that."""
    if port.is_beside_vde:
        port.new_info = True


def needs_hello(port: Port) -> bool:
    """Whether this port sends hellos for the neighbour's sake."""
    return port.is_beside_vde and port.role in (PortRole.ROOT, PortRole.ALTERNATE)


def make_bpdu(port: Port, topology_change: bool) -> RstBpdu:
    """Build what a ``vde_switch`` in our place would send."""
    role = PortRole.ROOT if port.role is PortRole.ALTERNATE else port.role
    heard_at = port.tree.root_port.heard_at if port.tree.root_port is not None else port.tree.now
    return RstBpdu(
        vector=port.designated_priority,
        times=Times(port.tree.now - heard_at, MAX_AGE, 4.0, 0.0),
        role=role,
        topology_change=topology_change,
        learning=port.learning,
        forwarding=port.forwarding,
        agreement=True,
        dialect=Dialect.VDE,
    )
