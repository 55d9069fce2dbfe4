"""Reading JSON objects that a stranger may have sent: every value has the type and the range that is expected of it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import NoReturn, cast


class WireError(ValueError):
    """What came from the other host is not what was agreed. The message says what, and never repeats much of it."""


def read_object(line: bytes) -> Fields:
    """The object that a line holds.

    Raises:
        WireError: it holds none.
    """
    try:
        value = json.loads(line, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise WireError("not a line of JSON") from error
    if not isinstance(value, dict):
        raise WireError("not a JSON object")
    return Fields(value)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


class Fields:
    """The fields of one object. Each method reads one and raises `WireError` if it is absent or not as it should be."""

    def __init__(self, values: Mapping[str, object]) -> None:
        self._values = values

    def names(self) -> frozenset[str]:
        """Which there are."""
        return frozenset(self._values)

    def text(self, name: str, longest: int = 256, pattern: str = "") -> str:
        """Printable text, without line breaks; with a pattern, all of it has to match."""
        value = self._get(name)
        if not isinstance(value, str) or len(value) > longest or not value.isprintable():
            raise self._fault(name, f"printable text of at most {longest} characters")
        if pattern and re.fullmatch(pattern, value, re.ASCII) is None:
            raise self._fault(name, f"text like {pattern}")
        return value

    def choice(self, name: str, allowed: Sequence[str]) -> str:
        """One of several words."""
        value = self._get(name)
        if not isinstance(value, str) or value not in allowed:
            raise self._fault(name, f"one of {', '.join(allowed)}")
        return value

    def integer(self, name: str, lowest: int, highest: int) -> int:
        """A whole number; a boolean is none."""
        value = self._get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
            raise self._fault(name, f"a whole number from {lowest} to {highest}")
        return value

    def number(self, name: str, lowest: float, highest: float) -> float:
        """A finite number."""
        value = self._get(name)
        if not isinstance(value, int | float) or isinstance(value, bool) or not lowest <= value <= highest:
            raise self._fault(name, f"a number from {lowest:g} to {highest:g}")
        if not math.isfinite(value):
            raise self._fault(name, "a finite number")
        return float(value)

    def flag(self, name: str) -> bool:
        """True or false."""
        value = self._get(name)
        if not isinstance(value, bool):
            raise self._fault(name, "true or false")
        return value

    def integers(self, name: str, most: int, lowest: int, highest: int) -> tuple[int, ...]:
        """A list of whole numbers."""
        value = self._get(name)
        if not isinstance(value, list) or len(value) > most:
            raise self._fault(name, f"a list of at most {most}")
        each = [Fields({name: item}).integer(name, lowest, highest) for item in value]
        return tuple(each)

    def counts(self, name: str, most: int, highest: int) -> dict[str, int]:
        """Whole numbers, not negative, by name."""
        counts = self.inner(name)
        names = sorted(counts.names())
        if len(names) > most or not all(len(each) <= 32 and each.isidentifier() for each in names):
            raise self._fault(name, f"at most {most} counts by name")
        return {each: counts.integer(each, 0, highest) for each in names}

    def inner(self, name: str) -> Fields:
        """An object within this one."""
        value = self._get(name)
        if not isinstance(value, dict):
            raise self._fault(name, "an object")
        return Fields(cast("Mapping[str, object]", value))

    def _get(self, name: str) -> object:
        if name not in self._values:
            raise WireError(f"no {name}")
        return self._values[name]

    @staticmethod
    def _fault(name: str, expected: str) -> WireError:
        return WireError(f"{name}: expected {expected}")
