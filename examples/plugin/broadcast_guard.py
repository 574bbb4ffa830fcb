"""A plugin of one's own: counts broadcasts by port, and keeps a port quiet that sends too many.

vswitchterm /tmp/vs.mgmt plugin/add examples/plugin/broadcast_guard.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vport.ethernet import BROADCAST
from vport.shell.arguments import Integer
from vport.shell.command import Menu, Reply, command
from vport.shell.message import Category
from vswitch.plugins import Plugin, PluginHost

if TYPE_CHECKING:
    from vport.shell.command import Session
    from vport.train import Train
    from vswitch.events import Event
    from vswitch.management.control import Control
    from vswitch.ports import Port

QUIET = Category("quiet/port", 0o400, "quiet: broadcasts of a port are taken out")
WINDOW = 1.0  # seconds


class BroadcastGuard(Plugin):
    """Lets so many broadcasts a second through from each port, and takes out the rest."""

    name = "quiet"
    help = "limit the broadcasts of each port"

    def __init__(self, host: PluginHost) -> None:
        super().__init__(host)
        self._limit = 100
        self._counts: dict[int, int] = {}  # broadcasts of each port in this window
        self._window_began = host.now()
        self.categories = (QUIET,)
        self.menus = (
            Menu(
                "quiet",
                "BROADCAST GUARD MENU",
                (
                    command("quiet/limit", "set broadcasts a second of a port", Integer("N", 0, 10**6))(
                        self.set_limit
                    ),
                    command("quiet/print", "print what ports sent lately", prints=True)(self.print_counts),
                ),
            ),
        )

    # --- hooks: only those that are defined here are called ---

    def ingress(self, port: Port, train: Train) -> Train | None:
        """Count, and give None for what the switch is not to see."""
        if bytes(train.data[:6]) != BROADCAST:
            return train
        now = self.host.now()
        if now - self._window_began >= WINDOW:
            self._window_began = now
            self._counts.clear()
        before = self._counts.get(port.number, 0)
        self._counts[port.number] = before + train.count
        if before + train.count <= self._limit:
            return train
        if before <= self._limit:
            self.host.publish(QUIET, f"Port {port.number:04d} sends more than {self._limit} a second")
        return None

    def event(self, event: Event) -> None:
        """Hear of what comes and goes; here, only to show how."""
        if type(event).__name__ == "PortRemoved":
            self.host.log(f"a port is empty: {event}")

    # --- commands ---

    def set_limit(self, control: Control, session: Session, limit: int) -> None:
        """Carry out ``quiet/limit``; the argument was checked as declared."""
        self._limit = limit

    def print_counts(self, control: Control, session: Session) -> Reply:
        """Carry out ``quiet/print``, and ``quiet/print -j``."""
        counts = sorted(self._counts.items())
        lines = [f"Port {number:04d} broadcasts {count}" for number, count in counts]
        return Reply(lines, document=[{"port": number, "broadcasts": count} for number, count in counts])
