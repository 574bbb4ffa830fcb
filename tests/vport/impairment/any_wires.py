"""Settings of wires, for Hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st

from vport.impairment import PARAMETERS, ImpairmentSettings, StateSettings, Value, WireSettings


def values(name: str) -> st.SearchStrategy[Value]:
    limit = 99 if name == "dup" else PARAMETERS[name].limit
    numbers = st.integers(0, int(limit)).map(float) | st.floats(1e-9, limit)
    return st.builds(Value, numbers, st.just(0.0) | numbers, st.booleans())


faults: st.SearchStrategy[ImpairmentSettings] = st.dictionaries(
    st.sampled_from(list(PARAMETERS)), st.none(), max_size=3
).flatmap(lambda names: st.builds(ImpairmentSettings, **{name: values(name) for name in names}))


@st.composite
def wire_settings(draw: st.DrawFn) -> WireSettings:
    size = draw(st.integers(1, 4))
    states = []
    for node in range(size):
        others = [other for other in range(size) if other != node]
        weights = st.tuples(st.sampled_from(others), st.sampled_from([0.1, 10.0, 33.3])) if others else None
        edges = () if weights is None else draw(st.lists(weights, unique_by=lambda edge: edge[0]))
        states.append(
            StateSettings(
                name=draw(st.sampled_from(["", "good", "bad, very", "ü"])),
                left_to_right=draw(faults),
                right_to_left=draw(faults),
                edges=tuple(edges),
            )
        )
    moves = any(state.edges for state in states)
    return WireSettings(
        fifo=draw(st.booleans()),
        states=tuple(states),
        period=draw(st.integers(1, 86_400_000)) / 1000,
        current=0 if moves else draw(st.integers(0, size - 1)),
    )
