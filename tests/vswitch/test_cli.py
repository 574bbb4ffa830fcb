from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from vport.errors import SettingsError
from vport.locator import parse
from vswitch.cli import find_rcfile, read_settings
from vswitch.config import DEFAULT_LISTENER, ManagementSettings, PortSettings, SwitchSettings
from vswitch.fdb import FdbSettings
from vswitch.options import make_parser

if TYPE_CHECKING:
    from pathlib import Path


def settings(line: str) -> SwitchSettings:
    return read_settings(make_parser().parse_args(line.split()))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", SwitchSettings(listen=(DEFAULT_LISTENER,))),
        ("9999", SwitchSettings(listen=(parse("udp://:9999"),))),
        ("7 --listen udp://:8", SwitchSettings(listen=(parse("udp://:7"), parse("udp://:8")))),
        ("-n 8 -x", SwitchSettings(listen=(DEFAULT_LISTENER,), port_limit=8, is_hub=True)),
        ("-numports 0x10", SwitchSettings(listen=(DEFAULT_LISTENER,), port_limit=16)),
        ("-F --priority 0x1000", SwitchSettings(listen=(DEFAULT_LISTENER,), is_fstp=True, priority=4096)),
        ("--hashsize 1000", SwitchSettings(listen=(DEFAULT_LISTENER,), fdb=FdbSettings(buckets=1024))),
        ("--hashsize 0", SwitchSettings(listen=(DEFAULT_LISTENER,), fdb=FdbSettings(buckets=1))),
        ("--macaddr 2.11.22.33.44.55 -D 5", SwitchSettings(
            listen=(DEFAULT_LISTENER,), mac=parse("tap://x?mac=02:11:22:33:44:55").mac)),  # type: ignore[attr-defined]
        ("-t tap0 --tap tap1 -a host://10.1.1.1/24", SwitchSettings(
            listen=(DEFAULT_LISTENER,),
            attach=(parse("tap://tap0"), parse("tap://tap1"), parse("host://10.1.1.1/24")))),
        ("-mgmt /run/m --mgmtmode 660 --mgmtgroup l", SwitchSettings(
            listen=(DEFAULT_LISTENER,), management=ManagementSettings(path="/run/m", mode=0o660, group="l"))),
    ],
)  # fmt: skip
def test_options_become_settings(line: str, expected: SwitchSettings) -> None:
    assert settings(line) == expected


def test_relative_management_path_is_resolved_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert settings("-M here").management == ManagementSettings(path=str(tmp_path / "here"))


def test_options_override_the_file_and_leave_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "lan.toml"
    path.write_text(
        'numports = 8\nhub = true\nattach = ["tap://a"]\n[hash]\nexpire = 5\n'
        '[management]\npath = "/run/m"\nmode = "0660"\n[[port]]\nnumber = 3\n'
    )

    assert settings(f"--config {path} -n 16 --mgmt /run/other --fdb-size 9 -t b") == SwitchSettings(
        listen=(DEFAULT_LISTENER,),
        attach=(parse("tap://b"),),
        port_limit=16,
        is_hub=True,
        fdb=FdbSettings(aging_time=5, capacity=9),
        management=ManagementSettings(path="/run/other", mode=0o660),
        ports=(PortSettings(number=3),),
    )


def test_option_that_contradicts_the_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "lan.toml"
    path.write_text("[[port]]\nnumber = 7\n")
    with pytest.raises(SettingsError, match="port 7 is not from 1 to 4"):
        settings(f"--config {path} -n 4")


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("--nosuchoption", "--nosuchoption"),
        ("junk", "'junk' is not a number from 1 to 65535"),
        ("-n abc", "'abc' is not a number from 1 to 65535"),
        ("-n -3", "'-3' is not a number from 1 to 65535"),
        ("-n 0xzz", "'0xzz' is not a number"),
        ("--hashsize -5", "'-5' is not a number from 0 to"),
        ("--priority 65536", "'65536' is not a number from 0 to 65535"),
        ("--macaddr 021122334455", "021122334455"),
        ("--mgmtmode 888", "'888' is not a file mode in octal"),
        ("-t a/b", "'a/b' is not a device name"),
        ("-mg x", "ambiguous"),
    ],
)
def test_wrong_option_is_refused_with_what_is_right(
    line: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        settings(line)

    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err


def test_missing_files_that_were_named_are_refused(tmp_path: Path) -> None:
    for line in (f"--config {tmp_path / 'no.toml'}", f"--config {tmp_path}"):
        with pytest.raises(SettingsError, match="cannot read"):
            settings(line)
    with pytest.raises(SettingsError, match="cannot read"):
        find_rcfile(str(tmp_path / "no.rc"), {})


def test_rcfile_is_looked_for_at_home(tmp_path: Path) -> None:
    environment = {"XDG_CONFIG_HOME": str(tmp_path)}
    mine = tmp_path / "vswitch" / "rc"
    assert find_rcfile(None, environment) != str(mine)
    mine.parent.mkdir()
    mine.write_text("")

    assert find_rcfile(None, environment) == str(mine)
    assert find_rcfile(str(mine), {}) == str(mine)


def test_file_with_a_preshared_key_is_for_its_owner_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "lan.toml"
    path.write_text(
        '[[wireguard]]\nlisten = "wg://:51820"\n[[wireguard.peer]]\n'
        f'public-key = "{"A" * 42}I="\npreshared-key = "{"A" * 42}M="\n'
    )
    path.chmod(0o600)
    (listener,) = settings(f"--config {path}").wireguard
    assert len(listener.peers) == 1
    assert not caplog.records
    path.chmod(0o640)
    assert (
        settings(f"--config {path} --listen udp://:7").wireguard == ()
    )  # listeners are replaced, all of them
    assert f"chmod 600 {path}" in caplog.text
