"""Port information machine: whose information a port holds, and for how long (802.1D-2004 17.27).

One state is ours: REFLECTED, for a link that sends back what we send. The standard reads such a message as
a repeated one and goes on forwarding; we keep the port discarding for as long as it goes on.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from vswitch.spanning_tree import vde
from vswitch.spanning_tree.bpdu import ConfigBpdu, PortRole, RstBpdu, TcnBpdu
from vswitch.spanning_tree.machine import Exit, Machine, do_nothing
from vswitch.spanning_tree.variables import HELD, STOPPED, InfoIs

if TYPE_CHECKING:
    from vswitch.spanning_tree.variables import Port


class InformationState(StrEnum):
    """States of the machine."""

    DISABLED = "DISABLED"
    AGED = "AGED"
    UPDATE = "UPDATE"
    SUPERIOR_DESIGNATED = "SUPERIOR_DESIGNATED"
    REPEATED_DESIGNATED = "REPEATED_DESIGNATED"
    INFERIOR_DESIGNATED = "INFERIOR_DESIGNATED"
    NOT_DESIGNATED = "NOT_DESIGNATED"
    REFLECTED = "REFLECTED"
    OTHER = "OTHER"
    CURRENT = "CURRENT"
    RECEIVE = "RECEIVE"


ANSWER_TIME: Final = 0.25  # seconds; our own: the longest round trip over a link that we reckon with
HELLOS_TO_KEEP: Final = 3  # information lives for three hello times (802.1D-2004 17.21.23)


# --- entry actions ---


def _enter_disabled(port: Port) -> None:
    port.rcvd_msg = False
    port.proposing = port.proposed = port.agree = port.agreed = False
    port.rcvd_info_while = STOPPED
    port.info_is = InfoIs.DISABLED
    _reselect(port)


def _enter_aged(port: Port) -> None:
    port.info_is = InfoIs.AGED
    _reselect(port)


def _enter_update(port: Port) -> None:
    withdraw_proposal(port)
    port.proposed = False
    is_kept = port.info_is is InfoIs.MINE and port.designated_priority <= port.port_priority
    port.agreed = port.agreed and is_kept
    port.synced = port.synced and port.agreed
    port.port_priority = port.designated_priority
    port.port_times = port.designated_times
    port.updt_info = False
    port.info_is = InfoIs.MINE
    port.new_info = True
    port.has_told_priority = False
    restart_delay(port)
    port.tree.touch_all()


def _enter_superior_designated(port: Port) -> None:
    message = _configuration(port)
    withdraw_proposal(port)
    port.agreed = False
    record_proposal(port)
    set_tc_flags(port)
    is_kept = port.info_is is InfoIs.RECEIVED and message.vector <= port.port_priority
    port.agree = port.agree and is_kept
    port.port_priority = message.vector
    port.port_times = vde.translate_times(port, message) if port.is_beside_vde else message.times.clamped()
    update_rcvd_info_while(port)
    port.info_is = InfoIs.RECEIVED
    _reselect(port)
    port.rcvd_msg = False


def _enter_repeated_designated(port: Port) -> None:
    record_proposal(port)
    set_tc_flags(port)
    update_rcvd_info_while(port)
    port.rcvd_msg = False


def _enter_inferior_designated(port: Port) -> None:
    record_dispute(port)
    port.rcvd_msg = False


def _enter_not_designated(port: Port) -> None:
    record_agreement(port)
    set_tc_flags(port)
    vde.withdraw_if_child(port)
    port.rcvd_msg = False


def _enter_reflected(port: Port) -> None:
    port.rcvd_msg = False
    if port.role is PortRole.DESIGNATED:
        port.is_reflected = True
        port.disputed = port.learn or port.forward
        port.agreed = False
        port.fd_while = port.tree.now + HELLOS_TO_KEEP * port.hello_time


def _enter_receive(port: Port) -> None:
    port.rcvd_info = classify(port)


def _enter_other(port: Port) -> None:
    vde.withdraw_if_child(port)
    if isinstance(port.message, TcnBpdu):
        set_tc_flags(port)
    port.rcvd_msg = False


# --- procedures (802.1D-2004 17.21) ---


def _configuration(port: Port) -> ConfigBpdu | RstBpdu:
    assert isinstance(port.message, ConfigBpdu | RstBpdu)
    return port.message


def _reselect(port: Port) -> None:
    port.tree.reselect = True
    port.selected = False


def restart_delay(port: Port) -> None:
    """Give a rapid neighbour the whole delay again to object to a new claim.

    The standard lets the delay run on. Between rapid bridges it is only two seconds, and while bridges
    count a dead root to infinity, each held to one BPDU a second, ports opened for which no two claims had
    been the same.
    """
    if port.send_rstp and not port.agreed and not port.forward:
        port.fd_while = max(port.fd_while, port.tree.now + port.forward_delay)


def classify(port: Port) -> InformationState:
    """rcvInfo: what the received message means to this port (17.21.8)."""
    message = port.message
    if message is None or isinstance(message, TcnBpdu):
        return InformationState.OTHER
    vector, own = message.vector, port.port_priority
    if vector.is_from_same_port(port.designated_priority):
        return InformationState.REFLECTED
    if isinstance(message, ConfigBpdu) or conveys_designated(port, message):
        if vector == own and port.info_is is InfoIs.RECEIVED:
            times = vde.translate_times(port, message) if port.is_beside_vde else message.times.clamped()
            is_repeated = times == port.port_times
            return (
                InformationState.REPEATED_DESIGNATED if is_repeated else InformationState.SUPERIOR_DESIGNATED
            )
        is_superior = vector.is_superior_to(own)
        return InformationState.SUPERIOR_DESIGNATED if is_superior else InformationState.INFERIOR_DESIGNATED
    return InformationState.NOT_DESIGNATED if vector >= own else InformationState.OTHER


def conveys_designated(port: Port, message: RstBpdu) -> bool:
    """Whether the sender offers to be the way to the root; VDE does so from a blocked port too."""
    return message.role is PortRole.DESIGNATED or vde.offers_root(port, message)


def record_proposal(port: Port) -> None:
    """recordProposal (17.21.11); a VDE switch forwards unasked, so its news count as a proposal."""
    message = port.rst_message
    if message is not None and (message.proposal or vde.is_news(port, message)):
        port.proposed = True


def record_agreement(port: Port) -> None:
    """recordAgreement (17.21.9)."""
    message = port.rst_message
    port.agreed = (
        message is not None
        and message.agreement
        and port.tree.is_rapid
        and port.settings.point_to_point
        and _is_about_us(port, message)
    )
    if port.agreed:
        port.proposing = False
    port.is_reflected = False


def _is_about_us(port: Port, message: RstBpdu) -> bool:
    """Whether the agreement can be about what the port claims now.

    The standard takes any, and bridges that change their minds faster than a link carries their BPDUs then
    open ports on answers to older claims; with 50 switches and random faults, one fault in 600 made a loop.
    So an agreement does not count before the claim was sent, nor about another root, nor from a root port
    that is not further away than we are, nor while it may as well answer an earlier proposal of the same
    root.
    """
    own = port.port_priority
    if port.unanswered.get(own.root_id, port.tree.now) > port.tree.now:
        port.propose_again_at = port.unanswered[own.root_id]
        return False
    is_behind_us = message.role is not PortRole.ROOT or message.vector.root_path_cost > own.root_path_cost
    return port.has_told_priority and message.vector.root_id == own.root_id and is_behind_us


def withdraw_proposal(port: Port) -> None:
    """Remember that an answer to what the port has proposed may still be under way."""
    now = port.tree.now
    if port.proposing and port.has_told_priority and port.info_is is InfoIs.MINE:
        port.unanswered = {root: until for root, until in port.unanswered.items() if until > now}
        port.unanswered[port.port_priority.root_id] = now + ANSWER_TIME
    port.propose_again_at = HELD
    port.proposing = False


def record_dispute(port: Port) -> None:
    """recordDispute: the neighbour learns from a port that should listen to us (17.21.10)."""
    message = port.rst_message
    if message is not None and message.learning:
        port.disputed = True
        port.agreed = False


def set_tc_flags(port: Port) -> None:
    """setTcFlags (17.21.17)."""
    match port.message:
        case TcnBpdu():
            port.rcvd_tcn = True
        case ConfigBpdu() as message:
            port.rcvd_tc = port.rcvd_tc or message.topology_change
            port.rcvd_tc_ack = port.rcvd_tc_ack or message.topology_change_ack
        case RstBpdu() as message:
            port.rcvd_tc = port.rcvd_tc or message.topology_change
        case None:
            pass
    port.counters.topology_changes_received += port.rcvd_tc or port.rcvd_tcn


def update_rcvd_info_while(port: Port) -> None:
    """updtRcvdInfoWhile (17.21.23)."""
    now = port.tree.now
    lifetime = HELLOS_TO_KEEP * port.port_times.hello_time
    port.rcvd_info_while = now if port.port_times.is_expired() else now + lifetime
    port.heard_at = now
    port.is_reflected = False


# --- the table ---


def _is_aged(port: Port) -> bool:
    return (
        port.info_is is InfoIs.RECEIVED
        and port.is_over(port.rcvd_info_while)
        and not port.updt_info
        and not port.rcvd_msg
    )


def _is_info(state: InformationState) -> Exit:
    return (lambda p: p.rcvd_info == state, state)


_State = InformationState
PORT_INFORMATION = Machine(
    name="information",
    initial=_State.DISABLED,
    enter={
        _State.DISABLED: _enter_disabled,
        _State.AGED: _enter_aged,
        _State.UPDATE: _enter_update,
        _State.SUPERIOR_DESIGNATED: _enter_superior_designated,
        _State.REPEATED_DESIGNATED: _enter_repeated_designated,
        _State.INFERIOR_DESIGNATED: _enter_inferior_designated,
        _State.NOT_DESIGNATED: _enter_not_designated,
        _State.REFLECTED: _enter_reflected,
        _State.OTHER: _enter_other,
        _State.CURRENT: do_nothing,
        _State.RECEIVE: _enter_receive,
    },
    anywhere=((lambda p: not p.port_enabled and p.info_is is not InfoIs.DISABLED, _State.DISABLED),),
    onward=dict.fromkeys(
        (
            _State.UPDATE,
            _State.SUPERIOR_DESIGNATED,
            _State.REPEATED_DESIGNATED,
            _State.INFERIOR_DESIGNATED,
            _State.NOT_DESIGNATED,
            _State.REFLECTED,
            _State.OTHER,
        ),
        _State.CURRENT,
    ),
    exits={
        _State.DISABLED: (
            (lambda p: p.rcvd_msg, _State.DISABLED),
            (lambda p: p.port_enabled, _State.AGED),
        ),
        _State.AGED: ((lambda p: p.selected and p.updt_info, _State.UPDATE),),
        _State.CURRENT: (
            (lambda p: p.selected and p.updt_info, _State.UPDATE),
            (lambda p: p.rcvd_msg and not p.updt_info, _State.RECEIVE),
            (_is_aged, _State.AGED),
        ),
        _State.RECEIVE: (
            _is_info(_State.SUPERIOR_DESIGNATED),
            _is_info(_State.REPEATED_DESIGNATED),
            _is_info(_State.INFERIOR_DESIGNATED),
            _is_info(_State.NOT_DESIGNATED),
            _is_info(_State.REFLECTED),
            _is_info(_State.OTHER),
        ),
    },
)
