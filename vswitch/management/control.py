"""What commands may ask of the running switch, and nothing more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vport.ethernet import MacAddress
    from vport.links.base import Listener
    from vport.locator import Locator
    from vport.shell.message import Category
    from vswitch.access import Accounts
    from vswitch.bridge import Bridge
    from vswitch.config import SwitchSettings
    from vswitch.control_plane import ControlPlane
    from vswitch.impaired_ports import ImpairedPorts
    from vswitch.ports import Endpoint


@dataclass(frozen=True, slots=True)
class SocketInfo:
    """Where a socket of the switch is: its absolute path and its mode."""

    path: str
    mode: int


@dataclass(frozen=True, slots=True)
class ListenerInfo:
    """A listener of the switch.

    Attributes:
        number: by which commands name it.
        description: what it listens on.
        links: how many links it made that are plugged in now.
    """

    number: int
    description: str
    links: int


class Plugboard(Protocol):
    """What the switch opens by itself: links and listeners."""

    async def attach(self, locator: Locator, port: int | None) -> Endpoint:
        """Open a link and plug it into the port of that number, or into the lowest free one.

        Raises:
            SettingsError: the locator names no link.
            LinkError: it cannot be opened.
            RefusedError: there is no such port, or none is free.
        """

    def eject(self, endpoint: Endpoint, reason: str) -> None:
        """Unplug a link and close it; what the switch opened for it ends soon after."""

    def relocate(self, endpoint: Endpoint, locator: Locator) -> None:
        """Note that a link was changed by command: ``locator`` would now open it as it is."""

    async def listen(self, locator: Locator) -> ListenerInfo:
        """Open a listener.

        Raises:
            SettingsError: the locator names no listener.
            LinkError: it cannot be opened.
        """

    async def close_listener(self, number: int) -> bool:
        """Close a listener with all its links; tell whether there was one of that number."""

    @property
    def listeners(self) -> Sequence[ListenerInfo]:
        """The listeners by number."""

    @property
    def open_listeners(self) -> Sequence[Listener]:
        """The listeners themselves, in the same order."""


@dataclass(frozen=True, slots=True)
class PluginInfo:
    """A plugin that is loaded."""

    name: str
    help: str


class PluginShelf(Protocol):
    """The plugins of the switch."""

    async def load(self, name: str) -> PluginInfo:
        """Load a plugin by its name or its file.

        Raises:
            CommandError: ENOENT, there is none; EINVAL, it is no plugin or cannot be started;
                EEXIST, it is loaded.
        """

    def unload(self, name: str) -> bool:
        """Unload a plugin; tell whether it was loaded."""

    @property
    def loaded(self) -> Sequence[PluginInfo]:
        """The plugins, in the order in which they were loaded."""


class Control(Protocol):
    """The running switch, as its commands see it. The service fulfils it; tests have their own."""

    @property
    def bridge(self) -> Bridge:
        """The forwarding core."""

    @property
    def impairments(self) -> ImpairedPorts:
        """The ports with faults between them and their links."""

    @property
    def mac(self) -> MacAddress:
        """The switch's own address."""

    @property
    def started_at(self) -> float:
        """When the switch was started, by the clock of ``now``."""

    @property
    def management(self) -> SocketInfo | None:
        """Where this shell listens, None when it has no socket."""

    @property
    def control_plane(self) -> ControlPlane:
        """Spanning tree and guards."""

    @property
    def accounts(self) -> Accounts:
        """The users and groups of this system."""

    @property
    def categories(self) -> Sequence[Category]:
        """The categories of messages that sessions can ask for, those of plugins last."""

    @property
    def plugboard(self) -> Plugboard:
        """The links and listeners that the switch opens by itself."""

    @property
    def plugins(self) -> PluginShelf:
        """The plugins."""

    def now(self) -> float:
        """Give the time on the switch's clock, in seconds."""

    def publish_events(self) -> None:
        """Pass on what the core has to tell: to the log, and to the sessions that asked for it."""

    def running_settings(self) -> SwitchSettings:
        """Give the settings of a switch that would be as this one is now."""

    def stop(self) -> None:
        """End the switch in an orderly way, after the command that asks for it."""
