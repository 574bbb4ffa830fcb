"""Port role transitions machine: the way into and out of each role without a loop (802.1D-2004 17.29).

Timers that a role keeps loaded are ``HELD``; `_release` sets them running when the role ends.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from vswitch.spanning_tree import vde
from vswitch.spanning_tree.bpdu import PortRole
from vswitch.spanning_tree.machine import Condition, Machine
from vswitch.spanning_tree.variables import HELD, STOPPED

if TYPE_CHECKING:
    from vswitch.spanning_tree.variables import Port


class RoleState(StrEnum):
    """States of the machine."""

    INIT_PORT = "INIT_PORT"
    DISABLE_PORT = "DISABLE_PORT"
    DISABLED_PORT = "DISABLED_PORT"
    ROOT_PORT = "ROOT_PORT"
    ROOT_PROPOSED = "ROOT_PROPOSED"
    ROOT_AGREED = "ROOT_AGREED"
    REROOT = "REROOT"
    ROOT_LEARN = "ROOT_LEARN"
    ROOT_FORWARD = "ROOT_FORWARD"
    REROOTED = "REROOTED"
    DESIGNATED_PORT = "DESIGNATED_PORT"
    DESIGNATED_PROPOSE = "DESIGNATED_PROPOSE"
    DESIGNATED_SYNCED = "DESIGNATED_SYNCED"
    DESIGNATED_RETIRED = "DESIGNATED_RETIRED"
    DESIGNATED_LEARN = "DESIGNATED_LEARN"
    DESIGNATED_FORWARD = "DESIGNATED_FORWARD"
    DESIGNATED_DISCARD = "DESIGNATED_DISCARD"
    BLOCK_PORT = "BLOCK_PORT"
    ALTERNATE_PORT = "ALTERNATE_PORT"
    ALTERNATE_PROPOSED = "ALTERNATE_PROPOSED"
    ALTERNATE_AGREED = "ALTERNATE_AGREED"
    BACKUP_PORT = "BACKUP_PORT"


# --- entry actions ---


def _release(port: Port) -> None:
    """Let run what the role that ends has kept loaded, from now and from its full value."""
    now = port.tree.now
    if port.fd_while == HELD:
        port.fd_while = now + (port.max_age if port.role is PortRole.DISABLED else port.forward_delay)
    if port.rr_while == HELD:
        port.rr_while = now + port.fwd_delay
    if port.rb_while == HELD:
        port.rb_while = now + 2 * port.hello_time


def _enter_init_port(port: Port) -> None:
    port.role = PortRole.DISABLED
    port.learn = port.forward = False
    port.synced = False
    port.sync = port.re_root = True
    port.rr_while = port.tree.now + port.fwd_delay
    port.fd_while = HELD
    port.rb_while = STOPPED


def _enter_disable_port(port: Port) -> None:
    _release(port)
    port.role = port.selected_role
    port.learn = port.forward = False


def _enter_disabled_port(port: Port) -> None:
    port.fd_while = HELD
    port.synced = True
    port.rr_while = STOPPED
    port.sync = port.re_root = False
    port.tree.touch_all()


def _enter_root_port(port: Port) -> None:
    if port.role is not PortRole.ROOT:
        _release(port)
        port.role = PortRole.ROOT
        vde.announce_role(port)
    port.rr_while = HELD


def _enter_root_proposed(port: Port) -> None:
    set_sync_tree(port)
    port.proposed = False


def _enter_root_agreed(port: Port) -> None:
    port.proposed = port.sync = False
    port.agree = True
    port.new_info = True


def _enter_reroot(port: Port) -> None:
    for other in port.tree.ports.values():  # setReRootTree (17.21.14)
        other.re_root = True
    port.tree.touch_all()


def _enter_root_learn(port: Port) -> None:
    port.fd_while = port.tree.now + port.forward_delay
    port.learn = True


def _enter_root_forward(port: Port) -> None:
    port.fd_while = STOPPED
    port.forward = True


def _enter_rerooted(port: Port) -> None:
    port.re_root = False


def _enter_designated_port(port: Port) -> None:
    if port.role is not PortRole.DESIGNATED:
        _release(port)
        port.role = PortRole.DESIGNATED
        port.tree.touch_all()


def _enter_designated_propose(port: Port) -> None:
    port.proposing = True
    port.propose_again_at = HELD
    port.edge_delay_while = port.tree.now + port.edge_delay
    port.new_info = True


def _enter_designated_synced(port: Port) -> None:
    port.rr_while = STOPPED
    port.synced = True
    port.sync = False
    port.tree.touch_all()


def _enter_designated_retired(port: Port) -> None:
    port.re_root = False


def _enter_designated_learn(port: Port) -> None:
    port.learn = True
    port.fd_while = port.tree.now + port.forward_delay


def _enter_designated_forward(port: Port) -> None:
    port.forward = True
    port.fd_while = STOPPED
    port.agreed = port.send_rstp


def _enter_designated_discard(port: Port) -> None:
    port.learn = port.forward = port.disputed = False
    if not port.is_reflected:  # else the port information machine has set a longer wait
        port.fd_while = port.tree.now + port.forward_delay


def _enter_block_port(port: Port) -> None:
    _release(port)
    port.role = port.selected_role
    port.learn = port.forward = False
    vde.announce_role(port)


def _enter_alternate_port(port: Port) -> None:
    port.fd_while = HELD
    port.synced = True
    port.rr_while = STOPPED
    port.sync = port.re_root = False
    port.tree.touch_all()


def _enter_alternate_agreed(port: Port) -> None:
    port.proposed = False
    port.agree = True
    port.new_info = True


def _enter_backup_port(port: Port) -> None:
    port.rb_while = HELD


def set_sync_tree(port: Port) -> None:
    """setSyncTree (17.21.16)."""
    for other in port.tree.ports.values():
        other.sync = True
    port.tree.touch_all()


# --- conditions with more than one line ---


def _is_to_become(*roles: PortRole) -> Condition:
    return lambda p: p.selected_role in roles and p.role is not p.selected_role


def _must_agree(port: Port) -> bool:
    return (port.proposed and port.agree) or (not port.agree and port.all_synced())


def _root_may_open(port: Port) -> bool:
    is_quick = port.tree.is_rapid and port.is_over(port.rb_while) and port.re_rooted()
    return port.is_over(port.fd_while) or is_quick


def _designated_may_open(port: Port) -> bool:
    if not (port.agreed or port.oper_edge or port.is_over(port.fd_while)):
        return False
    return not port.sync and (not port.re_root or port.is_over(port.rr_while))


def _is_designated_synced(port: Port) -> bool:
    if port.synced:
        return port.sync
    return port.agreed or port.oper_edge or (not port.learning and not port.forwarding)


def _must_propose(port: Port) -> bool:
    if port.forward or port.agreed or port.oper_edge:
        return False
    return not port.proposing or port.is_over(port.propose_again_at)


def _must_discard(port: Port) -> bool:
    if port.oper_edge or not (port.learn or port.forward):
        return False
    is_recent_root = port.re_root and not port.is_over(port.rr_while)
    return (port.sync and not port.synced) or is_recent_root or port.disputed


def _is_quiet(port: Port) -> bool:
    return not port.learning and not port.forwarding


def _has_come_loose(port: Port) -> bool:
    """Whether a port at rest must be put to rest again."""
    return port.sync or port.re_root or not port.synced or port.fd_while != HELD


# --- the table ---

_S = RoleState
_back_to_root: dict[str, str] = dict.fromkeys(
    (_S.ROOT_PROPOSED, _S.ROOT_AGREED, _S.REROOT, _S.ROOT_LEARN, _S.ROOT_FORWARD, _S.REROOTED), _S.ROOT_PORT
)
_back_to_designated: dict[str, str] = dict.fromkeys(
    (
        _S.DESIGNATED_PROPOSE,
        _S.DESIGNATED_SYNCED,
        _S.DESIGNATED_RETIRED,
        _S.DESIGNATED_LEARN,
        _S.DESIGNATED_FORWARD,
        _S.DESIGNATED_DISCARD,
    ),
    _S.DESIGNATED_PORT,
)
_back_to_alternate: dict[str, str] = dict.fromkeys(
    (_S.ALTERNATE_PROPOSED, _S.ALTERNATE_AGREED, _S.BACKUP_PORT), _S.ALTERNATE_PORT
)

PORT_ROLE_TRANSITIONS = Machine(
    name="role",
    initial=_S.INIT_PORT,
    guard=lambda p: p.selected and not p.updt_info,
    enter={
        _S.INIT_PORT: _enter_init_port,
        _S.DISABLE_PORT: _enter_disable_port,
        _S.DISABLED_PORT: _enter_disabled_port,
        _S.ROOT_PORT: _enter_root_port,
        _S.ROOT_PROPOSED: _enter_root_proposed,
        _S.ROOT_AGREED: _enter_root_agreed,
        _S.REROOT: _enter_reroot,
        _S.ROOT_LEARN: _enter_root_learn,
        _S.ROOT_FORWARD: _enter_root_forward,
        _S.REROOTED: _enter_rerooted,
        _S.DESIGNATED_PORT: _enter_designated_port,
        _S.DESIGNATED_PROPOSE: _enter_designated_propose,
        _S.DESIGNATED_SYNCED: _enter_designated_synced,
        _S.DESIGNATED_RETIRED: _enter_designated_retired,
        _S.DESIGNATED_LEARN: _enter_designated_learn,
        _S.DESIGNATED_FORWARD: _enter_designated_forward,
        _S.DESIGNATED_DISCARD: _enter_designated_discard,
        _S.BLOCK_PORT: _enter_block_port,
        _S.ALTERNATE_PORT: _enter_alternate_port,
        _S.ALTERNATE_PROPOSED: _enter_root_proposed,
        _S.ALTERNATE_AGREED: _enter_alternate_agreed,
        _S.BACKUP_PORT: _enter_backup_port,
    },
    anywhere=(
        (_is_to_become(PortRole.DISABLED), _S.DISABLE_PORT),
        (_is_to_become(PortRole.ROOT), _S.ROOT_PORT),
        (_is_to_become(PortRole.DESIGNATED), _S.DESIGNATED_PORT),
        (_is_to_become(PortRole.ALTERNATE, PortRole.BACKUP), _S.BLOCK_PORT),
    ),
    onward={
        _S.INIT_PORT: _S.DISABLE_PORT,
        **_back_to_root,
        **_back_to_designated,
        **_back_to_alternate,
    },
    exits={
        _S.DISABLE_PORT: ((_is_quiet, _S.DISABLED_PORT),),
        _S.DISABLED_PORT: ((_has_come_loose, _S.DISABLED_PORT),),
        _S.ROOT_PORT: (
            (lambda p: p.proposed and not p.agree, _S.ROOT_PROPOSED),
            (_must_agree, _S.ROOT_AGREED),
            (lambda p: not p.forward and not p.re_root, _S.REROOT),
            (lambda p: p.re_root and p.forward, _S.REROOTED),
            (lambda p: not p.learn and _root_may_open(p), _S.ROOT_LEARN),
            (lambda p: p.learn and not p.forward and _root_may_open(p), _S.ROOT_FORWARD),
            (lambda p: p.rr_while != HELD, _S.ROOT_PORT),
        ),
        _S.DESIGNATED_PORT: (
            (_must_propose, _S.DESIGNATED_PROPOSE),
            (_is_designated_synced, _S.DESIGNATED_SYNCED),
            (lambda p: p.re_root and p.is_over(p.rr_while), _S.DESIGNATED_RETIRED),
            (_must_discard, _S.DESIGNATED_DISCARD),
            (lambda p: not p.learn and _designated_may_open(p), _S.DESIGNATED_LEARN),
            (lambda p: p.learn and not p.forward and _designated_may_open(p), _S.DESIGNATED_FORWARD),
        ),
        _S.BLOCK_PORT: ((_is_quiet, _S.ALTERNATE_PORT),),
        _S.ALTERNATE_PORT: (
            (lambda p: p.proposed and not p.agree, _S.ALTERNATE_PROPOSED),
            (_must_agree, _S.ALTERNATE_AGREED),
            (lambda p: p.role is PortRole.BACKUP and p.rb_while != HELD, _S.BACKUP_PORT),
            (_has_come_loose, _S.ALTERNATE_PORT),
        ),
    },
)
"""The order within a state is ours, as the standard leaves it open: what closes a port comes first."""
