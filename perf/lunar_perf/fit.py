"""A straight line through measured points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Line:
    """``y = intercept + slope * x``."""

    intercept: float
    slope: float

    @classmethod
    def through(cls, points: Sequence[tuple[float, float]]) -> Line:
        """Least squares.

        Raises:
            ValueError: fewer than two different x.
        """
        if len({x for x, _ in points}) < 2:
            raise ValueError("a line needs points at two different x at least")
        mean_x = sum(x for x, _ in points) / len(points)
        mean_y = sum(y for _, y in points) / len(points)
        covariance = sum((x - mean_x) * (y - mean_y) for x, y in points)
        slope = covariance / sum((x - mean_x) ** 2 for x, _ in points)
        return cls(mean_y - slope * mean_x, slope)
