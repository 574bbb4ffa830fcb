"""What a plugin is, and what it may ask of the switch.

    class Quiet(Plugin):
        name = "quiet"
        help = "keep broadcasts off port 7"

        def egress(self, port: Port, train: Train) -> Train | None:
            return None if port.number == 7 and train.data[0] & 1 else train

A plugin overrides what it needs: only hooks that are overridden are called, and a switch without plugins
does nothing that it would not do otherwise. A plugin runs in the switch's own thread, between two frames:
what it does must be quick, and nothing in it may wait. An exception that comes out of it ends the plugin,
not the switch: it is unloaded, the log says why, and the frames go on as if it had not been there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vport.shell.command import Menu
    from vport.shell.message import Category
    from vport.train import Train
    from vswitch.bridge import Bridge
    from vswitch.events import Event
    from vswitch.ports import Port


class PluginHost(Protocol):
    """The switch, as its plugins see it."""

    @property
    def bridge(self) -> Bridge:
        """The forwarding core: ports, VLANs, address table."""

    def now(self) -> float:
        """Give the time on the switch's clock, in seconds."""

    def wall_time(self) -> float:
        """Give the time of day, in seconds since 1970."""

    def wants(self, category: Category) -> bool:
        """Whether any session asked for messages of this category: worth asking before making one."""

    def publish(self, category: Category, text: str) -> None:
        """Send a message to the sessions that asked for its category. Never waits and never fails."""

    def log(self, text: str) -> None:
        """Write a line to the switch's log."""


class Plugin:
    """Base of all plugins. Made when it is loaded; ``close`` is called when it is unloaded.

    Attributes:
        name: what commands call it.
        help: what it does, in a phrase.
        host: the switch.
        menus: the commands that it adds; their functions may be its bound methods.
        categories: the messages that it sends; tags from 0o100 to 0o777.
    """

    name: ClassVar[str]
    help: ClassVar[str]

    def __init__(self, host: PluginHost) -> None:
        self.host = host
        self.menus: Sequence[Menu] = ()
        self.categories: Sequence[Category] = ()

    def ingress(self, port: Port, train: Train) -> Train | None:
        """See what comes in on a port, before the switch does.

        Args:
            port: where it came in.
            train: one or more frames, read-only, borrowed until this returns: who keeps bytes copies them.

        Returns:
            ``train`` itself to let it pass, another train to replace it, None to take it out.
        """
        return train

    def egress(self, port: Port, train: Train) -> Train | None:
        """See what is about to leave through a port; as ``ingress``."""
        return train

    def event(self, event: Event) -> None:
        """Be told what happened: ports, endpoints and stations that came, went or moved."""

    def close(self) -> None:
        """Give back what the plugin holds."""
