"""Messages as text for people, field by field, in a form that YAML readers understand. Pure.

Texts come from other processes and may hold anything: what is not printable is escaped, so that nothing in a message
can control the terminal.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from lunar.cli.message_fields import described, elements, is_single, shown_fields
from lunar.cli.output import escape_unprintable
from lunar.messages.schema import (
    Array,
    EnumDefinition,
    Named,
    Scalar,
    Schema,
    SchemaType,
    String,
    UnionDefinition,
    Vector,
)

__all__ = ["MessageText", "csv_text", "single_text"]

_SHOWN_NUMBERS: Final = 64
_SHOWN_ITEMS: Final = 16
_SHOWN_CHARACTERS: Final = 1000
_INDENT: Final = "  "

# What needs no quotes and is taken for nothing else than a text.
_PLAIN: Final = re.compile(r"[A-Za-z_/][A-Za-z0-9_./ -]*[A-Za-z0-9_./-]|[A-Za-z_/]", re.ASCII)
_TAKEN: Final = frozenset(["null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan", "inf", "infinity"])


@dataclass(frozen=True, slots=True)
class MessageText:
    """Lays messages out.

    Attributes:
        schema: What the messages' classes come from.
        full: Show every element and character; else long sequences and texts are cut, and say so.
    """

    schema: Schema
    full: bool = False

    def of_message(self, message: object) -> str:
        """Lays out a message.

        Returns:
            Lines without a newline at the end.

        Raises:
            VerificationError: It lies in a buffer that is wrong.
        """
        return "\n".join(self._message_lines(message)) or "{}"

    def of_value(self, value: object, type_: SchemaType) -> str:
        """Lays out a field's value, alone."""
        first, rest = self._value(value, type_)
        return "\n".join([*([first] if first else []), *rest])

    def of_field(self, label: str, value: object, type_: SchemaType) -> str:
        """Lays out a field's value under a label."""
        return "\n".join(self._labelled(f"{label}:", self._value(value, type_)))

    def _message_lines(self, message: object) -> Iterator[str]:
        schema, name = described(type(message))
        for each in shown_fields(schema, name):
            value = getattr(message, each.name)
            alternative = self._alternative(value, each.type)
            if alternative:
                yield f"{each.name}_type: {alternative}"
            yield from self._labelled(f"{each.name}:", self._value(value, each.type))

    def _labelled(self, label: str, shown: tuple[str, Sequence[str]]) -> Iterator[str]:
        first, rest = shown
        yield f"{label} {first}" if first else label
        # A list may stand under its label; fields must be indented.
        is_list = bool(rest) and rest[0].startswith("- ")
        yield from rest if is_list else (_INDENT + line for line in rest)

    def _value(self, value: object, type_: SchemaType) -> tuple[str, list[str]]:
        """What stands behind a field's name, and the lines below it."""
        if value is None:
            return "null", []
        if is_single(self.schema, type_):
            return single_text(value, type_, self.schema, full=self.full), []
        if isinstance(type_, Vector | Array):
            if is_single(self.schema, type_.element) and type_.element != String():
                return self._numbers(value, type_.element)
            return self._items(elements(value), type_.element)
        if isinstance(value, str):  # an alternative of a union
            return single_text(value, String(), self.schema, full=self.full), []
        lines = [*self._message_lines(value)]
        return ("", lines) if lines else ("{}", [])

    def _numbers(self, value: object, element: Scalar | String | Named) -> tuple[str, list[str]]:
        row = elements(value)
        shown = row if self.full else row[:_SHOWN_NUMBERS]
        # NumPy's numbers become Python's.
        numbers: Sequence[object] = shown.tolist() if hasattr(shown, "tolist") else shown
        texts = [single_text(each, element, self.schema) for each in numbers]
        axes: tuple[int, ...] = getattr(value, "shape", (len(row),))
        if len(texts) < len(row):
            size = f"{len(row):,} in all" + (f", {' x '.join(map(str, axes))}" if len(axes) > 1 else "")
            return f"[{', '.join(texts)}, ...]  # {size}", []
        if len(axes) < 2 or not texts:
            return f"[{', '.join(texts)}]", []
        inner = math.prod(axes[1:])
        rows = [texts[start : start + inner] for start in range(0, len(texts), inner)]
        return "", [f"- [{', '.join(each)}]" for each in rows]

    def _items(self, items: Sequence[object], element: SchemaType) -> tuple[str, list[str]]:
        if not items:
            return "[]", []
        lines: list[str] = []
        shown = items if self.full else items[:_SHOWN_ITEMS]
        for item in shown:
            alternative = self._alternative(item, element)
            first, rest = self._value(item, element)
            if alternative:  # YAML has no better place for it than a comment
                first = f"{first}  # {alternative}" if first else f"# {alternative}"
            head, *tail = [first, *rest] if first else rest
            lines += [f"- {head}", *(_INDENT + line for line in tail)]
        if len(shown) < len(items):
            lines.append(f"# ... {len(items):,} in all")
        return "", lines

    def _alternative(self, value: object, type_: SchemaType) -> str:
        """The name of the alternative that a union's value is."""
        definition = self.schema.definitions[type_.name] if isinstance(type_, Named) else None
        if value is None or not isinstance(definition, UnionDefinition):
            return ""
        wanted = String() if isinstance(value, str) else Named(described(type(value))[1])
        return next((member.name for member in definition.members if member.type == wanted), "")


