"""Which steps build a LAN, in order; undone, in the opposite order, they leave what was there before. Pure.

A step is a value: what it makes, and under which name it is remembered and told. ``vport.lan.machine`` does
it and undoes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vport.locator import TapLocator

if TYPE_CHECKING:
    from vport.lan.description import Lan
    from vport.locator import InterfaceAddress, IpAddress, Locator
    from vport.locator_fields import IpNetwork
    from vport.nat import PortForward


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeNamespace:
    """A network namespace, with its loopback device up."""

    name: str

    @property
    def key(self) -> str:
        """Under which name the step is remembered."""
        return f"namespace {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeBridge:
    """A bridge, up, with its addresses."""

    name: str
    addresses: tuple[InterfaceAddress, ...]
    mtu: int | None

    @property
    def key(self) -> str:
        """Under which name the step is remembered."""
        return f"device {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlugIn:
    """A veth pair from a namespace to a bridge, with addresses and default routes inside."""

    namespace: str
    device: str
    veth: str
    bridge: str
    addresses: tuple[InterfaceAddress, ...]
    gateways: tuple[IpAddress, ...]
    mtu: int | None

    @property
    def key(self) -> str:
        """Under which name the step is remembered."""
        return f"device {self.veth}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward:
    """Forwarding of one version of IP by this machine."""

    version: int

    @property
    def key(self) -> str:
        """Under which name the step is remembered."""
        return f"forwarding of IPv{self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Translate:
    """A table of nftables with the NAT."""

    table: str
    outside: str
    networks: tuple[IpNetwork, ...]
    forwards: tuple[PortForward, ...]

    @property
    def key(self) -> str:
        """Under which name the step is remembered."""
        return f"table {self.table} of nftables"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCable:
    """A process that ties a TAP device to another place."""

    tap: TapLocator
    remote: Locator

    @property
    def key(self) -> str:
        """Under which name the step is remembered."""
        return f"device {self.tap.name}"


Step = MakeNamespace | MakeBridge | PlugIn | Forward | Translate | RunCable


def make_plan(lan: Lan) -> tuple[Step, ...]:
    """Give the steps that build a LAN."""
    return (
        *(MakeNamespace(name=one.name) for one in lan.namespaces),
        *(MakeBridge(name=one.name, addresses=one.addresses, mtu=one.mtu) for one in lan.bridges),
        *_plug_in(lan),
        *_translate(lan),
        *_run_cables(lan),
    )


def _plug_in(lan: Lan) -> list[Step]:
    return [
        PlugIn(
            namespace=one.name,
            device=one.device,
            veth=one.veth,
            bridge=one.bridge,
            addresses=one.addresses,
            gateways=one.gateways,
            mtu=lan.bridge(one.bridge).mtu,
        )
        for one in lan.namespaces
    ]


def _translate(lan: Lan) -> list[Step]:
    """Forwarding comes last: not a packet leaves untranslated."""
    if lan.nat is None:
        return []
    networks = lan.networks()
    translate = Translate(
        table=f"vswitch-lan-{lan.name}",
        outside=lan.nat.outside,
        networks=networks,
        forwards=lan.nat.forwards,
    )
    return [translate, *(Forward(version=one) for one in sorted({network.version for network in networks}))]


def _run_cables(lan: Lan) -> list[Step]:
    return [
        RunCable(
            tap=TapLocator(name=one.tap, bridge=one.bridge, mtu=lan.bridge(one.bridge).mtu),
            remote=one.remote,
        )
        for one in lan.cables
    ]
