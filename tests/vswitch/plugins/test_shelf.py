"""Plugins are loaded, asked, and taken out when they fail; the switch never notices."""

from __future__ import annotations

import sys
from errno import EEXIST, EINVAL, EIO, ENOENT
from typing import TYPE_CHECKING, ClassVar

import pytest
import trio

from tests.vport.flows import Flow
from tests.vswitch.links_in_memory import RecordingLink
from tests.vswitch.management.small_switch import SmallSwitch
from vport.ethernet import BROADCAST
from vport.shell.command import Command, Menu, Reply, Session, command, execute
from vport.shell.message import Category
from vport.slices import slice_up
from vport.train import SLICES, Train, lone
from vswitch.plugins import Plugin, PluginHost
from vswitch.ports import DiscardReason

if TYPE_CHECKING:
    from pathlib import Path

    from vswitch.events import Event
    from vswitch.fabric import Place
    from vswitch.management.control import Control
    from vswitch.ports import Port

FRAME = BROADCAST + bytes.fromhex("02000000000a0800") + bytes(46)


class Lan:
    """Two links on a switch with plugins."""

    def __init__(self) -> None:
        self.switch = SmallSwitch()
        self.links = [RecordingLink(), RecordingLink()]
        self.places: list[Place] = [self.switch.fabric.attach(link) for link in self.links]

    def send(self, frame: bytes = FRAME) -> list[bytes]:
        """Send from the first link; give what came out at the second."""
        self.links[1].sent.clear()
        self.places[0].deliver(lone(frame))
        self.places[0].flush()
        return self.links[1].sent

    def ask(self, line: str) -> Reply:
        async def main() -> Reply:
            return await execute(self.switch, Session(self.switch.catalog), line)

        return trio.run(main)

    def names(self) -> list[str]:
        return [plugin.name for plugin in self.switch.plugins.loaded]


class Quiet(Plugin):
    name = "quiet"
    help = "takes everything out"

    def ingress(self, port: Port, train: Train) -> Train | None:
        return None


class Rewriter(Plugin):
    name = "rewriter"
    help = "changes the last byte on the way out"

    def egress(self, port: Port, train: Train) -> Train | None:
        return Train(bytes(train.data[:-1]) + b"!", train.frame_size)


class Witness(Plugin):
    name = "witness"
    help = "keeps what comes in"
    seen: ClassVar[list[Train]] = []

    def ingress(self, port: Port, train: Train) -> Train | None:
        self.seen.append(train.copy())
        return train


class Vandal(Plugin):
    name = "vandal"
    help = "writes into what it was lent"

    def ingress(self, port: Port, train: Train) -> Train | None:
        train.data[0] = 0  # type: ignore[index]
        return train


