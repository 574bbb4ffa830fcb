"""Each impairment measured against its setting, with bounds that a wrong model fails."""

from __future__ import annotations

import itertools
import math
import statistics
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vport.impairment import Impairment, ImpairmentSettings
from vport.impairment.channel import (
    INTERFACE_QUEUE,
    MAX_WAITING_BYTES,
    MAX_WAITING_FRAMES,
    flipped_bits,
)
from vport.impairment.values import Value

if TYPE_CHECKING:
    from collections.abc import Iterable


def impaired(seed: int = 7, *, fifo: bool = True, **texts: str) -> Impairment:
    return Impairment(ImpairmentSettings.read(**texts), Random(seed), fifo=fifo)


def frame(number: int, size: int = 100) -> bytes:
    return number.to_bytes(4, "big").ljust(size, b"\0")


def number_of(received: bytes) -> int:
    return int.from_bytes(received[:4], "big")


def send_all(cable: Impairment, frames: Iterable[bytes], interval: float = 0.0) -> list[tuple[float, bytes]]:
    """Send frames at regular times, and take every frame at the moment at which it is due."""
    taken = []
    for number, one in enumerate(frames):
        now = number * interval
        while (deadline := cable.next_deadline()) is not None and deadline <= now:
            taken += [(deadline, frame) for frame in cable.due(deadline)]
        cable.receive(one, now)
    while (deadline := cable.next_deadline()) is not None:
        taken += [(deadline, frame) for frame in cable.due(deadline)]
    return taken


def lost_bursts(taken: list[tuple[float, bytes]], count: int) -> list[int]:
    """Give the lengths of the runs of frames that are missing."""
    arrived = {number_of(one) for _, one in taken}
    runs = itertools.groupby(range(count), key=lambda number: number not in arrived)
    return [len(list(run)) for is_lost, run in runs if is_lost]


def test_clear_cable_delivers_at_once_and_says_that_it_may_be_bypassed() -> None:
    cable = impaired()
    assert cable.is_clear
    cable.receive(b"x" * 60, 5.0)
    assert not cable.is_clear
    assert cable.next_deadline() == 5.0

    assert cable.due(5.0) == [b"x" * 60]
    assert cable.next_deadline() is None
    assert cable.is_clear


# --- MTU ---


def test_mtu_counts_the_bytes_of_the_frame() -> None:
    cable = impaired(mtu="1500")
    taken = send_all(cable, [bytes(1499), bytes(1500), bytes(1501)])

    assert [len(one) for _, one in taken] == [1499, 1500]
    assert cable.statistics.too_long == 1


# --- loss ---


@pytest.mark.parametrize("percent", [0.5, 1, 20, 75])
def test_share_of_frames_lost_is_the_loss(percent: float) -> None:
    cable = impaired(loss=f"{percent}%")
    count = 40_000
    taken = send_all(cable, (frame(number) for number in range(count)))

    chance = percent / 100
    assert count - len(taken) == cable.statistics.lost
    assert abs(cable.statistics.lost - count * chance) < 4 * math.sqrt(count * chance * (1 - chance))
    mean_burst = statistics.mean(lost_bursts(taken, count))
    assert mean_burst == pytest.approx(1 / (1 - chance), rel=0.1)  # each on its own


@pytest.mark.parametrize("text", ["100%", "150", "1000"])
def test_loss_of_all_leaves_nothing(text: str) -> None:
    cable = impaired(loss=text)
    assert send_all(cable, (frame(number) for number in range(1000))) == []


@pytest.mark.parametrize(("loss", "burst"), [(20, 5), (5, 3), (1, 10), (50, 4), (20, 2)])
def test_burst_loss_keeps_its_share_and_its_length(loss: float, burst: float) -> None:
    cable = impaired(loss=f"{loss}%", lostburst=f"{burst}")
    count = 200_000
    taken = send_all(cable, (frame(number) for number in range(count)))

    assert cable.statistics.lost / count == pytest.approx(loss / 100, rel=0.1)
    bursts = lost_bursts(taken, count)
    # Two bursts that touch are seen as one: this is how long those are that one sees.
    assert statistics.mean(bursts) == pytest.approx(burst, rel=0.1)
    assert statistics.pstdev(bursts) == pytest.approx(math.sqrt(burst * (burst - 1)), rel=0.2)  # geometric


