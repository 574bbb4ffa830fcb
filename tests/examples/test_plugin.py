"""The example of a plugin of one's own, as its README tells it, on a running switch."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.system.processes import ROOT, VSWITCHTERM, run
from tests.system.switches import our_switch
from tests.system.waiting import wait_until

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

PLUGIN = ROOT / "examples" / "plugin" / "broadcast_guard.py"


def test_example_filters_prints_and_goes_again(tmp_path: Path) -> None:
    with our_switch(tmp_path) as switch:

        def ask(*words: str) -> subprocess.CompletedProcess[str]:
            done = run([*VSWITCHTERM, *words])
            assert done.returncode == 0, done.stderr
            return done

        ask(switch.path, "plugin/add", str(PLUGIN))
        assert "quiet/limit        N               set broadcasts" in ask(switch.path, "help", "quiet").stdout
        ask(switch.path, "quiet/limit", "0")
        switch.new_station("02:00:00:00:00:77")
        found = wait_until(
            "broadcasts counted", lambda: json.loads(ask("-j", switch.path, "quiet/print").stdout)
        )
        assert found == [{"port": 2, "broadcasts": 1}]
        assert "1 a plugin took it out" in ask(switch.path, "port/discards", "2").stdout
        assert ask(switch.path, "hash/print").stdout.count("02:00:00:00:00:77") == 0
        ask(switch.path, "plugin/del", "quiet")
        switch.new_station("02:00:00:00:00:78")
        wait_until(
            "the station learned", lambda: "02:00:00:00:00:78" in ask(switch.path, "hash/print").stdout
        )
