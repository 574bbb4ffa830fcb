"""The management shell of a cable: wirefilter's command words (specification: VDE tools, section 1).

Differences, all on purpose: what cannot be read is an error that says what is allowed, where wirefilter says
Success and changes nothing; ``logout`` says goodbye; ``showstats`` is new.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final, Protocol

from vport._version import __version__
from vport.errors import CommandError
from vport.impairment import PARAMETERS
from vport.impairment.markov import MAX_NODES
from vport.impairment.report import describe_edges, describe_node, describe_settings, describe_statistics
from vport.impairment.settings import ALIASES
from vport.shell.arguments import Integer, Optional, Text, Word, invalid
from vport.shell.command import Catalog, Command, Menu, Reply, Session, command
from vport.shell.help import help_lines
from vport.shell.message import Category, Message
from vport.shell.script import load

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vport.impairment import Wire
    from vport.impairment.markov import Transition

# Clients take what stands between "V." and the line's end for the version, and "$ " for the prompt.
BANNER: Final = (
    f"vport cable V.{__version__}",
    "A virtual Ethernet cable with faults. Free software, MIT licence. Type help for the commands.",
)
PROMPT: Final = b"\nVDEwf$ "
TRANSITIONS: Final = Category("markov", 0o040, "the cable changed its state")
_MAX_DEBUG: Final = 100
_NODE: Final = Integer("n", 0, MAX_NODES - 1)


class WireControl(Protocol):
    """Something with a wire, as the commands about the wire see it."""

    @property
    def wire(self) -> Wire:
        """What happens to frames."""

    def now(self) -> float:
        """Give the time on the wire's clock, in seconds."""

    def changed(self) -> None:
        """Take note that settings of the wire were changed."""


class CableControl(WireControl, Protocol):
    """The running cable, as its commands see it."""

    def publish_events(self) -> None:
        """Pass on what happened."""

    def stop(self) -> None:
        """End the cable in an orderly way, after the command that asks for it."""


def transition_messages(wire: Wire, transitions: Iterable[Transition]) -> Iterator[Message]:
    """Say which states the wire went through: ``3801 Node 0 "good" -> 1 "bad"``."""
    names = wire.chain.names
    for old, new in transitions:
        text = f'Node {old} "{names[old]}" -> {new} "{names[new]}"'
        yield Message(TRANSITIONS, text, code=f"8{new % 100:02d}")


# --- general ---


@command("help", "print a summary of mgmt commands", Optional(Word("arg")), prints=True)
def show_help(control: CableControl, session: Session, prefix: str | None) -> list[str]:
    """List the commands."""
    return help_lines(session.catalog.entries(prefix or ""))


@command("showinfo", "show status and parameter values", Optional(_NODE), prints=True)
def show_info(control: WireControl, session: Session, node: int | None) -> list[str]:
    """Show the settings, of one Markov state or of the current one."""
    return describe_settings(control.wire, node)


@command("showstats", "show what was done to frames", prints=True)
def show_statistics(control: WireControl, session: Session) -> list[str]:
    """Count frames by what became of them."""
    return describe_statistics(control.wire)


@command("shutdown", "shut the channel down")
def shutdown(control: CableControl, session: Session) -> Reply:
    """End the cable."""
    control.stop()
    return Reply(ends_session=True)


@command("logout", "log out from this mgmt session")
def logout(control: CableControl, session: Session) -> Reply:
    """End the session."""
    return Reply(ends_session=True)


# --- parameters ---


def _setter(path: str, name: str) -> Command:
    """Make the command that sets a parameter."""

    def change(control: WireControl, session: Session, text: str) -> None:
        control.wire.read(name, text)
        control.changed()

    return Command(path, PARAMETERS[name].help, (Text("VALUE"),), change)


@command("fifo", "set channel fifoness (0: frames may overtake one another)", Optional(Integer("0/1", 0, 1)))
def set_fifo(control: WireControl, session: Session, fifo: int | None) -> None:
    """Keep frames in order or not; without an argument not, as in wirefilter."""
    control.wire.set_fifo(bool(fifo))


# --- Markov states ---


@command("markov-numnodes", "markov mode: set number of states", Integer("n", 1, MAX_NODES))
def set_node_count(control: WireControl, session: Session, count: int) -> None:
    """Change the number of states."""
    control.wire.resize(count, control.now())
    control.changed()


@command("markov-setnode", "markov mode: set current state", _NODE)
def set_node(control: WireControl, session: Session, node: int) -> None:
    """Go to a state."""
    control.wire.enter(node)
    control.changed()


@command("markov-name", "markov mode: set state's name", Text("n,name"))
def set_name(control: WireControl, session: Session, text: str) -> None:
    """Name a state; an empty name takes it away."""
    number, _, name = text.partition(",")
    control.wire.chain.rename(_NODE.parse(number.strip()), name.strip())


@command("markov-time", "markov mode: transition period", Integer("ms", 1, 86_400_000))
def set_time(control: WireControl, session: Session, milliseconds: int) -> None:
    """Change the time between steps."""
    control.wire.chain.set_period(milliseconds / 1000, control.now())
    control.changed()


@command("setedge", "markov mode: set edge weight", Text("n1,n2,w"))
def set_edge(control: WireControl, session: Session, text: str) -> None:
    """Set how many percent of the steps from n1 lead to n2; what is left loops on n1."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 3:
        raise invalid("n1,n2,w", "two states and a percentage, such as 0,1,30", text)
    try:
        weight = float(parts[2].removesuffix("%"))
    except ValueError:
        raise invalid("w", "a percentage from 0 to 100", parts[2]) from None
    control.wire.chain.set_edge(_NODE.parse(parts[0]), _NODE.parse(parts[1]), weight)


@command("showedges", "markov mode: show edge weights", Optional(_NODE), prints=True)
def show_edges(control: WireControl, session: Session, node: int | None) -> list[str]:
    """Show the edges from a state, the current one without an argument, with their weights."""
    wire = control.wire
    return list(describe_edges(wire, wire.chain.current if node is None else node))


@command("showcurrent", "markov mode: show current state", prints=True)
def show_current(control: WireControl, session: Session) -> list[str]:
    """Show the current state."""
    return [f"Current Markov Node {describe_node(control.wire, control.wire.chain.current)}"]


@command("markov-debug", "markov mode: set debug level", Optional(Integer("n", 0, _MAX_DEBUG)))
def set_debug(control: CableControl, session: Session, level: int | None) -> None:
    """Get a message for each change of state, or none any more (0, or no argument)."""
    if session.subscriptions is None:
        raise CommandError(errno.EBADF, "messages have no way to go from here")
    if level:
        session.subscriptions.add(TRANSITIONS.path)
    else:
        session.subscriptions.discard(TRANSITIONS.path)


_SETTERS: Final = tuple(
    _setter(path, name) for path, name in (*((name, name) for name in PARAMETERS), *ALIASES.items())
)
WIRE_COMMANDS: Final = (
    show_info,
    show_statistics,
    *_SETTERS,
    set_fifo,
    set_node_count,
    set_node,
    set_name,
    set_time,
    set_edge,
    show_edges,
    show_current,
)
"""Those that are about what happens to frames, wherever it happens."""


def cable_catalog() -> Catalog:
    """Make the catalog of a cable's commands, which stand in no menus."""
    return Catalog((Menu("", "", (show_help, load, *WIRE_COMMANDS, set_debug, shutdown, logout)),))