def test_loss_too_high_for_short_bursts_keeps_its_share() -> None:
    cable = impaired(loss="90%", lostburst="2")
    send_all(cable, (frame(number) for number in range(100_000)))
    assert cable.statistics.lost == pytest.approx(90_000, rel=0.02)


# --- duplication ---


@pytest.mark.parametrize("percent", [5, 50, 90])
def test_mean_number_of_copies_follows_from_the_probability(percent: float) -> None:
    cable = impaired(dup=f"{percent}%")
    count = 20_000
    taken = send_all(cable, (frame(number) for number in range(count)))

    mean = 1 / (1 - percent / 100)
    deviation = math.sqrt(percent / 100) / (1 - percent / 100) / math.sqrt(count)
    assert abs(len(taken) / count - mean) < 4 * deviation
    assert cable.statistics.duplicated == len(taken) - count
    assert {number_of(one) for _, one in taken} == set(range(count))


def test_duplication_ends_even_where_its_variation_reaches_beyond_all() -> None:
    cable = impaired(dup="99+99")
    send_all(cable, (frame(number, 60) for number in range(20)))
    assert cable.statistics.received == 20


# --- delay ---


def test_delay_is_exact_without_variation() -> None:
    cable = impaired(delay="100ms")
    cable.receive(frame(1), 1.0)

    assert cable.next_deadline() == 1.1
    assert cable.due(1.0999) == []
    assert cable.due(1.1) == [frame(1)]


def test_delay_with_uniform_variation_is_spread_evenly() -> None:
    cable = impaired(delay="100ms+50ms")
    taken = send_all(cable, (frame(number) for number in range(20_000)), interval=1.0)

    delays = [at - number_of(one) for at, one in taken]
    assert 0.05 <= min(delays) < 0.0505
    assert 0.1495 < max(delays) <= 0.1501
    assert statistics.mean(delays) == pytest.approx(0.1, rel=0.01)
    assert statistics.pstdev(delays) == pytest.approx(0.1 / math.sqrt(12), rel=0.03)


def test_delay_with_normal_variation_is_spread_by_a_third_of_it() -> None:
    cable = impaired(delay="100+50N")
    taken = send_all(cable, (frame(number) for number in range(20_000)), interval=1.0)

    delays = [at - number_of(one) for at, one in taken]
    assert statistics.mean(delays) == pytest.approx(0.1, rel=0.01)
    assert statistics.pstdev(delays) == pytest.approx(0.05 / 3, rel=0.03)


def test_delays_reorder_only_without_fifo() -> None:
    numbers = {}
    for fifo in (True, False):
        cable = impaired(delay="50ms+40ms", fifo=fifo)
        taken = send_all(cable, (frame(number) for number in range(500)), interval=0.001)
        numbers[fifo] = [number_of(one) for _, one in taken]

    assert numbers[True] == sorted(numbers[True])
    assert numbers[False] != sorted(numbers[False])
    assert sorted(numbers[False]) == list(range(500))


# --- bandwidth, speed, buffer ---


@pytest.mark.parametrize("name", ["bandwidth", "speed"])
def test_rate_is_kept_and_nothing_is_lost(name: str) -> None:
    cable = impaired(**{name: "100K"})
    taken = send_all(cable, (frame(number, 1000) for number in range(100)))

    assert [number_of(one) for _, one in taken] == list(range(100))
    assert taken[0][0] == pytest.approx(1000 / 102400)
    assert taken[-1][0] == pytest.approx(100 * 1000 / 102400)


def test_rate_with_variation_keeps_its_mean() -> None:
    cable = impaired(bandwidth="100000+20000")
    taken = send_all(cable, (frame(number, 100) for number in range(4000)))
    rate = 4000 * 100 / taken[-1][0]
    # The mean of 1/x over 80 000 … 120 000 is ln(1.5)/40 000: the times add up, not the rates.
    assert rate == pytest.approx(40_000 / math.log(1.5), rel=0.01)


