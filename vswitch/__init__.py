"""What joins ports: a virtual Ethernet switch.

``bridge``, ``fdb``, ``vlan``, ``ports``: the forwarding core, without clock or sockets. ``management``: the
shell that an operator talks to. ``service``: the nursery that runs it all. ``vport`` has the links.

For programs, on Trio::

    async with vswitch.open_switch(attach=["host://10.1.1.1/24"]) as switch:
        host = await switch.attach("host://10.1.1.2/24")
        switch.impair(host, loss="10%", delay="20ms")

``pytest_plugin`` has fixtures that do the same for tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vport._version import __version__

if TYPE_CHECKING:
    from vswitch.api import RunningSwitch, open_switch

__all__ = ["RunningSwitch", "__version__", "open_switch"]


def __getattr__(name: str) -> object:
    """Import the public names when they are asked for: commands need a part of them only."""
    if name not in {"RunningSwitch", "open_switch"}:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module("vswitch.api"), name)
