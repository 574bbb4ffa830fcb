"""Faults between a port and what is plugged into it: loss, delay and the rest of ``vport.impairment``.

An impaired port sends through a wire of its own (left to right: out of the switch) and receives through it
(right to left: into the switch); all its endpoints share the wire. Its counters stand on the switch's side.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import trio

from vport.impaired import ImpairedWire
from vport.impairment import BOTH, Wire, WireSettings

if TYPE_CHECKING:
    from vport.train import Train
    from vswitch.fabric import Fabric
    from vswitch.ports import Port


class _ToLinks:
    """The way out of the wire towards the links of a port (``links.base.Sink``)."""

    __slots__ = ("_fabric", "_port")

    def __init__(self, fabric: Fabric, port: Port) -> None:
        self._fabric = fabric
        self._port = port

    def deliver(self, train: Train) -> None:
        for endpoint in self._port.endpoints:
            endpoint.link.transmit(train)

    def flush(self) -> None:
        for endpoint in self._port.endpoints:
            endpoint.link.flush()
        self._fabric.flush()  # links may have answered what the wire let out


class _ToRelay:
    """The way out of the wire into the switch (``links.base.Sink``)."""

    __slots__ = ("_fabric", "_port", "flush")

    def __init__(self, fabric: Fabric, port: Port) -> None:
        self._fabric = fabric
        self._port = port
        self.flush = fabric.flush

    def deliver(self, train: Train) -> None:
        self._fabric.carry(self._port, train)


class _Impaired:
    """A port's wire while it has one."""

    def __init__(self, wire: ImpairedWire) -> None:
        self.wire = wire
        self.scope = trio.CancelScope()

    async def run(self) -> None:
        with self.scope:
            await self.wire.run()


class ImpairedPorts:
    """The ports of a switch that have faults. ``run`` lets their frames out in time."""

    def __init__(self, fabric: Fabric) -> None:
        self._fabric = fabric
        self._ports: dict[Port, _Impaired] = {}
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Let frames out of the wires when their time has come, until cancelled."""
        async with trio.open_nursery() as self._nursery:
            for impaired in self._ports.values():
                self._nursery.start_soon(impaired.run)
            task_status.started()
            await trio.sleep_forever()

    def get(self, port: Port) -> ImpairedWire | None:
        """Give the wire of a port, None where it has none."""
        impaired = self._ports.get(port)
        return None if impaired is None else impaired.wire

    def impair(self, port: Port, seed: int | None = None) -> ImpairedWire:
        """Give the wire of a port, a clear one put in where it had none.

        Args:
            port: an existing port.
            seed: decides what is left to chance, for a new wire; None draws one.
        """
        self._forget_removed()
        if port not in self._ports:
            wire = Wire(random.SystemRandom().getrandbits(32) if seed is None else seed)
            impaired = ImpairedWire(wire, _ToLinks(self._fabric, port), _ToRelay(self._fabric, port))
            port.outgoing, port.incoming = (impaired.entries[direction] for direction in BOTH)
            self._ports[port] = _Impaired(impaired)
            if self._nursery is not None:
                self._nursery.start_soon(self._ports[port].run)
        return self._ports[port].wire

    def configure(self, port: Port, settings: WireSettings | None) -> None:
        """Give a port these faults and no others; None for none."""
        if settings is None:
            self.clear(port)
            return
        impaired = self.impair(port)
        impaired.wire.configure(settings, impaired.now())
        impaired.changed()

    @property
    def settings(self) -> dict[Port, WireSettings]:
        """The faults of the ports that have any; a wire that is clear is as none."""
        self._forget_removed()
        found = {port: impaired.wire.wire.as_settings() for port, impaired in self._ports.items()}
        return {port: settings for port, settings in found.items() if settings != WireSettings()}

    def clear(self, port: Port) -> bool:
        """Take the wire of a port out, with what is in it; tell whether there was one."""
        impaired = self._ports.pop(port, None)
        if impaired is None:
            return False
        port.incoming = port.outgoing = None
        impaired.scope.cancel()
        return True

    def _forget_removed(self) -> None:
        """Take out the wires of ports that are no more."""
        table = self._fabric.bridge.ports
        for port in [port for port in self._ports if table.get(port.number) is not port]:
            self.clear(port)