def test_idle_channel_saves_nothing_up() -> None:
    cable = impaired(bandwidth="1000B")
    cable.receive(frame(0), 0.0)
    cable.receive(frame(1), 10.0)
    assert cable.due(0.1) == [frame(0)]
    assert cable.next_deadline() == pytest.approx(10.1)


def test_speed_comes_before_bandwidth_so_the_slower_rules() -> None:
    for speed, bandwidth in (("1000B", "4000B"), ("4000B", "1000B")):
        cable = impaired(speed=speed, bandwidth=bandwidth)
        taken = send_all(cable, (frame(number, 100) for number in range(50)))
        assert taken[-1][0] == pytest.approx(5.0 + 100 / 4000)


def test_buffer_holds_what_it_is_set_to_and_discards_the_rest() -> None:
    cable = impaired(bandwidth="100K", chanbufsize="10000")
    taken = send_all(cable, (frame(number, 1000) for number in range(100)))

    assert [number_of(one) for _, one in taken] == list(range(9))  # 1002 bytes each, as wirefilter counts
    assert cable.statistics.buffer_full == 91


def test_buffer_has_room_again_when_frames_have_left() -> None:
    cable = impaired(delay="1s", chanbufsize="204")
    for number in range(3):
        cable.receive(frame(number), 0.0)
    cable.receive(frame(3), 1.0)
    assert [number_of(one) for one in cable.due(2.0)] == [0, 1, 3]


def test_interface_queue_is_bounded() -> None:
    cable = impaired(speed="1000B")
    for number in range(2000):
        cable.receive(frame(number, 1000), 0.0)
    assert cable.waiting == INTERFACE_QUEUE // 1000
    assert cable.statistics.interface_full == 2000 - cable.waiting


def test_channel_is_bounded_without_any_setting() -> None:
    cable = impaired(delay="1000s")
    for _ in range(2000):
        cable.receive(bytes(65535), 0.0)
    assert cable.channel_bytes <= MAX_WAITING_BYTES
    cable = impaired(delay="1000s")
    for _ in range(MAX_WAITING_FRAMES + 100):
        cable.receive(b"", 0.0)
    assert cable.waiting == MAX_WAITING_FRAMES


# --- noise ---


