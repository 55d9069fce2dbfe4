"""Percentiles are nearest-rank and exact."""

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lunar_perf.percentiles import LatencySummary, Spread, percentile

_TIMES_NS = st.lists(st.integers(0, 10**12), min_size=1, max_size=300)


@pytest.mark.parametrize(
    ("fraction", "expected"), [(0.0, 1), (0.001, 1), (0.5, 50), (0.505, 51), (0.9, 90), (0.99, 99), (1.0, 100)]
)
def test_of_one_to_a_hundred_the_percentile_is_the_number_itself(fraction: float, expected: int) -> None:
    assert percentile(range(1, 101), fraction) == expected


def test_of_nothing_there_is_no_percentile() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


@given(_TIMES_NS, st.floats(0, 1))
def test_it_is_the_smallest_value_that_so_many_do_not_exceed(times_ns: list[int], fraction: float) -> None:
    value = percentile(sorted(times_ns), fraction)
    not_above = sum(time <= value for time in times_ns)
    below = sum(time < value for time in times_ns)
    assert value in times_ns
    assert not_above >= fraction * len(times_ns)
    assert below == 0 or below < fraction * len(times_ns)


@given(_TIMES_NS)
def test_a_summary_is_ordered_and_in_microseconds(times_ns: list[int]) -> None:
    summary = LatencySummary.of(times_ns)
    figures = [summary.min, summary.p50, summary.p90, summary.p99, summary.p999, summary.max]
    assert figures == sorted(figures)
    assert (summary.min, summary.max) == (min(times_ns) / 1000, max(times_ns) / 1000)
    assert summary.p50 == statistics.median_low(times_ns) / 1000


def test_a_spread_keeps_the_extremes_and_changes_units() -> None:
    spread = Spread.of([3.0, 1.0, 8.0])
    assert spread == Spread(1.0, 3.0, 8.0)
    assert spread.over(2) == Spread(0.5, 1.5, 4.0)
