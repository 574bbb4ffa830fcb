"""Recorded sessions with VDE's switch, played to ours: the same answers but for those listed as different."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.vswitch.management.replay import Player, masked, read_steps
from vswitch.management.menus import switch_catalog

HERE = Path(__file__).parent
SCENARIOS = sorted((HERE / "transcripts").glob("*.txt"))
DIFFERENCES: dict[str, Any] = tomllib.loads((HERE / "differences.toml").read_text())
LISTED: dict[str, str] = {
    name: answer for group in DIFFERENCES["difference"] for name, answer in group["steps"].items()
}
ELSEWHERE: tuple[str, ...] = tuple(DIFFERENCES["elsewhere"]["starts"])
ADDITIONS = frozenset(DIFFERENCES["additions"]["commands"]) | frozenset(DIFFERENCES["additions"]["messages"])


def shown(lines: list[str]) -> str:
    """Write an answer on one line, for the list of differences."""
    return " | ".join(masked(lines, ELSEWHERE, ADDITIONS))


def differences(path: Path) -> dict[str, tuple[str, str]]:
    """Play a scenario; give ours and theirs of every step where they differ."""
    player = Player()
    found = {}
    for step in read_steps(path):
        if step.sent is not None and any(line.startswith(ELSEWHERE) for line in step.sent.split("\n")):
            player.act(step.actions)
            continue
        theirs = shown(step.lines if step.frame is None else sorted(step.lines))
        ours = shown(player.play(step))
        if ours != theirs:
            found[f"{path.name[:2]} {step.name}"] = (ours, theirs)
    return found


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_scenario_is_answered_as_by_vde_but_for_listed_differences(path: Path) -> None:
    found = differences(path)

    unlisted = {name: both for name, both in found.items() if LISTED.get(name) != both[0]}
    assert not unlisted, "\n".join(f"{name}\n  ours   {a}\n  theirs {b}" for name, (a, b) in unlisted.items())
    gone = [name for name in LISTED if name.startswith(f"{path.name[:2]} ") and name not in found]
    assert not gone, f"these differences do not occur any more: {gone}"


def test_every_difference_has_a_reason_and_belongs_to_a_scenario() -> None:
    assert all(len(group["reason"]) > 20 for group in DIFFERENCES["difference"])
    assert len(LISTED) == sum(len(group["steps"]) for group in DIFFERENCES["difference"])
    assert {name[:2] for name in LISTED} <= {path.name[:2] for path in SCENARIOS}


def test_additions_are_there() -> None:
    paths = {path for path, _, _ in switch_catalog().entries()}
    assert set(DIFFERENCES["additions"]["commands"]) <= paths
