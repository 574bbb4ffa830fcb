"""Which steps build a LAN, in order; undone, in the opposite order, they leave what was there before. Pure.

A step is a value: what of the description it makes, and under which name it is remembered and told.
``vport.lan.machine`` does it and undoes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from vport.locator import TapLocator

if TYPE_CHECKING:
    from vport.lan.description import Bridge, Lan, Namespace, Nat
    from vport.locator import Locator
    from vport.readers import IpNetwork


class _Step:
    """What all steps have: ``makes``, a format of their fields that says what there is afterwards."""

    __slots__ = ()
    makes: ClassVar[str]

    @property
    def key(self) -> str:
        """Under which name the step is remembered."""
        return self.makes.format(self)


@dataclass(frozen=True, slots=True)
class MakeNamespace(_Step):
    """A network namespace, with its loopback device up."""

    makes: ClassVar[str] = "namespace {0.name}"
    name: str


@dataclass(frozen=True, slots=True)
class MakeBridge(_Step):
    """A bridge, up, with its addresses."""

    makes: ClassVar[str] = "device {0.bridge.name}"
    bridge: Bridge


@dataclass(frozen=True, slots=True)
class PlugIn(_Step):
    """A veth pair from a namespace to its bridge, with addresses and default routes inside."""

    makes: ClassVar[str] = "device {0.namespace.veth}"
    namespace: Namespace
    mtu: int | None


@dataclass(frozen=True, slots=True)
class Translate(_Step):
    """A table of nftables with the NAT."""

    makes: ClassVar[str] = "table {0.table} of nftables"
    table: str
    nat: Nat
    networks: tuple[IpNetwork, ...]


@dataclass(frozen=True, slots=True)
class Forward(_Step):
    """Forwarding of one version of IP by this machine."""

    makes: ClassVar[str] = "forwarding of IPv{0.version}"
    version: int


@dataclass(frozen=True, slots=True)
class RunCable(_Step):
    """A process that ties a TAP device to another place."""

    makes: ClassVar[str] = "device {0.tap.name}"
    tap: TapLocator
    remote: Locator


Step = MakeNamespace | MakeBridge | PlugIn | Translate | Forward | RunCable


def make_plan(lan: Lan) -> tuple[Step, ...]:
    """Give the steps that build a LAN."""
    mtus = {bridge.name: bridge.mtu for bridge in lan.bridges}
    taps = [TapLocator(name=one.tap, bridge=one.bridge, mtu=mtus[one.bridge]) for one in lan.cables]
    return (
        *(MakeNamespace(one.name) for one in lan.namespaces),
        *(MakeBridge(one) for one in lan.bridges),
        *(PlugIn(one, mtus[one.bridge]) for one in lan.namespaces),
        *_way_out(lan),
        *(RunCable(tap, one.remote) for tap, one in zip(taps, lan.cables, strict=True)),
    )


def _way_out(lan: Lan) -> list[Step]:
    """Forwarding comes last: not a packet leaves untranslated."""
    if lan.nat is None:
        return []
    networks = lan.networks()
    versions = sorted({network.version for network in networks})
    return [Translate(f"vswitch-lan-{lan.name}", lan.nat, networks), *map(Forward, versions)]
