"""The fields of messages, by path: `pose.x`, `cells[3]`. Paths are checked against the schema before a message comes.

Elements of a vector or array count in a row whatever its shape, as in JSON and in the schema. A negative index counts
from the end.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from lunar.errors import LunarError
from lunar.messages.schema import (
    Array,
    EnumDefinition,
    Field,
    Named,
    Schema,
    SchemaType,
    StructDefinition,
    TableDefinition,
    UnionDefinition,
    Vector,
)

__all__ = [
    "Columns",
    "FieldPath",
    "PathError",
    "described",
    "elements",
    "find_field",
    "find_root",
    "is_single",
    "scalar_columns",
    "shown_fields",
]

_STEP: Final = re.compile(r"\.?([A-Za-z_][A-Za-z0-9_]*)|\[(-?[0-9]{1,9})\]", re.ASCII)
_MAX_COLUMNS: Final = 4096
_MAX_DEPTH: Final = 64
_MAX_VISITS: Final = 100_000
"""A schema comes from anybody: few definitions can hold each other in more ways than can be counted."""

Steps: TypeAlias = tuple[str | int, ...]


class PathError(LunarError, ValueError):
    """A path does not lead to a field of the message type."""


@dataclass(frozen=True, slots=True)
class FieldPath:
    """The way to a field.

    Attributes:
        text: As the user wrote it.
        steps: Names and indices.
        type: What the field holds.
    """

    text: str
    steps: Steps
    type: SchemaType

    def value_in(self, message: object) -> object:
        """The field's value in a message; None if it, or something on the way, is absent."""
        value = message
        for step in self.steps:
            if value is None:
                return None
            if isinstance(step, str):
                value = getattr(value, step, None)  # an alternative of a union may not have it
            else:
                row = elements(value)
                value = row[step] if -len(row) <= step < len(row) else None
        return value


@dataclass(frozen=True, slots=True)
class Columns:
    """The single values of a message.

    Attributes:
        paths: Where they are.
        left_out: Fields that are not of a fixed number of values.
    """

    paths: tuple[FieldPath, ...]
    left_out: tuple[str, ...]


def described(message: type) -> tuple[Schema, str]:
    """The schema that a message class comes from, and its full name there."""
    schema: Schema
    schema, name = message.__lunar_schema__  # type: ignore[attr-defined]
    return schema, name


def shown_fields(schema: Schema, name: str) -> tuple[Field, ...]:
    """The fields of a table or struct that a message has as attributes."""
    definition = schema.definitions[name]
    if isinstance(definition, StructDefinition):
        return definition.fields
    fields = definition.fields if isinstance(definition, TableDefinition) else ()
    return tuple(each for each in fields if not each.deprecated)


def elements(value: object) -> Sequence[object]:
    """The elements of a sequence in a row: of a NumPy array or memoryview without a copy."""
    if isinstance(value, memoryview):
        # Only by way of bytes does a view become flat; one without elements has no such form.
        return value.cast("B").cast(value.format) if value.nbytes else ()  # type: ignore[call-overload]
    reshape = getattr(value, "reshape", None)
    if reshape is not None:
        flat: Sequence[object] = reshape(-1)
        return flat
    return value if isinstance(value, Sequence) and not isinstance(value, str) else ()


def is_single(schema: Schema, type_: SchemaType) -> bool:
    """Whether a field of a type holds a number, an enum's value or a text."""
    if isinstance(type_, Named):
        return isinstance(schema.definitions[type_.name], EnumDefinition)
    return not isinstance(type_, Vector | Array)


def find_root(message: type) -> FieldPath:
    """The path to the whole message."""
    return FieldPath("", (), Named(described(message)[1]))


def find_field(message: type, text: str) -> FieldPath:
    """Reads a path.

    Args:
        message: The message class.
        text: Names with dots between, and indices in brackets.

    Raises:
        PathError: It is no path, or leads nowhere.
    """
    schema, name = described(message)
    type_: SchemaType = Named(name)
    steps: list[str | int] = []
    end = 0
    while end < len(text):
        found = _STEP.match(text, end)
        if found is None or (found[0].startswith(".") and not steps) or not _is_separated(found, steps):
            raise PathError(f"{text!r} is no path to a field, such as pose.x or cells[3]")
        if found[1] is not None:
            type_ = _field_type(schema, type_, found[1], text[:end])
        else:
            type_ = _element_type(schema, type_, int(found[2]), text[:end])
        steps.append(found[1] if found[1] is not None else int(found[2]))
        end = found.end()
    if not steps:
        raise PathError("a path to a field is empty")
    return FieldPath(text, tuple(steps), type_)


