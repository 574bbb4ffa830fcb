"""Everything also works where nothing of what makes it fast exists, at one end or at all.

Two hosts A and B are on a switch at S. The same traffic passes between them, byte for byte: TCP both ways,
datagrams of many sizes, pings. What is switched off: UDP_SEGMENT, UDP_GRO and the batch calls (``offload=no``
of udp), superframes and unfinished checksums (that of tap).
"""

from __future__ import annotations

import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

import pytest

from tests.system.exchange import CALL, ECHO, READY
from tests.system.hosts import Underlay
from tests.system.processes import VPORT, VSWITCH
from tests.system.requirements import require_program, require_tun
from tests.system.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.system.hosts import Namespace


class Lan:
    """Hosts A and B on the switch at S, where A has 10.1.1.1 and B 10.1.1.2, joined by ports."""

    def __init__(self, underlay: Underlay, stack: ExitStack, mtu: int) -> None:
        self.a: Namespace = underlay["A"]
        self.b: Namespace = underlay["B"]
        self._underlay = underlay
        self._stack = stack
        self._mtu = mtu

    def start_switch(self, udp: str) -> None:
        self._start(self._underlay["S"], [*VSWITCH, "--listen", f"udp://:9999?offload={udp}"], "listening on")

    def join(self, *, a: tuple[str, str], b: tuple[str, str]) -> None:
        """Start both ports; of each is said whether UDP and TAP may use offloads."""
        ports = []
        for number, (host, (udp, tap)) in enumerate(((self.a, a), (self.b, b)), 1):
            locators = [
                f"udp://10.200.0.1:9999?offload={udp}",
                f"tap://tap0?mtu={self._mtu}&address=10.1.1.{number}/24&offload={tap}",
            ]
            ports.append(self._stack.enter_context(host.start([*VPORT, *locators])))
        for port in ports:
            port.wait_for("connected")

    def _start(self, host: Namespace, command: list[str], text: str) -> None:
        self._stack.enter_context(host.start(command)).wait_for(text)

    def exchange(self, *, size: int = 3_000_000) -> None:
        """Have B return what A sends it."""
        wait_until("a ping", lambda: self.a.can_ping("10.1.1.2"))
        self._start(self.b, [sys.executable, "-c", ECHO], READY)
        done = self.a.run([sys.executable, "-c", CALL, "10.1.1.2", str(size), str(self._mtu - 28)])
        assert done.returncode == 0, done.stderr


@contextmanager
def lan(path: Path, *, mtu: int = 1400, underlay_mtu: int = 1500) -> Iterator[Lan]:
    require_tun()
    with Underlay("S", "A", "B", logs=path) as underlay, ExitStack() as stack:
        for number, name in enumerate("AB"):
            underlay["S"].ip(f"link set v{number} mtu {underlay_mtu}")
            underlay[name].ip(f"link set u0 mtu {underlay_mtu}")
        underlay["S"].ip(f"link set u0 mtu {underlay_mtu}")
        yield Lan(underlay, stack, mtu)


@pytest.mark.parametrize(
    ("switch", "a", "b"),
    [
        ("no", ("no", "yes"), ("no", "yes")),
        ("yes", ("yes", "no"), ("yes", "no")),
        ("no", ("no", "no"), ("no", "no")),
        ("yes", ("no", "no"), ("yes", "yes")),
        ("yes", ("yes", "yes"), ("no", "no")),
        ("no", ("yes", "yes"), ("yes", "yes")),
    ],
    ids=["udp-off", "tap-off", "all-off", "sender-off", "receiver-off", "switch-off"],
)
def test_same_traffic_passes(tmp_path: Path, switch: str, a: tuple[str, str], b: tuple[str, str]) -> None:
    with lan(tmp_path) as made:
        made.start_switch(switch)
        made.join(a=a, b=b)

        made.exchange()


@pytest.mark.parametrize("offload", ["yes", "no"])
def test_path_too_narrow_for_a_frame_carries_it_in_fragments(tmp_path: Path, offload: str) -> None:
    with lan(tmp_path, underlay_mtu=1280) as made:
        made.start_switch(offload)
        made.join(a=(offload, "yes"), b=(offload, "yes"))

        made.exchange()


NO_FRAGMENTS: Final = """
table ip narrow {
    chain first {
        type filter hook prerouting priority -450;
        ip frag-off & 0x3fff != 0 drop
    }
}
"""


@contextmanager
def lan_without_fragments(path: Path, mtu: int) -> Iterator[Lan]:
    """Give a LAN over a path of 1280 bytes that drops IP fragments, as some firewalls do."""
    require_program("nft", "nftables")
    with lan(path, mtu=mtu, underlay_mtu=1280) as made:
        rules = path / "rules"
        rules.write_text(NO_FRAGMENTS)
        for host in (made._underlay["S"], made.a, made.b):
            done = host.run(["nft", "-f", str(rules)])
            assert done.returncode == 0, done.stderr
        made.start_switch("yes")
        made.join(a=("yes", "yes"), b=("yes", "yes"))
        yield made


def test_path_that_drops_fragments_carries_what_fits(tmp_path: Path) -> None:
    with lan_without_fragments(tmp_path, mtu=1238) as made:  # 1280 - IPv4 (20), UDP (8), Ethernet (14)
        made.exchange()


def test_path_that_drops_fragments_loses_longer_frames_and_only_those(tmp_path: Path) -> None:
    with lan_without_fragments(tmp_path, mtu=1400) as made:
        wait_until("a ping", lambda: made.a.can_ping("10.1.1.2"))
        echo = ["ping", "-n", "-c", "2", "-W", "1", "-M", "do", "10.1.1.2", "-s"]

        fits = made.a.run([*echo, str(1238 - 28)])
        too_long = made.a.run([*echo, str(1239 - 28)])

        assert fits.stdout.count("bytes from") == 2
        assert too_long.stdout.count("bytes from") == 0