class Broken(Plugin):
    """Fails in every hook; ``where`` says in which it starts."""

    name = "broken"
    help = "fails"
    where = ""

    def __init__(self, host: PluginHost) -> None:
        super().__init__(host)
        if self.where == "start":
            raise RuntimeError("no start")
        self.categories = (Category("broken/x", 0o500, "x"),)
        self.menus = (Menu("broken", "BROKEN", tuple(self._commands())),)

    def _commands(self) -> list[Command]:
        def fail(control: Control, session: Session) -> Reply:
            raise RuntimeError("no command")

        def fail_late(control: Control, session: Session) -> Reply:
            return Reply(str(1 // number) for number in (1, 0))

        async def fail_async(control: Control, session: Session) -> Reply:
            await trio.lowlevel.checkpoint()
            raise RuntimeError("no command")

        return [
            command("broken/now", "fail", prints=True)(fail),
            command("broken/late", "fail", prints=True)(fail_late),
            command("broken/async", "fail")(fail_async),
        ]

    def ingress(self, port: Port, train: Train) -> Train | None:
        if self.where == "ingress":
            raise RuntimeError("no ingress")
        return "not a train" if self.where == "type" else train  # type: ignore[return-value]

    def egress(self, port: Port, train: Train) -> Train | None:
        if self.where == "egress":
            raise RuntimeError("no egress")
        return train

    def event(self, event: Event) -> None:
        if self.where == "event":
            raise RuntimeError("no event")

    def close(self) -> None:
        raise RuntimeError("no close")


def broken(where: str) -> type[Broken]:
    return type("Broken", (Broken,), {"where": where})


def test_switch_without_plugins_relays_with_the_bridge_itself() -> None:
    lan = Lan()
    bare = lan.switch.bridge.receive
    assert lan.switch.fabric.relay == bare
    lan.switch.plugins.start(Quiet)
    assert lan.switch.fabric.relay != bare
    lan.switch.plugins.unload("quiet")
    assert lan.switch.fabric.relay == bare


def test_filter_takes_frames_out_and_they_are_counted() -> None:
    lan = Lan()
    lan.switch.plugins.start(Quiet)

    assert lan.send() == []

    port = lan.places[0].endpoint.port
    assert (port.counters.frames_in, port.counters.bytes_in) == (1, len(FRAME))
    assert list(port.counters.discards.items()) == [("a plugin took it out", 1)]
    assert len(lan.switch.bridge.fdb) == 0
    assert lan.switch.plugins.unload("quiet")
    assert lan.send() == [FRAME]


def test_filter_replaces_what_leaves() -> None:
    lan = Lan()
    lan.switch.plugins.start(Rewriter)
    assert lan.send() == [FRAME[:-1] + b"!"]


def test_plugins_see_frames_where_slices_come_in() -> None:
    lan = Lan()
    lan.switch.plugins.start(Witness)
    data, header = Flow().superframe(bytes(3000), 1000)
    made = slice_up(Train(data, 1054, header))
    assert made is not None

    lan.places[0].deliver(made)
    lan.places[0].deliver(Train(bytes([*made.data[:6], 3]) + bytes(53), 60, SLICES))  # no slice at all
    lan.places[0].flush()

    assert [bytes(one) for one in Witness.seen.pop().frames()] == list(Flow().frames(bytes(3000), 1000))
    assert not Witness.seen
    assert lan.places[0].endpoint.port.counters.discards[DiscardReason.MALFORMED] == 1


def test_plugin_that_writes_into_a_frame_is_unloaded_and_the_frame_is_whole() -> None:
    lan = Lan()
    lan.switch.plugins.start(Vandal)
    assert lan.send() == [FRAME]
    assert lan.names() == []


@pytest.mark.parametrize("where", ["ingress", "egress", "event", "type"])
def test_plugin_that_fails_is_unloaded_and_frames_go_on(where: str, caplog: pytest.LogCaptureFixture) -> None:
    lan = Lan()
    own = lan.switch.categories
    lan.switch.plugins.start(broken(where))
    assert len(lan.switch.categories) == len(own) + 1

    assert lan.send() == [FRAME]

    assert lan.names() == []
    assert "plugin broken failed and is unloaded" in caplog.text
    assert lan.ask("broken/now").errno == 38
    assert lan.switch.categories == own
    assert lan.send() == [FRAME]


@pytest.mark.parametrize("name", ["now", "late", "async"])
def test_command_that_fails_is_an_error_of_its_session(name: str) -> None:
    lan = Lan()
    lan.switch.plugins.start(broken(""))
    reply = lan.ask(f"broken/{name}")
    assert reply.errno == EIO
    assert "plugin broken failed and was unloaded" in reply.detail
    assert lan.names() == []


def test_what_cannot_start_is_not_loaded() -> None:
    lan = Lan()
    for kind in (
        broken("start"),
        type("Clash", (Broken,), {"name": "clash", "_commands": lambda self: [_named("port/print")]}),
        type("Foreign", (Broken,), {"name": "foreign"}),
    ):
        with pytest.raises(Exception, match=r"cannot start|is a command|does not start with"):
            lan.switch.plugins.start(kind)
    assert lan.names() == []
    assert lan.ask("broken/now").errno == 38


def _named(path: str) -> Command:
    return command(path, "x")(lambda control, session: None)


# --- finding them ---

PLUGIN = """
from vswitch.plugins import Plugin
class Mine(Plugin):
    name = "mine"
    help = "nothing"
"""


def test_plugin_is_loaded_from_a_file_listed_and_unloaded(tmp_path: Path) -> None:
    lan = Lan()
    path = tmp_path / "my plugin.py"
    path.write_text(PLUGIN)
    assert lan.ask("plugin/list").errno == ENOENT
    assert lan.ask(f"plugin/add {path}").errno == 0
    assert lan.ask(f"plugin/add {path}").errno == EEXIST
    assert list(lan.ask("plugin/list m").lines or ())[2:] == ["mine                   nothing"]
    assert lan.ask("plugin/list x").errno == ENOENT
    assert lan.ask("plugin/del nosuch").errno == ENOENT
    assert lan.ask("plugin/del mine").errno == 0
    assert lan.ask("plugin/list").errno == ENOENT


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import nosuch_module", "cannot be imported: ModuleNotFoundError"),
        ("x = (", "cannot be imported: SyntaxError"),
        ("", "defines 0 subclasses"),
        (PLUGIN + "class Other(Mine): pass", "defines 2 subclasses"),
        (PLUGIN.replace("help", "halp"), "does not say its help"),
    ],
)
def test_file_that_is_no_plugin_is_told(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "bad.py"
    path.write_text(text)
    reply = Lan().ask(f"plugin/add {path}")
    assert reply.errno == EINVAL
    assert said in reply.detail


def test_native_plugin_is_refused_without_being_opened(tmp_path: Path) -> None:
    path = tmp_path / "dump.so"
    path.write_bytes(b"\x7fELF")
    reply = Lan().ask(f"plugin/add {path}")
    assert reply.errno == EINVAL
    assert "its name must end in .py" in reply.detail


def test_missing_plugin_is_told_with_those_there_are(tmp_path: Path) -> None:
    reply = Lan().ask("plugin/add nosuch")
    assert reply.errno == ENOENT
    assert "there are: dump, iplog" in reply.detail
    assert Lan().ask(f"plugin/add {tmp_path}/nosuch.py").errno == ENOENT
    assert Lan().ask("plugin/add").errno == EINVAL


def test_plugin_of_an_installed_package_is_found_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "installed_plugin.py").write_text(PLUGIN)
    metadata = tmp_path / "installed-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: installed\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[vswitch.plugins]\nmine = installed_plugin:Mine\nwrong = installed_plugin:Plugin.name\n"
        "number = sys:maxsize\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    lan = Lan()
    assert lan.ask("plugin/add mine").errno == 0
    assert lan.ask("plugin/add wrong").errno == EINVAL
    assert lan.ask("plugin/add number").errno == EINVAL
    assert "mine" in lan.ask("plugin/add nosuch").detail
    sys.modules.pop("installed_plugin", None)
