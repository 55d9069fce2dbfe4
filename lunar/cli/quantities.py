"""Numbers as people read them: counts, sizes, rates and durations. Pure."""

_BYTE_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_TIME_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"))


def format_count(count: int) -> str:
    """Formats a count with thousands separated, such as `1,234,567`."""
    return f"{count:,}"


def format_bytes(size_bytes: float) -> str:
    """Formats a size in binary units, such as `64 B`, `1.5 KiB` or `3.00 MiB`."""
    size = float(size_bytes)
    unit = _BYTE_UNITS[0]
    for unit in _BYTE_UNITS:
        if abs(size) < 1024 or unit == _BYTE_UNITS[-1]:
            break
        size /= 1024
    return f"{_three_digits(size)} {unit}"


def format_rate(rate_hz: float) -> str:
    """Formats messages a second; below a thousand with the fraction that tells 29.97 from 30."""
    return f"{rate_hz:,.0f}" if rate_hz >= 1000 else f"{rate_hz:.3f}"


def format_duration(duration_s: float) -> str:
    """Formats a duration in the unit that suits it, such as `2.50 s`, `33.3 ms` or `5 us`."""
    for unit_s, unit in _TIME_UNITS:
        if abs(duration_s) >= unit_s:
            return f"{_three_digits(duration_s / unit_s)} {unit}"
    return f"{_three_digits(duration_s * 1e6)} us"


def plural(count: int, noun: str, nouns: str = "") -> str:
    """Formats a count with its noun, such as `1 message` or `2,000 messages`.

    Args:
        count: How many.
        noun: What one of them is called.
        nouns: What several are called, if not by the noun with an s.
    """
    return f"{format_count(count)} {noun if count == 1 else nouns or noun + 's'}"


def _three_digits(value: float) -> str:
    magnitude = abs(value)
    if value == int(value) and magnitude < 1024:
        return f"{value:.0f}"
    if magnitude >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if magnitude >= 10 else f"{value:.2f}"
