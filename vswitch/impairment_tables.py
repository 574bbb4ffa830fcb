"""The table of a port's faults in a configuration file: ``[port.impair]`` to a wire's settings and back.

[port.impair]                 # below its [[port]]; the keys are the commands of port/impair
loss = "LR1%"                 # LR: out of the switch, RL: into it; without either, both
delay = ["LR10ms", "RL20ms+5ms"]
fifo = false                  # frames may overtake one another
markov-numnodes = 2           # states; of what holds in another than 0, the number stands behind: "5%[1]"
markov-name = ["good", "bad"]
markov-time = 100             # milliseconds between steps
setedge = [[0, 1, 10], [1, 0, 50]]    # from, to, percent
markov-setnode = 1            # the state to be in, where no edge leads anywhere
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from vport.errors import SettingsError
from vport.impairment import BOTH, PARAMETERS, Wire
from vport.impairment.markov import DEFAULT_PERIOD, LONGEST_PERIOD, MAX_NODES
from vport.toml_fields import Table, boolean, integer, list_of, number, plain, text, word

if TYPE_CHECKING:
    from collections.abc import Callable

    from vport.impairment import ImpairmentSettings, WireSettings

_KEYS: Final = (
    *PARAMETERS, "fifo", "markov-numnodes", "markov-name", "markov-time", "setedge", "markov-setnode",
)  # fmt: skip
_MILLISECONDS_MAX: Final = LONGEST_PERIOD * 1000


def read_impairment(value: object) -> WireSettings:
    """Read the table.

    Raises:
        SettingsError: a key is unknown, or a value wrong.
    """
    table, wire = Table(value, _KEYS), Wire(0)
    wire.set_fifo(table.read("fifo", boolean, True))
    wire.resize(table.read("markov-numnodes", integer(1, MAX_NODES), 1), 0.0)
    period = table.read("markov-time", number(0.001, _MILLISECONDS_MAX), DEFAULT_PERIOD * 1000)
    wire.chain.set_period(period / 1000, 0.0)
    names = table.read("markov-name", _names(wire), ())
    for node, name in enumerate(names):
        wire.chain.rename(node, name)
    table.read("setedge", list_of(_edge(wire)), ())
    for parameter in PARAMETERS:
        table.read(parameter, _setting(wire, parameter), None)
    table.read("markov-setnode", lambda node: wire.enter(integer(0, MAX_NODES - 1)(node)), None)
    return wire.as_settings()


def _names(wire: Wire) -> Callable[[object], tuple[str, ...]]:
    def read(value: object) -> tuple[str, ...]:
        names = list_of(text)(value)
        if len(names) > wire.chain.size:
            raise SettingsError(f"{len(names)} names for {wire.chain.size} states: set markov-numnodes first")
        return names

    return read


def _edge(wire: Wire) -> Callable[[object], None]:
    def read(value: object) -> None:
        if not isinstance(value, list) or len(value) != 3:
            raise SettingsError("must be [FROM, TO, PERCENT], such as [0, 1, 30]")
        node = integer(0, MAX_NODES - 1)
        wire.chain.set_edge(node(value[0]), node(value[1]), number(0, 100)(value[2]))

    return read


def _setting(wire: Wire, parameter: str) -> Callable[[object], None]:
    def read_one(value: object) -> None:
        wire.read(parameter, word(value))

    def read(value: object) -> None:
        if isinstance(value, list):
            list_of(read_one)(value)
        else:
            read_one(value)

    return read


def write_impairment(settings: WireSettings) -> dict[str, object]:
    """Write the table; what is as on a clear wire is left out."""
    table: dict[str, Any] = {}
    for parameter in PARAMETERS:
        texts = [text for node in range(len(settings.states)) for text in _texts(settings, node, parameter)]
        if texts:
            table[parameter] = texts[0] if len(texts) == 1 else texts
    if not settings.fifo:
        table["fifo"] = False
    states = settings.states
    if len(states) > 1:
        table["markov-numnodes"] = len(states)
    if any(state.name for state in states):
        table["markov-name"] = [state.name for state in states]
    if settings.period != DEFAULT_PERIOD:
        table["markov-time"] = plain(round(settings.period * 1000, 6))
    edges = [[old, new, plain(float(part))] for old, one in enumerate(states) for new, part in one.edges]
    if edges:
        table["setedge"] = edges
    if settings.current:
        table["markov-setnode"] = settings.current
    return table


def _texts(settings: WireSettings, node: int, name: str) -> list[str]:
    """Write what a parameter is in a state: one text where both directions are alike."""
    state, behind = settings.states[node], f"[{node}]" if node else ""
    left, right = (_value(one, name) for one in (state.left_to_right, state.right_to_left))
    if left == right:
        return [] if left is None else [f"{left}{behind}"]
    return [
        f"{direction.value}{text}{behind}"
        for direction, text in zip(BOTH, (left, right), strict=True)
        if text is not None
    ]


def _value(settings: ImpairmentSettings, name: str) -> str | None:
    value = getattr(settings, name)
    return None if value == type(value)() else PARAMETERS[name].write(value)
