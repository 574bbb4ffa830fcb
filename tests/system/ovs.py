"""Open vSwitch with its userspace datapath in a namespace: started by hand, apart from the system's."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from tests.system.namespaces import inside, run
from tests.system.processes import Process
from tests.system.requirements import require_program, require_tun
from tests.system.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"


class OpenVSwitch:
    """A bridge ``br0``."""

    def __init__(self, namespace: str, database: str) -> None:
        self._namespace = namespace
        self._database = database

    def configure(self, *arguments: str) -> None:
        """Run ovs-vsctl."""
        inside(self._namespace, "ovs-vsctl", f"--db={self._database}", "--timeout=10", *arguments)

    def add_port(self, device: str, *columns: str) -> None:
        """Add a device to the bridge, with columns of its record such as ``tag=10``."""
        self.configure("add-port", "br0", device, *columns)


@contextmanager
def open_vswitch(namespace: str, directory: Path) -> Iterator[OpenVSwitch]:
    """Run Open vSwitch with an empty bridge until the body ends."""
    require_tun()
    for program in ("ovsdb-tool", "ovsdb-server", "ovs-vswitchd", "ovs-vsctl"):
        require_program(program, "openvswitch-switch")
    directory.mkdir()
    run("ovsdb-tool", "create", str(directory / "conf.db"), SCHEMA)
    socket = directory / "db.sock"
    start = ["ip", "netns", "exec", namespace, "env", f"OVS_RUNDIR={directory}", f"OVS_LOGDIR={directory}"]
    server = ["ovsdb-server", f"--remote=punix:{socket}", f"--unixctl={directory}/db.ctl"]
    daemon = ["ovs-vswitchd", f"--unixctl={directory}/vs.ctl", f"unix:{socket}"]
    with ExitStack() as stack:
        stack.enter_context(Process([*start, *server, str(directory / "conf.db")], directory / "db.log"))
        wait_until("Open vSwitch's database", socket.exists)
        switch = OpenVSwitch(namespace, f"unix:{socket}")
        switch.configure("--no-wait", "init")
        stack.enter_context(Process([*start, *daemon], directory / "vs.log"))
        switch.configure("add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev")
        yield switch
        switch.configure("del-br", "br0")  # with its device, before the namespace goes