@pytest.mark.parametrize("noise", [10, 1000, 100_000, 4_000_000, 8_000_000])
def test_number_of_flipped_bits_is_the_noise(noise: int) -> None:
    cable = impaired(noise=f"{noise}")
    size, count = 1000, max(20, min(20_000, 40_000_000 // noise))
    taken = send_all(cable, [bytes(size)] * count)

    flipped = sum(int.from_bytes(one, "big").bit_count() for _, one in taken)
    chance = noise / 2**23
    expected = chance * size * 8 * count
    assert flipped == cable.statistics.flipped_bits
    assert abs(flipped - expected) < 4 * math.sqrt(expected * (1 - chance)) + 1
    damaged = sum(any(one) for _, one in taken)
    assert damaged == cable.statistics.damaged
    assert damaged == pytest.approx(count * (1 - (1 - chance) ** (size * 8)), rel=0.25)


def test_noise_that_damages_every_bit_ends() -> None:
    cable = impaired(noise="8M")
    [(_, one)] = send_all(cable, [bytes(1400)])
    assert one == b"\xff" * 1400


def test_flipped_bits_are_spread_over_the_whole_frame() -> None:
    random = Random(3)
    places = [bit for _ in range(20_000) for bit in flipped_bits(800, 0.01, random)]
    assert min(places) == 0
    assert max(places) == 799
    assert statistics.mean(places) == pytest.approx(399.5, rel=0.02)


@settings(deadline=None)  # it would measure how busy the machine is
@given(st.integers(0, 2000), st.floats(0, 1), st.integers())
def test_flipped_bits_are_distinct_and_inside(bits: int, rate: float, seed: int) -> None:
    flips = flipped_bits(bits, rate, Random(seed))
    assert flips == sorted(set(flips))
    assert all(0 <= bit < bits for bit in flips)


# --- laws ---

VALUES = st.builds(
    Value,
    st.floats(0, 200),
    st.floats(0, 200),
    st.booleans(),
)
LOSSLESS = st.builds(ImpairmentSettings, delay=VALUES, bandwidth=VALUES, dup=st.just(Value(30)))
ANY = st.builds(
    ImpairmentSettings,
    loss=VALUES,
    lostburst=VALUES,
    delay=VALUES,
    dup=st.builds(Value, st.floats(0, 90), st.floats(0, 20)),
    bandwidth=VALUES,
    speed=VALUES,
    noise=VALUES,
    mtu=VALUES,
    chanbufsize=VALUES,
)
ARRIVALS = st.lists(st.tuples(st.floats(0, 2), st.integers(4, 200)), max_size=40)


def play(
    settings: ImpairmentSettings, arrivals: list[tuple[float, int]], seed: int, *, fifo: bool = True
) -> tuple[Impairment, list[tuple[float, bytes]]]:
    cable = Impairment(settings, Random(seed), fifo=fifo)
    now = 0.0
    taken = []
    for number, (pause, size) in enumerate(arrivals):
        now += pause
        cable.receive(frame(number, size), now)
        taken += [(now, one) for one in cable.due(now)]
    while (deadline := cable.next_deadline()) is not None:
        now = max(now, deadline)
        taken += [(now, one) for one in cable.due(now)]
    return cable, taken


@settings(deadline=None)  # it would measure how busy the machine is
@given(LOSSLESS, ARRIVALS, st.integers())
def test_nothing_is_lost_without_loss(
    settings: ImpairmentSettings, arrivals: list[tuple[float, int]], seed: int
) -> None:
    cable, taken = play(settings, arrivals, seed)
    assert {number_of(one) for _, one in taken} == set(range(len(arrivals)))
    assert cable.statistics.discarded == 0


@settings(deadline=None)  # it would measure how busy the machine is
@given(LOSSLESS, ARRIVALS, st.integers())
def test_order_is_kept_with_fifo(
    settings: ImpairmentSettings, arrivals: list[tuple[float, int]], seed: int
) -> None:
    numbers = [number_of(one) for _, one in play(settings, arrivals, seed)[1]]
    assert numbers == sorted(numbers)


@settings(deadline=None)  # it would measure how busy the machine is
@given(ANY, ARRIVALS, st.integers(), st.booleans())
def test_statistics_account_for_every_frame(
    settings: ImpairmentSettings, arrivals: list[tuple[float, int]], seed: int, fifo: bool
) -> None:
    cable, taken = play(settings, arrivals, seed, fifo=fifo)
    counted = cable.statistics
    assert counted.received == len(arrivals)
    assert counted.delivered == len(taken)
    assert counted.received + counted.duplicated == counted.delivered + counted.discarded
    assert cable.waiting == 0
    assert cable.channel_bytes == 0


@settings(deadline=None)  # it would measure how busy the machine is
@given(ANY, ARRIVALS, st.integers())
def test_same_seed_is_the_same_run(
    settings: ImpairmentSettings, arrivals: list[tuple[float, int]], seed: int
) -> None:
    assert play(settings, arrivals, seed)[1] == play(settings, arrivals, seed)[1]


@settings(deadline=None)  # it would measure how busy the machine is
@given(ANY, ARRIVALS, st.integers(), st.integers(50, 500))
def test_buffer_never_holds_more_than_it_is_set_to(
    settings: ImpairmentSettings, arrivals: list[tuple[float, int]], seed: int, limit: int
) -> None:
    cable = Impairment(settings.with_value("chanbufsize", Value(limit)), Random(seed))
    now = 0.0
    for number, (pause, size) in enumerate(arrivals):
        now += pause / 10
        cable.receive(frame(number, size), now)
        assert cable.channel_bytes <= limit
