"""A LAN as text: who is on which bridge, and the ways out. Pure.

home (in namespace machine)
├─ bridge br0: 10.5.0.1/16
│  ├─ web: eth0 10.5.1.1/16 via 10.5.0.1
│  └─ tap0 ══ udp://198.51.100.7:9999 (process 4711)
└─ out by eth0, with its address: 10.5.0.0/16
   └─ tcp 8080 → 10.5.1.1:80
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from vport.lan.description import Bridge, Cable, Lan, Namespace, Nat

    Node = tuple[str, list["Node"]]


def picture(lan: Lan, mark: Callable[[str], str] = lambda key: "") -> str:
    """Draw a LAN; ``mark`` gives what is to be said of the step with a key, empty for nothing."""
    heading = f"{lan.name} (in namespace {lan.netns})" if lan.netns else lan.name
    nodes = [_bridge_node(lan, bridge, mark) for bridge in lan.bridges]
    if lan.nat is not None:
        nodes.append(_nat_node(lan, lan.nat, mark))
    return "\n".join([heading, *_lines(nodes)]) + "\n"


def _bridge_node(lan: Lan, bridge: Bridge, mark: Callable[[str], str]) -> Node:
    words = [*map(str, bridge.addresses), *([f"MTU {bridge.mtu}"] if bridge.mtu else [])]
    heading = f"bridge {bridge.name}" + (f": {', '.join(words)}" if words else "")
    members: list[Node] = [
        (_namespace_line(one) + mark(f"device {one.veth}"), [])
        for one in lan.namespaces
        if one.bridge == bridge.name
    ]
    members += [
        (_cable_line(one) + mark(f"device {one.tap}"), []) for one in lan.cables if one.bridge == bridge.name
    ]
    return heading + mark(f"device {bridge.name}"), members


def _namespace_line(namespace: Namespace) -> str:
    addresses = ", ".join(map(str, namespace.addresses)) or "without an address"
    via = f" via {', '.join(map(str, namespace.gateways))}" if namespace.gateways else ""
    return f"{namespace.name}: {namespace.device} {addresses}{via}"


def _cable_line(cable: Cable) -> str:
    return f"{cable.tap} ══ {cable.remote}"


def _nat_node(lan: Lan, nat: Nat, mark: Callable[[str], str]) -> Node:
    networks = ", ".join(map(str, lan.networks()))
    forwards: list[Node] = []
    for one in nat.forwards:
        host = f"[{one.address}]" if one.address.version == 6 else str(one.address)
        forwards.append((f"{one.protocol} {one.port} → {host}:{one.address_port}", []))
    heading = f"out by {nat.outside}, with its address: {networks}"
    return heading + mark(f"table vswitch-lan-{lan.name} of nftables"), forwards


def _lines(nodes: list[Node]) -> list[str]:
    lines = []
    for number, (text, children) in enumerate(nodes):
        is_last = number == len(nodes) - 1
        lines.append(("└─ " if is_last else "├─ ") + text)
        lines += [("   " if is_last else "│  ") + line for line in _lines(children)]
    return lines
