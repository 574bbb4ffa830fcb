"""The fstp menu: the spanning trees, under VDE's name for them. What it prints is in ``fstp_text``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from vport.shell.arguments import Integer, Optional, Switch
from vport.shell.command import Menu, Reply, Session, command
from vswitch.management.fstp_text import (
    detail_lines,
    instance_document,
    instance_lines,
    settings_document,
    settings_lines,
)
from vswitch.management.lookup import PORT, VLAN, check_number, existing_vlan
from vswitch.spanning_tree.priority import PATH_COST_MAX

if TYPE_CHECKING:
    from vswitch.management.control import Control
    from vswitch.spanning_tree import PortSettings
    from vswitch.vlan import Vlan

COST: Final = Integer("COST", 1, PATH_COST_MAX)
BONUS: Final = Integer("COST", 0, PATH_COST_MAX)
PRIORITY: Final = Integer("N", 0, 0xFFFF)
PORT_PRIORITY: Final = Integer("N", 0, 240)
HELLO: Final = Integer("HELLO", 1, 10)
MAX_AGE: Final = Integer("MAXAGE", 6, 40)
FORWARD_DELAY: Final = Integer("FWDDELAY", 4, 30)


# --- what there is ---


def _vlans(control: Control, number: int | None) -> list[Vlan]:
    vlans = control.bridge.vlans
    return [vlans[vid] for vid in sorted(vlans)] if number is None else [existing_vlan(control, number)]


@command("fstp/showinfo", "show bridge id, times, and whether spanning tree runs", prints=True)
def show_info(control: Control, session: Session) -> Reply:
    """Show what holds for all VLANs."""
    topology = control.control_plane.topology
    return Reply(settings_lines(topology), document=settings_document(topology))


@command("fstp/print", "print the spanning trees and their ports", Optional(VLAN), prints=True)
def print_trees(control: Control, session: Session, number: int | None) -> Reply:
    """Print the tree of each VLAN, or of one, in VDE's form."""
    vlans = _vlans(control, number)
    topology, now = control.control_plane.topology, control.now()
    return Reply(
        [line for vlan in vlans for line in instance_lines(topology, vlan, now)],
        document=[instance_document(topology, vlan, now) for vlan in vlans],
    )


@command("fstp/detail", "print states, reasons, neighbours and counters", Optional(VLAN), prints=True)
def print_details(control: Control, session: Session, number: int | None) -> Reply:
    """Print all that is known of the ports of each tree, or of one."""
    vlans = _vlans(control, number)
    topology, now = control.control_plane.topology, control.now()
    return Reply(
        [line for vlan in vlans for line in detail_lines(topology, vlan, now)],
        document=[instance_document(topology, vlan, now) for vlan in vlans],
    )


# --- the switch ---


@command("fstp/setfstp", "1=spanning tree on 0=off", Switch(), prints=True)
def set_running(control: Control, session: Session, is_wanted: bool) -> Reply:
    """Let spanning tree run, or not; a hub has none, and says so."""
    topology = control.control_plane.topology
    if is_wanted:
        topology.enable(control.now())
    else:
        topology.disable(control.now())
    return Reply([], document=settings_document(topology))


@command("fstp/setprio", "set the priority of the switch; the lowest becomes root", PRIORITY)
def set_priority(control: Control, session: Session, priority: int) -> None:
    """Change the bridge priority in all VLANs."""
    topology = control.control_plane.topology
    topology.configure(replace(topology.settings, priority=priority), control.now())


@command("fstp/sethello", "set the hello time in s; see settimes", HELLO)
def set_hello_time(control: Control, session: Session, seconds: int) -> None:
    """Change how often BPDUs are sent."""
    topology = control.control_plane.topology
    topology.configure(replace(topology.settings, hello_time=float(seconds)), control.now())


@command("fstp/setmaxage", "set the max age in s; see settimes", MAX_AGE)
def set_max_age(control: Control, session: Session, seconds: int) -> None:
    """Change how far from the root a switch may be."""
    topology = control.control_plane.topology
    topology.configure(replace(topology.settings, max_age=float(seconds)), control.now())


