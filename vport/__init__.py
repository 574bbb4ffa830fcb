"""One port: what carries Ethernet frames, and the client program that joins two of them.

``ethernet``, ``train``, ``offload``: frames and trains of frames, as values. ``locator``: the text that
names a link. ``links``: a module per kind of link. ``cable``: two links joined, with faults if wished.

For programs, on Trio::

    async with vport.open_link("tap://tap0") as one, vport.open_link("udp://192.0.2.1:9999") as other:
        await vport.run_cable(one, other, vport.Wire(1, vport.ImpairmentSettings.read(loss="1%")))
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vport._version import __version__

if TYPE_CHECKING:
    from vport.api import open_link
    from vport.cable import run_cable
    from vport.impairment import ImpairmentSettings, Wire

__all__ = ["ImpairmentSettings", "Wire", "__version__", "open_link", "run_cable"]

_PLACES = {
    "open_link": "vport.api",
    "run_cable": "vport.cable",
    "ImpairmentSettings": "vport.impairment",
    "Wire": "vport.impairment",
}


def __getattr__(name: str) -> object:
    """Import the public names when they are asked for: the commands fork before they load NumPy."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_PLACES[name]), name)
