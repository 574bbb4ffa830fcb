from __future__ import annotations

import contextlib
import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.vswitch.any_settings import switch_settings
from vport.errors import SettingsError
from vport.ethernet import MacAddress, Vid
from vport.impairment import ImpairmentSettings, StateSettings, WireSettings
from vport.lan.description import read_lan
from vport.locator import parse
from vport.toml_lines import find_line
from vswitch.config import (
    DEFAULT_LISTENER,
    ManagementSettings,
    PortSettings,
    StaticStation,
    SwitchSettings,
    TreePort,
    TreeTimes,
)
from vswitch.config_file import read_config, write_config
from vswitch.fdb import FdbSettings
from vswitch.guards import AddressLimit, GuardSettings, LimitAction, MacFlapSettings, StormSettings
from vswitch.guards.port_guards import PortGuards
from vswitch.ports import NO_VLAN

WHOLE = """\
mac = "02:00:00:00:00:01"
numports = 64
hub = true
vlans = [
  10,
  20,
]
listen = ["udp://:9999"]
attach = ["host://10.1.1.9/24"]
plugins = ["iplog"]

[hash]
expire = 300

[management]
path = "/run/vswitch/mgmt"
mode = "0660"

[[port]]
number = 1
descr = "the trunk"
pvid = 4095
tagged = [10, 20]
attach = ["tap://tap0?mtu=1400"]

[[port]]
number = 7
pvid = 10
allocatable = false
user = "alice"

[port.guard]
bpdu = true
loop = false
storm = { broadcast = 100, unknown = 0 }
addresses = { limit = 2, action = "shutdown", recovery = 0 }

[port.impair]
loss = "LR1%"
delay = ["LR10ms", "RL20ms+5msN", "5ms[1]"]
fifo = false
markov-numnodes = 2
markov-name = ["good", "bad"]
markov-time = 50
setedge = [[0, 1, 10], [1, 0, 50]]

[guard]
loop-interval = 0
bpdu-recovery = 60
flap-moves = 9

[spanning-tree]
hello = 1
max-age = 6
forward-delay = 4

[[spanning-tree.port]]
vlan = 10
port = 3
cost = 2000
priority = 64
bonus = 100

[[static]]
mac = "02:00:00:00:00:02"
vlan = 10
port = 7
"""


def test_every_key_is_read() -> None:
    settings = read_config(WHOLE, "lan.toml")

    assert settings == SwitchSettings(
        mac=MacAddress(bytes.fromhex("020000000001")),
        port_limit=64,
        is_hub=True,
        vlans=(Vid(10), Vid(20)),
        listen=(parse("udp://:9999"),),
        attach=(parse("host://10.1.1.9/24"),),
        plugins=("iplog",),
        times=TreeTimes(hello_time=1, max_age=6, forward_delay=4),
        tree_ports=(TreePort(vid=Vid(10), port=3, cost=2000, priority=64, bonus=100),),
        guards=GuardSettings(is_looking_for_loops=False, bpdu_recovery=60, flap=MacFlapSettings(moves=9)),
        fdb=FdbSettings(aging_time=300),
        management=ManagementSettings(path="/run/vswitch/mgmt", mode=0o660),
        ports=(
            PortSettings(
                number=1,
                description="the trunk",
                pvid=NO_VLAN,
                tagged=(Vid(10), Vid(20)),
                attach=(parse("tap://tap0?mtu=1400"),),
            ),
            PortSettings(
                number=7,
                pvid=Vid(10),
                allocatable=False,
                user="alice",
                guards=PortGuards(
                    bpdu=True,
                    loop=False,
                    storm=StormSettings(broadcast=100, multicast=None, unknown_unicast=None),
                ),
                addresses=AddressLimit(limit=2, action=LimitAction.SHUTDOWN, recovery=None),
                impairment=WireSettings(
                    fifo=False,
                    states=(
                        StateSettings(
                            name="good",
                            left_to_right=ImpairmentSettings.read(loss="1%", delay="10ms"),
                            right_to_left=ImpairmentSettings.read(delay="20ms+5msN"),
                            edges=((1, 10),),
                        ),
                        StateSettings(
                            name="bad",
                            left_to_right=ImpairmentSettings.read(delay="5ms"),
                            right_to_left=ImpairmentSettings.read(delay="5ms"),
                            edges=((0, 50),),
                        ),
                    ),
                    period=0.05,
                ),
            ),
        ),
        stations=(StaticStation(mac=MacAddress(bytes.fromhex("020000000002")), port=7, vid=Vid(10)),),
    )


