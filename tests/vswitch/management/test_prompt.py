"""The console's messages: how many wait, and that those left out are told."""

from __future__ import annotations

from vswitch.management.client import Notice
from vswitch.management.connection import SwitchConnection
from vswitch.management.prompt import Console


def test_messages_that_wait_too_long_are_left_out_and_that_is_told_once() -> None:
    written: list[str] = []
    shown: list[int] = []
    console = Console(
        SwitchConnection.__new__(SwitchConnection), written.append, lambda notice: shown.append(notice.tag)
    )
    for number in range(1200):
        console.notice(Notice(number, "hash/+", ""))
    console.show_held()
    assert written == ["** 200 messages left out: they came faster than they can be shown"]
    assert shown == [*range(200, 1200)]
    console.show_held()
    assert (len(written), len(shown)) == (1, 1000)


def test_messages_that_come_while_others_are_shown_wait_for_their_turn() -> None:
    shown: list[int] = []

    def show(notice: Notice) -> None:
        shown.append(notice.tag)
        console.notice(Notice(notice.tag + 1, "hash/+", ""))  # more come than can be shown

    console = Console(SwitchConnection.__new__(SwitchConnection), lambda line: None, show)
    console.notice(Notice(1, "hash/+", ""))
    console.show_held()
    assert shown == [1]
