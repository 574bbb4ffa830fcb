"""Why a port does not forward: a line of ``port/print`` for those that do not, and the document of all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vswitch.management.fstp_text import REASONS, port_document
from vswitch.management.guard import guard_document, recovery_words
from vswitch.ports import NO_VLAN
from vswitch.spanning_tree.priority import PORT_NUMBER_MAX
from vswitch.vlan import PortState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vswitch.management.control import Control
    from vswitch.ports import Port
    from vswitch.vlan import Vlan


def _vlans(control: Control, port: Port) -> list[Vlan]:
    return [control.bridge.vlans[vid] for vid in sorted({port.pvid, *port.tagged} - {NO_VLAN})]


def forwarding_lines(control: Control, port: Port) -> Iterator[str]:
    """Say why a port in use does not forward; nothing for one that does, everywhere."""
    if port.shut is not None:
        words = recovery_words(port, control.now())
        yield f" Not forwarding: {port.shut.reason}: {port.shut.detail}; {words}"
    elif port.is_active and not control.bridge.is_hub:
        vids: dict[str, list[int]] = {}
        for vlan in _vlans(control, port):
            if vlan.state(port) is not PortState.FORWARDING:
                vids.setdefault(_reason(control, vlan, port), []).append(vlan.vid)
        for reason, where in vids.items():
            yield f" Not forwarding: {reason} (VLAN {','.join(map(str, where))})"


def _reason(control: Control, vlan: Vlan, port: Port) -> str:
    reason = control.control_plane.topology.tree(vlan, control.now()).block_reason(port.number)
    if reason is not None:
        return f"{reason}: {REASONS[reason]}"
    if port.number > PORT_NUMBER_MAX:
        return f"spanning tree has room for ports up to {PORT_NUMBER_MAX} only"
    return "spanning tree has not decided yet"


def forwarding_document(control: Control, port: Port) -> dict[str, Any]:
    """Describe what spanning tree and guards do with a port, with counters and timers."""
    now = control.now()
    topology = control.control_plane.topology
    views = {vlan.vid: topology.tree(vlan, now).port_view(port.number) for vlan in _vlans(control, port)}
    return {
        "not_forwarding": [
            line.removeprefix(" Not forwarding: ") for line in forwarding_lines(control, port)
        ],
        "guards": guard_document(control.control_plane.protection, port, now),
        "spanning_tree": {
            str(vid): port_document(view, now) for vid, view in views.items() if view is not None
        },
    }
