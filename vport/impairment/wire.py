"""A cable's two directions, and the states that their settings change between."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from vport.impairment.channel import Impairment
from vport.impairment.markov import MarkovChain, Transition
from vport.impairment.settings import PARAMETERS, ImpairmentSettings
from vport.impairment.values import BOTH, Direction
from vport.impairment.wire_settings import StateSettings, WireSettings

if TYPE_CHECKING:
    from vport.ethernet import Buffer
    from vport.impairment.values import Setting


class Wire:
    """Both directions of a cable, each with its own order and its own randomness.

    Args:
        seed: decides every random choice; a run with the same seed, frames and times is the same run.
        left_to_right: settings at the start.
        right_to_left: settings at the start.

    Attributes:
        seed: as it was given.
        chain: the Markov states.
        channels: what happens in each direction.
    """

    def __init__(
        self,
        seed: int | str,
        left_to_right: ImpairmentSettings | None = None,
        right_to_left: ImpairmentSettings | None = None,
    ) -> None:
        self.seed = seed
        # A generator each: what happens to one direction does not depend on the traffic of the other.
        self.chain = MarkovChain(Random(f"{seed} chain"))
        self._fifo = True
        self._settings = [
            {
                Direction.LEFT_TO_RIGHT: left_to_right or ImpairmentSettings(),
                Direction.RIGHT_TO_LEFT: right_to_left or ImpairmentSettings(),
            }
        ]
        self.channels = {
            direction: Impairment(self._settings[0][direction], Random(f"{seed} {direction.value}"))
            for direction in BOTH
        }

    # --- settings ---

    @property
    def fifo(self) -> bool:
        """Whether no frame overtakes an earlier one in its direction."""
        return self._fifo

    def set_fifo(self, fifo: bool) -> None:
        """Keep frames in order, or let delays change it."""
        self._fifo = fifo
        for channel in self.channels.values():
            channel.fifo = fifo

    def settings(self, node: int, direction: Direction) -> ImpairmentSettings:
        """Give what holds in a state for a direction. Raises SettingsError."""
        return self._settings[self.chain.check(node)][direction]

    def change(self, name: str, setting: Setting) -> None:
        """Change one parameter as an operator wrote it. Raises SettingsError for a state that is not."""
        assert name in PARAMETERS
        settings = self._settings[self.chain.check(setting.node)]
        for direction in setting.directions:
            settings[direction] = settings[direction].with_value(name, setting.value)
        self._apply()

    def read(self, name: str, text: str) -> None:
        """Change one parameter: ``wire.read("delay", "LR10ms+3ms")``. Raises SettingsError."""
        self.change(name, PARAMETERS[name].parse(text))

    def resize(self, nodes: int, now: float) -> None:
        """Change the number of states; a new one impairs nothing. Raises SettingsError."""
        self.chain.resize(nodes, now)
        self._settings[nodes:] = []
        while len(self._settings) < nodes:
            self._settings.append({direction: ImpairmentSettings() for direction in BOTH})
        self._apply()

    def enter(self, node: int) -> None:
        """Go to a state. Raises SettingsError."""
        self.chain.current = self.chain.check(node)
        self._apply()

    def as_settings(self) -> WireSettings:
        """Give all that is set, for ``configure`` on another wire."""
        chain = self.chain
        states = tuple(
            StateSettings(
                name=chain.names[node],
                left_to_right=settings[Direction.LEFT_TO_RIGHT],
                right_to_left=settings[Direction.RIGHT_TO_LEFT],
                edges=chain.weights(node),
            )
            for node, settings in enumerate(self._settings)
        )
        moves = any(state.edges for state in states)
        return WireSettings(
            fifo=self._fifo, states=states, period=chain.period, current=0 if moves else chain.current
        )

    def configure(self, settings: WireSettings, now: float) -> None:
        """Set everything anew; what was set before is gone. Raises SettingsError."""
        self.set_fifo(settings.fifo)
        self.resize(1, now)
        self.resize(len(settings.states), now)
        self.chain.set_period(settings.period, now)
        for node, state in enumerate(settings.states):
            self.chain.rename(node, state.name)
            for other, weight in state.edges:
                self.chain.set_edge(node, other, weight)
            self._settings[node] = {
                Direction.LEFT_TO_RIGHT: state.left_to_right,
                Direction.RIGHT_TO_LEFT: state.right_to_left,
            }
        self.enter(settings.current)

    def _apply(self) -> None:
        for direction, settings in self._settings[self.chain.current].items():
            self.channels[direction].settings = settings

    # --- frames and time ---

    def receive(self, direction: Direction, frame: Buffer, now: float) -> None:
        """Take a frame; its bytes are copied."""
        self.channels[direction].receive(frame, now)

    def due(self, direction: Direction, now: float) -> list[bytes]:
        """Give the frames that arrive by ``now``."""
        return self.channels[direction].due(now)

    def advance(self, now: float) -> list[Transition]:
        """Change states as time goes by; give the changes."""
        transitions = self.chain.advance(now)
        if transitions:
            self._apply()
        return transitions

    def next_deadline(self) -> float | None:
        """Tell when ``advance`` or ``due`` has something to do, None for never."""
        deadlines = [self.chain.next_deadline(), *(c.next_deadline() for c in self.channels.values())]
        return min((deadline for deadline in deadlines if deadline is not None), default=None)
