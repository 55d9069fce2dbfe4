import pytest

from lunar.cli.quantities import format_bytes, format_count, format_duration, format_rate, plural


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "0 B"), (64, "64 B"), (1023, "1023 B"), (1024, "1 KiB"), (1536, "1.50 KiB"), (2**30, "1 GiB"),
     (2.5 * 2**40, "2.50 TiB"), (5000 * 2**40, "5,000 TiB"), (10.4 * 1024, "10.4 KiB"), (1e6, "977 KiB")],
)  # fmt: skip
def test_sizes_are_in_binary_units(size_bytes: float, text: str) -> None:
    assert format_bytes(size_bytes) == text


@pytest.mark.parametrize(
    ("duration_s", "text"),
    [(2.5, "2.50 s"), (90, "90 s"), (0.0333333, "33.3 ms"), (0.000005, "5.00 us"), (0.0, "0 us"), (4e-8, "0.04 us")],
)
def test_durations_are_in_the_unit_that_suits(duration_s: float, text: str) -> None:
    assert format_duration(duration_s) == text


def test_slow_rates_have_a_fraction_and_fast_ones_do_not() -> None:
    assert format_rate(29.97) == "29.970"
    assert format_rate(1234567.8) == "1,234,568"


def test_counts_are_grouped_and_agree_with_their_noun() -> None:
    assert format_count(1234567) == "1,234,567"
    assert [plural(count, "message") for count in (0, 1, 2000)] == ["0 messages", "1 message", "2,000 messages"]