def test_empty_file_is_a_switch_with_the_default_listener() -> None:
    assert read_config("", "f") == SwitchSettings(listen=(DEFAULT_LISTENER,))


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("hub = true", "hub = yes", "lan.toml:3: column 7: Invalid value"),
        ("hub = true", "hub = 1", "lan.toml:3: hub: must be true or false, not 1"),
        ("hub = true", "hubb = true", "lan.toml:3: hubb: unknown key; known are mac, numports, hub, "),
        ("numports = 64", "numports = true", "lan.toml:2: numports: must be a number from 1 to"),
        ("numports = 64", "numports = 64.0", "lan.toml:2: numports: must be a number from 1 to"),
        ("numports = 64", "numports = 6", "lan.toml:27: port[1].number: port 7 is not from 1 to 6"),
        ("  20,\n", "  4095,\n", "lan.toml:4: vlans[1]: must be a number from 1 to 4094, not 4095"),
        ("  20,\n", "  10,\n", "lan.toml:4: vlans[1]: VLAN 10 stands there twice"),
        ("  20,\n", "", "lan.toml:22: port[0].tagged[1]: VLAN 20 is not declared: add it to vlans"),
        ('["udp://:9999"]', '"udp://:9999"', "lan.toml:8: listen: must be a list, not 'udp://:9999'"),
        ("udp://:9999", "udp://:0", "lan.toml:8: listen[0]: udp://:0: UDP or TCP port '0' is not a number"),
        ("expire = 300", "expire = 0", "lan.toml:13: hash.expire: must be a number from 1 to"),
        ('mode = "0660"', "mode = 660", "lan.toml:17: management.mode: must be a text in quotes, not 660"),
        ('mode = "0660"', 'mode = "rw"', "lan.toml:17: management.mode: 'rw' is not a file mode in octal"),
        ('path = "/run/vswitch/mgmt"\n', "", "lan.toml:15: management: path is missing"),
        ("[management]\n", "[[management]]\n", "lan.toml:15: management: must be a table, not [{"),
        ("number = 7", "number = 1", "lan.toml:27: port[1].number: port 1 stands there twice"),
        ("number = 7", 'number = "7"', "lan.toml:27: port[1].number: must be a number from"),
        ("number = 7", "pvvid = 7", "lan.toml:27: port[1].pvvid: unknown key; known are number, descr"),
        ("pvid = 10", "pvid = 11", "lan.toml:28: port[1].pvid: VLAN 11 is not declared"),
        ("pvid = 4095", "pvid = 20", "lan.toml:23: port[0].tagged[1]: VLAN 20 is the port's untagged one"),
        ("tap://tap0", "tap://a/b", "lan.toml:24: port[0].attach[0]: tap://a/b"),
        ("port = 7", "port = 65", "static[0].port: port 65 is not from 1 to 64"),
        ("00:00:00:02", "00:00:00:0g", "static[0].mac: "),
        ("00:00:00:02", "00:00:0002", "static[0].mac: "),
        ("vlan = 10\nport = 7", "vlan = 30\nport = 7", "static[0].vlan: VLAN 30 is not declared"),
        ("bpdu = true", "bpdu = 1", ":33: port[1].guard.bpdu: must be true or false, not 1"),
        ("loop = false", "loops = false", "port[1].guard.loops: unknown key; known are bpdu, root, "),
        ("broadcast = 100", "broadcast = -1", "port[1].guard.storm.broadcast: must be a number from 0 to "),
        ("limit = 2", "limit = 70000", "guard.addresses.limit: must be a number from 0 to 65535, not 70000"),
        ("limit = 2, ", "", "port[1].guard.addresses: limit is missing"),
        ('"shutdown"', '"shut"', "action: must be protect, restrict or shutdown, not 'shut'"),
        ("recovery = 0 ", "recovery = 0.5 ", "addresses.recovery: must be 0 or a number from 1 to 86400"),
        ('"LR1%"', '"1 percent"', ":39: port[1].impair.loss: loss: '1 percent' is not of the form"),
        ('"5ms[1]"', '"5ms[2]"', "port[1].impair.delay[2]: there is no state 2: 0 to 1"),
        ("numnodes = 2", "numnodes = 1", "port[1].impair.markov-name: 2 names for 1 states: set markov-numn"),
        ("[0, 1, 10]", "[0, 1, 110]", "port[1].impair.setedge[0]: must be a number from 0 to 100"),
        ("[0, 1, 10]", '"0,1,10"', "port[1].impair.setedge[0]: must be [FROM, TO, PERCENT], such as"),
        ("interval = 0", "interval = 61", "guard.loop-interval: must be 0 or a number from 0.1 to 60"),
        ("interval = 0", "interval = nan", "guard.loop-interval: must be 0 or a number from 0.1 to 60"),
        ("flap-moves = 9", "flap-moves = 1", ":50: guard.flap-moves: must be a number from 2 to 1000, not 1"),
        ("hello = 1", "hello = 0", ":53: spanning-tree.hello: must be a number from 1 to 10, not 0"),
        ("max-age = 6", "max-age = 7", ":54: spanning-tree.max-age: max age 7 s is above 6 s = 2 × ("),
        ("priority = 64", "priority = 65", "port priority 65 is not within 0 to 240 in steps of 16"),
        ("port = 3", "port = 65", "spanning-tree.port[0].port: port 65 is not from 1 to 64"),
        ("vlan = 10\nport = 3", "vlan = 9\nport = 3", "port[0].vlan: VLAN 9 is not declared"),
        ('["iplog"]', '["mine.py"]', "plugins[0]: must be a plugin's name or the absolute path of its file"),
        ('["iplog"]', '["iplog", "iplog"]', ":10: plugins[1]: iplog stands there twice"),
    ],
)  # fmt: skip
def test_wrong_file_is_refused_with_line_key_and_what_is_allowed(old: str, new: str, complaint: str) -> None:
    assert old in WHOLE

    with pytest.raises(SettingsError) as caught:
        read_config(WHOLE.replace(old, new), "lan.toml")

    assert complaint in str(caught.value)