def single_text(value: object, type_: SchemaType, schema: Schema, *, full: bool = True) -> str:
    """Writes a number, an enum's value or a text in one line.

    Args:
        value: What a field or element of that type was read as.
        type_: The type; a float32 is written as short as it can be told from others.
        schema: Of the type.
        full: All of a long text.
    """
    if isinstance(value, str):
        return _text(value, full)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _number(value, type_ is Scalar.FLOAT32)
    definition = schema.definitions[type_.name] if isinstance(type_, Named) else None
    if isinstance(definition, EnumDefinition) and isinstance(value, int):
        return _enum_text(value, definition)
    return str(value)


def csv_text(value: object, type_: SchemaType, schema: Schema) -> str:
    """Writes a number, an enum's value or a text as a cell of a table; empty if it is absent."""
    if value is None or isinstance(value, str):
        return value or ""
    item = getattr(value, "item", None)  # of an array of NumPy's
    text = single_text(value if item is None else item(), type_, schema)
    return text.replace(".nan", "nan").replace(".inf", "inf")


def _enum_text(value: int, definition: EnumDefinition) -> str:
    if not definition.bit_flags:
        return next((name for name, number in definition.values if number == value), str(int(value)))
    names = [name for name, mask in definition.values if mask and value & mask == mask]
    known = sum(mask for _, mask in definition.values if value & mask == mask)
    return " ".join(names) if names and known == value else str(int(value))


def _number(value: float, is_float32: bool) -> str:
    if math.isnan(value):
        return ".nan"
    if math.isinf(value):
        return ".inf" if value > 0 else "-.inf"
    return repr(_shortest_float32(value) if is_float32 else value)


def _shortest_float32(value: float) -> float:
    """The decimal number with the fewest digits that is the same float32: 0.1 for 0.10000000149011612."""
    packed = struct.pack("<f", value)
    for digits in range(6, 9):
        shorter = float(f"{value:.{digits}g}")
        if abs(shorter) <= _GREATEST_FLOAT32 and struct.pack("<f", shorter) == packed:
            return shorter
    return float(f"{value:.9g}") if abs(float(f"{value:.9g}")) <= _GREATEST_FLOAT32 else value


_GREATEST_FLOAT32: Final = (2 - 2**-23) * 2.0**127


def _text(text: str, full: bool) -> str:
    left_out = 0 if full else max(0, len(text) - _SHOWN_CHARACTERS)
    shown = text[: len(text) - left_out]
    if not left_out and _PLAIN.fullmatch(shown) and shown.lower() not in _TAKEN:
        return shown
    quoted = escape_unprintable(json.dumps(shown, ensure_ascii=False))
    return f"{quoted}  # {left_out:,} more characters" if left_out else quoted
