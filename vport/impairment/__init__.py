"""What may happen to frames on a cable: a pure, seeded model under the caller's clock.

``values``: numbers with units and variation, as operators write them. ``settings``: the parameters of one
direction. ``channel``: one direction, frames in and frames out (``Impairment``). ``markov``: states that the
parameters may change between. ``wire``: two directions and their states (``Wire``). What runs it in real time
is ``vport.impaired``.
"""

from vport.impairment.channel import Impairment, Statistics
from vport.impairment.settings import PARAMETERS, ImpairmentSettings, Parameter
from vport.impairment.values import BOTH, Direction, Value
from vport.impairment.wire import Wire
from vport.impairment.wire_settings import StateSettings, WireSettings

__all__ = [
    "BOTH",
    "PARAMETERS",
    "Direction",
    "Impairment",
    "ImpairmentSettings",
    "Parameter",
    "StateSettings",
    "Statistics",
    "Value",
    "Wire",
    "WireSettings",
]
