from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vport.errors import SettingsError
from vport.ethernet import MacAddress, Vid
from vport.locator import Locator, parse
from vswitch.config import (
    DEFAULT_LISTENER,
    ManagementSettings,
    PortSettings,
    StaticStation,
    SwitchSettings,
)
from vswitch.config_file import read_config, write_config
from vswitch.fdb import FdbSettings
from vswitch.ports import NO_VLAN
from vswitch.toml_lines import find_line

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
            PortSettings(number=7, pvid=Vid(10), allocatable=False, user="alice"),
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
        ("numports = 64", "numports = 6", "lan.toml:26: port[1].number: port 7 is not from 1 to 6"),
        ("  20,\n", "  4095,\n", "lan.toml:4: vlans[1]: must be a number from 1 to 4094, not 4095"),
        ("  20,\n", "  10,\n", "lan.toml:4: vlans[1]: VLAN 10 stands there twice"),
        ("  20,\n", "", "lan.toml:21: port[0].tagged[1]: VLAN 20 is not declared: add it to vlans"),
        ('["udp://:9999"]', '"udp://:9999"', "lan.toml:8: listen: must be a list, not 'udp://:9999'"),
        ("udp://:9999", "udp://:0", "lan.toml:8: listen[0]: udp://:0: UDP or TCP port '0' is not a number"),
        ("expire = 300", "expire = 0", "lan.toml:12: hash.expire: must be a number from 1 to"),
        ('mode = "0660"', "mode = 660", "lan.toml:16: management.mode: must be a text in quotes, not 660"),
        ('mode = "0660"', 'mode = "rw"', "lan.toml:16: management.mode: 'rw' is not a file mode in octal"),
        ('path = "/run/vswitch/mgmt"\n', "", "lan.toml:14: management: path is missing"),
        ("[management]\n", "[[management]]\n", "lan.toml:14: management: must be a table, not [{"),
        ("number = 7", "number = 1", "lan.toml:26: port[1].number: port 1 stands there twice"),
        ("number = 7", 'number = "7"', "lan.toml:26: port[1].number: must be a number from"),
        ("number = 7", "pvvid = 7", "lan.toml:26: port[1].pvvid: unknown key; known are number, descr"),
        ("pvid = 10", "pvid = 11", "lan.toml:27: port[1].pvid: VLAN 11 is not declared"),
        ("pvid = 4095", "pvid = 20", "lan.toml:22: port[0].tagged[1]: VLAN 20 is the port's untagged one"),
        ("tap://tap0", "tap://a/b", "lan.toml:23: port[0].attach[0]: tap://a/b"),
        ("port = 7", "port = 65", "lan.toml:34: static[0].port: port 65 is not from 1 to 64"),
        ("00:00:00:02", "00:00:00:0g", "lan.toml:32: static[0].mac: "),
        ("00:00:00:02", "00:00:0002", "lan.toml:32: static[0].mac: "),
        ("vlan = 10", "vlan = 30", "lan.toml:33: static[0].vlan: VLAN 30 is not declared"),
    ],
)  # fmt: skip
def test_wrong_file_is_refused_with_line_key_and_what_is_allowed(old: str, new: str, complaint: str) -> None:
    assert old in WHOLE

    with pytest.raises(SettingsError) as caught:
        read_config(WHOLE.replace(old, new), "lan.toml")

    assert complaint in str(caught.value)


def test_huge_and_deep_files_are_refused() -> None:
    with pytest.raises(SettingsError, match="too many"):
        read_config("#" * (5 << 20), "f")
    with pytest.raises(SettingsError, match=r"^f"):
        read_config("a = " + "[" * 100_000, "f")


def test_path_that_is_not_unicode_cannot_be_written() -> None:
    settings = SwitchSettings(management=ManagementSettings(path="/tmp/\udcff"))
    with pytest.raises(SettingsError, match="not Unicode"):
        write_config(settings)


