from __future__ import annotations

from vport.ethernet import MacAddress
from vport.greeting import Acquaintance, greeting

STATION = MacAddress(bytes.fromhex("020000000001"))


def test_who_greets_knows_slices_and_is_answered() -> None:
    frame = greeting(STATION)
    acquaintance = Acquaintance()

    reply = acquaintance.hear(frame, len(frame), 5.0)

    assert acquaintance.knows_slices
    assert reply is not None
    assert reply != frame
    assert acquaintance.hear(reply, len(reply), 6.0) is None


def test_many_greetings_have_one_answer() -> None:
    frame = greeting(STATION)
    acquaintance = Acquaintance()

    assert acquaintance.hear(frame * 64, len(frame), 5.0) == acquaintance.hear(frame, len(frame), 6.0)


def test_greeting_for_another_layout_of_slices_is_an_announcement_and_no_more() -> None:
    frame = greeting(STATION).replace(b"vswitch\2", b"vswitch\1")
    assert frame != greeting(STATION)
    acquaintance = Acquaintance()

    assert acquaintance.hear(frame, len(frame), 5.0) is None
    assert not acquaintance.knows_slices
