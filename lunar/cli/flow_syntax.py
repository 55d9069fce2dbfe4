"""Messages as users type them: JSON, or the same with less to quote, like YAML's flow style. Pure.

`{linear: {x: 1.0}, name: robot one, cells: [1, 2], mode: DRIVING}` needs no quotes. A word that is neither a number nor
true, false or null is a text, and ends at a comma, a bracket or the line's end. Texts may be quoted either way.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final, TypeAlias

__all__ = ["FlowError", "Value", "parse_flow"]

Value: TypeAlias = None | bool | int | float | str | list["Value"] | dict[str, "Value"]

_MAX_DEPTH: Final = 100
_SPACE: Final = re.compile(r"\s*")
_DOUBLE_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_SINGLE_QUOTED: Final = re.compile(r"'((?:[^']|'')*)'")
_KEY: Final = re.compile(r"[^\s:,{}\[\]\"']+")
_WORD: Final = re.compile(r"[^,{}\[\]\"'\n]+")
_INTEGER: Final = re.compile(r"[+-]?(?:0|[1-9][0-9]*(?:_[0-9]+)*)|0x[0-9a-fA-F]+|0b[01]+|0o[0-7]+", re.ASCII)
_REAL: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_SPECIAL: Final[Mapping[str, Value]] = {
    "null": None,
    "~": None,
    "true": True,
    "false": False,
    **dict.fromkeys(("nan", ".nan"), float("nan")),
    **{sign + word: float(sign + "inf") for sign in ("", "+", "-") for word in ("inf", ".inf", "infinity")},
}


class FlowError(ValueError):
    """A text is not in the syntax; says what was expected where."""


def parse_flow(text: str) -> Value:
    """Reads a value.

    Raises:
        FlowError: The text is none.
    """
    return _Parser(text).whole()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0

    def whole(self) -> Value:
        value = self._value()
        if self._next():
            raise self._wrong("the end")
        return value

    def _wrong(self, expected: str) -> FlowError:
        rest = self._text[self._at : self._at + 20]
        if not rest:
            return FlowError(f"expected {expected}, but the text ends")
        return FlowError(f"expected {expected} at character {self._at + 1}, got {rest!r}")

    def _next(self) -> str:
        """The next character that is no space; empty at the end."""
        space = _SPACE.match(self._text, self._at)
        self._at = space.end() if space else self._at
        return self._text[self._at : self._at + 1]

    def _take(self, pattern: re.Pattern[str], expected: str) -> re.Match[str]:
        found = pattern.match(self._text, self._at)
        if found is None:
            raise self._wrong(expected)
        self._at = found.end()
        return found

    def _value(self) -> Value:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise FlowError(f"nested deeper than {_MAX_DEPTH}")
        match self._next():
            case "{":
                value: Value = self._mapping()
            case "[":
                value = self._sequence()
            case '"' | "'":
                value = self._quoted()
            case _:
                value = _word_value(self._take(_WORD, "a value")[0].strip())
        self._depth -= 1
        return value

    def _mapping(self) -> dict[str, Value]:
        self._at += 1
        found: dict[str, Value] = {}
        while self._next() != "}":
            start = self._at
            key = self._quoted() if self._next() in "\"'" else self._take(_KEY, "a field's name or }")[0]
            if key in found:
                self._at = start
                raise self._wrong(f"{key} only once")
            if self._next() != ":":
                raise self._wrong(": behind the field's name")
            self._at += 1
            found[key] = self._value()
            self._comma("}")
        self._at += 1
        return found

    def _sequence(self) -> list[Value]:
        self._at += 1
        found: list[Value] = []
        while self._next() != "]":
            found.append(self._value())
            self._comma("]")
        self._at += 1
        return found

    def _comma(self, end: str) -> None:
        following = self._next()
        if following == ",":
            self._at += 1
        elif following != end:
            raise self._wrong(f", or {end}")

    def _quoted(self) -> str:
        if self._text.startswith("'", self._at):
            return self._take(_SINGLE_QUOTED, "a text in quotes")[1].replace("''", "'")
        start = self._at
        quoted = self._take(_DOUBLE_QUOTED, "a text in quotes")[0]
        try:
            text: str = json.loads(quoted, strict=False)
        except json.JSONDecodeError as error:
            self._at = start
            raise self._wrong("a text in quotes as in JSON") from error
        return text


def _word_value(word: str) -> Value:
    if word.lower() in _SPECIAL:
        return _SPECIAL[word.lower()]
    if _INTEGER.fullmatch(word):
        # Longer ones fit no field, and CPython refuses to read very long ones.
        return int(word, 0) if len(word) < 100 else word
    return float(word) if _REAL.fullmatch(word) else word
