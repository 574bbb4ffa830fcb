"""Forwarding and NAT of this kernel: masquerading and port forwarding by nftables, in a table of one's own.

Everything that is set for a name is in one table of nftables, so that it is removed exactly, by removing that
table, and meets no rule of others. ``nft -j`` (nftables) does the work: rules are JSON, nothing has to be
quoted. Calls belong to the network namespace of the calling thread.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from vport.errors import LinkError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vport.locator import IpAddress
    from vport.readers import IpNetwork

FAMILY: Final = "inet"
SECONDS: Final = 10.0  # that nft may take
_SOURCE_NAT: Final = 100  # priorities of the hooks (nft(8), "Standard priority names")
_DESTINATION_NAT: Final = -100
_FORWARDING: Final = {4: "/proc/sys/net/ipv4/ip_forward", 6: "/proc/sys/net/ipv6/conf/all/forwarding"}
_PROTOCOLS: Final = {4: "ip", 6: "ip6"}
_NFPROTO: Final = {4: "ipv4", 6: "ipv6"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PortForward:
    """Connections from outside to ``port`` go to a host inside. ``protocol`` is tcp or udp."""

    protocol: str
    port: int
    address: IpAddress
    address_port: int


def nat_rules(
    table: str, outside: str, networks: Iterable[IpNetwork], forwards: Iterable[PortForward]
) -> dict[str, Any]:
    """Give what nft is told: a table in which ``networks`` leave by ``outside`` with its address."""
    place = {"family": FAMILY, "table": table}
    hooks = (("postrouting", _SOURCE_NAT), ("prerouting", _DESTINATION_NAT))
    commands: list[dict[str, Any]] = [{"table": {"family": FAMILY, "name": table}}]
    for hook, priority in hooks:
        chain = {**place, "name": hook, "type": "nat", "hook": hook, "prio": priority, "policy": "accept"}
        commands.append({"chain": chain})
    rules = [("postrouting", _masquerade(outside, network)) for network in networks]
    rules += [("prerouting", _forward(outside, forward)) for forward in forwards]
    commands += [{"rule": {**place, "chain": chain, "expr": expression}} for chain, expression in rules]
    return {"nftables": [{"add": command} for command in commands]}


def _match(left: dict[str, Any], right: object) -> dict[str, Any]:
    return {"match": {"op": "==", "left": left, "right": right}}


def _masquerade(outside: str, network: IpNetwork) -> list[dict[str, Any]]:
    source = {"payload": {"protocol": _PROTOCOLS[network.version], "field": "saddr"}}
    prefix = {"prefix": {"addr": str(network.network_address), "len": network.prefixlen}}
    return [_match({"meta": {"key": "oifname"}}, outside), _match(source, prefix), {"masquerade": None}]


def _forward(outside: str, forward: PortForward) -> list[dict[str, Any]]:
    version = forward.address.version
    port = {"payload": {"protocol": forward.protocol, "field": "dport"}}
    target = {"family": _PROTOCOLS[version], "addr": str(forward.address), "port": forward.address_port}
    return [
        _match({"meta": {"key": "iifname"}}, outside),
        _match({"meta": {"key": "nfproto"}}, _NFPROTO[version]),
        _match(port, forward.port),
        {"dnat": target},
    ]


# --- the kernel ---


def add_nat(table: str, rules: dict[str, Any]) -> None:
    """Make the table that ``nat_rules`` describes, all of it or nothing; one that is there stays as it is."""
    if not has_table(table):
        _nft(rules, f"make the NAT table {table}")


def has_table(table: str) -> bool:
    """Whether there is a table of this name."""
    listing = _nft({"nftables": [{"list": {"tables": {"family": FAMILY}}}]}, "list the tables of nftables")
    return any(item.get("table", {}).get("name") == table for item in listing["nftables"])


def remove_nat(table: str) -> None:
    """Remove the table; nothing happens when there is none."""
    if has_table(table):
        removal = {"delete": {"table": {"family": FAMILY, "name": table}}}
        _nft({"nftables": [removal]}, f"remove the NAT table {table}")


def _nft(commands: dict[str, Any], wanted: str) -> dict[str, Any]:
    try:
        done = subprocess.run(
            ["nft", "-j", "-f", "-"],
            input=json.dumps(commands),
            text=True,
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
    except FileNotFoundError:
        raise LinkError(f"cannot {wanted}: there is no command nft (package nftables)") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LinkError(f"cannot {wanted}: {error}") from error
    if done.returncode != 0:
        raise LinkError(f"cannot {wanted}: {done.stderr.strip() or 'nft failed'}")
    answer: dict[str, Any] = json.loads(done.stdout) if done.stdout.strip() else {}
    return answer


def is_forwarding(version: int) -> bool:
    """Whether this kernel forwards packets of that version of IP."""
    try:
        with open(_FORWARDING[version]) as file:
            return file.read().strip() != "0"
    except FileNotFoundError:
        return False  # a kernel without IPv6


def set_forwarding(version: int, on: bool) -> None:
    """Let this kernel forward packets between its networks, or not. Raises LinkError."""
    if is_forwarding(version) == on:
        return
    path = _FORWARDING[version]
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, b"1" if on else b"0")
        finally:
            os.close(descriptor)
    except OSError as error:
        raise LinkError(
            f"cannot turn forwarding {'on' if on else 'off'}: {path}: {error.strerror}"
        ) from error
