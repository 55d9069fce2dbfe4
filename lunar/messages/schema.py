"""What a schema says, whoever wrote it: a `.fbs` file or an annotated class. Pure data: no layout, no Python classes.

The words are those of the FlatBuffers language. A `Schema` is closed: every `Named` type it mentions is one of its
definitions. Source: flatbuffers.dev, "Schema" and "Internals"; the binary form is reflection.fbs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, TypeAlias

__all__ = [
    "Array",
    "Definition",
    "EnumDefinition",
    "Field",
    "Named",
    "Scalar",
    "Schema",
    "SchemaType",
    "String",
    "StructDefinition",
    "TableDefinition",
    "UnionDefinition",
    "UnionMember",
    "Vector",
    "align_up",
]


class Scalar(Enum):
    """A scalar type: its FlatBuffers name, size in bytes, and format in `struct`, `memoryview` and NumPy's buffers."""

    BOOL = ("bool", 1, "?")
    INT8 = ("int8", 1, "b")
    UINT8 = ("uint8", 1, "B")
    INT16 = ("int16", 2, "h")
    UINT16 = ("uint16", 2, "H")
    INT32 = ("int32", 4, "i")
    UINT32 = ("uint32", 4, "I")
    INT64 = ("int64", 8, "q")
    UINT64 = ("uint64", 8, "Q")
    FLOAT32 = ("float32", 4, "f")
    FLOAT64 = ("float64", 8, "d")

    def __init__(self, fbs_name: str, size_bytes: int, format_code: str) -> None:
        self.fbs_name = fbs_name
        self.size_bytes = size_bytes
        self.format_code = format_code

    @property
    def is_float(self) -> bool:
        """Whether its values are floating-point numbers."""
        return self in (Scalar.FLOAT32, Scalar.FLOAT64)

    @property
    def limits(self) -> tuple[int, int]:
        """Least and greatest value of an integer type; of bool, 0 and 1."""
        if self is Scalar.BOOL:
            return 0, 1
        bits = 8 * self.size_bytes
        return (0, 2**bits - 1) if self.fbs_name.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


@dataclass(frozen=True, slots=True)
class String:
    """UTF-8 text."""


@dataclass(frozen=True, slots=True)
class Named:
    """A definition of the schema, by its full name ("namespace.Name")."""

    name: str


@dataclass(frozen=True, slots=True)
class Vector:
    """A sequence of any length."""

    element: Scalar | String | Named


@dataclass(frozen=True, slots=True)
class Array:
    """A sequence of fixed length, which only a struct can have."""

    element: Scalar | Named
    length: int


