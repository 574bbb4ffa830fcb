"""The operator's side of the management protocol, on what vde_switch and our switch really send."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vport.errors import RemoteProtocolError
from vport.shell.command import Reply
from vport.shell.protocol import encode_reply
from vswitch.management.client import (
    MAX_LINE,
    Answer,
    ClientEvent,
    ClientProtocol,
    Farewell,
    Greeting,
    Notice,
)

BANNER = b"VDE switch V.2.3.2\n(C) Virtual Square Team (coord. R. Davoli) 2005,2006,2007 - GPLv2\n\nvde$ "
SESSION = (
    BANNER + b"0000 DATA END WITH '.'\nNumports=32\nHUB=false\ncounters=true\n.\n1000 Success\n\nvde$ "
    b"\nvde$ "
    b"1038 Function not implemented\n\nvde$ "
    b"3021 port/+ 01\n"
    b'3023 port/descr Port 01 FD  6 -> "alpha"\n'
    b"3012 hash/- 02:00:00:00:00:0a VLAN 2c:01 Port 1\n1000 Success\n\nvde$ "
    b"0000 DATA END WITH '.'\n.\n1006 No such device or address\n\nvde$ "
    b"9999 END OF SESSION"
)
EVENTS: list[ClientEvent] = [
    Greeting(("VDE switch V.2.3.2", "(C) Virtual Square Team (coord. R. Davoli) 2005,2006,2007 - GPLv2")),
    Answer(("Numports=32", "HUB=false", "counters=true"), 0, "Success"),
    Answer((), None, ""),
    Answer((), 38, "Function not implemented"),
    Notice(0o21, "port/+", "01"),
    Notice(0o23, "port/descr", 'Port 01 FD  6 -> "alpha"'),
    Notice(0o12, "hash/-", "02:00:00:00:00:0a VLAN 2c:01 Port 1"),
    Answer((), 0, "Success"),
    Answer((), 6, "No such device or address"),
    Farewell(),
]


def parsed(*pieces: bytes) -> list[ClientEvent]:
    protocol = ClientProtocol()
    for piece in pieces:
        protocol.receive(piece)
    return list(protocol.events())


def test_session_of_the_original_is_understood() -> None:
    assert parsed(SESSION) == EVENTS


@given(st.lists(st.integers(0, len(SESSION)), max_size=20))
def test_events_do_not_depend_on_how_the_bytes_are_cut(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(SESSION)]
    assert parsed(*(SESSION[a:b] for a, b in pairwise(edges))) == EVENTS


def test_text_that_looks_like_protocol_stays_text() -> None:
    reply = (
        b"0000 DATA END WITH '.'\nvde$ \n1000 Success\n3021 port/+ 01\n9999 END OF SESSION\n\n.\n"
        b"1000 Success\n\nvde$ "
    )
    assert parsed(BANNER + reply)[1:] == [
        Answer(("vde$ ", "1000 Success", "3021 port/+ 01", "9999 END OF SESSION", ""), 0, "Success")
    ]


def test_reply_to_a_script_keeps_the_status_of_each_line() -> None:
    reply = (
        b"vde[s.rc]: # set up\nvde[s.rc]: vlan/create 10\n1000 Success\nvde[s.rc]: bogus\n"
        b"1038 Function not implemented\nvde[s.rc]: port/showinfo\n0000 DATA END WITH '.'\nNumports=32\n.\n"
        b"1000 Success\n1000 Success\n\nvde$ "
    )
    assert parsed(BANNER + reply)[1:] == [
        Answer(
            (
                "vde[s.rc]: # set up",
                "vde[s.rc]: vlan/create 10",
                "Success",
                "vde[s.rc]: bogus",
                "Function not implemented",
                "vde[s.rc]: port/showinfo",
                "Numports=32",
                "Success",
            ),
            0,
            "Success",
        )
    ]


def test_refusal_before_any_prompt_is_remembered() -> None:
    protocol = ClientProtocol()
    protocol.receive(b"1011 Resource temporarily unavailable: 64 sessions are open\n")
    assert list(protocol.events()) == []
    assert protocol.last_words() == ["Resource temporarily unavailable: 64 sessions are open"]


def test_endless_line_is_refused() -> None:
    protocol = ClientProtocol()
    protocol.receive(b"x" * MAX_LINE)
    with pytest.raises(RemoteProtocolError):
        protocol.receive(b"x")


@given(st.binary())
def test_any_bytes_give_events(data: bytes) -> None:
    parsed(data)


@given(
    st.lists(st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")))), st.sampled_from([0, 6, 22])
)
def test_what_our_server_encodes_is_read_back(lines: list[str], number: int) -> None:
    answer = parsed(BANNER + encode_reply(Reply(lines, number, "why")))[1]
    assert isinstance(answer, Answer)
    assert answer.lines == tuple(". " if line == "." else line for line in lines)
    assert answer.errno == number
    assert answer.status.endswith(": why")