# --- what is written reads back as the same ---

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20)
macs = st.binary(min_size=6, max_size=6).map(lambda data: MacAddress(bytes([data[0] & 0xFE | 2]) + data[1:]))
locators: st.SearchStrategy[tuple[Locator, ...]] = st.lists(
    st.sampled_from(
        [
            "udp://:9999",
            "udp://[fd00::1]:7?idle=5&mac=02:00:00:00:00:01",
            "tap://t%25p0?mtu=1400&address=10.1.1.1/24&address=fd00::1/64&offload=no",
            "host://10.1.1.1/24?ping=10.1.1.2",
        ]
    ).map(parse),
    max_size=3,
).map(tuple)


@st.composite
def switch_settings(draw: st.DrawFn) -> SwitchSettings:
    limit = draw(st.integers(1, 65535))
    vlans = draw(st.lists(st.integers(1, 4094).map(Vid), unique=True, max_size=6))
    vids = st.sampled_from([Vid(0), *vlans])
    numbers = draw(st.lists(st.integers(1, limit), unique=True, max_size=5))
    return SwitchSettings(
        listen=draw(locators),
        attach=draw(locators),
        management=draw(st.none() | management_settings),
        mac=draw(st.none() | macs),
        is_hub=draw(st.booleans()),
        is_fstp=draw(st.booleans()),
        priority=draw(st.integers(0, 0xFFFF)),
        port_limit=limit,
        fdb=draw(fdb_settings),
        vlans=tuple(vlans),
        ports=tuple(draw(port_settings(number, vids)) for number in numbers),
        stations=tuple(
            StaticStation(mac=mac, port=draw(st.integers(1, limit)), vid=draw(vids))
            for mac in draw(st.lists(macs, unique=True, max_size=3))
        ),
    )


def port_settings(number: int, vids: st.SearchStrategy[Vid]) -> st.SearchStrategy[PortSettings]:
    def make(pvid: Vid, tagged: list[Vid], **values: Any) -> PortSettings:
        return PortSettings(
            number=number, pvid=pvid, tagged=tuple(vid for vid in tagged if vid != pvid), **values
        )

    return st.builds(
        make,
        vids | st.just(NO_VLAN),
        st.lists(vids, unique=True, max_size=3),
        description=texts,
        allocatable=st.booleans(),
        user=st.none() | words,
        group=st.none() | words,
        attach=locators,
    )


management_settings = st.builds(
    ManagementSettings, path=words, mode=st.integers(0, 0o777), group=st.none() | words
)
fdb_settings = st.builds(
    FdbSettings,
    aging_time=st.integers(1, 1_000_000),
    collect_interval=st.integers(0, 1_000_000),
    min_persistence=st.integers(0, 1_000_000),
    capacity=st.integers(10, 1 << 20),
    buckets=st.integers(1, 1 << 20),
)


@given(switch_settings())
@example(SwitchSettings())
def test_written_then_read_is_the_same_settings(settings: SwitchSettings) -> None:
    assert read_config(write_config(settings), "f") == settings


@given(st.text(max_size=300) | st.lists(st.sampled_from(WHOLE.splitlines()), max_size=30).map("\n".join))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(SettingsError):
        settings = read_config(text, "f")
        assert read_config(write_config(settings), "f") == settings


def test_line_of_a_key_is_where_its_statement_begins() -> None:
    text = 'a = """\n[x]\nb = 1\n"""\nc = [\n  1,\n  # no\n  2]\n\n[x]\nb = {d = 1}\n'
    text += '[[y]]\n[[y]]\n  "e.f" = 1\r\n'
    for path, line in [
        (("a",), 1), (("c",), 5), (("c", 1), 5), (("x",), 10), (("x", "b", "d"), 11), (("y", 0), 12),
        (("y", 1), 13), (("y", 1, "e.f"), 14),
    ]:  # fmt: skip
        assert find_line(text, path) == line
