"""Doing and undoing the steps of a plan on this machine: the kernel, nftables, the processes of cables.

All of it is idempotent: a step that is done again changes nothing, and what is not there is undone already.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final, assert_never

from vport.errors import LinkError
from vport.lan.plan import Forward, MakeBridge, MakeNamespace, PlugIn, RunCable, Translate
from vport.lan.processes import end_all, with_argument
from vport.nat import add_nat, has_table, is_forwarding, nat_rules, remove_nat, set_forwarding
from vport.netdev import Kernel
from vport.netns import add_namespace, namespace, namespace_exists, remove_namespace

if TYPE_CHECKING:
    from collections.abc import Callable

    from vport.lan.description import Bridge, Namespace
    from vport.lan.plan import Step

START_SECONDS: Final = 30.0  # that a cable may take until it works
_PACKAGES: Final = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Machine:
    """This machine, or the network namespace that plays it.

    Args:
        netns: the namespace.
        pidfile: gives the path of the PID file of the process for a TAP device.
    """

    def __init__(self, netns: str | None, pidfile: Callable[[str], str]) -> None:
        self._netns = netns
        self._pidfile = pidfile

    def has(self, step: Step) -> bool:
        """Whether what a step makes is there, by whomever. Raises LinkError."""
        with namespace(self._netns), Kernel() as kernel:
            match step:
                case MakeNamespace():
                    return namespace_exists(step.name)
                case MakeBridge():
                    return kernel.find(step.bridge.name) is not None
                case PlugIn():
                    return kernel.find(step.namespace.veth) is not None
                case Forward():
                    return is_forwarding(step.version)
                case Translate():
                    return has_table(step.table)
                case RunCable():
                    return kernel.find(step.tap.name) is not None
        assert_never(step)

    def require_device(self, name: str) -> None:
        """Raise LinkError if this machine has no device of that name."""
        with namespace(self._netns), Kernel() as kernel:
            kernel.get(name)

    def memory(self, step: Step) -> dict[str, Any]:
        """Give what undoing a step needs to know of the time before it."""
        if isinstance(step, Forward):
            return {"was_on": self.has(step)}
        return {}

    def do(self, step: Step) -> None:
        """Do a step. Raises LinkError."""
        with namespace(self._netns), Kernel() as kernel:
            match step:
                case MakeNamespace():
                    _make_namespace(step.name)
                case MakeBridge():
                    _make_bridge(kernel, step.bridge)
                case PlugIn():
                    _plug_in(kernel, step.namespace, step.mtu)
                case Forward():
                    set_forwarding(step.version, True)
                case Translate():
                    rules = nat_rules(step.table, step.nat.outside, step.networks, step.nat.forwards)
                    add_nat(step.table, rules)
                case RunCable():
                    self._run_cable(step)
                case _:
                    assert_never(step)

    def undo(self, step: Step, memory: dict[str, Any]) -> None:
        """Undo a step that was done, or begun. Raises LinkError."""
        if isinstance(step, MakeNamespace):
            remove_namespace(step.name)
            return
        if isinstance(step, RunCable):
            end_all(self._pidfile(step.tap.name))
            return
        if self._netns is not None and not namespace_exists(self._netns):
            return  # the machine has gone, and with it all the rest
        with namespace(self._netns), Kernel() as kernel:
            match step:
                case MakeBridge():
                    kernel.delete(step.bridge.name)
                case PlugIn():
                    kernel.delete(step.namespace.veth)
                case Forward():
                    if not memory.get("was_on", True):
                        set_forwarding(step.version, False)
                case Translate():
                    remove_nat(step.table)
                case _:
                    assert_never(step)

    def pids(self, step: RunCable) -> list[int]:
        """Give the process of a cable."""
        return with_argument(self._pidfile(step.tap.name))

    def _run_cable(self, step: RunCable) -> None:
        """Start the process of a cable, unless it runs; it works when this returns."""
        if self.pids(step):
            return
        command = [sys.executable, "-m", "vport.cli", str(step.tap), str(step.remote)]
        command += ["--daemon", "--pidfile", self._pidfile(step.tap.name)]
        paths = [_PACKAGES, *filter(None, [os.environ.get("PYTHONPATH")])]
        try:
            done = subprocess.run(
                command,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                timeout=START_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise LinkError(f"cannot start the cable of {step.tap.name}: {error}") from error
        if done.returncode != 0:
            words = done.stderr.strip().removeprefix("vport: error: ") or f"exit status {done.returncode}"
            raise LinkError(f"the cable of {step.tap.name} does not work: {words}")


def _make_namespace(name: str) -> None:
    add_namespace(name)
    with namespace(name), Kernel() as kernel:
        kernel.set_up("lo")


def _make_bridge(kernel: Kernel, bridge: Bridge) -> None:
    kernel.add_bridge(bridge.name)
    if bridge.mtu is not None:
        kernel.set_mtu(bridge.name, bridge.mtu)
    for address in bridge.addresses:
        kernel.add_address(bridge.name, address)
    kernel.set_up(bridge.name)


def _plug_in(kernel: Kernel, host: Namespace, mtu: int | None) -> None:
    kernel.add_veth(host.veth, host.device, host.name)
    if mtu is not None:
        kernel.set_mtu(host.veth, mtu)
    kernel.join_bridge(host.veth, host.bridge)
    kernel.set_up(host.veth)
    with namespace(host.name), Kernel() as inside:
        if mtu is not None:
            inside.set_mtu(host.device, mtu)
        for address in host.addresses:
            inside.add_address(host.device, address)
        inside.set_up(host.device)
        for gateway in host.gateways:
            inside.set_default_route(gateway)
