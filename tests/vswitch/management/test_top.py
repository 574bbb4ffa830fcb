"""Ports by rate, and what ``watch`` and ``top`` take."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vswitch.management.small_switch import SmallSwitch
from vport.errors import SettingsError
from vswitch.management.port_text import port_document
from vswitch.management.top import HEADER, rates, read_ports, short, table
from vswitch.management.watch import Watch, read_watch, screenful


def ports(**values: Any) -> list[str]:
    switch = SmallSwitch()
    for number in (1, 2):
        endpoint = switch.plug(f"cable {number}", number)
        if number == 2:
            for name, value in values.items():
                setattr(endpoint.port.counters, name, value)
            endpoint.link.discards["full"] = 3
    return ["[", ",".join(json.dumps(port_document(port)) for port in switch.bridge.ports), "]"]


def test_busiest_port_comes_first_with_its_rates() -> None:
    before = read_ports(ports(bytes_in=1000, frames_in=10))
    after = read_ports(ports(bytes_in=2_001_000, frames_in=2010, bytes_out=100, frames_out=1))

    assert table(rates(before, after, 2.0)) == [
        HEADER,
        "    2     8.00 M    1.00 k        400         0       0  cable 2",
        "    1          0         0          0         0       0  cable 1",
    ]


def test_port_that_is_new_or_was_reset_counts_from_zero() -> None:
    after = read_ports(ports(frames_in=4))
    for before in ({}, read_ports(ports(frames_in=100))):
        assert [one.frames_in for one in rates(before, after, 1.0)] == [0, 4]


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (999, "999"), (1000, "1.00 k"), (12345, "12.3 k"), (123456, "123 k"), (9.87e9, "9.87 G")],
)
def test_numbers_are_short(number: float, text: str) -> None:
    assert short(number) == text


@given(st.text() | st.just("[1]") | st.just('[{"port": 1}]') | st.just("{}"))
def test_what_is_no_list_of_ports_is_an_error(text: str) -> None:
    with suppress(ValueError):
        assert read_ports([text]) == {}


@pytest.mark.parametrize(
    ("line", "watch"),
    [
        ("watch port/print", Watch("port/print", 2.0)),
        ("watch 0.5 port/print 3", Watch("port/print 3", 0.5)),
        ("top", Watch(None, 1.0)),
        ("top 5", Watch(None, 5.0)),
        ("port/print", None),
        ("watchport/print", None),
        ("", None),
    ],
)
def test_lines_of_the_console_are_told_from_the_switchs(line: str, watch: Watch | None) -> None:
    assert read_watch(line) == watch


@pytest.mark.parametrize("line", ["watch", "watch 3", "watch 0 help", "watch 9e9 help", "top x", "top nan"])
def test_wrong_watching_is_told(line: str) -> None:
    with pytest.raises(SettingsError):
        read_watch(line)


def test_screen_is_cut_to_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "10")
    monkeypatch.setenv("LINES", "7")
    shown = screenful("title", ["x" * 50, "\x1b[2J", "c", "d", "e"])
    assert shown.split("\r\n") == [
        "\x1b[Htitle\x1b[K", "\x1b[K", "xxxxxxxxx\x1b[K", "\\x1b[2J\x1b[K", "… 3 more \x1b[K\x1b[J",
    ]  # fmt: skip
