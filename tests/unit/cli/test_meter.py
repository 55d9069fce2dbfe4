import math
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lunar.cli.meter import Meter

EPOCH_NS = 1_700_000_000_000_000_000


@dataclass(frozen=True)
class Info:
    sequence_number: int
    source_time_ns: int
    publisher_id: str = "a"


def steady(sequence_numbers: Sequence[int], period_ns: int, publisher_id: str = "a") -> list[Info]:
    """What a publisher sends that publishes once a period, as far as these samples of it arrive."""
    return [Info(number, EPOCH_NS + number * period_ns, publisher_id) for number in sequence_numbers]


def test_nothing_measured_is_nothing() -> None:
    total = Meter(window_s=1).total(now_s=5)
    assert (total.received, total.lost, total.rate_hz, total.span_s) == (0, 0, 0, 0)
    assert total.period_s is None
    assert total.size_bytes is None


def test_the_rate_is_exact_although_samples_come_in_bursts() -> None:
    meter = Meter(window_s=10)
    meter.add(steady(range(1, 501), 4_000), (), now_s=0.0)
    meter.add(steady(range(501, 1001), 4_000), (), now_s=0.0039)
    measured = meter.report(now_s=0.0039)
    assert measured.rate_hz == pytest.approx(250_000)
    assert measured.received_hz == pytest.approx(250_000)
    assert (measured.received, measured.lost) == (1000, 0)
    assert measured.period_s is not None
    assert measured.period_s.mean == pytest.approx(4e-6)
    assert measured.period_s.standard_deviation == pytest.approx(0, abs=1e-9)


def test_gaps_in_the_sequence_are_losses_and_do_not_falsify_the_rate() -> None:
    meter = Meter(window_s=10)
    meter.add(steady([10, 11, 20, 21, 30], 1_000_000), (), now_s=0.02)
    meter.add(steady([41], 1_000_000), (), now_s=0.031)
    measured = meter.report(now_s=0.031)
    assert (measured.received, measured.lost) == (6, 26)
    assert measured.rate_hz == pytest.approx(1000)
    assert measured.received_hz == pytest.approx(1000 * 6 / 32)


def test_the_first_sample_of_a_publisher_is_no_loss() -> None:
    meter = Meter(window_s=1)
    meter.add(steady([1_000_000], 1000), (), now_s=0)
    assert meter.total(now_s=0).lost == 0


def test_publishers_are_counted_apart_and_added_up() -> None:
    meter = Meter(window_s=10)
    ours = steady(range(1, 101), 10_000_000, "a")
    theirs = steady(range(501, 601), 20_000_000, "b")
    mixed = [info for pair in zip(ours, theirs, strict=True) for info in pair]
    meter.add(mixed, [100, 300] * 100, now_s=1)
    measured = meter.report(now_s=1)
    assert measured.publishers == 2
    assert (measured.received, measured.lost) == (200, 0)
    assert measured.rate_hz == pytest.approx(150)
    assert measured.size_bytes is not None
    assert (measured.size_bytes.minimum, measured.size_bytes.mean, measured.size_bytes.maximum) == (100, 200, 300)
    assert measured.received_bytes == 40_000
    assert measured.bytes_per_s == pytest.approx(150 * 200)


def test_the_window_forgets_and_the_total_does_not() -> None:
    meter = Meter(window_s=2)
    windows = []
    for second in range(10):
        period_ns = 1_000_000 if second < 5 else 2_000_000
        start = second * 100 + 1
        infos = [Info(start + i, EPOCH_NS + second * 10**9 + i * period_ns) for i in range(100)]
        meter.add(infos, (), now_s=second + 0.5)
        windows.append(meter.report(now_s=second + 1))
    window = windows[-1]
    assert window.received == 200
    assert window.span_s == 2
    total = meter.total(now_s=10)
    assert total.received == 1000
    assert total.span_s == 9.5


def test_a_publisher_that_falls_silent_slows_down() -> None:
    meter = Meter(window_s=10)
    meter.add(steady(range(1, 102), 10_000_000), (), now_s=1)
    assert meter.report(now_s=1.015).rate_hz == pytest.approx(100)
    assert meter.report(now_s=5).rate_hz == pytest.approx(100 / 5)
    assert meter.report(now_s=12).rate_hz == 0


def test_a_clock_that_is_set_back_spoils_one_period_only() -> None:
    meter = Meter(window_s=10)
    before = steady(range(1, 51), 1_000_000)
    after = [
        Info(info.sequence_number, info.source_time_ns - 3600 * 10**9) for info in steady(range(51, 101), 1_000_000)
    ]
    meter.add(before + after, (), now_s=0.1)
    measured = meter.report(now_s=0.1)
    assert measured.rate_hz == pytest.approx(1000)
    assert measured.received == 100


def test_jitter_of_the_clock_is_no_negative_period() -> None:
    meter = Meter(window_s=10)
    meter.add([Info(1, EPOCH_NS), Info(2, EPOCH_NS + 1000), Info(3, EPOCH_NS + 950), Info(4, EPOCH_NS + 3000)], (), 0)
    period = meter.report(now_s=0).period_s
    assert period is not None
    assert period.minimum == 0
    assert period.mean == pytest.approx(1e-6)


@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=20),
    st.lists(st.integers(0, 10**9), min_size=1, max_size=200),
    st.integers(2, 7),
)
def test_bursts_do_not_matter(bursts: list[int], steps_ns: list[int], keep: int) -> None:
    """However the same samples are cut into bursts, the figures are those of all of them at once."""
    sent = []
    time_ns = EPOCH_NS
    for number, step_ns in enumerate(steps_ns, start=1):
        time_ns += step_ns
        sent.append(Info(number, time_ns))
    arrived = [info for info in sent if info.sequence_number % keep or info is sent[0]]
    sizes = [info.sequence_number % 13 for info in arrived]

    whole = Meter(window_s=1)
    whole.add(arrived, sizes, now_s=0)
    cut = Meter(window_s=1)
    start = 0
    while start < len(arrived):
        for burst in bursts:
            cut.add(arrived[start : start + burst], sizes[start : start + burst], now_s=0)
            start += burst

    expected, found = whole.total(now_s=0), cut.total(now_s=0)
    assert found.received == expected.received == len(arrived)
    assert found.lost == expected.lost == arrived[-1].sequence_number - len(arrived)
    assert found.received_bytes == sum(sizes)
    assert math.isclose(found.rate_hz, expected.rate_hz, rel_tol=1e-9)
