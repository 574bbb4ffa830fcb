"""Port role selection machine: which bridge is root, and what each port is for (802.1D-2004 17.28).

The one machine of the bridge rather than of a port. Its table is two states and one exit (INIT_BRIDGE goes to
ROLE_SELECTION, which is entered again whenever a port asks to reselect), so it is a function here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vswitch.spanning_tree.bpdu import PortRole
from vswitch.spanning_tree.priority import PriorityVector, is_same_bridge
from vswitch.spanning_tree.variables import InfoIs

if TYPE_CHECKING:
    from vswitch.spanning_tree.variables import Port, Tree


def select_roles(tree: Tree) -> None:
    """Enter ROLE_SELECTION: clearReselectTree, updtRolesTree, setSelectedTree."""
    tree.reselect = False
    update_root(tree)
    for port in tree.ports.values():
        update_designated(port)
        port.selected_role, port.updt_info = choose_role(port)
        port.selected = True
    tree.touch_all()


def update_root(tree: Tree) -> None:
    """Compute the root priority vector, root port and root times (17.21.25 a to c)."""
    best = (tree.bridge_priority, 0)
    tree.root_port = None
    for port in tree.ports.values():
        vector = root_path_priority(port)
        if vector is not None and (vector, port.port_id) < best:
            best = (vector, port.port_id)
            tree.root_port = port
    tree.root_priority = best[0]
    tree.root_times = tree.bridge_times if tree.root_port is None else tree.root_port.port_times.aged()


def root_path_priority(port: Port) -> PriorityVector | None:
    """Give the way to the root that this port offers, if it may be used at all."""
    if port.info_is is not InfoIs.RECEIVED or port.settings.restricted_role:
        return None
    if is_same_bridge(port.port_priority.designated_bridge_id, port.tree.bridge_id):
        return None
    return port.port_priority.through(port.path_cost)


def update_designated(port: Port) -> None:
    """Compute what the port says or would say as designated port (17.21.25 d, e)."""
    tree = port.tree
    root = tree.root_priority
    port.designated_priority = PriorityVector(root.root_id, root.root_path_cost, tree.bridge_id, port.port_id)
    port.designated_times = tree.root_times._replace(hello_time=tree.bridge_times.hello_time)


def choose_role(port: Port) -> tuple[PortRole, bool]:
    """Give the port's role and whether its information must be updated (17.21.25 f to l)."""
    match port.info_is:
        case InfoIs.DISABLED:
            return PortRole.DISABLED, False
        case InfoIs.AGED:
            return PortRole.DESIGNATED, True
        case InfoIs.MINE:
            is_current = (
                port.port_priority == port.designated_priority and port.port_times == port.designated_times
            )
            return PortRole.DESIGNATED, not is_current
        case InfoIs.RECEIVED:
            return _choose_among_received(port)


def _choose_among_received(port: Port) -> tuple[PortRole, bool]:
    if port is port.tree.root_port:
        return PortRole.ROOT, False
    if port.designated_priority < port.port_priority:
        return PortRole.DESIGNATED, True
    if is_same_bridge(port.port_priority.designated_bridge_id, port.tree.bridge_id):
        return PortRole.BACKUP, False
    return PortRole.ALTERNATE, False
