"""The straight line through a fan-out's points."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lunar_perf.fit import Line

_COEFFICIENT = st.floats(-1000, 1000)


@given(_COEFFICIENT, _COEFFICIENT, st.sets(st.integers(0, 100), min_size=2))
def test_points_on_a_line_give_that_line(intercept: float, slope: float, places: set[int]) -> None:
    line = Line.through([(x, intercept + slope * x) for x in places])
    assert line.slope == pytest.approx(slope, abs=1e-6)
    assert line.intercept == pytest.approx(intercept, abs=1e-4)


def test_noise_that_is_even_on_both_sides_does_not_tilt_it() -> None:
    assert Line.through([(0, 1), (0, -1), (4, 9), (4, 7)]) == Line(0.0, 2.0)


@pytest.mark.parametrize("points", [[], [(1, 1)], [(1, 1), (1, 2)]])
def test_one_place_makes_no_line(points: list[tuple[float, float]]) -> None:
    with pytest.raises(ValueError, match="two different x"):
        Line.through(points)