SchemaType: TypeAlias = Scalar | String | Named | Vector | Array


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a table or struct.

    Attributes:
        name: As written.
        type: What it holds.
        id: Its place in the vtable; in a struct, its place in the order. The field of a union has the id of the union's
            value; the one before it is the tag's.
        default: Of a scalar or enum, what it is when absent (an enum's as its number; meaningless if `optional`). Of a
            string its text, of a vector "[]" if an absent one reads as empty; else None.
        optional: A scalar whose absence is told apart (None).
        required: A message without it is none.
        key: Sorted vectors of the table are sorted by it.
        deprecated: Neither written nor read any more; keeps its id.
        shape: Of a vector or array of scalars, how it is to be looked at, the first axis None where any length will do;
            empty: as one row. Not part of the wire format.
        documentation: Comment lines.
    """

    name: str
    type: SchemaType
    id: int
    default: int | float | str | None = None
    optional: bool = False
    required: bool = False
    key: bool = False
    deprecated: bool = False
    shape: tuple[int | None, ...] = ()
    documentation: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TableDefinition:
    """A table; `fields` are in the order of their ids."""

    name: str
    fields: tuple[Field, ...]
    documentation: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StructDefinition:
    """A struct: its fields lie at fixed offsets.

    Attributes:
        name: Full name.
        fields: In order.
        force_align: Alignment asked for, in bytes, at most 16; 0: what the fields need.
        documentation: Comment lines.
    """

    name: str
    fields: tuple[Field, ...]
    force_align: int = 0
    documentation: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EnumDefinition:
    """An enum.

    Attributes:
        name: Full name.
        underlying: An integer type.
        values: Names and numbers, in the order of the numbers; of `bit_flags` the masks (1, 2, 4 ...).
        bit_flags: Values combine.
        documentation: Comment lines.
    """

    name: str
    underlying: Scalar
    values: tuple[tuple[str, int], ...]
    bit_flags: bool = False
    documentation: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UnionMember:
    """One of a union's alternatives: its name, its tag (1 to 255), and a table, struct or `String`."""

    name: str
    tag: int
    type: Named | String


@dataclass(frozen=True, slots=True)
class UnionDefinition:
    """A union; the alternative NONE, tag 0, goes without saying."""

    name: str
    members: tuple[UnionMember, ...]
    documentation: tuple[str, ...] = ()


Definition: TypeAlias = TableDefinition | StructDefinition | EnumDefinition | UnionDefinition

SCALARS_BY_NAME: Final[Mapping[str, Scalar]] = {scalar.fbs_name: scalar for scalar in Scalar}


@dataclass(frozen=True, slots=True)
class Schema:
    """Definitions that belong together.

    Attributes:
        definitions: By full name.
        root: Full name of the table that `root_type` names, if any.
        file_identifier: Four characters that stand at byte 4 of each of `root`'s messages, or None.
    """

    definitions: Mapping[str, Definition]
    root: str | None = None
    file_identifier: str | None = None
    _layouts: dict[str, tuple[int, int, tuple[int, ...]]] = field(default_factory=dict, repr=False, compare=False)

    def closure(self, name: str) -> dict[str, Definition]:
        """The definitions that `name` needs, itself included, by name in the order they are first met."""
        found: dict[str, Definition] = {}
        waiting = [name]
        while waiting:
            current = waiting.pop()
            if current not in found:
                found[current] = self.definitions[current]
                waiting.extend(reversed([*mentions(found[current])]))
        return found

    def struct_layout(self, name: str) -> tuple[int, int, tuple[int, ...]]:
        """Size and alignment of a struct in bytes, and the offset of each field."""
        if name not in self._layouts:
            definition = self.definitions[name]
            if not isinstance(definition, StructDefinition):
                raise TypeError(f"{name} is not a struct")
            size, alignment, offsets = 0, definition.force_align or 1, []
            for each in definition.fields:
                field_size, field_alignment = self.inline_size(each.type)
                size = align_up(size, field_alignment)
                offsets.append(size)
                size += field_size
                alignment = max(alignment, field_alignment)
            self._layouts[name] = (align_up(size, alignment), alignment, tuple(offsets))
        return self._layouts[name]

    def inline_size(self, type_: SchemaType) -> tuple[int, int]:
        """Size and alignment of a value where it lies in a table, struct or vector: of an offset, 4 and 4."""
        if isinstance(type_, Scalar):
            return type_.size_bytes, type_.size_bytes
        if isinstance(type_, Array):
            size, alignment = self.inline_size(type_.element)
            return size * type_.length, alignment
        if isinstance(type_, Named):
            definition = self.definitions[type_.name]
            if isinstance(definition, EnumDefinition):
                return self.inline_size(definition.underlying)
            if isinstance(definition, StructDefinition):
                return self.struct_layout(type_.name)[:2]
        return 4, 4


def mentions(definition: Definition) -> Iterator[str]:
    """The names of the definitions that one mentions, in order, with repetitions."""
    types: list[SchemaType] = []
    if isinstance(definition, UnionDefinition):
        types = [member.type for member in definition.members]
    elif isinstance(definition, TableDefinition | StructDefinition):
        types = [each.type for each in definition.fields]
    for type_ in types:
        element = type_.element if isinstance(type_, Vector | Array) else type_
        if isinstance(element, Named):
            yield element.name


def align_up(offset: int, alignment: int) -> int:
    """The next multiple of an alignment, a power of two."""
    return (offset + alignment - 1) & -alignment
