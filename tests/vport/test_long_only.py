from __future__ import annotations

import argparse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vport.long_only import LongOnlyParser


def make_parser() -> LongOnlyParser:
    parser = LongOnlyParser(prog="p", add_help=False, allow_abbrev=False)
    parser.add_argument("port", nargs="?")
    parser.add_argument("-s", "--sock", "--vdesock", "--unix")
    parser.add_argument("-n", "--numports", type=int)
    parser.add_argument("-d", "--daemon", action="store_true")
    parser.add_argument("-x", "--hub", action="store_true")
    group = parser.add_argument_group("management")
    group.add_argument("-M", "--mgmt")
    group.add_argument("--mgmtmode")
    group.add_argument("-m", "--mode")
    parser.add_argument("-t", "--tap", action="append")
    return parser


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("-daemon -sock a.ctl -mgmt a.mgmt", {"daemon": True, "sock": "a.ctl", "mgmt": "a.mgmt"}),
        ("--unix=/x -vdeso /y", {"sock": "/y"}),
        ("-n8 -xd", {"numports": 8, "hub": True, "daemon": True}),
        ("-dn 8", {"daemon": True, "numports": 8}),
        ("-M/run/m --mgmtm 660", {"mgmt": "/run/m", "mgmtmode": "660"}),
        ("-mod 660", {"mode": "660"}),
        ("-n -3", {"numports": -3}),
        ("-t a -tap b --tap=c -tdd", {"tap": ["a", "b", "c", "dd"]}),
        ("-s -M -M -s", {"sock": "-M", "mgmt": "-s"}),
        ("9999 -x", {"port": "9999", "hub": True}),
        ("-x -- -9", {"port": "-9", "hub": True}),
    ],
)
def test_line_is_read_as_getopt_long_only_reads_it(line: str, expected: dict[str, object]) -> None:
    parsed = vars(make_parser().parse_args(line.split()))
    assert {name: value for name, value in parsed.items() if value} == expected


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("-mg x", "-mg is ambiguous: --mgmt, --mgmtmode"),
        ("--nosuch", "--nosuch"),
        ("--mgmt", "expected one argument"),
        ("-xyz", "unknown option -y in -xyz"),
        ("-q", "-q"),
        ("--daemon=1", "ignored explicit argument '1'"),
        ("1 2", "unrecognized arguments: 2"),
        ("-n x", "invalid int value: 'x'"),
    ],
)
def test_wrong_line_is_refused(line: str, complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        make_parser().parse_args(line.split())

    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err


@given(st.lists(st.text(alphabet="-=xdnsMmt8", max_size=5), max_size=6))
def test_any_line_is_read_or_refused(words: list[str]) -> None:
    parser = make_parser()
    parser.exit = refuse  # type: ignore[assignment] # argparse has no other way to keep from ending the program
    try:
        assert isinstance(parser.parse_args(words), argparse.Namespace)
    except RefusedLineError:
        return


class RefusedLineError(Exception):
    pass


def refuse(status: int = 0, message: str | None = None) -> None:
    raise RefusedLineError