def _is_separated(found: re.Match[str], steps: list[str | int]) -> bool:
    return not steps or found[0].startswith((".", "["))


def _field_type(schema: Schema, type_: SchemaType, name: str, where: str) -> SchemaType:
    owners = _owners(schema, type_)
    fields = [each for owner in owners for each in shown_fields(schema, owner)]
    for each in fields:
        if each.name == name:
            return each.type
    at = where or (owners[0] if owners else "the message")
    if not fields:
        raise PathError(f"{at} has no fields, so no {name}")
    raise PathError(f"{at} has no field {name}; it has {', '.join(dict.fromkeys(each.name for each in fields))}")


def _owners(schema: Schema, type_: SchemaType) -> list[str]:
    """The tables and structs whose fields a value of a type may have; several of a union."""
    if not isinstance(type_, Named):
        return []
    definition = schema.definitions[type_.name]
    if isinstance(definition, UnionDefinition):
        return [member.type.name for member in definition.members if isinstance(member.type, Named)]
    return [] if isinstance(definition, EnumDefinition) else [type_.name]


def _element_type(schema: Schema, type_: SchemaType, index: int, where: str) -> SchemaType:
    if not isinstance(type_, Vector | Array):
        raise PathError(f"{where or 'the message'} is no sequence, so it has no [{index}]")
    if isinstance(type_, Array) and not -type_.length <= index < type_.length:
        raise PathError(f"{where} has {type_.length} elements, so no [{index}]")
    return type_.element


# ---- columns ---------------------------------------------------------------------------------------------------------


def scalar_columns(message: type, fields: Sequence[FieldPath]) -> Columns:
    """Finds the single values of a message: numbers, enums and texts, those of fixed arrays one by one.

    Args:
        message: The message class.
        fields: What to look into; empty for the whole message.

    Raises:
        PathError: There are none, or too many; or one of `fields` has no fixed number of values.
    """
    walk = _ColumnWalk(described(message)[0])
    paths: list[FieldPath] = []
    for start in fields or [find_root(message)]:
        before = len(walk.left_out)
        paths += walk.columns(start, (), None)
        if fields and len(walk.left_out) > before:
            left = walk.left_out[before]
            raise PathError(f"{left} has no fixed number of values for columns; choose one, as in {left}[0]")
    if not paths:
        raise PathError(f"{described(message)[1]} has no single values for columns; choose fields, as in cells[0]")
    return Columns(tuple(paths), tuple(walk.left_out))


class _ColumnWalk:
    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._visits = 0
        self._columns = 0
        self.left_out: list[str] = []

    def columns(self, path: FieldPath, inside: tuple[str, ...], field: Field | None) -> Iterator[FieldPath]:
        """The single values that a path leads to.

        Args:
            path: Where.
            inside: The definitions on the way there: one that holds itself is left out.
            field: Whose value it is, if it is a field's.
        """
        self._visits += 1
        if is_single(self._schema, path.type):
            self._columns += 1
            yield path
        elif isinstance(path.type, Named) and path.type.name not in inside and len(inside) < _MAX_DEPTH:
            yield from self._fields(path, path.type.name, inside)
        else:
            length = _fixed_length(path.type, field)
            if length is None or not isinstance(path.type, Array | Vector):
                self.left_out.append(path.text)
                return
            for index in range(length):
                step = FieldPath(f"{path.text}[{index}]", (*path.steps, index), path.type.element)
                yield from self.columns(step, inside, None)
        if self._columns > _MAX_COLUMNS or self._visits > _MAX_VISITS:
            raise PathError(f"more than {_MAX_COLUMNS:,} columns; choose fields")

    def _fields(self, path: FieldPath, name: str, inside: tuple[str, ...]) -> Iterator[FieldPath]:
        if isinstance(self._schema.definitions[name], UnionDefinition):
            self.left_out.append(path.text)
            return
        for each in shown_fields(self._schema, name):
            text = f"{path.text}.{each.name}" if path.text else each.name
            yield from self.columns(FieldPath(text, (*path.steps, each.name), each.type), (*inside, name), each)


def _fixed_length(type_: SchemaType, field: Field | None) -> int | None:
    if isinstance(type_, Array):
        return type_.length
    shape = () if field is None else field.shape
    if not shape:
        return None
    lengths = [length for length in shape if length is not None]
    return math.prod(lengths) if len(lengths) == len(shape) else None
