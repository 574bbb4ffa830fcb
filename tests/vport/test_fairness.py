from __future__ import annotations

from vport.fairness import BURST, PATIENCE, TOO_LONG, TURN, UNEQUAL, WINDOW, Crowding, Pace

LONG = BURST + PATIENCE  # how long a queue is full before somebody is named
MOMENT = 0.001


def fill(crowding: Crowding[str], counts: dict[str, int], members: int, *, start: float = 0.0) -> str | None:
    """Keep the queue full for as long as it takes, in turns of a millisecond; give the first decision."""
    for turn in range(round(LONG / MOMENT) + 2):
        decision = crowding.crowd(counts.items(), members, start + turn * MOMENT)
        if decision is not None:
            return decision
    return None


def test_member_that_keeps_the_queue_full_is_named_once_patience_ends() -> None:
    crowding: Crowding[str] = Crowding()

    assert crowding.crowd([("flooder", 250), ("quiet", 1)], 2, 10.0) is None
    assert crowding.crowd([("flooder", 250)], 2, 10.0 + LONG - MOMENT) is None
    assert crowding.crowd([("flooder", 250)], 2, 10.0 + LONG + MOMENT) == "flooder"


def test_counting_starts_anew_after_a_decision() -> None:
    crowding: Crowding[str] = Crowding()
    assert fill(crowding, {"flooder": 250, "quiet": 1}, 2) == "flooder"

    assert crowding.crowd([("other", 250)], 2, LONG + PATIENCE) is None
    crowding.relieve()
    assert fill(crowding, {"other": 250}, 2, start=99.0) == "other"


def test_silent_members_count_as_waiting() -> None:
    assert fill(Crowding(), {"flooder": 250}, 2) == "flooder"


def test_lone_member_may_keep_its_queue_full() -> None:
    assert fill(Crowding(), {"only": 250}, 1) is None


def test_members_that_send_alike_are_left_alone() -> None:
    assert fill(Crowding(), {str(number): 16 + number % 3 for number in range(16)}, 16) is None


def test_two_floods_are_taken_out_one_after_the_other() -> None:
    crowding: Crowding[str] = Crowding()

    assert fill(crowding, {"one": 130, "two": 120, "quiet": 1}, 3) == "one"
    assert fill(crowding, {"two": 250, "quiet": 1}, 2, start=5.0) == "two"


def test_sender_of_little_more_than_the_others_is_left_alone() -> None:
    assert fill(Crowding(), {"one": UNEQUAL * 10, "other": 10}, 2) is None
    assert fill(Crowding(), {"one": UNEQUAL * 10 + 1, "other": 10}, 2) == "one"


def burst(crowding: Crowding[str], start: float, seconds: float) -> str | None:
    """Fill the queue for a while, then have it emptied."""
    decisions = [crowding.crowd([("sender", 250)], 2, now) for now in (start, start + seconds)]
    crowding.relieve()
    return decisions[1]


def test_short_bursts_are_no_flood_however_many() -> None:
    crowding: Crowding[str] = Crowding()

    assert not any(burst(crowding, number * 0.02, BURST * 0.9) for number in range(500))


def test_long_bursts_add_up() -> None:
    crowding: Crowding[str] = Crowding()
    each = BURST + 0.4 * PATIENCE

    assert [burst(crowding, number * 0.2, each) for number in range(4)] == [None, None, "sender", None]


def test_long_bursts_far_apart_do_not_add_up() -> None:
    crowding: Crowding[str] = Crowding()
    each = BURST + 0.4 * PATIENCE

    assert not any(burst(crowding, number * WINDOW * 0.6, each) for number in range(20))


def test_full_queue_of_nobody_we_know_names_nobody() -> None:
    crowding: Crowding[str] = Crowding()
    crowding.crowd([], 3, 0.0)

    assert crowding.crowd([], 3, 1.0) is None


def test_long_turns_halve_the_next_down_to_one() -> None:
    pace = Pace(8)

    limits = []
    for _ in range(6):
        pace.took(TURN * 1.1)
        limits.append(pace.limit)

    assert limits == [8, 4, 2, 1, 1, 1]


def test_one_long_turn_may_be_another_process_and_changes_nothing() -> None:
    pace = Pace(8)

    for _ in range(3):
        pace.took(TURN * 4)
        pace.took(TURN / 2)

    assert pace.limit == 8


def test_turn_longer_than_any_process_waits_halves_the_next_at_once() -> None:
    pace = Pace(8)
    pace.took(TOO_LONG * 1.1)

    assert pace.limit == 4


def test_short_turns_double_the_next_up_to_the_most() -> None:
    pace = Pace(10)
    for _ in range(5):
        pace.took(TURN * 2)

    limits = []
    for _ in range(5):
        pace.took(TURN / 5)
        limits.append(pace.limit)

    assert limits == [2, 4, 8, 10, 10]


def test_turns_of_about_the_right_length_change_nothing() -> None:
    pace = Pace(8)
    pace.took(TURN * 2)
    pace.took(TURN * 2)
    pace.took(TURN * 0.6)

    assert pace.limit == 4