@command("fstp/setfwddelay", "set the forward delay in s; see settimes", FORWARD_DELAY)
def set_forward_delay(control: Control, session: Session, seconds: int) -> None:
    """Change how long a port waits that cannot agree with its neighbour."""
    topology = control.control_plane.topology
    topology.configure(replace(topology.settings, forward_delay=float(seconds)), control.now())


@command(
    "fstp/settimes",
    "set all three: 2*(HELLO+1) <= MAXAGE <= 2*(FWDDELAY-1)",
    HELLO,
    MAX_AGE,
    FORWARD_DELAY,
)
def set_times(control: Control, session: Session, hello: int, max_age: int, delay: int) -> None:
    """Change the times at once, since each bounds the others (802.1D-2004 17.14)."""
    topology = control.control_plane.topology
    settings = replace(
        topology.settings, hello_time=float(hello), max_age=float(max_age), forward_delay=float(delay)
    )
    topology.configure(settings, control.now())


# --- a port in a VLAN ---


def _settings(control: Control, number: int, port: int) -> tuple[Vlan, PortSettings]:
    """Find what is set for a port in a VLAN; the port need not exist, only be possible."""
    vlan = existing_vlan(control, number)
    check_number(control, port)
    return vlan, control.control_plane.topology.tree(vlan, control.now()).port_settings(port)


@command("fstp/setedge", "1: PORT forwards, sends and takes no BPDU, 0: normal", VLAN, PORT, Switch())
def set_edge(control: Control, session: Session, number: int, port: int, is_edge: bool) -> None:
    """Take a port out of a VLAN's tree, as VDE does, or let it take part."""
    vlan, known = _settings(control, number, port)
    control.control_plane.topology.set_by_operator(
        vlan, port, cost=known.path_cost, priority=known.priority, is_edge=is_edge, now=control.now()
    )


@command("fstp/bonus", "make PORT cheaper by COST, the only one of the VLAN", VLAN, PORT, BONUS)
def set_bonus(control: Control, session: Session, number: int, port: int, cost: int) -> None:
    """Give one port of a VLAN a lower cost; 0 takes it away."""
    vlan, _ = _settings(control, number, port)
    control.control_plane.topology.set_bonus(vlan, port if cost else None, cost, control.now())


@command("fstp/setcost", "set the path cost of PORT", VLAN, PORT, COST)
def set_cost(control: Control, session: Session, number: int, port: int, cost: int) -> None:
    """Change what the way to the root through a port costs."""
    vlan, settings = _settings(control, number, port)
    settings = replace(settings, path_cost=cost)
    control.control_plane.topology.configure_port(vlan, port, settings, control.now())


@command("fstp/setportprio", "set the priority of PORT, in steps of 16", VLAN, PORT, PORT_PRIORITY)
def set_port_priority(control: Control, session: Session, number: int, port: int, priority: int) -> None:
    """Change which of several ports to the same neighbour is preferred."""
    vlan, settings = _settings(control, number, port)
    settings = replace(settings, priority=priority)
    control.control_plane.topology.configure_port(vlan, port, settings, control.now())


@command("fstp/mcheck", "try RSTP again where STP was heard", VLAN, PORT)
def check_migration(control: Control, session: Session, number: int, port: int) -> None:
    """Find out whether the neighbour that spoke classic spanning tree is still there."""
    vlan, _ = _settings(control, number, port)
    control.control_plane.topology.check_migration(vlan, port, control.now())


MENU: Final = Menu(
    "fstp",
    "FAST SPANNING TREE MENU",
    (
        show_info,
        set_running,
        set_edge,
        set_bonus,
        print_trees,
        print_details,
        set_priority,
        set_hello_time,
        set_max_age,
        set_forward_delay,
        set_times,
        set_cost,
        set_port_priority,
        check_migration,
    ),
)
