from __future__ import annotations

from vport.backoff import Backoff


def test_delays_double_up_to_the_last_and_stay_there() -> None:
    backoff = Backoff()

    assert [round(backoff.next_delay(), 3) for _ in range(8)] == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]


def test_reset_begins_again() -> None:
    backoff = Backoff(1.0, 3.0)
    backoff.next_delay()
    backoff.next_delay()

    backoff.reset()

    assert backoff.next_delay() == 1.0