def test_huge_and_deep_files_are_refused() -> None:
    with pytest.raises(SettingsError, match="too many"):
        read_config("#" * (2 << 20), "f")
    with pytest.raises(SettingsError, match=r"^f"):
        read_config("a = " + "[" * 100_000, "f")


def test_path_that_is_not_unicode_cannot_be_written() -> None:
    settings = SwitchSettings(management=ManagementSettings(path="/tmp/\udcff"))
    with pytest.raises(SettingsError, match="not Unicode"):
        write_config(settings)


def test_what_is_as_where_nothing_is_said_is_not_written() -> None:
    assert tomllib.loads(write_config(read_config("", "f"))) == {}
    assert tomllib.loads(write_config(SwitchSettings())) == {"listen": []}


# --- what is written reads back as the same ---


@given(switch_settings())
@example(SwitchSettings())
@example(read_config(WHOLE, "lan.toml"))
def test_written_then_read_is_the_same_settings(settings: SwitchSettings) -> None:
    assert read_config(write_config(settings), "f") == settings


@given(st.text(max_size=300) | st.lists(st.sampled_from(WHOLE.splitlines()), max_size=30).map("\n".join))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(SettingsError):
        settings = read_config(text, "f")
        assert read_config(write_config(settings), "f") == settings


def test_line_of_a_key_is_where_its_statement_begins() -> None:
    text = 'a = """\n[x]\nb = 1\n"""\nc = [\n  1,\n  # no\n  2]\n\n[x]\nb = {d = 1}\n'
    text += '[[y]]\n[[y]]\n  "e.f" = 1\r\n[y.z]\ng.h = 1\n[[y]]\n[[y.w]]\n[[y.w]]\nv = [\n[1],\n[2]]\n'
    for path, line in [
        (("a",), 1), (("c",), 5), (("c", 1), 5), (("x",), 10), (("x", "b", "d"), 11), (("y", 0), 12),
        (("y", 1), 13), (("y", 1, "e.f"), 14), (("y", 1, "z"), 15), (("y", 1, "z", "g", "h"), 16),
        (("y", 2), 17), (("y", 2, "w", 1), 19), (("y", 2, "w", 1, "v", 1), 20), (("nowhere",), 1),
    ]:  # fmt: skip
        assert find_line(text, path) == line, path


def test_line_is_found_in_a_long_file() -> None:
    vlans = "vlans = [\n" + "".join(f"  {vid},\n" for vid in range(1, 4095)) + "]\n"
    ports = "".join(f"[[port]]\nnumber = {number}\n" for number in range(1, 20_000))

    with pytest.raises(SettingsError, match=r"^f:44098: port\[19999\]\.number: port 7 stands there twice"):
        read_config(f"numports = 30000\n{vlans}{ports}\n[[port]]\nnumber = 7", "f")


@given(st.text(alphabet='[]"=a.\n #\\', max_size=60))
def test_any_document_has_a_line_for_any_path(text: str) -> None:
    with contextlib.suppress(tomllib.TOMLDecodeError):
        for key in tomllib.loads(text):
            assert 1 <= find_line(text, (key,)) <= text.count("\n") + 1


def test_examples_are_right() -> None:
    root = Path(__file__).parents[2]
    lan, shown = re.findall(r"```toml\n(.*?)```", (root / "README.md").read_text(), re.DOTALL)
    assert read_lan(lan, "README.md").namespaces[0].name == "web"
    assert read_config(shown, "README.md").ports[0].tagged == (20,)
    example = root / "examples" / "systemd" / "vswitch.toml"
    assert read_config(example.read_text(), str(example)).ports[1].pvid == 10


def test_plugins_path_has_one_form() -> None:
    assert read_config('plugins = ["/opt//mine.py"]', "f").plugins == ("/opt/mine.py",)
    with pytest.raises(SettingsError, match="stands there twice"):
        read_config('plugins = ["/opt//mine.py", "/opt/mine.py"]', "f")
