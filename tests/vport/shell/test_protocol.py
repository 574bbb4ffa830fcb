"""The switch's side of the management protocol: cutting bytes into lines, putting replies into form."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vport.shell.command import Reply
from vport.shell.message import Message
from vport.shell.protocol import (
    END_OF_SESSION,
    MAX_LINE,
    PROMPT,
    QUIET_TIME,
    ServerProtocol,
    encode_lines,
    encode_message,
    encode_reply,
    encode_status,
)
from vswitch.management.messages import FDB_ADDED


def connected() -> ServerProtocol:
    protocol = ServerProtocol(["name V.1"])
    assert protocol.data_to_send() == b"name V.1\n\nvde$ "
    return protocol


def commands(protocol: ServerProtocol) -> list[str]:
    found = []
    while (line := protocol.next_command()) is not None:
        found.append(line)
        protocol.reply(Reply())
    return found


def test_several_lines_in_one_write_are_all_answered_in_order() -> None:
    protocol = connected()
    protocol.receive(b"port/print\nds/showinfo\nhelp\n", 0.0)
    assert commands(protocol) == ["port/print", "ds/showinfo", "help"]
    assert protocol.data_to_send() == (b"1000 Success\n" + PROMPT) * 3


def test_blank_lines_and_comments_get_only_a_prompt() -> None:
    protocol = connected()
    protocol.receive(b"\n  \t \n# a comment\n   # another\n\r\n", 0.0)
    assert commands(protocol) == []
    assert protocol.data_to_send() == PROMPT * 5


@pytest.mark.parametrize("line", [b"showinfo\r\n", b"  \t showinfo \t \n", b"showinfo\n"])
def test_blanks_and_carriage_returns_around_a_command_are_stripped(line: bytes) -> None:
    protocol = connected()
    protocol.receive(line, 0.0)
    assert commands(protocol) == ["showinfo"]


def test_a_line_without_end_is_complete_after_quiet() -> None:
    protocol = connected()
    protocol.receive(b"show", 1.0)
    assert commands(protocol) == []
    assert protocol.next_deadline() == 1.0 + QUIET_TIME

    protocol.receive(b"info", 1.04)
    protocol.handle_timer(1.0 + QUIET_TIME)
    assert commands(protocol) == []

    protocol.handle_timer(1.04 + QUIET_TIME)
    assert commands(protocol) == ["showinfo"]
    assert protocol.next_deadline() is None


def test_an_open_line_of_blanks_waits_for_no_timer() -> None:
    protocol = connected()
    protocol.receive(b"  ", 0.0)
    assert protocol.next_deadline() is None


def test_end_of_input_completes_the_open_line() -> None:
    protocol = connected()
    protocol.receive(b"help\nshowinfo", 0.0)
    protocol.receive_eof()
    assert commands(protocol) == ["help", "showinfo"]


def test_a_line_that_is_too_long_is_one_error_and_its_rest_is_skipped() -> None:
    protocol = connected()
    for _ in range(100):
        protocol.receive(b"x" * 1000, 0.0)
    assert protocol.next_deadline() is None
    protocol.receive(b"tail\nhelp\n", 0.0)
    assert commands(protocol) == ["help"]
    output = protocol.data_to_send()
    assert output.startswith(b"1022 Invalid argument: the line is longer than 4096 bytes\n" + PROMPT)
    assert output.count(b"1022") == 1


def test_the_longest_line_is_taken() -> None:
    protocol = connected()
    protocol.receive(b"x" * MAX_LINE + b"\n", 0.0)
    assert commands(protocol) == ["x" * MAX_LINE]


def test_nothing_is_answered_after_the_end_of_session() -> None:
    protocol = connected()
    protocol.receive(b"logout\nhelp\n\n\n", 0.0)
    assert protocol.next_command() == "logout"
    protocol.reply(Reply(ends_session=True))
    assert protocol.next_command() is None
    assert protocol.ended
    assert protocol.data_to_send() == END_OF_SESSION


def test_reply_with_text_is_framed_on_failure_too() -> None:
    assert encode_reply(Reply(["a", "b"])) == b"0000 DATA END WITH '.'\na\nb\n.\n1000 Success\n\nvde$ "
    assert encode_reply(Reply([], 6)) == (
        b"0000 DATA END WITH '.'\n.\n1006 No such device or address\n\nvde$ "
    )


def test_detail_stands_behind_the_words_on_the_status_line() -> None:
    assert encode_status(22, "N is\nwrong\x1b[2J") == b"1022 Invalid argument: N is\\x0awrong\\x1b[2J\n"


def test_message_is_a_line_with_its_tag_in_octal() -> None:
    assert encode_message(Message(FDB_ADDED, "x\ny")) == b"3011 hash/+ x\\x0ay\n"


@given(st.lists(st.text()))
def test_text_never_breaks_the_framing(lines: list[str]) -> None:
    encoded = encode_lines(lines)
    cut = encoded.split(b"\n")
    assert len(cut) == len(lines) + 1
    assert b"." not in cut
    assert not any(byte < 0x20 and byte not in b"\t\n" for byte in encoded)


@given(st.lists(st.binary(max_size=3 * MAX_LINE), max_size=8), st.data())
def test_answers_do_not_depend_on_how_the_bytes_are_cut(pieces: list[bytes], data: st.DataObject) -> None:
    whole = b"\n".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    at_once, in_parts = connected(), connected()
    at_once.receive(whole, 0.0)
    at_once.receive_eof()
    for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        in_parts.receive(whole[start:end], 0.0)
    in_parts.receive_eof()
    assert commands(at_once) == commands(in_parts)
    assert at_once.data_to_send() == in_parts.data_to_send()
