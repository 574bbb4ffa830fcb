"""How a cable's settings and statistics read, in the words that wirefilter's users and programs know."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Final

from vport.impairment.values import BOTH, Direction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vport.impairment.channel import Statistics
    from vport.impairment.settings import ImpairmentSettings
    from vport.impairment.wire import Wire

_LABELS: Final = (
    ("Loss", "loss"),
    ("Lburst", "lostburst"),
    ("Delay", "delay"),
    ("Dup", "dup"),
    ("Bandw", "bandwidth"),
    ("Speed", "speed"),
    ("Noise", "noise"),
)
_LR, _RL = BOTH


def describe_node(wire: Wire, node: int) -> str:
    """Name a Markov state: its number, its name, which numbers there are."""
    return f'{node} "{wire.chain.names[node]}" (0,..,{wire.chain.size - 1})'


def describe_settings(wire: Wire, node: int | None = None) -> list[str]:
    """Give the lines of ``showinfo``, of one Markov state or of the current one."""
    shown = wire.chain.current if node is None else wire.chain.check(node)

    def row(label: str, text: Callable[[ImpairmentSettings], str]) -> str:
        left, right = (text(wire.settings(shown, direction)) for direction in BOTH)
        return f"{label:<6} L->R {left}   R->L {right}"

    lines = ["WireFilter: bidirectional"]
    if wire.chain.size > 1:
        lines.append(f"Node {describe_node(wire, shown)} Markov-time {wire.chain.period * 1000:g}")
    for label, name in _LABELS:
        lines.append(row(label, lambda settings, name=name: str(getattr(settings, name))))  # type: ignore[misc]
    lines.append(_mtu_row(wire, shown))
    lines.append(row("Cap.", lambda settings: str(settings.chanbufsize)))
    channels = wire.channels
    lines.append(
        f"Current Delay Queue size:   L->R {channels[_LR].channel_bytes}      "
        f"R->L {channels[_RL].channel_bytes}   "
    )
    lines.append(f"Fifoness {'TRUE' if wire.fifo else 'FALSE'}")
    waiting = sum(channel.waiting for channel in channels.values())
    lines.append(f"Waiting packets in delay queues {waiting}")
    return lines


def _mtu_row(wire: Wire, node: int) -> str:
    left, right = (f"{wire.settings(node, direction).mtu.mean:g}" for direction in BOTH)
    return f"MTU    L->R {left}     R->L {right}   "


def describe_edges(wire: Wire, node: int) -> Iterator[str]:
    """Give the lines of ``showedges``, the edges from one state. The spelling is wirefilter's."""
    names = wire.chain.names
    for other, weight in wire.chain.edges(node):
        yield f'Edge {node} ->{other}  "{names[node]}"->"{names[other]}" weigth {weight:g}'


def describe_statistics(wire: Wire) -> list[str]:
    """Give a line for each direction that counts frames by what became of them; zeros are left out."""
    return [f"{_arrow(way)}: {_counted(channel.statistics)}" for way, channel in wire.channels.items()]


def _arrow(direction: Direction) -> str:
    return "L->R" if direction is _LR else "R->L"


def _counted(statistics: Statistics) -> str:
    words = [
        f"{field.name.replace('_', ' ')} {number}"
        for field in fields(statistics)
        if (number := getattr(statistics, field.name)) or field.name in {"received", "delivered"}
    ]
    return ", ".join(words)


def as_document(wire: Wire) -> dict[str, object]:
    """Give what ``describe_settings`` and ``describe_statistics`` say, for programs."""
    node = wire.chain.current
    return {
        "fifo": wire.fifo,
        "node": node,
        **{
            str(direction.value): {
                "settings": {
                    field.name: str(getattr(wire.settings(node, direction), field.name))
                    for field in fields(wire.settings(node, direction))
                },
                "waiting": channel.waiting,
                "statistics": asdict(channel.statistics),
            }
            for direction, channel in wire.channels.items()
        },
    }
