"""Every example runs as it stands, within its time, and leaves the machine as it found it."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress

import pytest

from tests.system.lan_parts import require_slirp
from tests.system.processes import ROOT
from tests.system.requirements import require_program, require_root, require_tun

EXAMPLES = ROOT / "examples"
pytestmark = pytest.mark.system


def run_example(name: str, *, seconds: float = 90.0) -> str:
    """Run an example to its end; give what it printed."""
    done = subprocess.run(
        [str(EXAMPLES / name / "run")],
        cwd="/",
        env={**os.environ, "PYTHON": sys.executable, "PYTEST_ADDOPTS": ""},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def network() -> dict[str, list[str]]:
    """What this machine has of networks."""

    def ask(*command: str) -> list[str]:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
        return sorted(done.stdout.splitlines())

    return {
        "links": [line.split()[0] for line in ask("ip", "-br", "link")],
        "rules": ask("nft", "list", "ruleset"),
        "forwarding": ask("cat", "/proc/sys/net/ipv4/ip_forward"),
    }


def namespaces_of(prefix: str) -> list[str]:
    """The namespaces whose names begin so: what an example made, and should have removed."""
    with suppress(FileNotFoundError):
        return [one for one in os.listdir("/run/netns") if one.startswith(prefix)]
    return []


def test_zerotier_from_scratch() -> None:
    require_tun()

    said = run_example("zerotier-from-scratch")

    assert said.count("packets transmitted, 3 received") == 2  # over raw UDP, and with keys
    assert said.count(" to port: ") >= 2
    assert "alice" in said.partition("peer/print")[2]
    assert namespaces_of("zer") == []


def test_lan_from_scratch_leaves_the_machine_as_it_was() -> None:
    require_tun()
    require_program("nft", "nftables")
    before = network()

    said = run_example("lan-from-scratch")

    assert said.count(": 1 received") == 16 + 4
    assert "hello from a1" in said
    assert network() == before
    assert namespaces_of("lan") + namespaces_of("lfs") == []


def test_tap_lab_leaves_the_machine_as_it_was() -> None:
    require_tun()
    before = network()

    said = run_example("tap-lab")

    assert said.count("ARP who-has 10.1.1.1 from 10.1.1.2") == 2
    assert said.count("3 packets transmitted, 3 received") == 2
    assert network() == before
    assert namespaces_of("tap") == []


def test_tun_vpn_shows_what_a_broadcast_server_does() -> None:
    require_tun()

    said = run_example("tun-vpn")

    hub, switch = (
        int(line.rpartition(" ")[2]) for line in said.splitlines() if line.startswith("packets that came")
    )
    assert hub >= 200
    assert switch < 50
    assert said.count("100 received") == 2
    assert namespaces_of("tun") == []


def test_vde_set_ups_work_with_either_side_replaced() -> None:
    require_root()
    require_program("vde_switch", "vde2")
    require_program("wirefilter", "vde-wirefilter")
    require_slirp()

    said = run_example("vde", seconds=180.0)

    lines = [line for line in said.splitlines() if " packets transmitted, " in line]
    assert len(lines) == 2 * 8 + 2
    assert all("4 packets transmitted" in line or ", 3 received" in line for line in lines)
    assert namespaces_of("vde") == []


def test_lab_as_code_passes() -> None:
    assert "5 passed" in run_example("lab-as-code")
